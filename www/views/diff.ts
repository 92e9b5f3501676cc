/** Two continuations of one prompt, token by token. */

export interface Piece {
  token: number;
  text: string;
}

/** Where the token ids differ first; the shorter length where one is the other's beginning, null where they are equal. */
export function firstDifference(a: readonly Piece[], b: readonly Piece[]): number | null {
  const shorter = Math.min(a.length, b.length);
  for (let i = 0; i < shorter; i++) if (a[i]?.token !== b[i]?.token) return i;
  return a.length === b.length ? null : shorter;
}

/** The text before the first difference, the differing token, and the rest. Tokens may hold parts of characters. */
export function parts(pieces: readonly Piece[], at: number | null): [same: string, first: string, rest: string] {
  const join = (some: readonly Piece[]) => some.map(({ text }) => text).join("");
  if (at === null || at >= pieces.length) return [join(pieces), "", ""];
  return [join(pieces.slice(0, at)), pieces[at]?.text ?? "", join(pieces.slice(at + 1))];
}

/** A token that is only line breaks, made visible. */
export const visible = (piece: string): string => (/^\s*\n\s*$/.test(piece) ? `↵${piece}` : piece);

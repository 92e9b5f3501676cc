/**
 * Text to ids. Byte-level BPE as in GPT-2, which the built-in models use, is done here; for everything else the
 * Hugging Face library is fetched.
 */

import { BYTE_OF_CHARACTER } from "./decoder";

export interface Encoder {
  encode(text: string, addSpecialTokens: boolean): number[];
  token(id: number): string | undefined;
}

type Json = Record<string, unknown>;

/** From the content of `tokenizer.json` and `tokenizer_config.json`. */
export async function openEncoder(tokenizer: Json, settings: Json): Promise<Encoder> {
  return byteLevelEncoder(tokenizer, settings) ?? (await libraryEncoder(tokenizer, settings));
}

export async function libraryEncoder(tokenizer: Json, settings: Json): Promise<Encoder> {
  const { Tokenizer } = await import("@huggingface/tokenizers");
  const library = new Tokenizer(tokenizer, settings);
  return {
    encode: (text, addSpecialTokens) => library.encode(text, { add_special_tokens: addSpecialTokens }).ids,
    token: (id) => library.id_to_token(id),
  };
}

/** Words as GPT-2 splits them: contractions, letters, digits and the rest, each with the space before it. */
const WORDS =
  /'(?:[stmd]|re|ve|ll)| ?\p{L}+| ?\p{N}+| ?[^\p{White_Space}\p{L}\p{N}]+|\p{White_Space}+(?!\P{White_Space})|\p{White_Space}+/gu;

const CHARACTER_OF_BYTE = [...BYTE_OF_CHARACTER].reduce<string[]>((characters, [character, byte]) => {
  characters[byte] = character;
  return characters;
}, []);

/** Null for a tokenizer that has or asks for anything else. */
export function byteLevelEncoder(tokenizer: Json, settings: Json): Encoder | null {
  const { model, normalizer, pre_tokenizer: pre, post_processor: post, added_tokens: added } = tokenizer as {
    model: { type?: unknown; vocab: Record<string, number>; merges: (string | [string, string])[] } & Json;
    normalizer?: unknown;
    pre_tokenizer?: Json | null;
    post_processor?: Json | null;
    added_tokens?: ({ id: number; content: string } & Json)[];
  };
  const plain =
    model.type === "BPE" && normalizer === null && Array.isArray(model.merges) && Array.isArray(added) &&
    ["dropout", "unk_token", "continuing_subword_prefix", "end_of_word_suffix", "byte_fallback"].every((key) => !model[key]) &&
    pre?.["type"] === "ByteLevel" && pre["use_regex"] === true && pre["add_prefix_space"] === false &&
    added.every((token) => !token["lstrip"] && !token["rstrip"] && !token["single_word"]) &&
    settings["remove_space"] !== true && settings["do_lowercase_and_remove_accent"] !== true;
  const frame = plain ? frameOf(post) : null;
  if (frame === null) return null;

  const ids = new Map(Object.entries(model.vocab));
  if (!CHARACTER_OF_BYTE.every((character) => ids.has(character))) return null;
  const tokens: string[] = [];
  for (const [token, id] of ids) tokens[id] = token;
  for (const { id, content } of added ?? []) tokens[id] = content;
  const special = new Map(added?.map(({ id, content }) => [content, id]));
  // No token of the alphabet holds a space, so two with one between them are told from all others.
  const ranks = new Map(model.merges.map((merge, rank) => [typeof merge === "string" ? merge : merge.join(" "), rank]));
  const utf8 = new TextEncoder();

  const encodeWord = (word: string): number[] => {
    const pieces = Array.from(utf8.encode(word), (byte) => CHARACTER_OF_BYTE[byte] ?? "");
    const whole = model["ignore_merges"] === true ? ids.get(pieces.join("")) : undefined;
    if (whole !== undefined) return [whole];
    const rankAt = (i: number) => ranks.get(`${pieces[i]} ${pieces[i + 1]}`) ?? Infinity;
    const pairs = pieces.slice(1).map((_, i) => rankAt(i));
    for (;;) {
      let best = 0;
      for (let i = 1; i < pairs.length; i++) if ((pairs[i] ?? Infinity) < (pairs[best] ?? Infinity)) best = i;
      if ((pairs[best] ?? Infinity) === Infinity) return pieces.map((piece) => ids.get(piece) ?? 0);
      pieces.splice(best, 2, `${pieces[best]}${pieces[best + 1]}`);
      pairs.splice(best, 1);
      if (best > 0) pairs[best - 1] = rankAt(best - 1);
      if (best < pairs.length) pairs[best] = rankAt(best);
    }
  };
  const known = new Map<string, number[]>();
  const word = (text: string): number[] => {
    let found = known.get(text);
    if (found === undefined) {
      found = encodeWord(text);
      if (known.size < 10_000) known.set(text, found);
    }
    return found;
  };
  return {
    encode: (text, addSpecialTokens) => {
      const encoded = split(text, special).flatMap((part) =>
        typeof part === "number" ? part : (part.match(WORDS) ?? []).flatMap(word),
      );
      return addSpecialTokens ? [...frame.before, ...encoded, ...frame.after] : encoded;
    },
    token: (id) => tokens[id],
  };
}

/** Ids around a text; null for a post-processor of another kind. */
function frameOf(post: Json | null | undefined): { before: number[]; after: number[] } | null {
  if (post == null) return { before: [], after: [] };
  if (post["type"] !== "TemplateProcessing") return null;
  const single = post["single"] as { SpecialToken?: { id: string }; Sequence?: unknown }[];
  const special = post["special_tokens"] as Record<string, { ids: number[] } | undefined>;
  const at = single.findIndex((part) => part.Sequence !== undefined);
  const idsOf = (parts: typeof single) => parts.flatMap((part) => special[part.SpecialToken?.id ?? ""]?.ids ?? [Number.NaN]);
  const [before, after] = [idsOf(single.slice(0, at)), idsOf(single.slice(at + 1))];
  return at < 0 || [...before, ...after].some(Number.isNaN) ? null : { before, after };
}

/** Cuts a text at the tokens that stand for themselves, of several that start at one place at the longest. */
function split(text: string, special: ReadonlyMap<string, number>): (string | number)[] {
  const contents = [...special.keys()].filter((content) => content !== "").sort((a, b) => b.length - a.length);
  if (!contents.some((content) => text.includes(content))) return [text];
  const pattern = new RegExp(`(${contents.map((content) => content.replace(/[\\^$.*+?()[\]{}|/-]/g, "\\$&")).join("|")})`);
  return text.split(pattern).map((part, i) => (i % 2 === 1 ? (special.get(part) ?? part) : part));
}

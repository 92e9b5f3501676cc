/** Bars with labels, for what is held in bytes. */

import type { Drawing } from "../draw/canvas";

export interface Bar {
  label: string;
  /** At the right end of the label's line. */
  shown: string;
  /** Lengths, one after another, each with its colour; null is drawn as an outline. */
  parts: readonly (readonly [length: number, colour: string | null])[];
}

/** Bars below their labels from `top` on, the longest as wide as the chart. */
export function bars({ ctx, width, colours, font, text }: Drawing, top: number, rows: readonly Bar[]): void {
  const { rem } = colours;
  const longest = Math.max(...rows.map(({ parts }) => parts.reduce((sum, [length]) => sum + length, 0)));
  rows.forEach(({ label, shown, parts }, i) => {
    const y = top + i * 2.38 * rem;
    font(0.78);
    text(label, 0, y + 0.95 * rem, { colour: colours["ink-2"] });
    font(0.78, { mono: true, weight: 600 });
    text(shown, width, y + 0.95 * rem, { align: "right" });
    let at = 0;
    for (const [length, colour] of parts) {
      const wide = Math.max(2, (length / longest) * width - (at > 0 ? 2 : 0));
      ctx.fillStyle = colour ?? "transparent";
      ctx.fillRect(at > 0 ? at + 2 : 0, y + 1.2 * rem, wide, 0.8 * rem);
      if (colour === null) {
        ctx.strokeStyle = colours.four;
        ctx.setLineDash([5, 3]);
        ctx.lineWidth = 1.5;
        ctx.strokeRect(0.75, y + 1.2 * rem, wide - 1.5, 0.8 * rem);
        ctx.setLineDash([]);
      }
      at += (length / longest) * width;
    }
  });
}

/** Axes without boxes: a thin rule, few ticks, the unit in the axis's own words. */

import type { Drawing } from "./canvas";
import type { Scale } from "./scale";

interface AxisOptions {
  title?: string;
  ticks?: readonly number[];
  about?: number;
  format: (value: number) => string;
  /** Faint lines across the chart, up to this pixel. */
  grid?: number;
}

export function axisBottom({ ctx, width, colours, font, text }: Drawing, scale: Scale, y: number, options: AxisOptions): void {
  const [x0, x1] = scale.range;
  const { rem } = colours;
  line(ctx, colours["rule-strong"], x0, y, x1, y);
  font(0.72, { mono: true });
  let free = -Infinity;
  for (const tick of options.ticks ?? scale.ticks(options.about ?? 6)) {
    const x = scale(tick);
    line(ctx, colours["rule-strong"], x, y, x, y + 4);
    if (options.grid !== undefined) line(ctx, colours.rule, x, y, x, options.grid);
    const label = options.format(tick);
    const half = ctx.measureText(label).width / 2;
    // A label that would touch the last one is left out; its tick stays.
    if (x - half < free) continue;
    // The outermost labels stay inside of the picture.
    const centre = Math.min(Math.max(x, half), width - half);
    text(label, centre, y + 7, { align: "center", baseline: "top", colour: colours["ink-2"] });
    free = centre + half + 0.4 * rem;
  }
  if (options.title !== undefined) {
    font(0.75);
    text(options.title, x1, y + 7 + 1.05 * rem, { align: "right", baseline: "top", colour: colours["ink-2"] });
  }
}

export function axisLeft({ ctx, colours, font, text }: Drawing, scale: Scale, x: number, options: AxisOptions): void {
  font(0.72, { mono: true });
  const { rem } = colours;
  for (const tick of options.ticks ?? scale.ticks(options.about ?? 5)) {
    const y = scale(tick);
    if (options.grid !== undefined) line(ctx, colours.rule, x, y, options.grid, y);
    text(options.format(tick), x - 6, y, { align: "right", baseline: "middle", colour: colours["ink-2"] });
  }
  if (options.title !== undefined) {
    font(0.75);
    text(options.title, 0, Math.min(...scale.range) - 0.75 * rem, { baseline: "alphabetic", colour: colours["ink-2"] });
  }
}

export function line(ctx: CanvasRenderingContext2D, colour: string, x0: number, y0: number, x1: number, y1: number, width = 1): void {
  // Half-pixel places keep thin lines thin.
  const align = width === 1 ? 0.5 : 0;
  ctx.strokeStyle = colour;
  ctx.lineWidth = width;
  ctx.beginPath();
  ctx.moveTo(Math.floor(x0) + align, Math.floor(y0) + align);
  ctx.lineTo(Math.floor(x1) + align, Math.floor(y1) + align);
  ctx.stroke();
}

export function dot(ctx: CanvasRenderingContext2D, x: number, y: number, radius: number, fill: string, ring?: string): void {
  ctx.beginPath();
  ctx.arc(x, y, radius, 0, 2 * Math.PI);
  ctx.fillStyle = fill;
  ctx.fill();
  if (ring === undefined) return;
  ctx.strokeStyle = ring;
  ctx.lineWidth = 2;
  ctx.stroke();
}

/** Stripes inside of a rectangle. */
export function hatch({ ctx }: Drawing, colour: string, x: number, y: number, width: number, height: number): void {
  ctx.save();
  ctx.beginPath();
  ctx.rect(x, y, Math.max(width, 0), height);
  ctx.clip();
  ctx.strokeStyle = colour;
  ctx.lineWidth = 1;
  ctx.beginPath();
  for (let at = -height; at < width; at += 6) {
    ctx.moveTo(x + at, y + height);
    ctx.lineTo(x + at + height, y);
  }
  ctx.stroke();
  ctx.restore();
}

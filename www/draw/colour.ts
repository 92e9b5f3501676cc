/** Colour scales that colour-blind readers can read: cividis for amounts, blue to orange for signed values. */

export type Rgb = readonly [number, number, number];

/** Anchors of cividis (Nunez, Anderton and Renslow 2018, doi:10.1371/journal.pone.0199239), dark to light. */
const CIVIDIS: readonly Rgb[] = [
  [0, 34, 78], [18, 53, 112], [59, 73, 108], [87, 93, 109], [112, 113, 115],
  [138, 134, 120], [165, 156, 116], [195, 179, 105], [225, 204, 85], [254, 232, 56],
];

/** Blue (negative) through a neutral to orange (positive); the neutral is the ground it stands on. */
export function blueOrange(neutral: Rgb): readonly Rgb[] {
  const dark = luminance(neutral) < 0.2;
  return dark
    ? [[143, 197, 255], [74, 134, 196], [40, 74, 110], neutral, [117, 66, 26], [205, 112, 40], [255, 178, 112]]
    : [[8, 58, 112], [38, 110, 176], [150, 189, 224], neutral, [244, 190, 140], [206, 98, 22], [122, 46, 2]];
}

export const cividis: readonly Rgb[] = CIVIDIS;

/** The colour at `t` in 0..=1 of evenly spaced anchors. */
export function at(anchors: readonly Rgb[], t: number): Rgb {
  const place = Math.min(1, Math.max(0, Number.isNaN(t) ? 0 : t)) * (anchors.length - 1);
  const index = Math.min(Math.floor(place), anchors.length - 2);
  const [from, to] = [anchors[index], anchors[index + 1]] as [Rgb, Rgb];
  const share = place - index;
  return [0, 1, 2].map((i) => Math.round((from[i] as number) + ((to[i] as number) - (from[i] as number)) * share)) as unknown as Rgb;
}

/** 256 steps of a scale, as pixels of an ImageData (little-endian RGBA). */
export function table(anchors: readonly Rgb[]): Uint32Array {
  return Uint32Array.from({ length: 256 }, (_, i) => {
    const [r, g, b] = at(anchors, i / 255);
    return ((255 << 24) | (b << 16) | (g << 8) | r) >>> 0;
  });
}

export const css = ([r, g, b]: Rgb): string => `rgb(${r} ${g} ${b})`;

/** WCAG 2.2 relative luminance. */
export function luminance(colour: Rgb): number {
  const [r, g, b] = colour.map((part) => {
    const s = part / 255;
    return s <= 0.04045 ? s / 12.92 : ((s + 0.055) / 1.055) ** 2.4;
  }) as [number, number, number];
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
}

export function parseRgb(text: string): Rgb {
  const parts = /(\d+)[, ]+(\d+)[, ]+(\d+)/.exec(text);
  if (parts !== null) return [Number(parts[1]), Number(parts[2]), Number(parts[3])];
  const hex = /^#([0-9a-f]{2})([0-9a-f]{2})([0-9a-f]{2})/i.exec(text.trim());
  if (hex !== null) return [hex[1], hex[2], hex[3]].map((pair) => parseInt(pair as string, 16)) as unknown as Rgb;
  return [128, 128, 128];
}

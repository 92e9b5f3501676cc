/**
 * Numbers in words: decimal units, as model cards and `ls` of disks use them. A number and its unit stay on one
 * line.
 */

const SPACE = "\u00a0";

const UNITS = [
  [1e9, "GB"],
  [1e6, "MB"],
  [1e3, "kB"],
] as const;

/** "5.70 GB": three significant digits, or as many as asked for. */
export function bytes(value: number, digits = 3): string {
  const [size, unit] = UNITS.find(([size]) => value >= size) ?? [1, "B"];
  const scaled = value / size;
  if (size === 1) return `${Math.round(scaled)}${SPACE}B`;
  const decimals = Math.max(0, digits - Math.floor(Math.log10(scaled)) - 1);
  return `${scaled.toFixed(decimals)}${SPACE}${unit}`;
}

/** "14,172,416". The browser's own formatter takes 30 ms the first time. */
export function count(value: number): string {
  return String(Math.round(value)).replace(/\B(?=(?:\d{3})+$)/g, ",");
}

/** A share of 1 as "5.4 %". */
export function percent(share: number, decimals = 1): string {
  return `${(share * 100).toFixed(decimals)}${SPACE}%`;
}

/** "+0.1234", with a true minus sign. */
export function signed(value: number, decimals = 4): string {
  return `${value < 0 ? "\u2212" : "+"}${Math.abs(value).toFixed(decimals)}`;
}

export function plain(value: number, decimals = 4): string {
  return `${value < 0 ? "\u2212" : ""}${Math.abs(value).toFixed(decimals)}`;
}

/** A small positive figure: fixed where that is readable, else with a power of ten. */
export function small(value: number): string {
  if (value === 0) return "0";
  return Math.abs(value) >= 1e-3 ? value.toPrecision(3) : value.toExponential(2);
}

/** A 4-bit code as its bits, the highest first. */
export const bits = (code: number): string => code.toString(2).padStart(4, "0");

/** A number with the Korean particle for "to": 으로 after a sound that closes the syllable, other than ㄹ. */
export function ro(number: string): string {
  // 영, 삼 and 육 close; 일, 칠 and 팔 end in ㄹ, and the other digits are open.
  return `${number}${/[036]\D*$/.test(number) ? "으로" : "로"}`;
}

/** What is said of repeated measurements. */

export interface Summary {
  median: number;
  min: number;
  max: number;
  /** Measurements. */
  n: number;
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  const upper = sorted[middle] ?? Number.NaN;
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? Number.NaN) + upper) / 2;
}

export function summarize(values: readonly number[]): Summary {
  return { median: median(values), min: Math.min(...values), max: Math.max(...values), n: values.length };
}

/** Ratios round by round, so that what slowed a whole round does not count. */
export function ratios(ours: readonly number[], theirs: readonly number[]): Summary {
  const rounds = Math.min(ours.length, theirs.length);
  return summarize(Array.from({ length: rounds }, (_, i) => (ours[i] ?? Number.NaN) / (theirs[i] ?? Number.NaN)));
}

/** L2 distance of `values` from `expected` as a share of its length; NaN and infinities make it NaN. */
export function relativeError(values: ArrayLike<number>, expected: ArrayLike<number>): number {
  if (values.length !== expected.length) return Number.NaN;
  let difference = 0;
  let length = 0;
  for (let i = 0; i < expected.length; i++) {
    const [value = Number.NaN, wanted = Number.NaN] = [values[i], expected[i]];
    difference += (value - wanted) ** 2;
    length += wanted ** 2;
  }
  return Math.sqrt(difference / length);
}

/** Numbers that look random and are the same in every run. */

/** Uniform in [0, 1): mulberry32. */
export function uniform(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t = (t + Math.imul(t ^ (t >>> 7), t | 61)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** `count` values of a bell-like distribution with that standard deviation: sums of four uniform ones. */
export function bell(count: number, seed: number, deviation = 1): Float32Array<ArrayBuffer> {
  const next = uniform(seed);
  const scale = deviation * Math.sqrt(3);
  return Float32Array.from({ length: count }, () => (next() + next() + next() + next() - 2) * scale);
}

/** `count` values that repeat a long period of {@link bell}: cheap for large matrices. */
export function repeated(count: number, seed: number, deviation: number): Float32Array<ArrayBuffer> {
  // No multiple of any number of columns, so that rows differ.
  const period = bell(Math.min(count, 1_000_003), seed, deviation);
  const values = new Float32Array(count);
  for (let at = 0; at < count; at += period.length) values.set(period.subarray(0, count - at), at);
  return values;
}

/** bfloat16 bits of `values`, cut off. */
export function bfloat16(values: Float32Array<ArrayBuffer>): Uint16Array<ArrayBuffer> {
  return Uint16Array.from(new Uint32Array(values.buffer), (bits) => bits >>> 16);
}

/** Values to pixels: linear and logarithmic scales with round ticks. */

export interface Scale {
  (value: number): number;
  invert: (pixel: number) => number;
  domain: readonly [number, number];
  range: readonly [number, number];
  ticks: (about: number) => number[];
}

export function linear(domain: readonly [number, number], range: readonly [number, number]): Scale {
  const [d0, d1] = domain;
  const [r0, r1] = range;
  const slope = d1 === d0 ? 0 : (r1 - r0) / (d1 - d0);
  const scale = (value: number) => r0 + (value - d0) * slope;
  return Object.assign(scale, {
    domain,
    range,
    invert: (pixel: number) => (slope === 0 ? d0 : d0 + (pixel - r0) / slope),
    ticks: (about: number) => linearTicks(d0, d1, about),
  });
}

/** Base-2 or base-10 logarithmic scale over a positive domain. */
export function log(domain: readonly [number, number], range: readonly [number, number], base: 2 | 10 = 10): Scale {
  if (!(domain[0] > 0 && domain[1] > 0)) throw new RangeError("a logarithmic scale needs a positive domain");
  const of = (value: number) => Math.log(value) / Math.log(base);
  const inner = linear([of(domain[0]), of(domain[1])], range);
  return Object.assign((value: number) => inner(of(value)), {
    domain,
    range,
    invert: (pixel: number) => base ** inner.invert(pixel),
    ticks: () => {
      const ticks: number[] = [];
      for (let exponent = Math.ceil(of(domain[0]) - 1e-9); exponent <= of(domain[1]) + 1e-9; exponent++) {
        ticks.push(base ** exponent);
      }
      return ticks;
    },
  });
}

/** Multiples of 1, 2 or 5 times a power of ten inside the range. */
export function linearTicks(from: number, to: number, about: number): number[] {
  const [low, high] = from < to ? [from, to] : [to, from];
  if (!(high > low) || about < 1) return [low];
  const raw = (high - low) / about;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = ([1, 2, 5, 10].find((multiple) => multiple * power >= raw * 0.999) ?? 10) * power;
  const ticks: number[] = [];
  for (let index = Math.ceil(low / step - 1e-9); index * step <= high + step * 1e-9; index++) {
    // Through the count, so that 0.30000000000000004 does not appear.
    ticks.push(Number((index * step).toPrecision(12)));
  }
  return ticks;
}

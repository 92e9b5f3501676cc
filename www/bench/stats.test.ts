import { expect, test } from "vitest";
import { bell, bfloat16, repeated } from "./random";
import { median, ratios, relativeError, summarize } from "./stats";

test("the median of an even number of values lies between the middle two", () => {
  expect(median([9, 1, 4])).toBe(4);
  expect(median([9, 1, 4, 2])).toBe(3);
  expect(median([])).toBeNaN();
});

test("a summary keeps the ends", () => {
  expect(summarize([3, 1, 2])).toEqual({ median: 2, min: 1, max: 3, n: 3 });
});

test("ratios are taken round by round", () => {
  // The second round was slow for both.
  expect(ratios([10, 1, 12], [5, 0.5, 6])).toEqual({ median: 2, min: 2, max: 2, n: 3 });
  expect(ratios([10, 20], [5]).n).toBe(1);
});

test("a relative error is a share of the expected length, and not a number where something is missing", () => {
  expect(relativeError([3, 4.5], [3, 4])).toBeCloseTo(0.1);
  expect(relativeError([3, Number.NaN], [3, 4])).toBeNaN();
  expect(relativeError([3], [3, 4])).toBeNaN();
});

test("random values are the same in every run, centred, and of the deviation asked for", () => {
  const values = bell(40_000, 7, 0.5);
  expect(values.slice(0, 4)).toEqual(bell(4, 7, 0.5));
  expect(values.slice(0, 4)).not.toEqual(bell(4, 8, 0.5));
  const mean = values.reduce((sum, x) => sum + x, 0) / values.length;
  const deviation = Math.sqrt(values.reduce((sum, x) => sum + (x - mean) ** 2, 0) / values.length);
  expect(Math.abs(mean)).toBeLessThan(0.01);
  expect(Math.abs(deviation - 0.5)).toBeLessThan(0.01);
});

test("long arrays repeat one period", () => {
  const values = repeated(1_000_003 + 5, 7, 1);
  expect(values.slice(-5)).toEqual(values.slice(0, 5));
});

test("bfloat16 keeps the upper half of the bits", () => {
  expect([...bfloat16(Float32Array.of(1, -2, 0.02))]).toEqual([0x3f80, 0xc000, 0x3ca3]);
});

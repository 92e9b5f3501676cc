import { describe, expect, it } from "vitest";
import { linear, linearTicks, log } from "./scale";

describe("linear", () => {
  it("maps both ends, and back", () => {
    const scale = linear([-1, 1], [10, 210]);
    expect([scale(-1), scale(0), scale(1)]).toEqual([10, 110, 210]);
    expect(scale.invert(scale(0.37))).toBeCloseTo(0.37, 12);
  });

  it("stands an empty domain", () => {
    const scale = linear([3, 3], [0, 100]);
    expect(scale(3)).toBe(0);
    expect(scale.invert(50)).toBe(3);
    expect(scale.ticks(5)).toEqual([3]);
  });
});

describe("log", () => {
  it("puts powers at equal distances", () => {
    const scale = log([32, 4096], [0, 700], 2);
    expect(scale(64) - scale(32)).toBeCloseTo(100, 9);
    expect(scale.invert(700)).toBeCloseTo(4096, 6);
    expect(scale.ticks(0).map(Math.round)).toEqual([32, 64, 128, 256, 512, 1024, 2048, 4096]);
  });

  it("refuses zero", () => {
    expect(() => log([0, 1], [0, 1])).toThrow(RangeError);
  });
});

describe("ticks", () => {
  it.each([
    [0, 1, 5, [0, 0.2, 0.4, 0.6, 0.8, 1]],
    [-0.05, 0.11, 4, [-0.05, 0, 0.05, 0.1]],
    [0, 32.1e9, 4, [0, 1e10, 2e10, 3e10]],
    [1, 0, 2, [0, 0.5, 1]],
  ])("%d to %d, about %d", (from, to, about, ticks) => expect(linearTicks(from, to, about)).toEqual(ticks));
});

import { describe, expect, it } from "vitest";
import { at, blueOrange, cividis, luminance, parseRgb, table, type Rgb } from "./colour";

describe("cividis", () => {
  it("grows lighter all the way, so that it can be read in grey", () => {
    const steps = Array.from({ length: 64 }, (_, i) => luminance(at(cividis, i / 63)));
    for (const [i, step] of steps.entries()) if (i > 0) expect(step).toBeGreaterThan(steps[i - 1] as number);
  });
});

describe("blue to orange", () => {
  for (const neutral of [[251, 250, 246], [19, 20, 22]] as Rgb[]) {
    it(`has its ground in the middle and opposite ends on ${neutral.join()}`, () => {
      const scale = blueOrange(neutral);
      expect(at(scale, 0.5)).toEqual(neutral);
      const [low, high] = [at(scale, 0), at(scale, 1)];
      expect(low[2]).toBeGreaterThan(low[0]);
      expect(high[0]).toBeGreaterThan(high[2]);
    });
  }
});

it("keeps inside the scale", () => {
  expect(at(cividis, -3)).toEqual(cividis[0]);
  expect(at(cividis, 9)).toEqual(cividis.at(-1));
  expect(at(cividis, NaN)).toEqual(cividis[0]);
});

it("packs pixels as ImageData wants them", () => {
  const bytes = new Uint8Array(table([[1, 2, 3], [1, 2, 3]]).buffer);
  expect([...bytes.slice(0, 4)]).toEqual([1, 2, 3, 255]);
});

it.each([
  ["rgb(1, 2, 3)", [1, 2, 3]],
  ["rgb(1 2 3)", [1, 2, 3]],
  ["#0a0B0c", [10, 11, 12]],
])("reads %s", (text, rgb) => expect(parseRgb(text)).toEqual(rgb));

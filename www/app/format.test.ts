import { describe, expect, it } from "vitest";
import { bytes, count, percent, plain, ro, signed, small } from "./format";

describe("bytes", () => {
  it.each([
    [0, "0\u00a0B"],
    [999, "999\u00a0B"],
    [5_702_540_160, "5.70\u00a0GB"],
    [32_121_045_504, "32.1\u00a0GB"],
    [532_480, "532\u00a0kB"],
    [1_950_000, "1.95\u00a0MB"],
  ])("%d", (value, text) => expect(bytes(value)).toBe(text));
});

it("keeps numbers, signs and units together", () => {
  expect(percent(0.0537)).toBe("5.4\u00a0%");
  expect(signed(-0.5)).toBe("\u22120.5000");
  expect(plain(-1, 1)).toBe("\u22121.0");
  expect(count(8030261248)).toBe("8,030,261,248");
  expect(small(0)).toBe("0");
  expect(small(0.00412)).toBe("0.00412");
  expect(small(0.0000412)).toBe("4.12e-5");
});

it.each([
  ["64", "64로"],
  ["4,096", "4,096으로"],
  ["0.0186", "0.0186으로"],
  ["0.0571", "0.0571로"],
  ["13", "13으로"],
])("Korean %s", (number, text) => expect(ro(number)).toBe(text));

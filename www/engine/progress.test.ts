import { expect, test } from "vitest";
import { withRate } from "./progress";
import type { LoadProgress } from "./types";

test("rate and time left follow the last seconds", () => {
  let time = 1000;
  const seen: LoadProgress[] = [];
  const report = withRate((progress) => seen.push(progress), () => time);
  const at = (ms: number, loaded: number) => {
    time = 1000 + ms;
    report({ phase: "weights", loaded, total: 10_000, tensors: 0, tensorsTotal: 1, time: 0 });
    return seen.at(-1);
  };
  expect(at(0, 0)?.rate).toBeUndefined();
  expect(at(100, 100)?.rate).toBeUndefined();
  expect(at(1000, 1000)).toMatchObject({ time: 1000, rate: 1000, remaining: 9000 });
  at(4000, 4000);
  // A pause: the old rate is forgotten after some seconds.
  expect(at(9000, 4500)?.rate).toBeCloseTo(100);
  // A new attempt starts from zero.
  expect(at(9100, 0)?.rate).toBeUndefined();
});

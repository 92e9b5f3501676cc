import { expect, test } from "vitest";
import { firstDifference, parts, type Piece } from "./diff";

const pieces = (text: string): Piece[] => [...text].map((letter) => ({ token: letter.charCodeAt(0), text: letter }));

test("the first differing token is found", () => {
  expect(firstDifference(pieces("abc"), pieces("abc"))).toBeNull();
  expect(firstDifference(pieces("abc"), pieces("abd"))).toBe(2);
  expect(firstDifference(pieces("abc"), pieces("ab"))).toBe(2);
  expect(firstDifference([], [])).toBeNull();
  expect(parts(pieces("abcde"), 2)).toEqual(["ab", "c", "de"]);
  expect(parts(pieces("abc"), null)).toEqual(["abc", "", ""]);
  expect(parts(pieces("abc"), 3)).toEqual(["abc", "", ""]);
});

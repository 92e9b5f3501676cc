import { describe, expect, test } from "vitest";
import { stories, windows } from "./perplexity";

describe("stories and windows are those of `nibblama eval`", () => {
  test("texts split at separator lines only", () => {
    const text = "One.\n\nTwo <|endoftext|> inside.\n<|endoftext|>\n\n<|endoftext|>\r\n Three. \n";
    expect(stories(text)).toEqual(["One.\n\nTwo <|endoftext|> inside.", "Three."]);
    expect(stories("<|endoftext|>")).toEqual([]);
    expect(stories("")).toEqual([]);
  });

  test("windows score each token once", () => {
    expect(windows(5, 8)).toEqual([{ begin: 0, scoredFrom: 0, end: 5 }]);
    expect(windows(14, 8)).toEqual([
      { begin: 0, scoredFrom: 0, end: 8 },
      { begin: 4, scoredFrom: 8, end: 12 },
      { begin: 8, scoredFrom: 12, end: 14 },
    ]);
    for (const [length, size] of [[1, 2], [7, 2], [100, 3], [513, 512], [1000, 7]] as const) {
      let next = 0;
      for (const { begin, scoredFrom, end } of windows(length, size)) {
        expect(scoredFrom).toBe(next);
        expect(end).toBeGreaterThan(next);
        expect(end - begin).toBeLessThanOrEqual(size);
        next = end;
      }
      expect(next).toBe(length);
    }
  });
});

import { createHash } from "node:crypto";
import { expect, test } from "vitest";
import { Sha256 } from "./sha256";

function reference(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}

test("every length around the block size, in uneven pieces", () => {
  for (const length of [0, 1, 3, 55, 56, 57, 63, 64, 65, 119, 120, 127, 128, 1000]) {
    const bytes = Uint8Array.from({ length }, (_, i) => (i * 7 + length) & 255);
    for (const piece of [1, 5, 64, 100]) {
      const hash = new Sha256();
      for (let at = 0; at < length; at += piece) hash.update(bytes.subarray(at, at + piece));
      expect(hash.finish()).toBe(reference(bytes));
    }
  }
});

test("a kept state goes on to the same hash", () => {
  const bytes = Uint8Array.from({ length: 1000 }, (_, i) => (i * 13) & 255);
  for (const cut of [0, 1, 63, 64, 100, 999, 1000]) {
    const first = new Sha256();
    first.update(bytes.subarray(0, cut));
    const second = Sha256.restore(first.save());
    expect(second?.length).toBe(cut);
    second?.update(bytes.subarray(cut));
    expect(second?.finish()).toBe(reference(bytes));
  }
});

test("a damaged state is refused", () => {
  const hash = new Sha256();
  hash.update(new Uint8Array(70));
  expect(Sha256.restore(hash.save().slice(0, -2))).toBeNull();
  expect(Sha256.restore("")).toBeNull();
  expect(Sha256.restore("x:00")).toBeNull();
});

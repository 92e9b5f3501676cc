/** Our byte-level encoder against the library, on the built-in model's tokenizer and on those of the references. */

import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { byteLevelEncoder, libraryEncoder } from "./encoder";

type Json = Record<string, unknown>;
const json = (path: string) => JSON.parse(readFileSync(fileURLToPath(new URL(`../../${path}`, import.meta.url)), "utf8")) as Json;
const golden = "tests/fixtures/golden/tokenizers";
const styles = ["gpt2_style", "llama2_style", "llama3_style"];

const tokenizer = json("models/stories/tokenizer.json");
const settings = json("models/stories/tokenizer_config.json");
/** Texts of the references: scripts, emoji, spaces of all kinds, contractions, control characters. */
const texts = styles.flatMap((style) => (json(`${golden}/${style}/cases.json`)["cases"] as { text: string }[]).map(({ text }) => text));

/** Strings from an alphabet in which everything that the pattern tells apart is near everything else. */
function* random(count: number): Generator<string> {
  const alphabet = [..."aZé한字1٣ \t\n\r\u00a0\u3000.,!'’-_🙂\u0301\u0000", "'s", "'ll", "'RE", "  ", "<|endoftext|>", "<|end"];
  let state = 7;
  for (let i = 0; i < count; i++) {
    let text = "";
    for (let length = (i % 24) + 1; length > 0; length--) {
      state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
      text += alphabet[(state >>> 8) % alphabet.length] ?? "";
    }
    yield text;
  }
}

describe("the built-in model's tokenizer", async () => {
  const own = byteLevelEncoder(tokenizer, settings);
  const library = await libraryEncoder(tokenizer, settings);

  test("is one of ours", () => {
    expect(own).not.toBeNull();
  });

  test("gives the library's ids for every text of the references, for random ones and for a long word", () => {
    for (const text of [...texts, ...random(2000), "", "<|endoftext|><|endoftext|>", "mississippi".repeat(300)]) {
      for (const special of [false, true]) {
        expect(own?.encode(text, special), JSON.stringify(text)).toEqual(library.encode(text, special));
      }
    }
  });

  // Of JavaScript's white space, which the library goes by, U+FEFF is none for the reference, and U+0085 is missing.
  test("tells white space as the tokenizers package for Python does", () => {
    expect(own?.encode("字\u0085'll", false)).toEqual([162, 256, 246, 127, 228, 702]);
    expect(own?.encode("字\ufeff'll", false)).toEqual([162, 256, 246, 172, 120, 124, 7, 285]);
  });

  test("gives the library's tokens", () => {
    for (let id = -1; id <= 4096; id++) expect(own?.token(id)).toBe(library.token(id));
  });

  test("merges written as one string, and whole words first, are the library's as well", async () => {
    const model = tokenizer["model"] as { merges: [string, string][] } & Json;
    for (const change of [{ merges: model.merges.map((pair) => pair.join(" ")) }, { ignore_merges: true }]) {
      const changed = { ...tokenizer, model: { ...model, ...change } };
      const theirs = await libraryEncoder(changed, settings);
      for (const text of texts) expect(byteLevelEncoder(changed, settings)?.encode(text, true)).toEqual(theirs.encode(text, true));
    }
  });
});

test.each(styles)("%s is left to the library", (style) => {
  expect(byteLevelEncoder(json(`${golden}/${style}/tokenizer.json`), {})).toBeNull();
});

test("what asks for more is left to the library", () => {
  const model = tokenizer["model"] as Json;
  const vocab = Object.fromEntries(Object.entries(model["vocab"] as Record<string, number>).filter(([token]) => token !== "Ġ"));
  const added = tokenizer["added_tokens"] as Json[];
  const pre = tokenizer["pre_tokenizer"] as Json;
  const others: Json[] = [
    { model: { ...model, unk_token: "<|endoftext|>" } },
    { model: { ...model, byte_fallback: true } },
    { model: { ...model, end_of_word_suffix: "</w>" } },
    { model: { ...model, vocab } },
    { normalizer: { type: "NFC" } },
    { pre_tokenizer: { ...pre, add_prefix_space: true } },
    { pre_tokenizer: { ...pre, use_regex: false } },
    { pre_tokenizer: null },
    { post_processor: { type: "RobertaProcessing" } },
    { added_tokens: [{ ...added[0], lstrip: true }] },
  ];
  for (const other of others) expect(byteLevelEncoder({ ...tokenizer, ...other }, settings), JSON.stringify(other).slice(0, 80)).toBeNull();
  expect(byteLevelEncoder(tokenizer, { remove_space: true })).toBeNull();
});

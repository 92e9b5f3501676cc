import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { NibblamaError } from "./errors";
import { Text } from "./text";

interface Case {
  text: string;
  ids: number[];
  ids_with_special: number[];
  decoded: string;
  decoded_skip_special: string;
}

interface Chat {
  messages: { role: string; content: string }[];
  add_generation_prompt: boolean;
  rendered: string;
  ids: number[];
}

interface Golden {
  cases: Case[];
  chats: Chat[];
}

const fixtures = fileURLToPath(new URL("../../tests/fixtures/golden", import.meta.url));
const golden = process.env["NIBBLAMA_GOLDEN"];
const folders = [fixtures, ...(golden === undefined ? [] : [golden])].map((folder) => join(folder, "tokenizers"));
const styles = ["gpt2_style", "llama2_style", "llama3_style"];

function read(folder: string, name: string): { name: string; text: string } {
  return { name, text: readFileSync(join(folder, name), "utf8") };
}

function open(folder: string): Promise<Text> {
  return Text.open(read(folder, "tokenizer.json"), read(folder, "tokenizer_config.json"));
}

test("every reference tokenizer is there", () => {
  for (const folder of folders) {
    expect(existsSync(folder), folder).toBe(true);
    expect(readdirSync(folder).sort()).toEqual(styles);
  }
});

describe.each(folders.flatMap((folder) => styles.map((style) => join(folder, style))))("%s", async (folder) => {
  const text = await open(folder);
  const { cases, chats } = JSON.parse(read(folder, "cases.json").text) as Golden;

  test("all texts and chats are there", () => {
    expect([cases.length, chats.length]).toEqual([50, 6]);
  });

  test.each(cases)("$text", ({ text: input, ids, ids_with_special, decoded, decoded_skip_special }) => {
    expect(text.encode(input, false)).toEqual(ids);
    expect(text.encode(input, true)).toEqual(ids_with_special);
    expect(text.decode(ids, false)).toBe(decoded);
    expect(text.decode(ids_with_special, true)).toBe(decoded_skip_special);
  });

  test.each(chats)("chat $rendered", ({ messages, add_generation_prompt, rendered, ids }) => {
    expect(text.render(messages, add_generation_prompt)).toBe(rendered);
    expect(text.encode(rendered, false)).toEqual(ids);
  });

  test.each(cases)("token by token: $text", ({ ids }) => {
    const decoder = new TextDecoder("utf-8", { ignoreBOM: true });
    let streamed = "";
    for (const id of ids) streamed += decoder.decode(text.bytes(id), { stream: true });
    streamed += decoder.decode();
    // A whole text loses the space that the tokenizer had put before it; a continuation keeps it.
    const whole = text.decode(ids, true);
    expect([whole, ` ${whole}`]).toContain(streamed);
  });

  test("an unknown role is refused by the template", () => {
    expect(() => text.render([{ role: "robot", content: "x" }])).toThrow(NibblamaError);
  });

  test("an id outside the vocabulary is refused", () => {
    expect(() => text.decode([1_000_000], false)).toThrow(/no such token id/);
  });
});

test("broken files name themselves", async () => {
  const broken = (content: string) => expect(Text.open({ name: "tokenizer.json", text: content })).rejects;
  await broken("{").toThrow(/^tokenizer.json: not valid JSON/);
  await broken("[]").toThrow("tokenizer.json: not a JSON object");
  await broken("{}").toThrow("tokenizer.json: the model is missing");
});

test("an unknown decoder is refused", async () => {
  const folder = join(folders[0] ?? "", "llama2_style");
  const tokenizer = JSON.parse(read(folder, "tokenizer.json").text) as { decoder: unknown };
  tokenizer.decoder = { type: "WordPiece", prefix: "##", cleanup: true };
  const file = { name: "tokenizer.json", text: JSON.stringify(tokenizer) };
  await expect(Text.open(file)).rejects.toThrow("tokenizer.json: decoder: unknown decoder (found WordPiece)");
});

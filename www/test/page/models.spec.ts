/** Views 8 to 12: each task by mouse and by keyboard, and the numbers against the command line's. */

import { readFileSync, writeFileSync } from "node:fs";
import { expect, test, type Locator } from "@playwright/test";
import { cli, openView, problems, repository, table, takeaway as said } from "./support";

/** Numbers and their units hold together by spaces that do not break. */
const takeaway = async (view: Locator) => (await said(view)).replaceAll("\u00a0", " ");

interface Inspected {
  true_bytes: number;
  modules: { path: string; kind: string; bytes: number }[];
}

test("layers: a row unticked is left out, here and in the snippet, as the command line leaves it out", async ({ page }) => {
  const errors = problems(page);
  const view = await openView(page, "layers", "&lang=en&size_of=this");
  await expect(view.locator(".caption")).toContainText("this model", { timeout: 60_000 });
  const before = await takeaway(view);
  expect(before).toMatch(/^56 of 57|^56 of 56/);
  const bytesOf = async (name: string) => {
    const columns = await table(view);
    const at = columns["module"]?.indexOf(name) ?? -1;
    return { kind: columns["class after"]?.[at], bytes: columns["bytes in 4 bits"]?.[at] };
  };
  const told = cli("inspect", `${repository}models/stories`, "--quant-type", "nf4", "--double-quant") as Inspected;
  const sum = (suffix: string, inspected: Inspected) =>
    inspected.modules.filter(({ path }) => path.endsWith(suffix)).reduce((total, { bytes }) => total + bytes, 0);
  expect(await bytesOf("q_proj")).toEqual({ kind: "Linear4bit", bytes: sum("q_proj", told) });
  expect(await bytesOf("embed_tokens")).toEqual({ kind: "Embedding", bytes: sum("embed_tokens", told) });

  // By keyboard: the box has the focus and Space unticks it.
  const box = view.getByRole("checkbox", { name: "quantize q_proj" });
  await box.focus();
  await page.keyboard.press("Space");
  await expect(box).not.toBeChecked();
  await expect.poll(() => takeaway(view)).not.toBe(before);
  const skipped = cli(
    "inspect", `${repository}models/stories`, "--quant-type", "nf4", "--double-quant", "--skip", "q_proj",
  ) as Inspected;
  await expect.poll(() => bytesOf("q_proj")).toEqual({ kind: "Linear", bytes: sum("q_proj", skipped) });
  await expect(page).toHaveURL(/skip=lm_head%2Cq_proj/);
  // A whole layer, by mouse: the tree then shows three runs of layers.
  await view.getByText("Leave out whole layers").click();
  await view.getByRole("button", { name: "layer 3", exact: true }).click();
  await expect(view.locator(".tree")).toContainText("(3): LlamaDecoderLayer");
  await view.getByRole("button", { name: "The library's own choice" }).click();
  await expect.poll(() => takeaway(view)).toBe(before);
  expect(errors).toEqual([]);
});

test("layers: the model of this tab is loaded and writes like this", async ({ page }) => {
  const view = await openView(page, "layers", "&lang=en&skip=lm_head,down_proj");
  const button = view.getByRole("button", { name: "Load and write like this" });
  await button.click();
  const story = view.locator(".tree-story");
  await expect(story).toContainText("Once upon a time", { timeout: 90_000 });
  await expect.poll(async () => (await story.innerText()).length).toBeGreaterThan(120);
});

test("side by side: one prompt, two texts, KL as the engine has it, perplexity as the command line has it", async ({ page }) => {
  const errors = problems(page);
  // The first stories are enough for a comparison with the command line.
  const text = readFileSync(`${repository}models/eval/stories.txt`, "utf8").split("<|endoftext|>").slice(0, 3).join("<|endoftext|>");
  const file = test.info().outputPath("stories.txt");
  writeFileSync(file, text);
  await page.route("**/models/eval/stories.txt", (route) => route.fulfill({ body: text, contentType: "text/plain" }));
  const view = await openView(page, "side", "&lang=en");
  await expect(view.locator(".column mark").first()).toBeVisible();
  const texts = await view.locator(".column-text").allInnerTexts();
  const marks = await view.locator(".column mark").allInnerTexts();
  expect(marks).toHaveLength(2);
  expect(marks[0]).not.toBe(marks[1]);
  // Up to the first differing token the texts are equal.
  const [full = "", four = ""] = texts;
  const same = [...full].findIndex((letter, i) => letter !== four[i]);
  expect(full.slice(0, same).length).toBeGreaterThan("Once upon a time".length);
  const columns = await table(view);
  const kl = (columns["KL, nats"] ?? []).map(Number);
  expect(kl.length).toBeGreaterThan(60);
  expect(kl.every((value) => value >= 0 && value < 5)).toBe(true);
  const ledger = Object.fromEntries(
    await view.locator(".ledger tbody tr").evaluateAll((rows) =>
      rows.map((row) => [row.querySelector("th")?.textContent ?? "", [...row.querySelectorAll("td")].map((cell) => cell.textContent ?? "")]),
    ),
  ) as Record<string, string[]>;
  expect(ledger["tokens per second"]?.every((rate) => Number(rate) > 1)).toBe(true);
  expect(ledger["kernel"]?.every((kernel) => /simd\d* \d+×/.test(kernel))).toBe(true);
  // The ledger of either side adds up to the memory of its tab; figures have three digits.
  const size = (text = "") => Number.parseFloat(text || "0") * (/GB/.test(text) ? 1e9 : /MB/.test(text) ? 1e6 : 1e3);
  const kinds = ["packed 4-bit codes", "scales and their maps", "unquantized weights", "kv cache", "scratch", "code, stack and freed room"];
  for (const side of [0, 1]) {
    const whole = size(ledger["memory of the tab"]?.[side]);
    const sum = kinds.reduce((total, kind) => total + size(ledger[kind]?.[side]), 0);
    expect(Math.abs(sum / whole - 1)).toBeLessThan(0.01);
  }
  const { breakdown } = cli<{ breakdown: Record<string, number> }>("inspect", `${repository}models/stories`, "--quant-type", "nf4", "--double-quant");
  expect(ledger["packed 4-bit codes"]?.[1]?.replace("\u00a0", " ")).toBe(`${((breakdown["packed_codes"] ?? 0) / 1e6).toFixed(2)} MB`);

  await view.getByRole("button", { name: "Measure perplexity on held-out stories" }).click();
  await expect(view.locator("progress")).toBeVisible();
  const result = view.getByText(/^Perplexity on/);
  await expect(result).toBeVisible({ timeout: 120_000 });
  const told = cli(
    "eval", `${repository}models/stories`, "--text", file, "--quant-type", "nf4", "--double-quant",
    "--against", `${repository}models/stories`,
  ) as { perplexity: number; against: { perplexity: number } };
  await expect(result).toContainText(`${told.against.perplexity.toFixed(3)} in full precision`);
  await expect(result).toContainText(`${told.perplexity.toFixed(3)} in 4 bits`);

  // Another kernel and another arithmetic, by keyboard, and the models given back.
  await view.locator("[data-choice=kernel]").focus();
  await page.keyboard.press("End");
  await expect(page).toHaveURL(/kernel=simd128/);
  await view.getByRole("button", { name: "Write both again" }).press("Enter");
  await expect(view.locator(".ledger tbody tr").nth(1).locator("td").first()).toHaveText("simd128 1×", { timeout: 60_000 });
  await view.getByRole("radio", { name: "near-exact" }).focus();
  await page.keyboard.press("ArrowRight");
  await expect(page).toHaveURL(/arithmetic=fast/);
  await view.getByRole("button", { name: "Give the memory back" }).click();
  await expect(view.getByText(/disposed of/)).toBeVisible();
  expect(errors).toEqual([]);
});

test("LoRA: two columns, another adapter by keyboard, one of the visitor's own, and a refusal in words", async ({ page }) => {
  test.setTimeout(240_000);
  const view = await openView(page, "lora", "&lang=en");
  const done = () => expect(view.getByRole("button", { name: "Write both" })).toBeEnabled({ timeout: 90_000 });
  await done();
  const [without = "", rhymes = ""] = await view.locator(".column-text").allInnerTexts();
  expect(without).not.toBe(rhymes);
  const config = JSON.parse(readFileSync(`${repository}models/adapters/rhymes/adapter_config.json`, "utf8")) as { r: number };
  await expect(view.locator(".figures")).toContainText(String(config.r));
  const columns = await table(view);
  const adapter = Number(columns["bytes"]?.[0]);
  const told = cli<{ memory: { model: { lora: number; packed_codes: number } } }>(
    "generate", `${repository}models/stories-nf4`, "--adapter", `${repository}models/adapters/rhymes`, "--ids", "0", "--max-new-tokens", "1",
  );
  expect(adapter).toBe(told.memory.model.lora);

  await view.getByRole("radio", { name: "rhymes" }).focus();
  await page.keyboard.press("ArrowRight");
  await expect(view.locator("[data-column=with] h3")).toHaveText("with dialogue");
  await expect(page).toHaveURL(/adapter=dialogue/);
  await done();
  const [again = "", dialogue = ""] = await view.locator(".column-text").allInnerTexts();
  expect(again).toBe(without);
  expect(dialogue).not.toBe(rhymes);

  // Merged, by mouse: no byte of its own, and predictions that moved far less than the adapter moves them.
  await view.getByText("merged into them", { exact: true }).click();
  await expect.poll(() => takeaway(view), { timeout: 60_000 }).toMatch(/^Merged, “dialogue” costs no byte of its own/);
  await done();
  await expect(view.locator("[data-column=with] h3")).toHaveText("with dialogue, merged");
  const { bytes = [] } = await table(view);
  expect(bytes[2]).toBe(bytes[1]);
  const figures = await view.locator(".figures").evaluate((list) =>
    Object.fromEntries([...list.querySelectorAll("div")].map((row) => [row.querySelector("dt")?.textContent, row.querySelector("dd")?.textContent])),
  );
  const [toMerged, toBase] = ["KL, beside to merged", "KL, beside to base"].map((name) => Number.parseFloat(figures[name] ?? ""));
  expect(toMerged).toBeGreaterThan(0);
  expect(toMerged).toBeLessThan((toBase ?? 0) / 5);
  // Without strength the adapter does nothing; by keyboard.
  await view.getByText("beside the weights", { exact: true }).click();
  await done();
  await view.getByRole("slider", { name: "Strength" }).press("Home");
  await expect(page).toHaveURL(/strength=0/);
  await expect.poll(() => takeaway(view)).toMatch(/tokens stay the same/);
  await done();
  await view.getByRole("slider", { name: "Strength" }).fill("1");
  await expect(page).not.toHaveURL(/strength/);

  // Merged while the second text is being written: it goes on from the next token.
  await done();
  await view.evaluate((element) => {
    const merged = [...element.querySelectorAll("label")].find((label) => label.textContent === "merged into them");
    const text = element.querySelector("[data-column=with] .column-text");
    // The last text has to go first.
    let began = false;
    new MutationObserver((_, observer) => {
      began ||= (text?.textContent?.length ?? 0) < 40;
      if (!began || (text?.textContent?.length ?? 0) < 60) return;
      observer.disconnect();
      merged?.click();
    }).observe(element, { subtree: true, childList: true, characterData: true });
  });
  await view.getByRole("button", { name: "Write both" }).click();
  await expect(view.locator("[data-column=with] .column-text")).toContainText("(changed here)");
  await expect(view.locator("[data-column=with] h3")).toHaveText("with dialogue, merged");
  await expect.poll(() => takeaway(view), { timeout: 60_000 }).toMatch(/^Merged/);
  await view.getByText("beside the weights", { exact: true }).click();
  await done();

  const files = ["adapter_config.json", "adapter_model.safetensors"].map((name) => `${repository}models/adapters/rhymes/${name}`);
  await page.setInputFiles("[data-files=lora]", files);
  await expect(view.locator("[data-column=with] h3")).toHaveText("with my own");
  await done();
  expect((await view.locator(".column-text").allInnerTexts())[1]).toBe(rhymes);
  await page.setInputFiles("[data-files=lora]", files.slice(0, 1));
  await expect(view.getByRole("alert")).toContainText("Choose both files");
});

test("your model: sizes of a pasted configuration, of a folder, and what is refused", async ({ page }) => {
  const view = await openView(page, "yours", "&lang=en&context=9");
  const source = readFileSync(`${repository}models/stories/config.json`, "utf8");
  await view.getByLabel("config.json").fill(source);
  await view.getByRole("button", { name: "Show its sizes" }).click();
  await expect.poll(() => takeaway(view)).toMatch(/^pasted model needs .* 512 tokens/);
  const told = cli("inspect", `${repository}models/stories`, "--quant-type", "nf4", "--double-quant", "--context", "512") as Inspected & {
    kv_cache_bytes: number;
  };
  const columns = await table(view);
  const after = (columns["bytes in 4 bits"] ?? []).map(Number);
  expect(after.reduce((a, b) => a + b, 0)).toBe(told.true_bytes + told.kv_cache_bytes);
  expect(after.at(-1)).toBe(told.kv_cache_bytes);

  // Twice the tokens, by keyboard.
  const slider = view.getByRole("slider");
  await slider.focus();
  await page.keyboard.press("ArrowRight");
  await expect(view.locator(".caption")).toContainText("1,024 tokens");
  await expect.poll(async () => Number((await table(view))["bytes in 4 bits"]?.at(-1))).toBe(2 * told.kv_cache_bytes);

  await view.getByLabel("config.json").fill("{");
  await view.getByRole("button", { name: "Show its sizes" }).click();
  await expect(view.getByText("This is not JSON.")).toBeVisible();
  await view.getByLabel("config.json").fill('{"model_type": "gpt2", "architectures": ["GPT2LMHeadModel"]}');
  await view.getByRole("button", { name: "Show its sizes" }).click();
  await expect(view.getByRole("alert")).toContainText("refuses");

  const folder = ["config.json", "generation_config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"];
  await page.setInputFiles("[data-files=yours-files]", folder.map((name) => `${repository}models/stories-nf4/${name}`));
  await expect(view.getByText(/stored quantized already \(nf4\)/)).toBeVisible();
  await expect(view.getByRole("button", { name: "Load it here" })).toBeEnabled();
});

test("snippet: bound both ways, by mouse, keyboard and paste", async ({ page }) => {
  const errors = problems(page);
  const view = await openView(page, "snippet", "&lang=en");
  const program = view.locator("[data-program]");
  await expect(program).toContainText('bnb_4bit_quant_type="nf4"');
  await expect.poll(() => takeaway(view)).toMatch(/^3 lines differ/);
  // The command line's sizes of the same two configurations.
  await view.getByRole("button", { name: "The library's defaults" }).click();
  await expect.poll(() => takeaway(view)).toBe("Every line is the library's default: Llama 3.1 8B takes 6.03 GB this way.");
  await expect(page).toHaveURL(/quant_type=fp4/);
  const type = view.getByRole("combobox", { name: "quant_type" });
  await type.focus();
  await page.keyboard.press("ArrowUp");
  await expect(program).toContainText('bnb_4bit_quant_type="nf4"');

  const paste = view.getByLabel("Paste a snippet");
  await paste.fill('BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_use_double_quant=True, llm_int8_skip_modules=["q_proj"])');
  await view.getByRole("button", { name: "Set the controls" }).click();
  await expect(program).toContainText('llm_int8_skip_modules=["q_proj"]');
  await expect(program).toContainText("bnb_4bit_use_double_quant=True");
  await expect(page).toHaveURL(/quant_type=fp4/);
  await expect(page).toHaveURL(/skip=q_proj/);
  // What the page writes, it reads: there and back changes nothing.
  const written = await program.innerText();
  await view.getByRole("button", { name: "The lesson's" }).click();
  await paste.fill(written);
  await view.getByRole("button", { name: "Set the controls" }).click();
  await expect(program).toHaveText(written);
  await paste.fill("BitsAndBytesConfig(load_in_8bit=True)");
  await view.getByRole("button", { name: "Set the controls" }).click();
  await expect(view.getByText(/This asks for 8 bits/)).toBeVisible();
  await expect(program).toHaveText(written);
  expect(errors).toEqual([]);
});

/** The task of each view, by mouse, by touch and by keyboard alone; and the numbers against the model's files. */

import { open, readFile, writeFile } from "node:fs/promises";
import { expect, test, type Locator, type Page } from "@playwright/test";
import { writeShapedModel } from "../../scripts/shaped-model.mjs";
import { MOUNTS } from "../sites";
import { cli, inspectTensor, type InspectedTensor, openView, ready, repository, table, takeaway } from "./support";

const FULL = "../models/stories/model.safetensors";
const NF4 = "../models/stories-nf4/model.safetensors";
const TENSOR = "model.layers.0.mlp.up_proj";

async function readTensor(path: string, name: string): Promise<Buffer> {
  const file = await open(path);
  try {
    const size = Buffer.alloc(8);
    await file.read(size, 0, 8, 0);
    const head = Number(size.readBigUInt64LE());
    const header = Buffer.alloc(head);
    await file.read(header, 0, head, 8);
    const entry = (JSON.parse(header.toString()) as Record<string, { data_offsets: [number, number] }>)[name];
    if (entry === undefined) throw new Error(`${path} has no ${name}`);
    const [first, last] = entry.data_offsets;
    const bytes = Buffer.alloc(last - first);
    await file.read(bytes, 0, bytes.length, 8 + head + first);
    return bytes;
  } finally {
    await file.close();
  }
}

const bf16 = (bytes: Buffer, index: number): number => {
  const word = new DataView(new ArrayBuffer(4));
  word.setUint32(0, bytes.readUInt16LE(index * 2) << 16);
  return word.getFloat32(0);
};

/** A place on a canvas, as shares of its box. */
async function place(canvas: Locator, x: number, y: number): Promise<[number, number]> {
  await canvas.scrollIntoViewIfNeeded();
  const box = await canvas.boundingBox();
  if (box === null) throw new Error("the canvas is not shown");
  return [box.x + box.width * x, box.y + box.height * y];
}

async function drag(page: Page, canvas: Locator, from: [number, number], to: [number, number]): Promise<void> {
  await page.mouse.move(...(await place(canvas, ...from)));
  await page.mouse.down();
  const [x, y] = await place(canvas, ...to);
  await page.mouse.move(x, y, { steps: 5 });
  await page.mouse.up();
}

/** Goes on with Tab until the focus is there. */
async function tabTo(page: Page, target: Locator): Promise<void> {
  await page.evaluate(() => (document.activeElement as HTMLElement | null)?.blur());
  for (let press = 0; press < 80; press++) {
    await page.keyboard.press("Tab");
    if (await target.evaluate((element) => element === document.activeElement)) return;
  }
  throw new Error("Tab never reached the target");
}

/** Another choice by the address, as a link would make it. */
async function follow(page: Page, id: string, settings: string): Promise<void> {
  await page.evaluate((hash) => (location.hash = hash), `#1&embed=1&view=${id}&lang=en${settings}`);
}

/** The settings under which numbers are compared: as the page comes, and all of them changed. */
const OTHER = "model.layers.7.self_attn.q_proj.weight";
const CHANGED = `&tensor=${OTHER}&weight=1300&quant_type=fp4&blocksize=128&double_quant=off`;
const asItComes = () => inspectTensor(`${TENSOR}.weight`, "--double-quant", "--block", "1536");
const changed = () => inspectTensor(OTHER, "--quant-type", "fp4", "--blocksize", "128", "--block", "10");

test.describe("with a mouse and with keys", () => {
  test.use({ viewport: { width: 1280, height: 900 } });

  test("headline: another model, double quantization off", async ({ page }) => {
    const view = await openView(page, "headline");
    const before = await takeaway(view);
    await view.locator("select").selectOption("TinyLlama 1.1B");
    await expect.poll(() => takeaway(view)).toMatch(/^TinyLlama/);
    await view.locator("select").selectOption("Llama 3.1 8B");
    await expect.poll(() => takeaway(view)).toBe(before);
    await tabTo(page, view.getByRole("checkbox"));
    await page.keyboard.press("Space");
    await expect.poll(() => takeaway(view)).not.toBe(before);
    const columns = await table(view);
    expect(columns["bytes"]).toContain(6_027_761_664);
    expect(columns["bytes"]).toContain(5_591_540_224);
    await view.getByRole("checkbox").press("Space");
    await expect.poll(async () => (await table(view))["bytes"]).toContain(5_702_540_160);
    // Part by part as the command line has it, from the same config.json.
    const golden = await readFile(`${repository}tests/fixtures/golden/memory_footprint.json`, "utf8");
    const config = test.info().outputPath("config.json");
    await writeFile(config, JSON.stringify((JSON.parse(golden) as Record<string, { config: object }>)["Llama-3.1-8B"]?.config));
    const { breakdown, get_memory_footprint } = cli<{ breakdown: Record<string, number>; get_memory_footprint: number }>(
      "footprint", config, "--quant-type", "nf4", "--double-quant",
    );
    const { bytes = [] } = await table(view);
    expect(bytes[1]).toBe(breakdown["packed_codes"]);
    expect(bytes[2]).toBe(breakdown["absmax"]);
    expect(bytes.slice(4, 7).reduce<number>((sum, part) => sum + Number(part), 0)).toBe(breakdown["other_weights"]);
    expect(bytes.at(-1)).toBe(get_memory_footprint);
  });

  test("weight: dragged, typed, moved with arrows", async ({ page }) => {
    const view = await openView(page, "weight");
    const canvas = view.getByRole("slider", { name: /Weight/ });
    await drag(page, canvas, [0.5, 0.2], [0.99, 0.2]);
    await expect.poll(() => takeaway(view)).toMatch(/15 \(1111\)/);
    await view.getByRole("button", { name: "Back to the real weight" }).click();
    await expect.poll(() => takeaway(view)).not.toMatch(/15 \(1111\)/);
    await tabTo(page, canvas);
    await page.keyboard.press("Home");
    await expect.poll(() => takeaway(view)).toMatch(/0 \(0000\)/);
    await page.keyboard.press("ArrowRight");
    await page.keyboard.press("PageUp");
    await expect(canvas).toHaveAttribute("aria-valuenow", "-0.89");
    const typed = view.locator("[data-choice=value]");
    await typed.fill("0");
    await typed.blur();
    await expect.poll(() => takeaway(view)).toMatch(/7 \(0111\)/);
    const compare = async (told: InspectedTensor, format: string) => {
      const columns = await table(view);
      const { levels, codes, thresholds } = told.codebook;
      expect(columns["level"]).toEqual(levels);
      expect(columns["code"]).toEqual(codes);
      expect(columns["from"]?.slice(1)).toEqual(thresholds);
      expect(columns["to"]?.slice(0, -1)).toEqual(thresholds);
      expect(columns["weights there"]).toEqual(told.formats.find(({ name }) => name === format)?.counts);
    };
    await compare(asItComes(), "nf4");
    await follow(page, "weight", CHANGED);
    await expect(view.locator(".caption")).toContainText(/q_proj.*FP4/);
    await expect.poll(async () => (await table(view))["level"]).toEqual(changed().codebook.levels);
    await compare(changed(), "fp4");
  });

  test("block: steps, a weight by mouse and by arrow, an outlier; the bytes are the file's", async ({ page }) => {
    const view = await openView(page, "block", `&tensor=${TENSOR}.weight&weight=4480`);
    const columns = await table(view);
    const [original, codes] = await Promise.all([readTensor(FULL, `${TENSOR}.weight`), readTensor(NF4, `${TENSOR}.weight`)]);
    for (let i = 0; i < 64; i++) {
      expect(columns["weight"]?.[i]).toBe(bf16(original, 4480 + i));
      const byte = codes[(4480 + i) >> 1] as number;
      expect(columns["code"]?.[i]).toBe(i % 2 === 0 ? byte >> 4 : byte & 15);
      expect(Number(columns["byte"]?.[i])).toBe(byte);
    }
    const canvas = view.getByRole("slider", { name: /Position/ });
    const [x, y] = await place(canvas, 0.5, 0.5);
    await page.mouse.click(x, y);
    const clicked = Number(await view.locator("[data-choice=weight]").inputValue());
    expect(clicked).toBeGreaterThan(20);
    expect(clicked).toBeLessThan(44);
    await tabTo(page, canvas);
    await page.keyboard.press("ArrowRight");
    await expect(view.locator("[data-choice=weight]")).toHaveValue(String(clicked + 1));
    await view.getByRole("button", { name: /pack/ }).first().click();
    await expect(view.locator(".step-note")).toContainText("0x");
    const before = await takeaway(view);
    await tabTo(page, view.getByRole("slider", { name: "Plant an outlier" }));
    await page.keyboard.press("End");
    await expect.poll(() => takeaway(view)).not.toBe(before);
    const rest = await table(view);
    // Next to a giant the others share few codes.
    expect(new Set(rest["code"]).size).toBeLessThan(8);
    const compare = async ({ block }: InspectedTensor) => {
      await expect.poll(async () => (await table(view))["code"]).toEqual(block.codes);
      const columns = await table(view);
      expect(columns["weight"]).toEqual(block.values);
      expect(columns["weight / absmax"]).toEqual(block.normalised);
      expect(columns["restored"]).toEqual(block.restored);
      expect(columns["byte"]?.map(Number)).toEqual(block.codes.map((_, i) => block.packed[i >> 1]));
      expect((await takeaway(view)).endsWith(`an RMSE of ${block.errors.rmse.toPrecision(3)}.`)).toBe(true);
    };
    await follow(page, "block", "");
    await compare(asItComes());
    await follow(page, "block", CHANGED);
    await compare(changed());
  });

  test("blocksize: a point by mouse, another by key; error grows with the block", async ({ page }) => {
    const view = await openView(page, "blocksize");
    const columns = await table(view);
    const errors = (columns["RMSE"] as number[]).slice(0, 8);
    expect(columns["blocksize"]?.slice(0, 8)).toEqual([32, 64, 128, 256, 512, 1024, 2048, 4096]);
    expect((errors[7] as number) / (errors[0] as number)).toBeGreaterThan(1);
    expect((columns["bits per weight"] as number[])[1]).toBeCloseTo(4.5, 6);
    const canvas = view.getByRole("slider");
    const [x, y] = await place(canvas, 0.12, 0.3);
    await page.mouse.click(x, y);
    await expect.poll(async () => Number(await view.locator("[data-choice=blocksize]").inputValue())).toBeGreaterThan(64);
    await tabTo(page, canvas);
    await page.keyboard.press("Home");
    await expect(view.locator("[data-choice=blocksize]")).toHaveValue("32");
    const compare = async ({ blocksizes: { single, double } }: InspectedTensor) => {
      const points = [...single, ...double];
      await expect.poll(async () => (await table(view))["RMSE"]).toEqual(points.map(({ rmse }) => rmse));
      const columns = await table(view);
      expect(columns["blocks"]).toEqual(points.map(({ blocks }) => blocks));
      expect(columns["bits per weight"]).toEqual(points.map(({ bits_per_weight }) => bits_per_weight));
      expect(columns["MAE"]).toEqual(points.map(({ mae }) => mae));
      expect(columns["largest error"]).toEqual(points.map(({ max_error }) => max_error));
    };
    await compare(asItComes());
    await follow(page, "blocksize", CHANGED);
    await compare(changed());
  });

  test("double: another scale by mouse and key; codes are the file's; the printed number stands still", async ({ page }) => {
    const view = await openView(page, "double", `&tensor=${TENSOR}.weight&weight=0`);
    const columns = await table(view);
    const stored = await readTensor(NF4, `${TENSOR}.weight.absmax`);
    expect(columns["8-bit code"]).toEqual([...stored.subarray(0, 256)]);
    const canvas = view.getByRole("slider");
    const [x, y] = await place(canvas, 0.5, 0.5);
    await page.mouse.click(x, y);
    const clicked = Number(await view.locator("[data-choice=block]").inputValue());
    expect(clicked).toBeGreaterThan(60);
    await tabTo(page, canvas);
    await page.keyboard.press("ArrowLeft");
    await expect(view.locator("[data-choice=block]")).toHaveValue(String(clicked - 1));
    await view.locator(".question").first().getByRole("button", { name: "it does not move" }).click();
    await expect(view.locator(".question").first().locator("button.right")).toContainText("it does not move");
    await follow(page, "double", CHANGED);
    const told = changed().double_quant;
    await expect.poll(async () => (await table(view))["absmax"]).toEqual(told.absmax);
    const other = await table(view);
    expect(other["8-bit code"]).toEqual(told.codes);
    expect(other["restored"]).toEqual(told.restored);
  });

  test("contest: another tensor; bits, MAE and RMSE stand together", async ({ page }) => {
    const view = await openView(page, "contest");
    const before = await takeaway(view);
    const columns = await table(view);
    expect(columns["format"]).toHaveLength(7);
    for (const bits of columns["bits per weight"] as number[]) expect(bits).toBeGreaterThan(4);
    await tabTo(page, view.locator("[data-choice=tensor]"));
    await view.locator("[data-choice=tensor]").selectOption("model.layers.7.self_attn.q_proj.weight");
    await expect.poll(() => takeaway(view)).not.toBe(before);
    expect(await view.innerText()).not.toMatch(/optimal/i);
    const compare = async ({ formats }: InspectedTensor) => {
      await expect.poll(async () => (await table(view))["RMSE"]).toEqual(formats.map(({ rmse }) => rmse));
      const columns = await table(view);
      expect(columns["bits per weight"]).toEqual(formats.map(({ bits_per_weight }) => bits_per_weight));
      expect(columns["MAE"]).toEqual(formats.map(({ mae }) => mae));
      expect(columns["RMSE / sigma"]).toEqual(formats.map(({ relative_rmse }) => relative_rmse));
      expect(columns["largest error"]).toEqual(formats.map(({ max_error }) => max_error));
      // A logarithm, whose last bit is the library's.
      formats.forEach(({ snr_db }, i) => expect(columns["SNR, dB"]?.[i]).toBeCloseTo(snr_db, 9));
    };
    await follow(page, "contest", "");
    await compare(asItComes());
    await follow(page, "contest", CHANGED);
    await compare(changed());
  });

  test("map: a weight by mouse, by arrows, by number; layers of the map", async ({ page }) => {
    const view = await openView(page, "map");
    const canvas = view.getByRole("slider", { name: /Weight/ });
    await drag(page, canvas, [0.2, 0.2], [0.75, 0.5]);
    const row = view.locator("[data-choice=row]");
    const column = view.locator("[data-choice=column]");
    const at = [Number(await row.inputValue()), Number(await column.inputValue())] as [number, number];
    expect(Math.abs(at[1] - 0.75 * 384)).toBeLessThan(4);
    expect(at[0]).toBeGreaterThan(400);
    await tabTo(page, canvas);
    await page.keyboard.press("ArrowDown");
    await page.keyboard.press("ArrowRight");
    await expect(row).toHaveValue(String(at[0] + 1));
    await expect(column).toHaveValue(String(at[1] + 1));
    await page.keyboard.press("Home");
    await expect(row).toHaveValue("0");
    const before = await takeaway(view);
    await view.getByText("weight", { exact: true }).click();
    await expect.poll(() => takeaway(view)).not.toBe(before);
    await view.getByText("code", { exact: true }).click();
    await expect.poll(() => takeaway(view)).toMatch(/level \d+ of 0 to 15/);
    const original = await readTensor(FULL, `${TENSOR}.weight`);
    await view.getByText("weight", { exact: true }).click();
    await row.fill("9");
    await column.fill("31");
    const value = bf16(original, 9 * 384 + 31);
    await expect(view.locator(".num-note")).toContainText(Math.abs(value).toFixed(5));
    const compare = async ({ rows }: InspectedTensor) => {
      await expect.poll(async () => (await table(view))["RMSE"]).toEqual(rows.rmse.slice(0, 256).map(Math.fround));
      const columns = await table(view);
      for (const [head, told] of [["absmax", rows.absmax], ["mean", rows.mean], ["standard deviation", rows.std]] as const) {
        expect(columns[head]).toEqual(told.slice(0, 256).map(Math.fround));
      }
    };
    await compare(asItComes());
    await follow(page, "map", CHANGED);
    await compare(changed());
  });

  test("map: of a model shaped as one of 1.1 billion, it answers while a tensor of 131 MB is read", async ({ page }) => {
    await writeShapedModel(`${MOUNTS.made}/shaped`);
    await page.route("**/models/stories/*", (route) => route.continue({ url: route.request().url().replace("/models/stories/", "/made/shaped/") }));
    const view = await openView(page, "map", `&tensor=${TENSOR}.weight&layer=weight`);
    await expect(view.locator("[data-choice=tensor]")).toContainText("layers.21.mlp.down_proj 2048 × 5632");
    const canvas = view.getByRole("slider", { name: /Weight/ });
    await drag(page, canvas, [0.1, 0.1], [0.5, 0.5]);
    const [row, column] = [view.locator("[data-choice=row]"), view.locator("[data-choice=column]")];
    const at = Number(await row.inputValue()) * 2048 + Number(await column.inputValue());
    expect(at).toBeGreaterThan(2000 * 2048);
    const value = bf16(await readTensor(`${MOUNTS.made}/shaped/model.safetensors`, `${TENSOR}.weight`), at);
    await expect(view.locator(".num-note")).toContainText(Math.abs(value).toFixed(5));
    // Frames go on, and a control answers, while the embedding is on its way.
    await page.evaluate(() => {
      const counted = window as unknown as { frames: number };
      counted.frames = 0;
      requestAnimationFrame(function next() {
        counted.frames++;
        requestAnimationFrame(next);
      });
    });
    const before = await takeaway(view);
    await view.locator("[data-choice=tensor]").selectOption("model.embed_tokens.weight");
    await row.fill("4");
    await expect(page).toHaveURL(/embed_tokens.*weight=8192/);
    expect(await takeaway(view)).toBe(before);
    await expect.poll(() => takeaway(view), { timeout: 30_000 }).toContain("embed_tokens");
    expect(await page.evaluate(() => (window as unknown as { frames: number }).frames)).toBeGreaterThan(10);
    await canvas.press("ArrowDown");
    await expect(row).toHaveValue("5");
  });

  test("teacher: a link for one view with parts hidden leads to that view", async ({ page }) => {
    const view = await openView(page, "teacher");
    await view.locator(".view-controls select").selectOption("blocksize");
    await view.getByLabel("controls").check();
    const link = await view.locator(".copyable input").nth(1).inputValue();
    expect(link).toContain("view=blocksize");
    await page.goto("about:blank");
    await page.goto(link);
    await expect(page.locator("#blocksize canvas")).toHaveCount(1);
    await expect(page.locator("#blocksize .view-controls")).toHaveCount(0);
  });
});

test.describe("with a finger", () => {
  test.use({ viewport: { width: 390, height: 844 }, hasTouch: true, isMobile: true });

  test("weight, block, blocksize, double and map answer to a tap", async ({ page }) => {
    const tap = async (canvas: Locator, x: number, y: number) => page.touchscreen.tap(...(await place(canvas, x, y)));
    let view = await openView(page, "weight");
    await tap(view.getByRole("slider", { name: /Weight/ }), 0.03, 0.4);
    await expect.poll(() => takeaway(view)).toMatch(/0 \(0000\)/);
    view = await openView(page, "block");
    await tap(view.getByRole("slider", { name: /Position/ }), 0.97, 0.5);
    await expect.poll(async () => Number(await view.locator("[data-choice=weight]").inputValue())).toBeGreaterThan(55);
    view = await openView(page, "blocksize");
    await tap(view.getByRole("slider"), 0.14, 0.3);
    await expect.poll(async () => Number(await view.locator("[data-choice=blocksize]").inputValue())).toBeGreaterThan(64);
    view = await openView(page, "double", "&weight=0");
    await tap(view.getByRole("slider"), 0.6, 0.5);
    await expect.poll(async () => Number(await view.locator("[data-choice=block]").inputValue())).toBeGreaterThan(60);
    view = await openView(page, "map");
    await tap(view.getByRole("slider", { name: /Weight/ }), 0.5, 0.5);
    await expect.poll(async () => Number(await view.locator("[data-choice=column]").inputValue())).toBeGreaterThan(150);
    view = await openView(page, "headline");
    const before = await takeaway(view);
    await view.getByText("double quantization", { exact: true }).tap();
    await expect.poll(() => takeaway(view)).not.toBe(before);
    view = await openView(page, "contest");
    await view.locator(".question-options button").first().tap();
    await expect(view.locator(".question-answer")).not.toBeEmpty();
  });

  test("layers, side, LoRA, your model, snippet and teacher answer to a tap", async ({ page }) => {
    let view = await openView(page, "layers");
    let before = await takeaway(view);
    await view.getByRole("checkbox", { name: "quantize q_proj" }).tap();
    await expect.poll(() => takeaway(view)).not.toBe(before);
    view = await openView(page, "yours");
    before = await takeaway(view);
    const slider = view.getByRole("slider");
    await page.touchscreen.tap(...(await place(slider, 0.95, 0.5)));
    await expect.poll(() => takeaway(view)).not.toBe(before);
    await view.getByText("fp4", { exact: true }).tap();
    await expect(page).toHaveURL(/quant_type=fp4/);
    view = await openView(page, "snippet");
    await view.getByRole("button", { name: "The library's defaults" }).tap();
    await expect.poll(() => takeaway(view)).toMatch(/^Every line/);
    view = await openView(page, "teacher");
    await view.getByLabel("takeaway").tap();
    await expect(view.locator(".copyable input").nth(1)).toHaveValue(/hide=text%2Ctakeaway/);
    await view.getByRole("button", { name: "Layer tree" }).tap();
    await expect(page.locator("#layers")).toBeVisible();

    view = await openView(page, "lora");
    const write = view.getByRole("button", { name: "Write both" });
    await expect(write).toBeEnabled();
    await view.getByText("olden", { exact: true }).tap();
    await expect(view.locator("[data-column=with] h3")).toHaveText("with olden");
    await expect(write).toBeEnabled();
    await write.tap();
    await expect(write).toBeDisabled();
    view = await openView(page, "side");
    await view.getByText("exact", { exact: true }).tap();
    await expect(page).toHaveURL(/arithmetic=exact/);
    await view.getByRole("button", { name: "Write both again" }).tap();
    await expect(view.getByText(/Writing/)).toBeVisible();
    await view.getByRole("button", { name: "Measure perplexity" }).tap();
    await expect(view.locator("progress")).toBeVisible();
    await view.getByRole("button", { name: "Stop" }).tap();
    await expect(view.locator("progress")).toHaveCount(0);
  });
});

test("a checkpoint without originals shows its codes and says what it cannot show", async ({ page }) => {
  const folder = "../models/stories-nf4";
  await page.goto("./#1&lang=en");
  await expect(page.locator(".ending [role=status]")).not.toBeEmpty({ timeout: 90_000 });
  await page.setInputFiles(
    "[data-pick=files]",
    ["config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json", "model.safetensors"].map((name) => `${folder}/${name}`),
  );
  await expect(page.getByRole("button", { name: "Back to the built-in model" })).toBeVisible({ timeout: 60_000 });
  const show = async (id: string) => {
    await page.locator(`#${id}`).evaluate((element) => element.scrollIntoView({ behavior: "instant" }));
    return ready(page, id);
  };
  const block = await show("block");
  await expect(block.locator(".notice")).toContainText("already quantized");
  await expect(block.getByRole("slider", { name: "Plant an outlier" })).toBeDisabled();
  const columns = await table(block);
  expect(columns["weight"]).toBeUndefined();
  const codes = await readTensor(NF4, `${TENSOR}.weight`);
  const first = 64 * Number(await block.locator("[data-choice=block]").inputValue());
  expect(columns["code"]?.[0]).toBe((codes[first / 2] as number) >> 4);
  await expect((await show("blocksize")).locator(".takeaway")).toContainText("before quantization");
  await expect((await show("contest")).locator(".takeaway")).toContainText("before quantization");
  await expect((await show("map")).getByRole("radio", { name: "error" })).toBeDisabled();
  await expect((await show("double")).locator("canvas")).toHaveCount(2);
});

/** The task of each view, by mouse, by touch and by keyboard alone; and the numbers against the model's files. */

import { open } from "node:fs/promises";
import { expect, test, type Locator, type Page } from "@playwright/test";
import { openView, ready, table, takeaway } from "./support";

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

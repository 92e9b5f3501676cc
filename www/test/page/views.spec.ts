/** Every view: what holds for all of them. */

import { readFile } from "node:fs/promises";
import { expect, test } from "@playwright/test";
import { coloursOf, openView, overflow, problems, ready, table, takeaway, violations } from "./support";

/** The views, whether their figure is a chart, and how many questions they ask. */
const VIEWS: { id: string; charts: number; questions: number }[] = [
  { id: "headline", charts: 1, questions: 2 },
  { id: "weight", charts: 1, questions: 1 },
  { id: "block", charts: 2, questions: 1 },
  { id: "blocksize", charts: 1, questions: 1 },
  { id: "double", charts: 2, questions: 2 },
  { id: "contest", charts: 2, questions: 1 },
  { id: "map", charts: 2, questions: 1 },
  { id: "layers", charts: 0, questions: 1 },
  { id: "side", charts: 1, questions: 1 },
  { id: "lora", charts: 1, questions: 1 },
  { id: "yours", charts: 1, questions: 1 },
  { id: "snippet", charts: 0, questions: 1 },
  { id: "teacher", charts: 0, questions: 0 },
];

/** What `hide=` takes away. */
const PARTS: Record<string, string> = {
  title: ".view-title", text: ".view-text", takeaway: ".takeaway", controls: ".view-controls", tools: ".tools",
};

for (const { id, charts, questions } of VIEWS) {
  test(`${id}: axe, both languages and themes, exports, questions, 320 px, embedded`, async ({ page }) => {
    const errors = problems(page);
    await page.setViewportSize({ width: 1440, height: 900 });
    const view = await openView(page, id, "&lang=en&theme=light");
    const canvases = view.locator("canvas[data-chart]");
    await expect(canvases).toHaveCount(charts);
    for (let i = 0; i < charts; i++) await expect.poll(() => coloursOf(canvases.nth(i))).toBeGreaterThan(4);
    const english = await takeaway(view);
    await page.screenshot({ path: `test-results/view-${id}-light.png`, fullPage: true });
    // The table has numbers, and the CSV says the same.
    const columns = await table(view);
    expect(Object.keys(columns).length).toBeGreaterThan(1);
    const csv = page.waitForEvent("download");
    await view.locator("[data-tool=csv]").click();
    const text = await readFile(await (await csv).path(), "utf8");
    const rows = text.trimEnd().split("\r\n");
    const shown = Object.values(columns)[0]?.length ?? 0;
    expect(shown).toBeGreaterThan(1);
    expect(rows.length - 1).toBeGreaterThanOrEqual(shown);
    expect(rows.length - 1 === shown || shown === 256).toBe(true);
    await view.locator("[data-tool=table]").click();
    await expect(view.locator("[data-tool=png]")).toHaveCount(charts > 0 ? 1 : 0);
    if (charts > 0) {
      const png = page.waitForEvent("download");
      await view.locator("[data-tool=png]").click();
      const bytes = await readFile(await (await png).path());
      expect(bytes.subarray(1, 4).toString()).toBe("PNG");
      expect(bytes.length).toBeGreaterThan(5000);
    }

    // Every question can be answered, and then says why, with a number.
    await expect(view.locator(".question")).toHaveCount(questions);
    for (let i = 0; i < questions; i++) {
      const question = view.locator(".question").nth(i);
      await expect(question.locator(".question-answer")).toBeEmpty();
      await question.locator(".question-options button").first().click();
      await expect(question.locator(".question-answer")).not.toBeEmpty();
      await expect(question.locator("button.right")).toHaveCount(1);
    }
    for (const summary of await view.locator("details.explain > summary").all()) await summary.click();
    expect(await violations(page), "English, light, all opened").toEqual([]);

    // Keys of the presenter: dark, Korean, light again.
    await page.locator("body").click({ position: { x: 2, y: 2 } });
    await page.keyboard.press("d");
    await expect(page.locator("html")).toHaveAttribute("data-theme", "dark");
    await page.screenshot({ path: `test-results/view-${id}-dark.png`, fullPage: true });
    expect(await violations(page), "English, dark").toEqual([]);
    await page.keyboard.press("a");
    await expect(page.locator("html")).toHaveAttribute("lang", "ko");
    await expect.poll(() => takeaway(view)).not.toBe(english);
    expect(await takeaway(view)).toMatch(/[가-힣]/);
    expect(await violations(page), "Korean, dark").toEqual([]);
    await page.keyboard.press("d");
    await page.setViewportSize({ width: 390, height: 844 });
    await page.screenshot({ path: `test-results/view-${id}-ko-390.png`, fullPage: true });
    expect(await violations(page), "Korean, light, 390").toEqual([]);
    await expect.poll(() => overflow(page), "390").toBeLessThanOrEqual(0);
    await page.setViewportSize({ width: 320, height: 640 });
    await expect.poll(() => overflow(page), "Korean, 320").toBeLessThanOrEqual(0);
    await page.keyboard.press("a");
    await expect(page.locator("html")).toHaveAttribute("lang", "en");
    await expect.poll(() => overflow(page), "320").toBeLessThanOrEqual(0);

    // Embedded: each part can be hidden, and nothing else goes with it.
    await expect(page.locator(".topbar, footer, .hero")).toHaveCount(0);
    for (const hidden of Object.keys(PARTS)) {
      await page.evaluate((hash) => (location.hash = hash), `#1&embed=1&view=${id}&hide=${hidden}`);
      for (const [part, selector] of Object.entries(PARTS)) {
        await expect(view.locator(selector), `${hidden} hidden: ${part}`).toHaveCount(part === hidden ? 0 : 1);
      }
      await expect(canvases).toHaveCount(charts);
    }
    expect(errors).toEqual([]);
  });
}

test("the whole page: views in order, links between them, keys, and print", async ({ page }) => {
  const errors = problems(page);
  await page.setViewportSize({ width: 1440, height: 900 });
  await page.goto("./#1&lang=en");
  const numbers = await page.locator(".view-number").allInnerTexts();
  expect(numbers.map(Number)).toEqual([...numbers.map(Number)].sort((a, b) => a - b));
  // Nothing of a view is fetched before it is near.
  await expect(page.locator("#contest canvas")).toHaveCount(0);
  await page.keyboard.press("j");
  await expect(page).toHaveURL(/view=headline/);
  await page.keyboard.press("j");
  await expect(page).toHaveURL(/view=weight/);
  await ready(page, "weight");

  // A weight chosen in one view is the one in the others.
  await page.locator("#weight [data-choice=block]").fill("70");
  await page.locator("#weight [data-choice=weight]").fill("5");
  await page.keyboard.press("Escape");
  const value = await page.locator("#weight [data-choice=value]").inputValue();
  const block = await ready(page, "block");
  await expect(block.locator("[data-choice=block]")).toHaveValue("70");
  const columns = await table(block);
  expect((columns["weight"]?.[5] as number).toPrecision(4)).toBe(Number(value).toPrecision(4));

  // One view alone and back; the lab and back.
  await page.locator("#weight .view-title").click();
  await page.keyboard.press("e");
  await expect(page.locator("section.view")).toHaveCount(1);
  await page.keyboard.press("e");
  await expect(page.locator("section.view")).toHaveCount(numbers.length);
  await page.keyboard.press("l");
  await expect(page.locator(".bench [data-choice=block]")).toHaveValue("70");
  await expect(page.locator(".views.lab .shared").first()).toBeHidden();
  await page.screenshot({ path: "test-results/lab.png" });
  expect(await violations(page)).toEqual([]);
  await page.setViewportSize({ width: 320, height: 640 });
  await expect.poll(() => overflow(page), "lab at 320").toBeLessThanOrEqual(0);
  await page.setViewportSize({ width: 1440, height: 900 });
  await page.keyboard.press("l");
  await page.keyboard.press("?");
  await expect(page.getByRole("dialog")).toContainText("this view alone");
  await page.keyboard.press("Escape");

  // Paper takes all views at once.
  await page.evaluate(() => dispatchEvent(new Event("beforeprint")));
  await ready(page, "map");
  expect(errors).toEqual([]);
});

test("motion off, forced colours, and 200 % zoom", async ({ page }) => {
  const errors = problems(page);
  await page.emulateMedia({ reducedMotion: "reduce", forcedColors: "active" });
  // 1440 pixels at 200 % are 720.
  await page.setViewportSize({ width: 720, height: 450 });
  const view = await openView(page, "block", "&step=0");
  await view.getByRole("button", { name: /nearest level/ }).click();
  // Without motion the levels are reached in the very next frame.
  const frames = await view.locator("canvas").first().evaluate(async (element) => {
    const canvas = element as HTMLCanvasElement;
    const frame = () => new Promise((resolve) => requestAnimationFrame(resolve));
    await frame();
    await frame();
    const first = canvas.toDataURL();
    await new Promise((resolve) => setTimeout(resolve, 500));
    return [first, canvas.toDataURL()];
  });
  expect(frames[0]).toBe(frames[1]);
  expect(await coloursOf(view.locator("canvas").first())).toBeGreaterThan(2);
  expect(await overflow(page)).toBeLessThanOrEqual(0);
  expect(await violations(page)).toEqual([]);
  await page.screenshot({ path: "test-results/forced-colours.png" });
  expect(errors).toEqual([]);
});

test("200 random hashes: none breaks the page, and each is read as it was written", async ({ page }) => {
  const errors = problems(page);
  await openView(page, "teacher");
  const rounds = await page.evaluate(async () => {
    let seed = 2463534242;
    const random = () => {
      seed ^= seed << 13;
      seed ^= seed >>> 17;
      seed ^= seed << 5;
      return (seed >>> 0) / 2 ** 32;
    };
    const pick = <T>(values: T[]): T => values[Math.floor(random() * values.length)] as T;
    const noise = () => Array.from({ length: 12 }, () => String.fromCharCode(33 + Math.floor(random() * 90))).join("").replaceAll("&", "");
    const fields: Record<string, () => string> = {
      quant_type: () => pick(["fp4", "int4", ""]),
      blocksize: () => pick(["32", "4096", "63", "-1"]),
      double_quant: () => pick(["off", "maybe"]),
      weight: () => pick(["0", "17", "99999999999999999", "x"]),
      tensor: () => pick(["model.layers.1.mlp.up_proj.weight", "nonsense", "%E0%A4%A"]),
      x: () => pick(["0.5", "-1", "7", "NaN"]),
      outlier: () => pick(["12", "-4", "1e9"]),
      step: () => pick(["0", "4", "9"]),
      seed: () => String(Math.floor(random() * 2 ** 31)),
      prompt: () => encodeURIComponent(noise()),
      bogus: noise,
    };
    const wrong: string[] = [];
    const settle = () => new Promise((resolve) => setTimeout(resolve, 4));
    for (let round = 0; round < 200; round++) {
      const chosen = Object.entries(fields).filter(() => random() < 0.5).map(([name, make]) => `${name}=${make()}`);
      location.hash = `#1&embed=1&view=teacher&${chosen.join("&")}`;
      await settle();
      const rows = [...document.querySelectorAll(".copyable input")].map((input) => (input as HTMLInputElement).value);
      // The link that the page makes is its own reading of the hash; read again it must give the same link.
      const link = rows[0]?.split("#")[1] ?? "";
      location.hash = `#${link}&embed=1`;
      await settle();
      const again = document.querySelector<HTMLInputElement>(".copyable input")?.value.split("#")[1];
      if (again !== link) wrong.push(`${chosen.join("&")}: ${link} became ${again}`);
    }
    return wrong;
  });
  expect(rounds).toEqual([]);
  expect(errors).toEqual([]);
});

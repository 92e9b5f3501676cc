import { expect, test, type Page } from "@playwright/test";
import { origin } from "../sites";
import { violations } from "./support";

const NOT_ISOLATED = origin("siteNotIsolated");
const paper = (page: Page) => page.locator(".story-paper");
const ending = (page: Page) => page.locator(".ending [role=status]");

async function finished(page: Page): Promise<void> {
  await expect(ending(page)).not.toBeEmpty({ timeout: 90_000 });
}

async function shot(page: Page, name: string): Promise<void> {
  await page.screenshot({ path: `test-results/${name}.png`, fullPage: true });
}

test("a first visit ends with a whole story, without a click", async ({ page }) => {
  const errors: string[] = [];
  page.on("pageerror", (error) => errors.push(error.message));
  await page.goto("./");
  await finished(page);
  const text = (await paper(page).textContent()) ?? "";
  expect(text.startsWith("Once upon a time")).toBe(true);
  expect(text.length).toBeGreaterThan(200);
  // The engine's sizes of Llama 3.1 8B, as transformers and bitsandbytes give them.
  for (const size of ["32.1 GB", "16.1 GB", "5.59 GB", "6.03 GB", "5.70 GB"]) {
    await expect(page.locator(".barset").first()).toContainText(size);
  }
  await expect(page.locator(".barset").nth(1).locator(".bar")).toHaveCount(5);
  expect(errors).toEqual([]);
});

test("the same seed writes the same story, another seed another", async ({ page }) => {
  await page.goto("./#1&seed=3");
  await finished(page);
  const first = await paper(page).textContent();
  await page.getByRole("button", { name: "Write" }).click();
  await expect(ending(page)).toBeEmpty();
  await finished(page);
  expect(await paper(page).textContent()).toBe(first);
  await page.getByRole("button", { name: "Another seed" }).click();
  await expect(ending(page)).toBeEmpty();
  await finished(page);
  expect(await paper(page).textContent()).not.toBe(first);
});

test("Stop stops within 200 ms", async ({ page }) => {
  await page.goto("./");
  const stop = page.getByRole("button", { name: "Stop" });
  await expect(stop).toBeVisible({ timeout: 60_000 });
  await expect.poll(async () => ((await paper(page).textContent()) ?? "").length).toBeGreaterThan(30);
  const settled = await page.evaluate(async () => {
    const button = [...document.querySelectorAll("button")].find((element) => element.textContent === "Stop");
    const box = document.querySelector(".story-paper");
    const began = performance.now();
    button?.click();
    await new Promise((resolve) => setTimeout(resolve, 200));
    const text = box?.textContent;
    await new Promise((resolve) => setTimeout(resolve, 500));
    return { same: box?.textContent === text, began };
  });
  expect(settled.same).toBe(true);
  await expect(ending(page)).toHaveText("Stopped by you.");
  await expect(page.getByRole("button", { name: "Write" })).toBeEnabled();
});

const wrong: [string, { name: string; body: string }[], RegExp][] = [
  ["a text file", [{ name: "notes.txt", body: "hello" }], /not a model folder/],
  [
    "another architecture",
    [{ name: "config.json", body: '{"architectures":["GPT2LMHeadModel"],"model_type":"gpt2"}' }],
    /another architecture|missing/,
  ],
  ["a config that is no JSON", [{ name: "config.json", body: "{" }], /cannot be read|missing/],
];
test("what is no model is refused in words, and the page works on", async ({ page }) => {
  await page.goto("./");
  await finished(page);
  const alert = page.getByRole("alert");
  for (const [what, files, sentence] of wrong) {
    await page.setInputFiles("[data-pick=files]", files.map(({ name, body }) => ({
      name,
      mimeType: "application/octet-stream",
      buffer: Buffer.from(body),
    })));
    await expect(alert, what).toContainText(sentence);
    await alert.getByRole("button", { name: "Dismiss" }).click();
    await expect(alert).toHaveCount(0);
  }
  await page.getByRole("button", { name: "Write" }).click();
  await finished(page);
});

test("quantizing here shows before and after, and the story goes on", async ({ page }) => {
  await page.goto("./");
  await finished(page);
  await page.getByRole("button", { name: "Quantize it here" }).click();
  await expect(page.locator(".before-after dd")).toHaveCount(2, { timeout: 60_000 });
  await finished(page);
});

test("without cross-origin isolation it runs on one thread and says so", async ({ page }) => {
  await page.goto(NOT_ISOLATED);
  await finished(page);
  const chip = page.locator("button.chip", { hasText: "1 thread" });
  await chip.click();
  await expect(page.getByRole("dialog")).toContainText("not cross-origin isolated");
});

test("two tabs write at once", async ({ page, context }) => {
  const second = await context.newPage();
  await Promise.all([page.goto("./"), second.goto("./#1&seed=11")]);
  await Promise.all([finished(page), finished(second)]);
});

test("axe finds nothing on the first screen, in both languages and themes", async ({ page }) => {
  await page.goto("./#1&lang=en&theme=light");
  await finished(page);
  expect(await violations(page), "English, light").toEqual([]);
  await page.keyboard.press("d");
  expect(await violations(page), "English, dark").toEqual([]);
  await page.keyboard.press("a");
  await expect(page.locator("html")).toHaveAttribute("lang", "ko");
  expect(await violations(page), "Korean, dark").toEqual([]);
  await page.keyboard.press("d");
  expect(await violations(page), "Korean, light").toEqual([]);
});

for (const [name, width, height, hash] of [
  ["desktop", 1440, 900, ""],
  ["390", 390, 844, ""],
  ["korean-320", 320, 640, "#1&lang=ko"],
  ["4k-dark", 3840, 2160, "#1&theme=dark"],
] as const) {
  test(`screenshot ${name}: nothing overflows, nothing shifts`, async ({ page }) => {
    await page.setViewportSize({ width, height });
    await page.addInitScript(() => {
      const shifts: number[] = [];
      Object.assign(window, { shifts });
      new PerformanceObserver((list) => {
        for (const entry of list.getEntries()) shifts.push((entry as PerformanceEntry & { value: number }).value);
      }).observe({ type: "layout-shift", buffered: true });
    });
    await page.goto(`./${hash}`);
    await finished(page);
    const shifted = await page.evaluate(() =>
      (window as unknown as { shifts: number[] }).shifts.reduce((total, shift) => total + shift, 0),
    );
    expect(shifted).toBeLessThan(0.1);
    expect(await page.evaluate(() => document.documentElement.scrollWidth - innerWidth)).toBeLessThanOrEqual(0);
    await shot(page, name);
  });
}

test("the keyboard alone reaches the prompt, Stop and the list of keys", async ({ page }) => {
  await page.goto("./");
  await finished(page);
  await page.keyboard.press("?");
  await expect(page.getByRole("dialog")).toContainText("write again");
  await page.keyboard.press("Escape");
  await page.getByLabel("Prompt").focus();
  await page.keyboard.press("Control+A");
  await page.keyboard.type("The cat");
  await page.keyboard.press("Enter");
  await expect(paper(page)).toContainText("The cat");
  await finished(page);
});

/** The page that measures a device. What it measures depends on the device; that it measures, and says so, does not. */

import { expect, test } from "@playwright/test";
import { overflow, problems, violations } from "./support";

test("measures products, can be stopped, and hands the result out", async ({ page, context }) => {
  const found = problems(page);
  await context.grantPermissions(["clipboard-read", "clipboard-write"]);
  await page.goto("./bench.html");
  await expect(page.getByText("Builds: relaxed for one thread")).toBeVisible();
  await page.getByRole("button", { name: "Measure" }).click();
  // One matrix is through: a product in each arithmetic, and the speed of memory beside it.
  await expect(page.locator("[data-measurement*='double quantized']").first()).toBeVisible({ timeout: 60_000 });
  const speed = page.locator("[data-measurement='NF4 5632 x 2048, cold, 1 token, near-exact'] [data-value]");
  const [median, min, max] = await speed.evaluateAll((cells) => cells.map((cell) => Number((cell as HTMLElement).dataset["value"])));
  expect(min).toBeGreaterThan(0);
  expect(median).toBeGreaterThanOrEqual(min ?? Number.NaN);
  expect(max).toBeGreaterThanOrEqual(median ?? Number.NaN);
  // The engine takes one of the ways to compute in integers, the fastest.
  const designs = await page.locator("[data-design]").evaluateAll((rows) => rows.map((row) => [...row.children].map((cell) => cell.textContent)));
  expect(designs.map(([name]) => name)).toEqual(["16-bit, near-exact", "8-bit halves, near-exact", "8-bit, added by twos", "8-bit, added by fours"]);
  const taken = designs.filter(([, , taken]) => taken === "yes");
  expect(taken.map(([, rate]) => Number(rate))).toEqual([Math.max(...designs.map(([, rate]) => Number(rate)))]);
  await page.getByRole("button", { name: "Stop" }).click();
  await expect(page.locator("[data-status=stopped]")).toBeVisible({ timeout: 30_000 });

  await page.getByRole("button", { name: "Copy as JSON" }).click();
  await expect(page.getByRole("button", { name: "Copied" })).toBeVisible();
  const copied = JSON.parse(await page.evaluate(() => navigator.clipboard.readText())) as { measurements: { name: string; median: number }[] };
  const rows = await page.locator("[data-measurement]").count();
  expect(copied.measurements.length).toBe(rows);
  expect(copied.measurements.find(({ name }) => name === "memory read by one thread")?.median).toBeGreaterThan(0);
  await page.getByRole("button", { name: "Copy as text" }).click();
  await expect.poll(() => page.evaluate(() => navigator.clipboard.readText())).toContain("NF4 5632 x 2048, cold, 1 token, fast");
  expect(found).toEqual([]);
});

test("axe finds nothing, in both languages and themes, and nothing sticks out at 320 px", async ({ page }) => {
  await page.setViewportSize({ width: 320, height: 800 });
  await page.goto("./bench.html");
  await page.locator("summary").click();
  for (const theme of ["light", "dark"]) {
    await page.getByRole("combobox").selectOption(theme);
    for (const [other, heading] of [["한국어", "이 기기는 얼마나 빠를까요?"], ["English", "How fast is this device?"]] as const) {
      await page.getByRole("button", { name: other }).click();
      await expect(page.getByRole("heading", { level: 1 })).toHaveText(heading);
      expect(await violations(page)).toEqual([]);
      expect(await overflow(page)).toBe(0);
    }
  }
});

/** The README's pictures: `NIBBLAMA_PICTURES=1 npx playwright test pictures` writes them into docs/images. */

import { mkdir, stat } from "node:fs/promises";
import { expect, test, type Page } from "@playwright/test";
import { ready } from "./support";

const FOLDER = "../docs/images";
const MOST_BYTES = 200_000;

test.skip(process.env["NIBBLAMA_PICTURES"] !== "1", "pictures are written on request");
test.use({ viewport: { width: 1280, height: 800 } });

async function picture(page: Page, name: string): Promise<void> {
  await mkdir(FOLDER, { recursive: true });
  const path = `${FOLDER}/${name}.png`;
  await page.screenshot({ path, animations: "disabled" });
  expect((await stat(path)).size).toBeLessThanOrEqual(MOST_BYTES);
}

test("the first screen", async ({ page }) => {
  await page.goto("./#1&lang=en&theme=light");
  await expect(page.locator(".ending [role=status]")).not.toBeEmpty({ timeout: 90_000 });
  await ready(page, "headline");
  await picture(page, "story");
});

test("a block under the microscope", async ({ page }) => {
  await page.goto("./#1&lang=en&theme=light&step=2");
  const section = page.locator("#block");
  await section.evaluate((element) => element.scrollIntoView({ behavior: "instant" }));
  await ready(page, "block");
  await section.evaluate((element) => element.scrollIntoView({ behavior: "instant" }));
  await page.waitForTimeout(800);
  await section.evaluate((element) => element.scrollIntoView({ behavior: "instant" }));
  await picture(page, "block");
});

test("the lab in the dark", async ({ page }) => {
  await page.goto("./#1&lang=en&theme=dark&mode=lab");
  await ready(page, "headline");
  await ready(page, "weight");
  await page.waitForTimeout(500);
  await picture(page, "lab");
});

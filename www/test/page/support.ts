/** What the page's tests share. */

import AxeBuilder from "@axe-core/playwright";
import { expect, type Locator, type Page } from "@playwright/test";

/** One view alone, with its data there. */
export async function openView(page: Page, id: string, settings = ""): Promise<Locator> {
  await page.goto(`./?${id}#1&embed=1&view=${id}${settings}`);
  return ready(page, id);
}

export async function ready(page: Page, id: string): Promise<Locator> {
  const view = page.locator(`#${id}`);
  await expect(view.locator(".takeaway")).toHaveAttribute("data-ready", "true", { timeout: 60_000 });
  return view;
}

export const takeaway = (view: Locator): Promise<string> => view.locator(".takeaway").innerText();

/** The numbers behind a chart, by column. */
export async function table(view: Locator): Promise<Record<string, (number | string)[]>> {
  const button = view.locator("[data-tool=table]");
  if ((await button.getAttribute("aria-expanded")) === "false") await button.click();
  return view.locator(".table-behind table").evaluate((element) => {
    const columns: Record<string, (number | string)[]> = {};
    const heads = [...element.querySelectorAll("thead th")].map((head) => head.textContent ?? "");
    for (const head of heads) columns[head] = [];
    for (const row of element.querySelectorAll("tbody tr")) {
      [...row.querySelectorAll("td")].forEach((cell, i) => {
        const { value } = (cell as HTMLElement).dataset;
        columns[heads[i] ?? ""]?.push(value === undefined ? (cell.textContent ?? "") : Number(value));
      });
    }
    return columns;
  });
}

export async function violations(page: Page): Promise<string[]> {
  const found = await new AxeBuilder({ page }).analyze();
  return found.violations.map(({ id, nodes }) => `${id}: ${nodes.map((node) => node.html).join(" | ")}`);
}

export const overflow = (page: Page): Promise<number> =>
  page.evaluate(() => document.documentElement.scrollWidth - innerWidth);

/** How many different colours a canvas shows: a blank one has one. */
export const coloursOf = (canvas: Locator): Promise<number> =>
  canvas.evaluate((element) => {
    const { width, height } = element as HTMLCanvasElement;
    const data = (element as HTMLCanvasElement).getContext("2d")?.getImageData(0, 0, width, height).data ?? [];
    const seen = new Set<number>();
    for (let i = 0; i < data.length; i += 4) seen.add(((data[i] as number) << 16) | ((data[i + 1] as number) << 8) | (data[i + 2] as number));
    return seen.size;
  });

/** Collects what goes wrong on a page; read it at the end. */
export function problems(page: Page): string[] {
  const found: string[] = [];
  page.on("pageerror", (error) => found.push(error.message));
  page.on("console", (message) => {
    if (message.type() === "error") found.push(message.text());
  });
  return found;
}

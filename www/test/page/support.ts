/** What the page's tests share. */

import { execFileSync } from "node:child_process";
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import AxeBuilder from "@axe-core/playwright";
import { expect, type Locator, type Page } from "@playwright/test";

export const repository = fileURLToPath(new URL("../../..", import.meta.url));
export const STORIES = `${repository}models/stories`;

const told = new Map<string, unknown>();

/** What the native command line says, which `cargo test` builds too; the same question is asked once. */
export function cli<T>(...args: string[]): T {
  const key = args.join(" ");
  if (!told.has(key)) {
    const program = ["release", "debug"].map((kind) => `${repository}target/${kind}/nibblama`).find(existsSync);
    if (program === undefined) throw new Error("run `cargo test --all-features --test cli --no-run` first: the tests compare with the binary it builds");
    told.set(key, JSON.parse(execFileSync(program, [...args, "--json"], { encoding: "utf8", maxBuffer: 2 ** 28 })));
  }
  return told.get(key) as T;
}

interface Errors {
  mae: number;
  rmse: number;
  max_error: number;
  snr_db: number;
  bits_per_weight: number;
}

/** `nibblama inspect --tensor`. */
export interface InspectedTensor {
  std: number;
  absmax: number;
  codebook: { levels: number[]; codes: number[]; thresholds: number[] };
  block: {
    index: number;
    values: number[];
    normalised: number[];
    codes: number[];
    packed: number[];
    restored: number[];
    scale: number;
    errors: Errors;
  };
  double_quant: { mean: number; first_block: number; absmax: number[]; codes: number[]; restored: number[] };
  blocksizes: Record<"single" | "double", (Errors & { blocksize: number; blocks: number })[]>;
  formats: (Errors & { name: string; relative_rmse: number; counts: number[] })[];
  rows: Record<"absmax" | "mean" | "std" | "rmse", number[]>;
}

export const inspectTensor = (name: string, ...args: string[]): InspectedTensor =>
  cli("inspect", STORIES, "--tensor", name, ...args);

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

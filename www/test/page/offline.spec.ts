/** The page without a network, and how a new version comes. */

import { appendFile, mkdtemp, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test as base, type BrowserContext, type Page } from "@playwright/test";
import { CountedSite } from "./counted";
import { ready } from "./support";

/** A visitor with a cache on disk, as all have outside of private windows. */
const test = base.extend<{ visitor: BrowserContext; site: CountedSite }>({
  site: async ({}, use) => {
    const site = await CountedSite.open();
    await use(site);
    await site.close();
  },
  visitor: async ({ playwright, launchOptions }, use) => {
    const profile = await mkdtemp(join(tmpdir(), "nibblama-profile-"));
    const visitor = await playwright.chromium.launchPersistentContext(profile, {
      ...launchOptions,
      serviceWorkers: "allow",
      viewport: { width: 1280, height: 720 },
    });
    await use(visitor);
    await visitor.close();
    await rm(profile, { recursive: true, force: true });
  },
});

/** The paths that are kept. */
const kept = (page: Page): Promise<string[]> =>
  page.evaluate(async () => {
    const paths: string[] = [];
    for (const name of await caches.keys()) {
      for (const { url } of await (await caches.open(name)).keys()) paths.push(new URL(url).pathname);
    }
    return paths;
  });

const NF4 = "/models/stories-nf4/model.safetensors";
const FULL = "/models/stories/model.safetensors";
const size = async ({ folder }: CountedSite, path: string) => (await stat(join(folder, path))).size;
const written = (page: Page) => expect(page.locator(".ending [role=status]")).not.toBeEmpty({ timeout: 90_000 });

test("after one visit all of it works without a network; a new version is offered and waits", async ({ visitor, site }) => {
  test.setTimeout(240_000);
  const page = await visitor.newPage();
  await page.goto(site.home);
  await written(page);
  // Nothing was scrolled to. The largest file is kept last.
  await expect.poll(() => kept(page), { timeout: 60_000 }).toContain(FULL);
  // The model of the first screen was read before anything could keep it, and is not sent again for that.
  expect(site.sent.get(NF4)).toBe(await size(site, NF4));
  expect(site.sent.get(FULL)).toBe(await size(site, FULL));

  await site.unplug();
  await page.reload();
  await written(page);
  for (const id of ["headline", "weight", "block", "blocksize", "double", "contest", "map", "layers"]) {
    await page.locator(`#${id}`).scrollIntoViewIfNeeded();
    await ready(page, id);
  }
  // Both models, the held-out text and the words of another language.
  await page.getByRole("button", { name: "한국어" }).click();
  await expect(page.locator("html")).toHaveAttribute("lang", "ko");
  for (const id of ["side", "lora", "yours", "snippet", "teacher"]) {
    await page.locator(`#${id}`).scrollIntoViewIfNeeded();
    await expect(page.locator(`#${id} .takeaway`)).toHaveText(/[가-힣]/, { timeout: 90_000 });
  }
  for (const id of ["side", "lora"]) await ready(page, id);
  await expect(page.locator(".problem")).toHaveCount(0);
  for (const name of ["dialogue", "olden", "rhymes"]) {
    expect(await page.evaluate((path) => fetch(path).then(({ ok }) => ok), `models/adapters/${name}/adapter_model.safetensors`)).toBe(true);
  }
  // What was never there is not made up.
  expect(await page.evaluate(() => fetch("models/other/config.json").then(() => "answered", () => "failed"))).toBe("failed");
  const lost = await visitor.newPage();
  await expect(lost.goto(`${site.home}nowhere.html`)).rejects.toThrow(/ERR_CONNECTION_REFUSED/);
  await lost.close();

  // The next version: the page goes on as it is until the reader takes it.
  await appendFile(join(site.folder, "sw.js"), "\n// another build\n");
  await site.plugIn();
  await page.evaluate(async () => {
    const registration = await navigator.serviceWorker.getRegistration();
    await registration?.update();
    Object.assign(window, { stillHere: true });
  });
  const offer = page.locator(".update");
  await expect(offer).toBeVisible({ timeout: 30_000 });
  expect(await page.evaluate(() => "stillHere" in window)).toBe(true);
  const reloaded = page.waitForEvent("load");
  await offer.getByRole("button").first().click();
  await reloaded;
  await expect.poll(() => page.evaluate(() => "stillHere" in window)).toBe(false);
  await expect(offer).toHaveCount(0);
});

test("on a metered connection only what was read is kept, and nothing is sent twice", async ({ visitor, site }) => {
  const page = await visitor.newPage();
  await page.addInitScript(() => Object.defineProperty(navigator, "connection", { value: { saveData: true } }));
  await page.goto(site.home);
  await page.locator(".story-wait button").click();
  await written(page);
  await expect.poll(() => kept(page), { timeout: 60_000 }).toContain(NF4);
  expect(site.sent.get(NF4)).toBe(await size(site, NF4));
  expect(await kept(page)).not.toContain(FULL);
  expect(site.sent.has(FULL)).toBe(false);
  // Of four builds, those that were not used were not fetched.
  const builds = [...site.sent.keys()].filter((path) => path.endsWith(".wasm"));
  for (const path of builds) expect(site.sent.get(path)).toBe(await size(site, path));
  expect((await kept(page)).filter((path) => path.endsWith(".wasm")).sort()).toEqual(builds.sort());

  await site.unplug();
  await page.reload();
  await page.locator(".story-wait button").click();
  await written(page);
  await expect(page.locator(".problem")).toHaveCount(0);
});

test("it can be installed: the manifest and its pictures are there", async ({ page, request, site }) => {
  await page.goto(`${site.home}?manifest#1&embed=1&view=teacher`);
  const href = await page.locator("link[rel=manifest]").getAttribute("href");
  const answer = await request.get(new URL(href ?? "", site.home).href);
  expect(answer.headers()["content-type"]).toContain("application/manifest+json");
  const manifest = (await answer.json()) as { start_url: string; display: string; icons: { src: string; sizes: string }[] };
  expect(manifest.display).toBe("standalone");
  for (const { src, sizes } of manifest.icons) {
    const size = await page.evaluate(async (path) => {
      const image = new Image();
      image.src = path;
      await image.decode();
      return [image.naturalWidth, image.naturalHeight];
    }, new URL(src, site.home).href);
    if (sizes !== "any") expect(size.join("x")).toBe(sizes);
  }
});

/** The page without a network, and how a new version comes. */

import { spawn, type ChildProcess } from "node:child_process";
import { appendFile, cp, mkdtemp, rm, stat } from "node:fs/promises";
import { createServer, request as ask, type Server } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test as base, type BrowserContext, type Page } from "@playwright/test";
import { SITES } from "../sites";
import { ready } from "./support";

const PORT = SITES.site.port + 6;
const HOME = `http://127.0.0.1:${PORT}/`;
const BEHIND = PORT + 1;

let folder = "";
let server: ChildProcess | undefined;
let front: Server | undefined;
/** Bytes of content sent, by path. */
const sent = new Map<string, number>();

/** The site's own server, and in front of it one that counts. */
async function serve(): Promise<void> {
  server = spawn("node", ["server.mjs", "--root", folder, "--port", String(BEHIND)], { stdio: "pipe" });
  await new Promise((resolve) => server?.stdout?.once("data", resolve));
  front = createServer((request, response) => {
    const { url = "/", headers } = request;
    const passed = ask({ port: BEHIND, path: url, headers }, (answer) => {
      response.writeHead(answer.statusCode ?? 502, answer.headers);
      answer.on("data", (piece: Buffer) => sent.set(url, (sent.get(url) ?? 0) + piece.length));
      answer.pipe(response);
    });
    passed.on("error", () => response.destroy());
    response.on("close", () => passed.destroy());
    passed.end();
  });
  await new Promise<void>((resolve) => front?.listen(PORT, "127.0.0.1", resolve));
}

async function unplug(): Promise<void> {
  const gone = new Promise((resolve) => server?.once("exit", resolve));
  server?.kill();
  await gone;
  front?.closeAllConnections();
  await new Promise((resolve) => front?.close(resolve));
  front = server = undefined;
}

/** A visitor with a cache on disk, as all have outside of private windows. */
const test = base.extend<{ visitor: BrowserContext }>({
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

test.beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "nibblama-"));
  await cp("dist", folder, { recursive: true });
  sent.clear();
  await serve();
});
test.afterEach(async () => {
  if (front !== undefined) await unplug();
  await rm(folder, { recursive: true, force: true });
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
const size = async (path: string) => (await stat(join(folder, path))).size;
const written = (page: Page) => expect(page.locator(".ending [role=status]")).not.toBeEmpty({ timeout: 90_000 });

test("after one visit all of it works without a network; a new version is offered and waits", async ({ visitor }) => {
  test.setTimeout(240_000);
  const page = await visitor.newPage();
  await page.goto(HOME);
  await written(page);
  // Nothing was scrolled to. The largest file is kept last.
  await expect.poll(() => kept(page), { timeout: 60_000 }).toContain(FULL);
  // The model of the first screen was read before anything could keep it, and is not sent again for that.
  expect(sent.get(NF4)).toBe(await size(NF4));
  expect(sent.get(FULL)).toBe(await size(FULL));

  await unplug();
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
  await expect(lost.goto(`${HOME}nowhere.html`)).rejects.toThrow(/ERR_CONNECTION_REFUSED/);
  await lost.close();

  // The next version: the page goes on as it is until the reader takes it.
  await appendFile(join(folder, "sw.js"), "\n// another build\n");
  await serve();
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

test("on a metered connection only what was read is kept, and nothing is sent twice", async ({ visitor }) => {
  const page = await visitor.newPage();
  await page.addInitScript(() => Object.defineProperty(navigator, "connection", { value: { saveData: true } }));
  await page.goto(HOME);
  await page.locator(".story-wait button").click();
  await written(page);
  await expect.poll(() => kept(page), { timeout: 60_000 }).toContain(NF4);
  expect(sent.get(NF4)).toBe(await size(NF4));
  expect(await kept(page)).not.toContain(FULL);
  expect(sent.has(FULL)).toBe(false);
  // Of four builds, those that were not used were not fetched.
  const builds = [...sent.keys()].filter((path) => path.endsWith(".wasm"));
  for (const path of builds) expect(sent.get(path)).toBe(await size(path));
  expect((await kept(page)).filter((path) => path.endsWith(".wasm")).sort()).toEqual(builds.sort());

  await unplug();
  await page.reload();
  await page.locator(".story-wait button").click();
  await written(page);
  await expect(page.locator(".problem")).toHaveCount(0);
});

test("it can be installed: the manifest and its pictures are there", async ({ page, request }) => {
  await page.goto(`${HOME}?manifest#1&embed=1&view=teacher`);
  const href = await page.locator("link[rel=manifest]").getAttribute("href");
  const answer = await request.get(new URL(href ?? "", HOME).href);
  expect(answer.headers()["content-type"]).toContain("application/manifest+json");
  const manifest = (await answer.json()) as { start_url: string; display: string; icons: { src: string; sizes: string }[] };
  expect(manifest.display).toBe("standalone");
  for (const { src, sizes } of manifest.icons) {
    const size = await page.evaluate(async (path) => {
      const image = new Image();
      image.src = path;
      await image.decode();
      return [image.naturalWidth, image.naturalHeight];
    }, new URL(src, HOME).href);
    if (sizes !== "any") expect(size.join("x")).toBe(sizes);
  }
});

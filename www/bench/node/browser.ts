/** Chromium with two pages: ours, as the site serves it, and that of the peers. */

import { spawn, type ChildProcess } from "node:child_process";
import { existsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { chromium, type Browser, type Page } from "@playwright/test";
import type {} from "../drive";
import type { Peers } from "../peers/page";
import type { Target } from "../target";

const PORT = Number(process.env["NIBBLAMA_PORT"] ?? 4180) + 8;

export interface Driver extends Target {
  version: string;
  page: Page;
  /** A call of peers/page.ts. */
  peer<Name extends keyof Peers>(name: Name, ...args: Parameters<Peers[Name]>): Promise<Awaited<ReturnType<Peers[Name]>>>;
  close(): Promise<void>;
}

async function serve(www: string, packages: string): Promise<ChildProcess> {
  const page = join(www, "dist-bench", "page");
  writeFileSync(join(page, "index.html"), '<!doctype html><title>peers</title><script type="module" src="peers.js"></script>\n');
  const mounts = ["--mount", `peers=${packages}`, "--mount", `peer-page=${page}`];
  const server = spawn(process.execPath, ["server.mjs", "--root", "dist", "--port", String(PORT), ...mounts], {
    cwd: www,
    stdio: ["ignore", "pipe", "inherit"],
  });
  await new Promise<void>((resolve, reject) => {
    server.stdout?.once("data", () => resolve());
    server.once("exit", () => reject(new Error("the server did not start")));
  });
  return server;
}

export async function openBrowser(www: string, packages: string, step: (what: string) => void): Promise<Driver> {
  const server = await serve(www, packages);
  let browser: Browser | undefined;
  try {
    const executablePath = process.env["CHROME"] ?? ["/usr/bin/chromium", "/usr/bin/google-chrome"].find(existsSync);
    browser = await chromium.launch({
      ...(executablePath === undefined ? {} : { executablePath }),
      args: ["--no-sandbox", "--disable-quic", "--disable-background-networking", "--disable-component-update", "--disable-sync"],
    });
    const context = await browser.newContext({ serviceWorkers: "block" });
    const page = await context.newPage();
    await page.goto(`http://127.0.0.1:${PORT}/bench.html`);
    // The policy of our site would not let the peers start their workers.
    const others = await browser.newContext({ bypassCSP: true });
    const peerPage = await others.newPage();
    await peerPage.goto(`http://127.0.0.1:${PORT}/peer-page/`);
    for (const each of [page, peerPage]) {
      if (!(await each.evaluate(() => crossOriginIsolated))) throw new Error("the page is not cross-origin isolated");
    }
    await peerPage.waitForFunction(() => "peers" in globalThis);
    await page.waitForFunction(() => "drive" in globalThis);
    return {
      version: browser.version(),
      step,
      page,
      ours: (key, name, ...args) =>
        page.evaluate(([key, name, args]) => globalThis.drive.call(key, name, args), [key, name, args] as const) as Promise<never>,
      end: (key) => page.evaluate((key) => globalThis.drive.end(key), key),
      peer: (name, ...args) =>
        peerPage.evaluate(
          ([name, args]) => (globalThis.peers[name] as (...args: unknown[]) => Promise<unknown>)(...args),
          [name, args as unknown[]] as const,
        ) as Promise<never>,
      close: async () => {
        await browser?.close();
        server.kill();
      },
    };
  } catch (error) {
    await browser?.close();
    server.kill();
    throw error;
  }
}

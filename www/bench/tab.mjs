/** A Chromium of its own with the npm package in a page, and what it takes of the machine. For the programs of this folder. */

import { createReadStream, existsSync, mkdtempSync, readFileSync, readdirSync, rmSync, statSync } from "node:fs";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join, normalize } from "node:path";
import { fileURLToPath } from "node:url";
import { chromium } from "@playwright/test";

const www = fileURLToPath(new URL("..", import.meta.url));
const PAGE = '<!doctype html><script type="module">import * as npm from "/package/index.js"; window.npm = npm;</script>';
const types = { ".js": "text/javascript", ".html": "text/html", ".wasm": "application/wasm", ".json": "application/json" };

/** Serves `folders`, by the first part of the path, and the package, cross-origin isolated and with ranges. */
async function serve(folders) {
  const roots = { ...folders, package: join(www, "dist-npm") };
  const server = createServer((request, response) => {
    const path = normalize(decodeURIComponent(new URL(request.url, "http://localhost").pathname)).slice(1);
    response.setHeader("Cross-Origin-Opener-Policy", "same-origin");
    response.setHeader("Cross-Origin-Embedder-Policy", "require-corp");
    response.setHeader("Cache-Control", "no-store");
    if (path === "") {
      response.setHeader("Content-Type", "text/html");
      return response.end(PAGE);
    }
    const [first, ...rest] = path.split("/");
    const file = join(roots[first] ?? "", ...rest);
    if (roots[first] === undefined || !existsSync(file) || !statSync(file).isFile()) return response.writeHead(404).end();
    const { size } = statSync(file);
    const [, start, last] = /^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? "") ?? [];
    const range = start === undefined ? { start: 0, end: size - 1 } : { start: Number(start), end: Math.min(Number(last), size - 1) };
    const headers = {
      "Content-Type": types[/\.\w+$/.exec(file)?.[0]] ?? "application/octet-stream",
      "Content-Length": range.end - range.start + 1,
      ETag: `"${size}"`,
    };
    if (start !== undefined) headers["Content-Range"] = `bytes ${range.start}-${range.end}/${size}`;
    response.writeHead(start === undefined ? 200 : 206, headers);
    createReadStream(file, range).pipe(response);
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  return { url: `http://127.0.0.1:${server.address().port}/`, server };
}

/** A page of a fresh browser with `window.npm`; `close()` leaves nothing behind. */
export async function openTab(folders) {
  if (!existsSync(join(www, "dist-npm/index.js"))) throw new Error("build the package first: node scripts/package.mjs");
  const { url, server } = await serve(folders);
  const profile = mkdtempSync(join(tmpdir(), "nibblama-bench-"));
  const browser = await chromium.launchPersistentContext(profile, {
    executablePath: process.env.CHROME ?? "/usr/bin/chromium",
    args: ["--no-sandbox", "--disable-quic", "--disable-background-networking", "--disable-component-update", "--disable-sync"],
  });
  const page = await browser.newPage();
  await page.goto(url);
  await page.waitForFunction(() => window.npm);
  const session = await browser.newCDPSession(page);
  return {
    page,
    url,
    processes: () => processes(profile),
    collectGarbage: () => session.send("HeapProfiler.collectGarbage"),
    close: async () => {
      await browser.close();
      server.close();
      rmSync(profile, { recursive: true, force: true });
    },
  };
}

/**
 * What all processes of the browser take: `bytes` of memory, each shared page counted once (proportional set size),
 * and `seconds` of processor time so far.
 */
function processes(profile) {
  let bytes = 0;
  let ticks = 0;
  for (const pid of readdirSync("/proc").filter((name) => /^\d+$/.test(name))) {
    try {
      if (!readFileSync(`/proc/${pid}/cmdline`, "utf8").includes(profile)) continue;
      bytes += 1024 * Number(/^Pss:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/smaps_rollup`, "utf8"))?.[1] ?? 0);
      // After the name in brackets: user and system time are the 12th and 13th field.
      const fields = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ")[1].split(" ");
      ticks += Number(fields[11]) + Number(fields[12]);
    } catch {
      // It ended meanwhile.
    }
  }
  return { bytes, seconds: ticks / 100 };
}

export const megabytes = (bytes) => `${(bytes / 1e6).toFixed(1)} MB`;

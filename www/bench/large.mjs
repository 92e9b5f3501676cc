// node bench/large.mjs FOLDER [--minutes N]: a large checkpoint through the npm package in Chromium, as a user's page loads it.
//
// Reports the quantizing load (time, MB/s of the source, peak of the WebAssembly memory against the final ledger and what was
// planned), the load from the store, prefill and decode rates. With --minutes it then soaks: generate, switch sampling, save,
// restore, dispose and load again, and prints the memory after each round. Build the package first: node scripts/package.mjs.

import { createReadStream, existsSync, mkdtempSync, readFileSync, readdirSync, rmSync, statSync } from "node:fs";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { basename, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { chromium } from "@playwright/test";

const www = fileURLToPath(new URL("..", import.meta.url));
const { values: options, positionals } = parseArgs({
  allowPositionals: true,
  options: { minutes: { type: "string", default: "0" }, quantization: { type: "string", default: "nf4" }, variant: { type: "string" } },
});
const folder = resolve(positionals[0] ?? fail("a folder with a checkpoint is needed"));

function fail(message) {
  console.error(message);
  process.exit(1);
}

const types = { ".js": "text/javascript", ".html": "text/html", ".wasm": "application/wasm", ".json": "application/json" };
const server = createServer((request, response) => {
  const path = new URL(request.url, "http://localhost").pathname;
  response.setHeader("Cross-Origin-Opener-Policy", "same-origin");
  response.setHeader("Cross-Origin-Embedder-Policy", "require-corp");
  response.setHeader("Cache-Control", "no-store");
  if (path === "/") {
    response.setHeader("Content-Type", "text/html");
    return response.end('<!doctype html><script type="module">import * as npm from "/package/index.js"; window.npm = npm;</script>');
  }
  const root = path.startsWith("/package/") ? join(www, "dist-npm") : folder;
  const file = join(root, basename(path));
  if (!existsSync(file)) return response.writeHead(404).end();
  const { size } = statSync(file);
  const [, first, last] = /^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? "") ?? [];
  const start = first === undefined ? 0 : Number(first);
  const end = last === undefined ? size - 1 : Math.min(Number(last), size - 1);
  const headers = { "Content-Type": types[/\.\w+$/.exec(file)?.[0]] ?? "application/octet-stream", "Content-Length": end - start + 1, ETag: `"${size}"` };
  if (first !== undefined) headers["Content-Range"] = `bytes ${start}-${end}/${size}`;
  response.writeHead(first === undefined ? 200 : 206, headers);
  createReadStream(file, { start, end }).pipe(response);
});
await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
const url = `http://127.0.0.1:${server.address().port}/`;

/** Resident bytes of all processes of the browser: what the tab really takes. */
function resident(pattern) {
  let sum = 0;
  for (const pid of pids(pattern)) {
    try {
      sum += Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1] ?? 0) * 1024;
    } catch {
      // It ended meanwhile.
    }
  }
  return sum;
}

function pids(pattern) {
  return readdirSync("/proc").filter((pid) => {
    try {
      return /^\d+$/.test(pid) && readFileSync(`/proc/${pid}/cmdline`, "utf8").includes(pattern);
    } catch {
      return false;
    }
  });
}

const profile = mkdtempSync(join(tmpdir(), "nibblama-large-"));
const browser = await chromium.launchPersistentContext(profile, {
  executablePath: process.env.CHROME ?? "/usr/bin/chromium",
  args: ["--no-sandbox", "--disable-quic", "--disable-background-networking", "--disable-component-update", "--disable-sync"],
});
let peak = 0;
const watch = setInterval(() => (peak = Math.max(peak, resident(profile))), 200);
try {
  const page = await browser.newPage();
  await page.goto(url);
  await page.waitForFunction(() => window.npm);
  const idle = resident(profile);
  peak = idle;
  const settings = { quantization: options.quantization, context: 2048, store: true, ...(options.variant ? { variant: options.variant } : {}) };
  const measure = async (source, settings) => {
    const planned = await window.npm.inspectModel(source, settings);
    const start = performance.now();
    const model = await window.npm.loadModel(source, settings);
    const seconds = (performance.now() - start) / 1000;
    window.model = model;
    return { seconds, planned: planned.bytes, memory: await model.memory(), variant: model.variant };
  };
  const first = await page.evaluate(`(${measure})(${JSON.stringify(url)}, ${JSON.stringify(settings)})`);
  const { memory, planned } = first;
  const report = (name, value) => console.log(`${name.padEnd(34)} ${value}`);
  const mb = (bytes) => `${(bytes / 1e6).toFixed(1)} MB`;
  report("build", `${first.variant.name}, ${first.variant.threads} threads`);
  report("source", mb(planned.download));
  report("load and quantize", `${first.seconds.toFixed(1)} s, ${(planned.download / 1e6 / first.seconds).toFixed(1)} MB/s`);
  report("ledger", mb(memory.total));
  report("wasm memory / ledger", `${mb(memory.wasm_memory)}, ${(memory.wasm_memory / memory.total).toFixed(4)}`);
  report("planned total, peak", `${mb(planned.total)}, ${mb(planned.peak)}`);
  report("browser's processes, peak over idle", mb(peak - idle));
  const rates = await page.evaluate(async () => {
    const prompt = Array.from({ length: 129 }, (_, i) => 3 + i);
    let prefill = 0;
    let tokens = 0;
    let start = performance.now();
    for await (const { time } of window.model.generate(prompt, { max_new_tokens: 33, do_sample: false })) {
      if (tokens === 0) prefill = time;
      tokens += 1;
    }
    return { prefill: 129 / (prefill / 1000), decode: (tokens - 1) / ((performance.now() - start - prefill) / 1000) };
  });
  report("prefill, decode", `${rates.prefill.toFixed(2)}, ${rates.decode.toFixed(2)} tokens/s`);
  await page.evaluate(() => window.model.dispose());
  const second = await page.evaluate(`(${measure})(${JSON.stringify(url)}, ${JSON.stringify(settings)})`);
  report("load from the store", `${second.seconds.toFixed(2)} s`);
  const end = Date.now() + Number(options.minutes) * 60_000;
  const sizes = [];
  for (let round = 1; Date.now() < end; round++) {
    const size = await page.evaluate(
      async ([url, settings, round]) => {
        for await (const _ of window.model.generate("Once upon a time", { max_new_tokens: 60, do_sample: round % 2 === 0, seed: round }));
        const session = await window.model.saveSession();
        await window.model.restoreSession(session);
        const { wasm_memory } = await window.model.memory();
        await window.model.dispose();
        window.model = await window.npm.loadModel(url, settings);
        return wasm_memory;
      },
      [url, settings, round],
    );
    sizes.push({ size, resident: resident(profile) });
    report(`round ${round}`, `wasm ${mb(size)}, processes ${mb(sizes.at(-1).resident)}`);
  }
  if (sizes.length > 1) {
    const spread = (key) => Math.max(...sizes.map((each) => each[key])) / Math.min(...sizes.map((each) => each[key])) - 1;
    report("spread over rounds", `wasm ${(100 * spread("size")).toFixed(2)} %, processes ${(100 * spread("resident")).toFixed(2)} %`);
  }
} finally {
  clearInterval(watch);
  await browser.close();
  server.close();
  rmSync(profile, { recursive: true, force: true });
}

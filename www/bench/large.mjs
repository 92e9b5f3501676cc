// node bench/large.mjs FOLDER [--quantization nf4] [--variant NAME] [--json FILE]: a large checkpoint through the npm package in
// Chromium, as a user's page loads it. large.py makes one; soak.mjs --model FOLDER uses it for hours.
//
// Reports the quantizing load (time, MB/s of the source, what the WebAssembly memory and the browser's processes come to, against the
// ledger and what was planned), the load from the store beside the mere reading of its file, and the rates of prefill and decode.
// Build the package first: node scripts/package.mjs.

import { writeFileSync } from "node:fs";
import { resolve } from "node:path";
import { parseArgs } from "node:util";
import { megabytes, openTab } from "./tab.mjs";

const { values: options, positionals } = parseArgs({
  allowPositionals: true,
  options: { quantization: { type: "string", default: "nf4" }, variant: { type: "string" }, json: { type: "string" } },
});
if (positionals[0] === undefined) {
  console.error("a folder with a checkpoint is needed; large.py makes one");
  process.exit(1);
}

/** Loads as asked; the model stays in `window.model`. */
async function load({ url, settings }) {
  const planned = await window.npm.inspectModel(url, settings);
  const start = performance.now();
  const model = await window.npm.loadModel(url, settings);
  const seconds = (performance.now() - start) / 1000;
  window.model = model;
  const { true_bytes } = await window.npm.footprint(model.facts.rawConfig, settings);
  return { seconds, planned: planned.bytes, memory: await model.memory(), variant: model.variant, true_bytes };
}

/** Tokens a second of reading a prompt and of writing after it. */
async function rates(length) {
  const prompt = Array.from({ length }, (_, i) => 3 + i);
  let [prefill, tokens] = [0, 0];
  const start = performance.now();
  for await (const { time } of window.model.generate(prompt, { max_new_tokens: 33, do_sample: false, reuse: "none" })) {
    if (tokens === 0) prefill = time;
    tokens += 1;
  }
  return { prefill: length / (prefill / 1000), decode: (tokens - 1) / ((performance.now() - start - prefill) / 1000) };
}

/** Seconds that reading everything in the store takes, into one buffer, and how many bytes that is. */
async function readStore() {
  const script = `onmessage = async () => {
    const root = await (await navigator.storage.getDirectory()).getDirectoryHandle("nibblama");
    const [[, folder]] = await Array.fromAsync(root.entries());
    const handle = await (await folder.getFileHandle("data")).createSyncAccessHandle();
    const buffer = new Uint8Array(new SharedArrayBuffer(16 << 20));
    const start = performance.now();
    for (let at = 0; at < handle.getSize(); at += buffer.length) handle.read(buffer, { at });
    postMessage({ seconds: (performance.now() - start) / 1000, bytes: handle.getSize() });
    handle.close();
  };`;
  const worker = new Worker(URL.createObjectURL(new Blob([script], { type: "text/javascript" })), { type: "module" });
  return new Promise((resolve, reject) => {
    worker.onmessage = ({ data }) => resolve(data);
    worker.onerror = ({ message }) => reject(new Error(message));
    worker.postMessage(null);
  }).finally(() => worker.terminate());
}

const tab = await openTab({ model: resolve(positionals[0]) });
const settings = { quantization: options.quantization, context: 2048, store: true, ...(options.variant ? { variant: options.variant } : {}) };
const source = { url: `${tab.url}model/`, settings };
let peak = 0;
const watch = setInterval(() => (peak = Math.max(peak, tab.processes().bytes)), 200);
try {
  const idle = tab.processes().bytes;
  const first = await tab.page.evaluate(load, source);
  const whole = peak - idle;
  const speed = await tab.page.evaluate(rates, 129);
  const { wasm_memory: wasm, total: ledger, kv_cache, scratch } = await tab.page.evaluate(() => window.model.memory());
  await tab.page.evaluate(() => window.model.dispose());
  const read = await tab.page.evaluate(readStore);
  const second = await tab.page.evaluate(load, source);
  const weights = ledger - kv_cache - scratch;
  const result = { first, speed, wasm, ledger, weights, whole, read, second };
  const percent = (x) => `${(100 * x).toFixed(2)} %`;
  const report = (name, value) => console.log(`${name.padEnd(36)} ${value}`);
  report("build", `${first.variant.name}, ${first.variant.threads} threads`);
  report("source", megabytes(first.planned.download));
  report("load and quantize", `${first.seconds.toFixed(1)} s, ${(first.planned.download / 1e6 / first.seconds).toFixed(1)} MB/s`);
  report("ledger", `${megabytes(ledger)}: weights ${megabytes(weights)}, kv cache ${megabytes(kv_cache)}, buffers ${megabytes(scratch)}`);
  report("weights held / true_bytes", `${megabytes(first.true_bytes)}, ${percent(weights / first.true_bytes - 1)} over`);
  report("peak of the wasm memory / ledger", `${megabytes(wasm)}, ${(wasm / ledger).toFixed(4)}; planned ${megabytes(first.planned.peak)}`);
  report("browser's processes, peak over idle", megabytes(whole));
  report("prefill, decode", `${speed.prefill.toFixed(2)}, ${speed.decode.toFixed(2)} tokens/s`);
  report("load from the store", `${second.seconds.toFixed(2)} s, of which reading ${megabytes(read.bytes)} takes ${read.seconds.toFixed(2)} s`);
  if (options.json) writeFileSync(options.json, `${JSON.stringify(result, null, 1)}\n`);
} finally {
  clearInterval(watch);
  await tab.close();
}

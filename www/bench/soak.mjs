// node bench/soak.mjs [--minutes 60] [--model FOLDER] [--adapter FOLDER]... [--quantization nf4-dq] [--load 1] [--json FILE]
//
// One tab that is used for hours: each round loads the model from the store, writes, switches adapters between tokens,
// saves and restores the text, lets the window slide, goes on with another adapter, is aborted once, and disposes of the model. Memory is
// taken after each dispose with the garbage collected, and must stay where it was after the first rounds. `--load 0.25`
// pauses so that the browser takes a quarter of one core. Build the package first: node scripts/package.mjs.

import { writeFileSync } from "node:fs";
import { resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { megabytes, openTab } from "./tab.mjs";

const models = fileURLToPath(new URL("../../models/", import.meta.url));
const { values: options } = parseArgs({
  options: {
    minutes: { type: "string", default: "60" },
    model: { type: "string", default: `${models}stories` },
    adapter: { type: "string", multiple: true, default: [`${models}adapters/rhymes`, `${models}adapters/olden`] },
    quantization: { type: "string", default: "nf4-dq" },
    load: { type: "string", default: "1" },
    json: { type: "string" },
  },
});
/** Memory grows for some rounds until caches of the browser are full. */
const WARM_UP = 10;
const FLAT = 0.02;

const adapters = Object.fromEntries(options.adapter.map((folder, i) => [`adapter-${i}`, resolve(folder)]));
const tab = await openTab({ model: resolve(options.model), ...adapters });
const rounds = [];
try {
  const end = Date.now() + Number(options.minutes) * 60_000;
  const settings = { quantization: options.quantization, context: 256, store: true };
  while (Date.now() < end || rounds.length < WARM_UP + 2) {
    const before = tab.processes().seconds;
    const began = Date.now();
    const result = await tab.page.evaluate(round, { url: tab.url, settings, names: Object.keys(adapters), seed: rounds.length });
    await tab.collectGarbage();
    const { seconds } = tab.processes();
    const bytes = await settled(tab);
    rounds.push({ minute: (Date.now() - end) / 60_000 + Number(options.minutes), ...result, processes: bytes });
    const pause = ((seconds - before) / Number(options.load)) * 1000 - (Date.now() - began);
    if (pause > 0) await new Promise((resolve) => setTimeout(resolve, Math.min(pause, Math.max(0, end - Date.now()))));
    if (rounds.length % 50 === 1) console.log(`round ${rounds.length}: wasm ${megabytes(result.wasm)}, processes ${megabytes(bytes)}`);
  }
} finally {
  await tab.close();
}

/** What all processes take once the browser has ended the worker, which it does in its own time: the least of 3 seconds. */
async function settled(tab) {
  let least = Infinity;
  for (let i = 0; i < 12; i++) {
    await new Promise((resolve) => setTimeout(resolve, 250));
    least = Math.min(least, tab.processes().bytes);
  }
  return least;
}

/** The text of a whole round, and what it held; throws when anything is not as it must be. */
async function round({ url, settings, names, seed }) {
  const { loadModel } = window.npm;
  const model = await loadModel(`${url}model/`, settings);
  const write = async (prompt, options, onToken = () => undefined) => {
    let text = "";
    let count = 0;
    let dropped = 0;
    for await (const step of model.generate(prompt, options)) {
      text += step.text;
      dropped += step.dropped ?? 0;
      await onToken((count += 1));
    }
    return { text, count, dropped };
  };
  const check = (holds, what) => {
    if (!holds) throw new Error(`round ${seed}: ${what}`);
  };
  let tokens = 0;
  const sampled = { do_sample: true, temperature: 0.8, seed };
  const story = await write("Once upon a time", { ...sampled, max_new_tokens: 60 });
  tokens += story.count;
  check(story.text.length > 0, "nothing was written");
  for (const name of names) {
    await model.loadAdapter(name, `${url}${name}/`);
    // Into use in the middle of a text, and out of it again before the end.
    const mixed = await write("A dog", { ...sampled, max_new_tokens: 30 }, async (count) => {
      if (count === 8) await model.setAdapter(name, 0.5 + (seed % 3) / 2);
      if (count === 20) await model.setAdapter(null);
    });
    tokens += mixed.count;
  }
  await model.setAdapter(names[seed % names.length] ?? null);
  const first = await write("The moon", { do_sample: false, max_new_tokens: 24, reuse: "none" });
  const file = await model.saveSession();
  const went = await write(`The moon${first.text} and`, { do_sample: false, max_new_tokens: 12, reuse: "all" });
  await model.restoreSession(file);
  const again = await write(`The moon${first.text} and`, { do_sample: false, max_new_tokens: 12, reuse: "all" });
  check(again.text === went.text, `after restoring: ${JSON.stringify(again.text)} instead of ${JSON.stringify(went.text)}`);
  const slid = await write("One day", { ...sampled, max_new_tokens: 300, overflow: "slide" });
  check(slid.count < 300 || slid.dropped > 0, "the window did not slide");
  tokens += first.count + went.count + again.count + slid.count;
  const stop = new AbortController();
  const aborted = await write("Once upon a time", { signal: stop.signal }, (count) => void (count === 3 && stop.abort())).then(
    () => "none",
    ({ code }) => code,
  );
  check(aborted === "aborted", `an abort ended with ${aborted}`);
  for (const name of names) await model.deleteAdapter(name);
  const { wasm_memory: wasm, total } = await model.memory();
  await model.dispose();
  return { wasm, total, tokens };
}

const median = (values) => [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)];
const steady = rounds.slice(WARM_UP);
const tenth = Math.max(1, Math.floor(steady.length / 10));

/** Medians of the first and the last tenth, and how far single rounds lie apart: texts differ in length, and prompts in how they are divided. */
function course(key) {
  const values = steady.map((each) => each[key]);
  const [first, last] = [median(values.slice(0, tenth)), median(values.slice(-tenth))];
  return { first, last, growth: last / first - 1, spread: Math.max(...values) / Math.min(...values) - 1 };
}

const report = {
  minutes: rounds.at(-1).minute,
  rounds: rounds.length,
  tokens: rounds.reduce((sum, { tokens }) => sum + tokens, 0),
  wasm: course("wasm"),
  ledger: course("total"),
  processes: course("processes"),
};
const percent = (x) => `${(100 * x).toFixed(2)} %`;
console.log(`${report.rounds} rounds in ${report.minutes.toFixed(1)} minutes, ${report.tokens} tokens, no error`);
for (const [name, title] of [["wasm", "wasm memory before dispose"], ["ledger", "the model's ledger"], ["processes", "all processes after dispose"]]) {
  const { first, last, growth, spread } = report[name];
  console.log(`${title}: ${megabytes(first)} in the first tenth, ${megabytes(last)} in the last (${percent(growth)}); single rounds within ${percent(spread)}`);
}
if (options.json) writeFileSync(options.json, `${JSON.stringify({ ...report, all: rounds }, null, 1)}\n`);
const flat = [report.wasm, report.ledger, report.processes].every(({ growth }) => growth <= FLAT);
if (!flat) console.error(`memory grows by more than ${percent(FLAT)}`);
process.exitCode = flat ? 0 : 1;

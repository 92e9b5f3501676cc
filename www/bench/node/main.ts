/** The benchmark: see run.mjs. */

import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { compete, endOurs, ourContenders } from "../end-to-end";
import { Measurements } from "../measurements";
import { micro } from "../micro";
import type { ShapeName } from "../shapes";
import { openBrowser } from "./browser";
import { ortProducts, peers } from "./contenders";
import { heading, machine } from "./machine";
import { adapter, embedded, longContext, shareOfProducts } from "./models";
import { section, writeSection } from "./markdown";
import { fetchPackages } from "./packages";
import { goals, goalTable, table } from "./report";
import { threads } from "./threads";

const PARTS = ["micro", "threads", "embedded", "context", "42m", "417m", "tinyllama"];

const { values: options } = parseArgs({
  options: {
    quick: { type: "boolean", default: false },
    json: { type: "boolean", default: false },
    only: { type: "string", multiple: true, default: [] },
    tinyllama: { type: "boolean", default: false },
    write: { type: "boolean", default: false },
    help: { type: "boolean", default: false },
  },
});
if (options.help) {
  console.log(`./build.sh bench [--quick] [--json] [--only PART]... [--tinyllama] [--write]
  --quick      fewer rounds: at most 10 minutes
  --json       the last line of the output is one JSON object
  --only PART  ${PARTS.join(", ")}; may be given several times
  --tinyllama  the shape with 1.1 B weights too
  --write      puts the run into BENCHMARKS.md`);
  process.exit();
}
const unknown = options.only.filter((part) => !PARTS.includes(part));
if (unknown.length > 0) throw new Error(`no such part: ${unknown.join(", ")}; there are ${PARTS.join(", ")}`);
const { quick, only } = options;
const www = fileURLToPath(new URL("..", import.meta.url));
const packages = fileURLToPath(new URL("../../target/bench/peers", import.meta.url));
const begun = performance.now();
const log = (text: string) => console.error(`[${((performance.now() - begun) / 1000).toFixed(0).padStart(4)} s] ${text}`);

fetchPackages(packages);
const builds = { one: "relaxed", many: "relaxed-threads", threads: 2 } as const;
const driver = await openBrowser(www, packages, () => undefined);
const command = ["./build.sh bench", ...process.argv.slice(2)].join(" ");
const made = machine(driver.version, command);
const record = new Measurements();
const shapes: ShapeName[] = [];
const wanted = (part: string) => only.length === 0 || only.includes(part);
try {
  if (wanted("micro")) {
    log("products by themselves");
    await micro(driver, record, builds.one, quick ? 7 : 15, await ortProducts(driver, record));
    await driver.peer("unload", "ort");
  }
  if (wanted("threads")) {
    log("one thread and two");
    await threads(driver, record, quick ? 5 : 9);
  }
  if (wanted("embedded")) {
    log("the embedded model");
    await embedded(driver, record, quick ? 5 : 9);
  }
  if (wanted("context")) {
    log("a long context");
    await longContext(driver, record, quick ? 5 : 9);
  }
  const plans = [
    { shape: "42m", rounds: quick ? 5 : 9, tokens: 32, brief: false, third: true },
    { shape: "417m", rounds: quick ? 3 : 5, tokens: 16, brief: quick, third: true },
    ...(options.tinyllama || only.includes("tinyllama") ? [{ shape: "tinyllama", rounds: 3, tokens: 8, brief: true, third: false } as const] : []),
  ] as const;
  for (const plan of plans) {
    if (!wanted(plan.shape)) continue;
    log(`${plan.shape}: prefill and decode`);
    const same = await ourContenders(driver, record, plan.shape, builds, "NF4");
    const byDefault = await ourContenders(driver, record, plan.shape, { ...builds, many: null }, "bf16");
    await compete(driver, record, [...same, ...byDefault, ...(await peers(driver, plan))], plan);
    await endOurs(driver);
    await driver.peer("unload", plan.shape);
    shapes.push(plan.shape);
    if (plan.shape === "tinyllama") continue;
    await adapter(driver, record, plan.shape, quick ? 3 : 7);
    await shareOfProducts(driver, record, plan.shape, quick ? 1 : 3);
  }
  log("done");
} finally {
  await driver.close();
}
const found = goals(record, shapes);
console.log([...heading(made), "", ...record.notes, "", ...table(record), "", ...goalTable(found)].join("\n"));
const json = {
  ...Object.fromEntries(found.filter(({ value }) => value !== null).map(({ key, value }) => [key, Number((value ?? 0).toPrecision(4))])),
  machine: made,
  seconds: Math.round((performance.now() - begun) / 1000),
  measurements: record.all(),
};
if (options.write) writeSection(fileURLToPath(new URL("../../BENCHMARKS.md", import.meta.url)), section(made, record, found));
if (options.json) console.log(JSON.stringify(json));

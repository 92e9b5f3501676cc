/** The benchmark: see run.mjs. */

import { writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { openBrowser } from "./browser";
import { endToEnd } from "./end-to-end";
import { heading, machine } from "./machine";
import { micro } from "./micro";
import { fetchPackages } from "./packages";
import { Measurements } from "./measurements";
import { goals, goalTable, table } from "./report";
import type { ShapeName } from "../shapes";

const { values: options } = parseArgs({
  options: {
    quick: { type: "boolean", default: false },
    json: { type: "boolean", default: false },
    /** One part alone: "micro", or a shape. */
    only: { type: "string", multiple: true, default: [] },
    tinyllama: { type: "boolean", default: false },
    write: { type: "string" },
  },
});
const { quick, only } = options;
const www = fileURLToPath(new URL("..", import.meta.url));
const packages = fileURLToPath(new URL("../../target/bench/peers", import.meta.url));
const begun = performance.now();
const log = (text: string) => console.error(`[${((performance.now() - begun) / 1000).toFixed(0).padStart(4)} s] ${text}`);

fetchPackages(packages);
const driver = await openBrowser(www, packages);
const command = ["./build.sh bench", ...process.argv.slice(2)].join(" ");
const made = machine(driver.version, command);
const record = new Measurements();
const shapes: ShapeName[] = [];
const wanted = (part: string) => only.length === 0 || only.includes(part);
try {
  if (wanted("micro")) {
    log("products by themselves");
    await micro(driver, record, quick ? 7 : 15);
  }
  const plans = [
    { shape: "42m", rounds: quick ? 5 : 9, tokens: 32, brief: false, third: true },
    { shape: "417m", rounds: quick ? 3 : 5, tokens: 16, brief: quick, third: true },
    ...(options.tinyllama ? [{ shape: "tinyllama", rounds: 3, tokens: 8, brief: true, third: false } as const] : []),
  ] as const;
  for (const plan of plans) {
    if (!wanted(plan.shape)) continue;
    log(`${plan.shape}: prefill and decode`);
    await endToEnd(driver, record, plan);
    shapes.push(plan.shape);
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
if (options.write !== undefined) writeFileSync(options.write, `${JSON.stringify(json, null, 2)}\n`);
if (options.json) console.log(JSON.stringify(json));

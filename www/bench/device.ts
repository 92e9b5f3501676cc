/** The measurements of the page: the same products and models as `./build.sh bench`, on whatever device this is. */

import { choose, probe } from "../engine/variants";
import { MAX_THREADS } from "../engine/pool";
import { Bench } from "./client";
import { compete, endOurs, ourContenders } from "./end-to-end";
import { Measurements } from "./measurements";
import { micro } from "./micro";
import type { ShapeName } from "./shapes";
import type { Builds, Target } from "./target";
import { columns, digits } from "./text";

/** The builds this browser can run: the best with threads and the best without. */
export async function builds(): Promise<Builds> {
  const environment = await probe();
  const [one] = choose(environment, { threads: 1 }).candidates;
  if (one === undefined) throw new Error("this browser has no WebAssembly SIMD");
  const many = choose(environment).candidates.find((name) => name.endsWith("threads")) ?? null;
  return { one, many, threads: many === null ? 1 : Math.min(environment.cores, MAX_THREADS) };
}

/** Measures into `record` until all is done or `signal` is aborted; `step` hears what comes next. */
export async function measureDevice(
  record: Measurements,
  shapes: readonly ShapeName[],
  step: (what: string) => void,
  signal: AbortSignal,
): Promise<void> {
  const workers = new Map<string, Bench>();
  const target: Target = {
    ours: (key, name, ...args) => {
      let bench = workers.get(key);
      if (bench === undefined) workers.set(key, (bench = new Bench()));
      return bench.call(name, ...args);
    },
    end: async (key) => {
      workers.get(key)?.end();
      workers.delete(key);
    },
    step: (what) => {
      signal.throwIfAborted();
      step(what);
    },
  };
  try {
    const chosen = await builds();
    await micro(target, record, chosen.one, 5);
    for (const shape of shapes) {
      const contenders = await ourContenders(target, record, shape, chosen, "bf16");
      await compete(target, record, contenders, { shape, rounds: 5, tokens: 16 });
      await endOurs(target);
    }
  } finally {
    for (const bench of workers.values()) bench.end();
  }
}

/** The device in words, as far as the browser says. */
export function device(): string {
  const isolated = crossOriginIsolated ? "cross-origin isolated" : "not cross-origin isolated";
  return `${navigator.userAgent}; ${navigator.hardwareConcurrency} cores, ${isolated}`;
}

/** The result for a message: device, notes, and a table that stays one in plain text. */
export function plainText(record: Measurements, when: string): string {
  const rows = record.all().map(({ name, unit, median, min, max, n }) => [name, ...[median, min, max].map(digits), unit, String(n)]);
  const designs = record.designs.map(({ design, gigabytesPerSecond, chosen }) => `${design} ${digits(gigabytesPerSecond)} GB/s${chosen ? " (taken)" : ""}`);
  const notes = designs.length === 0 ? record.notes : [...record.notes, `designs of fast arithmetic: ${designs.join(", ")}`];
  return [`Nibblama, ${when}`, device(), ...notes, "", ...columns([["", "median", "min", "max", "unit", "n"], ...rows]), ""].join("\n");
}

export function json(record: Measurements, when: string): string {
  return JSON.stringify({ date: when, device: device(), notes: record.notes, designs: record.designs, measurements: record.all() }, null, 2);
}

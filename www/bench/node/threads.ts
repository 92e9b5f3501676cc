/** What sharing a product out to two threads brings or costs, also while another process takes one of the cores. */

import { spawn } from "node:child_process";
import type { Driver } from "./browser";
import type { Measurements } from "../measurements";
import { NF4 } from "../target";

/** From smaller than anything worth sharing to the largest of a 417 M Llama. */
const SHAPES: readonly [rows: number, cols: number][] = [
  [64, 64],
  [192, 576],
  [512, 512],
  [1024, 1024],
  [1408, 512],
  [2048, 2048],
  [5632, 2048],
];
const BUDGET = 25;

export const shapeName = (rows: number, cols: number) => `${rows} x ${cols}`;
export const BUSY = "another process busy";

export const quantizeName = (threads: number) => `quantize 4096 x 2048 to NF4, ${threads} thread${threads === 1 ? "" : "s"}`;

export async function threads(driver: Driver, record: Measurements, rounds: number): Promise<void> {
  const key = "threads";
  const started = await driver.ours(key, "start", "relaxed-threads", 2);
  if (started.threads !== 2) throw new Error("two threads did not start");
  for (const [rows, cols] of SHAPES) {
    await driver.ours(key, "matrix", rows, cols, 0, NF4);
    const once = async (threads: number) => {
      await driver.ours(key, "setThreads", threads);
      return driver.ours(key, "product", 1, "near-exact", BUDGET);
    };
    await once(1);
    await once(2);
    for (const place of ["", `, ${BUSY}`]) {
      const burner = place === "" ? null : spawn(process.execPath, ["-e", "for(;;);"], { stdio: "ignore" });
      try {
        for (let round = 0; round < rounds; round++) {
          const [one, two] = [await once(1), await once(2)];
          const name = shapeName(rows, cols) + place;
          record.add(`product ${name}, 1 thread`, "us", 1000 * one);
          record.add(`product ${name}, 2 threads`, "us", 1000 * two);
          // Perfect sharing would take half: what is above it are the fork, the join and waiting.
          if (place === "" && rows * cols >= 1 << 20) record.add(`fork and join, ${name}`, "us", 1000 * (two - one / 2));
        }
      } finally {
        burner?.kill();
      }
    }
  }
  const [rows, cols] = [4096, 2048];
  await driver.ours(key, "matrix", rows, cols, 0, NF4);
  for (let round = -1; round < rounds; round++) {
    for (const threads of [1, 2]) {
      await driver.ours(key, "setThreads", threads);
      const ms = await driver.ours(key, "quantize", 3);
      // The first round only warms up.
      if (round >= 0) record.add(quantizeName(threads), "ms", ms);
    }
  }
  await driver.end(key);
}

/** The worst ratio of the times on two threads and on one, over all shapes. */
export function worst(record: Measurements, place: "" | `, ${typeof BUSY}`): number | null {
  const each = SHAPES.map(([rows, cols]) => {
    const name = shapeName(rows, cols) + place;
    return record.ratio(`product ${name}, 2 threads`, `product ${name}, 1 thread`);
  }).filter((value) => value !== null);
  return each.length === 0 ? null : Math.max(...each);
}

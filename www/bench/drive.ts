/** Lets a script drive workers of measure-worker.ts from outside the page: `./build.sh bench` does. */

import { Bench } from "./client";
import type { CallName } from "./measure-worker";

const benches = new Map<string, Bench>();

const drive = {
  call(key: string, name: CallName, args: unknown[]): Promise<unknown> {
    let bench = benches.get(key);
    if (bench === undefined) benches.set(key, (bench = new Bench()));
    // The script types its calls as `Bench.call` does.
    return (bench.call as (name: CallName, ...args: unknown[]) => Promise<unknown>).call(bench, name, ...args);
  },

  end(key: string): void {
    benches.get(key)?.end();
    benches.delete(key);
  },
};

export type Drive = typeof drive;
declare global {
  var drive: Drive;
}
globalThis.drive = drive;

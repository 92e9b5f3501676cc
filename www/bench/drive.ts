/** Lets a script drive what is measured from outside the page: `./build.sh bench` does. */

import { Bench } from "./client";
import * as embedded from "./embedded";
import type { CallName } from "./measure-worker";
import type { Arithmetic } from "../engine/types";

const benches = new Map<string, Bench>();
let loaded: embedded.Loaded | undefined;

function model() {
  if (loaded === undefined) throw new Error("no embedded model is loaded");
  return loaded.model;
}

const drive = {
  /** A call of measure-worker.ts, in the worker of that name. */
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

  async loadEmbedded(threads: number): Promise<embedded.FirstToken> {
    await loaded?.model.dispose();
    loaded = await embedded.load(threads);
    return loaded.first;
  },

  decodeRate: (arithmetic: Arithmetic, tokens: number) => embedded.decodeRate(model(), arithmetic, tokens),
  perplexity: (arithmetic: Arithmetic) => embedded.perplexity(model(), arithmetic),

  async disposeEmbedded(): Promise<void> {
    await loaded?.model.dispose();
    loaded = undefined;
  },
};

export type Drive = typeof drive;
declare global {
  var drive: Drive;
}
globalThis.drive = drive;

/**
 * Threads of the engine. The engine's worker starts them; they end with it. Each is a worker of its own with an
 * instance of the same module on the same memory, and sleeps until there is a product to share.
 */

import { NibblamaError } from "./errors";
import type { Glue } from "./builds";

/** More threads than this wait for each other longer than they compute. */
export const MAX_THREADS = 8;

/** A thread that has not started by then is done without. */
const START_LIMIT = 3000;

/** The one message that a thread of the pool gets. */
export interface PoolRequest {
  module: WebAssembly.Module;
  memory: WebAssembly.Memory;
}

/** Starts threads for `glue`, this one counted, and returns how many run: fewer where some do not start. */
export async function startPool(
  glue: Glue,
  memory: WebAssembly.Memory,
  threads: number,
): Promise<number> {
  const request: PoolRequest = { module: glue.sharedModule() as WebAssembly.Module, memory };
  const starts = await Promise.allSettled(Array.from({ length: threads - 1 }, () => startThread(request)));
  const running = 1 + starts.filter((start) => start.status === "fulfilled").length;
  const failure = starts.find((start) => start.status === "rejected");
  if (running === 1 && failure !== undefined) throw failure.reason;
  glue.setThreads(running);
  return running;
}

function startThread(request: PoolRequest): Promise<void> {
  const worker = new Worker(new URL("./pool-thread.ts", import.meta.url), { type: "module", name: "nibblama thread" });
  return new Promise<void>((resolve, reject) => {
    const fail = (reason: string) => {
      worker.terminate();
      reject(new NibblamaError("unsupported-browser", `a thread of the pool did not start: ${reason}`));
    };
    const timer = setTimeout(() => fail(`no answer within ${START_LIMIT} ms`), START_LIMIT);
    worker.addEventListener("error", (event) => {
      clearTimeout(timer);
      event.preventDefault();
      fail(event.message || "its script did not load");
    });
    worker.addEventListener("message", () => {
      clearTimeout(timer);
      resolve();
    });
    worker.postMessage(request);
  });
}

/** The page's side of measure-worker.ts: promises, typed by what the worker can do. */

import type { Answer, CallName, Calls, Request } from "./measure-worker";

export type Result<Name extends CallName> = Awaited<ReturnType<Calls[Name]>>;

export class Bench {
  readonly #worker = new Worker(new URL("./measure-worker.ts", import.meta.url), { type: "module", name: "nibblama bench" });
  readonly #pending = new Map<number, { resolve(result: unknown): void; reject(error: Error): void }>();
  #next = 1;

  constructor() {
    this.#worker.addEventListener("message", ({ data }: MessageEvent<Answer>) => {
      const pending = this.#pending.get(data.id);
      this.#pending.delete(data.id);
      if ("error" in data) pending?.reject(new Error(data.error));
      else pending?.resolve(data.result);
    });
    this.#worker.addEventListener("error", (event) => {
      for (const { reject } of this.#pending.values()) reject(new Error(event.message || "the worker failed"));
      this.#pending.clear();
    });
  }

  call<Name extends CallName>(name: Name, ...args: Parameters<Calls[Name]>): Promise<Result<Name>> {
    const id = this.#next++;
    return new Promise((resolve, reject) => {
      // Each id belongs to one call, whose result type the worker's functions fix.
      this.#pending.set(id, { resolve: (result) => resolve(result as Result<Name>), reject });
      this.#worker.postMessage({ id, name, args } satisfies Request);
    });
  }

  end(): void {
    this.#worker.terminate();
  }
}

/** The page's side of the lab: promises over the messages of lab-protocol.ts, and answers kept for those who ask again. */

import { postedSource, quantizationConfig } from "./client";
import { NibblamaError } from "./errors";
import { LAB_WORKER, type FromLab, type LabCallName, type LabCalls, type ToLab } from "./lab-protocol";
import type { Lab, LabCall, LabCodebook, LabOutlier, LabSettings, LabWeight } from "./lab-types";
import type { ModelSource } from "./types";
import { variantsByPreference } from "./variants";

interface Pending {
  resolve(result: unknown): void;
  reject(error: unknown): void;
  progress(loaded: number, total: number): void;
  unlisten(): void;
}

interface Options {
  signal?: AbortSignal | undefined;
  onProgress?: ((loaded: number, total: number) => void) | undefined;
}

/** How many answers are kept. */
const KEPT = 48;

class LabConnection {
  readonly closed: Promise<Error | undefined>;
  #worker = new Worker(new URL("./worker.ts", import.meta.url), { type: "module", name: LAB_WORKER });
  #pending = new Map<number, Pending>();
  #kept = new Map<string, Promise<unknown>>();
  #nextId = 1;
  #end: NibblamaError | undefined;
  #settle: (error: Error | undefined) => void = () => undefined;

  constructor() {
    this.closed = new Promise((resolve) => {
      this.#settle = resolve;
    });
    this.#worker.addEventListener("message", (event: MessageEvent<FromLab>) => this.#receive(event.data));
    this.#worker.addEventListener("error", (event) => {
      event.preventDefault();
      this.close(new NibblamaError("crashed", `the lab's worker failed: ${event.message || "it did not start"}`));
    });
  }

  call<Name extends LabCallName>(
    name: Name,
    request: LabCalls[Name]["request"],
    { signal, onProgress }: Options = {},
  ): Promise<LabCalls[Name]["result"]> {
    return new Promise((resolve, reject) => {
      if (this.#end !== undefined) return reject(this.#end);
      const stopped = () => new NibblamaError("aborted", "the caller asked to stop");
      if (signal?.aborted) return reject(stopped());
      const id = this.#nextId++;
      // The worker may be in the middle of a sum; whoever asked need not wait for it.
      const abort = () => {
        this.#post({ type: "abort", id });
        this.#pending.delete(id);
        reject(stopped());
      };
      signal?.addEventListener("abort", abort, { once: true });
      this.#pending.set(id, {
        // Each id belongs to one call, whose result type the protocol fixes.
        resolve: (result) => resolve(result as LabCalls[Name]["result"]),
        reject,
        progress: onProgress ?? (() => undefined),
        unlisten: () => signal?.removeEventListener("abort", abort),
      });
      this.#post({ type: "call", id, name, request } as ToLab);
    });
  }

  /** The same question again is answered from memory. Failures and aborted calls are not kept. */
  ask<Name extends LabCallName>(
    name: Name,
    request: LabCalls[Name]["request"],
    options: Options = {},
  ): Promise<LabCalls[Name]["result"]> {
    const key = JSON.stringify([name, request]);
    const held = this.#kept.get(key);
    this.#kept.delete(key);
    const answer = (held as Promise<LabCalls[Name]["result"]> | undefined) ?? this.call(name, request, options);
    this.#kept.set(key, answer);
    answer.catch(() => this.#kept.delete(key));
    for (const old of this.#kept.keys()) {
      if (this.#kept.size <= KEPT) break;
      this.#kept.delete(old);
    }
    // A question under way may be given up by the one who asked first; it is then asked anew for the next.
    if (held === undefined) return answer;
    return answer.catch((error: unknown) => {
      const given = error instanceof NibblamaError && error.code === "aborted" && options.signal?.aborted !== true;
      if (given) return this.call(name, request, options);
      throw error;
    });
  }

  #post(message: ToLab): void {
    this.#worker.postMessage(message);
  }

  #receive(message: FromLab): void {
    if (message.type === "crash") return this.close(new NibblamaError("crashed", message.reason));
    const pending = this.#pending.get(message.id);
    if (pending === undefined) return;
    if (message.type === "progress") return pending.progress(message.loaded, message.total);
    this.#pending.delete(message.id);
    pending.unlisten();
    if (message.type === "result") pending.resolve(message.result);
    else pending.reject(new NibblamaError(message.error.code, message.error.reason, message.error));
  }

  close(error: NibblamaError): void {
    if (this.#end !== undefined) return;
    this.#end = error;
    this.#worker.terminate();
    for (const pending of this.#pending.values()) {
      pending.unlisten();
      pending.reject(error);
    }
    this.#pending.clear();
    this.#kept.clear();
    this.#settle(error.code === "disposed" ? undefined : error);
  }
}

/** Reads a checkpoint's headers in a worker of its own; weights follow one by one, when they are asked for. */
export async function openLab(source: ModelSource, { signal }: LabCall = {}): Promise<Lab> {
  const posted = postedSource(source);
  const { candidates, rejected } = await variantsByPreference({ threads: 1 });
  for (const variant of candidates) {
    const connection = new LabConnection();
    try {
      await connection.call("start", { variant }, { signal });
    } catch (error) {
      connection.close(new NibblamaError("disposed", "the build did not start"));
      if (error instanceof NibblamaError && error.code === "aborted") throw error;
      rejected.push({ name: variant, reason: error instanceof Error ? error.message : String(error) });
      continue;
    }
    try {
      return lab(connection, await connection.call("open", { source: posted }, { signal }));
    } catch (error) {
      connection.close(new NibblamaError("disposed", "the checkpoint could not be opened"));
      throw error;
    }
  }
  const found = rejected.map(({ name, reason }) => `${name}: ${reason}`).join("; ");
  throw new NibblamaError("unsupported-browser", "no build of the engine starts in this browser", { found });
}

function lab(connection: LabConnection, { config, quantization, tensors }: LabCalls["open"]["result"]): Lab {
  return {
    config,
    quantization,
    tensors,
    closed: connection.closed,
    codebook: (quantType) => connection.ask("codebook", { quantType }),
    prepare: async (tensor, options = {}) => void (await connection.call("prepare", { tensor }, options)),
    block: (tensor, index, settings, { outlier = null, ...options }: LabCall & { outlier?: LabOutlier | null } = {}) =>
      connection.ask("block", { tensor, index, settings: plain(settings), outlier }, options),
    blocksizeSweep: (tensor, { quant_type, double_quant }, options) =>
      connection.ask("blocksizeSweep", { tensor, settings: { quant_type, double_quant } }, options),
    doubleQuant: (tensor, settings, { bins = 48, ...options } = {}) =>
      connection.ask("doubleQuant", { tensor, settings: { ...plain(settings), double_quant: true }, bins }, options),
    contest: (tensor, { blocksize }, { bins = 96, ...options } = {}) =>
      connection.ask("contest", { tensor, blocksize, bins }, options),
    heatmap: (tensor, map, settings, options) =>
      connection.ask("heatmap", { tensor, map, settings: plain(settings) }, options),
    rows: (tensor, settings, options) =>
      connection.ask("rows", { tensor, settings: settings === undefined ? null : plain(settings) }, options),
    histogram: (tensor, { bins = 96, ...options } = {}) => connection.ask("histogram", { tensor, bins }, options),
    compareLogits: (a, b, options) => connection.call("compareLogits", { a, b }, options),
    footprint: ({ quantization = null, dtype, context = 0 } = {}) =>
      connection.ask("footprint", { quantization: quantizationConfig(quantization), dtype: dtype ?? null, context }),
    dispose: () => connection.close(new NibblamaError("disposed", "the lab was closed")),
  };
}

/** In one order, so that equal settings are one question. */
function plain({ quant_type, blocksize, double_quant }: LabSettings): LabSettings {
  return { quant_type, blocksize, double_quant };
}

/**
 * One weight of a full block with the given absmax, as bitsandbytes quantizes it; at once, for what is dragged. The
 * arithmetic is that of the engine, whose `block` gives the same.
 */
export function quantizeWeight(book: LabCodebook, value: number, absmax: number): LabWeight {
  const { fround } = Math;
  const [x, scale] = [fround(value), fround(absmax)];
  const normalised = fround(x * fround(1 / Math.max(scale, fround(1e-38))));
  const interval = book.thresholds.reduce((count, threshold) => count + (normalised > threshold ? 1 : 0), 0);
  const level = book.levels[interval] ?? 0;
  const restored = fround(level * scale);
  return {
    normalised,
    interval,
    code: book.codes[interval] ?? 0,
    level,
    restored,
    error: fround(restored - x),
    lower: book.thresholds[interval - 1] ?? Number.NEGATIVE_INFINITY,
    upper: book.thresholds[interval] ?? Number.POSITIVE_INFINITY,
  };
}

/** The page's side of the lab: promises over the messages of lab-protocol.ts, and answers kept for those who ask again. */

import { Connection, postedSource, quantizationConfig } from "./client";
import { NibblamaError } from "./errors";
import { LAB_WORKER, type LabCallName, type LabCalls, type LabReport } from "./lab-protocol";
import type { Lab, LabCall, LabCodebook, LabOutlier, LabSettings, LabWeight } from "./lab-types";
import type { ModelSource } from "./types";
import { variantsByPreference } from "./variants";

interface Options {
  signal?: AbortSignal | undefined;
  onProgress?: ((loaded: number, total: number) => void) | undefined;
}

/** How many answers are kept. */
const KEPT = 48;

class LabConnection extends Connection<LabCalls, LabReport> {
  #kept = new Map<string, Promise<unknown>>();

  constructor() {
    super(new Worker(new URL("./worker.ts", import.meta.url), { type: "module", name: LAB_WORKER }));
  }

  /** The worker may be in the middle of a sum; whoever gave up need not wait for it. */
  question<Name extends LabCallName>(
    name: Name,
    request: LabCalls[Name]["request"],
    { signal, onProgress }: Options = {},
  ): Promise<LabCalls[Name]["result"]> {
    return this.call(name, request, { signal, grace: 0, onReport: ({ loaded, total }) => onProgress?.(loaded, total) });
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
    const answer = (held as Promise<LabCalls[Name]["result"]> | undefined) ?? this.question(name, request, options);
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
      if (given) return this.question(name, request, options);
      throw error;
    });
  }
}

/** Reads a checkpoint's headers in a worker of its own; weights follow one by one, when they are asked for. */
export async function openLab(source: ModelSource, { signal }: LabCall = {}): Promise<Lab> {
  const posted = postedSource(source);
  const { candidates, rejected } = await variantsByPreference({ threads: 1 });
  for (const variant of candidates) {
    const connection = new LabConnection();
    try {
      await connection.question("start", { variant }, { signal });
    } catch (error) {
      connection.dispose();
      if (error instanceof NibblamaError && error.code === "aborted") throw error;
      rejected.push({ name: variant, reason: error instanceof Error ? error.message : String(error) });
      continue;
    }
    try {
      return lab(connection, await connection.question("open", { source: posted }, { signal }));
    } catch (error) {
      connection.dispose();
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
    prepare: async (tensor, options = {}) => void (await connection.question("prepare", { tensor }, options)),
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
    compareLogits: (a, b, options) => connection.question("compareLogits", { a, b }, options),
    footprint: ({ quantization = null, dtype, context = 0 } = {}) =>
      connection.ask("footprint", { quantization: quantizationConfig(quantization), dtype: dtype ?? null, context }),
    dispose: () => connection.dispose(),
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

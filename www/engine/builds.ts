/** The WebAssembly builds, each in two modules that are fetched when they are asked for: see scripts/split.mjs. */

import { NibblamaError } from "./errors";
import { script, type Glue } from "./glue";
import type { DesignTiming, VariantName } from "./types";
import { VARIANTS } from "./variants";

export type { Glue };

const WASM: Record<VariantName, () => URL> = {
  "relaxed-threads": () => new URL("./pkg/relaxed-threads/nibblama_bg.wasm", import.meta.url),
  "simd128-threads": () => new URL("./pkg/simd128-threads/nibblama_bg.wasm", import.meta.url),
  relaxed: () => new URL("./pkg/relaxed/nibblama_bg.wasm", import.meta.url),
  simd128: () => new URL("./pkg/simd128/nibblama_bg.wasm", import.meta.url),
};

const DEFERRED: Record<VariantName, () => URL> = {
  "relaxed-threads": () => new URL("./pkg/relaxed-threads/nibblama_deferred.wasm", import.meta.url),
  "simd128-threads": () => new URL("./pkg/simd128-threads/nibblama_deferred.wasm", import.meta.url),
  relaxed: () => new URL("./pkg/relaxed/nibblama_deferred.wasm", import.meta.url),
  simd128: () => new URL("./pkg/simd128/nibblama_deferred.wasm", import.meta.url),
};

/** A started build. */
export interface Engine {
  glue: Glue;
  memory: WebAssembly.Memory;
  /** Starts the second module, once: code for adapters, the lab, exports and more. Before that, calling it is a trap. */
  deferred(): Promise<void>;
}

export const hasThreads = (name: VariantName): boolean => VARIANTS.some((variant) => variant.name === name && variant.threads);

/** Fetches and starts the first module of a build, or starts a whole build whose bytes are given. */
export async function startBuild(name: VariantName, whole: ArrayBuffer | null): Promise<Engine> {
  const glue = await script();
  // Builds without threads bring a memory of their own; given one, the script makes no shared one, which may be forbidden.
  const own = hasThreads(name) ? {} : { memory: new WebAssembly.Memory({ initial: 0 }) };
  const first = await glue.default({ module_or_path: whole ?? WASM[name](), ...own });
  let started = whole === null ? undefined : Promise.resolve();
  const deferred = () =>
    (started ??= startDeferred(DEFERRED[name](), first).catch((error: unknown) => {
      started = undefined;
      throw error;
    }));
  return { glue, memory: first.memory, deferred };
}

async function startDeferred(url: URL, first: object): Promise<void> {
  const response = await fetch(url).catch(() => undefined);
  const bytes = response?.ok ? await response.arrayBuffer().catch(() => undefined) : undefined;
  if (bytes === undefined) {
    throw new NibblamaError("network", "a part of the engine could not be fetched", { file: url.href, ...(response && { found: `status ${response.status}` }) });
  }
  await WebAssembly.instantiate(bytes, { first: first as WebAssembly.ModuleImports });
}

/** In the order of the engine. */
const DESIGNS = ["i16", "i8-split", "i8-pairs", "i8-quads"] as const;

/**
 * Lets the engine time its designs of integer products, in 20 ms, and take the best: first when it starts, for the
 * browser to see which code is worth optimizing, then again when that is done.
 */
export function calibrate(glue: Glue): DesignTiming[] {
  const rates = glue.calibrate(() => performance.now());
  const chosen = rates[DESIGNS.length];
  return chosen === undefined
    ? []
    : DESIGNS.map((design, i) => ({ design, gigabytesPerSecond: rates[i] ?? 0, chosen: i === chosen }));
}

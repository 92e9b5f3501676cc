/** The WebAssembly builds, each fetched when it is asked for. The script of one serves them all: check-wasm.mjs compares. */

import type { VariantName } from "./types";
import { VARIANTS } from "./variants";

export type Glue = typeof import("./pkg/relaxed-threads/nibblama.js");

const WASM: Record<VariantName, () => URL> = {
  "relaxed-threads": () => new URL("./pkg/relaxed-threads/nibblama_bg.wasm", import.meta.url),
  "simd128-threads": () => new URL("./pkg/simd128-threads/nibblama_bg.wasm", import.meta.url),
  relaxed: () => new URL("./pkg/relaxed/nibblama_bg.wasm", import.meta.url),
  simd128: () => new URL("./pkg/simd128/nibblama_bg.wasm", import.meta.url),
};

/** The script of the builds; functions about threads work only in those that have them. */
export const script = (): Promise<Glue> => import("./pkg/relaxed-threads/nibblama.js");

export const hasThreads = (name: VariantName): boolean => VARIANTS.some((variant) => variant.name === name && variant.threads);

/** Fetches and starts a build, or starts the one whose bytes are given. */
export async function startBuild(
  name: VariantName,
  wasm: ArrayBuffer | null,
): Promise<{ glue: Glue; memory: WebAssembly.Memory }> {
  const glue = await script();
  // Builds without threads bring a memory of their own; given one, the script makes no shared one, which may be forbidden.
  const own = hasThreads(name) ? {} : { memory: new WebAssembly.Memory({ initial: 0 }) };
  const { memory } = await glue.default({ module_or_path: wasm ?? WASM[name](), ...own });
  return { glue, memory };
}

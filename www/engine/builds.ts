/** The WebAssembly builds, each fetched when it is asked for. */

import { script, type Glue } from "./glue";
import type { VariantName } from "./types";
import { VARIANTS } from "./variants";

export type { Glue };

const WASM: Record<VariantName, () => URL> = {
  "relaxed-threads": () => new URL("./pkg/relaxed-threads/nibblama_bg.wasm", import.meta.url),
  "simd128-threads": () => new URL("./pkg/simd128-threads/nibblama_bg.wasm", import.meta.url),
  relaxed: () => new URL("./pkg/relaxed/nibblama_bg.wasm", import.meta.url),
  simd128: () => new URL("./pkg/simd128/nibblama_bg.wasm", import.meta.url),
};

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

/** The WebAssembly builds, each fetched when it is asked for. */

import type { VariantName } from "./types";

/** What every build exports. */
export type Glue = typeof import("./pkg/simd128/nibblama.js");
/** Those with threads take a memory besides, and can run a pool. */
export type ThreadedGlue = Glue & Pick<typeof import("./pkg/simd128-threads/nibblama.js"), "initSync" | PoolFunction>;

type PoolFunction = "sharedModule" | "setThreads" | "runPoolThread" | "poolThreadFailed";

export const BUILDS: Record<VariantName, () => Promise<Glue>> = {
  "relaxed-threads": () => import("./pkg/relaxed-threads/nibblama.js") as Promise<unknown> as Promise<Glue>,
  "simd128-threads": () => import("./pkg/simd128-threads/nibblama.js") as Promise<unknown> as Promise<Glue>,
  relaxed: () => import("./pkg/relaxed/nibblama.js"),
  simd128: () => import("./pkg/simd128/nibblama.js"),
};

/** The build as one with threads, or null. */
export function threaded(glue: Glue): ThreadedGlue | null {
  return "runPoolThread" in glue ? (glue as ThreadedGlue) : null;
}

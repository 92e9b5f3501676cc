/** The script that wasm-bindgen wrote for a build. That of one serves them all: check-wasm.mjs compares them. */

export type Glue = typeof import("./pkg/relaxed-threads/nibblama.js");

/** Functions about threads work only in builds that have them. */
export const script = (): Promise<Glue> => import("./pkg/relaxed-threads/nibblama.js");

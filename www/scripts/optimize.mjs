// node optimize.mjs VARIANT FOLDER: optimizes what wasm-bindgen wrote, names included, and divides it in two (see split.mjs):
// nibblama_bg.wasm and nibblama_deferred.wasm. The whole build stays beside them as nibblama_whole.wasm.

import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { binaryen } from "./binaryen.mjs";
import { split } from "./split.mjs";

const [variant, folder] = process.argv.slice(2);
const [bound, deferred, whole, text] = ["bg.wasm", "deferred.wasm", "whole.wasm", "whole.wat"].map((name) => join(folder, `nibblama_${name}`));

// rustc has inlined what is worth it; more of it only adds bytes.
const noInlining = ["--always-inline-max-function-size=0", "--flexible-inline-max-function-size=0", "--one-caller-inline-max-function-size=0"];
binaryen(variant, "wasm-opt", "-O3", ...noInlining, "--debuginfo", bound, "-o", whole);
binaryen(variant, "wasm-dis", whole, "-o", text);
const { first, second } = split(readFileSync(text, "utf8"));
for (const [content, file] of [[first, bound], [second, deferred]]) {
  writeFileSync(text, content);
  binaryen(variant, "wasm-as", text, "-o", file);
  // Types, imports and functions that the other half alone uses.
  binaryen(variant, "wasm-opt", "--remove-unused-module-elements", file, "-o", file);
}
binaryen(variant, "wasm-opt", "--strip-debug", whole, "-o", whole);
rmSync(text);

// node optimize.mjs VARIANT FILE: wasm-opt in place, with exactly the features that the variant may use.

import { execFileSync } from "node:child_process";
import { readFileSync, renameSync } from "node:fs";
import { fileURLToPath } from "node:url";

const [name, file] = process.argv.slice(2);
const { variants } = JSON.parse(readFileSync(new URL("../engine/variants.json", import.meta.url), "utf8"));
const variant = variants.find((each) => each.name === name);
const wasmOpt = fileURLToPath(new URL("../node_modules/binaryen/bin/wasm-opt", import.meta.url));

// What every WebAssembly target of rustc enables, then the variant's own.
const features = ["mutable-globals", "sign-ext", "nontrapping-float-to-int", "bulk-memory", "reference-types", "multivalue", "simd"];
if (variant.simd === "relaxed") features.push("relaxed-simd");
if (variant.threads) features.push("threads");

const options = ["-O3", "--mvp-features", ...features.map((feature) => `--enable-${feature}`)];
execFileSync(process.execPath, [wasmOpt, ...options, file, "-o", `${file}.opt`], { stdio: "inherit" });
renameSync(`${file}.opt`, file);

// Binaryen's tools, with exactly the features that a build may use.

import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

export const { variants } = JSON.parse(readFileSync(new URL("../engine/variants.json", import.meta.url), "utf8"));

// What every WebAssembly target of rustc enables, then the build's own.
const COMMON = ["mutable-globals", "sign-ext", "nontrapping-float-to-int", "bulk-memory", "reference-types", "multivalue", "simd"];

export function binaryen(variant, tool, ...options) {
  const { simd, threads } = variants.find(({ name }) => name === variant);
  const features = [...COMMON, ...(simd === "relaxed" ? ["relaxed-simd"] : []), ...(threads ? ["threads"] : [])];
  const script = fileURLToPath(new URL(`../node_modules/binaryen/bin/${tool}`, import.meta.url));
  const enabled = ["--mvp-features", ...features.map((feature) => `--enable-${feature}`)];
  execFileSync(process.execPath, [script, ...enabled, ...options], { stdio: "inherit" });
}

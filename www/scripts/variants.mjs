// Prints the builds of the engine for build.sh, one a line: NAME|RUSTFLAGS|CARGO ARGUMENTS.

import { readFileSync } from "node:fs";

const { threads, cargo: buildStd, variants } = JSON.parse(readFileSync(new URL("../engine/variants.json", import.meta.url), "utf8"));
for (const variant of variants) {
  const features = variant.threads ? `${variant.features},${threads.features}` : variant.features;
  const flags = [`-Ctarget-feature=${features}`, ...(variant.threads ? threads.rustflags : [])];
  const cargo = ["--target", "wasm32-unknown-unknown", ...buildStd];
  console.log([variant.name, flags.join(" "), cargo.join(" ")].join("|"));
}

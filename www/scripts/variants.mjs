// Prints the builds of the engine for build.sh, one a line: NAME|RUSTFLAGS|CARGO ARGUMENTS.
// node variants.mjs: as they are delivered; node variants.mjs test: as they are tested.

import { readFileSync } from "node:fs";

const table = JSON.parse(readFileSync(new URL("../engine/variants.json", import.meta.url), "utf8"));
const { threads, release, variants } = table;
const delivered = process.argv[2] !== "test";
for (const variant of variants) {
  const features = variant.threads ? `${variant.features},${threads.features}` : variant.features;
  const flags = [
    `-Ctarget-feature=${features}`,
    ...(variant.threads ? threads.rustflags : []),
    // Small, at no cost to the kernels: these force inlining where they need it. Panics keep their messages, but
    // not the places in the source.
    ...(delivered ? release.rustflags : []),
  ];
  const cargo = ["--target=wasm32-unknown-unknown"];
  // The standard library that comes with the target lacks atomics, and is not built for size.
  cargo.push(...table.cargo, ...(delivered ? release.cargo : []));
  console.log([variant.name, flags.join(" "), cargo.join(" ")].join("|"));
}

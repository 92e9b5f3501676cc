// node bench/run.mjs [--quick] [--json] [--only PART]... [--tinyllama] [--write]: the benchmark. `./build.sh bench` builds
// the site and calls it. --write puts the run into BENCHMARKS.md.
// Bundles the TypeScript of this folder, for node and for the page of the peers, and starts it.

import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const www = fileURLToPath(new URL("..", import.meta.url));
const common = { absWorkingDir: www, bundle: true, format: "esm", target: "es2022", logLevel: "warning" };
await build({ ...common, entryPoints: ["bench/peers/page.ts"], outfile: "dist-bench/page/peers.js" });
await build({ ...common, entryPoints: ["bench/node/main.ts"], platform: "node", packages: "external", outfile: "dist-bench/main.mjs" });
await import("../dist-bench/main.mjs");

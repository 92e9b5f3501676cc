// node scripts/sizes.mjs [--json]: the site's scripts in dist/, gzipped, against limits that may only be lowered.

import { existsSync, readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";

const dist = fileURLToPath(new URL("../dist", import.meta.url));

/** Bytes. The goals are 60,000 for the first screen and 100,000 for a visit. */
const LIMITS = { first: 55_500, visit: 100_000, korean: 16_000, all: 155_000 };

/** Scripts that no visit in English with the built-in models fetches, by the start of their names. */
const APART = {
  korean: ["ko"],
  // For models that a visitor brings: chat templates, other tokenizers, the Hub and what is kept of it.
  brought: ["templates", "tokenizers", "hub"],
  // For who merges an adapter into the weights, by a click.
  merging: ["merge", "export", "export-client"],
  // For apps; the page has no control that asks for them.
  apps: ["session"],
};

/** Names of a visit's scripts under assets/, and what all take, in bytes gzipped. */
export function sizes() {
  const assets = join(dist, "assets");
  const gzipped = (path) => gzipSync(readFileSync(path), { level: 9 }).length;
  // bench.html is a page of its own.
  const scripts = readdirSync(assets).filter((name) => name.endsWith(".js") && !name.startsWith("measure"));
  const size = new Map(scripts.map((name) => [name, gzipped(join(assets, name))]));
  const stem = (name) => name.replace(/-[\w-]{8}\.js$/, "");
  const of = (stems) => scripts.filter((name) => stems.includes(stem(name)));
  const sum = (names) => [...names].reduce((total, name) => total + size.get(name), 0);
  const worker = gzipped(join(dist, "sw.js"));

  // What index.html names and the engine's workers are, with what they import at once.
  const first = new Set();
  const take = (name) => {
    if (first.has(name)) return;
    first.add(name);
    for (const [, other] of readFileSync(join(assets, name), "utf8").matchAll(/(?:from|import)\s*["'`]\.\/([^"'`]+\.js)["'`]/g)) take(other);
  };
  for (const [, name] of readFileSync(join(dist, "index.html"), "utf8").matchAll(/"\.\/assets\/([^"]+\.js)"/g)) take(name);
  const page = sum(first);
  of(["worker", "pool-thread", "nibblama"]).forEach(take);

  const apart = Object.values(APART).flat();
  const visit = scripts.filter((name) => !apart.includes(stem(name)));
  return {
    visit,
    bytes: {
      page,
      first: sum(first),
      visit: sum(visit) + worker,
      korean: sum(of(APART.korean)),
      brought: sum(of(APART.brought)),
      all: sum(scripts) + worker,
    },
  };
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  if (!existsSync(join(dist, "index.html"))) throw new Error("build the site first");
  const { visit, bytes } = sizes();
  if (process.argv.includes("--json")) {
    console.log(JSON.stringify({ visit, bytes }));
    process.exit();
  }
  const over = Object.entries(LIMITS).filter(([what, limit]) => !(bytes[what] <= limit));
  console.log(`    scripts, bytes gzipped: ${Object.entries(bytes).map(([what, size]) => `${what} ${size}`).join(", ")}`);
  for (const [what, limit] of over) console.error(`scripts: ${what} has ${bytes[what]} bytes gzipped, over the limit of ${limit}`);
  if (over.length > 0) process.exit(1);
}

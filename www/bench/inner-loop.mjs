// npx --yes node@24 bench/inner-loop.mjs [VARIANT] [--listing]: what V8 makes of the innermost loops of a build.
//
// Compiles the build with V8's optimizing compiler alone and has it print its machine code (x86-64 or Arm), which
// releases of Node do and those of Chromium do not. Lists the innermost loops that hold the most multiplications, with
// instructions for every 32 products: for a 4-bit matrix, for every 32 weights and token. --listing shows the loops.

import { spawnSync } from "node:child_process";
import { mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const [variant = "relaxed"] = process.argv.slice(2).filter((word) => !word.startsWith("--"));
const listing = process.argv.includes("--listing");
const file = fileURLToPath(new URL(`../engine/pkg/${variant}/nibblama_bg.wasm`, import.meta.url));

/**
 * Products of one instruction of 128 bits. Only the first kind that a loop has counts: what follows it multiplies sums
 * with ones or with scales.
 */
const PRODUCTS = [
  [/^vpdpbusd|^sdot|^udot/, 16],
  [/^v?pmaddubsw/, 16],
  [/^v?pmaddwd/, 8],
  [/^smull|^smlal/, 4],
  [/^vfn?madd\d+ps|^v?mulps|^fmla|^fmul/, 4],
];
/** A loop of more instructions is no inner one: what it calls was put into it. */
const LONGEST = 400;

const folder = mkdtempSync(join(tmpdir(), "inner-loop-"));
let text;
try {
  const script = join(folder, "compile.mjs");
  writeFileSync(script, `import { readFileSync } from "node:fs"; new WebAssembly.Module(readFileSync(${JSON.stringify(file)}));`);
  const out = join(folder, "code.txt");
  const flags = ["--no-liftoff", "--no-wasm-lazy-compilation", "--no-wasm-dynamic-tiering", "--single-threaded", "--print-wasm-code"];
  const { status } = spawnSync(process.execPath, [...flags, script], { stdio: ["ignore", openSync(out, "w"), "inherit"] });
  if (status !== 0) throw new Error(`${process.version} could not compile ${file}; take node@24`);
  text = readFileSync(out, "utf8");
} finally {
  rmSync(folder, { recursive: true, force: true });
}

/** `{ at, name, text, target }` of each line of machine code. */
function instructions(code) {
  const found = [];
  for (const line of code.split("\n")) {
    const match = /^0x[0-9a-f]+\s+([0-9a-f]+)\s+[0-9a-f]+\s+(?:REX\.W )?(\S+)\s*(.*)$/.exec(line);
    if (match === null) continue;
    const [, at, name, operands] = match;
    const jump = /^(?:j|b\.|cb|tb|b$)/.test(name) ? /<\+0x([0-9a-f]+)>|\(addr 0x[0-9a-f]+\)/.exec(operands) : null;
    found.push({ at: parseInt(at, 16), name, operands, target: jump?.[1] === undefined ? null : parseInt(jump[1], 16) });
  }
  return found;
}

/** The parts between a backward jump and its target that hold no other such jump. */
function innermost(code) {
  const loops = code.flatMap((each, end) => {
    if (each.target === null || each.target > each.at) return [];
    const begin = code.findIndex(({ at }) => at === each.target);
    return begin < 0 ? [] : [{ begin, end }];
  });
  const inner = loops.filter((a) => !loops.some((b) => b !== a && b.begin >= a.begin && b.end < a.end));
  return inner.map(({ begin, end }) => code.slice(begin, end + 1));
}

const rows = [];
for (const part of text.split("--- WebAssembly code ---").slice(1)) {
  const index = /^index: (\d+)/m.exec(part)?.[1] ?? "?";
  for (const loop of innermost(instructions(part))) {
    const kind = PRODUCTS.find(([pattern]) => loop.some(({ name }) => pattern.test(name)));
    if (kind === undefined || loop.length > LONGEST) continue;
    const multiplies = loop.filter(({ name }) => kind[0].test(name));
    const products = kind[1] * multiplies.length;
    if (products >= 32) rows.push({ index, loop, products, name: multiplies[0].name, rate: (32 * loop.length) / products });
  }
}
if (rows.length === 0) throw new Error("no loop with products was found: does this Node print machine code?");
rows.sort((a, b) => b.products - a.products);
console.log(`${file}, V8 ${process.versions.v8}: innermost loops of 32 products and more`);
console.log("function  instructions  products  instructions per 32 products  what multiplies");
for (const { index, loop, products, name, rate } of rows) {
  console.log(`${index.padStart(8)}  ${String(loop.length).padStart(12)}  ${String(products).padStart(8)}  ${rate.toFixed(1).padStart(28)}  ${name}`);
  if (listing) for (const { at, name, operands } of loop) console.log(`          ${at.toString(16).padStart(5)}  ${name} ${operands}`);
}

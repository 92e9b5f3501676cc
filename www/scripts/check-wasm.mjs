// node check-wasm.mjs VARIANT FOLDER: both modules of the build hold the instructions its name says, and no others; and they
// are small.

import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { variants } from "./binaryen.mjs";

/** Bytes gzipped: a goal, for each module. */
const LIMIT = 150_000;

const [name, folder] = process.argv.slice(2);
const variant = variants.find((each) => each.name === name);
const wasmDis = fileURLToPath(new URL("../node_modules/binaryen/bin/wasm-dis", import.meta.url));
const modules = ["nibblama_bg.wasm", "nibblama_deferred.wasm"].map((name) => {
  const file = join(folder, name);
  const text = execFileSync(process.execPath, [wasmDis, "--all-features", file], { encoding: "utf8", maxBuffer: 1 << 28 });
  return { name, text, size: gzipSync(readFileSync(file), { level: 9 }).length };
});
const [{ text: first }, { text: deferred }] = modules;
const text = first + deferred;

const count = (pattern) => (text.match(pattern) ?? []).length;
const simd = count(/\((?:v128|[if]\d+x\d+)\./g);
const relaxed = count(/\([if]\d+x\d+\.\w*relaxed\w*/g);
const atomics = count(/\((?:i32|i64|memory)\.atomic\./g);
const sharedMemory = /\(import [^\n]*\(memory [^\n]*shared\)/.test(text);

const problems = [];
if (simd === 0) problems.push("holds no SIMD instruction");
if (variant.simd !== "relaxed" && relaxed > 0) problems.push(`holds ${relaxed} relaxed SIMD instructions`);
if (variant.threads !== atomics > 0) problems.push(`holds ${atomics} atomic instructions`);
if (variant.threads !== sharedMemory) problems.push(sharedMemory ? "imports shared memory" : "has no shared memory");
// The script of one build serves all of them: it must bring what each imports, and call nothing that one lacks, but for threads.
const script = readFileSync(new URL("../engine/pkg/relaxed-threads/nibblama.js", import.meta.url), "utf8");
const names = (pattern, from) => new Set([...from.matchAll(pattern)].map((match) => match[1]));
const brought = names(/^ {8}(\w+): /gm, script);
const missing = [...names(/\(import "(?!first")[^"]*" "(\w+)"/g, text)].filter((name) => !brought.has(name));
if (missing.length > 0) problems.push(`imports ${missing.join(", ")}, which the script of relaxed-threads lacks`);
const exported = names(/\(export "(\w+)"/g, first);
const threading = ["poolThreadFailed", "runPoolThread", "setThreads", "sharedModule"];
const absent = [...names(/\bwasm\.(\w+)/g, script)].filter((name) => !exported.has(name) && !(threading.includes(name) && !variant.threads));
if (absent.length > 0) problems.push(`lacks ${absent.join(", ")}, which the script of relaxed-threads calls`);
const unlinked = [...names(/\(import "first" "(\w+)"/g, deferred)].filter((name) => !exported.has(name));
if (unlinked.length > 0) problems.push(`exports no ${unlinked.join(", ")} to its second module`);
for (const { name, size } of modules) if (size > LIMIT) problems.push(`has ${size} bytes gzipped in ${name}, over the limit of ${LIMIT}`);

const sizes = modules.map(({ size }) => size).join(" + ");
console.log(`    ${name}: ${sizes} bytes gzipped; ${simd} SIMD, ${relaxed} relaxed, ${atomics} atomic instructions`);
if (problems.length > 0) {
  console.error(`${folder}: the ${name} build ${problems.join("; ")}`);
  process.exit(1);
}

// node check-wasm.mjs VARIANT FILE: the build holds the instructions its name says, and no others; and it is small.

import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";

// Bytes gzipped. The goal is 150,000; this gate stands where the builds are and may only be lowered.
const LIMIT = 215_000;

const [name, file] = process.argv.slice(2);
const { variants } = JSON.parse(readFileSync(new URL("../engine/variants.json", import.meta.url), "utf8"));
const variant = variants.find((each) => each.name === name);
const wasmDis = fileURLToPath(new URL("../node_modules/binaryen/bin/wasm-dis", import.meta.url));
const text = execFileSync(process.execPath, [wasmDis, "--all-features", file], {
  encoding: "utf8",
  maxBuffer: 1 << 28,
});

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
const missing = [...names(/\(import "[^"]*" "(\w+)"/g, text)].filter((name) => !brought.has(name));
if (missing.length > 0) problems.push(`imports ${missing.join(", ")}, which the script of relaxed-threads lacks`);
const exported = names(/\(export "(\w+)"/g, text);
const threading = ["poolThreadFailed", "runPoolThread", "setThreads", "sharedModule"];
const absent = [...names(/\bwasm\.(\w+)/g, script)].filter((name) => !exported.has(name) && !(threading.includes(name) && !variant.threads));
if (absent.length > 0) problems.push(`lacks ${absent.join(", ")}, which the script of relaxed-threads calls`);
const size = gzipSync(readFileSync(file), { level: 9 }).length;
if (size > LIMIT) problems.push(`has ${size} bytes gzipped, over the limit of ${LIMIT}`);

console.log(`    ${name}: ${size} bytes gzipped; ${simd} SIMD, ${relaxed} relaxed, ${atomics} atomic instructions`);
if (problems.length > 0) {
  console.error(`${file}: the ${name} build ${problems.join("; ")}`);
  process.exit(1);
}

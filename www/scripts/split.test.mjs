import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { binaryen } from "./binaryen.mjs";
import { split } from "./split.mjs";

const folder = mkdtempSync(join(tmpdir(), "split-"));
afterAll(() => rmSync(folder, { recursive: true }));

/** Binaryen is started often. */
const SLOW = { timeout: 60_000 };

/** The text as Binaryen prints it. */
function printed(text) {
  const [source, module, out] = ["in.wat", "module.wasm", "out.wat"].map((name) => join(folder, name));
  writeFileSync(source, text);
  binaryen("simd128", "wasm-as", "--debuginfo", source, "-o", module);
  binaryen("simd128", "wasm-dis", module, "-o", out);
  return readFileSync(out, "utf8");
}

function compiled(text) {
  const [source, module] = ["part.wat", "part.wasm"].map((name) => join(folder, name));
  writeFileSync(source, text);
  binaryen("simd128", "wasm-as", source, "-o", module);
  return new WebAssembly.Module(readFileSync(module));
}

const COUNT = '$"nibblama[0a1b]::count"';
const JOB = '$"nibblama[0a1b]::kernels::rows::split::<nibblama[0a1b]::kernels::a::{closure#0}>"';
/** `body` is what the job does besides. */
const text = (body = "", caller = "count") => `(module
  (type $none (func))
  (import "js" "note" (func $note (param i32)))
  (global $calls (mut i32) (i32.const 0))
  (memory $memory 1)
  (table $functions 3 3 funcref)
  (table $refs 1 externref)
  (data (i32.const 8) "\\07")
  (elem (table $functions) (i32.const 1) func $"<nibblama[0a1b]::model::lens::Lens>::seen::{closure#0}" ${JOB})
  (export "memory" (memory $memory))
  (export "model_read" (func $read))
  (export "calls" (func ${COUNT}))
  (export "lens_sum" (func $sum))
  (export "model_score" (func $score))
  (func ${COUNT} (result i32) (global.set $calls (i32.add (global.get $calls) (i32.const 1))) (global.get $calls))
  (func $"<nibblama[0a1b]::quant::int8::Int8Params>::quantize" (param $x i32) (param $y f64) (result i32) (i32.add (local.get $x) (i32.trunc_f64_s (local.get $y))))
  (func $"<nibblama[0a1b]::model::linear::Linear>::forward" (param $x i32) (result i32)
    (call $"<nibblama[0a1b]::quant::int8::Int8Params>::quantize" (local.get $x) (f64.const 2.5)))
  (func $"nibblama[0a1b]::${caller}2" (param $x i32) (result i32) ${caller === "count" ? "(local.get $x)" : '(call $"<nibblama[0a1b]::quant::int8::Int8Params>::quantize" (local.get $x) (f64.const 1))'})
  (func $read (param $x i32) (result i32)
    (if (local.get $x) (then (return (call $"<nibblama[0a1b]::model::linear::Linear>::forward" (local.get $x)))))
    (call $"nibblama[0a1b]::${caller}2" (i32.load8_u (i32.const 8))))
  (func $"<nibblama[0a1b]::model::lens::Lens>::seen::{closure#0}" (call $note (i32.const 5)))
  (func ${JOB} (drop (call ${COUNT})) ${body})
  (func $sum (param $a i32) (param $b i32) (result i32)
    (call_indirect $functions (type $none) (i32.const 1))
    (i32.store8 (i32.const 8) (i32.const 9))
    (i32.add (call ${COUNT}) (i32.add (local.get $a) (local.get $b))))
  (func $score (result externref) (table.get $refs (i32.const 0)))
)`;

test("what is kept works by itself, the rest with the second module, on the same memory and globals", SLOW, () => {
  const { first, second } = split(printed(text()));
  const notes = [];
  const { exports } = new WebAssembly.Instance(compiled(first), { js: { note: (x) => notes.push(x) } });
  expect(exports.model_read(0)).toBe(7);
  expect(exports.calls()).toBe(1);
  for (const call of [() => exports.lens_sum(1, 2), () => exports.model_score(), () => exports.model_read(1)]) {
    expect(call).toThrow(WebAssembly.RuntimeError);
  }
  const { exports: none } = new WebAssembly.Instance(compiled(second), { first: exports });
  expect(Object.keys(none)).toEqual([]);
  expect(exports.lens_sum(10, 20)).toBe(32);
  expect(notes).toEqual([5]);
  expect(exports.calls()).toBe(3);
  expect(exports.model_read(0)).toBe(9);
  expect(exports.model_read(40)).toBe(42);
  expect(exports.model_score()).toBe(null);
});

test("the first module holds no code of the second", SLOW, () => {
  const { first, second } = split(printed(text()));
  expect(first).not.toContain("i32.store8");
  expect(first).not.toContain("trunc_f64");
  expect(second).not.toContain("i32.load8_u");
  expect(second).not.toContain("(data");
});

test("threads may not call what is deferred, nor may code outside the list", SLOW, () => {
  const call = '(drop (call $"<nibblama[0a1b]::model::linear::Linear>::forward" (i32.const 1)))';
  expect(() => split(printed(text(call)))).toThrow("Linear>::forward calls <nibblama::quant::int8::Int8Params>::quantize, which is deferred");
  expect(() => split(printed(text("", "elsewhere")))).toThrow("nibblama::elsewhere2 calls");
  expect(() => split(printed(text().replaceAll("kernels::", "other::")))).toThrow("job");
});

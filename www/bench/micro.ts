/** Products and conversions by themselves, on one thread, against the speed of memory. */

import type { Arithmetic, VariantName } from "../engine/types";
import type { Measurements } from "./measurements";
import { ARITHMETICS, NF4, tokensText, type Target } from "./target";

const NF4_DOUBLE = { ...NF4, bnb_4bit_use_double_quant: true };
/** More than any cache holds. */
const COLD = 128e6;
/** Milliseconds a measurement takes. */
export const BUDGET = 60;
const KEY = "micro";

interface Case {
  name: string;
  rows: number;
  cols: number;
  room: number;
  quantization: Record<string, unknown> | null;
  tokens: number[];
  arithmetics: readonly Arithmetic[];
}

export const COLD_CASE = "NF4 5632 x 2048, cold";
export const SQUARE_CASE = "NF4 2048 x 2048";
export const MEMORY = "memory read by one thread";
/** Name of a measurement of a product. */
export const productName = (of: string, tokens: number, arithmetic: Arithmetic) => `${of}, ${tokensText(tokens)}, ${arithmetic}`;

const CASES: readonly Case[] = [
  // Read from memory, as in the decode of a model that no cache holds.
  { name: COLD_CASE, rows: 5632, cols: 2048, room: COLD, quantization: NF4, tokens: [1], arithmetics: ARITHMETICS },
  { name: "NF4 double quantized 5632 x 2048, cold", rows: 5632, cols: 2048, room: COLD, quantization: NF4_DOUBLE, tokens: [1], arithmetics: ARITHMETICS },
  { name: SQUARE_CASE, rows: 2048, cols: 2048, room: 0, quantization: NF4, tokens: [1, 128], arithmetics: ARITHMETICS },
  { name: "int8 2048 x 2048", rows: 2048, cols: 2048, room: 0, quantization: { load_in_8bit: true }, tokens: [1, 128], arithmetics: ["exact"] },
  { name: "bf16 2048 x 2048", rows: 2048, cols: 2048, room: 0, quantization: null, tokens: [1, 128], arithmetics: ["exact"] },
];

/** `peer` takes its turn beside the 2048 x 2048 matrix of {@link SQUARE_CASE}. */
export async function micro(
  target: Target,
  record: Measurements,
  build: VariantName,
  rounds: number,
  peer?: (tokens: number) => Promise<void>,
): Promise<void> {
  const { isa } = await target.ours(KEY, "start", build, 1);
  record.note(`products: ${isa} kernels, one thread`);
  for (const each of CASES) {
    const { name, tokens, arithmetics, quantization, rows, cols, room } = each;
    target.step(name);
    const bytes = await target.ours(KEY, "matrix", rows, cols, room, quantization);
    for (const n of tokens) {
      for (const arithmetic of arithmetics) {
        if (quantization !== null) await target.ours(KEY, "checkProduct", n, arithmetic);
        // What is compiled while it runs is compiled now.
        await target.ours(KEY, "product", n, arithmetic, 4 * BUDGET);
      }
    }
    // Once the code is optimized that the engine times.
    if (name === COLD_CASE) record.designs = await target.ours(KEY, "designs");
    for (let round = 0; round < rounds; round++) {
      target.step(name);
      for (const n of tokens) {
        for (const arithmetic of arithmetics) await product(target, record, each, bytes, n, arithmetic);
        if (name === SQUARE_CASE) await peer?.(n);
      }
    }
  }
  await conversions(target, record, rounds);
  await target.end(KEY);
}

async function product(target: Target, record: Measurements, { name, rows, cols, room }: Case, bytes: number, n: number, arithmetic: Arithmetic) {
  const ms = await target.ours(KEY, "product", n, arithmetic, BUDGET);
  const what = productName(name, n, arithmetic);
  if (n === 1) record.add(what, "GB/s", bytes / ms / 1e6);
  record.add(`${what}: operations`, "GFLOP/s", (2 * rows * cols * n) / ms / 1e6);
  if (room === 0) return;
  const speed = await target.ours(KEY, "readSpeed");
  record.add(MEMORY, "GB/s", speed);
  record.add(`${what}: share of memory's speed`, "%", (100 * bytes) / ms / 1e6 / speed);
}

async function conversions(target: Target, record: Measurements, rounds: number): Promise<void> {
  target.step("quantize, dequantize");
  const [rows, cols] = [4096, 2048];
  await target.ours(KEY, "matrix", rows, cols, 0, NF4);
  for (let round = -1; round < rounds; round++) {
    const [quantize, dequantize] = [await target.ours(KEY, "quantize", 3), await target.ours(KEY, "dequantize", 6)];
    // The first round only warms up.
    if (round < 0) continue;
    record.add("quantize to NF4, of f32", "GB/s", (4 * rows * cols) / quantize / 1e6);
    record.add("dequantize NF4, of f32", "GB/s", (4 * rows * cols) / dequantize / 1e6);
  }
}

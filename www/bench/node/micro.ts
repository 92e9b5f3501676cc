/** Products and conversions by themselves, on one thread, against the speed of memory and MatMulNBits. */

import type { Arithmetic } from "../../engine/types";
import type { Driver } from "./browser";
import type { Measurements } from "./measurements";

export const ARITHMETICS: readonly Arithmetic[] = ["exact", "near-exact", "fast"];
const NF4 = { load_in_4bit: true, bnb_4bit_quant_type: "nf4", bnb_4bit_use_double_quant: false };
const NF4_DOUBLE = { ...NF4, bnb_4bit_use_double_quant: true };
/** More than any cache holds. */
const COLD = 128e6;
/** Milliseconds a measurement takes. */
const BUDGET = 60;

interface Case {
  name: string;
  rows: number;
  cols: number;
  room: number;
  quantization: object | null;
  tokens: number[];
  arithmetics: readonly Arithmetic[];
}

const CASES: readonly Case[] = [
  // Read from memory, as in the decode of a model that no cache holds.
  { name: "NF4 5632 x 2048, cold", rows: 5632, cols: 2048, room: COLD, quantization: NF4, tokens: [1], arithmetics: ARITHMETICS },
  { name: "NF4 double quantized 5632 x 2048, cold", rows: 5632, cols: 2048, room: COLD, quantization: NF4_DOUBLE, tokens: [1], arithmetics: ARITHMETICS },
  { name: "NF4 2048 x 2048", rows: 2048, cols: 2048, room: 0, quantization: NF4, tokens: [1, 128], arithmetics: ARITHMETICS },
  { name: "int8 2048 x 2048", rows: 2048, cols: 2048, room: 0, quantization: { load_in_8bit: true }, tokens: [1, 128], arithmetics: ["exact"] },
  { name: "bf16 2048 x 2048", rows: 2048, cols: 2048, room: 0, quantization: null, tokens: [1, 128], arithmetics: ["exact"] },
];

export async function micro(driver: Driver, record: Measurements, rounds: number): Promise<void> {
  const key = "micro";
  const ours = driver.ours.bind(driver);
  const { isa } = await ours(key, "start", "relaxed", 1);
  record.note(`kernels: ${isa}, one thread`);
  // 0: the default. 4: activations in int8, where onnxruntime has kernels for it.
  for (const level of [0, 4]) await driver.peer("loadOrt", `ort ${level}`, 2048, 2048, 64, level);
  for (const { name, rows, cols, room, quantization, tokens, arithmetics } of CASES) {
    const bytes = await ours(key, "matrix", rows, cols, room, quantization as never);
    for (const n of tokens) {
      for (const arithmetic of arithmetics) {
        if (quantization !== null) await ours(key, "checkProduct", n, arithmetic);
        // What is compiled while it runs is compiled now.
        await ours(key, "product", n, arithmetic, 4 * BUDGET);
      }
    }
    for (let round = 0; round < rounds; round++) {
      for (const n of tokens) {
        for (const arithmetic of arithmetics) {
          const ms = await ours(key, "product", n, arithmetic, BUDGET);
          const what = `${name}, ${n === 1 ? "1 token" : `${n} tokens`}, ${arithmetic}`;
          if (n === 1) record.add(what, "GB/s", bytes / ms / 1e6);
          record.add(`${what}: operations`, "GFLOP/s", (2 * rows * cols * n) / ms / 1e6);
          if (room > 0) {
            const speed = await ours(key, "readSpeed");
            record.add("memory read by one thread", "GB/s", speed);
            record.add(`${what}: share of memory's speed`, "%", (100 * bytes) / ms / 1e6 / speed);
          }
        }
        if (name === "NF4 2048 x 2048") {
          for (const level of [0, 4]) {
            const ms = await driver.peer("ort", `ort ${level}`, n, BUDGET);
            record.add(`onnxruntime-web MatMulNBits ${rows} x ${cols}, ${n} tokens, accuracy ${level}`, "GFLOP/s", (2 * rows * cols * n) / ms / 1e6);
          }
        }
      }
    }
  }
  await driver.peer("unload", "ort");
  const values = 4 * 4096 * 2048;
  await ours(key, "matrix", 4096, 2048, 0, NF4);
  for (let round = -1; round < rounds; round++) {
    const [quantize, dequantize] = [await ours(key, "quantize", 3), await ours(key, "dequantize", 6)];
    if (round < 0) continue;
    record.add("quantize to NF4, of f32", "GB/s", values / quantize / 1e6);
    record.add("dequantize NF4, of f32", "GB/s", values / dequantize / 1e6);
  }
  await driver.end(key);
}

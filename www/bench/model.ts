/** Random-weight checkpoints of any shape, streamed into the engine as a file's tensors would be. */

import type { Glue } from "../engine/builds";
import type { WasmModel } from "../engine/load";
import { bell, bfloat16, repeated } from "./random";
import { config, linears, tensors, type Shape } from "./shapes";

const FILE = "model.safetensors";
/** Of trained models' weights, about. */
const DEVIATION = 0.02;
/** bf16 values that the tensors are taken from, each from another place. */
const PERIOD = 1_000_003;

/** A safetensors header, with the length before it. */
function header(entries: readonly [name: string, dtype: string, shape: number[], bytes: number][]): Uint8Array<ArrayBuffer> {
  const table: Record<string, unknown> = {};
  let end = 0;
  for (const [name, dtype, shape, bytes] of entries) {
    table[name] = { dtype, shape, data_offsets: [end, end + bytes] };
    end += bytes;
  }
  const json = new TextEncoder().encode(JSON.stringify(table));
  const prefix = new Uint8Array(8 + json.length);
  new DataView(prefix.buffer).setBigUint64(0, BigInt(json.length), true);
  prefix.set(json, 8);
  return prefix;
}

/** Loads a model of that shape; `quantization` is a `BitsAndBytesConfig`, or null for bf16 as it is. */
export function makeModel(
  glue: Glue,
  memory: WebAssembly.Memory,
  shape: Shape,
  quantization: Record<string, unknown> | null,
  context: number,
): WasmModel {
  const json = new TextEncoder().encode(JSON.stringify(config(shape, context)));
  const loader = new glue.Loader(json, undefined, quantization === null ? undefined : JSON.stringify(quantization), "float32");
  const entries = tensors(shape).map(([name, rows, cols]): [string, string, number[], number] => [
    name,
    "BF16",
    name.includes("norm") ? [cols] : [rows, cols],
    2 * rows * cols,
  ]);
  const prefix = header(entries);
  const length = prefix.length + entries.reduce((sum, entry) => sum + entry[3], 0);
  loader.addHeader(FILE, prefix, length);
  loader.begin();
  const period = bfloat16(bell(PERIOD, 1, DEVIATION));
  entries.forEach(([name, , , bytes], index) => {
    const address = loader.buffer(bytes) >>> 0;
    const into = new Uint16Array(memory.buffer, address, bytes / 2);
    if (name.includes("norm")) into.fill(0x3f80);
    else for (let at = 0, from = (index * 7919) % PERIOD; at < into.length; from = 0) {
      const piece = period.subarray(from, Math.min(PERIOD, from + into.length - at));
      into.set(piece, at);
      at += piece.length;
    }
    loader.push(0, index);
  });
  return loader.finish(context);
}

/** A LoRA adapter on every linear layer: what PEFT would write, with random values. */
export function makeAdapter(shape: Shape, rank: number): { config: Uint8Array; weights: Uint8Array<ArrayBuffer> } {
  const modules = linears(shape).map(([name]) => name.split(".")[1] ?? name);
  const settings = {
    peft_type: "LORA",
    r: rank,
    lora_alpha: 2 * rank,
    target_modules: modules,
    bias: "none",
    base_model_name_or_path: "random",
    task_type: "CAUSAL_LM",
  };
  const entries: [string, string, number[], number][] = [];
  for (let i = 0; i < shape.layers; i++) {
    for (const [name, rows, cols] of linears(shape)) {
      const at = `base_model.model.model.layers.${i}.${name}`;
      entries.push([`${at}.lora_A.weight`, "F32", [rank, cols], 4 * rank * cols]);
      entries.push([`${at}.lora_B.weight`, "F32", [rows, rank], 4 * rows * rank]);
    }
  }
  const prefix = header(entries);
  const values = repeated(entries.reduce((sum, entry) => sum + entry[3] / 4, 0), 5, DEVIATION);
  const weights = new Uint8Array(prefix.length + values.byteLength);
  weights.set(prefix);
  weights.set(new Uint8Array(values.buffer), prefix.length);
  return { config: new TextEncoder().encode(JSON.stringify(settings)), weights };
}

/** A loaded model as a checkpoint that transformers reads: the worker's side lays the file out, the page's writes it. */

import { NibblamaError } from "./errors";
import type { Loaded, WasmModel } from "./load";
import { moduleOf } from "./plan";
import type { StoredTensor, TensorSummary } from "./types";

/** As the reference writer of safetensors orders them: wide types first, so that every tensor is aligned. */
const DTYPES = ["F32", "F16", "BF16", "I8", "U8"];

export class Export {
  readonly #model: WasmModel;
  readonly #quantized: boolean;
  readonly #adapter: string | undefined;
  readonly header: Uint8Array<ArrayBuffer>;
  readonly total: number;
  #names: string[] = [];
  #next = 0;
  /** The module computed last: its tensors are next to each other in the file. */
  #module: { path: string; tensors: StoredTensor[] } = { path: "", tensors: [] };

  constructor({ model, facts }: Loaded, quantized: boolean, adapter: string | null) {
    if (quantized && facts.quantization === null) {
      throw new NibblamaError("unsupported-quantization", "the model is not quantized", {
        expected: "a quantized model, or an export as bfloat16",
      });
    }
    this.#model = model;
    this.#quantized = quantized;
    this.#adapter = adapter ?? undefined;
    const names = (JSON.parse(model.tensors()) as TensorSummary[]).map(({ name }) => moduleOf(name));
    const tensors: { name: string; dtype: string; shape: number[]; length: number }[] = [];
    // The length of a quant_state depends on the values, so each layer is computed here already.
    for (const path of new Set(names)) {
      for (const { name, dtype, shape, bytes } of this.#compute(path)) {
        tensors.push({ name, dtype, shape, length: bytes.length });
      }
    }
    tensors.sort((a, b) => DTYPES.indexOf(a.dtype) - DTYPES.indexOf(b.dtype) || (a.name < b.name ? -1 : 1));
    this.#names = tensors.map(({ name }) => name);
    let end = 0;
    const entries = tensors.map(({ name, dtype, shape, length }): [string, unknown] => {
      end += length;
      return [name, { dtype, shape, data_offsets: [end - length, end] }];
    });
    const json = JSON.stringify(Object.fromEntries([["__metadata__", { format: "pt" }], ...entries]));
    const text = new TextEncoder().encode(json.padEnd(Math.ceil(json.length / 8) * 8));
    this.header = new Uint8Array(8 + text.length);
    new DataView(this.header.buffer).setBigUint64(0, BigInt(text.length), true);
    this.header.set(text, 8);
    this.total = this.header.length + end;
  }

  #compute(path: string): StoredTensor[] {
    return this.#model.exportModule(path, this.#quantized, this.#adapter) as StoredTensor[];
  }

  /** The next tensor's bytes; null after the last. */
  next(): Uint8Array<ArrayBuffer> | null {
    const name = this.#names[this.#next];
    if (name === undefined) return null;
    this.#next += 1;
    const path = moduleOf(name);
    if (this.#module.path !== path) this.#module = { path, tensors: this.#compute(path) };
    const tensor = this.#module.tensors.find((each) => each.name === name);
    if (tensor === undefined) throw new NibblamaError("missing-tensor", "a tensor is gone since the export began", { tensor: name });
    return tensor.bytes;
  }
}

/** The files beside the weights: those of the source, with a configuration that says what the weights are now. */
export function smallFiles({ files, facts }: Loaded, quantized: boolean): { name: string; bytes: Uint8Array<ArrayBuffer> }[] {
  const config = JSON.parse(new TextDecoder().decode(files.get("config.json"))) as Record<string, unknown>;
  delete config["quantization_config"];
  if (quantized) config["quantization_config"] = quantizationConfig(facts.quantization ?? {});
  else for (const key of ["dtype", "torch_dtype"]) if (key in config || key === "dtype") config[key] = "bfloat16";
  // transformers wants this one written as a float.
  const text = JSON.stringify(config, null, 2).replace(/("llm_int8_threshold": \d+)(?=[,\n])/, "$1.0");
  const written = new TextEncoder().encode(`${text}\n`);
  const beside = [...files].filter(([name]) => !name.endsWith(".index.json"));
  return beside.map(([name, bytes]) => ({ name, bytes: name === "config.json" ? written : bytes }));
}

/** transformers has no key for the blocksize, which is in each layer's quant_state; codes are written as bytes. */
function quantizationConfig(config: object): object {
  const entries = Object.entries({ ...config, bnb_4bit_quant_storage: "uint8", quant_method: "bitsandbytes" });
  return Object.fromEntries(entries.filter(([key]) => key !== "bnb_4bit_blocksize"));
}

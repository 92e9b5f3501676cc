/** GGUF files of any Llama shape with random weights, for llama.cpp in WebAssembly. */

import { uniform } from "../random";
import { linears, type Shape } from "../shapes";

export type GgufType = "Q4_0" | "IQ4_NL";

/** ggml's number of the type, llama.cpp's of a file of it, and the scale that gives weights a deviation of 0.02. */
const TYPES: Record<GgufType, { type: number; file: number; scale: number }> = {
  // (q - 8) over all codes deviates by 4.64.
  Q4_0: { type: 2, file: 2, scale: 0.02 / 4.64 },
  // Its 16 levels, from -127 to 113, deviate by 71.2.
  IQ4_NL: { type: 20, file: 25, scale: 0.02 / 71.2 },
};
const F32 = 0;
/** Both types: 32 weights are an f16 scale and 16 bytes. */
const BLOCK = 32;
const BLOCK_BYTES = 18;
const ALIGNMENT = 32;
/** Blocks that tensors are taken from, each from another place; no multiple of any row's. */
const PERIOD = 65_537;

const KINDS = { u32: 4, f32: 6, bool: 7, string: 8, array: 9, i32: 5 } as const;

/** Little-endian bytes, one value after another. */
class Bytes {
  #bytes = new Uint8Array(1 << 16);
  #view = new DataView(this.#bytes.buffer);
  length = 0;

  /** Makes room, and only then lets `put` write into the view, which may be a new one. */
  #append(bytes: number, put: (view: DataView, at: number) => void): void {
    const at = this.length;
    this.length += bytes;
    if (this.length > this.#bytes.length) {
      const grown = new Uint8Array(2 * this.length);
      grown.set(this.#bytes);
      this.#bytes = grown;
      this.#view = new DataView(grown.buffer);
    }
    put(this.#view, at);
  }

  u8(value: number): void {
    this.#append(1, (view, at) => view.setUint8(at, value));
  }

  u32(value: number): void {
    this.#append(4, (view, at) => view.setUint32(at, value, true));
  }

  u64(value: number): void {
    this.#append(8, (view, at) => view.setBigUint64(at, BigInt(value), true));
  }

  f32(value: number): void {
    this.#append(4, (view, at) => view.setFloat32(at, value, true));
  }

  text(value: string): void {
    const bytes = new TextEncoder().encode(value);
    this.u64(bytes.length);
    this.#append(bytes.length, (_, at) => this.#bytes.set(bytes, at));
  }

  pad(): void {
    while (this.length % ALIGNMENT !== 0) this.u8(0);
  }

  done(): Uint8Array<ArrayBuffer> {
    return this.#bytes.slice(0, this.length);
  }
}

/** f16 bits of a small positive number that is normal in f16. */
export function float16(value: number): number {
  const exponent = Math.floor(Math.log2(value));
  const mantissa = Math.round((value / 2 ** exponent - 1) * 1024);
  if (exponent < -14 || exponent > 15) throw new Error(`${value} is no normal f16`);
  return ((exponent + 15) << 10) + mantissa;
}

/** A vocabulary that llama.cpp takes: three control tokens, the 256 bytes, then short words, each with and without a space. */
export function vocabulary(size: number): { tokens: string[]; types: number[] } {
  const letters = "abcdefghijklmnopqrstuvwxyz";
  const tokens = ["<unk>", "<s>", "</s>"];
  const types = [2, 3, 3];
  for (let byte = 0; byte < 256; byte++) {
    tokens.push(`<0x${byte.toString(16).toUpperCase().padStart(2, "0")}>`);
    types.push(6);
  }
  tokens.push("\u2581");
  for (let words = [""]; tokens.length < size; ) {
    words = words.flatMap((word) => [...letters].map((letter) => word + letter));
    for (const word of words) tokens.push(word, `\u2581${word}`);
  }
  tokens.length = size;
  while (types.length < size) types.push(1);
  return { tokens, types };
}

/** Random blocks of the type, many enough that nothing stays in a cache. */
function blocks(type: GgufType): Uint8Array<ArrayBuffer> {
  const next = uniform(9);
  const bytes = Uint8Array.from({ length: PERIOD * BLOCK_BYTES }, () => next() * 256);
  const view = new DataView(bytes.buffer);
  const scale = float16(TYPES[type].scale);
  // Signs of both kinds, so that the weights' mean is zero.
  for (let at = 0; at < bytes.length; at += BLOCK_BYTES) view.setUint16(at, scale | (next() < 0.5 ? 0x8000 : 0), true);
  return bytes;
}

interface Tensor {
  name: string;
  /** Innermost first, as ggml counts. */
  shape: number[];
  type: number;
  bytes: number;
}

function tensorsOf(shape: Shape, type: GgufType): Tensor[] {
  const matrix = (name: string, rows: number, cols: number): Tensor => {
    if (cols % BLOCK !== 0) throw new Error(`${name}: ${cols} columns are no whole blocks`);
    return { name: `${name}.weight`, shape: [cols, rows], type: TYPES[type].type, bytes: (rows * cols * BLOCK_BYTES) / BLOCK };
  };
  const norm = (name: string): Tensor => ({ name: `${name}.weight`, shape: [shape.hidden], type: F32, bytes: 4 * shape.hidden });
  const names: Record<string, string> = {
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
  };
  const all = [matrix("token_embd", shape.vocab, shape.hidden), norm("output_norm")];
  if (shape.tied !== true) all.push(matrix("output", shape.vocab, shape.hidden));
  for (let i = 0; i < shape.layers; i++) {
    all.push(norm(`blk.${i}.attn_norm`), norm(`blk.${i}.ffn_norm`));
    for (const [name, rows, cols] of linears(shape)) all.push(matrix(`blk.${i}.${names[name] ?? name}`, rows, cols));
  }
  return all;
}

/** The parts of a GGUF file, in order. */
export function gguf(shape: Shape, type: GgufType, context: number): Uint8Array<ArrayBuffer>[] {
  const tensors = tensorsOf(shape, type);
  const { tokens, types } = vocabulary(shape.vocab);
  const out = new Bytes();
  let keys = 0;
  const fields = new Bytes();
  const key = (name: string, kind: keyof typeof KINDS) => {
    keys += 1;
    fields.text(name);
    fields.u32(KINDS[kind]);
  };
  const u32 = (name: string, value: number) => (key(name, "u32"), fields.u32(value));
  const f32 = (name: string, value: number) => (key(name, "f32"), fields.f32(value));
  const text = (name: string, value: string) => (key(name, "string"), fields.text(value));
  const array = <T>(name: string, kind: keyof typeof KINDS, values: readonly T[], write: (value: T) => void) => {
    key(name, "array");
    fields.u32(KINDS[kind]);
    fields.u64(values.length);
    values.forEach(write);
  };
  text("general.architecture", "llama");
  text("general.name", "random");
  u32("general.file_type", TYPES[type].file);
  u32("general.alignment", ALIGNMENT);
  u32("llama.context_length", context);
  u32("llama.embedding_length", shape.hidden);
  u32("llama.block_count", shape.layers);
  u32("llama.feed_forward_length", shape.inner);
  u32("llama.attention.head_count", shape.heads);
  u32("llama.attention.head_count_kv", shape.kvHeads);
  f32("llama.attention.layer_norm_rms_epsilon", 1e-5);
  u32("llama.rope.dimension_count", shape.hidden / shape.heads);
  f32("llama.rope.freq_base", 10000);
  u32("llama.vocab_size", shape.vocab);
  text("tokenizer.ggml.model", "llama");
  array("tokenizer.ggml.tokens", "string", tokens, (token) => fields.text(token));
  array("tokenizer.ggml.scores", "f32", tokens, (token) => fields.f32(-1000 + [...token].length));
  array("tokenizer.ggml.token_type", "i32", types, (kind) => fields.u32(kind));
  u32("tokenizer.ggml.bos_token_id", 1);
  u32("tokenizer.ggml.eos_token_id", 2);
  u32("tokenizer.ggml.unknown_token_id", 0);

  for (const letter of "GGUF") out.u8(letter.charCodeAt(0));
  out.u32(3);
  out.u64(tensors.length);
  out.u64(keys);
  const parts = [out.done(), fields.done()];
  const infos = new Bytes();
  const aligned = (bytes: number) => Math.ceil(bytes / ALIGNMENT) * ALIGNMENT;
  let offset = 0;
  for (const tensor of tensors) {
    infos.text(tensor.name);
    infos.u32(tensor.shape.length);
    tensor.shape.forEach((n) => infos.u64(n));
    infos.u32(tensor.type);
    infos.u64(offset);
    offset += aligned(tensor.bytes);
  }
  parts.push(infos.done());
  const padding = (bytes: number) => new Uint8Array(aligned(bytes) - bytes);
  parts.push(padding(parts.reduce((sum, part) => sum + part.length, 0)));

  const random = blocks(type);
  tensors.forEach((tensor, index) => {
    if (tensor.type === F32) parts.push(new Uint8Array(new Float32Array(tensor.bytes / 4).fill(1).buffer));
    else for (let left = tensor.bytes, from = ((index * 7919) % PERIOD) * BLOCK_BYTES; left > 0; from = 0) {
      const piece = random.subarray(from, Math.min(random.length, from + left));
      parts.push(piece);
      left -= piece.length;
    }
    parts.push(padding(tensor.bytes));
  });
  return parts;
}

/** What loading a model will take, from its configuration and the headers of its files alone. */

import type { KvCacheDtype, Limits, Misfit, ModelConfig, PlannedBytes } from "./types";

/** Bytes of a module as `model::footprint` gives them. */
interface ModuleBytes {
  path: string;
  /** "nf4", "fp4", "int8" or the name of a float dtype. */
  kind: string;
  true_bytes: { packed_codes: number; int8_codes: number; other_weights: number; total: number };
}

export interface PlanInput {
  config: ModelConfig;
  /** JSON of the crate's footprint, quantized as the model will be, with a kv cache of `context` positions. */
  footprint: string;
  /** Every tensor of every file, in the order in which they will come. */
  tensors: readonly { name: string; bytes: number }[];
  /** Positions of the kv cache. */
  context: number;
  kvCacheDtype: KvCacheDtype;
  /** Whether exact arithmetic, which `logits` and others compute in, turns that cache into one of f32. */
  widens: boolean;
  /** Tokens of a prompt that are read at once. */
  piece: number;
}

/** Code, stack and static data of the largest build, and what the allocator cannot use. */
const MODULE = 4 << 20;
const WASM_MEMORY = 2 ** 32 - 2 ** 16;
/** `navigator.deviceMemory` says no more than this, however much there is. */
const MOST_REPORTED = 8;
const FLOAT = 4;

export function plan({ config, footprint, tensors, context, kvCacheDtype, widens, piece }: PlanInput): PlannedBytes {
  const { modules, kv_cache: wide } = JSON.parse(footprint) as { modules: ModuleBytes[]; kv_cache: number };
  const byPath = new Map(modules.map((module) => [module.path, module]));
  const names = new Set(tensors.map(({ name }) => name));
  const download = sum(tensors.map(({ bytes }) => bytes));
  // One buffer takes tensor after tensor, so it is as large as the largest.
  const buffer = tensors.reduce((largest, { bytes }) => Math.max(largest, bytes), 0);
  let weights = 0;
  let scales = 0;
  let held = 0;
  let loading = 0;
  for (const { name, bytes } of tensors) {
    const path = moduleOf(name);
    const module = byPath.get(path);
    // Rotary tables, and the head of a model with tied embeddings, have no place.
    if (module === undefined || (path === "lm_head" && config.tie_word_embeddings)) continue;
    const part = name.slice(path.length + 1);
    const stored = names.has(`${path}.weight.absmax`) || names.has(`${path}.SCB`);
    const { packed_codes, int8_codes, other_weights, total } = module.true_bytes;
    const codes = packed_codes + int8_codes;
    let scale = 0;
    let weight = 0;
    let passing = 0;
    if (part === "weight_format") continue;
    if (part.includes("quant_state")) {
      // Of its text only the offset of double quantization stays as a number.
      if (names.has(`${path}.weight.nested_absmax`)) scale = FLOAT;
    } else if (stored && part !== "weight" && part !== "bias") {
      scale = bytes;
    } else if (part === "weight" && !stored && codes > 0) {
      weight = codes;
      scale = total - other_weights - codes;
      // The stored values twice, and for int8 as 32-bit floats.
      passing = 2 * bytes + FLOAT * int8_codes;
    } else {
      weight = bytes;
      // The embedding goes into its place at once.
      passing = path.endsWith("embed_tokens") ? 0 : bytes;
    }
    loading = Math.max(loading, held + weight + scale + passing);
    held += weight + scale;
    weights += weight;
    scales += scale;
  }
  const kv_cache = kvCacheDtype === "int16" ? int16Bytes(config, context) : wide;
  // LLM.int8 reads a prompt at once, however long it is.
  const whole = modules.some(({ kind }) => kind === "int8");
  const scratch = scratchBytes(config, context, whole ? context : piece);
  const total = weights + scales + kv_cache + scratch;
  // The form changes layer by layer: one is there twice. And logits after every token of a piece, twice.
  const more = (widens ? Math.max(0, wide - kv_cache) + kv_cache / config.num_hidden_layers : 0) + 2 * FLOAT * piece * config.vocab_size;
  return {
    download,
    weights,
    scales,
    kv_cache,
    scratch,
    total,
    peak: Math.max(loading + buffer, total + more) + MODULE,
    stored: weights + scales,
  };
}

/** Why a plan cannot be carried out. */
export function misfits(bytes: PlannedBytes, limits: Required<Limits>): Misfit[] {
  const needs = [["memory", bytes.peak], ["device", bytes.peak], ["storage", bytes.stored]] as const;
  return needs
    .map(([kind, needed]) => ({ kind, needed, available: limits[kind] }))
    .filter(({ needed, available }) => needed > available);
}

/** The limits of this browser where the caller names none. */
export function completeLimits(given: Limits, storage: { usage: number; quota: number } | null): Required<Limits> {
  const reported = (navigator as Navigator & { deviceMemory?: number }).deviceMemory;
  const device = reported === undefined || reported >= MOST_REPORTED ? Number.POSITIVE_INFINITY : reported * 2 ** 30;
  return {
    memory: given.memory ?? WASM_MEMORY,
    device: given.device ?? device,
    storage: given.storage ?? (storage === null ? Number.POSITIVE_INFINITY : storage.quota - storage.usage),
  };
}

/** Keys and values in 16 bits, as the crate's `KvCacheDtype::bytes` counts them: blocks of 32 positions, heads padded to 16 elements, and a scale for each key and value. */
function int16Bytes(config: ModelConfig, context: number): number {
  const heads = 2 * config.num_hidden_layers * config.num_key_value_heads;
  return heads * ((context + 31) & ~31) * (((config.head_dim + 15) & ~15) * 2 + FLOAT);
}

/** Buffers of the computation for `piece` tokens, as the crate's `Buffers` lists them. */
function scratchBytes(config: ModelConfig, context: number, piece: number): number {
  const { hidden_size: hidden, intermediate_size: inner, head_dim: width, vocab_size: vocabulary } = config;
  const query = config.num_attention_heads * width;
  const keys = config.num_key_value_heads * width;
  // Queries a second time, as integers.
  const residual = 3 * hidden + 2.5 * query + 2 * keys + 2 * inner + width;
  const scores = (config.num_attention_heads / config.num_key_value_heads) * context;
  // The input of the widest layer again in the form its kernel takes.
  const kernel = 2 * Math.max(hidden, inner, query);
  return FLOAT * (piece * (residual + kernel) + scores + 2 * vocabulary + context + width / 2);
}

/** "model.layers.0.mlp.up_proj" of any of its tensors' names. */
export function moduleOf(name: string): string {
  return name.replace(/\.(?:weight(?:\..*|_format)?|bias|SCB)$/, "");
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}

// A checkpoint shaped as TinyLlama 1.1B, for seeing how the page stands large tensors: all of its 2.2 GB are there, but
// only the first up_proj and a part of the embedding are written; the rest are holes that read as zeros.

import { mkdir, open, writeFile } from "node:fs/promises";
import { join } from "node:path";

const CONFIG = {
  architectures: ["LlamaForCausalLM"],
  model_type: "llama",
  torch_dtype: "bfloat16",
  hidden_size: 2048,
  intermediate_size: 5632,
  num_hidden_layers: 22,
  num_attention_heads: 32,
  num_key_value_heads: 4,
  vocab_size: 32000,
  max_position_embeddings: 2048,
  rms_norm_eps: 1e-5,
  rope_theta: 10000,
  hidden_act: "silu",
  tie_word_embeddings: false,
  bos_token_id: 1,
  eos_token_id: 2,
};

function shapes() {
  const { hidden_size: h, intermediate_size: m, vocab_size: v } = CONFIG;
  const kv = (h / CONFIG.num_attention_heads) * CONFIG.num_key_value_heads;
  const layer = (i) =>
    [
      ["self_attn.q_proj", [h, h]], ["self_attn.k_proj", [kv, h]], ["self_attn.v_proj", [kv, h]], ["self_attn.o_proj", [h, h]],
      ["mlp.gate_proj", [m, h]], ["mlp.up_proj", [m, h]], ["mlp.down_proj", [h, m]],
      ["input_layernorm", [h]], ["post_attention_layernorm", [h]],
    ].map(([name, shape]) => [`model.layers.${i}.${name}.weight`, shape]);
  const layers = Array.from({ length: CONFIG.num_hidden_layers }, (_, i) => layer(i)).flat();
  return [["model.embed_tokens.weight", [v, h]], ...layers, ["model.norm.weight", [h]], ["lm_head.weight", [v, h]]];
}

/** A megabyte of bf16 numbers, roughly normal with a standard deviation of 0.02. */
function noise() {
  const values = new Float32Array(2 ** 19);
  let seed = 88172645463325252n;
  const uniform = () => {
    seed ^= (seed << 13n) & 0xffffffffffffffffn;
    seed ^= seed >> 7n;
    seed ^= (seed << 17n) & 0xffffffffffffffffn;
    return Number(seed & 0xffffffn) / 2 ** 24;
  };
  const normal = Array.from({ length: 4096 }, () => (uniform() + uniform() + uniform() + uniform() - 2) * 0.035);
  for (let i = 0; i < values.length; i++) values[i] = normal[(i * 2654435761) % 4096 ^ (i >> 12) % 4096] ?? 0;
  const words = new Uint32Array(values.buffer);
  return Buffer.from(Uint16Array.from(words, (word) => word >>> 16).buffer);
}

/** Writes config.json and model.safetensors into a folder. */
export async function writeShapedModel(folder) {
  await mkdir(folder, { recursive: true });
  await writeFile(join(folder, "config.json"), JSON.stringify(CONFIG));
  let end = 0;
  const entries = shapes().map(([name, shape]) => {
    const start = end;
    end += 2 * shape.reduce((product, n) => product * n, 1);
    return [name, { dtype: "BF16", shape, data_offsets: [start, end] }];
  });
  const json = JSON.stringify(Object.fromEntries(entries));
  const header = Buffer.from(json.padEnd(Math.ceil(json.length / 8) * 8));
  const file = await open(join(folder, "model.safetensors"), "w");
  try {
    const size = Buffer.alloc(8);
    size.writeBigUInt64LE(BigInt(header.length));
    await file.write(Buffer.concat([size, header]), 0, 8 + header.length, 0);
    await file.truncate(8 + header.length + end);
    const piece = noise();
    for (const [name, most] of [["model.layers.0.mlp.up_proj.weight", Infinity], ["model.embed_tokens.weight", 8]]) {
      const [from, to] = Object.fromEntries(entries)[name].data_offsets;
      for (let at = from, n = 0; at < to && n < most; at += piece.length, n++) {
        await file.write(piece, 0, Math.min(piece.length, to - at), 8 + header.length + at);
      }
    }
  } finally {
    await file.close();
  }
}

/** The Llamas that are measured, by the sizes in their config.json. */

export interface Shape {
  hidden: number;
  inner: number;
  layers: number;
  heads: number;
  kvHeads: number;
  vocab: number;
  /** `lm_head` is the embedding. */
  tied?: boolean;
}

export const SHAPES = {
  "42m": { hidden: 512, inner: 1408, layers: 8, heads: 8, kvHeads: 8, vocab: 32000 },
  "135m": { hidden: 576, inner: 1536, layers: 30, heads: 9, kvHeads: 3, vocab: 49152, tied: true },
  "417m": { hidden: 2048, inner: 5632, layers: 8, heads: 32, kvHeads: 4, vocab: 32000 },
  "tinyllama": { hidden: 2048, inner: 5632, layers: 22, heads: 32, kvHeads: 4, vocab: 32000 },
} as const satisfies Record<string, Shape>;

export type ShapeName = keyof typeof SHAPES;

/** Every linear layer of one decoder layer: name, rows, columns. */
export function linears({ hidden, inner, heads, kvHeads }: Shape): [name: string, rows: number, cols: number][] {
  const kv = (hidden / heads) * kvHeads;
  return [
    ["self_attn.q_proj", hidden, hidden],
    ["self_attn.k_proj", kv, hidden],
    ["self_attn.v_proj", kv, hidden],
    ["self_attn.o_proj", hidden, hidden],
    ["mlp.gate_proj", inner, hidden],
    ["mlp.up_proj", inner, hidden],
    ["mlp.down_proj", hidden, inner],
  ];
}

/** Weights that a token is multiplied with: in the decoder layers, and in `lm_head`. */
export function weights(shape: Shape): { layers: number; lmHead: number } {
  const layer = linears(shape).reduce((sum, [, rows, cols]) => sum + rows * cols, 0);
  return { layers: shape.layers * layer, lmHead: shape.vocab * shape.hidden };
}

/** The content of config.json. */
export function config(shape: Shape, context: number): Record<string, unknown> {
  return {
    architectures: ["LlamaForCausalLM"],
    model_type: "llama",
    hidden_act: "silu",
    hidden_size: shape.hidden,
    intermediate_size: shape.inner,
    num_hidden_layers: shape.layers,
    num_attention_heads: shape.heads,
    num_key_value_heads: shape.kvHeads,
    max_position_embeddings: context,
    rms_norm_eps: 1e-5,
    rope_theta: 10000,
    tie_word_embeddings: shape.tied === true,
    torch_dtype: "bfloat16",
    vocab_size: shape.vocab,
    bos_token_id: 1,
    eos_token_id: 2,
  };
}

/** Every tensor of the checkpoint: name, rows, columns; one row for a vector. */
export function tensors(shape: Shape): [name: string, rows: number, cols: number][] {
  const { hidden, vocab, layers } = shape;
  const all: [string, number, number][] = [["model.embed_tokens.weight", vocab, hidden]];
  for (let i = 0; i < layers; i++) {
    const at = `model.layers.${i}`;
    for (const [name, rows, cols] of linears(shape)) all.push([`${at}.${name}.weight`, rows, cols]);
    for (const name of ["input", "post_attention"]) all.push([`${at}.${name}_layernorm.weight`, 1, hidden]);
  }
  all.push(["model.norm.weight", 1, hidden]);
  if (shape.tied !== true) all.push(["lm_head.weight", vocab, hidden]);
  return all;
}

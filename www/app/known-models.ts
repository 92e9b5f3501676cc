/** Configurations of published models, as their `config.json` gives them. Sizes are computed, never written down. */

export interface KnownModel {
  name: string;
  config: object;
}

const llama = {
  architectures: ["LlamaForCausalLM"],
  model_type: "llama",
  hidden_act: "silu",
  rms_norm_eps: 1e-5,
  attention_bias: false,
  mlp_bias: false,
  torch_dtype: "bfloat16",
};

export const LLAMA_8B: KnownModel = {
  name: "Llama 3.1 8B",
  config: {
    ...llama,
    vocab_size: 128256,
    hidden_size: 4096,
    intermediate_size: 14336,
    num_hidden_layers: 32,
    num_attention_heads: 32,
    num_key_value_heads: 8,
    max_position_embeddings: 131072,
    rope_theta: 500000,
    tie_word_embeddings: false,
  },
};

export const KNOWN_MODELS: readonly KnownModel[] = [
  LLAMA_8B,
  {
    name: "Llama 3.2 1B",
    config: {
      ...llama,
      vocab_size: 128256,
      hidden_size: 2048,
      intermediate_size: 8192,
      num_hidden_layers: 16,
      num_attention_heads: 32,
      num_key_value_heads: 8,
      head_dim: 64,
      max_position_embeddings: 131072,
      rope_theta: 500000,
      tie_word_embeddings: true,
    },
  },
  {
    name: "TinyLlama 1.1B",
    config: {
      ...llama,
      vocab_size: 32000,
      hidden_size: 2048,
      intermediate_size: 5632,
      num_hidden_layers: 22,
      num_attention_heads: 32,
      num_key_value_heads: 4,
      max_position_embeddings: 2048,
      rope_theta: 10000,
      tie_word_embeddings: false,
    },
  },
  {
    name: "SmolLM2 135M",
    config: {
      ...llama,
      vocab_size: 49152,
      hidden_size: 576,
      intermediate_size: 1536,
      num_hidden_layers: 30,
      num_attention_heads: 9,
      num_key_value_heads: 3,
      max_position_embeddings: 8192,
      rope_theta: 100000,
      tie_word_embeddings: true,
    },
  },
];

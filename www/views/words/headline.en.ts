export const en = {
  text: "Four bits are half a byte, so a model should need half a byte per weight. It needs more, for two reasons: only the linear layers become 4-bit, and each block of weights keeps a scale beside its codes.",
  takeaway: (name: string, real: string, naive: string, over: string, kept: string) =>
    `${name} takes ${real}, not ${naive}: ${over} more, mostly because ${kept} stay 16-bit.`,
  kept: { all: "embedding, lm_head and norms", tied: "the embedding and the norms" },
  caption: (name: string) => `${name} in 4 bits, bytes, one part after another`,
  model: "Model",
  thisModel: "this model",
  doubleQuant: "double quantization",
  parts: {
    naive: "half a byte × all parameters",
    codes: "nibbles: packed 4-bit codes",
    absmax: "absmax: one scale a block",
    nested: "second-level absmax and maps",
    embed: "embedding, 16-bit",
    head: "lm_head, 16-bit",
    norm: "norms, 16-bit",
    total: "really held",
    printed: "what get_memory_footprint() prints",
  },
  part: "part",
  bytes: "bytes",
  share: "share",
  explain: (embedShare: string, printed: string, real: string) => [
    `Embedding and lm_head are tables of one row per token. bitsandbytes leaves them alone: they are ${embedShare} of what the printed figure counts.`,
    "Calculators that divide the parameters by 2, or the f32 size by 8, forget this and the scales.",
    `get_memory_footprint() prints ${printed}. It counts parameters and buffers, and the scales are neither: they hang on the weight as its quant_state. Really ${real} are held.`,
    "During the computation each weight is turned back into compute dtype. Nothing is multiplied in 4 bits, so 4-bit saves memory, not arithmetic.",
  ],
  question: {
    ask: (name: string, parameters: string) => `${name} has ${parameters} parameters. How many bytes does it take in 4 bits, double quantization on?`,
    answer: (real: string, sixteen: string) => `It is ${real}: the 16-bit rest alone is ${sixteen}.`,
  },
  shrink: {
    ask: "Which parts become smaller when a Llama is loaded in 4 bits?",
    options: ["every layer", "the linear layers of the blocks", "embedding and lm_head"],
    answer: (linear: string, before: string) =>
      `q, k, v, o, gate, up and down shrink from ${before} (bf16) to ${linear}. Embedding, lm_head and norms keep every byte.`,
  },
};

export type Words = typeof en;

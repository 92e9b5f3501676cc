export const en = {
  text: "print(model) shows the modules. Loading in 4 bits replaces each Linear by a Linear4bit, except where it is told not to. Untick a row to leave it in 16 bits and see what that costs.",
  caption: (name: string) => `${name}: modules, bytes in bf16 and in 4 bits`,
  takeaway: (four: string, all: string, before: string, after: string, left: string, share: string) =>
    `${four} of ${all} linear layers become Linear4bit: ${before} shrinks to ${after}. What stays 16-bit is ${left}, ${share} of what is left.`,
  module: "module",
  before: "bf16",
  after: "4-bit",
  quantize: (name: string) => `quantize ${name}`,
  times: (n: number) => `× ${n}`,
  kept: {
    Embedding: "A lookup, not a product: bitsandbytes leaves it alone.",
    LlamaRMSNorm: "A few numbers per layer: nothing to win.",
    tied: "Shares its numbers with the embedding (tied), so nothing of its own to quantize.",
    lm_head: "Left out by the library unless a list of your own says otherwise.",
    skipped: "Left out by llm_int8_skip_modules.",
  },
  model: "Model",
  thisModel: "this model",
  layers: "Leave out whole layers",
  layer: (n: number) => `layer ${n}`,
  reset: "The library's own choice",
  regenerate: "Load and write like this",
  regenerating: (done: number, total: number) => `${done} of ${total} tensors`,
  cancel: "Cancel",
  writes: (from: string) => `${from}, with these layers, writes:`,
  noOriginals: "The loaded model is already quantized, so its layers cannot be changed here.",
  otherModel: "The published sizes are shown. The model in this tab is loaded and written with, when you press the button.",
  table: { caption: "Modules", path: "module", from: "class before", to: "class after", before: "bytes in bf16", after: "bytes in 4 bits", times: "modules" },
  explain: [
    "A Linear4bit holds its weight as packed codes: two weights a byte, in a column of bytes, with the scales beside it. Its shape in print(model) stays that of the layer.",
    "The embedding and the norms are no Linear layers. lm_head is one, the last step of every prediction.",
    "llm_int8_skip_modules takes parts of names: q_proj means that layer in every block, model.layers.3 means all of block 3. A list of your own replaces the default, so lm_head must be in it to stay 16-bit.",
  ],
  question: {
    ask: "Untick q_proj: how many of the model's layers change back to Linear?",
    options: ["one", "one per block", "all of them"],
    answer: (n: string) => `The name matches in every block: ${n} modules.`,
  },
};

export type Words = typeof en;

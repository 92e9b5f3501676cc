export const en = {
  text: "LoRA leaves the 4-bit weights as they are and adds a small product beside each: W x + (alpha / r) B A x. The adapter is a few hundred kilobytes, can be put in and taken out while the model runs, and changes how it writes.",
  caption: (name: string) => `The same prompt, seed and sampler, without and with “${name}”`,
  takeaway: (name: string, bytes: string, share: string, at: number, word: string) =>
    `“${name}” is ${bytes}, ${share} of the base, and changes the text from token ${at} on${word === "" ? "" : ` (“${word}”)`}.`,
  takeawaySame: (name: string, bytes: string, share: string, tokens: number) =>
    `“${name}” is ${bytes}, ${share} of the base; the first ${tokens} tokens stay the same.`,
  waiting: "Waiting for the model",
  noModel: "This view needs the model. Load it at the top of the page.",
  foreign: "The adapters of this page were made for the built-in model. For your model choose an adapter of your own.",
  without: "without",
  with: (name: string) => `with ${name}`,
  adapter: "Adapter",
  adapters: { rhymes: "rhymes", dialogue: "dialogue", olden: "olden", own: "my own" },
  write: "Write both",
  stop: "Stop",
  pick: "An adapter of my own: adapter_config.json and adapter_model.safetensors",
  pickButton: "Choose files",
  loadFailed: "The adapter could not be used",
  missing: "Choose both files: adapter_config.json and adapter_model.safetensors.",
  prompt: "Prompt",
  switched: "(adapter switched here)",
  facts: {
    rank: "rank r",
    alpha: "alpha",
    scale: "alpha / r",
    matrices: "matrices per layer",
    bytes: "adapter",
    base: "base model",
    share: "share",
    tokens: "tokens",
  },
  chart: "Bytes: adapter and base",
  table: { caption: "Adapter and base", what: "what", bytes: "bytes" },
  explain: [
    "W is a frozen 4-bit matrix. A has r rows, B has r columns: together r × (in + out) numbers instead of in × out. alpha / r scales what they add.",
    "Training moves only A and B. That is how a large model can be fine-tuned on one GPU: QLoRA keeps W in NF4 and sends gradients through it.",
    "Merged means adding (alpha / r) B A to W once. For 4-bit weights that means quantizing again, which rounds the change away in part; unmerged, it stays exact and can be removed.",
    "Here the adapter stays beside the weights. Choosing another while text is being written takes effect from the next token on.",
  ],
  question: {
    ask: (base: string) => `The base is ${base}. How large is an adapter of rank 8 on all seven matrices?`,
    options: ["about half of it", "about a tenth", "as large as the base"],
    answer: (bytes: string, share: string) => `${bytes}: ${share} of the base.`,
  },
};

export type Words = typeof en;

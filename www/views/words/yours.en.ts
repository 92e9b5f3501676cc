export const en = {
  text: "Paste a config.json, or choose a model's folder: every size follows from the configuration alone, before a byte of weights is read. Nothing is uploaded.",
  caption: (name: string, tokens: string) => `${name}: bytes by kind of module, with a kv cache for ${tokens} tokens`,
  takeaway: (name: string, before: string, after: string, cache: string, tokens: string) =>
    `${name} needs ${after} in 4 bits instead of ${before}, and ${cache} more for a kv cache of ${tokens} tokens.`,
  takeawayCache: (name: string, after: string, cache: string, tokens: string) =>
    `With ${tokens} tokens the kv cache (${cache}) is larger than ${name} in 4 bits (${after}).`,
  paste: "config.json",
  pasteHint: '{ "model_type": "llama", "hidden_size": 4096, … }',
  read: "Show its sizes",
  folder: "Choose a folder",
  files: "Choose files",
  examples: "Published models",
  context: "kv cache, tokens",
  load: "Load it here",
  loading: "Loading: see the top of the page.",
  fits: (needed: string) => `It needs about ${needed} in this tab, out of at most 4.3 GB.`,
  tooLarge: (needed: string) => `It needs ${needed}: more than the 4.3 GB that a WebAssembly memory can have, so it cannot run in this tab.`,
  noConfig: "There is no config.json among these files.",
  notJson: "This is not JSON.",
  refused: "The engine refuses this configuration",
  stored: (type: string) => `Its weights are stored quantized already (${type}).`,
  pasted: "pasted model",
  rows: { full: "bf16", four: "4-bit" },
  kinds: { embed: "embedding", attention: "attention", mlp: "MLP", head: "lm_head", norm: "norms", cache: "kv cache" },
  table: { caption: "Every module", path: "module", kind: "class in 4 bits", parameters: "parameters", before: "bytes in bf16", after: "bytes in 4 bits" },
  explain: [
    "The kv cache keeps a key and a value of every token in every layer. It grows with the text, not with the weights, in 16 or 32 bits a number. Grouped-query attention makes it small: several heads share keys and values.",
    "Checkpoints are quantized tensor by tensor while they are read, so the peak is near the 4-bit size.",
  ],
  question: {
    ask: (name: string) => `Twice as many tokens in the kv cache of ${name}: what happens to the bytes of the weights?`,
    options: ["they double", "nothing", "they grow a little"],
    answer: (weights: string, cache: string) => `Weights stay at ${weights}. Only the cache doubles, to ${cache}.`,
  },
};

export type Words = typeof en;

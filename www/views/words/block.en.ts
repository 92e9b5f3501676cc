export const en = {
  text: "Weights are quantized in blocks, runs of the flattened tensor. Follow one block through the five steps. Then plant an outlier and watch what it does to its neighbours.",
  steps: ["absmax", "divide", "nearest level", "pack", "unpack"],
  step: "Step",
  notes: {
    absmax: (absmax: string, position: number, n: string) => `The largest magnitude of the block is ${absmax}, at position ${position}. It is kept once for all ${n} weights.`,
    divide: (value: string, absmax: string, normalised: string) => `Every weight is divided by it: ${value} / ${absmax} = ${normalised}. The shape stays, only the scale changes.`,
    level: (normalised: string, level: string, code: string) => `${normalised} moves to the nearest of 16 levels, ${level}. What is stored is its code, ${code}.`,
    pack: (byte: string, high: string, low: string) => `Two codes make a byte, the first in the high nibble: ${high} and ${low} become ${byte}.`,
    unpack: (code: string, level: string, scale: string, restored: string) => `Code ${code} stands for ${level}; times the scale ${scale} that is ${restored}.`,
  },
  takeaway: (n: string, bytes: string, before: string, used: string, rmse: string) =>
    `${n} weights become ${bytes} bytes of codes instead of ${before} in bf16, with ${used} of 16 codes in use and an RMSE of ${rmse}.`,
  takeawayStored: (n: string, bytes: string, used: string) =>
    `${n} weights lie in ${bytes} bytes of codes, with ${used} of 16 codes in use; the originals are gone.`,
  collapse: (factor: string, used: string, before: string, times: string) =>
    `One weight at ${factor} times absmax leaves the block ${used} of 16 codes instead of ${before} and makes its RMSE ${times} times as large.`,
  caption: (name: string, block: string) => `${name}, block ${block}: weights before and after`,
  outlier: "Plant an outlier",
  outlierAt: (factor: string) => `${factor} × absmax`,
  none: "none",
  chart: "Position of the weight in the block",
  weightAt: (position: number, value: string, restored: string) => `weight ${position}: ${value}, restored ${restored}`,
  original: "original",
  restored: "restored",
  level: "16 levels",
  bytes: "packed bytes, high nibble first",
  columns: { position: "position", value: "weight", normalised: "weight / absmax", code: "code", byte: "byte", restored: "restored", error: "error" },
  explain: [
    "A block is a run of 64 weights of the flattened tensor, row after row. It does not care where a row ends.",
    "The block's scale has to fit its largest weight. One large weight stretches the 16 levels for all, and its small neighbours fall onto zero. That is why blocks are short, and why LLM.int8 takes outlier columns out first.",
    "The high nibble comes first: byte i holds weight 2i in its upper four bits and weight 2i + 1 in its lower four.",
    "With double quantization the scale itself is restored from 8 bits, so even the largest weight comes back changed.",
  ],
  question: {
    ask: (n: string) => `One of ${n} weights grows to 16 times the block's absmax. What happens to the others' error?`,
    options: ["nothing: each weight has its own code", "it doubles", "it grows many times"],
    answer: (times: string, used: string) => `The RMSE of this block grows ${times} times and ${used} of 16 codes stay in use, because the scale is shared.`,
  },
};

export type Words = typeof en;

export const en = {
  text: "Several ways to write the same weights with few bits. Each has its own levels and its own price for scales. No format wins on every tensor and every measure: look at bits, MAE and RMSE together.",
  takeaway: (name: string, best: string, bestRmse: string, bestBits: string, few: string, fewRmse: string, fewBits: string) =>
    `On ${name}, ${best} has the smallest RMSE below 5.5 bits (${bestRmse} at ${bestBits} bits); ${few} needs the fewest bits (${fewBits}) at ${fewRmse}.`,
  same: (name: string, best: string, rmse: string, bits: string) =>
    `On ${name}, ${best} has both the smallest RMSE below 5.5 bits (${rmse}) and the fewest bits (${bits}).`,
  caption: "RMSE against bits per weight, scales included",
  axisBits: "bits per weight",
  axisError: "RMSE / standard deviation",
  levels: "weights as each format scales them, and its levels",
  chart: "RMSE and bits of each format",
  bits: "bits",
  names: {
    nf4: "NF4", "nf4-dq": "NF4 + double q.", fp4: "FP4", "int4-symmetric": "INT4 symmetric", "int4-asymmetric": "INT4 asymmetric",
    int8: "INT8, one scale", "llm-int8": "LLM.int8, row scales",
  },
  columns: { format: "format", bits: "bits per weight", mae: "MAE", rmse: "RMSE", relative: "RMSE / sigma", max: "largest error", snr: "SNR, dB" },
  explain: [
    "Symmetric INT4 spaces 15 levels evenly and leaves one code unused. Asymmetric INT4 stretches 16 levels from the block's minimum to its maximum, and pays with a second number a block.",
    "NF4 puts its levels where a normal distribution has its weights. It needs only one scale, so it reaches a small error at few bits on weights that look normal; on others it need not.",
    "FP4 spends levels on fine steps near zero and has wide gaps further out. It is the library's default all the same.",
    "MAE counts every miss alike, RMSE counts large misses more. A format may be ahead in one and behind in the other.",
  ],
  question: {
    ask: (name: string) => `On ${name}: which 4-bit format has the smallest RMSE?`,
    answer: (best: string, rmse: string, bits: string, nf4: string, nf4Bits: string) =>
      `${best}: ${rmse} at ${bits} bits. NF4 with double quantization has ${nf4} at ${nf4Bits} bits. Smaller error and fewer bits are two prizes.`,
  },
};

export type Words = typeof en;

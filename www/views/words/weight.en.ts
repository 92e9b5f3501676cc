export const en = {
  text: "A weight is divided by the largest magnitude of its block, absmax, so that it lies between −1 and\u00a01. There it takes the nearest of 16 levels, and only that level's number is stored: four bits. Drag it, type a value or use the arrow keys.",
  takeaway: (value: string, code: string, restored: string, off: string) =>
    `${value} is stored as ${code} and comes back as ${restored}: off by ${off} of absmax.`,
  caption: (type: string, name: string) => `weights of ${name} divided by their block's absmax, and the 16 levels of ${type}`,
  slider: "Weight, divided by absmax",
  typed: "Weight",
  own: "Back to the real weight",
  normal: "normal distribution",
  assumed: "what NF4 assumes",
  assumes: (assumed: string, real: string) =>
    `NF4 assumes a largest weight ${assumed} standard deviations out (dashed). In this tensor's blocks it lies ${real} out, so the outer levels are used less: a good code, not the best there could be.`,
  real: "real weights",
  names: {
    value: "weight", absmax: "absmax of its block", normalised: "weight / absmax", level: "nearest level", code: "code",
    nibble: "nibble", restored: "level × scale", error: "error",
  },
  column: { level: "level", code: "code", bits: "bits", lower: "from", upper: "to", share: "weights there" },
  table: (type: string) => `The 16 levels of ${type}`,
  explain: [
    "NF4's levels are not evenly spaced. They are quantiles of a normal distribution, close together near zero, where most weights are, and the outermost are −1 and 1 exactly.",
    "Zero is a level of its own, so a weight of 0 stays 0. Because of that there are eight levels above zero and seven below.",
    "FP4 is a tiny floating-point number: one sign bit, two exponent bits, one mantissa bit. Its levels sit at powers of two and halfway between.",
    "What comes back is level × absmax. The error is at most half the gap between two levels, times absmax: a block with a large absmax has coarse weights.",
  ],
  question: {
    ask: (n: string) => `How many different values can the ${n} weights of one block have after quantization?`,
    answer: (used: string) => `4 bits give 16 codes, so at most 16. In this block ${used} of them occur.`,
  },
};

export type Words = typeof en;

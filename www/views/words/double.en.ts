export const en = {
  text: "The scales are numbers too, one f32 for each block. Double quantization quantizes them: subtract their mean, find the nearest of 256 levels of an 8-bit map, and keep one f32 for each 256 scales. This is bnb_4bit_use_double_quant.",
  takeaway: (bits: string, before: string, after: string, saved: string, total: string, share: string, printed: string) =>
    `It saves ${bits} bit per weight (${before}\u00a0→\u00a0${after}), ${saved} of this model's ${total} or ${share}, and the printed footprint stays at ${printed}.`,
  caption: (name: string, from: string, to: string) => `${name}: absmax − mean of blocks ${from} to ${to}, before and after`,
  chart: "Block whose scale is looked at",
  scaleAt: (block: string, absmax: string, restored: string) => `block ${block}: absmax ${absmax}, restored ${restored}`,
  levels: "256 levels",
  before: "absmax − mean",
  after: "restored",
  zero: (mean: string) => `mean ${mean}`,
  figures: { absmax: "absmax", mean: "− mean", divided: "/ second-level absmax", code: "8-bit code", restored: "restored", error: "error of the scale" },
  memory: "bytes of the whole model",
  rows: { single: "really held, f32 scales", double: "really held, double quantization", printedSingle: "printed, f32 scales", printedDouble: "printed, double quantization" },
  columns: { block: "block", absmax: "absmax", code: "8-bit code", restored: "restored" },
  large: (saved: string, whole: string, share: string) => ` Of Llama 3.1 8B it saves ${saved} of ${whole}, ${share}.`,
  explain: (rmse: string, rmseDouble: string, large: string) => [
    "The mean is taken off first because all scales are positive: without it half of the 256 levels would stand idle.",
    "The 8-bit map is dynamic: its levels are dense near zero and sparse far from it, so that small and large differences both keep their leading digits.",
    "256 scales share one second-level absmax, so a scale costs 8 + 32 / 256 bits instead of 32.",
    ...(rmse === "" ? [] : [`The price: the weights' RMSE goes from ${rmse} to ${rmseDouble}.`]),
    `“Another 10 to 20 %”, as is sometimes said, is too much: 0.373 bit of 4.5 is 8 %, and less of a whole model with its 16-bit rest.${large}`,
  ],
  printed: {
    ask: "You turn double quantization on. What happens to the number that get_memory_footprint() prints?",
    options: ["it falls by 10 to 20 %", "it falls by about 8 %", "it does not move"],
    answer: (off: string, on: string) => `${off} before, ${on} after. The scales hang on the weight as quant_state, which is neither parameter nor buffer, so it never counted them.`,
  },
  saved: {
    ask: "And what is really saved, as a share of this model's 4-bit size?",
    answer: (share: string) => `${share}: the scales were a small part to begin with.`,
  },
};

export type Words = typeof en;

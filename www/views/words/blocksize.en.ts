export const en = {
  text: "Each block keeps one scale. Short blocks fit their weights better but pay for more scales; long ones are cheap and coarse. The chart shows both prices on the chosen tensor, for 32 to 4096 weights.",
  takeaway: (from: string, to: string, saved: string, more: string) =>
    `Going from blocks of ${from} to ${to} saves ${saved} bit per weight and makes the error ${more} larger.`,
  caption: (type: string, name: string) => `${type} on ${name}: RMSE against bits per weight`,
  single: "scales in f32",
  double: "double quantization",
  axisBits: "bits per weight",
  axisError: "RMSE",
  chart: "Blocksize",
  point: (size: string, bits: string, rmse: string) => `blocksize ${size}: ${bits} bits, RMSE ${rmse}`,
  columns: { blocksize: "blocksize", scales: "scales", blocks: "blocks", bits: "bits per weight", mae: "MAE", rmse: "RMSE", max: "largest error" },
  explain: [
    "A scale in f32 costs 32 bits a block: 32 / 64 = 0.5 bit per weight for blocks of 64, 32 / 4096 = 0.008 for blocks of 4096.",
    "The more weights share a scale, the larger their absmax is likely to be, and the wider apart the 16 levels stand.",
    "With double quantization a scale costs about 8 bits, so short blocks become affordable. transformers fixes the blocksize at 64.",
  ],
  question: {
    ask: (from: string, to: string) => `Blocks grow from ${from} to ${to} weights: 64 times fewer scales. How much larger does the error get?`,
    options: ["64 times", "about 8 times", "less than twice"],
    answer: (times: string) => `${times} times here. absmax grows only slowly with the number of weights it has to cover.`,
  },
};

export type Words = typeof en;

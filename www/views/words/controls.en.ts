export const en = {
  heading: "All controls",
  quantType: "quant_type",
  blocksize: "blocksize",
  doubleQuant: "double quantization",
  computeDtype: "compute_dtype",
  tensor: "Tensor",
  block: "Block",
  weight: "Weight in the block",
  of: (n: string) => `of ${n}`,
  motion: "Motion",
  noOriginals:
    "This checkpoint is already quantized and its originals are not here. What you see is computed from the restored weights, so errors against the original cannot be shown.",
  needsOriginals: "This comparison needs the weights as they were before quantization.",
  labFailed: "The weights could not be read",
  retry: "Try again",
};

export type Words = typeof en;

/**
 * The lab: single tensors of a checkpoint, read on demand in the precision they are stored in, and what
 * quantization makes of them. All values are computed in WebAssembly, in a worker of its own; typed arrays are
 * copies that the caller may keep. Names that mirror bitsandbytes or the crate keep their snake_case.
 */

import type { BitsAndBytesConfig, Footprint, FootprintOptions, Logits, ModelConfig, ModelSource } from "./types";

export type QuantType = "nf4" | "fp4";

/** How a tensor is quantized to 4 bits. */
export interface LabSettings {
  quant_type: QuantType;
  /** A power of two from 32 to 4096; bitsandbytes' own default is 64. */
  blocksize: number;
  double_quant: boolean;
}

export interface LabCall {
  signal?: AbortSignal;
}

/** A weight of the model, whatever number of tensors hold it in the files. */
export interface LabTensor {
  /** "model.layers.0.mlp.up_proj.weight". */
  name: string;
  /** (out_features, in_features) for a linear layer, also where the file holds packed codes. */
  shape: number[];
  elements: number;
  /** As stored: "F32", "BF16", "F16", "nf4", "fp4" or "int8". */
  format: string;
  /** In the files, scales included. */
  bytes: number;
  /**
   * Whether the values before quantization are there. A bitsandbytes checkpoint has none: codes, scales and
   * restored values can be shown then, errors and other settings cannot.
   */
  original: boolean;
  /** How the file has it in 4 bits; null in every other format. */
  stored: LabSettings | null;
  /** Whether `load_in_4bit` would replace it: the weight of a linear layer other than lm_head. */
  linear: boolean;
}

/** Difference between values and what is restored from their codes, as the crate's `ErrorStats`. */
export interface LabErrors {
  /** Mean absolute error. */
  mae: number;
  /** Root of the mean squared error. */
  rmse: number;
  max_error: number;
  /** 10 log10(signal / error) in decibels; Infinity without error. */
  snr_db: number;
  /** Scales included. */
  bits_per_weight: number;
}

/** The 16 levels and the 15 boundaries between them. */
export interface LabCodebook {
  quant_type: QuantType;
  /** Ascending. FP4 has two zeros, next to each other. */
  levels: Float32Array<ArrayBuffer>;
  /** The 4-bit code of each level; for NF4 simply 0 to 15. */
  codes: Uint8Array<ArrayBuffer>;
  /** Ascending; a value above `thresholds[i]` lies above `levels[i]`'s interval. */
  thresholds: Float32Array<ArrayBuffer>;
}

/** One weight, quantized. See `quantizeWeight`. */
export interface LabWeight {
  /** The value divided by absmax, as compared with the thresholds. */
  normalised: number;
  /** Position of the level among the ascending ones. */
  interval: number;
  /** 0 to 15. */
  code: number;
  level: number;
  /** `level * absmax`. */
  restored: number;
  /** `restored - value`. */
  error: number;
  /** The interval's boundaries; infinite at the ends. */
  lower: number;
  upper: number;
}

export interface LabOutlier {
  /** Position in the block. */
  position: number;
  /** The weight becomes so many times the block's absmax, keeping its sign. */
  factor: number;
}

/** One block, step by step. */
export interface LabBlock {
  index: number;
  /** Blocks of the tensor. */
  blocks: number;
  /** Position of the block's first element in the flattened tensor. */
  first: number;
  /** The settings in force: those of the file where no original is there. */
  settings: LabSettings;
  /** Before quantization, with the outlier; null without an original. */
  values: Float32Array<ArrayBuffer> | null;
  /** The largest magnitude; null when only its 8-bit code is stored. */
  absmax: number | null;
  /** 8-bit code of absmax with double quantization. */
  absmaxCode: number | null;
  /** The scale that codes are multiplied with: absmax, with double quantization restored from its code. */
  scale: number;
  /** Values divided by absmax, as compared with the thresholds. */
  normalised: Float32Array<ArrayBuffer> | null;
  codes: Uint8Array<ArrayBuffer>;
  /** Two codes to a byte, the first in the high nibble. */
  packed: Uint8Array<ArrayBuffer>;
  restored: Float32Array<ArrayBuffer>;
  /** `restored - values`. */
  errors: Float32Array<ArrayBuffer> | null;
  stats: LabErrors | null;
}

export interface LabSweepPoint extends LabErrors {
  blocksize: number;
  blocks: number;
}

export interface LabHistogram {
  /** Edges of the first and the last bin. */
  low: number;
  high: number;
  counts: Float64Array<ArrayBuffer>;
  /** Values outside. */
  below: number;
  above: number;
}

/** Double quantization of one tensor's scales. */
export interface LabDoubleQuant {
  settings: LabSettings;
  /** One a block, as computed; null when only the 8-bit codes are stored. */
  absmax: Float32Array<ArrayBuffer> | null;
  /** Mean of all scales, subtracted before the 8-bit codes are chosen (`nested_offset`). */
  offset: number;
  codes: Uint8Array<ArrayBuffer>;
  /** The 256 levels of the codes, ascending (`nested_quant_map`). */
  map: Float32Array<ArrayBuffer>;
  /** Second-level scales, one for each `nestedBlocksize` blocks. */
  nested: Float32Array<ArrayBuffer>;
  nestedBlocksize: number;
  /** `map[code] * nested + offset`. */
  restored: Float32Array<ArrayBuffer>;
  histogram: LabHistogram;
  /** Bytes of this tensor: codes and scales without and with double quantization; code tables left out. */
  bytes: { single: number; double: number };
  /** Bytes really held by the model, and what `get_memory_footprint()` prints. */
  model: { single: number; double: number; printedSingle: number; printedDouble: number };
  /** Of the restored scales; null without an original. */
  scaleErrors: LabErrors | null;
  /** Of the weights, without and with double quantization; null without an original. */
  weightErrors: { single: LabErrors; double: LabErrors } | null;
}

export type LabFormatName = "nf4" | "nf4-dq" | "fp4" | "int4-symmetric" | "int4-asymmetric" | "int8" | "llm-int8";

/** A format in the contest. */
export interface LabFormat extends LabErrors {
  name: LabFormatName;
  /** RMSE divided by the standard deviation of the tensor's weights. */
  relative_rmse: number;
  /** Ascending, in the units of `histogram`. */
  levels: Float32Array<ArrayBuffer>;
  /** How often each level is used. */
  counts: Float64Array<ArrayBuffer>;
  /**
   * Weights in [-1, 1] as the format scales them: by the absmax of block (4 bits), tensor (INT8) or row
   * (LLM.int8); asymmetric INT4 stretches minimum and maximum of the block to -1 and 1.
   */
  histogram: LabHistogram;
}

export type LabQuantity =
  /** The values themselves; restored ones without an original. */
  | "weight"
  /** Position of the code among the ascending levels, 0 to 15. */
  | "code"
  /** Absolute error; needs an original. */
  | "error"
  /** Scale of the element's block. */
  | "absmax";

export interface LabHeatmapRequest {
  what: LabQuantity;
  /** In elements: `x` counts columns (the last axis), `y` rows. By default the whole tensor. */
  rect?: { x: number; y: number; width: number; height: number };
  /** Cells wanted; the answer never has more than one cell an element. */
  width: number;
  height: number;
  /** What a cell of several elements shows: their mean, or (default) the one of largest magnitude, sign kept. */
  bin?: "max" | "mean";
}

export interface LabHeatmap {
  rect: { x: number; y: number; width: number; height: number };
  width: number;
  height: number;
  /** Row-major, `width * height`. */
  data: Float32Array<ArrayBuffer>;
  /** Extremes of `data`. */
  low: number;
  high: number;
}

/** Per row of the tensor (out_feature of a linear layer). */
export interface LabRows {
  absmax: Float32Array<ArrayBuffer>;
  mean: Float32Array<ArrayBuffer>;
  /** Standard deviation. */
  std: Float32Array<ArrayBuffer>;
  /** RMSE under the settings; null without an original or without settings. */
  rmse: Float32Array<ArrayBuffer> | null;
}

export interface LabDistribution extends LabHistogram {
  mean: number;
  std: number;
  absmax: number;
}

/** How two models' predictions differ over the same tokens; the first is the reference. */
export interface LogitsComparison {
  /** KL(a || b) in nats after each position. */
  kl: Float64Array<ArrayBuffer>;
  meanKl: number;
  /** The likeliest token after each position, by either. */
  topA: Uint32Array<ArrayBuffer>;
  topB: Uint32Array<ArrayBuffer>;
  /** Share of positions where both have the same likeliest token. */
  top1Agreement: number;
  /** The first position where they differ, or null. */
  firstDifference: number | null;
}

/** The signature of `openLab`: reads headers only. */
export type OpenLab = (source: ModelSource, options?: LabCall) => Promise<Lab>;

/** Every method rejects with a `NibblamaError`. Answers are kept per tensor and settings while the tensor is. */
export interface Lab {
  readonly config: ModelConfig;
  /** `quantization_config` of the files; null in full precision. */
  readonly quantization: BitsAndBytesConfig | null;
  /** In the model's order: embedding, layers, norm, lm_head. */
  readonly tensors: readonly LabTensor[];
  /** Settles when the worker is gone: with the error after a crash, with undefined after `dispose()`. */
  readonly closed: Promise<Error | undefined>;

  codebook(quantType: QuantType): Promise<LabCodebook>;

  /** Fetches a tensor before it is needed; every other method does so by itself. */
  prepare(tensor: string, options?: LabCall & { onProgress?: (loaded: number, total: number) => void }): Promise<void>;
  block(
    tensor: string,
    index: number,
    settings: LabSettings,
    options?: LabCall & { outlier?: LabOutlier },
  ): Promise<LabBlock>;
  /** Blocksizes 32 to 4096. */
  blocksizeSweep(
    tensor: string,
    settings: Pick<LabSettings, "quant_type" | "double_quant">,
    options?: LabCall,
  ): Promise<LabSweepPoint[]>;
  /** `settings.double_quant` is not looked at: both ways are compared. */
  doubleQuant(tensor: string, settings: LabSettings, options?: LabCall & { bins?: number }): Promise<LabDoubleQuant>;
  /** Blocksize applies to the formats that have blocks; the rest of the settings is the formats' own. */
  contest(
    tensor: string,
    settings: Pick<LabSettings, "blocksize">,
    options?: LabCall & { bins?: number },
  ): Promise<LabFormat[]>;
  heatmap(tensor: string, request: LabHeatmapRequest, settings: LabSettings, options?: LabCall): Promise<LabHeatmap>;
  rows(tensor: string, settings?: LabSettings, options?: LabCall): Promise<LabRows>;
  histogram(tensor: string, options?: LabCall & { bins?: number }): Promise<LabDistribution>;

  /** Both must have the same shape; `a` is the reference. */
  compareLogits(a: Logits, b: Logits, options?: LabCall): Promise<LogitsComparison>;
  /** Sizes of this model, from its configuration; without options as it is stored. */
  footprint(options?: FootprintOptions): Promise<Footprint>;

  /** Ends the worker. Running calls reject with `"disposed"`. */
  dispose(): void;
}

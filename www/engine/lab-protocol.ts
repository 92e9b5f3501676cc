/** The messages between page and the lab's worker. */

import type { PostedSource, ToPage } from "./protocol";
import type {
  LabBlock, LabCodebook, LabDistribution, LabDoubleQuant, LabFormat, LabHeatmap, LabHeatmapRequest, LabOutlier,
  LabRows, LabSettings, LabSweepPoint, LabTensor, LogitsComparison, QuantType,
} from "./lab-types";
import type { BitsAndBytesConfig, Footprint, Logits, ModelConfig, VariantName } from "./types";

/** Name of the lab's worker, which runs the same script as the model's. */
export const LAB_WORKER = "nibblama-lab";

/** What can be asked of the worker, with the answer to each. */
export interface LabCalls {
  start: { request: { variant: VariantName }; result: null };
  open: {
    request: { source: PostedSource };
    result: { config: ModelConfig; quantization: BitsAndBytesConfig | null; tensors: LabTensor[] };
  };
  codebook: { request: { quantType: QuantType }; result: LabCodebook };
  prepare: { request: { tensor: string }; result: null };
  block: {
    request: { tensor: string; index: number; settings: LabSettings; outlier: LabOutlier | null };
    result: LabBlock;
  };
  blocksizeSweep: {
    request: { tensor: string; settings: Pick<LabSettings, "quant_type" | "double_quant"> };
    result: LabSweepPoint[];
  };
  doubleQuant: { request: { tensor: string; settings: LabSettings; bins: number }; result: LabDoubleQuant };
  contest: { request: { tensor: string; blocksize: number; bins: number }; result: LabFormat[] };
  heatmap: { request: { tensor: string; map: LabHeatmapRequest; settings: LabSettings }; result: LabHeatmap };
  rows: { request: { tensor: string; settings: LabSettings | null }; result: LabRows };
  histogram: { request: { tensor: string; bins: number }; result: LabDistribution };
  compareLogits: { request: { a: Logits; b: Logits }; result: LogitsComparison };
  footprint: {
    request: { quantization: BitsAndBytesConfig | null; dtype: string | null; context: number };
    result: Footprint;
  };
}

export type LabCallName = keyof LabCalls;

export type ToLab =
  | { [Name in LabCallName]: { type: "call"; id: number; name: Name; request: LabCalls[Name]["request"] } }[LabCallName]
  | { type: "abort"; id: number };

/** Bytes of a weight, while it is read. */
export interface LabReport {
  loaded: number;
  total: number;
}

export type FromLab = ToPage<LabReport, LabCalls[LabCallName]["result"]>;

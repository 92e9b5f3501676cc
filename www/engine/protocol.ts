/** The messages between page and worker: tagged, and complete. Nothing else passes between them. */

import type { ErrorCode, ErrorDetails } from "./errors";
import type {
  AdapterInfo,
  Arithmetic,
  BitsAndBytesConfig,
  ComputeDtype,
  DesignTiming,
  Footprint,
  GeneratedToken,
  Inspection,
  KvCacheDtype,
  Limits,
  LoadProgress,
  Logits,
  MemoryLedger,
  ModelFacts,
  NetworkOptions,
  Perplexity,
  SessionInfo,
  StoredTensor,
  TensorSummary,
  TokenizedPrompt,
  VariantInfo,
  VariantName,
} from "./types";

/** A {@link ModelSource} that can be posted: URLs are absolute, and a folder's URL ends in a slash. */
export type PostedSource =
  | { kind: "url"; url: string; files: readonly string[] | null }
  | { kind: "files"; files: readonly File[] }
  | { kind: "directory"; directory: FileSystemDirectoryHandle }
  | { kind: "hub"; id: string; revision: string; token: string | null; base: string }
  | { kind: "stored"; id: string };

export type PostedPrompt =
  | { kind: "text"; text: string }
  | { kind: "messages"; messages: readonly { role: string; content: string }[] }
  | { kind: "ids"; ids: readonly number[] };

/** Sampling and stopping; what is undefined comes from the model's `generation_config.json`. */
export interface PostedGenerateOptions {
  max_new_tokens: number | undefined;
  do_sample: boolean | undefined;
  temperature: number | undefined;
  top_k: number | undefined;
  top_p: number | undefined;
  min_p: number | undefined;
  repetition_penalty: number | undefined;
  seed: number;
  stop_strings: readonly string[];
  logprobs: number | null;
  n: number;
  overflow: "end" | "error" | "slide";
  reuse: "same-bits" | "all" | "none";
}

/** How a model is to be loaded. */
export interface LoadRequest {
  source: PostedSource;
  quantization: BitsAndBytesConfig | null;
  computeDtype: ComputeDtype;
  arithmetic: Arithmetic | null;
  kvCacheDtype: KvCacheDtype | null;
  context: number | null;
  store: "opfs" | "cache" | null;
  network: NetworkOptions;
  limits: Limits;
}

/** What can be asked of the worker, with the answer to each. */
export interface Calls {
  start: {
    /** `wasm`: the build's bytes, where it has no address of its own. */
    request: { variant: VariantName; threads: number | null; wasm: ArrayBuffer | null };
    result: VariantInfo;
  };
  load: {
    request: LoadRequest;
    result: { facts: ModelFacts; fastDesigns: DesignTiming[] };
  };
  footprint: {
    request: { config: string; quantization: BitsAndBytesConfig | null; dtype: string | null; context: number };
    result: Footprint;
  };
  generate: {
    request: { prompt: PostedPrompt; options: PostedGenerateOptions };
    result: null;
  };
  tokenize: { request: { prompt: PostedPrompt; addSpecialTokens: boolean }; result: TokenizedPrompt };
  detokenize: { request: { ids: readonly number[]; skipSpecialTokens: boolean }; result: string };
  logits: { request: { prompt: PostedPrompt; all: boolean; arithmetic: Arithmetic | null }; result: Logits };
  perplexity: { request: { text: string; context: number | null; arithmetic: Arithmetic }; result: Perplexity };
  setArithmetic: { request: { arithmetic: Arithmetic }; result: null };
  memory: { request: null; result: MemoryLedger };
  layers: { request: null; result: string };
  tensors: { request: null; result: TensorSummary[] };
  storedTensors: { request: { module: string }; result: StoredTensor[] };
  loadAdapter: { request: { name: string; source: PostedSource }; result: AdapterInfo };
  setAdapter: { request: { name: string | null; scale: number }; result: null };
  deleteAdapter: { request: { name: string }; result: null };
  adapters: { request: null; result: string[] };
  inspect: { request: LoadRequest; result: Inspection };
  embed: { request: { prompt: PostedPrompt }; result: Float32Array<ArrayBuffer> };
  saveSession: { request: null; result: Blob };
  restoreSession: { request: { file: Blob }; result: SessionInfo };
  exportStart: {
    request: { quantized: boolean; adapter: string | null };
    result: { files: { name: string; bytes: Uint8Array<ArrayBuffer> }[]; header: Uint8Array<ArrayBuffer>; total: number };
  };
  /** The next piece of the weight file; null after the last. */
  exportNext: { request: null; result: Uint8Array<ArrayBuffer> | null };
}

export type CallName = keyof Calls;

/** Page to worker. */
export type ToWorker =
  | { [Name in CallName]: { type: "call"; id: number; name: Name; request: Calls[Name]["request"] } }[CallName]
  | { type: "abort"; id: number };

/** An error on its way through `postMessage`. */
export interface PostedError extends ErrorDetails {
  code: ErrorCode;
  reason: string;
}

/** What a call reports before it ends. */
export type Report =
  /** All that `start` needs is there, and its threads are next. */
  | { kind: "threads" }
  | { kind: "progress"; progress: LoadProgress }
  /** Tokens of a prompt, or of a text to be scored. */
  | { kind: "prefill"; done: number; total: number }
  | { kind: "tokens"; tokens: GeneratedToken[] };

/** Worker to page. Each call ends with exactly one `result` or `error`, unless the worker crashes. */
export type ToPage<R = Report, Result = unknown> =
  | { type: "report"; id: number; report: R }
  | { type: "result"; id: number; result: Result }
  | { type: "error"; id: number; error: PostedError }
  /** The module trapped: nothing more will come from this worker. */
  | { type: "crash"; reason: string };

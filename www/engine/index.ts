/**
 * Llama models quantized as bitsandbytes does it, running in a dedicated worker of this page.
 *
 * ```ts
 * const model = await loadModel("models/stories-nf4/");
 * for await (const { text } of model.generate("Once upon a time")) out.append(text);
 * await model.dispose();
 * ```
 */

import type {
  AdapterInfo,
  AdapterOptions,
  Arithmetic,
  ExportOptions,
  ExportTarget,
  Footprint,
  FootprintOptions,
  GenerateOptions,
  GeneratedToken,
  LoadOptions,
  Logits,
  LogitsOptions,
  MemoryLedger,
  ModelFacts,
  ModelSource,
  Perplexity,
  PerplexityOptions,
  Prompt,
  SessionInfo,
  StoredTensor,
  TensorSummary,
  TokenizedPrompt,
  TokenizeOptions,
  VariantInfo,
} from "./types";

export * from "./types";
export * from "./lab-types";
export { openLab, quantizeWeight } from "./lab";
export { NibblamaError, type ErrorCode, type ErrorDetails } from "./errors";
export { footprint, inspectModel, loadModel } from "./client";
export { deleteStored, listStored, storageEstimate } from "./store";

/** The signature of {@link loadModel}. */
export type LoadModel = (source: ModelSource, options?: LoadOptions) => Promise<Model>;

/**
 * The signature of {@link footprint}: sizes of the model that a `config.json` describes, before any weight is
 * there. `config` is the file's text or its parsed content.
 */
export type FootprintOf = (config: string | object, options?: FootprintOptions) => Promise<Footprint>;

/**
 * A loaded model. Calls queue: one runs at a time. Every method rejects with a `NibblamaError`; after `"crashed"`
 * the model is gone and `loadModel` starts afresh.
 */
export interface Model {
  readonly facts: ModelFacts;
  readonly variant: VariantInfo;
  /** Settles when the worker is gone: with the error after a crash, with undefined after `dispose()`. */
  readonly closed: Promise<Error | undefined>;

  /**
   * Continues a prompt. Leaving the loop, or aborting the signal, stops the work; an aborted iteration throws a
   * `NibblamaError` with code `"aborted"`.
   */
  generate(prompt: Prompt, options?: GenerateOptions): AsyncIterableIterator<GeneratedToken>;

  tokenize(prompt: Prompt, options?: TokenizeOptions): Promise<TokenizedPrompt>;
  /** Special tokens are left out unless asked for. */
  detokenize(ids: readonly number[], options?: { skipSpecialTokens?: boolean }): Promise<string>;

  /** Logits after the prompt, or after each of its tokens, from an empty kv cache. */
  logits(prompt: Prompt, options?: LogitsOptions): Promise<Logits>;

  /**
   * Perplexity of a text, in exact arithmetic unless another is asked for, with the adapter in use. Lines of `<|endoftext|>` separate stories,
   * each scored by itself after the model's start token.
   */
  perplexity(text: string, options?: PerplexityOptions): Promise<Perplexity>;

  /** How `generate` computes from its next token on; rejects with `"invalid-argument"` beside an emulated dtype. */
  setArithmetic(arithmetic: Arithmetic): Promise<void>;

  memory(): Promise<MemoryLedger>;
  /** The modules as `print(model)` shows them. */
  layers(): Promise<string>;
  tensors(): Promise<TensorSummary[]>;
  /** A module's tensors ("model.layers.0.mlp.up_proj") as bitsandbytes stores them. */
  storedTensors(module: string): Promise<StoredTensor[]>;

  /** Reads a PEFT LoRA adapter and keeps it under `name`, not yet in use. */
  loadAdapter(name: string, source: ModelSource, options?: AdapterOptions): Promise<AdapterInfo>;
  /**
   * Takes an adapter into use, or none; works between tokens of a running generation too. `scale` multiplies what
   * the adapter adds; 1 by default.
   */
  setAdapter(name: string | null, scale?: number): Promise<void>;
  deleteAdapter(name: string): Promise<void>;
  adapters(): Promise<string[]>;

  /** The mean of the last hidden states over the prompt's tokens, (hidden_size,), computed exactly. */
  embed(prompt: Prompt, options?: { signal?: AbortSignal }): Promise<Float32Array<ArrayBuffer>>;

  /** The text so far with its keys and values, as one file; a prompt that begins with that text is not read again. */
  saveSession(): Promise<Blob>;
  /**
   * Goes on where {@link Model.saveSession} was called: with the same model and adapter, else it throws
   * `"session-mismatch"`. A damaged file is refused.
   */
  restoreSession(file: Blob): Promise<SessionInfo>;

  /** Writes the model, or what an adapter makes of it, as a checkpoint that transformers loads. */
  export(target: ExportTarget, options?: ExportOptions): Promise<void>;

  /** Ends the worker and gives its memory back. Running calls reject with `"disposed"`. */
  dispose(): Promise<void>;
}

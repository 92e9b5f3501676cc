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
export { footprint, loadModel } from "./client";

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
   * Perplexity of a text, in exact arithmetic, with the adapter in use. Lines of `<|endoftext|>` separate stories,
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
  /** Takes an adapter into use, or none; works between tokens of a running generation too. */
  setAdapter(name: string | null): Promise<void>;
  deleteAdapter(name: string): Promise<void>;
  adapters(): Promise<string[]>;

  /** Ends the worker and gives its memory back. Running calls reject with `"disposed"`. */
  dispose(): Promise<void>;
}

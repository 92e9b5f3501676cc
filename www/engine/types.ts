/**
 * The data that the engine takes and gives. What mirrors a file, transformers or the command line's `--json`
 * output keeps its snake_case names; what is the engine's own is camelCase. Sizes are bytes, times milliseconds.
 */

/** transformers' `BitsAndBytesConfig`, with the blocksize that transformers fixes at 64. */
export interface BitsAndBytesConfig {
  load_in_4bit?: boolean;
  load_in_8bit?: boolean;
  bnb_4bit_quant_type?: "nf4" | "fp4";
  bnb_4bit_use_double_quant?: boolean;
  bnb_4bit_compute_dtype?: ComputeDtype;
  /** A power of two from 32 to 4096. */
  bnb_4bit_blocksize?: number;
  llm_int8_threshold?: number;
  /** Modules left unquantized; by default `lm_head`. */
  llm_int8_skip_modules?: string[] | null;
}

/**
 * How products with 4-bit weights are computed in float32: with dequantized weights in f32, the same bits on every
 * machine; with 14-bit integers, off by 2e-4 at most; or with 7- and 8-bit integers, off by 1e-2 at most (relative
 * L2 error of one product).
 */
export type Arithmetic = "exact" | "near-exact" | "fast";

export type KvCacheDtype = "float32" | "int16";

export type ComputeDtype = "float32" | "bfloat16" | "float16";

/**
 * How linear weights are held. `null` keeps what is stored: a checkpoint in full precision stays in it, one that
 * is quantized already stays so. The names stand for blocksize 64; `-dq` adds double quantization.
 */
export type Quantization = BitsAndBytesConfig | "nf4" | "nf4-dq" | "fp4" | "fp4-dq" | "int8" | null;

/**
 * Where a model's files are: a folder's URL, the same with the names of the files in it (which saves asking for
 * optional ones that are not there), a model of a Hugging Face Hub, files that were dropped or picked, a folder that
 * was picked or is in the origin's private file system, or a model that {@link listStored} names.
 */
export type ModelSource =
  | string
  | URL
  | { url: string | URL; files: readonly string[] }
  | HubModel
  | readonly File[]
  | FileSystemDirectoryHandle
  | { stored: string };

export interface HubModel {
  /** "organization/name". */
  hub: string;
  /** Branch, tag or commit. Default: "main". */
  revision?: string;
  /** For private models; kept in memory only, and sent to `base` alone. */
  token?: string;
  /** Default: "https://huggingface.co/". */
  base?: string | URL;
}

export type LoadPhase =
  /** The WebAssembly build is fetched and started. */
  | "engine"
  /** Configuration, tokenizer and tensor headers are read. */
  | "headers"
  /** Tensors stream in; each is quantized as soon as it is whole. */
  | "weights"
  | "ready";

export interface LoadProgress {
  phase: LoadPhase;
  /** Bytes of weights read so far, and in all; the total is 0 until the headers are known. */
  loaded: number;
  total: number;
  /** Tensors that are done, and in all. */
  tensors: number;
  tensorsTotal: number;
  /** The last tensor that became whole. */
  tensor?: string;
  /** From the start of `loadModel`. */
  time: number;
  /** Bytes a second over the last seconds, once known. */
  rate?: number;
  /** Milliseconds that are left at that rate. */
  remaining?: number;
  /** What the headers say, as soon as they are read: before any weight. */
  facts?: ModelFacts;
}

export interface LoadOptions {
  /** Default: `null`, keep what is stored. */
  quantization?: Quantization;
  /** Default: `"float32"`. The others are emulated: results are rounded as a GPU would, and slower. */
  computeDtype?: ComputeDtype;
  /** For `generate`; default: `"near-exact"`. Not to be combined with an emulated `computeDtype`. */
  arithmetic?: Arithmetic;
  /**
   * What keys and values are held as: f32, or 14-bit integers in 16 bits with a scale for each key and each value, which
   * take half the memory and are faster to attend to. By default int16 beside near-exact and fast arithmetic, and
   * float32 beside exact arithmetic or an emulated `computeDtype`.
   */
  kvCacheDtype?: KvCacheDtype;
  /** Tokens the kv cache has room for; by default the model's `max_position_embeddings`, at most 2048. */
  context?: number;
  /** Threads to use; by default one per core, at most 8. 1 takes the build without threads. */
  threads?: number;
  /** Take this build instead of the best that starts; for tests and comparisons. */
  variant?: VariantName;
  /**
   * Keep the model on this device, quantized as asked, and take it from there the next time, without the network; an
   * interrupted load goes on where it was. Default: true for a Hub, else false.
   */
  store?: boolean;
  /** Where to keep it; by default the origin's private file system, or the Cache API in browsers without one. */
  storePlace?: "opfs" | "cache";
  /** How hard downloads try; what is left out stays as it is. */
  network?: NetworkOptions;
  /** What may be used, where the page knows better than the browser says. */
  limits?: Limits;
  onProgress?: (progress: LoadProgress) => void;
  signal?: AbortSignal;
}

export interface NetworkOptions {
  /** Requests under way at once for one file. Default: 3. */
  connections?: number;
  /** Ask for files as a whole, not in ranges: slower on some networks, but browsers keep what they get. Default: false. */
  whole?: boolean;
  /** Requests in a row that may fail without a new byte. Default: 5. */
  attempts?: number;
  /** Milliseconds before the second attempt, doubled for each one after it. Default: 250. */
  backoff?: number;
  /** Milliseconds without a byte after which a connection counts as lost. Default: 20,000. */
  stall?: number;
}

/** Upper bounds in bytes. */
export interface Limits {
  /** Of the WebAssembly memory; by default 4 GiB. */
  memory?: number;
  /** Of the device's memory; by default what `navigator.deviceMemory` says, where it says less than 8 GiB. */
  device?: number;
  /** Of what may be stored; by default what `navigator.storage.estimate()` leaves. */
  storage?: number;
}

export interface InspectOptions
  extends Pick<
    LoadOptions,
    "quantization" | "computeDtype" | "arithmetic" | "kvCacheDtype" | "context" | "network" | "limits" | "store" | "storePlace" | "signal"
  > {}

/** What loading a model would take, from its configuration and headers alone. */
export interface Inspection {
  facts: ModelFacts;
  bytes: PlannedBytes;
  fits: boolean;
  /** Why it does not fit; empty when it does. */
  reasons: Misfit[];
}

export interface PlannedBytes {
  /** To be downloaded or read. */
  download: number;
  /** Codes and unquantized weights as they will be held. */
  weights: number;
  /** Scales and code tables of quantized layers. */
  scales: number;
  kv_cache: number;
  /** Activations and other buffers while generating, at their largest. */
  scratch: number;
  /** The sum of the four above. */
  total: number;
  /**
   * Of the WebAssembly memory, while loading or running, whichever is more. `logits`, `perplexity` and `embed` are
   * counted too: where no `kvCacheDtype` was asked for, exact arithmetic turns a cache of int16 into one of float32.
   * Not counted are logits after every token of a prompt that int8 layers read at once, and adapters.
   */
  peak: number;
  /** What storing it takes. */
  stored: number;
}

export interface Misfit {
  kind: "memory" | "device" | "storage";
  needed: number;
  available: number;
}

/** A model on this device. */
export interface StoredModel {
  id: string;
  /** Where it came from. */
  source: string;
  /** Milliseconds since 1970. */
  created: number;
  /** False for a load that was interrupted and can go on. */
  complete: boolean;
  bytes: number;
  facts: ModelFacts | null;
}

/** `config.json` as the engine understood it. */
export interface ModelConfig {
  vocab_size: number;
  hidden_size: number;
  intermediate_size: number;
  num_hidden_layers: number;
  num_attention_heads: number;
  num_key_value_heads: number;
  head_dim: number;
  max_position_embeddings: number;
  rms_norm_eps: number;
  tie_word_embeddings: boolean;
  attention_bias: boolean;
  mlp_bias: boolean;
  /** "float32", "bfloat16" or "float16": what full-precision weights are stored as. */
  dtype: string | null;
  bos_token_id: number | null;
  eos_token_ids: number[];
}

/** What is known about a model before its weights are there. */
export interface ModelFacts {
  config: ModelConfig;
  /** `config.json` as it is, for `footprint()`: with every key, also those that the engine does not read. */
  rawConfig: Readonly<Record<string, unknown>>;
  generation: GenerationDefaults;
  /** `quantization_config` in force: the stored one, or the one asked for; null in full precision. */
  quantization: BitsAndBytesConfig | null;
  /** Bytes of all weight files. */
  fileBytes: number;
  tensors: number;
  parameters: number;
  /** Whether the tokenizer brings a chat template. */
  chatTemplate: boolean;
  /** Under which id the model is kept on this device; null when it is not. */
  stored: string | null;
}

/** `generation_config.json`, completed with transformers' defaults. */
export interface GenerationDefaults {
  do_sample: boolean;
  temperature: number;
  top_k: number;
  top_p: number;
  min_p: number;
  repetition_penalty: number;
  max_new_tokens: number | null;
  eos_token_ids: number[];
}

export interface ChatMessage {
  role: string;
  content: string;
}

/** Text, chat messages (rendered with the model's own template), or token ids as they are. */
export type Prompt = string | readonly ChatMessage[] | readonly number[];

/** transformers' names; what is left out comes from the model's `generation_config.json`. */
export interface GenerateOptions {
  max_new_tokens?: number;
  do_sample?: boolean;
  temperature?: number;
  /** 0 turns it off. */
  top_k?: number;
  top_p?: number;
  min_p?: number;
  repetition_penalty?: number;
  /** Default 0. The same seed gives the same text on every machine. */
  seed?: number;
  stop_strings?: readonly string[];
  /** Log-probabilities of each token and of this many most likely ones, before temperature and penalties. */
  logprobs?: number;
  /** Texts to write from the one prompt, one after the other; the i-th takes `seed + i`. Default: 1. */
  n?: number;
  /**
   * When the kv cache is full: end with reason `"context"` (the default), throw `"context-full"`, or go on with a
   * window that keeps the BOS and the newer half of the text.
   */
  overflow?: "end" | "error" | "slide";
  /**
   * What the prompt has in common with the text before need not be read again. `"same-bits"` (the default) takes
   * only what gives exactly the result of reading everything; `"all"` also takes what was generated token by token,
   * which differs in the last bits unless the arithmetic is exact; `"none"` reads everything.
   */
  reuse?: "same-bits" | "all" | "none";
  /** Called while a prompt is read: first with what of it need not be, because the text before began with it. */
  onPrefill?: (done: number, total: number) => void;
  signal?: AbortSignal;
}

export type FinishReason =
  /** The model ended the text. */
  | "eos"
  /** `max_new_tokens` was reached. */
  | "length"
  /** A stop string was reached. */
  | "stop"
  /** The kv cache is full. */
  | "context";

export interface GeneratedToken {
  token: number;
  /** Text that became whole with this token; empty while a character's bytes are incomplete. */
  text: string;
  /** Since `generate` was called. */
  time: number;
  /** On the last item of each text. */
  finish?: FinishReason;
  /** Which of the `n` texts it belongs to; absent with one. */
  candidate?: number;
  /** Natural logarithm of its probability; with `logprobs`. */
  logprob?: number;
  /** The most likely tokens in its place, the best first; with `logprobs`. */
  top_logprobs?: TokenLogprob[];
  /** Tokens of the text before it that the sliding window dropped just now. */
  dropped?: number;
}

export interface TokenLogprob {
  token: number;
  /** The piece of text behind it. */
  text: string;
  logprob: number;
}

/** A session as it was restored. */
export interface SessionInfo {
  /** Tokens whose keys and values are there. */
  tokens: number;
  text: string;
}

export interface ExportOptions {
  /** `"bitsandbytes"` (the default) writes a quantized model as it is held, `"bfloat16"` its values. */
  format?: "bitsandbytes" | "bfloat16";
  /** Merge this adapter into what is written; the model itself stays as it is. */
  adapter?: string;
  onProgress?: (written: number, total: number) => void;
  signal?: AbortSignal;
}

/** Where an export goes: a folder, or a function that opens a stream for each of the files. */
export type ExportTarget =
  | FileSystemDirectoryHandle
  | ((file: string) => WritableStream<Uint8Array<ArrayBuffer>> | Promise<WritableStream<Uint8Array<ArrayBuffer>>>);

export interface TokenizeOptions {
  /** Adds what the tokenizer's template adds, such as a BOS. Default: true. */
  addSpecialTokens?: boolean;
}

export interface TokenizedPrompt {
  ids: number[];
  /** The piece of text behind each id, special tokens by name. */
  tokens: string[];
  /** The text that was encoded: for chat messages what the template made of them. */
  text: string;
}

export interface LogitsOptions {
  /** Logits after each token of the prompt, not only the last. */
  all?: boolean;
  /** Default: `"exact"`, whatever `generate` uses; an emulated `computeDtype` has its own. */
  arithmetic?: Arithmetic;
  signal?: AbortSignal;
}

/** Next-token logits in f32, row-major. */
export interface Logits {
  data: Float32Array<ArrayBuffer>;
  /** Positions (1, or one per token) and vocabulary size. */
  shape: [number, number];
}

export interface PerplexityOptions {
  /** Tokens of the text that are scored, of all. */
  onProgress?: (done: number, total: number) => void;
  /** Widest window in tokens; by default the kv cache's. Longer texts are scored in windows that overlap by half. */
  context?: number;
  /** Default: `"exact"`. Others show what they cost; beside an emulated compute dtype it is passed over. */
  arithmetic?: Arithmetic;
  signal?: AbortSignal;
}

/** How well a model predicts a text; equal to `nibblama eval --json`. */
export interface Perplexity {
  perplexity: number;
  /** Mean negative log-likelihood, nats a token. */
  nll: number;
  /** Scored. */
  tokens: number;
  stories: number;
  context: number;
}

/** What a loaded model holds, in bytes; equal to `nibblama inspect --json` for what both count. */
export interface MemoryLedger {
  packed_codes: number;
  absmax: number;
  nested_absmax: number;
  quant_maps: number;
  int8_codes: number;
  scb: number;
  floats_16bit: number;
  floats_32bit: number;
  lora: number;
  /** Activations and other buffers of the model. */
  scratch: number;
  kv_cache: number;
  /** Sum of all above: what the model holds. */
  total: number;
  /** Code, stack, allocator and freed room inside the WebAssembly memory: `wasm_memory - total`. */
  other: number;
  /** Size of the WebAssembly memory: what the tab really uses for the model. */
  wasm_memory: number;
}

export interface FootprintOptions {
  /** Default: `null`, which means full precision, or what the configuration says it is quantized with. */
  quantization?: Quantization;
  /** What unquantized tensors are stored as; by default what `config.json` says, else "bfloat16". */
  dtype?: "float32" | "bfloat16" | "float16";
  /** Tokens of kv cache. Default: 0. */
  context?: number;
}

/** Sizes from a configuration alone. */
export interface Footprint {
  parameters: number;
  /** What transformers' `get_memory_footprint()` prints: it leaves out scales and code books. */
  get_memory_footprint: number;
  /** What is really held, without kv cache: the sum of the kinds below. */
  true_bytes: number;
  packed_codes: number;
  absmax: number;
  nested_absmax: number;
  quant_maps: number;
  int8_codes: number;
  scb: number;
  floats_16bit: number;
  floats_32bit: number;
  kv_cache: number;
  modules: ModuleFootprint[];
}

export interface ModuleFootprint {
  /** As in `print(model)`: "model.layers.0.self_attn.q_proj". */
  path: string;
  /** "Embedding", "Linear", "Linear4bit", "Linear8bitLt" or "LlamaRMSNorm". */
  kind: string;
  parameters: number;
  bytes: number;
  /** What `get_memory_footprint()` counts of it. */
  printed_bytes: number;
}

/** A tensor as it is held. */
export interface TensorSummary {
  name: string;
  shape: number[];
  /** "nf4", "fp4", "int8", "BF16", "F16" or "F32". */
  format: string;
  bytes: number;
  blocksize: number | null;
  double_quant: boolean;
}

/** A quantized module's tensors in the form bitsandbytes stores them. */
export interface StoredTensor {
  name: string;
  /** "U8", "F32", ... as in a safetensors header. */
  dtype: string;
  shape: number[];
  bytes: Uint8Array<ArrayBuffer>;
}

export interface AdapterOptions {
  signal?: AbortSignal;
}

export interface AdapterInfo {
  name: string;
  bytes: number;
}

export type VariantName = "relaxed-threads" | "simd128-threads" | "relaxed" | "simd128";

/** How fast one way to multiply with 4-bit weights in 8-bit integers is on this machine, on one thread. */
export interface DesignTiming {
  /**
   * "i16" and "i8-split" (halves of 14-bit numbers) are near-exact arithmetic's, which takes the faster; the others add 8-bit
   * products by twos or by fours.
   */
  design: "i16" | "i8-split" | "i8-pairs" | "i8-quads";
  /** GB of packed codes and scales read in a second. */
  gigabytesPerSecond: number;
  /** Whether fast arithmetic uses it. */
  chosen: boolean;
}

/** Which build of the engine runs, and why. */
export interface VariantInfo {
  name: VariantName;
  simd: "relaxed" | "simd128";
  /** Threads that compute; fewer than asked for where some did not start, 1 in a build without them. */
  threads: number;
  /** The kernels inside: "scalar", "simd128" or "relaxed-simd". */
  isa: string;
  /** The designs of integer arithmetic as they were timed when the model was loaded; none where this build has only one. */
  fastDesigns: DesignTiming[];
  /** The builds that were passed over, the best first, each with the reason in words. */
  rejected: { name: VariantName; reason: string }[];
}

/** The page's side: promises, async iterables and abort over the messages of protocol.ts. */

import { NibblamaError, type ErrorDetails } from "./errors";
import type { Model } from "./index";
import type { Calls, LoadRequest, PostedPrompt, PostedSource, Report, ToPage } from "./protocol";
import { inline } from "./inline";
import { withRate } from "./progress";
import { storePlace } from "./store";
import { TokenStream } from "./stream";
import type {
  BitsAndBytesConfig,
  Footprint,
  FootprintOptions,
  GenerateOptions,
  HubModel,
  InspectOptions,
  Inspection,
  LoadOptions,
  ModelFacts,
  ModelSource,
  Prompt,
  Quantization,
  VariantInfo,
  VariantName,
} from "./types";
import { variantsByPreference } from "./variants";

interface Pending<R> {
  resolve(result: unknown): void;
  reject(error: unknown): void;
  report(report: R): void;
  unlisten(): void;
}

interface CallOptions<R> {
  signal?: AbortSignal | undefined;
  /** How long the worker may take to answer an abort before the call settles without it; with 0 it is left alone. */
  grace?: number;
  onReport?: ((report: R) => void) | undefined;
}

/** The calls of a worker, and what it answers. */
type Protocol<C> = { [Name in keyof C]: { request: unknown; result: unknown } };

/** The Hub's own address; it is asked only when a page names a model of it. */
const HUB = "https://huggingface.co/";

/** How long the worker may take to answer an abort before the call settles without it. */
const ABORT_GRACE = 150;
/** How long after an abort before a worker that does not answer is given up. */
const STUCK = 5000;
/** How long a build's threads may take to start. Firefox 153 may never come back from opening a worker inside a worker. */
const THREADS_LIMIT = 4000;

/** One worker and the calls under way in it; what it sends is as in protocol.ts. */
export class Connection<C extends Protocol<C> = Calls, R = Report> {
  readonly closed: Promise<Error | undefined>;
  #worker: Worker;
  #pending = new Map<number, Pending<R>>();
  #nextId = 1;
  #end: Error | undefined;
  #settleClosed: (error: Error | undefined) => void = () => undefined;

  constructor(worker: Worker) {
    this.closed = new Promise((resolve) => {
      this.#settleClosed = resolve;
    });
    this.#worker = worker;
    this.#worker.addEventListener("message", (event: MessageEvent<ToPage<R>>) => this.#receive(event.data));
    // A script that does not load, or an error outside any call: the worker is of no use any more.
    this.#worker.addEventListener("error", (event) => {
      event.preventDefault();
      this.#close(new NibblamaError("crashed", `the engine's worker failed: ${event.message || "it did not start"}`));
    });
  }

  call<Name extends keyof C>(
    name: Name,
    request: C[Name]["request"],
    { signal, onReport, grace = ABORT_GRACE }: CallOptions<R> = {},
  ): Promise<C[Name]["result"]> {
    return new Promise((resolve, reject) => {
      if (this.#end !== undefined) return reject(this.#end);
      if (signal?.aborted) return reject(aborted(signal));
      const id = this.#nextId++;
      const abort = () => {
        this.#post({ type: "abort", id });
        // The worker may be in the middle of a large matrix: abort settles all the same.
        setTimeout(() => this.#pending.get(id)?.reject(aborted(signal)), grace);
        if (grace === 0) return;
        setTimeout(() => {
          if (this.#pending.has(id)) {
            this.#close(new NibblamaError("crashed", "the engine did not answer to an abort and was stopped"), id);
          }
        }, STUCK);
      };
      signal?.addEventListener("abort", abort, { once: true });
      this.#pending.set(id, {
        // Each id belongs to one call, whose result type the protocol fixes.
        resolve: (result) => resolve(result as C[Name]["result"]),
        reject,
        report: onReport ?? (() => undefined),
        unlisten: () => signal?.removeEventListener("abort", abort),
      });
      this.#post({ type: "call", id, name, request });
    });
  }

  /** Ends the worker; every call under way rejects with `error`. */
  dispose(error = new NibblamaError("disposed", "the model was disposed of")): void {
    this.#close(error);
  }

  #post(message: object): void {
    this.#worker.postMessage(message);
  }

  #receive(message: ToPage<R>): void {
    if (message.type === "crash") {
      this.#close(new NibblamaError("crashed", message.reason));
      return;
    }
    const pending = this.#pending.get(message.id);
    if (pending === undefined) return;
    if (message.type === "report") {
      pending.report(message.report);
      return;
    }
    this.#pending.delete(message.id);
    pending.unlisten();
    if (message.type === "result") pending.resolve(message.result);
    else pending.reject(new NibblamaError(message.error.code, message.error.reason, message.error));
  }

  #close(error: NibblamaError, abortedCall?: number): void {
    if (this.#end !== undefined) return;
    this.#end = error;
    this.#worker.terminate();
    for (const [id, pending] of this.#pending) {
      pending.unlisten();
      pending.reject(id === abortedCall ? new NibblamaError("aborted", "the caller asked to stop") : error);
    }
    this.#pending.clear();
    this.#settleClosed(error.code === "disposed" ? undefined : error);
  }
}

function aborted(signal: AbortSignal | undefined): NibblamaError {
  const error = new NibblamaError("aborted", "the caller asked to stop");
  error.cause = signal?.reason;
  return error;
}

/** A script that a bundler did not copy ends in an error event, or in no address at all. */
function openWorker(): Worker {
  try {
    return new Worker(new URL("./worker.ts", import.meta.url), { type: "module", name: "nibblama" });
  } catch {
    return new Worker("data:text/javascript,throw new Error('the script has no address')", { type: "module" });
  }
}

/** The worker and the build inside the package's own script, when there are such and no file could be had. */
async function connectInline(
  candidates: readonly VariantName[],
  signal: AbortSignal | undefined,
): Promise<{ connection: Connection; started: VariantInfo } | null> {
  const content = candidates.includes("simd128") ? await inline() : null;
  if (content === null) return null;
  const address = URL.createObjectURL(new Blob([content.worker], { type: "text/javascript" }));
  const connection = new Connection(new Worker(address, { type: "module", name: "nibblama" }));
  try {
    const packed = Uint8Array.from(atob(content.wasm), (character) => character.charCodeAt(0));
    const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
    const wasm = await new Response(stream).arrayBuffer();
    return { connection, started: await connection.call("start", { variant: "simd128", threads: 1, wasm }, { signal }) };
  } catch (error) {
    connection.dispose();
    throw error;
  } finally {
    URL.revokeObjectURL(address);
  }
}

/** Starts a worker with the best build that runs here, going one step down the list after each failure. */
async function connect(
  options: { variant?: VariantName | undefined; threads?: number | undefined },
  signal?: AbortSignal,
  passedOver: readonly VariantName[] = [],
): Promise<{ connection: Connection; variant: VariantInfo }> {
  if (typeof Worker !== "function") {
    throw new NibblamaError("unsupported-browser", "the engine runs in a Web Worker, and there is none here", {
      expected: "a page or a dedicated worker; Node and service workers have no Web Workers",
    });
  }
  const threads = options.threads ?? null;
  if (threads !== null && !(Number.isInteger(threads) && threads >= 1 && threads <= 64)) {
    const expected = "a whole number from 1 to 64";
    throw new NibblamaError("invalid-argument", "not a number of threads", { expected, found: String(threads) });
  }
  const { candidates: all, rejected } = await variantsByPreference(options);
  const candidates = all.filter((name) => !passedOver.includes(name));
  for (const name of candidates) {
    const connection = new Connection(openWorker());
    let timer: ReturnType<typeof setTimeout> | undefined;
    const onReport = () => {
      const late = new NibblamaError("unsupported-browser", `its threads did not start within ${THREADS_LIMIT} ms`);
      timer = setTimeout(() => connection.dispose(late), THREADS_LIMIT);
    };
    try {
      const started = await connection.call("start", { variant: name, threads, wasm: null }, { signal, onReport });
      return { connection, variant: { ...started, rejected } };
    } catch (error) {
      connection.dispose();
      if (error instanceof NibblamaError && error.code === "aborted") throw error;
      rejected.push({ name, reason: error instanceof Error ? error.message : String(error) });
    } finally {
      clearTimeout(timer);
    }
  }
  const inlined = await connectInline(candidates, signal);
  if (inlined !== null) return { connection: inlined.connection, variant: { ...inlined.started, rejected } };
  const found = rejected.map(({ name, reason }) => `${name}: ${reason}`).join("; ");
  throw new NibblamaError("unsupported-browser", "no build of the engine starts in this browser", { found });
}

/** Loads a model into a worker of its own. */
export async function loadModel(source: ModelSource, options: LoadOptions = {}): Promise<Model> {
  const { signal, onProgress } = options;
  refuseOthers(options, LOAD_OPTIONS);
  const report = withRate(onProgress);
  report({ phase: "engine", loaded: 0, total: 0, tensors: 0, tensorsTotal: 0, time: 0 });
  const request = loadRequest(source, options);
  const rejected: VariantInfo["rejected"] = [];
  let wrong: NibblamaError | undefined;
  for (;;) {
    const passedOver = rejected.map(({ name }) => name);
    const { connection, variant } = await connect(options, signal, passedOver).catch((error: unknown) => {
      // When no build is left, what the last one did wrong says more.
      throw signal?.aborted ? error : (wrong ?? error);
    });
    try {
      const onReport = (message: Report) => {
        if (message.kind === "progress") report(message.progress);
      };
      const { facts, fastDesigns } = await connection.call("load", request, { signal, onReport, grace: 0 });
      return model(connection, facts, { ...variant, fastDesigns, rejected: [...rejected, ...variant.rejected] });
    } catch (error) {
      connection.dispose();
      // A build that computes wrongly here is passed over, and the next one tried.
      if (!(error instanceof NibblamaError) || error.code !== "parity" || options.variant !== undefined) throw error;
      wrong = error;
      rejected.push({ name: variant.name, reason: error.message });
    }
  }
}

/** What loading a model would take: nothing but its configuration, tokenizer and headers is read. */
export async function inspectModel(source: ModelSource, options: InspectOptions = {}): Promise<Inspection> {
  const { signal } = options;
  const request = loadRequest(source, options);
  const { connection } = await connect({ threads: 1 }, signal);
  try {
    return await connection.call("inspect", request, { signal, grace: 0 });
  } finally {
    connection.dispose();
  }
}

function loadRequest(source: ModelSource, options: LoadOptions): LoadRequest {
  const posted = postedSource(source);
  const keep = options.store ?? posted.kind === "hub";
  const place = options.storePlace ?? storePlace();
  return {
    source: posted,
    quantization: quantizationConfig(options.quantization ?? null),
    computeDtype: options.computeDtype ?? "float32",
    arithmetic: options.arithmetic ?? null,
    kvCacheDtype: options.kvCacheDtype ?? null,
    context: options.context ?? null,
    store: keep || posted.kind === "stored" ? place : null,
    network: options.network ?? {},
    limits: options.limits ?? {},
  };
}

/** A misspelt option would be a wrong result; what is undefined was not asked for. */
function refuseOthers(options: object, known: readonly string[]): void {
  const other = Object.entries(options).find(([name, value]) => value !== undefined && !known.includes(name));
  if (other === undefined) return;
  throw new NibblamaError("unsupported-option", "there is no such option", { tensor: other[0], expected: known.join(", ") });
}

const LOAD_OPTIONS: readonly (keyof LoadOptions)[] = [
  "quantization", "computeDtype", "arithmetic", "kvCacheDtype", "context", "threads", "variant", "store", "storePlace", "network", "limits", "onProgress", "signal",
];
const GENERATE_OPTIONS: readonly (keyof GenerateOptions)[] = [
  "max_new_tokens", "do_sample", "temperature", "top_k", "top_p", "min_p", "repetition_penalty", "seed", "stop_strings", "logprobs", "n",
  "overflow", "reuse", "onPrefill", "signal",
];

function model(connection: Connection, facts: ModelFacts, variant: VariantInfo): Model {
  return {
    facts,
    variant,
    closed: connection.closed,
    generate: (prompt, options = {}) => generate(connection, prompt, options),
    tokenize: async (prompt, { addSpecialTokens = true } = {}) =>
      connection.call("tokenize", { prompt: postedPrompt(prompt), addSpecialTokens }),
    detokenize: async (ids, { skipSpecialTokens = true } = {}) =>
      connection.call("detokenize", { ids: [...ids], skipSpecialTokens }),
    logits: async (prompt, { all = false, arithmetic = null, signal } = {}) =>
      connection.call("logits", { prompt: postedPrompt(prompt), all, arithmetic }, { signal }),
    perplexity: async (text, { onProgress, context, arithmetic = "exact", signal } = {}) =>
      connection.call("perplexity", { text, context: context ?? null, arithmetic }, {
        signal,
        onReport: (report) => {
          if (report.kind === "prefill") onProgress?.(report.done, report.total);
        },
      }),
    setArithmetic: async (arithmetic) => void (await connection.call("setArithmetic", { arithmetic })),
    memory: () => connection.call("memory", null),
    layers: () => connection.call("layers", null),
    tensors: () => connection.call("tensors", null),
    storedTensors: (module) => connection.call("storedTensors", { module }),
    loadAdapter: async (name, source, { signal } = {}) =>
      connection.call("loadAdapter", { name, source: postedSource(source) }, { signal }),
    setAdapter: async (name, scale = 1) => void (await connection.call("setAdapter", { name, scale })),
    deleteAdapter: async (name) => void (await connection.call("deleteAdapter", { name })),
    adapters: () => connection.call("adapters", null),
    embed: async (prompt, { signal } = {}) =>
      connection.call("embed", { prompt: postedPrompt(prompt) }, { signal }),
    saveSession: () => connection.call("saveSession", null),
    restoreSession: (file) => connection.call("restoreSession", { file }),
    export: async (target, options = {}) =>
      (await import("./export-client")).writeExport(
        {
          start: (quantized, adapter) => connection.call("exportStart", { quantized, adapter }),
          next: () => connection.call("exportNext", null),
        },
        target,
        options,
      ),
    dispose: async () => connection.dispose(),
  };
}

function generate(connection: Connection, prompt: Prompt, options: GenerateOptions): TokenStream {
  const { signal, onPrefill, seed = 0, stop_strings = [] } = options;
  // Leaving the loop early must stop the worker, whether or not the caller brought a signal.
  const left = new AbortController();
  const either = signal === undefined ? left.signal : AbortSignal.any([signal, left.signal]);
  const stream = new TokenStream(() => left.abort());
  try {
    refuseOthers(options, GENERATE_OPTIONS);
  } catch (error) {
    stream.fail(error);
    return stream;
  }
  const request = {
    prompt: postedPrompt(prompt),
    options: {
      max_new_tokens: options.max_new_tokens,
      do_sample: options.do_sample,
      temperature: options.temperature,
      top_k: options.top_k,
      top_p: options.top_p,
      min_p: options.min_p,
      repetition_penalty: options.repetition_penalty,
      seed,
      stop_strings: [...stop_strings],
      logprobs: options.logprobs ?? null,
      n: options.n ?? 1,
      overflow: options.overflow ?? "end",
      reuse: options.reuse ?? "same-bits",
    },
  };
  const onReport = (report: Report) => {
    if (report.kind === "tokens") stream.push(report.tokens);
    else if (report.kind === "prefill") onPrefill?.(report.done, report.total);
  };
  connection.call("generate", request, { signal: either, onReport }).then(
    () => stream.end(),
    (error: unknown) => stream.fail(error),
  );
  return stream;
}

/** One worker serves every footprint; it is started with the first and ended when no call is left. */
let footprints: { connection: Promise<Connection>; calls: number } | undefined;

/** Sizes of the model that a `config.json` describes, before any weight is there. */
export async function footprint(
  config: string | object,
  { quantization = null, dtype, context = 0 }: FootprintOptions = {},
): Promise<Footprint> {
  footprints ??= { connection: connect({ threads: 1 }).then(({ connection }) => connection), calls: 0 };
  const shared = footprints;
  shared.calls += 1;
  try {
    return await (await shared.connection).call("footprint", {
      config: typeof config === "string" ? config : JSON.stringify(config),
      quantization: quantizationConfig(quantization),
      dtype: dtype ?? null,
      context,
    });
  } finally {
    shared.calls -= 1;
    if (shared.calls === 0) {
      footprints = undefined;
      shared.connection.then((connection) => connection.dispose(), () => undefined);
    }
  }
}

/** What a quantization's short name stands for. */
export function quantizationConfig(quantization: Quantization): BitsAndBytesConfig | null {
  if (quantization === null || typeof quantization === "object") return quantization;
  if (quantization === "int8") return { load_in_8bit: true };
  const [type, doubled] = quantization.split("-");
  if ((type !== "nf4" && type !== "fp4") || (doubled !== undefined && doubled !== "dq")) {
    const expected = "nf4, nf4-dq, fp4, fp4-dq, int8 or a BitsAndBytesConfig";
    throw new NibblamaError("invalid-argument", "unknown quantization", { expected, found: quantization });
  }
  return { load_in_4bit: true, bnb_4bit_quant_type: type, bnb_4bit_use_double_quant: doubled === "dq" };
}

export function postedSource(source: ModelSource): PostedSource {
  if (typeof source === "string" || source instanceof URL) {
    return { kind: "url", url: folderUrl(source), files: null };
  }
  if ("url" in source) return { kind: "url", url: folderUrl(source.url), files: [...source.files] };
  if ("hub" in source) return hubSource(source);
  if ("stored" in source) return { kind: "stored", id: source.stored };
  if ("getFileHandle" in source) return { kind: "directory", directory: source };
  return { kind: "files", files: [...source] };
}

function hubSource({ hub: id, revision = "main", token, base = HUB }: HubModel): PostedSource {
  if (!/^[\w.-]+\/[\w.-]+$/.test(id)) {
    throw new NibblamaError("invalid-argument", "not a model of a Hub", { expected: "organization/name", found: id });
  }
  return { kind: "hub", id, revision, token: token ?? null, base: folderUrl(base) };
}

function folderUrl(url: string | URL): string {
  const details: ErrorDetails = { expected: "the URL of a folder", found: String(url) };
  try {
    const absolute = new URL(url, globalThis.document?.baseURI ?? globalThis.location?.href);
    if (!absolute.pathname.endsWith("/")) absolute.pathname += "/";
    return absolute.href;
  } catch {
    throw new NibblamaError("invalid-argument", "not a URL", details);
  }
}

function postedPrompt(prompt: Prompt): PostedPrompt {
  if (typeof prompt === "string") return { kind: "text", text: prompt };
  const ids: number[] = [];
  const messages: { role: string; content: string }[] = [];
  for (const item of prompt) {
    if (typeof item === "number") ids.push(item);
    else messages.push({ role: item.role, content: item.content });
  }
  return messages.length > 0 ? { kind: "messages", messages } : { kind: "ids", ids };
}

/** The models of this tab: what is loaded, what is being written, what went wrong. */

import { batch, signal } from "@preact/signals";
import {
  footprint, loadModel, NibblamaError,
  type Footprint, type LoadProgress, type MemoryLedger, type Model, type ModelSource, type NetworkOptions,
  type Quantization,
} from "../engine/index";
import { LLAMA_8B } from "./known-models";
import { keep } from "./offline";
import { state } from "./state";

const MODEL_FILES = ["config.json", "generation_config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"];
const embedded = (name: string): ModelSource => ({
  url: new URL(`models/${name}/`, document.baseURI).href,
  files: MODEL_FILES,
});
export const EMBEDDED_NF4 = embedded("stories-nf4");
export const EMBEDDED_FULL = embedded("stories");
const MAX_NEW_TOKENS = 320;

export type Phase =
  /** Nothing is loaded and nothing is on its way. */
  | { kind: "idle"; metered: boolean }
  | { kind: "loading"; progress: LoadProgress | null }
  | { kind: "ready" };

export interface Story {
  prompt: string;
  text: string;
  /** The newest piece, already part of `text`. */
  last: string;
  tokens: number;
  /** Tokens per second after the first token; null until two are there. */
  rate: number | null;
  ending: "eos" | "length" | "stop" | "context" | "aborted" | null;
}

/** All sizes of one model: full precision, and what 4 bits make of it. */
export interface Sizes {
  f32: Footprint;
  bf16: Footprint;
  nf4: Footprint;
  nf4dq: Footprint;
}

export interface Quantized {
  before: number;
  after: MemoryLedger;
  seconds: number;
}

export const session = {
  phase: signal<Phase>({ kind: "idle", metered: false }),
  model: signal<Model | null>(null),
  /** Null for the built-in model. */
  name: signal<string | null>(null),
  /** Where views find the weights: the model's files in full precision where they are known. */
  originals: signal<ModelSource>(EMBEDDED_FULL),
  story: signal<Story | null>(null),
  writing: signal(false),
  ledger: signal<MemoryLedger | null>(null),
  sizes: signal<Sizes | null>(null),
  sizesOf8B: signal<Sizes | null>(null),
  error: signal<Error | null>(null),
  quantizing: signal<LoadProgress | null>(null),
  quantized: signal<Quantized | null>(null),
};

let loading: AbortController | null = null;
let generating: AbortController | null = null;

interface NetworkInformation {
  saveData?: boolean;
  type?: string;
}

export function metered(): boolean {
  const connection = (navigator as Navigator & { connection?: NetworkInformation }).connection;
  return connection?.saveData === true || connection?.type === "cellular";
}

/** Sizes of a model in every form, from its configuration. */
export async function sizesOf(config: object): Promise<Sizes> {
  const [f32, bf16, nf4, nf4dq] = await Promise.all([
    footprint(config, { dtype: "float32" }),
    footprint(config, { dtype: "bfloat16" }),
    footprint(config, { dtype: "bfloat16", quantization: "nf4" }),
    footprint(config, { dtype: "bfloat16", quantization: "nf4-dq" }),
  ]);
  return { f32, bf16, nf4, nf4dq };
}

/** What happens without a click: the bars, and the story where a model is wanted. */
export async function open(withModel: boolean): Promise<void> {
  const isMetered = metered();
  session.phase.value = { kind: "idle", metered: isMetered };
  if (isMetered) return;
  void bars();
  if (withModel) await start();
}

/** Loads the built-in model for whoever needs one, unless one is there, on its way, or costs the visitor money. */
export async function needModel(): Promise<void> {
  const phase = session.phase.peek();
  if (phase.kind === "idle" && !phase.metered) await start();
}

async function bars(): Promise<void> {
  try {
    if (session.sizesOf8B.value === null) session.sizesOf8B.value = await sizesOf(LLAMA_8B.config);
  } catch (error) {
    report(error);
  }
}

/** Loads a model and lets it write. */
export async function start(source: ModelSource = EMBEDDED_NF4, name: string | null = null): Promise<void> {
  const model = await load(source, null, (progress) => {
    session.phase.value = { kind: "loading", progress };
  });
  if (model === null) return;
  batch(() => {
    session.name.value = name;
    session.quantized.value = null;
    session.originals.value = name === null ? EMBEDDED_FULL : source;
  });
  void bars();
  await write();
  if (source === EMBEDDED_NF4) void keep(urlsOf(EMBEDDED_NF4), metered());
}

/** The built-in models come in one piece, so that the browser holds them for the service worker to keep. */
function networkFor(source: ModelSource): NetworkOptions {
  return source === EMBEDDED_NF4 || source === EMBEDDED_FULL ? { whole: true } : {};
}

/** The files of a source that a URL names. */
export function urlsOf(source: ModelSource): string[] {
  if (typeof source === "string" || source instanceof URL || !("url" in source)) return [];
  return source.files.map((file) => new URL(file, source.url).href);
}

async function load(
  source: ModelSource,
  quantization: Quantization,
  onProgress: (progress: LoadProgress) => void,
): Promise<Model | null> {
  loading?.abort();
  const abort = (loading = new AbortController());
  stop();
  session.error.value = null;
  if (session.model.value === null) session.phase.value = { kind: "loading", progress: null };
  try {
    const model = await loadModel(source, { quantization, onProgress, signal: abort.signal, network: networkFor(source) });
    const former = session.model.value;
    batch(() => {
      session.model.value = model;
      session.phase.value = { kind: "ready" };
      session.story.value = null;
    });
    void former?.dispose();
    void model.closed.then((error) => {
      if (error !== undefined && session.model.value === model) void recover(error);
    });
    void measure(model);
    return model;
  } catch (error) {
    session.phase.value = session.model.value === null ? { kind: "idle", metered: false } : { kind: "ready" };
    if (!isAbort(error)) report(error);
    return null;
  } finally {
    if (loading === abort) loading = null;
  }
}

async function measure(model: Model): Promise<void> {
  try {
    session.ledger.value = await model.memory();
    session.sizes.value = await sizesOf({ ...model.facts.rawConfig, quantization_config: undefined });
  } catch (error) {
    if (session.model.value === model) report(error);
  }
}

/** Whether the worker crashed since a text was last written to its end. */
let crashed = false;

/** After a crash of the worker: say so, and load the same model again; after a second one, only on a click. */
async function recover(error: Error): Promise<void> {
  batch(() => {
    session.model.value = null;
    session.story.value = null;
    session.writing.value = false;
    session.phase.value = { kind: "idle", metered: false };
  });
  if (crashed) return report(error);
  crashed = true;
  const own = session.name.value !== null;
  await start(own ? session.originals.value : EMBEDDED_NF4, session.name.value);
  session.error.value = error;
}

/** The page's sampler. */
export function sampling(): { seed: number; do_sample: boolean; temperature?: number } {
  const temperature = state.temp.peek();
  return { seed: state.seed.peek(), do_sample: temperature > 0, ...(temperature > 0 ? { temperature } : {}) };
}

/** Continues the prompt; what was being written stops. */
export async function write(): Promise<void> {
  const model = session.model.value;
  if (model === null) return;
  stop();
  const abort = (generating = new AbortController());
  const prompt = state.prompt.value;
  const story: Story = { prompt, text: "", last: "", tokens: 0, rate: null, ending: null };
  session.writing.value = true;
  session.story.value = story;
  // Tokens come faster than frames; the page is drawn once a frame, so that it never runs behind on a slow device.
  let frame: number | null = null;
  const flush = () => {
    frame = null;
    if (generating === abort) session.story.value = { ...story };
  };
  const show = (change: Partial<Story>) => {
    Object.assign(story, change);
    // A hidden page has no frames.
    if (story.ending !== null || document.hidden) {
      if (frame !== null) cancelAnimationFrame(frame);
      flush();
    } else frame ??= requestAnimationFrame(flush);
  };
  let first = 0;
  try {
    const steps = model.generate(prompt, {
      max_new_tokens: MAX_NEW_TOKENS,
      ...sampling(),
      signal: abort.signal,
    });
    for await (const { text, time, finish } of steps) {
      if (finish !== undefined) crashed = false;
      if (story.tokens === 0) first = time;
      const tokens = story.tokens + 1;
      show({
        text: story.text + text,
        last: text,
        tokens,
        rate: tokens > 1 ? ((tokens - 1) * 1000) / Math.max(time - first, 1) : null,
        ending: finish ?? null,
      });
    }
  } catch (error) {
    if (!isAbort(error) && generating === abort) report(error);
  } finally {
    if (generating === abort) {
      session.writing.value = false;
      generating = null;
      if (session.model.value === model) {
        session.ledger.value = await model.memory().catch(() => session.ledger.value);
      }
    }
  }
}

export function stop(): void {
  if (generating === null) return;
  generating.abort();
  generating = null;
  session.writing.value = false;
  const story = session.story.value;
  if (story !== null) session.story.value = { ...story, ending: "aborted" };
}

/** Loads the model in full precision (the built-in one, unless another is open) and quantizes it on the way in. */
export async function quantizeHere(quantization: Quantization = "nf4-dq"): Promise<void> {
  const began = performance.now();
  const source = session.name.value === null ? EMBEDDED_FULL : session.originals.value;
  const onProgress = (progress: LoadProgress) => {
    session.quantizing.value = progress;
  };
  const model = await load(source, quantization, onProgress);
  session.quantizing.value = null;
  if (model === null) return;
  const seconds = (performance.now() - began) / 1000;
  session.quantized.value = { before: model.facts.fileBytes, after: await model.memory(), seconds };
  await write();
}

export function cancelLoading(): void {
  loading?.abort();
}

/** A folder or files that were dropped or picked. */
export async function openFiles(files: readonly File[]): Promise<void> {
  if (files.length === 0) return;
  const path = files[0]?.webkitRelativePath ?? "";
  await start(files, path.includes("/") ? path.slice(0, path.indexOf("/")) : (files[0]?.name ?? ""));
}

export function report(error: unknown): void {
  session.error.value = error instanceof Error ? error : new Error(String(error));
}

export function isAbort(error: unknown): boolean {
  return error instanceof NibblamaError && (error.code === "aborted" || error.code === "disposed");
}

/** The two texts of view 10: one model, with an adapter beside its weights or merged into them. */

import { batch, signal } from "@preact/signals";
import { isAbort, sampling, session } from "../app/session";
import { state } from "../app/state";
import type { Model, ModelSource } from "../engine/index";
import type { Piece } from "./diff";

export const FILES = ["adapter_config.json", "adapter_model.safetensors"];
const TOKENS = 90;
/** Comes with the first wish for it. */
const merging = () => import("./merge");
/** Base models that are held twice for merging; larger ones only once. */
export const MOST_TO_MERGE = 600e6;

export interface AdapterFacts {
  name: string;
  bytes: number;
  rank: number;
  alpha: number;
  /** How many matrices of a layer, or the adapter's own word for them. */
  targets: string;
}

/** Mean KL divergence from the model with the adapter beside it, nats a token. */
export interface Shift {
  merged: number;
  base: number;
}

export interface Run {
  adapter: string;
  how: (typeof state.lora)["value"];
  /** Bytes of the weights, without the adapter. */
  base: number;
  quantized: boolean;
  without: Piece[];
  with: Piece[];
  /** Tokens after which the adapter, or its place, was changed. */
  switchedAt: number | null;
  /** Of the merged weights, once there are any. */
  merged: number | null;
  shift: Shift | null;
}

export type Stage = "idle" | "writing" | "merging" | "comparing";

export const facts = signal<AdapterFacts | null>(null);
export const run = signal<Run | null>(null);
export const error = signal<Error | null>(null);
export const stage = signal<Stage>("idle");
export const own = signal<readonly File[]>([]);
let writing: AbortController | null = null;
/** Adapters that each model holds. */
const held = new WeakMap<Model, Map<string, AdapterFacts>>();
/** The model with an adapter in its weights, what it was made of, and from which. */
export const merged = signal<{ of: Model; key: string; model: Model } | null>(null);

function sourceOf(name: string): ModelSource {
  return name === "own" ? own.peek() : { url: new URL(`models/adapters/${name}/`, document.baseURI), files: FILES };
}

interface AdapterConfig {
  r?: number;
  lora_alpha?: number;
  target_modules?: string[] | string;
}

async function configOf(name: string): Promise<AdapterConfig> {
  const file = own.peek().find((each) => each.name === "adapter_config.json");
  const text =
    name === "own" && file !== undefined
      ? await file.text()
      : await (await fetch(new URL(`models/adapters/${name}/adapter_config.json`, document.baseURI))).text();
  return JSON.parse(text) as AdapterConfig;
}

/** Loads an adapter unless the model holds it. */
export async function ready(model: Model, name: string): Promise<AdapterFacts> {
  const known = held.get(model) ?? new Map<string, AdapterFacts>();
  held.set(model, known);
  const before = known.get(name);
  if (before !== undefined) return before;
  const { bytes } = await model.loadAdapter(name, sourceOf(name));
  // PEFT's own defaults, for what a file may leave out.
  const { r = 8, lora_alpha = 8, target_modules = [] } = await configOf(name);
  const targets = typeof target_modules === "string" ? target_modules : String(target_modules.length);
  const adapter = { name, bytes, rank: r, alpha: lora_alpha, targets };
  known.set(name, adapter);
  return adapter;
}

export async function weightBytes(model: Model): Promise<number> {
  const { total, lora, kv_cache, scratch } = await model.memory();
  return total - lora - kv_cache - scratch;
}

/** Gives the memory of the merged model back. */
export function dropMerged(): void {
  void merged.peek()?.model.dispose();
  merged.value = null;
}

export function update(change: Partial<Run>): void {
  const now = run.peek();
  if (now !== null) run.value = { ...now, ...change };
}

export function stopBoth(): void {
  writing?.abort();
}

const add = (column: "without" | "with", piece: Piece): void => update({ [column]: [...(run.peek()?.[column] ?? []), piece] });

/** Writes the second text; where another form is chosen meanwhile, that one goes on from the next token. */
async function writeWith(model: Model, prompt: string, ids: readonly number[], signal: AbortSignal): Promise<void> {
  for (;;) {
    const [how, name] = [state.lora.peek(), state.adapter.peek()];
    const writer = how === "merged" ? await (await merging()).mergedModel(model, name, signal) : model;
    if (how === "beside") await model.setAdapter(name, state.strength.peek());
    stage.value = "writing";
    const before = run.peek()?.with ?? [];
    const start = before.length === 0 ? prompt : [...ids, ...before.map(({ token }) => token)];
    let changed = false;
    for await (const { token, text } of writer.generate(start, { ...sampling(), max_new_tokens: TOKENS - before.length, signal })) {
      if (signal.aborted) return;
      add("with", { token, text });
      changed = state.lora.peek() !== how || (how === "merged" && state.adapter.peek() !== name);
      if (changed) break;
    }
    const now = run.peek();
    if (!changed || now === null || now.with.length >= TOKENS) return;
    update({ how: state.lora.peek(), adapter: state.adapter.peek(), switchedAt: now.with.length });
  }
}

/** Writes the prompt twice. The adapter is in use only while the second text is written. */
export async function writeBoth(): Promise<void> {
  const model = session.model.peek();
  if (model === null) return;
  stopBoth();
  const abort = new AbortController();
  writing = abort;
  const { signal } = abort;
  batch(() => {
    stage.value = "writing";
    error.value = null;
  });
  const prompt = state.prompt.peek();
  try {
    const name = state.adapter.peek();
    const adapter = await ready(model, name);
    const base = await weightBytes(model);
    const { ids } = await model.tokenize(prompt);
    if (signal.aborted) return;
    const quantized = model.facts.quantization !== null;
    batch(() => {
      facts.value = adapter;
      run.value = {
        adapter: name, how: state.lora.peek(), base, quantized, without: [], with: [], switchedAt: null, merged: null, shift: null,
      };
    });
    await model.setAdapter(null);
    for await (const piece of model.generate(prompt, { ...sampling(), max_new_tokens: TOKENS, signal })) {
      if (signal.aborted) return;
      add("without", piece);
    }
    await writeWith(model, prompt, ids, signal);
    if (state.lora.peek() === "merged") await (await merging()).compare(model, ids, signal);
  } catch (problem) {
    if (!isAbort(problem) && writing === abort) error.value = problem instanceof Error ? problem : new Error(String(problem));
  } finally {
    // The story at the top of the page is the base model's; whoever began anew meanwhile sees to it himself.
    if (writing === abort) await model.setAdapter(null).catch(() => undefined);
    if (writing === abort) {
      writing = null;
      stage.value = "idle";
    }
  }
}

/** Whether the second text is being written, so that a change can take effect in it. */
const midway = (): boolean => writing !== null && (run.peek()?.with.length ?? 0) > 0 && stage.peek() !== "comparing";

/** Another adapter: at once where the second text is being written, else both are written anew. */
export async function choose(name: (typeof state.adapter)["value"]): Promise<void> {
  state.adapter.value = name;
  const model = session.model.peek();
  if (model === null) return;
  if (!midway()) return writeBoth();
  try {
    const adapter = await ready(model, name);
    if (state.lora.peek() === "beside") await model.setAdapter(name, state.strength.peek());
    batch(() => {
      facts.value = adapter;
      update({ adapter: name, switchedAt: run.peek()?.with.length ?? null });
    });
  } catch (problem) {
    error.value = problem instanceof Error ? problem : new Error(String(problem));
  }
}

/** Beside or merged: from the next token on where the second text is being written, else both anew. */
export function place(how: (typeof state.lora)["value"]): void {
  state.lora.value = how;
  if (how === "beside" && !midway()) dropMerged();
  if (!midway()) void writeBoth();
}

/** How strongly the adapter counts, likewise; merged weights are made anew. */
export function strengthen(strength: number): void {
  state.strength.value = strength;
  const model = session.model.peek();
  if (midway() && state.lora.peek() === "beside" && model !== null) {
    void model.setAdapter(state.adapter.peek(), strength).catch(() => undefined);
  } else void writeBoth();
}

/** Takes an adapter of the visitor's own in the place of a former one. */
export async function takeOwn(files: readonly File[]): Promise<void> {
  own.value = files;
  const model = session.model.peek();
  if (model === null) return;
  dropMerged();
  if (held.get(model)?.delete("own") === true) await model.deleteAdapter("own").catch(() => undefined);
  await choose("own");
}

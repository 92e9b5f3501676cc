/** What is timed, in a worker of its own: the engine's builds without the engine around them. */

import { calibrate as timeDesigns, hasThreads, startBuild, type Engine, type Glue } from "../engine/builds";
import type { WasmModel } from "../engine/load";
import { startPool } from "../engine/pool";
import type { Arithmetic, DesignTiming, VariantName } from "../engine/types";
import { makeAdapter, makeModel } from "./model";
import { repeated } from "./random";
import { ReadLoop } from "./read-loop";
import { SHAPES, type ShapeName } from "./shapes";
import { relativeError } from "./stats";

/** Largest relative error of a product against the exact one, as the engine's documentation states it. */
const BOUNDS: Record<Arithmetic, number> = { exact: 0, "near-exact": 2e-4, fast: 1e-2 };
/** The same for the logits of a whole model, where the errors of all layers add up. */
const LOGIT_BOUNDS: Record<Arithmetic, number> = { exact: 0, "near-exact": 5e-3, fast: 0.2 };

/** Tokens of a long prompt that are read at once. */
const PIECE = 128;

let engine: Engine | undefined;
let pooled = false;
let bench: InstanceType<Glue["Bench"]> | undefined;
let cols = 0;
let model: WasmModel | undefined;
let shape: ShapeName = "42m";
let loop: ReadLoop | undefined;

function need<T>(value: T | undefined, what: string): T {
  if (value === undefined) throw new Error(`no ${what}`);
  return value;
}

function time(action: () => void): number {
  const start = performance.now();
  action();
  return performance.now() - start;
}

/** A prompt without pattern. */
function prompt(length: number): Uint32Array<ArrayBuffer> {
  return Uint32Array.from({ length }, (_, i) => 3 + ((i * 7919) % 30000));
}

/** As the engine does when it starts and after a load: the best designs of products here are taken. */
function calibrate(): DesignTiming[] {
  return timeDesigns(need(engine, "engine").glue);
}

function decode(llama: WasmModel, tokens: number): number {
  return time(() => {
    for (let i = 0; i < tokens; i++) llama.read(Uint32Array.of(i));
  });
}

function checked(name: string, error: number, bound: number): number {
  if (!(error <= bound)) throw new Error(`${name}: relative error ${error}, allowed are ${bound}`);
  return error;
}

const calls = {
  async start(variant: VariantName, threads: number): Promise<{ isa: string; threads: number }> {
    engine = await startBuild(variant, null);
    await engine.deferred();
    pooled = hasThreads(variant);
    const { glue, memory } = engine;
    const running = !pooled || threads === 1 ? 1 : await startPool(glue, memory, threads);
    calibrate();
    return { isa: glue.isa(), threads: running };
  },

  setThreads(threads: number): void {
    if (pooled) need(engine, "engine").glue.setThreads(threads);
  },

  /** Times the designs of fast arithmetic as the engine does, and takes the fastest; none where there is no choice. */
  designs(): DesignTiming[] {
    return calibrate();
  },

  /** GB/s of one thread reading from memory. */
  readSpeed(): number {
    loop ??= new ReadLoop();
    return loop.measure();
  },

  /** Makes a matrix, as often as it takes to fill `room` bytes; returns the bytes of one. */
  matrix(rows: number, columns: number, room: number, quantization: Record<string, unknown> | null): number {
    const { glue } = need(engine, "engine");
    bench?.free();
    bench = undefined;
    cols = columns;
    const json = quantization === null ? undefined : JSON.stringify(quantization);
    const values = repeated(rows * cols, 3, 0.02);
    const one = new glue.Bench(values, rows, json, 1);
    const bytes = one.bytes();
    calibrate();
    if (room <= bytes) bench = one;
    else {
      one.free();
      bench = new glue.Bench(values, rows, json, Math.ceil(room / bytes));
    }
    return bytes;
  },

  /** Relative error of the product against the exact one. */
  checkProduct(tokens: number, arithmetic: Arithmetic): number {
    const matrix = need(bench, "matrix");
    const x = repeated(tokens * cols, 4, 1);
    const exact = matrix.product(x, "exact", 1);
    return checked(`product with ${tokens} tokens, ${arithmetic}`, relativeError(matrix.product(x, arithmetic, 1), exact), BOUNDS[arithmetic]);
  },

  /** Milliseconds of one product, from as many as fit into `budget` milliseconds. */
  product(tokens: number, arithmetic: Arithmetic, budget: number): number {
    const matrix = need(bench, "matrix");
    const x = repeated(tokens * cols, 4, 1);
    let once = time(() => matrix.product(x, arithmetic, 1));
    // The clock's steps are longer than the smallest products.
    if (once < 0.1) once = time(() => matrix.product(x, arithmetic, 100)) / 100;
    const repeat = Math.max(1, Math.round(budget / Math.max(once, 1e-4)));
    return time(() => matrix.product(x, arithmetic, repeat)) / repeat;
  },

  /** Milliseconds of quantizing the matrix's values to NF4. */
  quantize(repeat: number): number {
    const matrix = need(bench, "matrix");
    return time(() => matrix.quantize(repeat)) / repeat;
  },

  dequantize(repeat: number): number {
    const matrix = need(bench, "matrix");
    return time(() => matrix.dequantize(repeat)) / repeat;
  },

  /** Makes a model with random weights; returns the bytes it holds. */
  model(name: ShapeName, quantization: Record<string, unknown> | null, context: number): Record<string, number> {
    const { glue, memory } = need(engine, "engine");
    model?.free();
    model = undefined;
    shape = name;
    model = makeModel(glue, memory, SHAPES[name], quantization, context);
    calibrate();
    return JSON.parse(model.memory()) as Record<string, number>;
  },

  /** Relative error of the logits after a prompt against the exact ones, in decode and in prefill. */
  checkModel(arithmetic: Arithmetic): { prefill: number; decode: number } {
    const llama = need(model, "model");
    const ids = prompt(12);
    llama.reset();
    llama.setArithmetic("exact");
    llama.read(ids);
    const exact = llama.logits();
    if (!exact.every(Number.isFinite) || new Set(exact).size < exact.length / 2) throw new Error("the logits are not plausible");
    llama.reset();
    llama.setArithmetic(arithmetic);
    llama.read(ids);
    const prefill = relativeError(llama.logits(), exact);
    llama.reset();
    for (const id of ids) llama.read(Uint32Array.of(id));
    const decode = relativeError(llama.logits(), exact);
    const bound = LOGIT_BOUNDS[arithmetic];
    return { prefill: checked(`prefill, ${arithmetic}`, prefill, bound), decode: checked(`decode, ${arithmetic}`, decode, bound) };
  },

  /** Milliseconds of reading `tokens` at once into an empty kv cache. */
  prefill(arithmetic: Arithmetic, tokens: number): number {
    const llama = need(model, "model");
    llama.reset();
    llama.setArithmetic(arithmetic);
    const ids = prompt(tokens);
    return time(() => llama.read(ids));
  },

  /** Milliseconds of reading `tokens` one by one into an empty kv cache. */
  decode(arithmetic: Arithmetic, tokens: number): number {
    const llama = need(model, "model");
    llama.reset();
    llama.setArithmetic(arithmetic);
    return decode(llama, tokens);
  },

  /** Fills the kv cache with `tokens`, in pieces as a long prompt is read. */
  fill(arithmetic: Arithmetic, tokens: number): number {
    const llama = need(model, "model");
    llama.reset();
    llama.setArithmetic(arithmetic);
    const ids = prompt(tokens);
    return time(() => {
      for (let at = 0; at < tokens; at += PIECE) llama.read(ids.subarray(at, at + PIECE));
    });
  },

  /** Milliseconds of reading `tokens` one by one behind the first `position` in the kv cache, which stays as it was. */
  decodeBehind(arithmetic: Arithmetic, position: number, tokens: number): number {
    const llama = need(model, "model");
    const logits = llama.logits();
    llama.setArithmetic(arithmetic);
    llama.rewind(position, logits);
    const took = decode(llama, tokens);
    llama.rewind(position, logits);
    return took;
  },

  /** Puts an adapter beside the model; returns its bytes. */
  adapter(rank: number): number {
    const { config, weights } = makeAdapter(SHAPES[shape], rank);
    return need(model, "model").loadAdapter("bench", config, "adapter_model.safetensors", weights);
  },

  setAdapter(on: boolean): void {
    need(model, "model").setAdapter(on ? "bench" : undefined, 1);
  },

  /** Frees the model and the matrix. */
  clear(): void {
    model?.free();
    bench?.free();
    model = bench = undefined;
  },
};

export type Calls = typeof calls;
export type CallName = keyof Calls;
export interface Request {
  id: number;
  name: CallName;
  args: readonly unknown[];
}
export type Answer = { id: number; result: unknown } | { id: number; error: string };

addEventListener("message", ({ data: { id, name, args } }: MessageEvent<Request>) => {
  // The client types arguments and results by `Calls`.
  const call = calls[name] as (...args: readonly unknown[]) => unknown;
  void (async () => call(...args))().then(
    (result) => postMessage({ id, result } satisfies Answer),
    (error: unknown) => postMessage({ id, error: error instanceof Error ? error.message : String(error) } satisfies Answer),
  );
});

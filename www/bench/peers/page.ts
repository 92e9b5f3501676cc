/** What the benchmark compares with, in a page of its own: wllama 2 and 3, onnxruntime-web. Each is asked by name. */

import { bell } from "../random";
import { SHAPES, type ShapeName } from "../shapes";
import { median, relativeError } from "../stats";
import { gguf, type GgufType } from "./gguf";
import { matMulNBits, product, randomNBits } from "./onnx";

/** What of wllama 2 is used. */
interface Wllama2 {
  loadModel(blobs: Blob[], options: Record<string, unknown>): Promise<void>;
  isMultithread(): boolean;
  getNumThreads(): number;
  decode(tokens: number[], options: Record<string, unknown>): Promise<unknown>;
  kvClear(): Promise<void>;
  getLogits(topK: number): Promise<{ token: number; p: number }[]>;
  _testBenchmark(type: "tg" | "pp", samples: number): Promise<{ success: boolean; message: string; t_ms: number }>;
  exit(): Promise<void>;
}

interface Timings {
  prompt_n: number;
  prompt_ms: number;
  predicted_n: number;
  predicted_ms: number;
}

/** What of wllama 3 is used. */
interface Wllama3 {
  loadModel(blobs: Blob[], options: Record<string, unknown>): Promise<void>;
  createCompletion(options: Record<string, unknown>): Promise<{ choices: { text: string }[]; timings?: Timings }>;
  exit(): Promise<void>;
}

interface OrtTensor {
  data: Float32Array;
}

interface OrtSession {
  run(feeds: Record<string, OrtTensor>): Promise<Record<string, OrtTensor>>;
  release(): Promise<void>;
}

interface Ort {
  env: { wasm: { numThreads: number; wasmPaths: string; proxy: boolean } };
  Tensor: new (type: "float32", data: Float32Array, shape: number[]) => OrtTensor;
  InferenceSession: { create(model: Uint8Array, options: Record<string, unknown>): Promise<OrtSession> };
}

const MODULES = "/peers/node_modules";
const CONTEXT = 512;

function load<T>(path: string): Promise<T> {
  return import(`${MODULES}/${path}`) as Promise<T>;
}

const silent = { debug: () => undefined, log: () => undefined, warn: () => undefined, error: () => undefined };
const second = new Map<string, Wllama2>();
const third = new Map<string, Wllama3>();
const sessions = new Map<string, { session: OrtSession; cols: number }>();

function need<T>(from: Map<string, T>, key: string): T {
  const found = from.get(key);
  if (found === undefined) throw new Error(`${key} was not loaded`);
  return found;
}

const peers = {
  /** Loads wllama 2 under a name and sees that its logits are finite and change with the prompt. */
  async loadWllama2(key: string, shape: ShapeName, type: GgufType, threads: number): Promise<{ threads: number; multithread: boolean }> {
    const at = `${MODULES}/wllama2/esm`;
    const paths = { "single-thread/wllama.wasm": `${at}/single-thread/wllama.wasm`, "multi-thread/wllama.wasm": `${at}/multi-thread/wllama.wasm` };
    const { Wllama } = await load<{ Wllama: new (paths: object, options: object) => Wllama2 }>("wllama2/esm/index.js");
    const wllama = new Wllama(paths, { suppressNativeLog: true, logger: silent });
    const blob = new Blob(gguf(SHAPES[shape], type, CONTEXT));
    await wllama.loadModel([blob], { n_ctx: CONTEXT, n_threads: threads, n_batch: 128 });
    const likely = async (tokens: number[]) => {
      await wllama.kvClear();
      await wllama.decode(tokens, {});
      return wllama.getLogits(10);
    };
    const [a, b] = [await likely([1, 300, 301]), await likely([1, 400, 401])];
    const probable = [...a, ...b].every(({ p }) => p > 0 && p < 1);
    if (!probable || a.map(({ token }) => token).join() === b.map(({ token }) => token).join()) {
      throw new Error(`wllama 2 with ${type}: not plausible: ${JSON.stringify([a, b])}`);
    }
    second.set(key, wllama);
    return { threads: wllama.getNumThreads(), multithread: wllama.isMultithread() };
  },

  /**
   * Milliseconds by wllama 2's own benchmark, in C++: the kv cache is emptied, then "tg" reads one token after the other
   * with logits after each, "pp" all of them in one batch with logits after the last. Nothing is sampled.
   */
  async wllama2(key: string, type: "tg" | "pp", samples: number): Promise<number> {
    const result = await need(second, key)._testBenchmark(type, samples);
    if (!result.success || !(result.t_ms > 0)) throw new Error(`wllama 2: ${result.message}`);
    return result.t_ms;
  },

  async loadWllama3(key: string, shape: ShapeName, type: GgufType, threads: number): Promise<void> {
    const { Wllama } = await load<{ Wllama: new (paths: object, options: object) => Wllama3 }>("wllama3/esm/index.js");
    const wllama = new Wllama({ default: `${MODULES}/wllama3/esm/wasm/wllama.wasm` }, { suppressNativeLog: true, logger: silent });
    const blob = new Blob(gguf(SHAPES[shape], type, CONTEXT));
    await wllama.loadModel([blob], { n_ctx: CONTEXT, n_threads: threads, n_batch: 128, n_gpu_layers: 0, warmup: false, n_parallel: 1 });
    third.set(key, wllama);
  },

  /** Milliseconds a token by wllama 3's own timings of a completion: it has no benchmark without sampling, so greedy. */
  async wllama3(key: string, prompt: number, tokens: number): Promise<{ prefill: number; decode: number; prompt: number }> {
    const word = (i: number) => String.fromCharCode(97 + ((i * 7) % 26), 97 + ((i * 11) % 26));
    const text = Array.from({ length: prompt - 1 }, (_, i) => word(i)).join(" ");
    const options = { prompt: text, max_tokens: tokens, n_predict: tokens, temperature: 0, top_k: 1, ignore_eos: true, cache_prompt: false };
    const { timings, choices } = await need(third, key).createCompletion(options);
    if (timings === undefined || timings.predicted_n < tokens / 2 || choices[0]?.text === undefined) {
      throw new Error(`wllama 3: no timings, or too few tokens: ${JSON.stringify(timings)}`);
    }
    return {
      prefill: timings.prompt_ms / timings.prompt_n,
      decode: timings.predicted_ms / timings.predicted_n,
      prompt: timings.prompt_n,
    };
  },

  /** Loads a MatMulNBits of random weights and compares one product with the definition; returns its relative error. */
  async loadOrt(key: string, rows: number, cols: number, blocksize: number, accuracyLevel: number): Promise<number> {
    const ort = await load<Ort>("onnxruntime-web/dist/ort.wasm.min.mjs");
    ort.env.wasm.numThreads = 1;
    ort.env.wasm.proxy = false;
    ort.env.wasm.wasmPaths = `${location.origin}${MODULES}/onnxruntime-web/dist/`;
    const weight = randomNBits(rows, cols, blocksize);
    const session = await ort.InferenceSession.create(matMulNBits(weight, accuracyLevel), { executionProviders: ["wasm"] });
    const x = bell(cols, 13);
    const { y } = await session.run({ x: new ort.Tensor("float32", x, [1, cols]) });
    const error = relativeError(y?.data ?? [], product(weight, x));
    if (!(error < 0.02)) throw new Error(`MatMulNBits: relative error ${error}`);
    sessions.set(key, { session, cols });
    return error;
  },

  /** Milliseconds of one product: the median of as many as fit into `budget` milliseconds. */
  async ort(key: string, tokens: number, budget: number): Promise<number> {
    const ort = await load<Ort>("onnxruntime-web/dist/ort.wasm.min.mjs");
    const { session, cols } = need(sessions, key);
    const x = new ort.Tensor("float32", bell(tokens * cols, 13), [tokens, cols]);
    const times: number[] = [];
    for (const end = performance.now() + budget; performance.now() < end || times.length < 2; ) {
      const start = performance.now();
      await session.run({ x });
      times.push(performance.now() - start);
    }
    return median(times);
  },

  /** Ends everything whose key begins so. */
  async unload(prefix: string): Promise<void> {
    for (const loaded of [second, third]) {
      for (const [key, wllama] of loaded) {
        if (!key.startsWith(prefix)) continue;
        await wllama.exit();
        loaded.delete(key);
      }
    }
    for (const [key, { session }] of sessions) {
      if (!key.startsWith(prefix)) continue;
      await session.release();
      sessions.delete(key);
    }
  },
};

export type Peers = typeof peers;
declare global {
  var peers: Peers;
}
globalThis.peers = peers;

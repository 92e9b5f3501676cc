/** The worker's side: owns the WebAssembly module and the model, and answers the calls of protocol.ts. */

import { calibrate, hasThreads, startBuild, type Engine } from "./builds";
import { NibblamaError } from "./errors";
import { toFootprint } from "./footprint";
import type { Export } from "./export";
import { LAB_WORKER, type ToLab } from "./lab-protocol";
import { inspect, load, type Loaded, type Task } from "./load";
import type { CallName, Calls, Report, ToPage, ToWorker } from "./protocol";
import { Runner } from "./run";
import type { MemoryLedger, StoredTensor, TensorSummary, VariantInfo, VariantName } from "./types";
import { MAX_THREADS, startPool } from "./pool";
import { openSource } from "./source";
import { VARIANTS } from "./variants";
import { isTrap, posted, trapReason } from "./worker-errors";

interface Port {
  readonly name: string;
  postMessage(message: ToPage, transfer?: Transferable[]): void;
  addEventListener(type: "message", listener: (event: MessageEvent<ToWorker>) => void): void;
}

/** Calls of code in the second module of a build; `load` knows itself when it needs that. */
const DEFERRED: ReadonlySet<CallName> = new Set<CallName>([
  "perplexity", "layers", "tensors", "storedTensors", "loadAdapter", "embed", "saveSession", "restoreSession", "exportStart",
]);

const port = globalThis as unknown as Port;

let engine: Engine | undefined;
let loaded: Loaded | undefined;
let runner: Runner | undefined;
let exporting: Export | undefined;
const running = new Map<number, AbortController>();
/** Calls that use the kv cache wait for each other. */
let exclusive: Promise<unknown> = Promise.resolve();

type Handlers = {
  [Name in CallName]: (
    request: Calls[Name]["request"],
    task: Task,
    report: (report: Report) => void,
  ) => Calls[Name]["result"] | Promise<Calls[Name]["result"]>;
};

const handlers: Handlers = {
  start: ({ variant, threads, wasm }, _, report) => start(variant, threads, wasm, () => report({ kind: "threads" })),
  load: async (request, task, report) => {
    loaded = await load(started(), request, task, (progress) => report({ kind: "progress", progress }));
    runner = new Runner(loaded);
    return { facts: loaded.facts, fastDesigns: calibrate(started().glue) };
  },
  footprint: ({ config, quantization, dtype, context }) => {
    const json = quantization === null ? undefined : JSON.stringify(quantization);
    return toFootprint(started().glue.footprint(config, json, dtype ?? undefined, context));
  },
  inspect: (request, task) => inspect(started(), request, task),
  generate: (request, task, report) => inTurn(task, () => textOf().generate(request, task, report)),
  tokenize: ({ prompt, addSpecialTokens }) => {
    const { text } = current();
    const { ids, source } = textOf().encode(prompt, addSpecialTokens);
    return { ids, tokens: ids.map((id) => text.piece(id)), text: source ?? text.decode(ids, false) };
  },
  detokenize: ({ ids, skipSpecialTokens }) => current().text.decode(ids, skipSpecialTokens),
  logits: ({ prompt, all, arithmetic }, task) =>
    inTurn(task, async () => {
      const { model, facts, arithmetic: own } = current();
      const { ids } = textOf().encode(prompt, true);
      textOf().forget();
      const vocabulary = facts.config.vocab_size;
      const chosen = arithmetic ?? (own === null ? null : "exact");
      if (all) return { data: await textOf().readAll(ids, task, chosen), shape: [ids.length, vocabulary] as [number, number] };
      await textOf().read(ids, task, () => chosen, "none", () => undefined);
      return { data: model.logits() as Float32Array<ArrayBuffer>, shape: [1, vocabulary] as [number, number] };
    }),
  perplexity: (request, task, report) =>
    inTurn(task, async () => {
      const { perplexity } = await import("./perplexity");
      return perplexity(current(), request, task, (done, total) => report({ kind: "prefill", done, total }));
    }),
  setArithmetic: ({ arithmetic }) => {
    const loaded = current();
    loaded.model.setArithmetic(arithmetic);
    loaded.arithmetic = arithmetic;
    return null;
  },
  memory: () => {
    const ledger = JSON.parse(current().model.memory()) as Omit<MemoryLedger, "other" | "wasm_memory">;
    const wasm_memory = started().memory.buffer.byteLength;
    return { ...ledger, other: wasm_memory - ledger.total, wasm_memory };
  },
  layers: () => current().model.layers(),
  tensors: () => JSON.parse(current().model.tensors()) as TensorSummary[],
  storedTensors: ({ module }) => current().model.storedTensors(module) as StoredTensor[],
  loadAdapter: async ({ name, source }, { signal }) => {
    const files = openSource(source);
    const bytes = async (file: string) => {
      const found = await files.bytes(file, signal);
      if (found === null) throw new NibblamaError("missing-file", "this file of an adapter is missing", { file });
      return found;
    };
    const config = await bytes("adapter_config.json");
    const weights = await bytes("adapter_model.safetensors");
    return { name, bytes: current().model.loadAdapter(name, config, "adapter_model.safetensors", weights) };
  },
  setAdapter: ({ name, scale }) => {
    current().model.setAdapter(name ?? undefined, scale);
    return null;
  },
  deleteAdapter: ({ name }) => {
    current().model.deleteAdapter(name);
    return null;
  },
  adapters: () => current().model.adapters(),
  embed: ({ prompt }, task) => inTurn(task, () => textOf().embed(prompt, task)),
  saveSession: (_, task) => inTurn(task, async () => (await import("./session")).saveSession(current().model, current().facts)),
  restoreSession: ({ file }, task) =>
    inTurn(task, async () => {
      const { model, facts, text } = current();
      const tokens = await (await import("./session")).restoreSession(model, facts, file);
      textOf().restored();
      return { tokens: tokens.length, text: text.decode([...tokens], true) };
    }),
  exportStart: async ({ quantized, adapter }) => {
    const { Export, smallFiles } = await import("./export");
    exporting = new Export(current(), quantized, adapter);
    return { files: smallFiles(current(), quantized), header: exporting.header, total: exporting.total };
  },
  exportNext: () => exporting?.next() ?? null,
};

async function start(
  name: VariantName,
  wanted: number | null,
  wasm: ArrayBuffer | null,
  onThreads: () => void,
): Promise<VariantInfo> {
  const variant = VARIANTS.find((each) => each.name === name);
  if (variant === undefined) throw new NibblamaError("invalid-argument", "no such build", { found: name });
  engine = await startBuild(name, wasm);
  const { glue, memory } = engine;
  const most = wanted ?? Math.min(navigator.hardwareConcurrency || 1, MAX_THREADS);
  if (hasThreads(name)) onThreads();
  const threads = !hasThreads(name) || most === 1 ? 1 : await startPool(glue, memory, most);
  return { name, simd: variant.simd, threads, isa: glue.isa(), fastDesigns: calibrate(glue), rejected: [] };
}

function started(): Engine {
  if (engine === undefined) throw new NibblamaError("invalid-argument", "the engine was not started");
  return engine;
}

function current(): Loaded {
  if (loaded === undefined) throw new NibblamaError("invalid-argument", "no model is loaded");
  return loaded;
}

/** The text in the model's kv cache. */
function textOf(): Runner {
  current();
  return runner as Runner;
}

function inTurn<T>(task: Task, action: () => Promise<T>): Promise<T> {
  const turn = exclusive.then(async () => {
    await task.breathe();
    return action();
  });
  exclusive = turn.catch(() => undefined);
  return turn;
}

const breath = new MessageChannel();
const waiting: (() => void)[] = [];
breath.port1.onmessage = () => waiting.shift()?.();

/** A turn of the event loop, without the delay that timers have. */
function turnOfEventLoop(): Promise<void> {
  return new Promise((resolve) => {
    waiting.push(resolve);
    breath.port2.postMessage(null);
  });
}

function task(signal: AbortSignal): Task {
  return {
    signal,
    breathe: async () => {
      await turnOfEventLoop();
      if (signal.aborted) throw new NibblamaError("aborted", "the caller asked to stop");
    },
  };
}

async function handle<Name extends CallName>(id: number, name: Name, request: Calls[Name]["request"]): Promise<void> {
  const controller = new AbortController();
  running.set(id, controller);
  try {
    if (DEFERRED.has(name)) await started().deferred();
    const report = (report: Report) => port.postMessage({ type: "report", id, report });
    const result = await handlers[name](request, task(controller.signal), report);
    port.postMessage({ type: "result", id, result });
  } catch (error) {
    if (isTrap(error)) port.postMessage({ type: "crash", reason: trapReason(error) });
    else port.postMessage({ type: "error", id, error: posted(error) });
  } finally {
    running.delete(id);
  }
}

function receive(data: ToWorker): void {
  if (data.type === "abort") running.get(data.id)?.abort();
  else void handle(data.id, data.name, data.request);
}

// One script for both kinds of workers, so that what they share is fetched once.
if (port.name === LAB_WORKER) {
  const lab = import("./lab-worker");
  // A script that does not load must become an error event, which a rejection would not.
  lab.catch((error: unknown) => setTimeout(() => { throw error; }));
  port.addEventListener("message", ({ data }) => void lab.then(({ receive }) => receive(data as unknown as ToLab), () => undefined));
} else {
  port.addEventListener("message", ({ data }) => receive(data));
}

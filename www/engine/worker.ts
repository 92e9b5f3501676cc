/** The worker's side: owns the WebAssembly module and the model, and answers the calls of protocol.ts. */

import { BUILDS, threaded } from "./builds";
import { NibblamaError } from "./errors";
import { toFootprint } from "./footprint";
import { load, type Engine, type Loaded, type Task } from "./load";
import { MAX_THREADS, startPool } from "./pool";
import type { CallName, Calls, PostedPrompt, Report, ToPage, ToWorker } from "./protocol";
import type { Arithmetic, FinishReason, MemoryLedger, StoredTensor, TensorSummary, VariantInfo, VariantName } from "./types";
import { openSource } from "./source";
import { perplexity } from "./perplexity";
import { VARIANTS } from "./variants";
import { isTrap, posted, trapReason } from "./worker-errors";

interface Port {
  postMessage(message: ToPage, transfer?: Transferable[]): void;
  addEventListener(type: "message", listener: (event: MessageEvent<ToWorker>) => void): void;
}

const port = globalThis as unknown as Port;

/** Prompt tokens read between two looks at the messages, chosen so that a piece takes well under 100 ms. */
const PIECE_WORK = 2e8;

let engine: Engine | undefined;
let loaded: Loaded | undefined;
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
  start: ({ variant, threads }) => start(variant, threads),
  load: async (request, task, report) => {
    loaded = await load(started(), request, task, (progress) => report({ kind: "progress", progress }));
    return loaded.facts;
  },
  footprint: ({ config, quantization, dtype, context }) => {
    const json = quantization === null ? undefined : JSON.stringify(quantization);
    return toFootprint(started().glue.footprint(config, json, dtype ?? undefined, context));
  },
  generate: (request, task, report) => inTurn(task, () => generate(request, task, report)),
  tokenize: ({ prompt, addSpecialTokens }) => {
    const { text } = current();
    const { ids, source } = encode(prompt, addSpecialTokens);
    return { ids, tokens: ids.map((id) => text.piece(id)), text: source ?? text.decode(ids, false) };
  },
  detokenize: ({ ids, skipSpecialTokens }) => current().text.decode(ids, skipSpecialTokens),
  logits: ({ prompt, all, arithmetic }, task) =>
    inTurn(task, async () => {
      const { model, facts, arithmetic: own } = current();
      const { ids } = encode(prompt, true);
      model.reset();
      const vocabulary = facts.config.vocab_size;
      const chosen = arithmetic ?? (own === null ? null : "exact");
      if (all) {
        if (chosen !== null) model.setArithmetic(chosen);
        const data = model.readAll(Uint32Array.from(ids)) as Float32Array<ArrayBuffer>;
        return { data, shape: [ids.length, vocabulary] as [number, number] };
      }
      await read(ids, task, () => chosen, () => undefined);
      return { data: model.logits() as Float32Array<ArrayBuffer>, shape: [1, vocabulary] as [number, number] };
    }),
  perplexity: (request, task, report) =>
    inTurn(task, () => perplexity(current(), request, task, (done, total) => report({ kind: "prefill", done, total }))),
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
  setAdapter: ({ name }) => {
    current().model.setAdapter(name ?? undefined, 1);
    return null;
  },
  deleteAdapter: ({ name }) => {
    current().model.deleteAdapter(name);
    return null;
  },
  adapters: () => current().model.adapters(),
};

async function start(name: VariantName, wanted: number | null): Promise<VariantInfo> {
  const variant = VARIANTS.find((each) => each.name === name);
  if (variant === undefined) throw new NibblamaError("invalid-argument", "no such build", { found: name });
  const glue = await BUILDS[name]();
  const { memory } = await glue.default();
  engine = { glue, memory };
  const pooled = threaded(glue);
  const most = wanted ?? Math.min(navigator.hardwareConcurrency || 1, MAX_THREADS);
  const threads = pooled === null || most === 1 ? 1 : await startPool(name, pooled, memory, most);
  return { name, simd: variant.simd, threads, isa: glue.isa(), rejected: [] };
}

function started(): Engine {
  if (engine === undefined) throw new NibblamaError("invalid-argument", "the engine was not started");
  return engine;
}

function current(): Loaded {
  if (loaded === undefined) throw new NibblamaError("invalid-argument", "no model is loaded");
  return loaded;
}

function encode(prompt: PostedPrompt, addSpecialTokens: boolean): { ids: number[]; source: string | null } {
  const { text } = current();
  switch (prompt.kind) {
    case "ids":
      return { ids: [...prompt.ids], source: null };
    case "text":
      return { ids: text.encode(prompt.text, addSpecialTokens), source: prompt.text };
    case "messages": {
      // A template writes the special tokens itself.
      const rendered = text.render(prompt.messages);
      return { ids: text.encode(rendered, false), source: rendered };
    }
  }
}

/** Reads a prompt piece by piece into the kv cache. */
async function read(
  ids: readonly number[],
  task: Task,
  arithmetic: () => Arithmetic | null,
  onProgress: (done: number) => void,
): Promise<void> {
  const { model, facts } = current();
  const size = Math.min(64, Math.max(1, Math.floor(PIECE_WORK / facts.parameters)));
  const piece = model.readsWhole() ? ids.length : size;
  for (let done = 0; done < ids.length || done === 0; done += piece) {
    await task.breathe();
    const chosen = arithmetic();
    if (chosen !== null) model.setArithmetic(chosen);
    model.read(Uint32Array.from(ids.slice(done, done + piece)));
    onProgress(Math.min(done + piece, ids.length));
  }
}

async function generate(
  { prompt, options }: Calls["generate"]["request"],
  task: Task,
  report: (report: Report) => void,
): Promise<null> {
  const { model, text, facts } = current();
  const began = performance.now();
  const { stop_strings, max_new_tokens, ...sampling } = options;
  const limit = max_new_tokens ?? facts.generation.max_new_tokens ?? Number.POSITIVE_INFINITY;
  if (!(limit >= 1)) {
    throw new NibblamaError("invalid-argument", "nothing to generate", {
      tensor: "max_new_tokens",
      expected: "at least 1",
      found: String(limit),
    });
  }
  model.setSampling(JSON.stringify(sampling), [...stop_strings]);
  model.reset();
  const { ids } = encode(prompt, true);
  // Looked up for every piece and token, for it may be set meanwhile, and `logits` sets its own.
  const arithmetic = () => current().arithmetic;
  await read(ids, task, arithmetic, (done) => report({ kind: "prefill", done, total: ids.length }));
  for (let count = 1; ; count++) {
    await task.breathe();
    const token = model.sample();
    let piece = "";
    let finish: FinishReason | undefined;
    if (model.isEnd(token)) finish = "eos";
    else piece = model.pushText(text.bytes(token));
    if (finish === undefined && model.stopped()) finish = "stop";
    if (finish === undefined && count >= limit) finish = "length";
    if (finish === undefined && model.remaining() === 0) finish = "context";
    if (finish !== undefined) piece += model.finishText();
    const generated = { token, text: piece, time: performance.now() - began };
    report({ kind: "tokens", tokens: [finish === undefined ? generated : { ...generated, finish }] });
    if (finish !== undefined) return null;
    const chosen = arithmetic();
    if (chosen !== null) model.setArithmetic(chosen);
    model.read(Uint32Array.of(token));
  }
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

port.addEventListener("message", ({ data }) => {
  if (data.type === "abort") running.get(data.id)?.abort();
  else void handle(data.id, data.name, data.request);
});

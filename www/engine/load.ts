/**
 * A model's files to a model: headers of all weight files first, then every tensor once, in file order. What the
 * store holds of it is read from there; what it lacks is kept in it as it comes.
 */

import type { Engine, Glue } from "./builds";
import { needed, needReader, readHeaders, type WeightFile } from "./checkpoint";
import { NibblamaError } from "./errors";
import { Pieces } from "./pieces";
import { completeLimits, misfits, moduleOf, plan } from "./plan";
import type { LoadRequest, PostedSource } from "./protocol";
import { ByteReader, openSource, type Source } from "./source";
import type { KeptTensor, Store } from "./store";
import { Text, type TextFile } from "./text";
import type { Arithmetic, Inspection, LoadProgress, ModelFacts } from "./types";

export type WasmModel = import("./pkg/simd128/nibblama.js").Model;
type WasmLoader = InstanceType<Glue["Loader"]>;

/** What a running call may do besides computing. */
export interface Task {
  signal: AbortSignal;
  /** Lets messages in; throws `aborted` after an abort. */
  breathe(): Promise<void>;
}

export interface Loaded {
  model: WasmModel;
  text: Text;
  facts: ModelFacts;
  /** What `generate` computes with; null where a compute dtype is emulated, which has its own. */
  arithmetic: Arithmetic | null;
  /** How prompts are divided. */
  pieces: Pieces;
  /** The small files as they were read, for an export. */
  files: Map<string, Uint8Array<ArrayBuffer>>;
}

/** A stored tensor was damaged: its record is dropped, and the load starts again. */
class Restart extends Error {}

export function load(engine: Engine, request: LoadRequest, task: Task, onProgress: (progress: LoadProgress) => void): Promise<Loaded> {
  return stored(engine, request, task, onProgress, request.store, (loading) => loading.run());
}

/** What loading would take, without reading any weight. Nothing is kept. */
export function inspect(engine: Engine, request: LoadRequest, task: Task): Promise<Inspection> {
  return stored(engine, request, task, () => undefined, null, (loading) => loading.inspect());
}

/** Does `work` with the store at hand, where there is to be one. */
async function stored<T>(
  engine: Engine,
  request: LoadRequest,
  task: Task,
  onProgress: (progress: LoadProgress) => void,
  keep: LoadRequest["store"],
  work: (loading: Loading) => Promise<T>,
): Promise<T> {
  const { source } = request;
  const place = source.kind === "stored" ? (request.store ?? "opfs") : keep;
  if (place === null) return work(new Loading(engine, request, task, onProgress, null));
  await engine.deferred();
  const { locked, Store, storeId } = await import("./store");
  const name = sourceName(source);
  const id = source.kind === "stored" ? source.id : await storeId(name, request.quantization);
  return locked(id, task.signal, async () => {
    for (;;) {
      const { glue } = engine;
      const store =
        source.kind === "stored" ? await Store.existing(id, place, glue) : await Store.open(id, name, request.quantization, place, glue);
      try {
        return await work(new Loading(engine, request, task, onProgress, store));
      } catch (error) {
        if (error instanceof Restart) continue;
        // What turned out to be wrong as a whole must not be gone on from.
        const wrong = error instanceof NibblamaError && ["damaged-file", "changed-file", "parity"].includes(error.code);
        if (wrong && source.kind !== "stored") await store.remove();
        throw error;
      } finally {
        store.close();
      }
    }
  });
}

/** What a source is called in the store. */
function sourceName(source: PostedSource): string {
  switch (source.kind) {
    case "url":
      return source.url;
    case "hub":
      return `${source.base}${source.id}@${source.revision}`;
    case "files": {
      const files = source.files.map(({ name, size, lastModified }) => `${name} ${size} ${lastModified}`);
      return `files ${files.sort().join(", ")}`;
    }
    case "directory":
      return `folder ${source.directory.name}`;
    case "stored":
      return source.id;
  }
}

/** Everything that can be known before the weights. */
interface Headers {
  loader: WasmLoader;
  text: Text;
  facts: ModelFacts;
  files: WeightFile[];
  /** Tensors of the store, as a file of their own. */
  kept: KeptTensor[];
  open: ByteReader | undefined;
  inspection: Omit<Inspection, "facts">;
}

class Loading {
  readonly #engine: Engine;
  readonly #request: LoadRequest;
  readonly #task: Task;
  readonly #onProgress: (progress: LoadProgress) => void;
  readonly #small = new Map<string, Uint8Array<ArrayBuffer>>();
  #store: Store | null;
  /** Where the files come from; null for a stored model. One for the whole load: a Hub's names one commit. */
  #behind: Source | null = null;
  #progress: LoadProgress = { phase: "headers", loaded: 0, total: 0, tensors: 0, tensorsTotal: 0, time: 0 };
  #reported = 0;

  constructor(
    engine: Engine,
    request: LoadRequest,
    task: Task,
    onProgress: (progress: LoadProgress) => void,
    store: Store | null,
  ) {
    this.#engine = engine;
    this.#request = request;
    this.#task = task;
    this.#onProgress = onProgress;
    this.#store = store;
  }

  async inspect(): Promise<Inspection> {
    const { loader, facts, open, inspection } = await this.#headers();
    await open?.close();
    loader.free();
    return { facts, ...inspection };
  }

  async run(): Promise<Loaded> {
    const headers = await this.#headers();
    const { loader, text, facts, files, kept, inspection } = headers;
    try {
      const [worst] = inspection.reasons;
      if (worst !== undefined) {
        throw new NibblamaError("does-not-fit", `the model does not fit: ${REASONS[worst.kind]}`, {
          expected: `at most ${worst.available} bytes`,
          found: `${worst.needed} bytes`,
        });
      }
      this.#progress = {
        ...this.#progress,
        total: inspection.bytes.download,
        tensorsTotal: files.length === 0 ? kept.length : facts.tensors,
      };
      this.#onProgress({ ...this.#progress, facts });
      this.#progress.phase = "weights";
      await this.#readKept(loader, kept, files.length);
      for (const [index, file] of files.entries()) await this.#readFile(headers, file, index);
      this.#report(true);
      const { context, kvCacheDtype } = this.#request;
      const model = loader.finish(context ?? undefined, this.#arithmetic ?? undefined, kvCacheDtype ?? undefined);
      try {
        return await this.#finish(model, text, facts);
      } catch (error) {
        release(model);
        throw error;
      }
    } finally {
      await headers.open?.close();
    }
  }

  async #finish(model: WasmModel, text: Text, facts: ModelFacts): Promise<Loaded> {
    const differs = model.parity();
    if (differs !== undefined) {
      throw new NibblamaError("parity", "this build computes something else than the specification here", { found: differs });
    }
    if (this.#store !== null && this.#store.kept.facts === null) await this.#keeping((store) => store.complete(facts));
    const known = { ...facts, stored: this.#store?.id ?? null };
    this.#onProgress({ ...this.#progress, phase: "ready", facts: known });
    const pieces = new Pieces(model.pieceTokens(), facts.parameters, facts.config.num_hidden_layers);
    return { model, text, facts: known, arithmetic: this.#arithmetic, pieces, files: this.#small };
  }

  get #arithmetic(): Arithmetic | null {
    const { arithmetic, computeDtype } = this.#request;
    return arithmetic ?? (computeDtype === "float32" ? "near-exact" : null);
  }

  async #headers(): Promise<Headers> {
    const { glue } = this.#engine;
    const { signal } = this.#task;
    const source = await this.#source();
    const config = await needed(source, "config.json", signal);
    const json = new TextDecoder().decode(config);
    const text = await openText(source, signal);
    const generation = await source.bytes("generation_config.json", signal);
    const quantization = this.#quantization();
    if (hasExpressions(json) || hasExpressions(quantization)) await this.#engine.deferred();
    const loader = new glue.Loader(config, generation ?? undefined, quantization, this.#request.computeDtype);
    const complete = this.#store?.kept.facts ?? null;
    let open: ByteReader | undefined;
    try {
      let files: WeightFile[] = [];
      if (complete === null) {
        const read = await readHeaders(glue, loader, source, this.#task);
        ({ files, open } = read);
        await this.#checkpoint(files, read.index);
      }
      const kept = this.#addKept(loader);
      loader.begin();
      const facts: ModelFacts = complete ?? {
        ...(JSON.parse(loader.facts()) as Omit<ModelFacts, "rawConfig" | "fileBytes" | "chatTemplate" | "stored">),
        // The engine has read the same bytes, and strictly, so they are an object.
        rawConfig: JSON.parse(json) as Record<string, unknown>,
        fileBytes: sum(files.map((file) => file.length)),
        tensors: sum(files.map((file) => file.tensors.length)),
        chatTemplate: text.hasChatTemplate,
        stored: null,
      };
      if (facts.quantization?.load_in_8bit) await this.#engine.deferred();
      const inspection = await this.#plan(json, facts, files, kept);
      return { loader, text, facts, files, kept, open, inspection };
    } catch (error) {
      await open?.close();
      release(loader);
      throw error;
    }
  }

  #quantization(): string | undefined {
    const { quantization, source } = this.#request;
    if (quantization !== null) return JSON.stringify(quantization);
    // A stored model stays as it was quantized when it was stored.
    const stored = source.kind === "stored" ? (this.#store?.kept.facts?.quantization ?? null) : null;
    return stored === null ? undefined : JSON.stringify(stored);
  }

  /** The source, in front of it what the store holds of its small files. */
  async #source(): Promise<Source> {
    const { source, network } = this.#request;
    const store = this.#store;
    const complete = store?.kept.facts != null;
    if (source.kind === "stored" && !complete) {
      throw new NibblamaError("missing-file", "the stored model is not complete; load it from where it came from", {
        found: source.id,
      });
    }
    const behind = source.kind === "stored" ? null : openSource(source, network);
    this.#behind = behind;
    const bytes = async (name: string, signal: AbortSignal) => {
      const kept = await store?.file(name);
      if (complete && kept !== undefined) return kept;
      if (behind === null) throw new NibblamaError("damaged-file", "a stored file is damaged", { file: name });
      const fetched = await behind.bytes(name, signal);
      if (store !== null && kept === undefined) await this.#keeping((store) => store.putFile(name, fetched));
      // An interrupted load goes on only from the very same files.
      else if (store !== null && !same(kept ?? null, fetched)) await this.#begin();
      return fetched;
    };
    return {
      get names() {
        return behind?.names ?? null;
      },
      open: async (name, signal) => (await behind?.open(name, signal)) ?? null,
      bytes: async (name, signal) => {
        const content = await bytes(name, signal);
        if (content !== null) this.#small.set(name, content);
        return content;
      },
    };
  }

  /** Forgets what is kept, because the source changed. */
  async #begin(): Promise<never> {
    await this.#store?.remove();
    throw new Restart();
  }

  /** Checks that the files are those of an interrupted load, or notes which they are. */
  async #checkpoint(files: WeightFile[], index: boolean): Promise<void> {
    if (this.#store === null) return;
    const now = files.map(({ name, length, validator }) => ({ name, length, validator }));
    const before = this.#store.kept.checkpoint;
    if (before === null) await this.#keeping((store) => store.putCheckpoint(now, index));
    else if (JSON.stringify(before.files) !== JSON.stringify(now)) await this.#begin();
  }

  /** Announces the kept tensors as a file without holes. */
  #addKept(loader: WasmLoader): KeptTensor[] {
    const kept = [...(this.#store?.kept.tensors.values() ?? [])].sort((a, b) => a.offset - b.offset);
    if (kept.length === 0) return kept;
    const header: Record<string, unknown> = {};
    let end = 0;
    for (const { name, dtype, shape, length } of kept) {
      header[name] = { dtype, shape, data_offsets: [end, end + length] };
      end += length;
    }
    const json = new TextEncoder().encode(JSON.stringify(header));
    const prefix = new Uint8Array(8 + json.length);
    new DataView(prefix.buffer).setBigUint64(0, BigInt(json.length), true);
    prefix.set(json, 8);
    const order = JSON.parse(loader.addStored("store", prefix, prefix.length + end)) as [string, number, number][];
    // Tensors without bytes may come in another order.
    return order.map(([name]) => this.#store?.kept.tensors.get(name)).filter((tensor) => tensor !== undefined);
  }

  async #plan(config: string, facts: ModelFacts, files: WeightFile[], kept: KeptTensor[]): Promise<Omit<Inspection, "facts">> {
    const { context, limits, kvCacheDtype, store } = this.#request;
    const integers = this.#arithmetic === "near-exact" || this.#arithmetic === "fast";
    const tensors =
      files.length === 0
        ? kept.map(({ name, length }) => ({ name, bytes: length }))
        : files.flatMap((file) => file.tensors.map(([name, start, end]) => ({ name, bytes: end - start })));
    const positions = context ?? Math.min(facts.config.max_position_embeddings, 2048);
    const bytes = plan({
      config: facts.config,
      footprint: this.#engine.glue.footprint(config, this.#quantization(), undefined, positions),
      tensors,
      context: positions,
      kvCacheDtype: kvCacheDtype ?? (integers ? "int16" : "float32"),
      widens: kvCacheDtype === null && integers,
      piece: Pieces.LARGEST,
    });
    const storing = store !== null && files.length > 0;
    const unknown = storing && limits.storage === undefined;
    const storage = unknown ? await (await import("./store")).storageEstimate() : null;
    // Of a load that goes on, a part is stored already.
    const stored = storing ? bytes.stored - sum(kept.map(({ length }) => length)) : 0;
    const known = completeLimits(limits, storage);
    if (unknown) known.storage = Math.min(known.storage, this.#store?.room(stored) ?? stored);
    const reasons = misfits({ ...bytes, stored }, known);
    return { bytes, fits: reasons.length === 0, reasons };
  }

  async #readKept(loader: WasmLoader, kept: KeptTensor[], fileIndex: number): Promise<void> {
    const store = this.#store;
    if (store === null) return;
    const damaged = new Set<string>();
    for (const [index, tensor] of kept.entries()) {
      const address = loader.buffer(tensor.length) >>> 0;
      const into = new Uint8Array(this.#engine.memory.buffer, address, tensor.length);
      if (!(await store.readTensor(tensor, into, store.inBuffer(loader, address)))) damaged.add(moduleOf(tensor.name));
      else if (loader.wants(tensor.name)) loader.push(fileIndex, index);
      if (store.kept.facts !== null) this.#count(tensor.length, tensor.name);
      await this.#task.breathe();
    }
    if (damaged.size === 0) return;
    await store.drop(kept.map(({ name }) => name).filter((name) => damaged.has(moduleOf(name))));
    if (this.#request.source.kind === "stored") {
      throw new NibblamaError("damaged-file", "a stored tensor is damaged; load the model from where it came from", {
        tensor: [...damaged][0] ?? "",
      });
    }
    throw new Restart();
  }

  #count(bytes: number, tensor: string): void {
    this.#progress.loaded += bytes;
    this.#progress.tensors += 1;
    this.#progress.tensor = tensor;
    this.#report(false);
  }

  async #readFile(headers: Headers, file: WeightFile, fileIndex: number): Promise<void> {
    const { loader } = headers;
    const wanted = file.tensors.filter(([name]) => loader.wants(name));
    if (wanted.length === 0 && file.tensors.length > 0) {
      for (const [name, start, end] of file.tensors) this.#count(end - start, name);
      return;
    }
    const reader = headers.open ?? (await needReader(this.#behind ?? NOTHING, file.name, this.#task.signal));
    headers.open = reader;
    if (reader.validator !== file.validator || (reader.length ?? file.length) !== file.length) {
      throw new NibblamaError("changed-file", "the file changed while it was read", {
        file: file.name,
        expected: file.validator ?? `${file.length} bytes`,
        found: reader.validator ?? `${reader.length} bytes`,
      });
    }
    if (reader.position === 0) await reader.forward(file.headerLength, () => undefined);
    const before = this.#store?.kept.read.get(fileIndex);
    const firstWanted = wanted[0]?.[1] ?? 0;
    if (before !== undefined && before.offset > reader.position && before.offset <= firstWanted) {
      await reader.skip(before.offset - reader.position, before.hash);
    }
    /** Layers of which tensors came that are quantized once they are whole. */
    const pending = new Set<string>();
    for (const [tensorIndex, [name, start, end]] of file.tensors.entries()) {
      const length = end - start;
      if (end <= reader.position) {
        this.#count(length, name);
        continue;
      }
      await this.#readTensor(loader, file, reader, [fileIndex, tensorIndex], pending);
      this.#progress.tensors += 1;
      this.#progress.tensor = name;
      this.#report(false);
      await this.#task.breathe();
    }
    await reader.expectEnd();
    await reader.close();
    headers.open = undefined;
  }

  async #readTensor(
    loader: WasmLoader,
    file: WeightFile,
    reader: ByteReader,
    [fileIndex, tensorIndex]: [number, number],
    pending: Set<string>,
  ): Promise<void> {
    const [name, start, end] = file.tensors[tensorIndex] ?? ["", 0, 0];
    const length = end - start;
    if (!loader.wants(name)) {
      // A file that is checked as a whole is read as a whole.
      if (reader.saveHash() === null) await reader.skip(length);
      else await reader.forward(length, () => undefined);
      this.#progress.loaded += length;
      return;
    }
    const { memory } = this.#engine;
    const address = loader.buffer(length) >>> 0;
    await reader.forward(length, (piece, offset) => {
      // The memory may have grown since the last piece, so the view is made anew.
      new Uint8Array(memory.buffer, address + offset, piece.length).set(piece);
      this.#progress.loaded += piece.length;
      this.#report(false);
    });
    if (this.#store === null) return loader.push(fileIndex, tensorIndex);
    if (!loader.quantizes(name)) {
      const type = file.types.get(name) ?? { dtype: "", shape: [] };
      const bytes = new Uint8Array(memory.buffer, address, length);
      await this.#keeping((store) => store.putTensors([{ name, ...type, bytes }], store.inBuffer(loader, address)));
      loader.push(fileIndex, tensorIndex);
    } else {
      loader.push(fileIndex, tensorIndex);
      const quantized = loader.quantizedForm(name) as Parameters<Store["putTensors"]>[0] | undefined;
      if (quantized === undefined) {
        pending.add(moduleOf(name));
      } else {
        pending.delete(moduleOf(name));
        await this.#keeping((store) => store.putTensors(quantized));
      }
    }
    if (pending.size === 0) await this.#keeping((store) => store.putRead(fileIndex, end, reader.saveHash()));
  }

  /** Writes to the store; when there is no room any more, the model is loaded all the same, and not kept. */
  async #keeping(action: (store: Store) => Promise<void>): Promise<void> {
    const store = this.#store;
    if (store === null) return;
    try {
      await action(store);
    } catch (error) {
      if (!(error instanceof DOMException)) throw error;
      this.#store = null;
      await store.remove();
    }
  }

  #report(always: boolean): void {
    if (!always && performance.now() - this.#reported < 50) return;
    this.#reported = performance.now();
    this.#onProgress({ ...this.#progress });
  }
}

const REASONS = {
  memory: "WebAssembly memory is too small for it",
  device: "the device says it has less memory",
  storage: "there is not enough room to store it",
} as const;

/** Whether names of modules that are not quantized are regular expressions, which code in the second module matches. */
function hasExpressions(config: string | undefined): boolean {
  return config?.includes('"llm_int8_skip_modules"') === true && !PLAIN_NAMES.test(config);
}
const PLAIN_NAMES = /"llm_int8_skip_modules"\s*:\s*(?:null|\[(?:[\s,]|"[\w.-]*")*\])/;

/** Behind a model that is taken from the store there is nothing to read. */
const NOTHING: Source = { names: [], open: async () => null, bytes: async () => null };

/** What trapped is still in use: its own refusal must not hide the trap. */
function release(held: { free(): void }): void {
  try {
    held.free();
  } catch {
    // The worker ends.
  }
}

function same(a: Uint8Array | null, b: Uint8Array | null): boolean {
  if (a === null || b === null) return a === b;
  return a.length === b.length && a.every((byte, i) => byte === b[i]);
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}

async function openText(source: Source, signal: AbortSignal): Promise<Text> {
  const decode = (name: string, bytes: Uint8Array | null): TextFile | undefined =>
    bytes === null ? undefined : { name, text: new TextDecoder().decode(bytes) };
  const optional = async (name: string) => decode(name, await source.bytes(name, signal));
  const tokenizer = { name: "tokenizer.json", text: new TextDecoder().decode(await needed(source, "tokenizer.json", signal)) };
  const config = await optional("tokenizer_config.json");
  // The template's own file is newer than the key in the configuration; most models have one or none of them.
  const template = config?.text.includes('"chat_template"') ? undefined : await optional("chat_template.jinja");
  return Text.open(tokenizer, config, template);
}

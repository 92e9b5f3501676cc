/** A model's files to a model: headers of all weight files first, then every tensor once, in file order. */

import type { Glue } from "./builds";
import { NibblamaError } from "./errors";
import type { Calls } from "./protocol";
import { ByteReader, openSource, type Source } from "./source";
import { Text, type TextFile } from "./text";
import type { Arithmetic, LoadProgress, ModelFacts } from "./types";

export type WasmModel = import("./pkg/simd128/nibblama.js").Model;
type WasmLoader = InstanceType<Glue["Loader"]>;

/** A started build. */
export interface Engine {
  glue: Glue;
  memory: WebAssembly.Memory;
}

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
}

export interface WeightFile {
  name: string;
  tensors: [name: string, start: number, end: number][];
  headerLength: number;
  length: number;
}

const MODEL_FILE = "model.safetensors";
const INDEX_FILE = "model.safetensors.index.json";

export async function load(
  engine: Engine,
  request: Calls["load"]["request"],
  task: Task,
  onProgress: (progress: LoadProgress) => void,
): Promise<Loaded> {
  const { glue } = engine;
  const { signal } = task;
  const source = openSource(request.source);
  const config = await needed(source, "config.json", signal);
  const text = await openText(source, signal);
  const generation = await source.bytes("generation_config.json", signal);
  const quantization = request.quantization === null ? undefined : JSON.stringify(request.quantization);
  const loader = new glue.Loader(config, generation ?? undefined, quantization, request.computeDtype);
  let open: ByteReader | undefined;
  try {
    const { names, first } = await weightFiles(source, loader, signal);
    open = first;
    const files: WeightFile[] = [];
    for (const name of names) {
      const reader = open ?? (await needReader(source, name, signal));
      open = reader;
      files.push(await readHeader(glue, loader, reader));
      // One file goes on where its header ends; shards are opened again in turn, one connection at a time.
      if (names.length > 1) {
        await reader.close();
        open = undefined;
      }
      await task.breathe();
    }
    loader.begin();
    const total = sum(files.flatMap((file) => file.tensors.map(([, start, end]) => end - start)));
    const facts: ModelFacts = {
      ...(JSON.parse(loader.facts()) as Omit<ModelFacts, "rawConfig" | "fileBytes" | "chatTemplate">),
      // The engine has read the same bytes, and strictly, so they are an object.
      rawConfig: JSON.parse(new TextDecoder().decode(config)) as Record<string, unknown>,
      fileBytes: sum(files.map((file) => file.length)),
      chatTemplate: text.hasChatTemplate,
    };
    const progress: LoadProgress = {
      phase: "weights",
      loaded: 0,
      total,
      tensors: 0,
      tensorsTotal: facts.tensors,
      time: 0,
    };
    onProgress({ ...progress, phase: "headers", facts });
    let reported = performance.now();
    const report = (always: boolean) => {
      if (!always && performance.now() - reported < 50) return;
      reported = performance.now();
      onProgress({ ...progress });
    };
    for (const [fileIndex, file] of files.entries()) {
      const reader = open ?? (await needReader(source, file.name, signal));
      open = reader;
      if (reader.position === 0) await reader.forward(file.headerLength, () => undefined);
      for (const [tensorIndex, [name, start, end]] of file.tensors.entries()) {
        const wanted = loader.wants(name);
        const address = wanted ? loader.buffer(end - start) >>> 0 : 0;
        await reader.forward(end - start, (piece, offset) => {
          // The memory may have grown since the last piece, so the view is made anew.
          if (wanted) new Uint8Array(engine.memory.buffer, address + offset, piece.length).set(piece);
          progress.loaded += piece.length;
          report(false);
        });
        if (wanted) loader.push(fileIndex, tensorIndex);
        progress.tensors += 1;
        progress.tensor = name;
        report(false);
        await task.breathe();
      }
      await reader.expectEnd();
      await reader.close();
      open = undefined;
    }
    report(true);
    const model = loader.finish(request.context ?? undefined);
    const arithmetic = request.arithmetic ?? (request.computeDtype === "float32" ? "near-exact" : null);
    try {
      if (arithmetic !== null) model.setArithmetic(arithmetic);
    } catch (error) {
      model.free();
      throw error;
    }
    onProgress({ ...progress, phase: "ready", facts });
    return { model, text, facts, arithmetic };
  } catch (error) {
    await open?.close();
    throw error;
  }
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}

export async function needed(source: Source, name: string, signal: AbortSignal): Promise<Uint8Array<ArrayBuffer>> {
  const bytes = await source.bytes(name, signal);
  if (bytes === null) throw missing(source, name);
  return bytes;
}

function missing(source: Source, name: string): NibblamaError {
  const found = source.names === null ? undefined : source.names.slice(0, 8).join(", ");
  return new NibblamaError("missing-file", "this file of a model is missing", {
    file: name,
    ...(found === undefined ? {} : { found }),
  });
}

export async function needReader(source: Source, name: string, signal: AbortSignal): Promise<ByteReader> {
  const reader = await source.open(name, signal);
  if (reader === null) throw missing(source, name);
  return reader;
}

/** The names of the weight files; the first comes opened where finding out took that. */
export async function weightFiles(
  source: Source,
  loader: WasmLoader,
  signal: AbortSignal,
): Promise<{ names: string[]; first?: ByteReader }> {
  const single = await source.open(MODEL_FILE, signal);
  if (single !== null) return { names: [MODEL_FILE], first: single };
  const index = await source.bytes(INDEX_FILE, signal);
  if (index === null) throw missing(source, MODEL_FILE);
  const shards = loader.setIndex(INDEX_FILE, index);
  const absent = source.names === null ? undefined : shards.find((name) => !source.names?.includes(name));
  if (absent !== undefined) {
    throw new NibblamaError("missing-shard", "the index names a file that is not there", { file: absent });
  }
  return { names: shards };
}

export async function readHeader(glue: Glue, loader: WasmLoader, reader: ByteReader): Promise<WeightFile> {
  const { name } = reader;
  const start = await reader.read(Math.min(8, reader.length ?? 8));
  // Without a length from the server the header's own word is taken; the end of the stream must then confirm it.
  const known = reader.length ?? Number.MAX_SAFE_INTEGER;
  const headerLength = glue.Loader.headerLength(name, start, known);
  const prefix = new Uint8Array(headerLength);
  prefix.set(start);
  prefix.set(await reader.read(headerLength - start.length), start.length);
  const length = reader.length ?? headerLength + lastOffset(prefix);
  const tensors = JSON.parse(loader.addHeader(name, prefix, length)) as WeightFile["tensors"];
  return { name, tensors, headerLength, length };
}

/** The end of the last tensor, as the header says; the engine checks the rest. */
function lastOffset(prefix: Uint8Array): number {
  let end = 0;
  try {
    const header: unknown = JSON.parse(new TextDecoder().decode(prefix.subarray(8)));
    for (const value of Object.values(header ?? {})) {
      const offsets = (value as { data_offsets?: unknown } | null)?.data_offsets;
      if (Array.isArray(offsets) && typeof offsets[1] === "number") end = Math.max(end, offsets[1]);
    }
  } catch {
    // Not JSON: the engine says so, with the file's name.
  }
  return end;
}

async function openText(source: Source, signal: AbortSignal): Promise<Text> {
  const decode = (name: string, bytes: Uint8Array | null): TextFile | undefined =>
    bytes === null ? undefined : { name, text: new TextDecoder().decode(bytes) };
  const optional = async (name: string) => decode(name, await source.bytes(name, signal));
  const tokenizer = decode("tokenizer.json", await needed(source, "tokenizer.json", signal));
  if (tokenizer === undefined) throw missing(source, "tokenizer.json");
  const config = await optional("tokenizer_config.json");
  // The template's own file is newer than the key in the configuration; most models have one or none of them.
  const template = config?.text.includes('"chat_template"') ? undefined : await optional("chat_template.jinja");
  return new Text(tokenizer, config, template);
}

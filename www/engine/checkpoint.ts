/** The weight files of a model: which there are, and what their headers say. */

import { NibblamaError } from "./errors";
import type { Glue } from "./builds";
import type { Task } from "./load";
import { ByteReader, type Source } from "./source";

type WasmLoader = InstanceType<Glue["Loader"]>;

export interface WeightFile {
  name: string;
  tensors: [name: string, start: number, end: number][];
  /** Dtype and shape by name. */
  types: Map<string, { dtype: string; shape: number[] }>;
  headerLength: number;
  length: number;
  validator: string | null;
}

const MODEL_FILE = "model.safetensors";
const INDEX_FILE = "model.safetensors.index.json";

/** Reads all headers. The reader of a single file comes open, right behind its header. */
export async function readHeaders(
  glue: Glue,
  loader: WasmLoader,
  source: Source,
  task: Task,
): Promise<{ files: WeightFile[]; index: boolean; open: ByteReader | undefined }> {
  const { signal } = task;
  const { names, first } = await weightFiles(source, loader, signal);
  const files: WeightFile[] = [];
  let open = first;
  try {
    for (const name of names) {
      open ??= await needReader(source, name, signal);
      files.push(await readHeader(glue, loader, open));
      // One file goes on where its header ends; shards are opened again in turn.
      if (names.length > 1) {
        await open.close();
        open = undefined;
      }
      await task.breathe();
    }
    return { files, index: first === undefined, open };
  } catch (error) {
    await open?.close();
    throw error;
  }
}

export async function needed(source: Source, name: string, signal: AbortSignal): Promise<Uint8Array<ArrayBuffer>> {
  const bytes = await source.bytes(name, signal);
  if (bytes === null) throw missing(source, name);
  return bytes;
}

export function missing(source: Source, name: string): NibblamaError {
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
  const entries = headerEntries(prefix);
  const end = Math.max(0, ...[...entries.values()].map((entry) => entry.end));
  const length = reader.length ?? headerLength + end;
  const tensors = JSON.parse(loader.addHeader(name, prefix, length)) as WeightFile["tensors"];
  return { name, tensors, types: entries, headerLength, length, validator: reader.validator };
}

/** What the header says; the engine checks all of it. */
function headerEntries(prefix: Uint8Array): Map<string, { dtype: string; shape: number[]; end: number }> {
  const entries = new Map<string, { dtype: string; shape: number[]; end: number }>();
  try {
    const header: unknown = JSON.parse(new TextDecoder().decode(prefix.subarray(8)));
    for (const [name, value] of Object.entries(header ?? {})) {
      const entry = value as { dtype?: unknown; shape?: unknown; data_offsets?: unknown } | null;
      const offsets = entry?.data_offsets;
      if (name === "__metadata__" || !Array.isArray(offsets)) continue;
      const shape = Array.isArray(entry?.shape) ? (entry.shape as number[]) : [];
      entries.set(name, { dtype: String(entry?.dtype), shape, end: Number(offsets[1]) || 0 });
    }
  } catch {
    // Not JSON: the engine says so, with the file's name.
  }
  return entries;
}

/** The page's side of an export: the worker gives the bytes, the page writes them as fast as the target takes them. */

import { NibblamaError } from "./errors";
import type { Calls } from "./protocol";
import type { ExportOptions, ExportTarget } from "./types";

type Bytes = Uint8Array<ArrayBuffer>;

export interface ExportCalls {
  start(quantized: boolean, adapter: string | null): Promise<Calls["exportStart"]["result"]>;
  next(): Promise<Bytes | null>;
}

/** Writes a model as a folder that transformers loads. A file that was begun is aborted when something fails. */
export async function writeExport(calls: ExportCalls, target: ExportTarget, options: ExportOptions): Promise<void> {
  const { format = "bitsandbytes", adapter, onProgress, signal } = options;
  const { files, header, total } = await calls.start(format === "bitsandbytes", adapter ?? null);
  for (const { name, bytes } of files) await write(await open(target, name), [bytes]);
  let written = 0;
  async function* weights(): AsyncGenerator<Bytes> {
    for (let piece: Bytes | null = header; piece !== null; piece = await calls.next()) {
      if (signal?.aborted) throw new NibblamaError("aborted", "the caller asked to stop");
      yield piece;
      written += piece.length;
      onProgress?.(written, total);
    }
  }
  await write(await open(target, "model.safetensors"), weights());
}

async function open(target: ExportTarget, file: string): Promise<WritableStream<Bytes>> {
  if (typeof target === "function") return target(file);
  const handle = await target.getFileHandle(file, { create: true });
  return (await handle.createWritable()) as unknown as WritableStream<Bytes>;
}

async function write(stream: WritableStream<Bytes>, pieces: Iterable<Bytes> | AsyncIterable<Bytes>): Promise<void> {
  const writer = stream.getWriter();
  try {
    for await (const piece of pieces) {
      await writer.ready;
      await writer.write(piece);
    }
    await writer.close();
  } catch (error) {
    await writer.abort(error).catch(() => undefined);
    if (error instanceof NibblamaError) throw error;
    const found = error instanceof Error ? error.message : String(error);
    throw new NibblamaError("io", "the export could not be written", { found });
  }
}

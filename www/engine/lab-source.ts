/** Parts of weight files, read where they lie: a slice of a dropped file, or a range of a URL. */

import { NibblamaError } from "./errors";
import type { PostedSource } from "./protocol";
import { openSource } from "./source";

/** Bytes `start` to `end` of a file, in pieces. */
export async function readRange(
  source: PostedSource,
  name: string,
  start: number,
  end: number,
  signal: AbortSignal,
  take: (piece: Uint8Array, offset: number) => void,
): Promise<void> {
  const response = source.kind === "url" ? await ranged(new URL(name, source.url), start, end, signal) : null;
  if (response !== null) {
    const bytes = await response.arrayBuffer().catch((error: unknown) => {
      throw failed(name, signal, error);
    });
    const expected = String(end - start);
    if (bytes.byteLength !== end - start) {
      throw new NibblamaError("truncated-file", "the server sent another number of bytes than was asked for", {
        file: name,
        expected,
        found: String(bytes.byteLength),
      });
    }
    take(new Uint8Array(bytes), 0);
    return;
  }
  if (source.kind === "files") {
    const file = openSource(source).file?.(name);
    if (file === undefined) throw absent(name);
    const bytes = await file.slice(start, end).arrayBuffer().catch((error: unknown) => {
      throw failed(name, signal, error);
    });
    if (bytes.byteLength !== end - start) throw new NibblamaError("truncated-file", "the file ends too early", { file: name });
    take(new Uint8Array(bytes), 0);
    return;
  }
  // The server knows no ranges: the file is read from its start, and given up after the part that is wanted.
  const reader = await openSource(source).open(name, signal);
  if (reader === null) throw absent(name);
  try {
    await reader.forward(start, () => undefined);
    await reader.forward(end - start, take);
  } finally {
    await reader.close();
  }
}

/** The answer with exactly these bytes, or null from a server that sends whole files. */
async function ranged(url: URL, start: number, end: number, signal: AbortSignal): Promise<Response | null> {
  if (start === end) return new Response(new Uint8Array());
  const name = url.pathname.split("/").pop() ?? url.href;
  let response: Response;
  try {
    response = await fetch(url, { headers: { Range: `bytes=${start}-${end - 1}` }, signal });
  } catch (error) {
    throw failed(name, signal, error);
  }
  if (response.status === 206) return response;
  await response.body?.cancel().catch(() => undefined);
  if (response.ok) return null;
  if (response.status === 404) throw absent(name);
  throw new NibblamaError("network", "the server refused the file", { file: name, found: `status ${response.status}` });
}

function absent(file: string): NibblamaError {
  return new NibblamaError("missing-file", "the weight file is not there any more", { file });
}

function failed(file: string, signal: AbortSignal, error: unknown): NibblamaError {
  if (signal.aborted) return new NibblamaError("aborted", "the caller asked to stop");
  const found = error instanceof Error ? error.message : String(error);
  return new NibblamaError("network", "the file could not be read", { file, found });
}

/** Where a model's files come from: a folder's URL, or files that were dropped. Bytes are read once, in order. */

import { NibblamaError } from "./errors";
import type { PostedSource } from "./protocol";

/** A file being read from its start. */
export class ByteReader {
  readonly name: string;
  /** In all; null where the server does not say. */
  readonly length: number | null;
  readonly #reader: ReadableStreamDefaultReader<Uint8Array>;
  #rest = new Uint8Array();
  #position = 0;

  constructor(name: string, length: number | null, stream: ReadableStream<Uint8Array>) {
    this.name = name;
    this.length = length;
    this.#reader = stream.getReader();
  }

  get position(): number {
    return this.#position;
  }

  /** Hands the next `length` bytes to `take` in pieces. Throws `truncated-file` when the file ends before. */
  async forward(length: number, take: (piece: Uint8Array, offset: number) => void): Promise<void> {
    for (let done = 0; done < length; ) {
      if (this.#rest.length === 0 && !(await this.#fill())) {
        throw new NibblamaError("truncated-file", "the file ends too early", {
          file: this.name,
          expected: `${this.#position + length - done} bytes`,
          found: `${this.#position} bytes`,
        });
      }
      const piece = this.#rest.subarray(0, length - done);
      take(piece, done);
      this.#rest = this.#rest.subarray(piece.length);
      this.#position += piece.length;
      done += piece.length;
    }
  }

  async read(length: number): Promise<Uint8Array<ArrayBuffer>> {
    const bytes = new Uint8Array(length);
    await this.forward(length, (piece, offset) => bytes.set(piece, offset));
    return bytes;
  }

  /** Throws `unclaimed-bytes` when there is more. */
  async expectEnd(): Promise<void> {
    if (this.#rest.length === 0 && !(await this.#fill())) return;
    throw new NibblamaError("unclaimed-bytes", "the file goes on after its last tensor", {
      file: this.name,
      expected: `${this.#position} bytes`,
    });
  }

  async #fill(): Promise<boolean> {
    try {
      for (;;) {
        const { done, value } = await this.#reader.read();
        if (done) return false;
        if (value.length > 0) {
          this.#rest = value as Uint8Array<ArrayBuffer>;
          return true;
        }
      }
    } catch (error) {
      throw readFailure(this.name, error);
    }
  }

  async close(): Promise<void> {
    await this.#reader.cancel().catch(() => undefined);
  }
}

export interface Source {
  /** Null when the folder has no such file. */
  open(name: string, signal: AbortSignal): Promise<ByteReader | null>;
  /** A small file as a whole, or null. */
  bytes(name: string, signal: AbortSignal): Promise<Uint8Array<ArrayBuffer> | null>;
  /** The file itself, where it was dropped or picked. */
  file?(name: string): File | undefined;
  /** The names of all files where they are known. */
  readonly names: readonly string[] | null;
}

export function openSource(source: PostedSource): Source {
  return source.kind === "url" ? new UrlSource(source.url, source.files) : new FileSource(source.files);
}

function readFailure(file: string, error: unknown): NibblamaError {
  if (error instanceof NibblamaError) return error;
  if (error instanceof DOMException && error.name === "AbortError") {
    return new NibblamaError("aborted", "the caller asked to stop");
  }
  const found = error instanceof Error ? error.message : String(error);
  return new NibblamaError("network", "the file could not be read", { file, found });
}

class UrlSource implements Source {
  readonly names: readonly string[] | null;
  readonly #url: string;

  constructor(url: string, names: readonly string[] | null) {
    this.#url = url;
    this.names = names;
  }

  async #response(name: string, signal: AbortSignal): Promise<Response | null> {
    if (this.names !== null && !this.names.includes(name)) return null;
    let response: Response;
    try {
      response = await fetch(new URL(name, this.#url), { signal });
    } catch (error) {
      throw readFailure(name, error);
    }
    // Hosts of single-page apps answer with their page for whatever they do not have.
    const page = response.headers.get("Content-Type")?.startsWith("text/html") ?? false;
    if (response.status === 404 || (response.ok && page)) return null;
    if (!response.ok || response.body === null) {
      throw new NibblamaError("network", "the server refused the file", { file: name, found: `status ${response.status}` });
    }
    return response;
  }

  async open(name: string, signal: AbortSignal): Promise<ByteReader | null> {
    const response = await this.#response(name, signal);
    if (response?.body == null) return null;
    // The length counts compressed bytes where the server compresses on the way.
    const length = response.headers.has("Content-Encoding") ? null : response.headers.get("Content-Length");
    return new ByteReader(name, length === null ? null : Number(length), response.body);
  }

  async bytes(name: string, signal: AbortSignal): Promise<Uint8Array<ArrayBuffer> | null> {
    const response = await this.#response(name, signal);
    if (response === null) return null;
    try {
      return new Uint8Array(await response.arrayBuffer());
    } catch (error) {
      throw readFailure(name, error);
    }
  }
}

class FileSource implements Source {
  readonly names: readonly string[];
  readonly #files: ReadonlyMap<string, File>;

  constructor(files: readonly File[]) {
    const depth = (file: File) => file.webkitRelativePath.split("/").length;
    const byName = new Map<string, File>();
    // Of files with one name in several folders, the outermost belongs to the model.
    for (const file of [...files].sort((a, b) => depth(b) - depth(a))) byName.set(file.name, file);
    this.#files = byName;
    this.names = [...byName.keys()];
  }

  file(name: string): File | undefined {
    return this.#files.get(name);
  }

  async open(name: string): Promise<ByteReader | null> {
    const file = this.#files.get(name);
    return file === undefined ? null : new ByteReader(name, file.size, file.stream());
  }

  async bytes(name: string): Promise<Uint8Array<ArrayBuffer> | null> {
    const file = this.#files.get(name);
    try {
      return file === undefined ? null : new Uint8Array(await file.arrayBuffer());
    } catch (error) {
      throw readFailure(name, error);
    }
  }
}

/** Where a model's files come from: a folder's URL, a Hugging Face Hub, a folder or files of this device. Bytes are read once, in order. */

import { NibblamaError } from "./errors";
import { fetchWhole, NETWORK, RemoteFile, type Network, type Pieces } from "./fetch";
import type { PostedSource } from "./protocol";
import type { Sha256 } from "./sha256";

/** A file being read from its start, or passed over. */
export class ByteReader {
  readonly name: string;
  /** In all; null where the server does not say. */
  readonly length: number | null;
  /** What tells this version of the file from others, where the source has such a thing. */
  readonly validator: string | null;
  readonly #expectedHash: string | undefined;
  readonly #pieces: Pieces;
  #hash: Sha256 | undefined;
  #rest = new Uint8Array();
  #position = 0;

  /** With `check`, a hash that has seen nothing yet, the file is checked as a whole at its end. */
  constructor(
    name: string,
    length: number | null,
    pieces: Pieces,
    validator: string | null = null,
    check: { hash: Sha256; expected: string } | null = null,
  ) {
    this.name = name;
    this.length = length;
    this.validator = validator;
    this.#pieces = pieces;
    this.#expectedHash = check?.expected;
    this.#hash = check?.hash;
  }

  /** The state of the running hash; null where there is nothing to check against, or bytes were passed over. */
  saveHash(): string | null {
    return this.#hash?.save() ?? null;
  }

  /** Passes over bytes; the hash goes on from the state it had behind them, or is given up. */
  async skip(bytes: number, hash: string | null = null): Promise<void> {
    if (bytes === 0) return;
    this.#position += bytes;
    const kept = Math.min(bytes, this.#rest.length);
    this.#rest = this.#rest.subarray(kept);
    if (bytes > kept) await this.#pieces.skip(bytes - kept);
    if (this.#hash !== undefined) this.#hash = (hash === null ? null : this.#hash.resume(hash)) ?? undefined;
    if (this.#hash?.length !== this.#position) this.#hash = undefined;
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
      this.#hash?.update(piece);
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

  /** Throws `unclaimed-bytes` when there is more, and `damaged-file` when the hash is another. */
  async expectEnd(): Promise<void> {
    if (this.#rest.length > 0 || (await this.#fill())) {
      throw new NibblamaError("unclaimed-bytes", "the file goes on after its last tensor", {
        file: this.name,
        expected: `${this.#position} bytes`,
      });
    }
    const found = this.#hash?.finish();
    this.#hash = undefined;
    if (found !== undefined && found !== this.#expectedHash) throw damaged(this.name, `SHA-256 ${this.#expectedHash}`, found);
  }

  async #fill(): Promise<boolean> {
    try {
      const piece = await this.#pieces.next();
      this.#rest = (piece ?? new Uint8Array()) as Uint8Array<ArrayBuffer>;
      return piece !== null;
    } catch (error) {
      throw readFailure(this.name, error);
    }
  }

  async close(): Promise<void> {
    this.#pieces.close();
  }
}

export function damaged(file: string, expected: string, found: string): NibblamaError {
  return new NibblamaError("damaged-file", "the file's bytes are not those that its hash stands for", { file, expected, found });
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

export function openSource(source: PostedSource, network: Partial<Network> = {}): Source {
  const settings = { ...NETWORK, ...network };
  switch (source.kind) {
    case "url":
      return new UrlSource(source.url, source.files, settings);
    case "files":
      return new FileSource(source.files);
    case "directory":
      return new DirectorySource(source.directory);
    case "hub":
      return new LaterSource(async () => new (await import("./hub")).HubSource(source, settings));
    case "stored":
      throw new NibblamaError("invalid-argument", "only a model can be stored", { found: source.id });
  }
}

/** A source whose code is fetched with the first of its files. */
class LaterSource implements Source {
  readonly #load: () => Promise<Source>;
  #source: Source | undefined;

  constructor(load: () => Promise<Source>) {
    this.#load = load;
  }

  get names(): readonly string[] | null {
    return this.#source?.names ?? null;
  }

  async open(name: string, signal: AbortSignal): Promise<ByteReader | null> {
    return (this.#source ??= await this.#load()).open(name, signal);
  }

  async bytes(name: string, signal: AbortSignal): Promise<Uint8Array<ArrayBuffer> | null> {
    return (this.#source ??= await this.#load()).bytes(name, signal);
  }
}

export function readFailure(file: string, error: unknown): NibblamaError {
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
  readonly #network: Network;

  constructor(url: string, names: readonly string[] | null, network: Network) {
    this.#url = url;
    this.names = names;
    this.#network = network;
  }

  #request(name: string, signal: AbortSignal) {
    return { url: new URL(name, this.#url), headers: {}, network: this.#network, signal };
  }

  async open(name: string, signal: AbortSignal): Promise<ByteReader | null> {
    if (this.names !== null && !this.names.includes(name)) return null;
    const file = await RemoteFile.open(name, this.#request(name, signal));
    return file === null ? null : new ByteReader(name, file.length, file.pieces(0), file.validator);
  }

  async bytes(name: string, signal: AbortSignal): Promise<Uint8Array<ArrayBuffer> | null> {
    if (this.names !== null && !this.names.includes(name)) return null;
    return (await fetchWhole(name, this.#request(name, signal)))?.bytes ?? null;
  }
}

/** A blob read piece by piece; what is passed over is not read. */
class BlobPieces implements Pieces {
  readonly #blob: Blob;
  #at = 0;
  #reader: ReadableStreamDefaultReader<Uint8Array> | undefined;

  constructor(blob: Blob) {
    this.#blob = blob;
  }

  async next(): Promise<Uint8Array | null> {
    this.#reader ??= (this.#blob.slice(this.#at).stream() as ReadableStream<Uint8Array>).getReader();
    for (;;) {
      const { done, value } = await this.#reader.read();
      if (done) return null;
      if (value.length === 0) continue;
      this.#at += value.length;
      return value;
    }
  }

  async skip(bytes: number): Promise<void> {
    this.close();
    this.#at += bytes;
  }

  close(): void {
    void this.#reader?.cancel().catch(() => undefined);
    this.#reader = undefined;
  }
}

function blobReader(name: string, file: File | null): ByteReader | null {
  if (file === null) return null;
  return new ByteReader(name, file.size, new BlobPieces(file), `${file.size} ${file.lastModified}`);
}

async function blobBytes(name: string, file: File | null): Promise<Uint8Array<ArrayBuffer> | null> {
  try {
    return file === null ? null : new Uint8Array(await file.arrayBuffer());
  } catch (error) {
    throw readFailure(name, error);
  }
}

/** A folder that was picked, or one of the origin's private file system. */
class DirectorySource implements Source {
  readonly names = null;
  readonly #directory: FileSystemDirectoryHandle;

  constructor(directory: FileSystemDirectoryHandle) {
    this.#directory = directory;
  }

  async #file(name: string): Promise<File | null> {
    try {
      return await (await this.#directory.getFileHandle(name)).getFile();
    } catch (error) {
      if (error instanceof DOMException && (error.name === "NotFoundError" || error.name === "TypeMismatchError")) return null;
      throw readFailure(name, error);
    }
  }

  async open(name: string): Promise<ByteReader | null> {
    return blobReader(name, await this.#file(name));
  }

  async bytes(name: string): Promise<Uint8Array<ArrayBuffer> | null> {
    return blobBytes(name, await this.#file(name));
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
    return blobReader(name, this.#files.get(name) ?? null);
  }

  async bytes(name: string): Promise<Uint8Array<ArrayBuffer> | null> {
    return blobBytes(name, this.#files.get(name) ?? null);
  }
}

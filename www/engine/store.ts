/**
 * Models kept on this device, quantized as they were loaded, so that the next load reads them straight into memory.
 *
 * A model is a folder with `data` (tensor after tensor in the form bitsandbytes stores them, a safetensors file
 * without its header) and `journal` (a line of JSON per part, written once its bytes are there). Each tensor carries
 * its length and the engine's checksum of every 16 MiB of it. Whatever breaks off leaves a valid beginning.
 *
 * The checksum finds what disks and crashes do. Against somebody who can write to this origin's storage no hash that
 * lies beside the bytes would help; SHA-256 took as long as everything else of a load.
 */

import type { Glue } from "./builds";
import { NibblamaError } from "./errors";
import { toHex } from "./sha256";
import type { ModelFacts, StoredModel } from "./types";

/** Bytes under one checksum; also the unit of the Cache API's entries. */
const PIECE = 16 << 20;
/** Bytes that the engine's checksum takes at a time. */
const SUMMED = 1 << 20;
const ROOT = "nibblama";
const VERSION = 2;

/** The checksum of a piece, in hexadecimal. */
export type Checksum = (bytes: Uint8Array) => string;

/** For bytes that lie outside the engine's memory. */
function outside({ checksum }: Pick<Glue, "checksum">): Checksum {
  return (bytes) => {
    let sum = 0n;
    for (let at = 0; at < bytes.length; at += SUMMED) sum = checksum(bytes.subarray(at, at + SUMMED), sum);
    return hex(sum);
  };
}

function hex(sum: bigint): string {
  return BigInt.asUintN(64, sum).toString(16);
}

/** A tensor in `data`. */
export interface KeptTensor {
  name: string;
  dtype: string;
  shape: number[];
  offset: number;
  length: number;
  hashes: string[];
}

/** A file of the checkpoint that was read, as far as a later load must know it again. */
export interface KeptFile {
  name: string;
  length: number;
  validator: string | null;
}

type Line =
  | { kind: "model"; version: number; source: string; quantization: unknown; created: number }
  /** A small file, or that there is none of that name. */
  | { kind: "file"; name: string; offset: number; length: number; hashes: string[] }
  | { kind: "absent"; name: string }
  | { kind: "checkpoint"; files: KeptFile[]; index: boolean }
  | { kind: "tensors"; tensors: KeptTensor[] }
  /** Everything of the checkpoint's file before `offset` is kept; `hash` goes on from there. */
  | { kind: "read"; file: number; offset: number; hash: string | null }
  /** These tensors did not match their hashes and are to be fetched again. */
  | { kind: "damaged"; names: string[] }
  | { kind: "complete"; facts: ModelFacts };

/** What the journal of a model says. */
export interface Kept {
  files: Map<string, { offset: number; length: number; hashes: string[] } | null>;
  checkpoint: { files: KeptFile[]; index: boolean } | null;
  tensors: Map<string, KeptTensor>;
  /** Tensors that were damaged, with the hashes they had: what is fetched again must match them. */
  damaged: Map<string, KeptTensor>;
  read: Map<number, { offset: number; hash: string | null }>;
  facts: ModelFacts | null;
  /** Where the next bytes go. */
  end: number;
}

/** Where bytes are kept. Offsets and lengths of reads are those of writes. */
interface Backing {
  journal(): Promise<string>;
  append(line: string): Promise<void>;
  write(offset: number, bytes: Uint8Array): Promise<void>;
  /** False when the bytes are not there. */
  read(offset: number, into: Uint8Array): Promise<boolean>;
  /** How many of so many bytes there is room for from an offset on, as far as can be told beforehand. */
  room(offset: number, bytes: number): number;
  close(): void;
}

/** One model in the store, held by this worker alone. */
export class Store {
  readonly id: string;
  readonly #backing: Backing;
  readonly #place: StorePlace;
  readonly #outside: Checksum;
  kept: Kept;

  private constructor(id: string, place: StorePlace, glue: Glue, backing: Backing, kept: Kept) {
    this.id = id;
    this.#place = place;
    this.#outside = outside(glue);
    this.#backing = backing;
    this.kept = kept;
  }

  /** Opens the model kept for a source and quantization, or begins it. */
  static async open(id: string, source: string, quantization: unknown, place: StorePlace, glue: Glue): Promise<Store> {
    const backing = place === "opfs" ? await OpfsBacking.open(id) : await CacheBacking.open(id);
    const kept = readJournal(await backing.journal());
    if (kept !== null) return new Store(id, place, glue, backing, kept);
    backing.close();
    await removeFrom(place, id);
    const fresh = place === "opfs" ? await OpfsBacking.open(id) : await CacheBacking.open(id);
    const store = new Store(id, place, glue, fresh, emptyKept());
    await store.#line({ kind: "model", version: VERSION, source, quantization, created: Date.now() });
    return store;
  }

  /** Opens a model that is there already. */
  static async existing(id: string, place: StorePlace, glue: Glue): Promise<Store> {
    const found = (await list(place)).find((model) => model.id === id);
    if (found === undefined) throw new NibblamaError("missing-file", "no model is stored under this id", { found: id });
    return Store.open(id, found.source, null, place, glue);
  }

  /** The bytes of a small file; null when the model has none, undefined when that is not known. */
  async file(name: string): Promise<Uint8Array<ArrayBuffer> | null | undefined> {
    const place = this.kept.files.get(name);
    if (place === undefined || place === null) return place;
    const bytes = new Uint8Array(place.length);
    return (await this.#read(place.offset, place.hashes, bytes, this.#outside)) ? bytes : undefined;
  }

  async putFile(name: string, bytes: Uint8Array | null): Promise<void> {
    if (bytes === null) return this.#line({ kind: "absent", name });
    const offset = this.kept.end;
    const hashes = await this.#write(bytes, this.#outside);
    await this.#line({ kind: "file", name, offset, length: bytes.length, hashes });
  }

  async putCheckpoint(files: KeptFile[], index: boolean): Promise<void> {
    await this.#line({ kind: "checkpoint", files, index });
  }

  /** Keeps the tensors of one module together: all of them, or none. */
  async putTensors(
    tensors: { name: string; dtype: string; shape: number[]; bytes: Uint8Array }[],
    checksum: Checksum = this.#outside,
  ): Promise<void> {
    const kept: KeptTensor[] = [];
    for (const { name, dtype, shape, bytes } of tensors) {
      const offset = this.kept.end;
      kept.push({ name, dtype, shape, offset, length: bytes.length, hashes: await this.#write(bytes, checksum) });
      const before = this.kept.damaged.get(name);
      if (before !== undefined && before.hashes.join() !== kept.at(-1)?.hashes.join()) {
        throw new NibblamaError("damaged-file", "a stored tensor that was fetched again came out differently", { tensor: name });
      }
    }
    await this.#line({ kind: "tensors", tensors: kept });
  }

  /** Notes how far a file of the checkpoint was read. */
  async putRead(file: number, offset: number, hash: string | null): Promise<void> {
    await this.#line({ kind: "read", file, offset, hash });
  }

  async complete(facts: ModelFacts): Promise<void> {
    await this.#line({ kind: "complete", facts });
  }

  /** The checksum for bytes of a loader's buffer, which starts at `address`. */
  inBuffer(loader: { bufferChecksum(start: number, end: number): bigint }, address: number): Checksum {
    return ({ byteOffset, length }) => hex(loader.bufferChecksum(byteOffset - address, byteOffset - address + length));
  }

  /** Reads a tensor into `into`; false when what is there does not match its hashes. */
  async readTensor(tensor: KeptTensor, into: Uint8Array, checksum: Checksum): Promise<boolean> {
    return this.#read(tensor.offset, tensor.hashes, into, checksum);
  }

  /** Tensors that must be fetched again. */
  async drop(names: string[]): Promise<void> {
    await this.#line({ kind: "damaged", names });
  }

  /** How many of so many more bytes there is room for. Browsers' estimates do not tell: Chromium says 10 GiB to everybody. */
  room(bytes: number): number {
    return this.#backing.room(this.kept.end, bytes);
  }

  close(): void {
    this.#backing.close();
  }

  /** Forgets everything of the model. */
  async remove(): Promise<void> {
    this.close();
    await removeFrom(this.#place, this.id);
  }

  async #write(bytes: Uint8Array, checksum: Checksum): Promise<string[]> {
    const hashes: string[] = [];
    for (let at = 0; at < bytes.length; at += PIECE) {
      const piece = bytes.subarray(at, at + PIECE);
      await this.#backing.write(this.kept.end, piece);
      hashes.push(checksum(piece));
      this.kept.end += piece.length;
    }
    return hashes;
  }

  async #read(offset: number, hashes: string[], into: Uint8Array, checksum: Checksum): Promise<boolean> {
    let at = 0;
    for (const hash of hashes) {
      const piece = into.subarray(at, at + PIECE);
      if (!(await this.#backing.read(offset + at, piece)) || checksum(piece) !== hash) return false;
      at += piece.length;
    }
    return at === into.length;
  }

  async #line(line: Line): Promise<void> {
    apply(this.kept, line);
    await this.#backing.append(`${JSON.stringify(line)}\n`);
  }
}

export type StorePlace = "opfs" | "cache";

/** Where this browser can keep models; null where it cannot. */
export function storePlace(): StorePlace | null {
  if (!globalThis.isSecureContext || globalThis.crypto?.subtle === undefined) return null;
  // Only workers have synchronous handles, but where they exist the folder exists too.
  if (typeof navigator.storage?.getDirectory === "function" && typeof FileSystemFileHandle === "function") return "opfs";
  return typeof caches === "object" ? "cache" : null;
}

/** The id under which a source, quantized in one way, is kept. */
export async function storeId(source: string, quantization: unknown): Promise<string> {
  const key = JSON.stringify([VERSION, source, sorted(quantization)]);
  const hash = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(key));
  return toHex(new Uint8Array(hash, 0, 16));
}

function sorted(value: unknown): unknown {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return value;
  return Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)));
}

/** Runs an action while no other tab or worker touches the same stored model. */
export async function locked<T>(id: string, signal: AbortSignal, action: () => Promise<T>): Promise<T> {
  if (navigator.locks === undefined) return action();
  try {
    return await navigator.locks.request(`${ROOT}/${id}`, { signal }, action);
  } catch (error) {
    if (signal.aborted) throw new NibblamaError("aborted", "the caller asked to stop");
    throw error;
  }
}

function emptyKept(): Kept {
  return { files: new Map(), checkpoint: null, tensors: new Map(), damaged: new Map(), read: new Map(), facts: null, end: 0 };
}

/** Null when there is no journal of this version. */
function readJournal(text: string): Kept | null {
  const kept = emptyKept();
  const lines = parseLines(text);
  const first = lines[0];
  if (first?.kind !== "model" || first.version !== VERSION) return null;
  for (const line of lines) apply(kept, line);
  return kept;
}

/** A line that was cut off, and whatever follows a damaged one, does not count. */
function parseLines(text: string): Line[] {
  const lines: Line[] = [];
  for (const line of text.slice(0, text.lastIndexOf("\n") + 1).split("\n")) {
    if (line === "") continue;
    try {
      lines.push(JSON.parse(line) as Line);
    } catch {
      break;
    }
  }
  return lines;
}

function apply(kept: Kept, line: Line): void {
  switch (line.kind) {
    case "file":
      kept.files.set(line.name, line);
      kept.end = Math.max(kept.end, line.offset + line.length);
      break;
    case "absent":
      kept.files.set(line.name, null);
      break;
    case "checkpoint":
      kept.checkpoint = { files: line.files, index: line.index };
      break;
    case "tensors":
      for (const tensor of line.tensors) {
        kept.tensors.set(tensor.name, tensor);
        kept.damaged.delete(tensor.name);
        kept.end = Math.max(kept.end, tensor.offset + tensor.length);
      }
      break;
    case "read":
      kept.read.set(line.file, { offset: line.offset, hash: line.hash });
      break;
    case "damaged":
      for (const name of line.names) {
        const tensor = kept.tensors.get(name);
        if (tensor === undefined) continue;
        kept.damaged.set(name, tensor);
        kept.tensors.delete(name);
      }
      kept.facts = null;
      break;
    case "complete":
      kept.facts = line.facts;
      break;
    case "model":
      break;
  }
}

/** What TypeScript knows only in its library for workers. */
interface SyncHandle {
  read(into: Uint8Array, options: { at: number }): number;
  write(bytes: Uint8Array, options: { at: number }): number;
  truncate(size: number): void;
  getSize(): number;
  flush(): void;
  close(): void;
}

/** The origin's private file system, through handles that read straight into WebAssembly memory. */
class OpfsBacking implements Backing {
  readonly #data: SyncHandle;
  readonly #log: SyncHandle;

  private constructor(data: SyncHandle, log: SyncHandle) {
    this.#data = data;
    this.#log = log;
  }

  static async open(id: string): Promise<OpfsBacking> {
    const folder = await (await root(true))?.getDirectoryHandle(id, { create: true });
    if (folder === undefined) throw new NibblamaError("io", "the origin's file system cannot be opened");
    const file = async (name: string) => {
      const handle = await folder.getFileHandle(name, { create: true });
      return (handle as unknown as { createSyncAccessHandle(): Promise<SyncHandle> }).createSyncAccessHandle();
    };
    const data = await file("data");
    try {
      return new OpfsBacking(data, await file("journal"));
    } catch (error) {
      data.close();
      throw error;
    }
  }

  async journal(): Promise<string> {
    const bytes = new Uint8Array(this.#log.getSize());
    this.#log.read(bytes, { at: 0 });
    const text = new TextDecoder().decode(bytes);
    // What a crash left of a line would spoil the next one.
    const whole = new TextEncoder().encode(text.slice(0, text.lastIndexOf("\n") + 1)).length;
    if (whole < bytes.length) this.#log.truncate(whole);
    return text;
  }

  async append(line: string): Promise<void> {
    // The bytes must be there before the line that promises them.
    this.#data.flush();
    this.#all(this.#log, new TextEncoder().encode(line), this.#log.getSize());
    this.#log.flush();
  }

  async write(offset: number, bytes: Uint8Array): Promise<void> {
    this.#all(this.#data, bytes, offset);
  }

  #all(handle: SyncHandle, bytes: Uint8Array, at: number): void {
    if (handle.write(bytes, { at }) !== bytes.length) {
      throw new DOMException("the bytes could not be written", "QuotaExceededError");
    }
  }

  async read(offset: number, into: Uint8Array): Promise<boolean> {
    return this.#data.read(into, { at: offset }) === into.length;
  }

  room(offset: number, bytes: number): number {
    let room = 0;
    // All of it first, then by halves.
    for (let more = bytes; room < bytes && more >= 4096; more = Math.floor(more / 2)) {
      try {
        this.#data.truncate(offset + room + more);
        // A private window's stays as it was, without a word.
        if (this.#data.getSize() === offset + room + more) room += more;
      } catch {
        // There is less.
      }
    }
    this.#data.truncate(offset);
    return room;
  }

  close(): void {
    this.#data.close();
    this.#log.close();
  }
}

/** The Cache API: one entry per piece and line. */
class CacheBacking implements Backing {
  readonly #cache: Cache;
  readonly #id: string;
  #lines = 0;

  private constructor(cache: Cache, id: string) {
    this.#cache = cache;
    this.#id = id;
  }

  static async open(id: string): Promise<CacheBacking> {
    return new CacheBacking(await caches.open(ROOT), id);
  }

  #url(part: string): string {
    return cacheUrl(this.#id, part);
  }

  async journal(): Promise<string> {
    let text = "";
    for (this.#lines = 0; ; this.#lines++) {
      const line = await this.#cache.match(this.#url(`journal/${this.#lines}`));
      if (line === undefined) return text;
      text += await line.text();
    }
  }

  async append(line: string): Promise<void> {
    await this.#put(`journal/${this.#lines}`, line);
    this.#lines += 1;
  }

  async write(offset: number, bytes: Uint8Array): Promise<void> {
    await this.#put(`data/${offset}`, bytes.slice());
  }

  async #put(part: string, body: string | Uint8Array<ArrayBuffer>): Promise<void> {
    const length = typeof body === "string" ? body.length : body.length;
    await this.#cache.put(this.#url(part), new Response(body, { headers: { "Content-Length": String(length) } }));
  }

  async read(offset: number, into: Uint8Array): Promise<boolean> {
    const entry = await this.#cache.match(this.#url(`data/${offset}`));
    if (entry === undefined) return false;
    const bytes = new Uint8Array(await entry.arrayBuffer());
    if (bytes.length !== into.length) return false;
    into.set(bytes);
    return true;
  }

  room(_: number, bytes: number): number {
    return bytes;
  }

  close(): void {
    // Entries need no closing.
  }
}

/** A name for the Cache API; nothing is ever fetched from it. */
function cacheUrl(id: string, part: string): string {
  return new URL(`/.${ROOT}-store/${id}/${part}`, globalThis.location.origin).href;
}

async function root(create: boolean): Promise<FileSystemDirectoryHandle | undefined> {
  try {
    return await (await navigator.storage.getDirectory()).getDirectoryHandle(ROOT, { create });
  } catch (error) {
    if (error instanceof DOMException && error.name === "NotFoundError") return undefined;
    throw error;
  }
}

/** The models kept in one place. */
async function list(place: StorePlace): Promise<StoredModel[]> {
  const journals = new Map<string, { text: string; bytes: number }>();
  if (place === "opfs") {
    const folder = await root(false);
    for await (const [id, handle] of folder?.entries() ?? []) {
      if (handle.kind !== "directory") continue;
      const model = handle as FileSystemDirectoryHandle;
      const file = async (name: string) => (await model.getFileHandle(name, { create: false })).getFile();
      try {
        const [data, journal] = [await file("data"), await file("journal")];
        journals.set(id, { text: await journal.text(), bytes: data.size + journal.size });
      } catch {
        journals.set(id, { text: "", bytes: 0 });
      }
    }
  } else {
    const cache = await caches.open(ROOT);
    const prefix = cacheUrl("", "").slice(0, -1);
    const ids = new Set((await cache.keys()).map(({ url }) => url.slice(prefix.length).split("/")[0] ?? ""));
    for (const id of ids) journals.set(id, { text: await (await CacheBacking.open(id)).journal(), bytes: 0 });
  }
  return [...journals].map(([id, { text, bytes }]): StoredModel => {
    const lines = parseLines(text);
    const first = lines[0]?.kind === "model" ? lines[0] : null;
    const kept = readJournal(text);
    return {
      id,
      source: first?.source ?? "",
      created: first?.created ?? 0,
      complete: kept?.facts != null,
      bytes: bytes > 0 ? bytes : (kept?.end ?? 0) + text.length,
      facts: kept?.facts ?? null,
    };
  });
}

async function removeFrom(place: StorePlace, id: string): Promise<void> {
  if (place === "opfs") {
    await (await root(false))?.removeEntry(id, { recursive: true }).catch((error: unknown) => {
      if (!(error instanceof DOMException && error.name === "NotFoundError")) throw error;
    });
    return;
  }
  const cache = await caches.open(ROOT);
  const prefix = cacheUrl(id, "");
  for (const request of await cache.keys()) if (request.url.startsWith(prefix)) await cache.delete(request);
}

/** What is kept on this device, complete or not. */
export async function listStored(): Promise<StoredModel[]> {
  const place = storePlace();
  if (place === null) return [];
  const opfs = place === "opfs" ? await list("opfs") : [];
  return [...opfs, ...(typeof caches === "object" ? await list("cache") : [])];
}

/** Removes a stored model; waits until nobody loads it. */
export async function deleteStored(id: string): Promise<void> {
  const place = storePlace();
  if (place === null) return;
  await locked(id, new AbortController().signal, async () => {
    if (place === "opfs") await removeFrom("opfs", id);
    if (typeof caches === "object") await removeFrom("cache", id);
  });
}

/** Bytes that this origin uses and may use, as the browser estimates them; null where it does not say. */
export async function storageEstimate(): Promise<{ usage: number; quota: number } | null> {
  const estimate = await navigator.storage?.estimate?.();
  if (estimate?.usage === undefined || estimate.quota === undefined) return null;
  return { usage: estimate.usage, quota: estimate.quota };
}

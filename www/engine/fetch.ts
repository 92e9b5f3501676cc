/**
 * Files over HTTP: in ranges over several connections where the server can, as one stream where it cannot. A lost
 * or silent connection is taken up again where it broke off; two versions of a file are never mixed.
 */

import { NibblamaError } from "./errors";

/** How hard a download tries. */
export interface Network {
  /** Requests under way at once for one file. */
  connections: number;
  /** Files are asked for as a whole, and come as one stream, which browsers keep. */
  whole: boolean;
  /** Requests in a row that may fail without a new byte. */
  attempts: number;
  /** Milliseconds before the second attempt; doubled for each one after it. */
  backoff: number;
  /** Milliseconds without a byte after which a connection counts as lost. */
  stall: number;
}

export const NETWORK: Network = { connections: 3, whole: false, attempts: 5, backoff: 250, stall: 20_000 };

/** The first request of a file; it usually holds the header. */
const FIRST = 1 << 20;
const CHUNK = 4 << 20;
/** A server that asks for more patience than this is not waited for. */
const LONGEST_WAIT = 30_000;

/** What a server said about a file with one answer. */
interface Answer {
  response: Response;
  /** Where the body starts in the file. */
  start: number;
  /** Length of the whole file; null where the server does not say. */
  length: number | null;
  validator: string | null;
}

/** A failure after which the same request may work. */
class Lost extends Error {
  readonly found: string;
  /** Milliseconds that the server asks to wait. */
  readonly wait: number | undefined;

  constructor(found: string, wait?: number) {
    super(found);
    this.found = found;
    this.wait = wait;
  }
}

export class RemoteFile {
  readonly name: string;
  readonly length: number | null;
  /** ETag or date of the version that is read. */
  readonly validator: string | null;
  /** The server answers ranges. */
  readonly ranged: boolean;
  /** SHA-256 in hexadecimal, where the server's headers give it. */
  readonly sha256: string | null;
  readonly #request: Request;
  /** A stream that broke off can be taken up again where it did. */
  readonly #resumes: boolean;
  #first: Answer | undefined;

  private constructor(name: string, request: Request, first: Answer) {
    this.name = name;
    this.#request = request;
    this.#first = first;
    this.length = first.length;
    this.validator = first.validator;
    this.ranged = first.response.status === 206 && first.length !== null;
    this.#resumes = first.response.headers.get("Accept-Ranges") === "bytes";
    const linked = /^"?([0-9a-f]{64})"?$/.exec(first.response.headers.get("X-Linked-Etag") ?? "");
    this.sha256 = linked?.[1] ?? null;
  }

  /** Null when the server has no such file. */
  static async open(name: string, request: Request): Promise<RemoteFile | null> {
    const end = request.network.whole ? null : FIRST;
    let first = await patiently(request, name, () => ask(request, name, 0, end));
    if (first?.response.status === 206 && first.length === null) {
      // Another origin hides where its ranges lie; the file then comes as one stream.
      discard(first);
      first = await patiently(request, name, () => ask(request, name, 0, null));
    }
    return first === null ? null : new RemoteFile(name, request, first);
  }

  /** The pieces of the file from `start` on, in order. */
  pieces(start: number): Pieces {
    const first = this.#first;
    this.#first = undefined;
    if (this.ranged) return new RangedPieces(this, this.#request, start, start === 0 ? first : discard(first));
    return new StreamPieces(this, this.#request, start, start === 0 ? first : discard(first));
  }

  /** Nothing of the file is wanted any more. */
  close(): void {
    this.#first = discard(this.#first);
  }

  /** Asks for bytes from `start` to `end`, and refuses what is not of the version that was opened. */
  async answer(start: number, end: number): Promise<Answer> {
    const part = this.ranged || (this.#resumes && start > 0);
    const answer = await ask(this.#request, this.name, part ? start : 0, part ? end : null);
    if (answer === null) throw this.#changed("a file", "none any more");
    if (answer.validator !== this.validator) {
      discard(answer);
      throw this.#changed(this.validator ?? "no ETag", answer.validator ?? "no ETag");
    }
    if (answer.length !== this.length) {
      discard(answer);
      throw this.#changed(`${this.length} bytes`, `${answer.length} bytes`);
    }
    return answer;
  }

  #changed(expected: string, found: string): NibblamaError {
    return new NibblamaError("changed-file", "the file changed while it was read", { file: this.name, expected, found });
  }
}

/** What is needed to ask for a file. */
export interface Request {
  url: URL;
  headers: Record<string, string>;
  network: Network;
  signal: AbortSignal;
}

/** A file's bytes, piece after piece. */
export interface Pieces {
  /** Null at the end of the file. */
  next(): Promise<Uint8Array | null>;
  /** Passes over bytes; what was not asked for yet is never fetched, where the source can do that. */
  skip(bytes: number): Promise<void>;
  close(): void;
}

/** A small file as a whole; null when the server has none. */
export async function fetchWhole(
  name: string,
  request: Request,
): Promise<{ bytes: Uint8Array<ArrayBuffer>; etag: string | null } | null> {
  return patiently(request, name, async () => {
    const answer = await ask(request, name, 0, null);
    if (answer === null) return null;
    const parts: Uint8Array[] = [];
    let total = 0;
    const body = reader(answer.response);
    for (;;) {
      const piece = await timely(body, request);
      if (piece === null) break;
      parts.push(piece);
      total += piece.length;
    }
    if (answer.length !== null && total !== answer.length) throw new Lost(`${total} of ${answer.length} bytes`);
    const bytes = new Uint8Array(total);
    let at = 0;
    for (const part of parts) {
      bytes.set(part, at);
      at += part.length;
    }
    return { bytes, etag: answer.response.headers.get("X-Linked-Etag") ?? answer.response.headers.get("ETag") };
  });
}

/** One request. Null for 404, and for the page that hosts of single-page apps answer with for what they lack. */
async function ask(request: Request, name: string, start: number, end: number | null): Promise<Answer | null> {
  const { url, signal } = request;
  const headers = new Headers(request.headers);
  if (end !== null) headers.set("Range", `bytes=${start}-${end - 1}`);
  const response = await fetchTimely(url, { headers, signal }, request);
  const { status } = response;
  const page = response.headers.get("Content-Type")?.startsWith("text/html") ?? false;
  if (status === 404 || (response.ok && page)) {
    void response.body?.cancel();
    return null;
  }
  const length = Number(/^bytes \*\/(\d+)$/.exec(response.headers.get("Content-Range") ?? "")?.[1] ?? Number.NaN);
  if (status === 416 && start === 0 && length === 0) return { response, start: 0, length: 0, validator: validator(response) };
  if (status === 408 || status === 425 || status === 429 || status >= 500) {
    void response.body?.cancel();
    const seconds = Number(response.headers.get("Retry-After") ?? Number.NaN);
    throw new Lost(`status ${status}`, Number.isFinite(seconds) ? seconds * 1000 : undefined);
  }
  if (!response.ok || response.body === null) {
    void response.body?.cancel();
    const reason = status === 401 || status === 403 ? "the server wants another token for the file" : "the server refused the file";
    throw new NibblamaError("network", reason, { file: name, found: `status ${status}` });
  }
  return { response, validator: validator(response), ...place(response, name, start, end) };
}

/** A weak ETag or a date still tells most changes; without either only the length does. */
function validator(response: Response): string | null {
  return response.headers.get("ETag") ?? response.headers.get("Last-Modified");
}

/** Where the body of an answer lies in the file. */
function place(response: Response, name: string, start: number, end: number | null): { start: number; length: number | null } {
  const header = response.headers.get("Content-Range");
  // The length counts compressed bytes where the server compresses on the way.
  const encoded = response.headers.has("Content-Encoding");
  const stated = encoded ? null : response.headers.get("Content-Length");
  if (response.status !== 206) return { start: 0, length: stated === null ? null : Number(stated) };
  if (header === null) return { start, length: null };
  const match = /^bytes (\d+)-(\d+)\/(\d+)$/.exec(header);
  const [first, last, length] = [Number(match?.[1]), Number(match?.[2]), Number(match?.[3])];
  const wanted = end === null ? length - 1 : Math.min(end, length) - 1;
  if (match === null || first !== start || last !== wanted) {
    void response.body?.cancel();
    throw new NibblamaError("network", "the server answered with another range", {
      file: name,
      expected: `bytes ${start}-${wanted}`,
      found: header,
    });
  }
  return { start, length };
}

function discard(answer: Answer | undefined): undefined {
  void answer?.response.body?.cancel().catch(() => undefined);
  return undefined;
}

/** Repeats an action while it fails in ways that may pass. */
async function patiently<T>(request: Request, name: string, action: () => Promise<T>): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await action();
    } catch (error) {
      await pause(request, name, attempt, error);
    }
  }
}

/** Waits before the next attempt, or throws what ends the attempts. */
async function pause(request: Request, name: string, attempt: number, error: unknown): Promise<void> {
  const { network, signal } = request;
  if (signal.aborted) throw new NibblamaError("aborted", "the caller asked to stop");
  if (error instanceof NibblamaError) throw error;
  const found = error instanceof Error ? error.message : String(error);
  const wait = Math.max(network.backoff * 2 ** (attempt - 1), error instanceof Lost ? (error.wait ?? 0) : 0);
  if (attempt >= network.attempts || wait > LONGEST_WAIT) {
    throw new NibblamaError("network", "the file could not be read", { file: name, found });
  }
  await new Promise<void>((resolve) => {
    const done = () => {
      clearTimeout(timer);
      signal.removeEventListener("abort", done);
      resolve();
    };
    const timer = setTimeout(done, wait);
    signal.addEventListener("abort", done, { once: true });
  });
  if (signal.aborted) throw new NibblamaError("aborted", "the caller asked to stop");
}

/** `fetch` that counts as lost when the server does not answer in time. */
async function fetchTimely(url: URL, init: { headers: Headers; signal: AbortSignal }, { network }: Request): Promise<Response> {
  const late = new AbortController();
  const timer = setTimeout(() => late.abort(), network.stall);
  try {
    return await fetch(url, { headers: init.headers, signal: AbortSignal.any([init.signal, late.signal]) });
  } catch (error) {
    if (late.signal.aborted && !init.signal.aborted) throw new Lost(`no answer for ${network.stall} ms`);
    throw error;
  } finally {
    clearTimeout(timer);
  }
}

type Reader = ReadableStreamDefaultReader<Uint8Array>;

function reader(response: Response): Reader {
  // Every answer that is read has a body.
  return (response.body ?? new ReadableStream<Uint8Array>()).getReader();
}

/** The next piece; a silent connection counts as lost. */
async function timely(body: Reader, { network }: Request): Promise<Uint8Array | null> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const silence = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Lost(`no byte for ${network.stall} ms`)), network.stall);
  });
  try {
    for (;;) {
      const { done, value } = await Promise.race([body.read(), silence]);
      if (done) return null;
      if (value.length > 0) return value;
    }
  } catch (error) {
    void body.cancel().catch(() => undefined);
    throw error;
  } finally {
    clearTimeout(timer);
  }
}

/** The bytes from `at` to `end`, over as many connections one after the other as it takes. */
async function* section(
  file: RemoteFile,
  request: Request,
  at: number,
  end: number | null,
  first?: Answer,
): AsyncGenerator<Uint8Array, void> {
  if (end !== null && at >= end) return;
  let answer = first;
  for (let attempt = 1; ; attempt++) {
    let body: Reader | undefined;
    try {
      answer ??= await file.answer(at, end ?? Math.max(at + 1, file.length ?? Number.MAX_SAFE_INTEGER));
      body = reader(answer.response);
      // A server that ignores ranges sends the file from its start again.
      let before = at - answer.start;
      for (;;) {
        const piece = await timely(body, request);
        if (piece === null) break;
        const fresh = piece.subarray(Math.min(before, piece.length));
        before -= piece.length - fresh.length;
        if (fresh.length === 0) continue;
        attempt = 1;
        const wanted = end === null ? fresh : fresh.subarray(0, end - at);
        at += wanted.length;
        yield wanted;
        if (end !== null && at >= end) return;
      }
      const goal = end ?? file.length;
      if (goal === null || at >= goal) return;
      throw new Lost(`the connection ended after ${at} of ${goal} bytes`);
    } catch (error) {
      answer = undefined;
      await pause(request, file.name, attempt, error);
    } finally {
      // Also when whoever takes the pieces leaves.
      void body?.cancel().catch(() => undefined);
    }
  }
}

/** A server without ranges: one stream. */
class StreamPieces implements Pieces {
  readonly #stop = new AbortController();
  readonly #stream: AsyncGenerator<Uint8Array, void>;
  #rest = new Uint8Array();

  constructor(file: RemoteFile, request: Request, start: number, first?: Answer) {
    const signal = AbortSignal.any([request.signal, this.#stop.signal]);
    this.#stream = section(file, { ...request, signal }, start, file.length, first);
  }

  async next(): Promise<Uint8Array | null> {
    if (this.#rest.length > 0) {
      const rest = this.#rest;
      this.#rest = new Uint8Array();
      return rest;
    }
    const { done, value } = await this.#stream.next();
    return done ? null : (value as Uint8Array);
  }

  async skip(bytes: number): Promise<void> {
    for (let left = bytes; left > 0; ) {
      const piece = await this.next();
      if (piece === null) return;
      this.#rest = piece.subarray(Math.min(left, piece.length)) as Uint8Array<ArrayBuffer>;
      left -= piece.length - this.#rest.length;
    }
  }

  close(): void {
    this.#stop.abort();
    void this.#stream.return().catch(() => undefined);
  }
}

/** Pieces of one chunk: they come from its connection and are taken in order, at the same time. */
interface Chunk {
  end: number;
  ready: Uint8Array[];
  done: boolean;
  /** Nobody wants it any more. */
  dropped: boolean;
  error?: unknown;
  wake: () => void;
}

/** A server with ranges: the next chunks are on their way while one is used. */
class RangedPieces implements Pieces {
  readonly #file: RemoteFile;
  readonly #request: Request;
  readonly #stop = new AbortController();
  #chunks: Chunk[] = [];
  /** Where the next chunk to be asked for starts. */
  #asked: number;
  #position: number;
  #first: Answer | undefined;

  constructor(file: RemoteFile, request: Request, start: number, first?: Answer) {
    this.#file = file;
    this.#request = { ...request, signal: AbortSignal.any([request.signal, this.#stop.signal]) };
    this.#asked = start;
    this.#position = start;
    this.#first = first;
  }

  async next(): Promise<Uint8Array | null> {
    const length = this.#file.length ?? 0;
    for (;;) {
      if (this.#position >= length) return null;
      // The first answer alone is enough for who reads only a header.
      const ahead = this.#position < FIRST ? 1 : this.#request.network.connections;
      while (this.#chunks.length < ahead && this.#asked < length) this.#start();
      const chunk = this.#chunks[0];
      if (chunk === undefined) return null;
      const piece = chunk.ready.shift();
      if (piece !== undefined) {
        this.#position += piece.length;
        return piece;
      }
      if (chunk.error !== undefined) throw chunk.error;
      if (chunk.done) {
        this.#chunks.shift();
        continue;
      }
      await new Promise<void>((resolve) => {
        chunk.wake = resolve;
      });
    }
  }

  async skip(bytes: number): Promise<void> {
    const target = this.#position + bytes;
    if (target >= this.#asked) {
      // What is on its way is given up, and nothing before the target is asked for.
      for (const chunk of this.#chunks) chunk.dropped = true;
      this.#chunks = [];
      this.#first = discard(this.#first);
      this.#asked = target;
      this.#position = target;
      return;
    }
    while (this.#position < target) {
      const piece = await this.next();
      if (piece === null) return;
      const over = this.#position - target;
      if (over > 0) {
        this.#chunks[0]?.ready.unshift(piece.subarray(piece.length - over));
        this.#position = target;
      }
    }
  }

  close(): void {
    this.#stop.abort();
    this.#first = discard(this.#first);
    this.#chunks = [];
  }

  #start(): void {
    const start = this.#asked;
    const first = this.#first;
    this.#first = undefined;
    const end = Math.min(start + (first === undefined ? CHUNK : FIRST), this.#file.length ?? 0);
    this.#asked = end;
    const chunk: Chunk = { end, ready: [], done: false, dropped: false, wake: () => undefined };
    this.#chunks.push(chunk);
    void this.#fill(chunk, section(this.#file, this.#request, start, end, first));
  }

  async #fill(chunk: Chunk, stream: AsyncGenerator<Uint8Array, void>): Promise<void> {
    try {
      for await (const piece of stream) {
        if (chunk.dropped) break;
        chunk.ready.push(piece);
        chunk.wake();
      }
    } catch (error) {
      chunk.error = error;
    }
    chunk.done = true;
    chunk.wake();
  }
}

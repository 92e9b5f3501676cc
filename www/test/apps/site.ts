/**
 * A server for the tests: the npm package, pages around it, and models in the paths of a Hugging Face Hub, with every
 * fault that a network or a host can have. Loopback only.
 */

import { createHash } from "node:crypto";
import { existsSync, readFileSync, readdirSync, statSync } from "node:fs";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { dirname, extname, join, resolve, sep } from "node:path";
import { fileURLToPath } from "node:url";

const www = resolve(dirname(fileURLToPath(import.meta.url)), "../..");

/** What goes wrong with one answer for a file of a model. */
export interface Fault {
  /** The connection is cut after so many bytes of the body. */
  cut?: number;
  /** After so many bytes nothing more comes. */
  stall?: number;
  /** The body ends after so many bytes, and the headers say that this is all. */
  truncate?: number;
  /** This byte of the file is another one. */
  flip?: number;
  status?: number;
  retryAfter?: number;
  /** The whole file comes, whatever range was asked for. */
  ignoreRange?: boolean;
  /** Added to the length that the headers say. */
  wrongLength?: number;
  /** Added to the start of the range that the headers say. */
  wrongRange?: number;
  /** The file is another version: other bytes and another ETag. */
  changed?: boolean;
  /** Milliseconds between pieces of 16 KiB. */
  slow?: number;
  /** Neither ETag nor date. */
  noValidator?: boolean;
  /** The fault lasts; otherwise it is used up by one request. */
  always?: boolean;
}

export interface Logged {
  path: string;
  range: string | undefined;
  authorization: string | undefined;
}

const types: Record<string, string> = {
  ".html": "text/html; charset=utf-8",
  ".js": "text/javascript; charset=utf-8",
  ".json": "application/json",
  ".wasm": "application/wasm",
};

export class Site {
  readonly #server: Server;
  /** Folders of models by "organization/name". */
  readonly models = new Map<string, string>();
  /** Folders of static files by their first path segment. */
  readonly folders = new Map<string, string>();
  /** By "organization/name/file"; used in order. */
  readonly faults = new Map<string, Fault[]>();
  log: Logged[] = [];
  /** Without it the server has files, but no description of a revision. */
  api = true;
  /** Wanted as a bearer token. */
  token: string | undefined;
  readonly #hashes = new Map<string, { sha256: string; blob: string }>();

  private constructor(server: Server) {
    this.#server = server;
  }

  static async start(): Promise<Site> {
    const server = createServer();
    const site = new Site(server);
    server.on("request", (request, response) => void site.#answer(request, response));
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    site.folders.set("package", join(www, "dist-npm"));
    site.folders.set("pages", join(www, "test/apps/pages"));
    return site;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}/`;
  }

  fault(file: string, ...faults: Fault[]): void {
    this.faults.set(file, faults);
  }

  reset(): void {
    this.faults.clear();
    this.log = [];
    this.api = true;
    this.token = undefined;
  }

  async stop(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    response.setHeader("Cross-Origin-Opener-Policy", "same-origin");
    response.setHeader("Cross-Origin-Embedder-Policy", "require-corp");
    response.setHeader("Cross-Origin-Resource-Policy", "same-origin");
    response.setHeader("Cache-Control", "no-store");
    const url = new URL(request.url ?? "/", this.url);
    const path = decodeURIComponent(url.pathname).slice(1);
    const hub = /^hub\/([\w.-]+\/[\w.-]+)\/resolve\/([\w.-]+)\/(.+)$/.exec(path);
    const api = /^hub\/api\/models\/([\w.-]+\/[\w.-]+)\/revision\/[\w.-]+$/.exec(path);
    if (hub !== null || api !== null || path.startsWith("models/")) {
      this.log.push({ path, range: request.headers.range, authorization: request.headers.authorization });
    }
    const refuse = (status: number) => response.writeHead(status, { "Content-Type": "text/plain" }).end(`${status}\n`);
    if (this.token !== undefined && (hub ?? api) !== null && request.headers.authorization !== `Bearer ${this.token}`) {
      return void refuse(401);
    }
    if (api !== null) return void this.#describe(api[1] ?? "", response, refuse);
    if (hub !== null) return this.#file(`${hub[1]}/${hub[3]}`, request, response, refuse);
    const [first = "", ...rest] = path.split("/");
    if (first === "models") return this.#file(rest.join("/"), request, response, refuse);
    const root = this.folders.get(first);
    const file = resolve(root ?? www, rest.join("/"));
    if (root === undefined || !file.startsWith(root + sep) || !existsSync(file) || !statSync(file).isFile()) return void refuse(404);
    response.writeHead(200, { "Content-Type": types[extname(file)] ?? "application/octet-stream" });
    response.end(readFileSync(file));
  }

  #describe(id: string, response: ServerResponse, refuse: (status: number) => void): void {
    const folder = this.models.get(id);
    if (!this.api || folder === undefined) return refuse(404);
    const siblings = [...filesOf(folder)].map(([name, file]) => {
      const bytes = readFileSync(file);
      const { sha256, blob } = this.#hash(file, bytes);
      const lfs = name.endsWith(".safetensors") ? { lfs: { sha256, size: bytes.length } } : {};
      return { rfilename: name, size: bytes.length, blobId: blob, ...lfs };
    });
    response.writeHead(200, { "Content-Type": "application/json" });
    response.end(JSON.stringify({ id, sha: "0123456789abcdef0123456789abcdef01234567", siblings }));
  }

  #hash(file: string, bytes: Buffer): { sha256: string; blob: string } {
    const known = this.#hashes.get(file);
    if (known !== undefined) return known;
    const sha256 = createHash("sha256").update(bytes).digest("hex");
    const blob = createHash("sha1").update(`blob ${bytes.length}\0`).update(bytes).digest("hex");
    this.#hashes.set(file, { sha256, blob });
    return { sha256, blob };
  }

  async #file(path: string, request: IncomingMessage, response: ServerResponse, refuse: (status: number) => void): Promise<void> {
    const [organization = "", name = "", ...rest] = path.split("/");
    const folder = this.models.get(`${organization}/${name}`);
    const file = folder === undefined ? "" : (filesOf(folder).get(rest.join("/")) ?? "");
    const waiting = this.faults.get(path) ?? [];
    const fault = (waiting[0]?.always ? waiting[0] : waiting.shift()) ?? {};
    if (fault.retryAfter !== undefined) response.setHeader("Retry-After", fault.retryAfter);
    if (fault.status !== undefined) return refuse(fault.status);
    if (folder === undefined || !existsSync(file)) return refuse(404);
    let bytes = readFileSync(file);
    let etag = `"${this.#hash(file, bytes).blob}"`;
    if (fault.flip !== undefined || fault.changed) {
      bytes = Buffer.from(bytes);
      const at = fault.flip ?? bytes.length - 1;
      bytes[at] = (bytes[at] ?? 0) ^ 1;
    }
    if (fault.changed) etag = '"another"';
    if (!fault.noValidator) response.setHeader("ETag", etag);
    response.setHeader("Content-Type", types[extname(file)] ?? "application/octet-stream");
    const match = /^bytes=(\d+)-(\d*)$/.exec(request.headers.range ?? "");
    let body = bytes;
    if (match !== null && !fault.ignoreRange) {
      const first = Number(match[1]);
      const last = Math.min(match[2] === "" ? Number.MAX_SAFE_INTEGER : Number(match[2]), bytes.length - 1);
      if (first > last) {
        response.setHeader("Content-Range", `bytes */${bytes.length}`);
        return refuse(416);
      }
      body = bytes.subarray(first, last + 1);
      const shift = fault.wrongRange ?? 0;
      response.setHeader("Content-Range", `bytes ${first + shift}-${last}/${bytes.length}`);
      response.statusCode = 206;
    }
    if (fault.truncate !== undefined) body = body.subarray(0, fault.truncate);
    response.setHeader("Content-Length", body.length + (fault.wrongLength ?? 0));
    // A cut or a stall comes after what was sent has arrived.
    const part = body.subarray(0, fault.cut ?? fault.stall ?? body.length);
    if (fault.slow === undefined) {
      if (part.length === body.length && fault.wrongLength === undefined) return void response.end(part);
      response.write(part);
    }
    for (let at = 0; fault.slow !== undefined && at < part.length && !response.destroyed; at += 16384) {
      response.write(part.subarray(at, at + 16384));
      await new Promise((resolve) => setTimeout(resolve, fault.slow));
    }
    if (fault.stall !== undefined) return;
    if (fault.cut !== undefined || fault.wrongLength !== undefined) {
      await new Promise((resolve) => setTimeout(resolve, 50));
      response.destroy();
      return;
    }
    response.end();
  }
}

/** A model's files; the golden models share a tokenizer in the folder above. */
function filesOf(folder: string): Map<string, string> {
  const files = new Map<string, string>();
  for (const place of [dirname(folder), folder]) {
    for (const name of readdirSync(place)) {
      const belongs = place === folder ? /\.(json|jinja|safetensors)$/ : /^tokenizer/;
      if (belongs.test(name)) files.set(name, join(place, name));
    }
  }
  return files;
}

export const golden = process.env["NIBBLAMA_GOLDEN"] ?? resolve(www, "../tests/fixtures/golden");
export const repository = resolve(www, "..");

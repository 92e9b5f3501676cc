// A static file server for the built site: loopback only, with the headers that shared memory needs.
// node server.mjs [--root dist] [--port 8080] [--no-isolation] [--mount NAME=FOLDER]...

import { createReadStream, readFileSync } from "node:fs";
import { readFile, stat } from "node:fs/promises";
import { createServer } from "node:http";
import { extname, join, resolve, sep } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs, promisify } from "node:util";
import { gzip } from "node:zlib";

const { values: options } = parseArgs({
  options: {
    root: { type: "string", default: "dist" },
    port: { type: "string", default: "8080" },
    "no-isolation": { type: "boolean", default: false },
    mount: { type: "string", multiple: true, default: [] },
  },
});

const www = fileURLToPath(new URL(".", import.meta.url));
const root = resolve(www, options.root);
const port = Number(options.port);
/** Folders served besides `root`, by the first part of the path. */
const mounts = new Map(
  options.mount.map((each) => {
    const [name, folder] = each.split("=", 2);
    return [name, resolve(www, folder)];
  }),
);
const configured = JSON.parse(readFileSync(join(www, "headers.json"), "utf8"));
const headers = { ...configured.always, ...(options["no-isolation"] ? {} : configured.isolation) };

const types = {
  ".css": "text/css; charset=utf-8",
  ".html": "text/html; charset=utf-8",
  ".js": "text/javascript; charset=utf-8",
  ".mjs": "text/javascript; charset=utf-8",
  ".json": "application/json",
  ".jinja": "text/plain; charset=utf-8",
  ".md": "text/markdown; charset=utf-8",
  ".png": "image/png",
  ".svg": "image/svg+xml",
  ".txt": "text/plain; charset=utf-8",
  ".wasm": "application/wasm",
  ".webmanifest": "application/manifest+json",
};

/** What static hosts compress. Weights do not get smaller, and are asked for in ranges. */
const COMPRESSED = new Set([".css", ".html", ".js", ".svg", ".wasm", ".webmanifest"]);
/** Compressed files by path and version; each is compressed once. */
const compressed = new Map();

function gzipped(file, etag) {
  const key = `${file} ${etag}`;
  if (!compressed.has(key)) compressed.set(key, readFile(file).then((content) => promisify(gzip)(content, { level: 9 })));
  return compressed.get(key);
}

/** First and last byte of a `Range: bytes=` header with one range, or null where it cannot be satisfied. */
function byteRange(header, size) {
  const match = /^bytes=(\d*)-(\d*)$/.exec(header);
  if (match === null || (match[1] === "" && match[2] === "")) return null;
  const first = match[1] === "" ? Math.max(0, size - Number(match[2])) : Number(match[1]);
  const last = match[1] === "" || match[2] === "" ? size - 1 : Math.min(Number(match[2]), size - 1);
  return first <= last ? { first, last } : null;
}

async function answer(request, response) {
  for (const [name, value] of Object.entries(headers)) response.setHeader(name, value);
  const refuse = (status) => response.writeHead(status, { "Content-Type": "text/plain" }).end(`${status}\n`);
  if (request.method !== "GET" && request.method !== "HEAD") return refuse(405);

  let path;
  try {
    path = decodeURIComponent(new URL(request.url, "http://localhost").pathname);
  } catch {
    return refuse(400);
  }
  if (path === "/healthz") return response.writeHead(200, { "Content-Type": "text/plain" }).end("ok\n");
  const [, first = "", ...rest] = (path.endsWith("/") ? `${path}index.html` : path).split("/");
  const mounted = mounts.get(first);
  const folder = mounted ?? root;
  const file = resolve(folder, ...(mounted === undefined ? [first] : []), ...rest);
  if (!file.startsWith(folder + sep)) return refuse(404);
  const found = await stat(file).catch(() => null);
  if (found === null || !found.isFile()) return refuse(404);

  response.setHeader("Content-Type", types[extname(file)] ?? "application/octet-stream");
  response.setHeader("Accept-Ranges", "bytes");
  // Names under assets/ carry a hash of the content; everything else is looked at anew.
  response.setHeader("Cache-Control", path.includes("/assets/") ? "max-age=31536000, immutable" : "no-cache");
  const compress =
    COMPRESSED.has(extname(file)) && request.headers.range === undefined && /\bgzip\b/.test(request.headers["accept-encoding"] ?? "");
  if (COMPRESSED.has(extname(file))) response.setHeader("Vary", "Accept-Encoding");
  const etag = `"${found.size.toString(36)}-${Math.round(found.mtimeMs).toString(36)}${compress ? "-gzip" : ""}"`;
  response.setHeader("ETag", etag);
  if (request.headers["if-none-match"]?.split(/,\s*/).includes(etag)) return response.writeHead(304).end();
  if (compress) {
    const content = await gzipped(file, etag);
    response.writeHead(200, { "Content-Encoding": "gzip", "Content-Length": content.length });
    return response.end(request.method === "HEAD" ? undefined : content);
  }
  // A part of another version than the one asked for would be of no use.
  const sameVersion = (request.headers["if-range"] ?? etag) === etag;
  const wanted = sameVersion ? request.headers.range : undefined;
  const range = wanted === undefined ? undefined : byteRange(wanted, found.size);
  if (range === null) {
    response.setHeader("Content-Range", `bytes */${found.size}`);
    return refuse(416);
  }
  const { first: start, last: end } = range ?? { first: 0, last: found.size - 1 };
  response.setHeader("Content-Length", end - start + 1);
  if (range !== undefined) response.setHeader("Content-Range", `bytes ${start}-${end}/${found.size}`);
  response.writeHead(range === undefined ? 200 : 206);
  if (request.method === "HEAD" || found.size === 0) return response.end();
  const stream = createReadStream(file, { start, end });
  stream.on("error", () => response.destroy());
  response.on("close", () => stream.destroy());
  stream.pipe(response);
}

const server = createServer((request, response) => {
  answer(request, response).catch((error) => {
    console.error(error);
    response.destroy();
  });
});
server.on("error", (error) => {
  const reason = error.code === "EADDRINUSE" ? `port ${port} is in use; choose another with --port` : error.message;
  console.error(`cannot serve: ${reason}`);
  process.exit(1);
});
server.listen(port, "127.0.0.1", () => console.log(`http://127.0.0.1:${port}/`));

/**
 * The page's service worker: what makes it work offline. A build's own files are kept together under its hash and
 * served from there, so an open page never mixes two builds; the next build waits until the reader takes it.
 * Weights are kept whole, and parts of them (`Range`) are cut from what is kept.
 */

interface ExtendableEvent extends Event {
  waitUntil(work: Promise<unknown>): void;
}
interface FetchEvent extends ExtendableEvent {
  readonly request: Request;
  respondWith(response: Promise<Response>): void;
}
interface MessageEventOfClient extends ExtendableEvent {
  readonly data: unknown;
}
interface Scope {
  readonly registration: { readonly scope: string };
  readonly clients: { claim(): Promise<void> };
  skipWaiting(): Promise<void>;
  addEventListener(type: "install" | "activate", listener: (event: ExtendableEvent) => void): void;
  addEventListener(type: "fetch", listener: (event: FetchEvent) => void): void;
  addEventListener(type: "message", listener: (event: MessageEventOfClient) => void): void;
}

// The build fills these in.
declare const __PRECACHE__: { build: string; data: string; page: string[]; engine: string[]; models: string[] };

const sw = self as unknown as Scope;
const { build, data, page, engine, models } = __PRECACHE__;
const PREFIX = "nibblama-";
const APP = `${PREFIX}app-${build}`;
const DATA = `${PREFIX}data-${data}`;
const root = new URL(sw.registration.scope);
const absolute = (path: string) => new URL(path, root).href;
const own = new Set([...page, ...engine].map(absolute));
/** A file's name under assets/ stands for its content; the others are looked at anew, so that no build is mixed. */
const current = (path: string) =>
  new Request(absolute(path), { cache: path.startsWith("assets/") ? "default" : "no-cache" });

sw.addEventListener("install", (event) => {
  event.waitUntil(caches.open(APP).then((cache) => cache.addAll(page.map(current))));
});

sw.addEventListener("activate", (event) => {
  const dropOthers = async () => {
    const names = await caches.keys();
    const stale = names.filter((name) => name.startsWith(PREFIX) && name !== APP && name !== DATA);
    await Promise.all(stale.map((name) => caches.delete(name)));
  };
  event.waitUntil(dropOthers());
  // Not waited for: Firefox claims workers too, those that sleep until there is a product to share never answer, and
  // until this worker is active every request of the page waits.
  void sw.clients.claim();
});

sw.addEventListener("message", (event) => {
  const message = event.data as { type?: unknown; read?: unknown } | null;
  if (message?.type === "take-over") event.waitUntil(sw.skipWaiting());
  if (message?.type === "keep") event.waitUntil(inTurn(keepAll));
  if (message?.type === "keep-read" && Array.isArray(message.read)) {
    const read = message.read.filter((url): url is string => typeof url === "string");
    event.waitUntil(inTurn(() => keepRead(read)));
  }
});

/** One after the other, so that nothing is fetched twice. */
let line: Promise<void> = Promise.resolve();
const inTurn = (action: () => Promise<void>) => (line = line.then(action));

/**
 * Everything that the page can ever ask for, one after another, so that its own requests come first. What the
 * browser still holds from before this worker was in control is not sent again.
 */
async function keepAll(): Promise<void> {
  await keep(APP, engine.map(current));
  await keep(DATA, models.map(current));
}

/** On a metered connection: only what was read already, out of the browser's own cache. */
async function keepRead(read: readonly string[]): Promise<void> {
  const held = (url: string) => new Request(url, { cache: "only-if-cached", mode: "same-origin" });
  const all = new Set(models.map(absolute));
  await keep(APP, engine.map(absolute).map(held));
  await keep(DATA, read.filter((url) => all.has(url)).map(held));
}

async function keep(name: string, requests: readonly Request[]): Promise<void> {
  const cache = await caches.open(name);
  for (const request of requests) {
    if ((await cache.match(request.url)) !== undefined) continue;
    // A file that cannot be had now is asked for again on the next visit.
    await cache.add(request).catch(() => undefined);
  }
}

sw.addEventListener("fetch", (event) => {
  const { request } = event;
  if (request.method !== "GET" || !request.url.startsWith(root.href)) return;
  const url = new URL(request.url);
  url.hash = "";
  if (request.mode === "navigate") {
    if (url.pathname === root.pathname || url.pathname === `${root.pathname}index.html`) {
      event.respondWith(fromCache(APP, absolute("index.html"), request));
    }
  } else if (own.has(url.href)) event.respondWith(fromCache(APP, url.href, request));
  else if (url.pathname.startsWith(`${root.pathname}models/`)) event.respondWith(fromCache(DATA, url.href, request));
});

async function fromCache(name: string, url: string, request: Request): Promise<Response> {
  const kept = await (await caches.open(name)).match(url);
  if (kept === undefined) return fetch(request);
  const range = request.headers.get("range");
  return range === null ? kept : part(kept, range);
}

/** One range of a kept file, as a server would answer it. */
async function part(kept: Response, range: string): Promise<Response> {
  const blob = await kept.blob();
  const match = /^bytes=(\d+)-(\d*)$/.exec(range);
  const first = Number(match?.[1]);
  const last = match?.[2] ? Math.min(Number(match[2]), blob.size - 1) : blob.size - 1;
  const headers = new Headers(kept.headers);
  if (match === null || first > last) {
    headers.set("Content-Range", `bytes */${blob.size}`);
    return new Response(null, { status: 416, headers });
  }
  headers.set("Content-Range", `bytes ${first}-${last}/${blob.size}`);
  headers.set("Content-Length", String(last - first + 1));
  return new Response(blob.slice(first, last + 1), { status: 206, headers });
}

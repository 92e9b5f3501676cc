import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { RemoteFile, type Request } from "./fetch";

const SIZE = 12 << 20;
const content = Uint8Array.from({ length: SIZE }, (_, i) => (i * 31 + (i >> 12)) & 255);
let server: Server;
let ranges: string[] = [];
/** The server answers a request for the whole file as such, and breaks off there. */
let breakAt: number | null = null;

beforeAll(async () => {
  server = createServer((request, response) => {
    const [, first, last] = /^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? "") ?? [];
    ranges.push(request.headers.range ?? "");
    if (breakAt !== null && first === undefined) {
      response.writeHead(200, { "Accept-Ranges": "bytes", ETag: '"1"', "Content-Length": SIZE });
      response.write(content.subarray(0, breakAt), () => response.destroy());
      return;
    }
    const start = Number(first ?? 0);
    const end = Math.min(Number(last ?? SIZE), SIZE - 1);
    response.writeHead(206, { "Content-Range": `bytes ${start}-${end}/${SIZE}`, ETag: '"1"', "Content-Length": end - start + 1 });
    response.end(content.subarray(start, end + 1));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
});
afterAll(() => void server.close());
beforeEach(() => {
  ranges = [];
  breakAt = null;
});

async function open(whole = false): Promise<RemoteFile> {
  const url = new URL(`http://127.0.0.1:${(server.address() as AddressInfo).port}/weights`);
  const network = { connections: 3, whole, attempts: 2, backoff: 1, stall: 5000 };
  const request: Request = { url, headers: {}, network, signal: new AbortController().signal };
  const file = await RemoteFile.open("weights", request);
  if (file === null) throw new Error("no file");
  return file;
}

test("a whole file comes in order, in ranges that do not overlap", async () => {
  const file = await open();
  expect(file.length).toBe(SIZE);
  const pieces = file.pieces(0);
  let at = 0;
  for (let piece = await pieces.next(); piece !== null; piece = await pieces.next()) {
    expect(Buffer.compare(piece, content.subarray(at, at + piece.length))).toBe(0);
    at += piece.length;
  }
  expect(at).toBe(SIZE);
  expect(ranges).toEqual(["bytes=0-1048575", "bytes=1048576-5242879", "bytes=5242880-9437183", "bytes=9437184-12582911"]);
});

test("who reads only a header asks once, and what is passed over is not asked for", async () => {
  const file = await open();
  const pieces = file.pieces(0);
  const first = await pieces.next();
  expect(first?.[0]).toBe(content[0]);
  expect(ranges).toEqual(["bytes=0-1048575"]);
  const target = 10_000_001;
  await pieces.skip(target - (first?.length ?? 0));
  const next = await pieces.next();
  expect(Buffer.compare(next ?? Buffer.alloc(0), content.subarray(target, target + (next?.length ?? 0)))).toBe(0);
  expect(ranges).toEqual(["bytes=0-1048575", "bytes=10000001-12582911"]);
  pieces.close();
});

test("passing over a little stays within what is on its way", async () => {
  const pieces = (await open()).pieces(0);
  await pieces.next();
  await pieces.skip(0);
  let at = 0;
  const fresh = (await open()).pieces(0);
  for (const [skip, take] of [[100, 1], [5000, 1], [700_000, 1]] as const) {
    await fresh.skip(skip);
    at += skip;
    const piece = await fresh.next();
    expect(piece?.[0]).toBe(content[at]);
    at += piece?.length ?? take;
  }
  pieces.close();
  fresh.close();
});

test("asked for as a whole it comes as one stream, and goes on where that breaks off", async () => {
  breakAt = 3_000_000;
  const pieces = (await open(true)).pieces(0);
  let at = 0;
  for (let piece = await pieces.next(); piece !== null; piece = await pieces.next()) {
    expect(Buffer.compare(piece, content.subarray(at, at + piece.length))).toBe(0);
    at += piece.length;
  }
  expect(at).toBe(SIZE);
  expect(ranges[0]).toBe("");
  expect(ranges).toHaveLength(2);
  const [, first, last] = /^bytes=(\d+)-(\d+)$/.exec(ranges[1] ?? "") ?? [];
  expect(Number(first)).toBeGreaterThan(0);
  expect(Number(first)).toBeLessThanOrEqual(breakAt);
  expect(Number(last)).toBe(SIZE - 1);
});

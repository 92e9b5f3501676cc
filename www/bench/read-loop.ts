/**
 * How fast one thread reads memory that is in no cache: a loop of 128-bit loads, eight at a time, over a WebAssembly
 * memory of its own. Written as bytes, since a module of 150 bytes needs no compiler.
 */

/** Larger than any cache on its way. */
const PAGES = 4096;
const PAGE = 65536;
/** Loads an iteration, each into a register of its own. */
const UNROLL = 8;

const I32 = 0x7f;
const V128 = 0x7b;
const FUNCTION = 0x60;
const GET = 0x20;
const SET = 0x21;
const TEE = 0x22;
const I32_CONST = 0x41;
const I32_ADD = 0x6a;
const I32_LT_U = 0x49;
const SIMD = 0xfd;
const LOAD = 0x00;
const XOR = 0x51;
const EXTRACT_I32 = 0x1b;

function leb(value: number): number[] {
  return value < 0x80 ? [value] : [(value & 0x7f) | 0x80, ...leb(value >>> 7)];
}

/** The same for signed constants that are not negative. */
function signed(value: number): number[] {
  return value < 0x40 ? [value] : [(value & 0x7f) | 0x80, ...signed(value >>> 7)];
}

const vector = (items: readonly (readonly number[])[]) => [...leb(items.length), ...items.flat()];
const section = (id: number, body: readonly number[]) => [id, ...leb(body.length), ...body];
const name = (text: string) => vector([...text].map((character) => [character.charCodeAt(0)]));

/** `(module (memory (export "m") PAGES) (func (export "f") (param $at i32) (param $end i32) (result i32) ...))`. */
function moduleBytes(): Uint8Array<ArrayBuffer> {
  const simd = (op: number) => [SIMD, ...leb(op)];
  const register = (i: number) => [...leb(2 + i)];
  const code = [0x03, 0x40];
  for (let i = 0; i < UNROLL; i++) {
    code.push(GET, ...register(i), GET, 0, ...simd(LOAD), 4, ...leb(16 * i), ...simd(XOR), SET, ...register(i));
  }
  code.push(GET, 0, I32_CONST, ...signed(16 * UNROLL), I32_ADD, TEE, 0, GET, 1, I32_LT_U, 0x0d, 0, 0x0b);
  code.push(GET, ...register(0));
  for (let i = 1; i < UNROLL; i++) code.push(GET, ...register(i), ...simd(XOR));
  code.push(...simd(EXTRACT_I32), 0, 0x0b);
  const body = [...vector([[...leb(UNROLL), V128]]), ...code];
  return new Uint8Array([
    ...[0x00, 0x61, 0x73, 0x6d, 1, 0, 0, 0],
    ...section(1, vector([[FUNCTION, ...vector([[I32], [I32]]), ...vector([[I32]])]])),
    ...section(3, vector([[0]])),
    ...section(5, vector([[0, ...leb(PAGES)]])),
    ...section(7, vector([[...name("m"), 2, 0], [...name("f"), 0, 0]])),
    ...section(10, vector([[...leb(body.length), ...body]])),
  ]);
}

/** Reads the whole memory; returns GB/s. */
export class ReadLoop {
  readonly #run: (at: number, end: number) => number;
  readonly bytes = PAGES * PAGE;

  constructor() {
    const { exports } = new WebAssembly.Instance(new WebAssembly.Module(moduleBytes()));
    const words = new Uint32Array((exports["m"] as WebAssembly.Memory).buffer);
    // Memory that was never written to is one page of zeros.
    words.fill(0x5a5a5a5a);
    words[words.length - 4] = 0x12345678;
    this.#run = exports["f"] as (at: number, end: number) => number;
    const found = this.#run(0, this.bytes);
    if (found !== (0x5a5a5a5a ^ 0x12345678)) throw new Error(`the read loop found ${found}`);
  }

  measure(): number {
    const start = performance.now();
    this.#run(0, this.bytes);
    return this.bytes / (performance.now() - start) / 1e6;
  }
}

/** The files made for the peers, read again by a reader that knows the format and nothing of the writer. */

import { expect, test } from "vitest";
import { SHAPES } from "../shapes";
import { float16, gguf, vocabulary } from "./gguf";
import { matMulNBits, product, randomNBits } from "./onnx";

const SMALL = { hidden: 64, inner: 96, layers: 2, heads: 4, kvHeads: 2, vocab: 400 };

function join(parts: readonly Uint8Array[]): Uint8Array {
  return Uint8Array.from(parts.flatMap((part) => [...part]));
}

class Reader {
  readonly bytes: Uint8Array;
  readonly #view: DataView;
  at = 0;
  constructor(bytes: Uint8Array) {
    this.bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }
  u32 = () => this.#view.getUint32((this.at += 4) - 4, true);
  f32 = () => this.#view.getFloat32((this.at += 4) - 4, true);
  u64 = () => Number(this.#view.getBigUint64((this.at += 8) - 8, true));
  text = () => {
    const length = this.u64();
    return new TextDecoder().decode(this.bytes.subarray(this.at, (this.at += length)));
  };
  value = (type = this.u32()): unknown => {
    if (type === 4 || type === 5) return this.u32();
    if (type === 6) return this.f32();
    if (type === 8) return this.text();
    if (type !== 9) throw new Error(`type ${type}`);
    const [inner, length] = [this.u32(), this.u64()];
    return Array.from({ length }, () => this.value(inner));
  };
}

function readGguf(bytes: Uint8Array) {
  const reader = new Reader(bytes);
  expect(new TextDecoder().decode(bytes.subarray(0, 4))).toBe("GGUF");
  reader.at = 4;
  expect(reader.u32()).toBe(3);
  const [tensorCount, keyCount] = [reader.u64(), reader.u64()];
  const keys = new Map(Array.from({ length: keyCount }, () => [reader.text(), reader.value()] as const));
  const tensors = Array.from({ length: tensorCount }, () => {
    const name = reader.text();
    const shape = Array.from({ length: reader.u32() }, () => reader.u64());
    return { name, shape, type: reader.u32(), offset: reader.u64() };
  });
  return { keys, tensors, data: Math.ceil(reader.at / 32) * 32 };
}

test.each(["Q4_0", "IQ4_NL"] as const)("a GGUF file of %s has the tensors of the shape, one behind the other", (type) => {
  const bytes = join(gguf(SMALL, type, 128));
  const { keys, tensors, data } = readGguf(bytes);
  expect(keys.get("llama.block_count")).toBe(2);
  expect(keys.get("llama.attention.head_count_kv")).toBe(2);
  expect((keys.get("tokenizer.ggml.tokens") as string[]).length).toBe(400);
  expect(tensors.length).toBe(3 + 2 * 9);
  let end = 0;
  for (const { name, shape, offset, type: number } of tensors) {
    expect(offset, name).toBe(Math.ceil(end / 32) * 32);
    const count = shape.reduce((product, n) => product * n, 1);
    end = offset + (number === 0 ? 4 * count : (count / 32) * 18);
    if (name.includes("norm")) expect(number).toBe(0);
    else expect(number).toBe(type === "Q4_0" ? 2 : 20);
  }
  expect(bytes.length).toBe(data + Math.ceil(end / 32) * 32);
  const down = tensors.find(({ name }) => name === "blk.1.ffn_down.weight");
  expect(down?.shape).toEqual([96, 64]);
  // Every block begins with the scale, of either sign.
  const scale = float16(type === "Q4_0" ? 0.02 / 4.64 : 0.02 / 71.2);
  const view = new DataView(bytes.buffer);
  const signs = new Set<number>();
  for (let block = 0; block < 2 * 96; block++) {
    const bits = view.getUint16(data + (down?.offset ?? 0) + 18 * block, true);
    expect(bits & 0x7fff).toBe(scale);
    signs.add(bits >> 15);
  }
  expect(signs.size).toBe(2);
});

test("f16 bits", () => {
  expect([1, 0.5, 1.5, 0.00431].map(float16)).toEqual([0x3c00, 0x3800, 0x3e00, 0x1c6a]);
  expect(() => float16(1e-9)).toThrow("no normal");
});

test("a vocabulary has no token twice", () => {
  for (const { vocab } of Object.values(SHAPES)) {
    const { tokens, types } = vocabulary(vocab);
    expect(new Set(tokens).size).toBe(vocab);
    expect(types.length).toBe(vocab);
  }
});

/** Fields of a protocol buffers message: number to values, bytes or numbers. */
function message(bytes: Uint8Array): Map<number, (number | Uint8Array)[]> {
  const fields = new Map<number, (number | Uint8Array)[]>();
  let at = 0;
  const varint = () => {
    let value = 0;
    for (let place = 1; ; place *= 128) {
      const byte = bytes[at++] ?? 0;
      value += (byte & 127) * place;
      if (byte < 128) return value;
    }
  };
  while (at < bytes.length) {
    const tag = varint();
    let value: number | Uint8Array = varint();
    if (tag % 8 === 2) value = bytes.subarray(at, (at += value));
    fields.set(tag >> 3, [...(fields.get(tag >> 3) ?? []), value]);
  }
  return fields;
}

test("an ONNX model is one MatMulNBits node with its weight", () => {
  const weight = randomNBits(48, 64, 32);
  const model = message(matMulNBits(weight, 4));
  const part = (fields: Map<number, (number | Uint8Array)[]>, number: number, i = 0) => message(fields.get(number)?.[i] as Uint8Array);
  const text = (value: number | Uint8Array | undefined) => new TextDecoder().decode(value as Uint8Array);
  expect(model.get(1)).toEqual([8]);
  expect(model.get(8)?.length).toBe(2);
  const graph = part(model, 7);
  const node = part(graph, 1);
  expect(node.get(1)?.map(text)).toEqual(["x", "codes", "scales"]);
  expect([text(node.get(4)?.[0]), text(node.get(7)?.[0])]).toEqual(["MatMulNBits", "com.microsoft"]);
  const attributes = (node.get(5) ?? []).map((bytes) => message(bytes as Uint8Array));
  expect(Object.fromEntries(attributes.map((each) => [text(each.get(1)?.[0]), each.get(3)?.[0]]))).toEqual({
    K: 64, N: 48, bits: 4, block_size: 32, accuracy_level: 4,
  });
  const [codes, scales] = [part(graph, 5, 0), part(graph, 5, 1)];
  expect(codes.get(1)).toEqual([48, 2, 16]);
  expect(codes.get(9)?.[0]).toEqual(weight.codes);
  expect(scales.get(1)).toEqual([96]);
  expect((scales.get(9)?.[0] as Uint8Array).length).toBe(4 * 96);
});

test("the product that MatMulNBits is checked against follows the definition", () => {
  // Two rows of 32: codes 8 (zero) but for element 1 of row 0 (12) and element 0 of row 1 (0).
  const codes = new Uint8Array(32).fill(0x88);
  codes[0] = 0xc8;
  codes[16] = 0x80;
  const weight = { rows: 2, cols: 32, blocksize: 32, codes, scales: Float32Array.of(0.5, 2) };
  const x = new Float32Array(32);
  x[0] = 3;
  x[1] = 10;
  expect([...product(weight, x)]).toEqual([20, -48]);
});

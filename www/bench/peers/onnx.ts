/** An ONNX model of one MatMulNBits node: protocol buffers by hand, since there are few fields. */

import { bell, uniform } from "../random";

const VARINT = 0;
const BYTES = 2;
const FLOAT = 1;
const UINT8 = 2;
const INT_ATTRIBUTE = 2;

function varint(value: number): number[] {
  return value < 0x80 ? [value] : [(value % 0x80) | 0x80, ...varint(Math.floor(value / 0x80))];
}

type Part = Uint8Array<ArrayBuffer>;

function join(parts: readonly Part[]): Part {
  const all = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}

/** One field of a message: a number, a text, bytes, or a message. */
function field(number: number, value: number | string | Part | readonly Part[]): Part {
  if (typeof value === "number") return Uint8Array.from([...varint((number << 3) | VARINT), ...varint(value)]);
  const bytes = typeof value === "string" ? new TextEncoder().encode(value) : value instanceof Uint8Array ? value : join(value);
  return join([Uint8Array.from([...varint((number << 3) | BYTES), ...varint(bytes.length)]), bytes]);
}

/** 4-bit weights as MatMulNBits has them: value = (code - 8) * scale, the first of two in the low half of a byte. */
export interface NBits {
  rows: number;
  cols: number;
  blocksize: number;
  codes: Uint8Array<ArrayBuffer>;
  /** (rows, cols / blocksize). */
  scales: Float32Array<ArrayBuffer>;
}

export function randomNBits(rows: number, cols: number, blocksize: number): NBits {
  const next = uniform(11);
  const codes = Uint8Array.from({ length: (rows * cols) / 2 }, () => next() * 256);
  const scales = bell((rows * cols) / blocksize, 12, 0.004);
  return { rows, cols, blocksize, codes, scales };
}

/** `x` (tokens, cols) times the transposed weight, in f64: (tokens, rows). */
export function product({ rows, cols, blocksize, codes, scales }: NBits, x: Float32Array): Float64Array {
  const tokens = x.length / cols;
  const y = new Float64Array(tokens * rows);
  for (let t = 0; t < tokens; t++) {
    for (let r = 0; r < rows; r++) {
      let sum = 0;
      for (let k = 0; k < cols; k++) {
        const at = r * cols + k;
        const pair = codes[at >> 1] ?? 0;
        const code = at % 2 === 0 ? pair & 15 : pair >> 4;
        sum += (code - 8) * (scales[Math.floor(at / blocksize)] ?? 0) * (x[t * cols + k] ?? 0);
      }
      y[t * rows + r] = sum;
    }
  }
  return y;
}

/** The model: input "x" (tokens, cols), output "y" (tokens, rows), any number of tokens. */
export function matMulNBits(weight: NBits, accuracyLevel: number): Part {
  const { rows, cols, blocksize, codes, scales } = weight;
  const attribute = (name: string, value: number) => field(5, [field(1, name), field(3, value), field(20, INT_ATTRIBUTE)]);
  const node = [
    ...["x", "codes", "scales"].map((name) => field(1, name)),
    field(2, "y"),
    field(3, "product"),
    field(4, "MatMulNBits"),
    attribute("K", cols),
    attribute("N", rows),
    attribute("bits", 4),
    attribute("block_size", blocksize),
    attribute("accuracy_level", accuracyLevel),
    field(7, "com.microsoft"),
  ];
  const tensor = (name: string, type: number, shape: readonly number[], bytes: Part) =>
    field(5, [...shape.map((n) => field(1, n)), field(2, type), field(8, name), field(9, bytes)]);
  const value = (name: string, width: number) => {
    const dimensions = [field(1, field(2, "tokens")), field(1, field(1, width))];
    return [field(1, name), field(2, field(1, [field(1, FLOAT), field(2, dimensions)]))];
  };
  const blocks = cols / blocksize;
  const graph = [
    field(1, node),
    field(2, "graph"),
    tensor("codes", UINT8, [rows, blocks, blocksize / 2], codes),
    tensor("scales", FLOAT, [rows * blocks], new Uint8Array(scales.buffer)),
    field(11, value("x", cols)),
    field(12, value("y", rows)),
  ];
  const opset = (domain: string, version: number) => field(8, [field(1, domain), field(2, version)]);
  return join([field(1, 8), opset("", 17), opset("com.microsoft", 1), field(2, "nibblama"), field(7, graph)]);
}

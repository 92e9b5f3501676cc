/**
 * A session's file: the tokens of a text with their keys and values, so that it goes on without being read again.
 *
 * Eight bytes "NIBSESS1", the header's length as a little-endian u32, a header of JSON, then tokens as u32 and for each
 * layer keys and values as f32, all little-endian. The header holds the SHA-256 of what follows it and the fingerprint
 * of the model.
 */

import { NibblamaError } from "./errors";
import type { WasmModel } from "./load";
import type { ModelFacts } from "./types";
import { digest } from "./sha256";

const MAGIC = "NIBSESS1";

interface Header {
  fingerprint: string;
  tokens: number;
  layers: number;
  sha256: string;
}

export async function saveSession(model: WasmModel, facts: ModelFacts): Promise<Blob> {
  const tokens = model.history();
  if (tokens.length === 0) throw new NibblamaError("invalid-argument", "there is no text to save");
  const layers = facts.config.num_hidden_layers;
  const parts: Uint8Array<ArrayBuffer>[] = [littleEndian(tokens as Uint32Array<ArrayBuffer>)];
  for (let layer = 0; layer < layers; layer++) parts.push(littleEndian(model.saveLayer(layer) as Float32Array<ArrayBuffer>));
  const body = new Blob(parts);
  const sha256 = await digest("SHA-256", new Uint8Array(await body.arrayBuffer()));
  const header: Header = { fingerprint: fingerprintOf(model), tokens: tokens.length, layers, sha256 };
  const json = new TextEncoder().encode(JSON.stringify(header));
  const start = new Uint8Array(12);
  start.set(new TextEncoder().encode(MAGIC));
  new DataView(start.buffer).setUint32(8, json.length, true);
  return new Blob([start, json, body], { type: "application/octet-stream" });
}

/** Returns the tokens that are there now. Nothing of the model changes when the file is refused. */
export async function restoreSession(model: WasmModel, facts: ModelFacts, file: Blob): Promise<Uint32Array> {
  const bytes = new Uint8Array(await file.arrayBuffer());
  const { header, body } = readHeader(bytes);
  const sha256 = await digest("SHA-256", body);
  if (sha256 !== header.sha256) {
    throw new NibblamaError("damaged-file", "the session is damaged", { expected: header.sha256, found: sha256 });
  }
  const fingerprint = fingerprintOf(model);
  if (header.fingerprint !== fingerprint) {
    throw new NibblamaError("session-mismatch", "the session belongs to another model or adapter", {
      expected: fingerprint,
      found: header.fingerprint,
    });
  }
  const { num_hidden_layers: layers, num_key_value_heads: heads, head_dim: width } = facts.config;
  const layerBytes = 2 * heads * width * header.tokens * 4;
  if (header.layers !== layers || body.length !== header.tokens * 4 + layers * layerBytes) {
    throw new NibblamaError("invalid-session", "the session has another length than its header says");
  }
  if (header.tokens > model.context()) {
    throw new NibblamaError("context-full", "the session is longer than the kv cache", {
      expected: `at most ${model.context()} positions`,
      found: String(header.tokens),
    });
  }
  const data = body.slice();
  for (let layer = 0; layer < layers; layer++) {
    const values = new Float32Array(data.buffer, header.tokens * 4 + layer * layerBytes, layerBytes / 4);
    model.restoreLayer(layer, header.tokens, values);
  }
  const tokens = new Uint32Array(data.buffer, 0, header.tokens);
  model.restored(tokens);
  return tokens;
}

function fingerprintOf(model: WasmModel): string {
  return BigInt.asUintN(64, model.fingerprint()).toString(16);
}

function readHeader(bytes: Uint8Array<ArrayBuffer>): { header: Header; body: Uint8Array<ArrayBuffer> } {
  const invalid = (reason: string) => new NibblamaError("invalid-session", reason);
  if (bytes.length < 12 || new TextDecoder().decode(bytes.subarray(0, 8)) !== MAGIC) throw invalid("not a session's file");
  const length = new DataView(bytes.buffer, bytes.byteOffset).getUint32(8, true);
  if (12 + length > bytes.length) throw invalid("the session's file ends in its header");
  let header: Partial<Header>;
  try {
    header = JSON.parse(new TextDecoder().decode(bytes.subarray(12, 12 + length))) as Partial<Header>;
  } catch {
    throw invalid("the session's header is not JSON");
  }
  const { fingerprint, tokens, layers, sha256 } = header;
  const whole = (n: unknown): n is number => Number.isSafeInteger(n) && (n as number) > 0;
  if (typeof fingerprint !== "string" || typeof sha256 !== "string" || !whole(tokens) || !whole(layers)) {
    throw invalid("the session's header lacks something");
  }
  return { header: { fingerprint, tokens, layers, sha256 }, body: bytes.subarray(12 + length) };
}

/** WebAssembly memory is little-endian, and so is every machine that browsers run on. */
function littleEndian(values: Uint32Array<ArrayBuffer> | Float32Array<ArrayBuffer>): Uint8Array<ArrayBuffer> {
  return new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
}

/**
 * The stable kinds of error. The first group comes from the Rust crate (`ErrorCode`), in its spelling;
 * the second is the browser's own.
 */
export type ErrorCode =
  | "io"
  | "truncated-file"
  | "header-too-large"
  | "invalid-header"
  | "duplicate-tensor"
  | "overlapping-tensors"
  | "offset-out-of-range"
  | "unclaimed-bytes"
  | "byte-count-mismatch"
  | "shape-overflow"
  | "missing-shard"
  | "index-mismatch"
  | "invalid-index"
  | "unsupported-format"
  | "unsupported-dtype"
  | "missing-tensor"
  | "unexpected-tensor"
  | "shape-mismatch"
  | "invalid-json"
  | "invalid-config"
  | "unsupported-architecture"
  | "unsupported-option"
  | "invalid-quant-state"
  | "unsupported-quantization"
  | "invalid-adapter"
  | "unsupported-adapter"
  | "adapter-mismatch"
  | "unknown-adapter"
  | "context-full"
  | "invalid-token"
  | "non-finite-weight"
  | "non-finite-logits"
  | "invalid-tokenizer"
  | "invalid-argument"
  | "out-of-memory"
  | "aborted"
  /** A file could not be fetched; `found` holds the HTTP status, if there was an answer. */
  | "network"
  /** The folder lacks a file that every model has, such as `config.json`. */
  | "missing-file"
  /** A file on the server is another one than when it was begun to be read. */
  | "changed-file"
  /** A file's or a stored part's bytes do not match the hash that is known of them. */
  | "damaged-file"
  /** The model needs more than this device or browser has; nothing of its weights was read. */
  | "does-not-fit"
  /** The kernels of a build compute something else than the specification on this machine. */
  | "parity"
  /** A session's file cannot be read. */
  | "invalid-session"
  /** A session belongs to another model or adapter. */
  | "session-mismatch"
  /** The browser lacks WebAssembly SIMD, or no build starts in it. */
  | "unsupported-browser"
  /** The engine stopped unexpectedly. Its worker is gone; a new `loadModel` works. */
  | "crashed"
  /** The model was disposed of. */
  | "disposed";

/** What can be said about an error's place and values. */
export interface ErrorDetails {
  /** The file the error points at. */
  readonly file?: string;
  /** The tensor, or the key of a JSON file. */
  readonly tensor?: string;
  /** What would have been right. */
  readonly expected?: string;
  /** What was there instead. */
  readonly found?: string;
}

/** Every error that the engine throws or rejects with. */
export class NibblamaError extends Error implements ErrorDetails {
  override readonly name = "NibblamaError";
  readonly code: ErrorCode;
  /** The reason alone, a lower-case phrase; `message` also names place and values. */
  readonly reason: string;
  readonly file?: string;
  readonly tensor?: string;
  readonly expected?: string;
  readonly found?: string;

  constructor(code: ErrorCode, reason: string, details: ErrorDetails = {}) {
    super(describe(reason, details));
    this.code = code;
    this.reason = reason;
    const { file, tensor, expected, found } = details;
    if (file !== undefined) this.file = file;
    if (tensor !== undefined) this.tensor = tensor;
    if (expected !== undefined) this.expected = expected;
    if (found !== undefined) this.found = found;
  }
}

/** The same line as the Rust crate's `Display`. */
function describe(reason: string, { file, tensor, expected, found }: ErrorDetails): string {
  const place = [file, tensor].filter((part) => part !== undefined).map((part) => `${part}: `);
  const values = [
    expected === undefined ? undefined : `expected ${expected}`,
    found === undefined ? undefined : `found ${found}`,
  ].filter((value) => value !== undefined);
  return place.join("") + reason + (values.length === 0 ? "" : ` (${values.join(", ")})`);
}

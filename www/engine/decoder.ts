/** Tokens to bytes and text, as the `decoder` of a `tokenizer.json` says. */

import { NibblamaError } from "./errors";

/** The byte behind each character of GPT-2's byte-level alphabet. */
export const BYTE_OF_CHARACTER: ReadonlyMap<string, number> = byteLevelAlphabet();

/**
 * Printable Latin-1 characters stand for themselves; the other bytes follow in order from U+0100 on, so that no
 * token holds a space or a control character.
 */
function byteLevelAlphabet(): Map<string, number> {
  const printable = (byte: number) =>
    (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || (byte >= 0xae && byte <= 0xff);
  const map = new Map<string, number>();
  let next = 0x100;
  for (let byte = 0; byte < 256; byte++) {
    map.set(String.fromCodePoint(printable(byte) ? byte : next++), byte);
  }
  return map;
}

const utf8 = new TextEncoder();

/** What a SentencePiece-like decoder does, step by step. */
interface PieceRules {
  replace: { from: string; to: string }[];
  byteFallback: boolean;
  /** Taken off the start and the end of a whole text, so many times. */
  strip: { content: string; start: number; stop: number } | undefined;
}

type Rules = { kind: "byte-level" } | ({ kind: "pieces" } & PieceRules);

export class Decoder {
  readonly #rules: Rules;

  /** Throws `invalid-tokenizer` for a decoder this engine does not know. */
  constructor(file: string, config: unknown) {
    this.#rules = readRules(file, config);
  }

  /** The bytes one token stands for inside a text. */
  bytes(token: string): Uint8Array<ArrayBuffer> {
    if (this.#rules.kind === "byte-level") return byteLevelBytes(token);
    const byte = this.#rules.byteFallback ? fallbackByte(token) : undefined;
    return byte === undefined ? utf8.encode(replaced(token, this.#rules)) : Uint8Array.of(byte);
  }

  /** `wholeText`: the tokens start a text, whose first space the tokenizer had put there. */
  decode(tokens: readonly string[], wholeText = true): string {
    if (this.#rules.kind === "byte-level") return lossy(tokens.map(byteLevelBytes));
    let text = "";
    let run: number[] = [];
    const flush = () => {
      text += fallbackText(run);
      run = [];
    };
    for (const token of tokens) {
      const byte = this.#rules.byteFallback ? fallbackByte(token) : undefined;
      if (byte !== undefined) {
        run.push(byte);
        continue;
      }
      flush();
      text += replaced(token, this.#rules);
    }
    flush();
    return wholeText ? stripped(text, this.#rules) : text;
  }
}

/** Invalid UTF-8 becomes one `�` per maximal part, as in Rust's `from_utf8_lossy`. */
function lossy(parts: readonly Uint8Array[]): string {
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return new TextDecoder("utf-8", { ignoreBOM: true }).decode(whole);
}

/** A token with a character outside the alphabet is an added one and stands for itself. */
function byteLevelBytes(token: string): Uint8Array<ArrayBuffer> {
  const bytes: number[] = [];
  for (const character of token) {
    const byte = BYTE_OF_CHARACTER.get(character);
    if (byte === undefined) return utf8.encode(token);
    bytes.push(byte);
  }
  return Uint8Array.from(bytes);
}

/** The byte of a token such as `<0xE2>`. */
function fallbackByte(token: string): number | undefined {
  const match = /^<0x([0-9A-Fa-f]{2})>$/.exec(token);
  return match?.[1] === undefined ? undefined : Number.parseInt(match[1], 16);
}

/** A run of byte tokens is text if it is valid as a whole; else each of its bytes becomes one `�`. */
function fallbackText(run: readonly number[]): string {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(Uint8Array.from(run));
  } catch {
    return "\u{fffd}".repeat(run.length);
  }
}

function replaced(token: string, { replace }: PieceRules): string {
  return replace.reduce((text, { from, to }) => text.replaceAll(from, to), token);
}

function stripped(text: string, { strip }: PieceRules): string {
  if (strip === undefined || strip.content === "") return text;
  let kept = text;
  for (let i = 0; i < strip.start && kept.startsWith(strip.content); i++) kept = kept.slice(strip.content.length);
  for (let i = 0; i < strip.stop && kept.endsWith(strip.content); i++) kept = kept.slice(0, -strip.content.length);
  return kept;
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null;
}

function readRules(file: string, config: unknown): Rules {
  const steps = flatten(config);
  const first = steps[0];
  if (steps.length === 1 && first !== undefined && first["type"] === "ByteLevel") return { kind: "byte-level" };
  const rules: PieceRules = { replace: [], byteFallback: false, strip: undefined };
  let fused = false;
  for (const step of steps) {
    const { type } = step;
    const pattern = isObject(step["pattern"]) ? step["pattern"]["String"] : undefined;
    if (type === "Replace" && typeof pattern === "string" && typeof step["content"] === "string" && !fused) {
      rules.replace.push({ from: pattern, to: step["content"] });
    } else if (type === "ByteFallback" && !fused) {
      rules.byteFallback = true;
    } else if (type === "Fuse") {
      fused = true;
    } else if (type === "Strip" && fused && rules.strip === undefined && typeof step["content"] === "string") {
      rules.strip = { content: step["content"], start: count(step["start"]), stop: count(step["stop"]) };
    } else if (type === "Metaspace" && typeof step["replacement"] === "string" && steps.length === 1) {
      rules.replace.push({ from: step["replacement"], to: " " });
      if (step["prepend_scheme"] !== "never" && step["add_prefix_space"] !== false) {
        rules.strip = { content: " ", start: 1, stop: 0 };
      }
    } else {
      const found = steps.map((each) => String(each["type"])).join(", ");
      throw new NibblamaError("invalid-tokenizer", "unknown decoder", { file, tensor: "decoder", found });
    }
  }
  return { kind: "pieces", ...rules };
}

function flatten(config: unknown): Record<string, unknown>[] {
  if (!isObject(config)) return [];
  const { decoders } = config;
  return config["type"] === "Sequence" && Array.isArray(decoders) ? decoders.flatMap(flatten) : [config];
}

function count(value: unknown): number {
  return typeof value === "number" ? value : 0;
}

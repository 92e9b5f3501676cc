/** `BitsAndBytesConfig` as Python writes it, and back: what a snippet or a `quantization_config` says. */

import type { ComputeDtype } from "../engine/index";

/** The settings that this page has controls for. */
export interface Config4bit {
  quant_type: "nf4" | "fp4";
  double_quant: boolean;
  compute_dtype: ComputeDtype;
  /** transformers has no key for it and always takes 64. */
  blocksize: number;
  /** Null for the library's own choice: lm_head. */
  skip_modules: readonly string[] | null;
}

/** What holds where a key is left out. */
export const LIBRARY: Config4bit = {
  quant_type: "fp4",
  double_quant: false,
  compute_dtype: "float32",
  blocksize: 64,
  skip_modules: null,
};

export type Key = keyof Config4bit;

export interface Line {
  key: Key | null;
  name: string;
  /** As Python writes it. */
  value: string;
  isDefault: boolean;
}

const NAMES: Record<Exclude<Key, "blocksize">, string> = {
  quant_type: "bnb_4bit_quant_type",
  double_quant: "bnb_4bit_use_double_quant",
  compute_dtype: "bnb_4bit_compute_dtype",
  skip_modules: "llm_int8_skip_modules",
};

/** The arguments in the library's order of importance; each says whether it could be left out. */
export function lines(config: Config4bit): Line[] {
  const python: Record<Exclude<Key, "blocksize">, string> = {
    quant_type: `"${config.quant_type}"`,
    double_quant: config.double_quant ? "True" : "False",
    compute_dtype: `torch.${config.compute_dtype}`,
    skip_modules: config.skip_modules === null ? "None" : `[${config.skip_modules.map((name) => JSON.stringify(name)).join(", ")}]`,
  };
  const keys: Exclude<Key, "blocksize">[] = ["quant_type", "double_quant", "compute_dtype", "skip_modules"];
  return [
    { key: null, name: "load_in_4bit", value: "True", isDefault: false },
    ...keys.map((key) => ({ key, name: NAMES[key], value: python[key], isDefault: same(config, LIBRARY, key) })),
  ];
}

function same(a: Config4bit, b: Config4bit, key: Key): boolean {
  return JSON.stringify(a[key]) === JSON.stringify(b[key]);
}

/** A whole program; arguments that are the library's defaults are left out unless wanted. */
export function program(config: Config4bit, defaults: boolean): string {
  const kept = lines(config).filter(({ isDefault }) => defaults || !isDefault);
  const torch = kept.some(({ value }) => value.startsWith("torch."));
  return [
    ...(torch ? ["import torch"] : []),
    "from transformers import AutoModelForCausalLM, BitsAndBytesConfig",
    "",
    "config = BitsAndBytesConfig(",
    ...kept.map(({ name, value, isDefault }) => `    ${name}=${value},${isDefault ? "  # default" : ""}`),
    ")",
    ...(config.blocksize === 64 ? [] : [`# transformers has no key for blocksize ${config.blocksize}: it always takes 64`]),
    'model = AutoModelForCausalLM.from_pretrained(NAME, quantization_config=config)',
    "",
  ].join("\n");
}

export type Problem =
  | { kind: "nothing" }
  | { kind: "syntax"; near: string }
  | { kind: "value"; name: string; found: string }
  | { kind: "not-4bit" }
  | { kind: "int8" };

export type Parsed = { config: Config4bit; ignored: string[] } | { problem: Problem };

type Value = string | number | boolean | null | readonly string[];

/** Reads a Python snippet with `BitsAndBytesConfig(...)`, a `quantization_config` as JSON, or a whole config.json. */
export function parse(text: string): Parsed {
  const source = text.trim();
  if (source === "") return { problem: { kind: "nothing" } };
  const entries = source.startsWith("{") ? fromJson(source) : fromPython(source);
  return "problem" in entries ? entries : settle(entries.values);
}

function fromJson(source: string): { values: Map<string, Value> } | { problem: Problem } {
  let json: unknown;
  try {
    json = JSON.parse(source);
  } catch {
    return { problem: { kind: "syntax", near: source.slice(0, 40) } };
  }
  const inner = (json as { quantization_config?: unknown }).quantization_config ?? json;
  if (typeof inner !== "object" || inner === null) return { problem: { kind: "nothing" } };
  const values = new Map<string, Value>();
  for (const [name, value] of Object.entries(inner)) {
    if (Array.isArray(value)) values.set(name, value.map(String));
    else if (value === null || typeof value !== "object") values.set(name, value as Value);
    else return { problem: { kind: "value", name, found: JSON.stringify(value).slice(0, 60) } };
  }
  // A config.json without quantization describes a model, not a quantization.
  if (![...values.keys()].some((name) => /^(load_in_|_load_in_|bnb_4bit_|quant_method)/.test(name))) {
    return { problem: { kind: "nothing" } };
  }
  return { values };
}

function fromPython(source: string): { values: Map<string, Value> } | { problem: Problem } {
  const start = /BitsAndBytesConfig\s*\(/.exec(source);
  if (start === null) return { problem: { kind: "nothing" } };
  const values = new Map<string, Value>();
  let rest = source.slice(start.index + start[0].length);
  const skip = () => {
    rest = rest.replace(/^(\s|#[^\n]*(\n|$))+/, "");
  };
  const wrong = (): { problem: Problem } => ({ problem: { kind: "syntax", near: rest.slice(0, 40) } });
  for (skip(); !rest.startsWith(")"); skip()) {
    const name = /^([A-Za-z_]\w*)\s*=\s*/.exec(rest);
    if (name?.[1] === undefined) return wrong();
    rest = rest.slice(name[0].length);
    const value = literal();
    if (value === undefined) return wrong();
    values.set(name[1], value);
    skip();
    if (rest.startsWith(",")) rest = rest.slice(1);
    else if (!rest.startsWith(")")) return wrong();
  }
  return { values };

  function literal(): Value | undefined {
    const text = /^(?:"([^"\\\n]*)"|'([^'\\\n]*)')/.exec(rest);
    if (text !== null) return take(text[0], text[1] ?? text[2] ?? "");
    const word = /^(?:torch\.)?([A-Za-z_]\w*)/.exec(rest);
    if (word !== null) {
      const known: Record<string, Value> = { True: true, False: false, None: null };
      return take(word[0], word[1] !== undefined && word[1] in known && !word[0].includes(".") ? (known[word[1]] ?? null) : (word[1] ?? ""));
    }
    const number = /^-?\d+(\.\d+)?/.exec(rest);
    if (number !== null) return take(number[0], Number(number[0]));
    if (!/^[[(]/.test(rest)) return undefined;
    const end = rest.startsWith("[") ? "]" : ")";
    rest = rest.slice(1);
    const items: string[] = [];
    for (skip(); !rest.startsWith(end); skip()) {
      const item = literal();
      if (typeof item !== "string") return undefined;
      items.push(item);
      skip();
      if (rest.startsWith(",")) rest = rest.slice(1);
      else if (!rest.startsWith(end)) return undefined;
    }
    return take(end, items);
  }

  function take(found: string, value: Value): Value {
    rest = rest.slice(found.length);
    return value;
  }
}

/** Keys that say nothing about what this page shows. */
const SILENT = /^(quant_method|_load_in_|llm_int8_(threshold|enable_fp32_cpu_offload|has_fp16_weight)|bnb_4bit_quant_storage)/;

function settle(values: Map<string, Value>): Parsed {
  if (values.get("load_in_8bit") === true) return { problem: { kind: "int8" } };
  if (values.get("load_in_4bit") !== true && values.get("_load_in_4bit") !== true) return { problem: { kind: "not-4bit" } };
  const config = { ...LIBRARY };
  const ignored: string[] = [];
  for (const [name, value] of values) {
    const wrong: Parsed = { problem: { kind: "value", name, found: JSON.stringify(value) } };
    switch (name) {
      case "load_in_4bit":
      case "load_in_8bit":
        break;
      case NAMES.quant_type:
        if (value !== "nf4" && value !== "fp4") return wrong;
        config.quant_type = value;
        break;
      case NAMES.double_quant:
        if (typeof value !== "boolean") return wrong;
        config.double_quant = value;
        break;
      case NAMES.compute_dtype: {
        if (value === null) break;
        const dtype = typeof value === "string" ? value.replace(/^torch\./, "") : "";
        const found = (["float32", "bfloat16", "float16"] as const).find((each) => each === dtype);
        if (found === undefined) return wrong;
        config.compute_dtype = found;
        break;
      }
      case NAMES.skip_modules:
        if (value !== null && !Array.isArray(value)) return wrong;
        config.skip_modules = value as readonly string[] | null;
        break;
      case "bnb_4bit_blocksize":
        if (typeof value !== "number" || ![32, 64, 128, 256, 512, 1024, 2048, 4096].includes(value)) return wrong;
        config.blocksize = value;
        break;
      default:
        if (!SILENT.test(name)) ignored.push(name);
    }
  }
  return { config, ignored };
}

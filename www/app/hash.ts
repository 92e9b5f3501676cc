/** The page's settings in the URL hash: `#1&seed=3&lang=ko`. Only what differs from the default is written. */

export const HASH_VERSION = 1;

interface Field<T> {
  default: T;
  /** Undefined for nonsense: the default stands then. */
  parse: (text: string) => T | undefined;
}

const oneOf = <const T extends string>(...values: T[]): Field<T> => ({
  default: values[0] as T,
  parse: (text) => values.find((value) => value === text),
});
const integer = (initial: number, min: number, max: number): Field<number> => ({
  default: initial,
  parse: (text) => (/^-?\d{1,15}$/.test(text) ? clampInto(Number(text), min, max) : undefined),
});
const decimal = (initial: number, min: number, max: number): Field<number> => ({
  default: initial,
  parse: (text) => (/^-?\d{1,9}(\.\d{1,9})?$/.test(text) ? clampInto(Number(text), min, max) : undefined),
});
const oneOfNumbers = <const T extends number>(...values: T[]): Field<T> => ({
  default: values[0] as T,
  parse: (text) => values.find((value) => String(value) === text),
});
const text = (initial: string, most: number): Field<string> => ({
  default: initial,
  parse: (value) => (value.length <= most ? value : undefined),
});

function clampInto(value: number, min: number, max: number): number {
  return Math.min(max, Math.max(min, value));
}

/** The builds of the engine, after the choice of the best. */
export const KERNELS = ["auto", "relaxed-threads", "simd128-threads", "relaxed", "simd128"] as const;

/** Every setting that a link carries, with its key in the hash. */
export const FIELDS = {
  lang: oneOf("", "en", "ko"),
  theme: oneOf("", "light", "dark"),
  prompt: text("Once upon a time", 1000),
  seed: integer(7, 0, 2 ** 31),
  temp: decimal(0.6, 0, 2),

  // What is looked at: the chosen weight's place in the flattened tensor also says which block is meant.
  tensor: text("", 300),
  weight: integer(98331, 0, 2 ** 40),

  // How it is quantized, by the names of `BitsAndBytesConfig`. The defaults are the lesson's, not the library's.
  quant_type: oneOf("nf4", "fp4"),
  blocksize: oneOfNumbers(64, 32, 128, 256, 512, 1024, 2048, 4096),
  double_quant: oneOf("on", "off"),
  compute_dtype: oneOf("bfloat16", "float32", "float16"),

  // What single views keep.
  size_of: text("Llama 3.1 8B", 60),
  /** A value tried in place of the chosen weight, divided by absmax; empty for the weight itself. */
  x: { default: "", parse: (value) => (value === "" || /^-?[01](\.\d{1,6})?$/.test(value) && Math.abs(Number(value)) <= 1 ? value : undefined) } as Field<string>,
  step: integer(4, 0, 4),
  outlier: decimal(0, 0, 64),
  layer: oneOf("error", "weight", "code"),
  /** `llm_int8_skip_modules`: names with commas between; empty for the library's own, "[]" for none. */
  skip: text("", 400),
  /** What the tab computes in when both forms are compared; `compute_dtype` is what a GPU would. */
  tab_dtype: oneOf("float32", "bfloat16", "float16"),
  arithmetic: oneOf("near-exact", "exact", "fast"),
  /** The build of the engine that compares. */
  kernel: oneOf(...KERNELS),
  adapter: oneOf("rhymes", "dialogue", "olden", "own"),
  /** Whether the adapter stands beside the weights or is added into them, and how strongly it counts. */
  lora: oneOf("beside", "merged"),
  strength: decimal(1, 0, 2),
  /** Tokens of kv cache, as a power of two. */
  context: integer(12, 7, 17),

  // How the page stands: as a story or a bench, one view alone, and what is hidden beside it.
  mode: oneOf("story", "lab"),
  view: text("", 20),
  embed: oneOf("0", "1"),
  hide: text("", 60),
  motion: oneOf("", "off"),
} satisfies Record<string, Field<string> | Field<number>>;

export type Settings = {
  [Key in keyof typeof FIELDS]: (typeof FIELDS)[Key] extends Field<infer T> ? T : never;
};

const names = Object.keys(FIELDS) as (keyof Settings)[];

/** Settings in a hash; what is missing, unknown or nonsense takes its default. Another version is all default. */
export function parseHash(hash: string): Settings {
  const settings = Object.fromEntries(names.map((name) => [name, FIELDS[name].default])) as Settings;
  const [version, ...pairs] = hash.replace(/^#/, "").split("&");
  if (version !== String(HASH_VERSION)) return settings;
  for (const pair of pairs) {
    const cut = pair.indexOf("=");
    const name = names.find((known) => known === pair.slice(0, cut));
    if (cut < 1 || name === undefined) continue;
    const value = decoded(pair.slice(cut + 1));
    const parsed = value === undefined ? undefined : FIELDS[name].parse(value);
    if (parsed !== undefined) Object.assign(settings, { [name]: parsed });
  }
  return settings;
}

export function formatHash(settings: Settings): string {
  const pairs = names
    .filter((name) => settings[name] !== FIELDS[name].default)
    .map((name) => `${name}=${encodeURIComponent(plain(settings[name]))}`);
  return pairs.length === 0 ? "" : `#${[HASH_VERSION, ...pairs].join("&")}`;
}

function plain(value: string | number): string {
  return typeof value === "number" ? String(Number(value.toFixed(6))) : value;
}

function decoded(value: string): string | undefined {
  try {
    return decodeURIComponent(value);
  } catch {
    return undefined;
  }
}

/** The lab's worker: its own module, one weight or two at a time, and the answers of lab-protocol.ts. */

import { startBuild, type Engine } from "./builds";
import { NibblamaError } from "./errors";
import { toFootprint } from "./footprint";
import type { FromLab, LabCallName, LabCalls, ToLab } from "./lab-protocol";
import { readRange } from "./lab-source";
import type {
  LabBlock, LabDoubleQuant, LabErrors, LabFormat, LabFormatName, LabHistogram, LabRows, LabTensor,
} from "./lab-types";
import { needed, needReader, readHeader, weightFiles } from "./checkpoint";
import type { PostedSource } from "./protocol";
import { openSource } from "./source";
import type { BitsAndBytesConfig, ModelConfig } from "./types";
import { isTrap, posted, trapReason } from "./worker-errors";

type WasmLab = import("./pkg/relaxed-threads/nibblama.js").Lab;
type WasmLens = import("./pkg/relaxed-threads/nibblama.js").Lens;

/** What the crate says of a weight: the public facts, and where its bytes lie. */
interface Row extends LabTensor {
  parts: [file: number, tensor: number, start: number, end: number][];
}

interface Opened {
  source: PostedSource;
  lab: WasmLab;
  /** Text of config.json. */
  config: string;
  quantized: boolean;
  files: string[];
  rows: Map<string, Row>;
}

interface Task {
  id: number;
  signal: AbortSignal;
}

type Handlers = {
  [Name in LabCallName]: (
    request: LabCalls[Name]["request"],
    task: Task,
  ) => LabCalls[Name]["result"] | Promise<LabCalls[Name]["result"]>;
};

interface Port {
  postMessage(message: FromLab, transfer?: Transferable[]): void;
}

const port = globalThis as unknown as Port;
const running = new Map<number, AbortController>();
let engine: Engine | undefined;
let opened: Opened | undefined;
/** The weights that were looked at last, the newest at the end. */
const lenses = new Map<string, WasmLens>();
const LENSES = 2;
type Contestant = Omit<LabFormat, keyof LabErrors | "name" | "relative_rmse"> & { stats: LabErrors };
const eightBit = new Map<string, Contestant>();
/** The crate has one buffer, so weights are read one after the other. */
let reading: Promise<unknown> = Promise.resolve();

const FORMATS: readonly LabFormatName[] =
  ["nf4", "nf4-dq", "fp4", "int4-symmetric", "int4-asymmetric", "int8", "llm-int8"];

const handlers: Handlers = {
  start: async ({ variant }) => {
    engine = await startBuild(variant, null);
    await engine.deferred();
    return null;
  },
  open: async ({ source }, { signal }) => {
    const { glue } = started();
    const files = openSource(source);
    const config = await needed(files, "config.json", signal);
    const loader = new glue.Loader(config, undefined, undefined, "float32");
    const { names, first } = await weightFiles(files, loader, signal);
    for (const name of names) {
      const reader = first ?? (await needReader(files, name, signal));
      try {
        await readHeader(glue, loader, reader);
      } finally {
        await reader.close();
      }
    }
    const facts = JSON.parse(loader.facts()) as { config: ModelConfig; quantization: BitsAndBytesConfig | null };
    const lab = loader.lab();
    const rows = JSON.parse(lab.weights()) as Row[];
    opened = {
      source,
      lab,
      config: new TextDecoder().decode(config),
      quantized: facts.quantization !== null,
      files: names,
      rows: new Map(rows.map((row) => [row.name, row])),
    };
    const tensors = rows.map(({ parts: _, ...tensor }) => tensor);
    return { config: facts.config, quantization: facts.quantization, tensors };
  },
  codebook: ({ quantType }) => {
    const numbers = started().glue.codebook(quantType);
    return {
      quant_type: quantType,
      levels: Float32Array.from(numbers.subarray(0, 16)),
      thresholds: Float32Array.from(numbers.subarray(16, 31)),
      codes: Uint8Array.from(numbers.subarray(31)),
    };
  },
  prepare: async ({ tensor }, task) => {
    await lens(tensor, task);
    return null;
  },
  block: async ({ tensor, index, settings, outlier }, task) => {
    const held = await lens(tensor, task);
    const { quant_type, blocksize, double_quant } = settings;
    const [position, factor] = outlier === null ? [-1, 1] : [outlier.position, outlier.factor];
    const block = held.block(index, quant_type, blocksize, double_quant, position, factor) as Omit<LabBlock, "errors">;
    const { values, restored } = block;
    const errors = values === null ? null : restored.map((value, i) => value - (values[i] ?? Number.NaN));
    return { ...block, errors };
  },
  blocksizeSweep: async ({ tensor, settings }, task) => {
    const points = (await lens(tensor, task)).sweep(settings.quant_type, settings.double_quant);
    return (points as [Float64Array, LabErrors][]).map(([numbers, errors]) => {
      const [blocksize = 0, blocks = 0] = numbers;
      return { blocksize, blocks, ...errors };
    });
  },
  doubleQuant: async ({ tensor, settings, bins }, task) => {
    const held = await lens(tensor, task);
    const { quant_type, blocksize } = settings;
    const answer = held.doubleQuant(quant_type, blocksize, bins) as Omit<LabDoubleQuant, "settings" | "model">;
    const [single, double] = [false, true].map((bnb_4bit_use_double_quant) =>
      sizes({
        load_in_4bit: true,
        bnb_4bit_quant_type: quant_type,
        bnb_4bit_blocksize: blocksize,
        bnb_4bit_use_double_quant,
      }),
    ) as [Sizes, Sizes];
    const model = {
      single: single.true_bytes,
      double: double.true_bytes,
      printedSingle: single.get_memory_footprint,
      printedDouble: double.get_memory_footprint,
    };
    return { settings, ...answer, model };
  },
  contest: async ({ tensor, blocksize, bins }, task) => {
    const held = await lens(tensor, task);
    const [numbers] = held.distribution(1) as [Float64Array, LabHistogram];
    const sigma = numbers[1] ?? 0;
    return FORMATS.map((name): LabFormat => {
      // The 8-bit formats know no blocks: their answer is the last one's.
      const key = name.includes("int8") ? `${tensor} ${name} ${bins}` : null;
      const known = key === null ? undefined : eightBit.get(key);
      const answer = known ?? (held.contestant(name, blocksize, bins) as Contestant);
      if (key !== null && known === undefined) eightBit.set(key, answer);
      const { stats, ...rest } = structuredClone(answer);
      return { ...rest, ...stats, name, relative_rmse: sigma === 0 ? 0 : stats.rmse / sigma };
    });
  },
  heatmap: async ({ tensor, map, settings }, task) => {
    const held = await lens(tensor, task);
    const { shape } = row(tensor);
    const columns = shape.at(-1) ?? 1;
    const rect = map.rect ?? { x: 0, y: 0, width: columns, height: row(tensor).elements / columns };
    const width = Math.min(map.width, rect.width);
    const height = Math.min(map.height, rect.height);
    const { quant_type, blocksize, double_quant } = settings;
    const data = held.heatmap(
      map.what,
      Uint32Array.of(rect.x, rect.y, rect.width, rect.height),
      Uint32Array.of(width, height),
      map.bin === "mean",
      quant_type,
      blocksize,
      double_quant,
    ) as Float32Array<ArrayBuffer>;
    let [low, high] = [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY];
    for (const value of data) {
      low = Math.min(low, value);
      high = Math.max(high, value);
    }
    return { rect, width, height, data, low, high };
  },
  rows: async ({ tensor, settings }, task) => {
    const held = await lens(tensor, task);
    const { quant_type, blocksize = 64, double_quant = false } = settings ?? {};
    return held.rows(quant_type, blocksize, double_quant) as LabRows;
  },
  histogram: async ({ tensor, bins }, task) => {
    const [numbers, histogram] = (await lens(tensor, task)).distribution(bins) as [Float64Array, LabHistogram];
    const [mean = 0, std = 0, absmax = 0] = numbers;
    return { ...histogram, mean, std, absmax };
  },
  compareLogits: ({ a, b }) => {
    const numbers = started().glue.compareLogits(a.data, b.data, a.shape[1]);
    const positions = numbers.length / 3;
    const column = (k: number) => Array.from({ length: positions }, (_, i) => numbers[i * 3 + k] ?? Number.NaN);
    const [kl, topA, topB] = [Float64Array.from(column(0)), Uint32Array.from(column(1)), Uint32Array.from(column(2))];
    const first = topA.findIndex((token, i) => token !== topB[i]);
    const same = topA.reduce((count, token, i) => count + (token === topB[i] ? 1 : 0), 0);
    return {
      kl,
      meanKl: kl.reduce((sum, x) => sum + x, 0) / positions,
      topA,
      topB,
      top1Agreement: same / positions,
      firstDifference: first < 0 ? null : first,
    };
  },
  footprint: ({ quantization, dtype, context }) => {
    const json = quantization === null ? undefined : JSON.stringify(quantization);
    return toFootprint(started().glue.footprint(current().config, json, dtype ?? undefined, context));
  },
};

interface Sizes {
  true_bytes: number;
  get_memory_footprint: number;
}

/** Sizes of the model under a configuration. */
function sizes(quantization: BitsAndBytesConfig): Sizes {
  return toFootprint(started().glue.footprint(current().config, JSON.stringify(quantization), undefined, 0));
}

function started(): Engine {
  if (engine === undefined) throw new NibblamaError("invalid-argument", "the engine was not started");
  return engine;
}

function current(): Opened {
  if (opened === undefined) throw new NibblamaError("invalid-argument", "no checkpoint is open");
  return opened;
}

function row(tensor: string): Row {
  const found = current().rows.get(tensor);
  if (found === undefined) throw new NibblamaError("invalid-argument", "the model has no such weight", { tensor });
  return found;
}

/** The weight, read if it is not there. */
function lens(tensor: string, task: Task): Promise<WasmLens> {
  const turn = reading.then(async () => {
    if (task.signal.aborted) throw new NibblamaError("aborted", "the caller asked to stop");
    const held = lenses.get(tensor) ?? (await read(tensor, task));
    lenses.delete(tensor);
    lenses.set(tensor, held);
    return held;
  });
  reading = turn.catch(() => undefined);
  return turn;
}

async function read(tensor: string, { id, signal }: Task): Promise<WasmLens> {
  const { memory } = started();
  const { lab, source, files } = current();
  const { parts, bytes } = row(tensor);
  // Room first: the oldest goes before the newest comes.
  for (const [name, old] of lenses) {
    if (lenses.size < LENSES) break;
    lenses.delete(name);
    old.free();
    eightBit.clear();
  }
  let loaded = 0;
  try {
    for (const [file, index, start, end] of parts) {
      const address = lab.buffer(end - start) >>> 0;
      await readRange(source, files[file] ?? "", start, end, signal, (piece, offset) => {
        // The memory may have grown since the last piece, so the view is made anew.
        new Uint8Array(memory.buffer, address + offset, piece.length).set(piece);
        loaded += piece.length;
        port.postMessage({ type: "report", id, report: { loaded, total: bytes } });
      });
      lab.push(file, index);
    }
  } catch (error) {
    lab.forget();
    throw error;
  }
  return lab.take();
}

async function handle<Name extends LabCallName>(id: number, name: Name, request: LabCalls[Name]["request"]): Promise<void> {
  const controller = new AbortController();
  running.set(id, controller);
  try {
    const result = await handlers[name](request, { id, signal: controller.signal });
    port.postMessage({ type: "result", id, result }, transferable(result));
  } catch (error) {
    if (isTrap(error)) port.postMessage({ type: "crash", reason: trapReason(error) });
    else port.postMessage({ type: "error", id, error: posted(error) });
  } finally {
    running.delete(id);
  }
}

/** The buffers of an answer's arrays, which are its own. */
function transferable(value: unknown): ArrayBuffer[] {
  if (ArrayBuffer.isView(value)) return value.buffer instanceof ArrayBuffer ? [value.buffer] : [];
  return typeof value === "object" && value !== null ? Object.values(value).flatMap(transferable) : [];
}

export function receive(data: ToLab): void {
  if (data.type === "abort") running.get(data.id)?.abort();
  else void handle(data.id, data.name, data.request);
}

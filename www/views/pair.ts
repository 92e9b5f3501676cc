/** The two models of view 9: loaded for it, written with, compared, and given back when it is left. */

import { batch, signal } from "@preact/signals";
import { isAbort, sampling, session } from "../app/session";
import { state } from "../app/state";
import {
  loadModel, openLab, type Arithmetic, type ComputeDtype, type LogitsComparison, type MemoryLedger, type Model, type Perplexity,
} from "../engine/index";
import { currentConfig, quantizationOf } from "./config-sizes";
import type { Piece } from "./diff";

export type Which = "full" | "four";

export interface Side {
  pieces: Piece[];
  /** Tokens per second after the first. */
  rate: number | null;
  memory: MemoryLedger | null;
  /** What products were computed in; all but float32 are emulated on the 4-bit side. */
  dtype: ComputeDtype;
  /** What computed: the kernels inside of the build, and how many threads. */
  kernel: string;
  perplexity: Perplexity | null;
}

export type Stage =
  | { kind: "idle"; left: boolean }
  | { kind: "loading"; which: Which; loaded: number; total: number }
  | { kind: "writing"; which: Which }
  | { kind: "comparing" }
  | { kind: "measuring"; which: Which; done: number; total: number }
  | { kind: "ready" };

export interface Compared extends LogitsComparison {
  /** The text's tokens from the first predicted one on; `kl[i]` is about the prediction of `tokens[i]`. */
  tokens: string[];
}

const empty = (): Side => ({ pieces: [], rate: null, memory: null, dtype: state.tab_dtype.peek(), kernel: "", perplexity: null });
const TOKENS = 80;
const HELD_OUT = "models/eval/stories.txt";

export const stage = signal<Stage>({ kind: "idle", left: false });
export const sides = { full: signal(empty()), four: signal(empty()) };
export const compared = signal<Compared | null>(null);
export const failure = signal<Error | null>(null);

let models: { full: Model; four: Model; key: string } | null = null;
let running: AbortController | null = null;

/** What the second model is made of; another choice means another model. */
function key(): string {
  return JSON.stringify([session.name.peek(), quantizationOf(currentConfig.peek()), state.tab_dtype.peek(), state.kernel.peek()]);
}

export function stopPair(): void {
  running?.abort();
}

/** Ends both workers; their memory goes back. */
export function leavePair(): void {
  stopPair();
  const had = models;
  models = null;
  void had?.full.dispose();
  void had?.four.dispose();
  if (had !== null) {
    batch(() => {
      stage.value = { kind: "idle", left: true };
      for (const side of Object.values(sides)) side.value = { ...side.peek(), memory: null };
    });
  }
}

async function pair(signal: AbortSignal): Promise<{ full: Model; four: Model }> {
  if (models !== null && models.key === key()) return models;
  const [source, config, dtype, mine] = [session.originals.peek(), currentConfig.peek(), state.tab_dtype.peek(), key()];
  const kernel = state.kernel.peek();
  const former = models;
  models = null;
  await Promise.all([former?.full.dispose(), former?.four.dispose()]);
  const load = (which: Which) =>
    loadModel(source, {
      quantization: which === "full" ? null : quantizationOf(config),
      computeDtype: dtype,
      context: 512,
      ...(kernel === "auto" ? {} : { variant: kernel }),
      signal,
      onProgress: ({ loaded, total }) => {
        stage.value = { kind: "loading", which, loaded, total };
      },
    });
  const full = await load("full");
  try {
    const four = await load("four");
    models = { full, four, key: mine };
    return models;
  } catch (error) {
    await full.dispose();
    throw error;
  }
}

async function guarded(work: (signal: AbortSignal) => Promise<void>): Promise<void> {
  running?.abort();
  const abort = (running = new AbortController());
  failure.value = null;
  try {
    await work(abort.signal);
    if (running === abort) stage.value = { kind: "ready" };
  } catch (error) {
    if (running !== abort) return;
    stage.value = models === null ? { kind: "idle", left: false } : { kind: "ready" };
    if (!isAbort(error)) failure.value = error instanceof Error ? error : new Error(String(error));
  } finally {
    if (running === abort) running = null;
  }
}

/** Loads what is missing, writes with both, and compares their predictions along the first text. */
export function writePair(): Promise<void> {
  return guarded(async (signal) => {
    const both = await pair(signal);
    batch(() => {
      compared.value = null;
      for (const side of Object.values(sides)) side.value = { ...empty(), perplexity: side.peek().perplexity };
    });
    if (state.tab_dtype.peek() === "float32") await both.four.setArithmetic(state.arithmetic.peek());
    const prompt = state.prompt.peek();
    for (const which of ["full", "four"] as const) {
      stage.value = { kind: "writing", which };
      const side = sides[which];
      let first = 0;
      const text = both[which].generate(prompt, {
        max_new_tokens: TOKENS,
        ...sampling(),
        signal,
      });
      for await (const { token, text: piece, time } of text) {
        const { pieces } = side.peek();
        if (pieces.length === 0) first = time;
        const rate = pieces.length === 0 ? null : (pieces.length * 1000) / Math.max(time - first, 1);
        side.value = { ...side.peek(), pieces: [...pieces, { token, text: piece }], rate };
      }
      const { isa, threads } = both[which].variant;
      side.value = { ...side.peek(), memory: await both[which].memory(), kernel: `${isa} ${threads}×` };
    }
    stage.value = { kind: "comparing" };
    const { ids } = await both.full.tokenize(prompt);
    const written = sides.full.peek().pieces.map(({ token }) => token);
    const whole = [...ids, ...written];
    const context = whole.slice(0, -1);
    const a = await both.full.logits(context, { all: true, signal });
    const b = await both.four.logits(context, { all: true, signal });
    const lab = await openLab(session.originals.peek(), { signal });
    try {
      const comparison = await lab.compareLogits(a, b, { signal });
      const { tokens } = await both.full.tokenize(whole.slice(1));
      compared.value = { ...comparison, tokens };
    } finally {
      lab.dispose();
    }
  });
}

/** Perplexity of both on the held-out stories. */
export function measurePair(): Promise<void> {
  return guarded(async (signal) => {
    const both = await pair(signal);
    const response = await fetch(new URL(HELD_OUT, document.baseURI), { signal });
    if (!response.ok) throw new Error(`${HELD_OUT}: ${response.status}`);
    const text = await response.text();
    for (const which of ["full", "four"] as const) {
      stage.value = { kind: "measuring", which, done: 0, total: 1 };
      const perplexity = await both[which].perplexity(text, {
        signal,
        onProgress: (done, total) => {
          stage.value = { kind: "measuring", which, done, total };
        },
      });
      sides[which].value = { ...sides[which].peek(), perplexity };
    }
  });
}

/** Another arithmetic for the 4-bit products, from the next token on. */
export async function setArithmetic(arithmetic: Arithmetic): Promise<void> {
  state.arithmetic.value = arithmetic;
  if (state.tab_dtype.peek() === "float32") await models?.four.setArithmetic(arithmetic);
}

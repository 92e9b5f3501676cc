/** Whole models: prefill and decode, by all contenders in turn. */

import type { Measurements } from "./measurements";
import { SHAPES, weights, type ShapeName } from "./shapes";
import { ARITHMETICS, NF4, NF4_HEAD, rate, threadsText, type Builds, type Target } from "./target";

export const PROMPT = 128;
/** Seconds of one turn from which a contender is not asked again. */
const PATIENCE = 30;

/** One that takes its turn in every round; rates are tokens a second. */
export interface Contender {
  name: string;
  decode?: (tokens: number) => Promise<number>;
  prefill?: (prompt: number) => Promise<number>;
  both?: (tokens: number, prompt: number) => Promise<{ decode: number; prefill: number }>;
  /** Length of its prompt, where {@link PROMPT} takes too long. */
  prompt?: number;
}

export const modelName = (shape: ShapeName, kind: "decode" | "prefill", who: string) => `${shape} ${kind}, ${who}`;
/** How `lm_head` is stored: "bf16", as bitsandbytes does by default, or "NF4" like all else. */
export type Head = "bf16" | "NF4";
export const oursName = (arithmetic: string, head: Head, threads: number) => `${arithmetic}, lm_head ${head}, ${threadsText(threads)}`;

/** Makes our models of that shape, checks them, and returns who computes with them. */
export async function ourContenders(
  target: Target,
  record: Measurements,
  shape: ShapeName,
  builds: Builds,
  head: Head,
): Promise<Contender[]> {
  const contenders: Contender[] = [];
  const all = [["one", builds.one, 1], ["many", builds.many, builds.threads]] as const;
  for (const [name, variant, threads] of all) {
    if (variant === null) continue;
    const key = `${name} ${head}`;
    target.step(`${shape}: ${variant}`);
    const started = await target.ours(key, "start", variant, threads);
    if (started.threads !== threads) throw new Error(`${started.threads} threads started, not ${threads}`);
    const memory = await target.ours(key, "model", shape, head === "NF4" ? NF4_HEAD : NF4, 512);
    if (threads === 1) noteSizes(record, shape, head, memory);
    for (const arithmetic of ARITHMETICS) {
      const { prefill, decode } = await target.ours(key, "checkModel", arithmetic);
      if (arithmetic !== "exact" && threads === 1) {
        const [a, b] = [prefill.toExponential(1), decode.toExponential(1)];
        record.note(`${shape}, ${arithmetic}, lm_head ${head}: logits differ from the exact ones by ${a} after prefill, ${b} after decode`);
      }
      // More threads in exact arithmetic tell nothing new.
      if (threads > 1 && arithmetic === "exact") continue;
      contenders.push({
        name: oursName(arithmetic, head, threads),
        decode: async (tokens) => rate(tokens, await target.ours(key, "decode", arithmetic, tokens)),
        prefill: async (prompt) => rate(prompt, await target.ours(key, "prefill", arithmetic, prompt)),
      });
    }
  }
  return contenders;
}

function noteSizes(record: Measurements, shape: ShapeName, head: Head, memory: Record<string, number>): void {
  const { layers, lmHead } = weights(SHAPES[shape]);
  const million = (n: number) => `${(n / 1e6).toFixed(1)} M`;
  const mb = (bytes: number) => `${(bytes / 1e6).toFixed(1)} MB`;
  const nf4 = mb((memory["packed_codes"] ?? 0) + (memory["absmax"] ?? 0));
  const floats = mb(memory["floats_16bit"] ?? 0);
  record.note(
    `${shape}, lm_head ${head}: ${million(layers)} weights in layers and ${million(lmHead)} in lm_head; ` +
      `${nf4} in NF4 with f32 scales for blocks of 64, ${floats} in 16 bits, the embedding included`,
  );
}

export async function compete(
  target: Target,
  record: Measurements,
  contenders: readonly Contender[],
  { shape, rounds, tokens }: { shape: ShapeName; rounds: number; tokens: number },
): Promise<void> {
  const turn = async ({ decode, prefill, both }: Contender, tokens: number, prompt: number) =>
    both === undefined ? { decode: await decode?.(tokens), prefill: await prefill?.(prompt) } : both(tokens, prompt);
  // What is compiled while it runs is compiled now.
  for (const contender of contenders) await turn(contender, 4, 16);
  const given = new Set<string>();
  for (let round = 0; round < rounds; round++) {
    for (const contender of contenders.filter(({ name }) => !given.has(name))) {
      const { name, prompt = PROMPT } = contender;
      target.step(`${shape}: ${name}`);
      const begun = performance.now();
      const found = await turn(contender, tokens, prompt);
      if (found.decode !== undefined) record.add(modelName(shape, "decode", name), "tokens/s", found.decode);
      if (found.prefill !== undefined) record.add(modelName(shape, "prefill", name), "tokens/s", found.prefill);
      const seconds = (performance.now() - begun) / 1000;
      if (seconds < PATIENCE) continue;
      given.add(name);
      record.note(`${shape}, ${name}: one turn took ${seconds.toFixed(0)} s, so it had ${round + 1}`);
    }
  }
}

/** Ends the workers of {@link ourContenders}. */
export async function endOurs(target: Target): Promise<void> {
  for (const name of ["one", "many"]) for (const head of ["bf16", "NF4"]) await target.end(`${name} ${head}`);
}

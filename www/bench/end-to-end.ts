/** Whole models: prefill and decode, by all contenders in turn. */

import type { Measurements } from "./measurements";
import { SHAPES, weights, type ShapeName } from "./shapes";
import { ARITHMETICS, NF4, rate, threadsText, type Builds, type Target } from "./target";

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
export const oursName = (arithmetic: string, threads: number) => `${arithmetic}, ${threadsText(threads)}`;

/** Makes our models of that shape, checks them, and returns who computes with them. */
export async function ourContenders(target: Target, record: Measurements, shape: ShapeName, builds: Builds): Promise<Contender[]> {
  const { layers, lmHead } = weights(SHAPES[shape]);
  const mb = (bytes: number | undefined) => `${((bytes ?? 0) / 1e6).toFixed(1)} MB`;
  const contenders: Contender[] = [];
  const all = [["one", builds.one, 1], ["many", builds.many, builds.threads]] as const;
  for (const [key, variant, threads] of all) {
    if (variant === null) continue;
    target.step(`${shape}: ${variant}`);
    const started = await target.ours(key, "start", variant, threads);
    if (started.threads !== threads) throw new Error(`${started.threads} threads started, not ${threads}`);
    const memory = await target.ours(key, "model", shape, NF4, 512);
    if (key === "one") {
      const nf4 = mb((memory["packed_codes"] ?? 0) + (memory["absmax"] ?? 0));
      record.note(`${shape}: ${(layers / 1e6).toFixed(1)} M weights in layers, NF4 in blocks of 64 with f32 scales, ${nf4}`);
      record.note(`${shape}: ${(lmHead / 1e6).toFixed(1)} M weights in lm_head; with the embedding ${mb(memory["floats_16bit"])} in 16 bits`);
    }
    for (const arithmetic of ARITHMETICS) {
      const { prefill, decode } = await target.ours(key, "checkModel", arithmetic);
      if (arithmetic !== "exact" && key === "one") {
        const [a, b] = [prefill.toExponential(1), decode.toExponential(1)];
        record.note(`${shape}, ${arithmetic}: logits differ from the exact ones by ${a} after prefill, ${b} after decode`);
      }
      // More threads in exact arithmetic tell nothing new.
      if (key === "many" && arithmetic === "exact") continue;
      contenders.push({
        name: oursName(arithmetic, threads),
        decode: async (tokens) => rate(tokens, await target.ours(key, "decode", arithmetic, tokens)),
        prefill: async (prompt) => rate(prompt, await target.ours(key, "prefill", arithmetic, prompt)),
      });
    }
  }
  return contenders;
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
  await target.end("one");
  await target.end("many");
}

/** Whole models: prefill of 128 tokens and decode, ours and the peers' in turn. */

import type { Driver } from "./browser";
import { ARITHMETICS } from "./micro";
import type { Measurements } from "./measurements";
import { SHAPES, weights, type ShapeName } from "../shapes";
import type { GgufType } from "../peers/gguf";

const NF4 = { load_in_4bit: true, bnb_4bit_quant_type: "nf4", bnb_4bit_use_double_quant: false };
export const PROMPT = 128;
const THIRD = "wllama 3.8.1";

/** One that takes its turn in every round. */
interface Contender {
  name: string;
  /** Tokens a second over so many tokens. */
  decode?: (tokens: number) => Promise<number>;
  prefill?: (prompt: number) => Promise<number>;
  both?: (tokens: number, prompt: number) => Promise<{ decode: number; prefill: number }>;
}

/** Seconds of one turn from which a contender is not asked again. */
const PATIENCE = 30;

export interface Plan {
  shape: ShapeName;
  rounds: number;
  /** Tokens of a decode. */
  tokens: number;
  /** Slow peers are measured in their decode alone. */
  brief: boolean;
  third: boolean;
}

const rate = (tokens: number, ms: number) => (1000 * tokens) / ms;

export async function endToEnd(driver: Driver, record: Measurements, plan: Plan): Promise<void> {
  const { shape, tokens } = plan;
  const { layers, lmHead } = weights(SHAPES[shape]);
  record.note(`${shape}: ${(layers / 1e6).toFixed(1)} M weights in linear layers, ${(lmHead / 1e6).toFixed(1)} M in lm_head`);
  const contenders = [...(await ours(driver, record, shape)), ...(await peers(driver, plan))];
  const turn = async ({ decode, prefill, both }: Contender, tokens: number, prompt: number) =>
    both === undefined ? { decode: await decode?.(tokens), prefill: await prefill?.(prompt) } : both(tokens, prompt);
  // What is compiled while it runs is compiled now.
  for (const contender of contenders) await turn(contender, 4, 16);
  const given = new Set<string>();
  for (let round = 0; round < plan.rounds; round++) {
    for (const contender of contenders.filter(({ name }) => !given.has(name))) {
      const { name } = contender;
      const begun = performance.now();
      const found = await turn(contender, tokens, plan.brief && name.startsWith(THIRD) ? 32 : PROMPT);
      if (found.decode !== undefined) record.add(`${shape} decode, ${name}`, "tokens/s", found.decode);
      if (found.prefill !== undefined) record.add(`${shape} prefill, ${name}`, "tokens/s", found.prefill);
      const seconds = (performance.now() - begun) / 1000;
      if (seconds < PATIENCE) continue;
      given.add(name);
      record.note(`${shape}, ${name}: one turn took ${seconds.toFixed(0)} s, so it had ${round + 1}`);
    }
  }
  await driver.end("one");
  await driver.end("two");
  await driver.peer("unload", shape);
}

async function ours(driver: Driver, record: Measurements, shape: ShapeName): Promise<Contender[]> {
  const contenders: Contender[] = [];
  for (const [key, variant, threads] of [["one", "relaxed", 1], ["two", "relaxed-threads", 2]] as const) {
    const started = await driver.ours(key, "start", variant, threads);
    if (started.threads !== threads) throw new Error(`${started.threads} threads started, not ${threads}`);
    const memory = await driver.ours(key, "model", shape, NF4, 512);
    record.note(`${shape}, ${variant}: ${(((memory["packed_codes"] ?? 0) + (memory["absmax"] ?? 0)) / 1e6).toFixed(1)} MB of codes and scales, ${((memory["floats_16bit"] ?? 0) / 1e6).toFixed(1)} MB in 16 bits (embedding and lm_head)`);
    for (const arithmetic of ARITHMETICS) {
      const { prefill, decode } = await driver.ours(key, "checkModel", arithmetic);
      if (arithmetic !== "exact" && key === "one") record.note(`${shape}, ${arithmetic}: logits differ from the exact ones by ${prefill.toExponential(1)} after prefill, ${decode.toExponential(1)} after decode`);
      // Two threads in exact arithmetic tell nothing new.
      if (threads === 2 && arithmetic === "exact") continue;
      contenders.push({
        name: `${arithmetic}, ${threads === 1 ? "1 thread" : "2 threads"}`,
        decode: async (tokens) => rate(tokens, await driver.ours(key, "decode", arithmetic, tokens)),
        prefill: async (prompt) => rate(prompt, await driver.ours(key, "prefill", arithmetic, prompt)),
      });
    }
  }
  return contenders;
}

async function peers(driver: Driver, { shape, brief, third }: Plan): Promise<Contender[]> {
  const contenders: Contender[] = [];
  const second = async (type: GgufType, threads: number, prefill: boolean) => {
    const key = `${shape} ${type} ${threads}`;
    const started = await driver.peer("loadWllama2", key, shape, type, threads);
    if (started.threads !== threads || started.multithread !== threads > 1) throw new Error(`wllama runs on ${started.threads} threads`);
    const run = async (kind: "tg" | "pp", samples: number) => rate(samples, await driver.peer("wllama2", key, kind, samples));
    contenders.push({
      name: `wllama 2.3.7 ${type}, ${threads === 1 ? "1 thread" : `${threads} threads`}`,
      decode: (tokens) => run("tg", tokens),
      ...(prefill ? { prefill: (prompt: number) => run("pp", prompt) } : {}),
    });
  };
  await second("Q4_0", 1, true);
  await second("Q4_0", 2, true);
  await second("IQ4_NL", 1, !brief);
  if (third) {
    const key = `${shape} third`;
    await driver.peer("loadWllama3", key, shape, "Q4_0", 1);
    contenders.push({
      name: `${THIRD} Q4_0, 1 thread`,
      both: async (tokens, prompt) => {
        const { prefill, decode } = await driver.peer("wllama3", key, prompt, tokens);
        return { prefill: 1000 / prefill, decode: 1000 / decode };
      },
    });
  }
  return contenders;
}

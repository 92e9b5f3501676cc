/** The peers: whole models for wllama, one product for onnxruntime-web. */

import type { Contender } from "../end-to-end";
import type { Measurements } from "../measurements";
import { BUDGET } from "../micro";
import type { GgufType } from "../peers/gguf";
import type { ShapeName } from "../shapes";
import { rate, threadsText, tokensText } from "../target";
import type { Driver } from "./browser";

export const secondName = (type: GgufType, threads: number) => `wllama 2.3.7 ${type}, ${threadsText(threads)}`;
export const THIRD = "wllama 3.8.1 Q4_0, 1 thread";
/** 0 is the default; 4 allows activations in int8, where there are kernels for it. */
export const ORT_LEVELS = [0, 4] as const;
export const ortName = (tokens: number, level: number) => `onnxruntime-web MatMulNBits 2048 x 2048, ${tokensText(tokens)}, accuracy ${level}`;

interface Plan {
  shape: ShapeName;
  /** Slow peers read short prompts, or are measured in their decode alone. */
  brief: boolean;
  third: boolean;
}

export async function peers(driver: Driver, { shape, brief, third }: Plan): Promise<Contender[]> {
  const contenders: Contender[] = [];
  const second = async (type: GgufType, threads: number, prefill: boolean) => {
    const key = `${shape} ${type} ${threads}`;
    const started = await driver.peer("loadWllama2", key, shape, type, threads);
    if (started.threads !== threads || started.multithread !== threads > 1) throw new Error(`wllama runs on ${started.threads} threads`);
    const run = async (kind: "tg" | "pp", samples: number) => rate(samples, await driver.peer("wllama2", key, kind, samples));
    contenders.push({
      name: secondName(type, threads),
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
      name: THIRD,
      ...(brief ? { prompt: 32 } : {}),
      both: async (tokens, prompt) => {
        const { prefill, decode } = await driver.peer("wllama3", key, prompt, tokens);
        return { prefill: 1000 / prefill, decode: 1000 / decode };
      },
    });
  }
  return contenders;
}

/** Loads the products of onnxruntime-web and returns what measures them. */
export async function ortProducts(driver: Driver, record: Measurements): Promise<(tokens: number) => Promise<void>> {
  const size = 2048;
  for (const level of ORT_LEVELS) await driver.peer("loadOrt", `ort ${level}`, size, size, 64, level);
  return async (tokens) => {
    for (const level of ORT_LEVELS) {
      const ms = await driver.peer("ort", `ort ${level}`, tokens, BUDGET);
      record.add(ortName(tokens, level), "GFLOP/s", (2 * size * size * tokens) / ms / 1e6);
    }
  };
}

/** The model that the site carries, through the engine's public functions: what a visitor waits for. */

import { loadModel } from "../engine/client";
import type { Model } from "../engine/index";
import type { Arithmetic } from "../engine/types";

const MODEL = "models/stories-nf4/";
const PROMPT = "Once upon a time";

export interface FirstToken {
  /** Milliseconds from the last byte of weights to the first token, the engine having started. */
  afterWeights: number;
  /** The same for the whole load. */
  whole: number;
}

export interface Loaded {
  model: Model;
  first: FirstToken;
}

/** Loads the model and has it write one token; the files come from the browser's cache where they were read before. */
export async function load(threads: number): Promise<Loaded> {
  const begun = performance.now();
  let arrived = Number.NaN;
  const model = await loadModel(MODEL, {
    threads,
    onProgress: ({ loaded, total }) => {
      if (total > 0 && loaded === total && Number.isNaN(arrived)) arrived = performance.now();
    },
  });
  for await (const { text } of model.generate(PROMPT, { max_new_tokens: 1, do_sample: false })) void text;
  const now = performance.now();
  return { model, first: { afterWeights: now - arrived, whole: now - begun } };
}

/** Tokens a second from the second token on, as `generate` hands them out. */
export async function decodeRate(model: Model, arithmetic: Arithmetic, tokens: number): Promise<number> {
  await model.setArithmetic(arithmetic);
  let written = 0;
  let first = 0;
  let text = "";
  for await (const token of model.generate(PROMPT, { max_new_tokens: tokens, do_sample: true, seed: 1 })) {
    if (written === 0) first = performance.now();
    written += 1;
    text += token.text;
  }
  if (written < tokens / 2 || text.trim() === "") throw new Error(`only ${written} tokens were written`);
  return (1000 * (written - 1)) / (performance.now() - first);
}

/** Perplexity of the text that the site carries. */
export async function perplexity(model: Model, arithmetic: Arithmetic): Promise<number> {
  const response = await fetch("models/eval/stories.txt");
  if (!response.ok) throw new Error(`models/eval/stories.txt: status ${response.status}`);
  return (await model.perplexity(await response.text(), { arithmetic })).perplexity;
}

/** How well the model predicts a text: story by story, as `nibblama eval` does it. */

import { NibblamaError } from "./errors";
import type { Loaded, Task } from "./load";
import type { Arithmetic, Perplexity } from "./types";

const SEPARATOR = "<|endoftext|>";

/** The non-empty texts between separator lines, without white space at their ends. */
export function stories(text: string): string[] {
  const found = [""];
  for (const line of text.split(/(?<=\n)/)) {
    if (line.trim() === SEPARATOR) found.push("");
    else found[found.length - 1] += line;
  }
  return found.map((story) => story.trim()).filter((story) => story !== "");
}

/**
 * A part of a story that one pass reads: the start token, then tokens `begin` to `end - 2`. Its logits predict `begin`
 * to `end - 1`, of which those from `scoredFrom` on count.
 */
export interface Window {
  begin: number;
  scoredFrom: number;
  end: number;
}

/** Windows of at most `size` positions over `length` tokens. They overlap by half; each token is scored once. */
export function windows(length: number, size: number): Window[] {
  const found: Window[] = [];
  for (let scored = 0; scored < length; ) {
    const begin = scored === 0 ? 0 : scored - Math.floor(size / 2);
    const end = Math.min(length, begin + size);
    found.push({ begin, scoredFrom: scored, end });
    scored = end;
  }
  return found;
}

export async function perplexity(
  { model, text, facts, arithmetic, pieces }: Loaded,
  request: { text: string; context: number | null; arithmetic: Arithmetic },
  task: Task,
  onProgress: (done: number, total: number) => void,
): Promise<Perplexity> {
  const { bos_token_id: bos, max_position_embeddings: most } = facts.config;
  if (bos === null) {
    throw new NibblamaError("invalid-config", "the model has no start token to score a text from", {
      file: "config.json",
      tensor: "bos_token_id",
    });
  }
  model.reset();
  const room = model.remaining();
  const context = request.context ?? Math.min(room, most);
  if (!(context >= 2 && context <= Math.min(room, most))) {
    throw new NibblamaError("invalid-argument", "the window is out of range", {
      tensor: "context",
      expected: `2 to ${Math.min(room, most)}`,
      found: String(context),
    });
  }
  const texts = stories(request.text)
    .map((story) => text.encode(story, false))
    .filter((ids) => ids.length > 0);
  const total = texts.reduce((sum, ids) => sum + ids.length, 0);
  if (total === 0) throw new NibblamaError("invalid-argument", "no text to score");
  let nll = 0;
  let done = 0;
  for (const ids of texts) {
    for (const { begin, scoredFrom, end } of windows(ids.length, context)) {
      const input = [bos, ...ids.slice(begin, end - 1)];
      const targets = ids.slice(begin, end);
      model.reset();
      for (let at = 0, piece = 0; at < input.length; at += piece) {
        await task.breathe();
        const left = input.length - at;
        piece = model.readsWhole() ? left : pieces.nextWhole(left);
        const began = performance.now();
        // An emulated compute dtype has an arithmetic of its own; a generation may have set another meanwhile.
        if (arithmetic !== null) model.setArithmetic(request.arithmetic);
        const skip = Math.max(0, scoredFrom - begin - at);
        const scores = model.score(
          Uint32Array.from(input.slice(at, at + piece)),
          Uint32Array.from(targets.slice(at, at + piece)),
          skip,
        );
        pieces.took(performance.now() - began, piece);
        for (const score of scores) nll += score;
        done += scores.length;
        onProgress(done, total);
      }
    }
  }
  model.reset();
  const mean = nll / done;
  return { perplexity: Math.exp(mean), nll: mean, tokens: done, stories: texts.length, context };
}

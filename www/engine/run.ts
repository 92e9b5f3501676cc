/** What a loaded model does with text: reading prompts, generating, embedding. */

import { NibblamaError } from "./errors";
import type { Loaded, Task } from "./load";
import type { Calls, PostedPrompt, Report } from "./protocol";
import type { Arithmetic, FinishReason, GeneratedToken, TokenLogprob } from "./types";

/** What of the kv cache a new prompt may take over without changing a bit of the result. */
interface Cached {
  arithmetic: Arithmetic | null;
  /** Leading positions that were read in pieces of several tokens, as a prompt is. */
  pieced: number;
}

/** The state of the one text that a model's kv cache holds. */
export class Runner {
  readonly #loaded: Loaded;
  #cached: Cached = { arithmetic: null, pieced: 0 };

  constructor(loaded: Loaded) {
    this.#loaded = loaded;
  }

  encode(prompt: PostedPrompt, addSpecialTokens: boolean): { ids: number[]; source: string | null } {
    const { text } = this.#loaded;
    switch (prompt.kind) {
      case "ids":
        return { ids: [...prompt.ids], source: null };
      case "text":
        return { ids: text.encode(prompt.text, addSpecialTokens), source: prompt.text };
      case "messages": {
        // A template writes the special tokens itself.
        const rendered = text.render(prompt.messages);
        return { ids: text.encode(rendered, false), source: rendered };
      }
    }
  }

  /** Nothing of the kv cache is known any more: somebody else wrote to it. */
  forget(): void {
    this.#mix();
    this.#loaded.model.reset();
  }

  /** What the kv cache holds was computed in more than one way, or in an unknown one. */
  #mix(): void {
    this.#cached = { arithmetic: null, pieced: 0 };
  }

  /** Reads a prompt piece by piece into the kv cache, or what of it is not there yet. */
  async read(
    ids: readonly number[],
    task: Task,
    arithmetic: () => Arithmetic | null,
    reuse: "same-bits" | "all" | "none",
    onProgress: (done: number) => void,
  ): Promise<void> {
    const { model, pieces, facts } = this.#loaded;
    const layers = facts.config.num_hidden_layers;
    let done = this.#reuse(ids, arithmetic(), reuse);
    this.#cached = { arithmetic: arithmetic(), pieced: Math.min(done, this.#cached.pieced) };
    onProgress(done);
    do {
      await task.breathe();
      const chosen = arithmetic();
      if (chosen !== this.#cached.arithmetic) this.#mix();
      if (chosen !== null) model.setArithmetic(chosen);
      const left = ids.length - done;
      const size = model.readsWhole() ? left : pieces.next(left);
      const last = size === left;
      model.begin(Uint32Array.from(ids.slice(done, done + size)));
      for (let layer = 0; layer < layers; ) {
        if (layer > 0) await task.breathe();
        const step = Math.min(pieces.layers(size), layers - layer);
        const began = performance.now();
        model.step(step, last);
        layer += step;
        // The last step of all computes the logits too.
        if (!last || layer < layers) pieces.took(performance.now() - began, size, step);
        onProgress(done + Math.floor((size * layer) / layers));
      }
      if (chosen !== arithmetic()) this.#mix();
      else if (this.#cached.pieced === done && size >= model.pieceTokens()) this.#cached.pieced += size;
      done += size;
    } while (done < ids.length);
  }

  /** Logits after each token of a prompt, row by row. */
  async readAll(ids: readonly number[], task: Task, arithmetic: Arithmetic | null): Promise<Float32Array<ArrayBuffer>> {
    const { model, facts, pieces } = this.#loaded;
    const rows = new Float32Array(ids.length * facts.config.vocab_size);
    for (let done = 0, piece = 0; done < ids.length || done === 0; done += piece) {
      await task.breathe();
      if (arithmetic !== null) model.setArithmetic(arithmetic);
      const left = ids.length - done;
      piece = model.readsWhole() ? left : pieces.nextWhole(left);
      const began = performance.now();
      rows.set(model.readAll(Uint32Array.from(ids.slice(done, done + piece))), done * facts.config.vocab_size);
      pieces.took(performance.now() - began, piece);
    }
    return rows;
  }

  /** How many positions of the kv cache are kept for a prompt. */
  #reuse(ids: readonly number[], arithmetic: Arithmetic | null, reuse: "same-bits" | "all" | "none"): number {
    const { model } = this.#loaded;
    const { pieced, arithmetic: before } = this.#cached;
    const prompt = Uint32Array.from(ids);
    // Exact arithmetic gives the same bits for one token and for many.
    if (reuse === "all" || (reuse === "same-bits" && arithmetic === "exact" && before === "exact")) {
      return model.reuse(prompt, 0xffff_ffff);
    }
    // Otherwise what is left to read must be a piece, as it would be without the cache.
    const limit = reuse === "same-bits" && before === arithmetic ? Math.min(pieced, ids.length - model.pieceTokens()) : 0;
    return model.reuse(prompt, Math.max(0, limit));
  }

  async generate(
    { prompt, options }: Calls["generate"]["request"],
    task: Task,
    report: (report: Report) => void,
  ): Promise<null> {
    const { facts } = this.#loaded;
    const { stop_strings, max_new_tokens, logprobs, n, overflow, reuse, ...sampling } = options;
    const limit = max_new_tokens ?? facts.generation.max_new_tokens ?? Number.POSITIVE_INFINITY;
    for (const [name, value] of [["max_new_tokens", limit], ["n", n]] as const) {
      if (value >= 1) continue;
      throw new NibblamaError("invalid-argument", "nothing to generate", {
        tensor: name,
        expected: "at least 1",
        found: String(value),
      });
    }
    const { model } = this.#loaded;
    const began = performance.now();
    const write = (token: GeneratedToken) => report({ kind: "tokens", tokens: [token] });
    const { ids: whole } = this.encode(prompt, true);
    let ids = whole;
    let dropped = 0;
    if (overflow === "slide" && whole.length >= model.context()) {
      ids = this.#window(whole);
      dropped = whole.length - ids.length;
    }
    const setSampling = (seed: number) => model.setSampling(JSON.stringify({ ...sampling, seed }), [...stop_strings]);
    // A wrong setting is refused before the prompt is read.
    setSampling(sampling.seed);
    const arithmetic = () => this.#loaded.arithmetic;
    const read = (ids: readonly number[]) =>
      this.read(ids, task, arithmetic, reuse, (done) => report({ kind: "prefill", done, total: ids.length }));
    await read(ids);
    const first = n > 1 ? model.logits() : undefined;
    for (let candidate = 0; candidate < n; candidate++) {
      if (candidate > 0 && first !== undefined) {
        // The window may have slid over the prompt.
        if (model.history().length < ids.length || !startsWith(model.history(), ids)) await read(ids);
        else model.rewind(ids.length, first.slice());
        setSampling(sampling.seed + candidate);
      }
      await this.#write(task, { limit, logprobs, overflow, dropped }, (token) =>
        write({ ...token, time: performance.now() - began, ...(n > 1 ? { candidate } : {}) }),
      );
    }
    return null;
  }

  /** Tokens until one text ends. */
  async #write(
    task: Task,
    options: { limit: number; logprobs: number | null; overflow: "end" | "error" | "slide"; dropped: number },
    write: (token: GeneratedToken) => void,
  ): Promise<void> {
    const { model, text } = this.#loaded;
    let { dropped } = options;
    for (let count = 1; ; count++) {
      await task.breathe();
      const odds = options.logprobs === null ? null : new Odds(model.logits());
      const token = model.sample();
      let piece = "";
      let finish: FinishReason | undefined;
      if (model.isEnd(token)) finish = "eos";
      else piece = model.pushText(text.bytes(token));
      if (finish === undefined && model.stopped()) finish = "stop";
      if (finish === undefined && count >= options.limit) finish = "length";
      const full = finish === undefined && model.remaining() === 0;
      if (full && options.overflow === "end") finish = "context";
      if (finish !== undefined) piece += model.finishText();
      write({
        token,
        text: piece,
        time: 0,
        ...(finish === undefined ? {} : { finish }),
        ...(odds === null ? {} : odds.describe(token, options.logprobs ?? 0, (id) => text.piece(id))),
        ...(dropped > 0 ? { dropped } : {}),
      });
      dropped = 0;
      if (finish !== undefined) return;
      if (full && options.overflow === "error") {
        throw new NibblamaError("context-full", "the context is full", { expected: `at most ${model.context()} positions` });
      }
      if (full) dropped = await this.#slide(token, task);
      else this.#readOne(token);
    }
  }

  #readOne(token: number): void {
    const { model, arithmetic } = this.#loaded;
    if (arithmetic !== null) model.setArithmetic(arithmetic);
    if (arithmetic !== this.#cached.arithmetic) this.#mix();
    model.read(Uint32Array.of(token));
  }

  /**
   * Makes room: the BOS and the newer half are read again, as a text of their own, so that what follows is exactly
   * what the model says after them. Returns how many tokens were dropped.
   */
  async #slide(token: number, task: Task): Promise<number> {
    const { model } = this.#loaded;
    const before = [...model.history(), token];
    const kept = this.#window(before);
    await this.read(kept, task, () => this.#loaded.arithmetic, "none", () => undefined);
    return before.length - kept.length;
  }

  /** The BOS, if the text starts with it, and the newest tokens, half of the context in all. */
  #window(ids: readonly number[]): number[] {
    const { model, facts } = this.#loaded;
    const room = Math.max(1, Math.floor(model.context() / 2));
    const bos = facts.config.bos_token_id;
    const starts = bos !== null && ids[0] === bos && room > 1;
    return starts ? [bos, ...ids.slice(1 - room)] : ids.slice(-room);
  }

  /** The mean of the last hidden states over all tokens of the prompt. */
  async embed(prompt: PostedPrompt, task: Task): Promise<Float32Array<ArrayBuffer>> {
    const { model, facts, arithmetic, pieces } = this.#loaded;
    const { ids } = this.encode(prompt, true);
    const sums = new Float64Array(facts.config.hidden_size);
    this.forget();
    try {
      // Vectors are compared with each other, so they are computed exactly.
      if (arithmetic !== null) model.setArithmetic("exact");
      // Sums of other pieces would have other last bits.
      const piece = model.readsWhole() ? ids.length : pieces.first;
      for (let done = 0; done < ids.length || done === 0; done += piece) {
        await task.breathe();
        const part = model.hiddenSum(Uint32Array.from(ids.slice(done, done + piece)));
        part.forEach((value, i) => (sums[i] = (sums[i] ?? 0) + value));
      }
    } finally {
      this.forget();
    }
    return Float32Array.from(sums, (value) => value / ids.length);
  }

  /** After a restored session: everything is there, but not known how it was read. */
  restored(): void {
    this.#cached = { arithmetic: this.#loaded.arithmetic, pieced: 0 };
  }
}

function startsWith(history: Uint32Array, ids: readonly number[]): boolean {
  return ids.every((id, i) => history[i] === id);
}

/** Log-probabilities of the next token. */
class Odds {
  readonly #logits: Float32Array;
  readonly #log: number;

  constructor(logits: Float32Array) {
    this.#logits = logits;
    let largest = Number.NEGATIVE_INFINITY;
    for (const logit of logits) largest = Math.max(largest, logit);
    let sum = 0;
    for (const logit of logits) sum += Math.exp(logit - largest);
    this.#log = largest + Math.log(sum);
  }

  describe(token: number, count: number, piece: (id: number) => string): { logprob: number; top_logprobs: TokenLogprob[] } {
    const best: number[] = [];
    for (let id = 0; id < this.#logits.length && count > 0; id++) {
      if (best.length === count && this.#of(id) <= this.#of(best[count - 1] ?? 0)) continue;
      let at = best.length;
      while (at > 0 && this.#of(best[at - 1] ?? 0) < this.#of(id)) at -= 1;
      best.splice(at, 0, id);
      if (best.length > count) best.pop();
    }
    const top_logprobs = best.map((id) => ({ token: id, text: piece(id), logprob: this.#of(id) }));
    return { logprob: this.#of(token), top_logprobs };
  }

  #of(id: number): number {
    return (this.#logits[id] ?? Number.NEGATIVE_INFINITY) - this.#log;
  }
}

/** Tokens as an async iterable: what arrives while nobody asks is kept. */

import type { GeneratedToken } from "./types";

interface Waiting {
  resolve(result: IteratorResult<GeneratedToken, undefined>): void;
  reject(error: unknown): void;
}

export class TokenStream implements AsyncIterableIterator<GeneratedToken> {
  #kept: GeneratedToken[] = [];
  #waiting: Waiting[] = [];
  #outcome: { error?: unknown } | undefined;
  readonly #onLeave: () => void;

  /** `onLeave` is called when the consumer leaves before the end. */
  constructor(onLeave: () => void) {
    this.#onLeave = onLeave;
  }

  push(tokens: readonly GeneratedToken[]): void {
    if (this.#outcome !== undefined) return;
    for (const token of tokens) {
      const waiting = this.#waiting.shift();
      if (waiting === undefined) this.#kept.push(token);
      else waiting.resolve({ value: token, done: false });
    }
  }

  end(): void {
    this.#settle({});
  }

  /** What was kept is still given out before the error. */
  fail(error: unknown): void {
    this.#settle({ error });
  }

  #settle(outcome: { error?: unknown }): void {
    if (this.#outcome !== undefined) return;
    this.#outcome = outcome;
    // Somebody waiting means that nothing is kept. The first to wait learns of an error, as in any generator.
    for (const [i, waiting] of this.#waiting.entries()) {
      if ("error" in outcome && i === 0) waiting.reject(outcome.error);
      else waiting.resolve({ value: undefined, done: true });
    }
    if (this.#waiting.length > 0) this.#outcome = {};
    this.#waiting = [];
  }

  next(): Promise<IteratorResult<GeneratedToken, undefined>> {
    const token = this.#kept.shift();
    if (token !== undefined) return Promise.resolve({ value: token, done: false });
    const outcome = this.#outcome;
    if (outcome === undefined) return new Promise((resolve, reject) => this.#waiting.push({ resolve, reject }));
    this.#outcome = {};
    if ("error" in outcome) return Promise.reject(outcome.error);
    return Promise.resolve({ value: undefined, done: true });
  }

  return(): Promise<IteratorResult<GeneratedToken, undefined>> {
    this.#kept = [];
    if (this.#outcome === undefined) {
      this.end();
      this.#onLeave();
    }
    this.#outcome = {};
    return Promise.resolve({ value: undefined, done: true });
  }

  [Symbol.asyncIterator](): this {
    return this;
  }
}

/** Puts the engine's public API where the tests reach it, with what several of them need. */

import * as engine from "../../engine/index";

/** What went wrong, in a form that leaves the page. */
export interface Refusal {
  code: string;
  message: string;
  file: string | null;
  tensor: string | null;
  expected: string | null;
  found: string | null;
}

const harness = {
  ...engine,

  /** Files as a visitor would drop them, from `[name, url]`. */
  async files(entries: readonly (readonly [name: string, url: string])[]): Promise<File[]> {
    const file = async ([name, url]: readonly [string, string]) => {
      const response = await fetch(url);
      if (!response.ok) throw new Error(`${url}: status ${response.status}`);
      return new File([await response.blob()], name);
    };
    return Promise.all(entries.map(file));
  },

  async refusal(promise: Promise<unknown>): Promise<Refusal | null> {
    try {
      await promise;
      return null;
    } catch (error) {
      if (!(error instanceof engine.NibblamaError)) throw error;
      const { code, message, file, tensor, expected, found } = error;
      return { code, message, file: file ?? null, tensor: tensor ?? null, expected: expected ?? null, found: found ?? null };
    }
  },

  /** The largest difference; infinite when one is not a number. */
  difference(found: Float32Array, expected: Float32Array): number {
    if (found.length !== expected.length) return Number.POSITIVE_INFINITY;
    let worst = 0;
    for (const [i, value] of found.entries()) {
      const distance = Math.abs(value - (expected[i] ?? Number.NaN));
      worst = Number.isNaN(distance) ? Number.POSITIVE_INFINITY : Math.max(worst, distance);
    }
    return worst;
  },

  argmax(logits: Float32Array): number {
    let best = 0;
    for (const [i, value] of logits.entries()) if (value > (logits[best] ?? Number.NEGATIVE_INFINITY)) best = i;
    return best;
  },
};

declare global {
  interface Window {
    nibblama: typeof harness;
  }
}

window.nibblama = harness;

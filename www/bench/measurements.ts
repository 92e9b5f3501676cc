/** Measurements by name, as they come in. */

import type { DesignTiming } from "../engine/types";
import { ratios, summarize, type Summary } from "./stats";

export interface Measurement extends Summary {
  name: string;
  unit: string;
}

export class Measurements {
  readonly #values = new Map<string, { unit: string; values: number[] }>();
  readonly #notes: string[] = [];
  /** The designs of fast arithmetic, as the engine timed them to choose one. */
  designs: readonly DesignTiming[] = [];

  add(name: string, unit: string, value: number): void {
    if (!Number.isFinite(value)) throw new Error(`${name}: ${value} ${unit}`);
    const entry = this.#values.get(name) ?? { unit, values: [] };
    entry.values.push(value);
    this.#values.set(name, entry);
  }

  /** Something to be said beside the numbers. */
  note(text: string): void {
    this.#notes.push(text);
  }

  values(name: string): readonly number[] {
    return this.#values.get(name)?.values ?? [];
  }

  /** Median ratio of two measurements, round by round; null where one is missing. */
  ratio(ours: string, theirs: string): number | null {
    const [a, b] = [this.values(ours), this.values(theirs)];
    return a.length === 0 || b.length === 0 ? null : ratios(a, b).median;
  }

  median(name: string): number | null {
    const values = this.values(name);
    return values.length === 0 ? null : summarize(values).median;
  }

  all(): Measurement[] {
    return [...this.#values].map(([name, { unit, values }]) => ({ name, unit, ...summarize(values) }));
  }

  get notes(): readonly string[] {
    return this.#notes;
  }
}

/** Where measurements are made: in workers of this page, or of a page that a script drives. */

import type { Result } from "./client";
import type { CallName, Calls } from "./measure-worker";
import type { VariantName } from "../engine/types";

export interface Target {
  /** A call of measure-worker.ts, in the worker of that name. */
  ours<Name extends CallName>(key: string, name: Name, ...args: Parameters<Calls[Name]>): Promise<Result<Name>>;
  /** Ends a worker, and gives its memory back. */
  end(key: string): Promise<void>;
  /** What comes now, for who watches; throws where nobody wants it any more. */
  step(what: string): void;
}

/** The builds that are measured. */
export interface Builds {
  one: VariantName;
  /** For more than one thread; null where there is no shared memory. */
  many: VariantName | null;
  threads: number;
}

export const NF4 = { load_in_4bit: true, bnb_4bit_quant_type: "nf4", bnb_4bit_use_double_quant: false };
/** Everything in 4 bits, as a GGUF file of Q4_0 has it: bitsandbytes leaves out `lm_head` unless told what to leave out. */
export const NF4_HEAD = { ...NF4, llm_int8_skip_modules: [] };
export const ARITHMETICS = ["exact", "near-exact", "fast"] as const;

export const threadsText = (threads: number) => (threads === 1 ? "1 thread" : `${threads} threads`);
export const tokensText = (tokens: number) => (tokens === 1 ? "1 token" : `${tokens} tokens`);
/** Tokens a second. */
export const rate = (tokens: number, ms: number) => (1000 * tokens) / ms;

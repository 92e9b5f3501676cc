/** The numbers in a table, and the ratios that the goals are about. */

import type { ShapeName } from "../shapes";
import type { Measurements } from "./measurements";

export interface Goal {
  key: string;
  value: number | null;
  /** At least; null where the value is only reported. */
  goal: number | null;
}

const COLD = "NF4 5632 x 2048, cold, 1 token";

/** Ratios of what was measured in this run. Where several shapes were, the smallest counts. */
export function goals(record: Measurements, shapes: readonly ShapeName[]): Goal[] {
  const found: Goal[] = [];
  const ratio = (key: string, goal: number | null, kind: string, ours: string, theirs: string) => {
    const each = shapes.map((shape) => record.ratio(`${shape} ${kind}, ${ours}`, `${shape} ${kind}, ${theirs}`));
    const known = each.filter((value) => value !== null);
    found.push({ key, value: known.length === 0 ? null : Math.min(...known), goal });
    shapes.forEach((shape, i) => found.push({ key: `${key}_${shape}`, value: each[i] ?? null, goal: null }));
  };
  const q4 = "wllama 2.3.7 Q4_0, 1 thread";
  ratio("decode_near_exact_vs_wllama_q4_0", 4, "decode", "near-exact, 1 thread", q4);
  ratio("decode_fast_vs_wllama_q4_0", 7, "decode", "fast, 1 thread", q4);
  ratio("prefill_near_exact_vs_wllama_q4_0", 7, "prefill", "near-exact, 1 thread", q4);
  ratio("prefill_fast_vs_wllama_q4_0", 10, "prefill", "fast, 1 thread", q4);
  ratio("decode_exact_vs_wllama_iq4_nl", 3, "decode", "exact, 1 thread", "wllama 2.3.7 IQ4_NL, 1 thread");
  ratio("prefill_exact_vs_wllama_iq4_nl", null, "prefill", "exact, 1 thread", "wllama 2.3.7 IQ4_NL, 1 thread");
  ratio("decode_near_exact_vs_wllama_3", 7, "decode", "near-exact, 1 thread", "wllama 3.8.1 Q4_0, 1 thread");
  ratio("prefill_near_exact_vs_wllama_3", 7, "prefill", "near-exact, 1 thread", "wllama 3.8.1 Q4_0, 1 thread");
  ratio("decode_near_exact_2_threads_vs_wllama_q4_0_2_threads", null, "decode", "near-exact, 2 threads", "wllama 2.3.7 Q4_0, 2 threads");
  const two = record.ratio("417m decode, near-exact, 2 threads", "417m decode, near-exact, 1 thread");
  found.push({ key: "threads2_vs_1", value: two, goal: 1.7 });
  for (const [key, arithmetic, goal] of [["near_exact", "near-exact", 0.35], ["fast", "fast", 0.6]] as const) {
    const share = record.median(`${COLD}, ${arithmetic}: share of memory's speed`);
    found.push({ key: `${key}_share_of_bandwidth`, value: share === null ? null : share / 100, goal });
  }
  for (const tokens of [1, 128]) {
    const best = [0, 4].map((level) => record.median(`onnxruntime-web MatMulNBits 2048 x 2048, ${tokens} tokens, accuracy ${level}`) ?? 0);
    const own = record.median(`NF4 2048 x 2048, ${tokens === 1 ? "1 token" : `${tokens} tokens`}, near-exact: operations`);
    const theirs = Math.max(...best);
    found.push({ key: `near_exact_vs_onnxruntime_${tokens}`, value: own === null || theirs === 0 ? null : own / theirs, goal: 7 });
  }
  return found;
}

/** Three digits that count. */
export function digits(value: number): string {
  return value >= 100 ? value.toFixed(0) : value >= 10 ? value.toFixed(1) : value.toPrecision(3);
}

function columns(rows: readonly (readonly string[])[]): string[] {
  const widths = (rows[0] ?? []).map((_, i) => Math.max(...rows.map((row) => row[i]?.length ?? 0)));
  return rows.map((row) => row.map((cell, i) => (i === 0 ? cell.padEnd(widths[i] ?? 0) : cell.padStart(widths[i] ?? 0))).join("  "));
}

export function table(record: Measurements): string[] {
  const rows = record.all().map(({ name, unit, median, min, max, n }) => [name, digits(median), digits(min), digits(max), unit, String(n)]);
  return columns([["", "median", "min", "max", "unit", "rounds"], ...rows]);
}

export function goalTable(found: readonly Goal[]): string[] {
  const rows = found
    .filter(({ value }) => value !== null)
    .map(({ key, value, goal }) => [key, digits(value ?? 0), goal === null ? "" : String(goal), goal === null ? "" : (value ?? 0) >= goal ? "holds" : "falls short"]);
  return columns([["ratio", "measured", "goal", ""], ...rows]);
}

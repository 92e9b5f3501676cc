/** The numbers in a table, and the ratios that the goals are about. */

import { columns, digits } from "../text";
import { modelName, oursName } from "../end-to-end";
import type { Measurements } from "../measurements";
import { COLD_CASE, productName, SQUARE_CASE } from "../micro";
import type { ShapeName } from "../shapes";
import { ORT_LEVELS, ortName, secondName, THIRD } from "./contenders";
import { BUSY, quantizeName, worst } from "./threads";

export interface Goal {
  key: string;
  value: number | null;
  /** At least, or at most; null where the value is only reported. */
  goal: number | { most: number } | null;
}

/**
 * Ratios of what was measured in this run. Where several shapes were, the smallest counts. The weights are the same in
 * number and all in 4 bits, unless the key says that ours has `lm_head` in 16 bits, as it has by default.
 */
export function goals(record: Measurements, shapes: readonly ShapeName[]): Goal[] {
  const found: Goal[] = [];
  const ratio = (key: string, goal: Goal["goal"], kind: "decode" | "prefill", ours: string, theirs: string) => {
    const each = shapes.map((shape) => record.ratio(modelName(shape, kind, ours), modelName(shape, kind, theirs)));
    const known = each.filter((value) => value !== null);
    found.push({ key, value: known.length === 0 ? null : Math.min(...known), goal });
    shapes.forEach((shape, i) => found.push({ key: `${key}_${shape}`, value: each[i] ?? null, goal: null }));
  };
  const [exact, nearExact, fast] = [oursName("exact", "NF4", 1), oursName("near-exact", "NF4", 1), oursName("fast", "NF4", 1)];
  const [q4, nl] = [secondName("Q4_0", 1), secondName("IQ4_NL", 1)];
  ratio("decode_near_exact_vs_wllama_q4_0", 4, "decode", nearExact, q4);
  ratio("decode_fast_vs_wllama_q4_0", 7, "decode", fast, q4);
  ratio("prefill_near_exact_vs_wllama_q4_0", 7, "prefill", nearExact, q4);
  ratio("prefill_fast_vs_wllama_q4_0", 10, "prefill", fast, q4);
  ratio("decode_near_exact_lm_head_16bit_vs_wllama_q4_0", 4, "decode", oursName("near-exact", "bf16", 1), q4);
  ratio("decode_fast_lm_head_16bit_vs_wllama_q4_0", 7, "decode", oursName("fast", "bf16", 1), q4);
  ratio("decode_exact_vs_wllama_iq4_nl", 3, "decode", exact, nl);
  ratio("prefill_exact_vs_wllama_iq4_nl", null, "prefill", exact, nl);
  ratio("decode_near_exact_vs_wllama_3", 7, "decode", nearExact, THIRD);
  ratio("prefill_near_exact_vs_wllama_3", 7, "prefill", nearExact, THIRD);
  ratio("decode_near_exact_vs_wllama_q4_0_2_threads", null, "decode", oursName("near-exact", "NF4", 2), secondName("Q4_0", 2));
  const two = record.ratio(modelName("417m", "decode", oursName("near-exact", "NF4", 2)), modelName("417m", "decode", nearExact));
  found.push({ key: "threads2_vs_1", value: two, goal: 1.7 });
  for (const [key, arithmetic, goal] of [["near_exact", "near-exact", 0.35], ["fast", "fast", 0.6]] as const) {
    const share = record.median(`${productName(COLD_CASE, 1, arithmetic)}: share of memory's speed`);
    found.push({ key: `${key}_share_of_bandwidth`, value: share === null ? null : share / 100, goal });
  }
  for (const tokens of [1, 128]) {
    const best = ORT_LEVELS.map((level) => record.median(ortName(tokens, level)) ?? 0);
    const theirs = Math.max(...best);
    for (const [key, arithmetic, goal] of [["near_exact", "near-exact", 7], ["fast", "fast", null]] as const) {
      const own = record.median(`${productName(SQUARE_CASE, tokens, arithmetic)}: operations`);
      found.push({ key: `${key}_vs_onnxruntime_${tokens}`, value: own === null || theirs === 0 ? null : own / theirs, goal });
    }
  }
  const quarter = record.ratio("135m decode at 64, near-exact, 1 thread", "135m decode at 4096, near-exact, 1 thread");
  found.push({ key: "decode_4096_vs_64_135m", value: quarter, goal: { most: 1.5 } });
  found.push({ key: "threads2_worst_vs_1", value: worst(record, ""), goal: { most: 1.03 } });
  found.push({ key: "threads2_worst_vs_1_busy", value: worst(record, `, ${BUSY}`), goal: { most: 1.03 } });
  found.push({ key: "quantize_threads2_vs_1", value: record.ratio(quantizeName(1), quantizeName(2)), goal: null });
  const measured = (key: string, goal: Goal["goal"], name: string, scale = 1) => {
    const value = record.median(name);
    found.push({ key, value: value === null ? null : value * scale, goal });
  };
  for (const kind of ["decode", "prefill"]) {
    measured(`lora_${kind}_share`, { most: 0.1 }, `417m ${kind}, near-exact, LoRA of rank 8 adds`, 0.01);
  }
  measured("products_share_of_decode", 0.85, "417m products' share of decode, near-exact", 0.01);
  measured("quantize_gb_s", 3.5, "quantize to NF4, of f32");
  measured("dequantize_gb_s", 15, "dequantize NF4, of f32");
  measured("embedded_first_token_ms", { most: 50 }, "embedded model, first token after its weights");
  measured("embedded_decode_near_exact", 500, "embedded model decode, near-exact, 1 thread");
  for (const [key, arithmetic, most] of [["near_exact", "near-exact", 2e-4], ["fast", "fast", 0.01]] as const) {
    const change = record.ratio(`embedded model perplexity, ${arithmetic}`, "embedded model perplexity, exact");
    found.push({ key: `perplexity_${key}_change`, value: change === null ? null : Math.abs(change - 1), goal: { most } });
  }
  return found;
}

export function holds({ value, goal }: Goal): boolean {
  if (value === null || goal === null) return false;
  return typeof goal === "number" ? value >= goal : value <= goal.most;
}

export function goalText({ goal }: Goal): string {
  return goal === null ? "" : typeof goal === "number" ? `>= ${goal}` : `<= ${goal.most}`;
}

export function table(record: Measurements): string[] {
  const rows = record.all().map(({ name, unit, median, min, max, n }) => [name, digits(median), digits(min), digits(max), unit, String(n)]);
  return columns([["", "median", "min", "max", "unit", "rounds"], ...rows]);
}

export function goalTable(found: readonly Goal[]): string[] {
  const rows = found
    .filter(({ value }) => value !== null)
    .map((each) => {
      const { key, value, goal } = each;
      if (goal === null) return [key, digits(value ?? 0), "", ""];
      return [key, digits(value ?? 0), goalText(each), holds(each) ? "holds" : "falls short"];
    });
  return columns([["", "measured", "goal", ""], ...rows]);
}

import { expect, test } from "vitest";
import { modelName, oursName } from "../end-to-end";
import { Measurements } from "../measurements";
import { columns, digits } from "../text";
import { secondName } from "./contenders";
import { section } from "./markdown";
import { goals, goalTable, holds } from "./report";

function measured(): Measurements {
  const record = new Measurements();
  const decode = (shape: "42m" | "417m", who: string, rates: readonly number[]) =>
    rates.forEach((rate) => record.add(modelName(shape, "decode", who), "tokens/s", rate));
  decode("42m", oursName("near-exact", "NF4", 1), [500, 300, 520]);
  decode("42m", secondName("Q4_0", 1), [100, 60, 104]);
  decode("417m", oursName("near-exact", "NF4", 1), [39, 39]);
  decode("417m", secondName("Q4_0", 1), [10, 10]);
  return record;
}

test("the smallest ratio of the shapes counts, and each is there by itself", () => {
  const found = new Map(goals(measured(), ["42m", "417m"]).map((goal) => [goal.key, goal]));
  const ratio = found.get("decode_near_exact_vs_wllama_q4_0");
  expect(ratio?.value).toBe(3.9);
  expect(found.get("decode_near_exact_vs_wllama_q4_0_42m")?.value).toBe(5);
  // Not measured is neither zero nor held.
  expect(found.get("decode_fast_vs_wllama_q4_0")?.value).toBeNull();
  expect(found.get("threads2_vs_1")?.value).toBeNull();
});

test("a goal is a least or a most", () => {
  expect(holds({ key: "", value: 4, goal: 4 })).toBe(true);
  expect(holds({ key: "", value: 3.99, goal: 4 })).toBe(false);
  expect(holds({ key: "", value: 1.5, goal: { most: 1.5 } })).toBe(true);
  expect(holds({ key: "", value: 1.51, goal: { most: 1.5 } })).toBe(false);
  expect(holds({ key: "", value: null, goal: 4 })).toBe(false);
});

test("what falls short is said, in the table and in the file", () => {
  const record = measured();
  const found = goals(record, ["42m", "417m"]);
  const line = goalTable(found).find((each) => each.startsWith("decode_near_exact_vs_wllama_q4_0 "));
  expect(line).toContain(">= 4");
  expect(line).toContain("falls short");
  const made = { date: "2026-01-01 00:00", commit: "abc", cpu: "x", cores: 2, memory_gb: 8, node: "v20", browser: "Chromium 1", load: 0, command: "bench" };
  expect(section(made, record, found)).toContain("Short of their goals: `decode_near_exact_vs_wllama_q4_0`.");
});

test("a measurement that is no number is refused", () => {
  expect(() => new Measurements().add("x", "s", Number.NaN)).toThrow("x: NaN");
});

test("numbers keep three digits, and cells stand under each other", () => {
  expect([1234.5, 12.34, 1.2345, 0.0123, 0.00012, -2.5].map(digits)).toEqual(["1235", "12.3", "1.23", "0.0123", "1.2e-4", "-2.50"]);
  expect(columns([["a", "1"], ["bcd", "100"]])).toEqual(["a      1", "bcd  100"]);
});

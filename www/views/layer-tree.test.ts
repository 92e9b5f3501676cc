import { describe, expect, test } from "vitest";
import type { Footprint, ModuleFootprint } from "../engine/index";
import { skipText, toSkipList } from "./skip";
import { groups, toggled, treeOf } from "./layer-tree";

const LINEAR = ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj", "mlp.gate_proj", "mlp.up_proj", "mlp.down_proj"];

function model(layers: number, four: (path: string) => boolean): Footprint {
  const module = (path: string, kind: string, bytes: number): ModuleFootprint => ({ path, kind, bytes, parameters: 0, printed_bytes: bytes });
  const linear = (path: string) => (four(path) ? module(path, "Linear4bit", 26) : module(path, "Linear", 100));
  const modules = [module("model.embed_tokens", "Embedding", 500)];
  for (let i = 0; i < layers; i++) {
    for (const name of LINEAR) modules.push(linear(`model.layers.${i}.${name}`));
    for (const name of ["input_layernorm", "post_attention_layernorm"]) modules.push(module(`model.layers.${i}.${name}`, "LlamaRMSNorm", 2));
  }
  modules.push(module("model.norm", "LlamaRMSNorm", 2), linear("lm_head"));
  return { modules } as Footprint;
}

const before = model(12, () => false);

describe("the tree", () => {
  test("shows equal layers once, and every byte once", () => {
    const after = model(12, (path) => path !== "lm_head");
    expect(groups(after)).toEqual([{ first: 0, last: 11 }]);
    const rows = treeOf(before, after, false);
    const sum = (footprint: Footprint) => footprint.modules.reduce((total, { bytes }) => total + bytes, 0);
    expect(rows.reduce((total, row) => total + row.bytesAfter, 0)).toBe(sum(after));
    expect(rows.reduce((total, row) => total + row.bytesBefore, 0)).toBe(sum(before));
    const q = rows.find(({ name }) => name === "q_proj");
    expect(q).toMatchObject({ before: "Linear", kind: "Linear4bit", times: 12, bytesBefore: 1200, bytesAfter: 312, skip: "q_proj", quantized: true });
    expect(rows.find(({ name }) => name === "lm_head")).toMatchObject({ kind: "Linear", quantized: false, skip: "lm_head" });
    expect(rows.find(({ name }) => name === "embed_tokens")?.skip).toBeNull();
  });

  test("layers that differ are told apart", () => {
    const after = model(12, (path) => path !== "lm_head" && !path.startsWith("model.layers.3."));
    expect(groups(after)).toEqual([{ first: 0, last: 2 }, { first: 3, last: 3 }, { first: 4, last: 11 }]);
    const names = treeOf(before, after, false).filter(({ depth }) => depth === 3).map(({ name, kind }) => `(${name}): ${kind}`);
    expect(names).toEqual(["(0-2): 3 x LlamaDecoderLayer", "(3): LlamaDecoderLayer", "(4-11): 8 x LlamaDecoderLayer"]);
  });
});

describe("what is left out", () => {
  test("goes in and out of the list; lm_head alone is the library's own", () => {
    expect(toggled(null, "q_proj", false)).toEqual(["lm_head", "q_proj"]);
    expect(toggled(["lm_head", "q_proj"], "q_proj", true)).toBeNull();
    expect(toggled(null, "lm_head", true)).toEqual([]);
    expect(toggled([], "lm_head", false)).toBeNull();
  });

  test("as text, an empty list is not the library's own", () => {
    for (const list of [null, [], ["lm_head"], ["lm_head", "model.layers.3"]]) expect(toSkipList(skipText(list))).toEqual(list);
    expect(toSkipList(" q_proj , ")).toEqual(["q_proj"]);
  });
});

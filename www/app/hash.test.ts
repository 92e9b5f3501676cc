import { describe, expect, it } from "vitest";
import { FIELDS, formatHash, parseHash, type Settings } from "./hash";

const defaults = parseHash("");

describe("hash", () => {
  it("is empty for the defaults", () => {
    expect(formatHash(defaults)).toBe("");
  });

  it("brings 200 random settings back", () => {
    let seed = 12345;
    const random = () => (seed = (seed * 1103515245 + 12345) % 2 ** 31) / 2 ** 31;
    const pick = <T>(values: readonly T[]): T => values[Math.floor(random() * values.length)] as T;
    for (let round = 0; round < 200; round++) {
      const settings: Settings = {
        ...defaults,
        lang: pick(["", "en", "ko"]),
        theme: pick(["", "light", "dark"]),
        prompt: pick(["Once upon a time", "a & b = c # %", "옛날 옛적에", ""]),
        seed: Math.floor(random() * 2 ** 31),
        temp: Math.round(random() * 200) / 100,
        tensor: pick(["", "model.layers.0.mlp.up_proj.weight"]),
        weight: Math.floor(random() * 2 ** 40),
        quant_type: pick(["nf4", "fp4"]),
        blocksize: pick([32, 64, 128, 256, 512, 1024, 2048, 4096]),
        double_quant: pick(["on", "off"]),
        compute_dtype: pick(["bfloat16", "float32", "float16"]),
        size_of: pick(["Llama 3.1 8B", "this"]),
        x: pick(["", "0.25", "-1", "-0.123456"]),
        step: Math.floor(random() * 5),
        outlier: Math.round(random() * 640) / 10,
        layer: pick(["error", "weight", "code"]),
        mode: pick(["story", "lab"]),
        view: pick(["", "block", "map"]),
        embed: pick(["0", "1"]),
        hide: pick(["", "text,controls"]),
        motion: pick(["", "off"]),
      };
      expect(parseHash(formatHash(settings))).toEqual(settings);
    }
  });

  it.each(["#", "#1", "#2&seed=3", "#1&seed=x", "#1&seed=1e9", "#1&seed=%E0%A4%A", "#1&nothing=1", "#1&=&&==", "#%%%", "#1&blocksize=63", "#1&quant_type=NF4", "#1&weight=1.5"])(
    "reads nonsense %s as the defaults",
    (hash) => expect(parseHash(hash)).toEqual(defaults),
  );

  it("keeps numbers in range", () => {
    expect(parseHash("#1&temp=77&seed=-5")).toMatchObject({ temp: 2, seed: 0 });
  });

  it("has a default that each field's own parser accepts", () => {
    for (const [name, field] of Object.entries(FIELDS)) {
      expect(field.parse(String(field.default)), name).toBe(field.default);
    }
  });
});

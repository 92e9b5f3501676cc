import { describe, expect, test } from "vitest";
import { LIBRARY, lines, parse, program, type Config4bit } from "./python-config";

const LESSON: Config4bit = {
  quant_type: "nf4",
  double_quant: true,
  compute_dtype: "bfloat16",
  blocksize: 64,
  skip_modules: null,
};

describe("a snippet", () => {
  test("marks what could be left out", () => {
    expect(lines(LIBRARY).map(({ isDefault }) => isDefault)).toEqual([false, true, true, true, true]);
    expect(lines(LESSON).map(({ isDefault }) => isDefault)).toEqual([false, false, false, false, true]);
    expect(program(LIBRARY, false)).toContain("BitsAndBytesConfig(\n    load_in_4bit=True,\n)");
    expect(program(LIBRARY, false)).not.toContain("import torch\n");
    expect(program(LIBRARY, true)).toContain('bnb_4bit_quant_type="fp4",  # default');
    expect(program({ ...LESSON, blocksize: 128 }, false)).toContain("always takes 64");
  });

  test("goes there and back, with and without defaults", () => {
    for (const quant_type of ["nf4", "fp4"] as const) {
      for (const double_quant of [true, false]) {
        for (const compute_dtype of ["float32", "bfloat16", "float16"] as const) {
          for (const skip_modules of [null, [], ["lm_head", "model.layers.3"]]) {
            const config = { ...LESSON, quant_type, double_quant, compute_dtype, skip_modules };
            for (const defaults of [true, false]) {
              expect(parse(program(config, defaults))).toEqual({ config, ignored: [] });
            }
          }
        }
      }
    }
  });

  test("is read as people write it", () => {
    const text = `quant = transformers.BitsAndBytesConfig(load_in_4bit = True, # four bits
      bnb_4bit_compute_dtype="bfloat16", bnb_4bit_quant_type='nf4',
      llm_int8_skip_modules=("lm_head", 'q_proj',), llm_int8_threshold=6.0, device_map="auto")`;
    expect(parse(text)).toEqual({
      config: { ...LIBRARY, quant_type: "nf4", compute_dtype: "bfloat16", skip_modules: ["lm_head", "q_proj"] },
      ignored: ["device_map"],
    });
  });

  test("JSON is read, alone or inside a config.json", () => {
    const config = {
      _load_in_4bit: true, _load_in_8bit: false, bnb_4bit_compute_dtype: "bfloat16", bnb_4bit_quant_storage: "uint8",
      bnb_4bit_quant_type: "nf4", bnb_4bit_use_double_quant: true, llm_int8_enable_fp32_cpu_offload: false,
      llm_int8_has_fp16_weight: false, llm_int8_skip_modules: null, llm_int8_threshold: 6.0, load_in_4bit: true,
      load_in_8bit: false, quant_method: "bitsandbytes",
    };
    for (const json of [config, { model_type: "llama", quantization_config: config }]) {
      expect(parse(JSON.stringify(json))).toEqual({ config: LESSON, ignored: [] });
    }
  });

  test("what is wrong is said, and nothing guessed", () => {
    const problem = (text: string) => {
      const parsed = parse(text);
      return "problem" in parsed ? parsed.problem.kind : "fine";
    };
    expect(problem(" ")).toBe("nothing");
    expect(problem("print(1)")).toBe("nothing");
    expect(problem('{"model_type": "llama"}')).toBe("nothing");
    expect(problem("{")).toBe("syntax");
    expect(problem("BitsAndBytesConfig(load_in_4bit=True")).toBe("syntax");
    expect(problem("BitsAndBytesConfig(load_in_4bit=True bnb=1)")).toBe("syntax");
    expect(problem("BitsAndBytesConfig(True)")).toBe("syntax");
    expect(problem("BitsAndBytesConfig()")).toBe("not-4bit");
    expect(problem("BitsAndBytesConfig(load_in_8bit=True)")).toBe("int8");
    expect(problem('BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf5")')).toBe("value");
    expect(problem("BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_use_double_quant=1)")).toBe("value");
    expect(problem("BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_compute_dtype=torch.int8)")).toBe("value");
  });
});

/** Quantizing in the tab: every stored tensor is byte for byte what the command line writes. */

import { createHash } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { expect, test } from "@playwright/test";
import type { BitsAndBytesConfig, Quantization } from "../../engine/types";
import { MOUNTS } from "../sites";
import { checkpointFiles, nibblama, openHarness, root, safetensors } from "./support";

let folder = "";
test.beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "nibblama-"));
});
test.afterAll(() => rmSync(folder, { recursive: true }));

interface Source {
  path: string;
  files: [name: string, url: string][];
  /** How many of its modules are quantized. */
  modules: number;
}

const stories: Source = {
  path: resolve(root, "models/stories"),
  files: ["config.json", "model.safetensors", "tokenizer.json"].map((name) => [name, `/models/stories/${name}`]),
  modules: 8 * 7,
};
const golden = (checkpoint: string, modules: number): Source => ({
  path: resolve(MOUNTS.golden, checkpoint),
  files: checkpointFiles(checkpoint),
  modules,
});
const wide: BitsAndBytesConfig = { load_in_4bit: true, bnb_4bit_quant_type: "nf4", bnb_4bit_blocksize: 256 };

const cases: [what: string, Source, Quantization, string[]][] = [
  ["nf4", stories, "nf4", ["--quant-type", "nf4"]],
  ["nf4 with double quantization", stories, "nf4-dq", ["--quant-type", "nf4", "--double-quant"]],
  ["fp4", stories, "fp4", ["--quant-type", "fp4"]],
  ["fp4 with double quantization", stories, "fp4-dq", ["--quant-type", "fp4", "--double-quant"]],
  ["int8", stories, "int8", ["--quant-type", "int8"]],
  ["f32 weights", golden("models/llama_a/f32", 14), "nf4-dq", ["--quant-type", "nf4", "--double-quant"]],
  ["blocks of 256", golden("models/llama_a/f32", 14), wide, ["--quant-type", "nf4", "--blocksize", "256"]],
  ["tied embeddings", golden("models/llama_tied/bf16", 21), "nf4", ["--quant-type", "nf4"]],
];

for (const [what, { path, files, modules }, quantization, flags] of cases) {
  test(`${what}: codes and scales of the tab equal the command line's`, async ({ page }) => {
    const out = join(folder, what.replaceAll(/\W/g, "-"));
    nibblama("quantize", path, out, ...flags);
    const written = safetensors(readFileSync(join(out, "model.safetensors")));
    const expected: Record<string, string> = {};
    for (const [name, { dtype, shape, bytes }] of Object.entries(written)) {
      // These are never quantized; everything else belongs to a quantized module.
      if (/norm\.weight$|embed_tokens\.weight$|lm_head\.weight$/.test(name)) continue;
      expected[name] = `${dtype} [${shape.join(", ")}] ${createHash("sha256").update(bytes).digest("hex")}`;
    }
    await openHarness(page);
    const found = await page.evaluate(
      async ({ files, quantization }) => {
        const model = await window.nibblama.loadModel(await window.nibblama.files(files), { quantization });
        const stored: Record<string, string> = {};
        let modules = 0;
        for (const { name, format } of await model.tensors()) {
          if (!["nf4", "fp4", "int8"].includes(format)) continue;
          modules += 1;
          for (const tensor of await model.storedTensors(name.replace(/\.weight$/, ""))) {
            const { dtype, shape, bytes } = tensor;
            stored[tensor.name] = `${dtype} [${shape.join(", ")}] ${await window.nibblama.sha256(bytes)}`;
          }
        }
        await model.dispose();
        return { stored, modules };
      },
      { files, quantization },
    );
    expect(found.modules).toBe(modules);
    expect(found.stored).toEqual(expected);
  });
}

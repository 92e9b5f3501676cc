/** The engine in the browser against transformers, and against the command line. */

import { expect, test } from "@playwright/test";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import type { Arithmetic, VariantName } from "../../engine/types";
import variants from "../../engine/variants.json" with { type: "json" };
import { MOUNTS } from "../sites";
import {
  adapterFiles,
  checkpointFiles,
  goldenTensors,
  nibblama,
  openHarness,
  references,
  safetensors,
} from "./support";

const { models, lora } = references();
/** Of the browser's logits from the reference, as for the native ones; int8 rounds each layer's input. */
const toleranceOf = (checkpoint: string): number => (checkpoint.includes("int8") ? 0.1 : 1e-3);
/**
 * Of the other forms of arithmetic, as for the native ones. With int8 weights a key or value off by 1e-4 moves activations
 * to other integers.
 */
const toleranceWith = (arithmetic: Arithmetic, checkpoint: string): number =>
  arithmetic === "fast" ? 1.5 : checkpoint.includes("int8") ? 0.6 : 0.03;
const ISAS = { simd128: "simd128", relaxed: "relaxed-simd" } as const;

/** The command line's logits of the same checkpoint. */
function nativeLogits(folder: string, ids: readonly number[], adapter?: string): number[] {
  const out = mkdtempSync(join(tmpdir(), "nibblama-"));
  try {
    const file = join(out, "logits.safetensors");
    const adapterArgs = adapter === undefined ? [] : ["--adapter", adapter];
    nibblama("logits", folder, "--ids", ids.join(","), "--out", file, ...adapterArgs);
    const logits = safetensors(readFileSync(file))["logits"];
    if (logits === undefined) throw new Error("no tensor named logits");
    return [...new Float32Array(Uint8Array.from(logits.bytes).buffer)];
  } finally {
    rmSync(out, { recursive: true });
  }
}

function goldenLogits(key: string): number[] {
  const tensor = goldenTensors()[`${key}.logits`];
  if (tensor === undefined) throw new Error(`no reference named ${key}.logits`);
  return [...new Float32Array(Uint8Array.from(tensor.bytes).buffer)];
}

const goldenFolder = (checkpoint: string): string => resolve(MOUNTS.golden, checkpoint);

for (const { name, simd } of variants.variants) {
  const variant = name as VariantName;
  test(`logits and greedy text of every golden model: ${variant}`, async ({ page }) => {
    await openHarness(page);
    for (const [model, { prompt_ids: ids, refs }] of Object.entries(models)) {
      for (const { key, checkpoint, greedy, greedy_cached, safe_steps } of refs) {
        // LLM.int8 chooses outlier columns over all tokens of a call: with a kv cache it continues otherwise.
        const continuation = (greedy_cached ?? greedy).slice(0, safe_steps);
        const found = await page.evaluate(
          async ({ entries, ids, steps, variant, native, golden }) => {
            const { loadModel, files, difference } = window.nibblama;
            const model = await loadModel(await files(entries), { variant, arithmetic: "exact" });
            const { data, shape } = await model.logits(ids, { all: true });
            const others: [Arithmetic, number][] = [];
            for (const arithmetic of ["near-exact", "fast"] as const) {
              const { data } = await model.logits(ids, { all: true, arithmetic });
              others.push([arithmetic, difference(data, Float32Array.from(golden))]);
            }
            const tokens: number[] = [];
            let text = "";
            const options = { do_sample: false, max_new_tokens: steps };
            for await (const step of model.generate(ids, options)) {
              tokens.push(step.token);
              text += step.text;
            }
            const whole = await model.detokenize(tokens);
            await model.dispose();
            return {
              shape,
              others,
              isa: model.variant.isa,
              tokens,
              // Bytes of one character come in several tokens: what is streamed is the text all the same.
              text: { streamed: text, whole },
              toNative: difference(data, Float32Array.from(native)),
              toGolden: difference(data, Float32Array.from(golden)),
              sameBits: data.every((value, i) => Object.is(value, native[i])),
            };
          },
          {
            entries: checkpointFiles(checkpoint),
            ids,
            steps: continuation.length,
            variant,
            native: nativeLogits(goldenFolder(checkpoint), ids),
            golden: goldenLogits(key),
          },
        );
        const what = `${model}: ${checkpoint}`;
        expect(found.isa).toBe(ISAS[simd as keyof typeof ISAS]);
        for (const [arithmetic, difference] of found.others) {
          expect(difference, `${what}, ${arithmetic}`).toBeLessThanOrEqual(toleranceWith(arithmetic, checkpoint));
        }
        expect(found.shape[0], what).toBe(ids.length);
        expect(found.toNative, what).toBeLessThanOrEqual(1e-4);
        // Exact arithmetic gives the same bits on every machine; LLM.int8 ends in sums of floats.
        if (!checkpoint.includes("int8")) expect(found.sameBits, what).toBe(true);
        expect(found.toGolden, what).toBeLessThanOrEqual(toleranceOf(checkpoint));
        expect(found.tokens, what).toEqual(continuation);
        expect(found.text.streamed, what).toBe(found.text.whole);
      }
    }
  });
}

test("logits with every golden adapter, and without it again", async ({ page }) => {
  await openHarness(page);
  const ids = lora.prompt_ids;
  for (const { adapter, base, unmerged } of lora.adapters) {
    const found = await page.evaluate(
      async ({ entries, adapterEntries, ids, native, golden }) => {
        const { loadModel, files, difference } = window.nibblama;
        const model = await loadModel(await files(entries));
        const plain = (await model.logits(ids, { all: true })).data;
        await model.loadAdapter("golden", await files(adapterEntries));
        await model.setAdapter("golden");
        const { data } = await model.logits(ids, { all: true });
        await model.setAdapter(null);
        const again = (await model.logits(ids, { all: true })).data;
        await model.dispose();
        return {
          moved: difference(data, plain),
          back: difference(again, plain),
          toNative: difference(data, Float32Array.from(native)),
          toGolden: difference(data, Float32Array.from(golden)),
        };
      },
      {
        entries: checkpointFiles(base),
        adapterEntries: adapterFiles(adapter),
        ids,
        native: nativeLogits(goldenFolder(base), ids, goldenFolder(adapter)),
        golden: goldenLogits(unmerged.key),
      },
    );
    expect(found.toNative, adapter).toBeLessThanOrEqual(1e-4);
    expect(found.toGolden, adapter).toBeLessThanOrEqual(1e-3);
    expect(found.moved, adapter).toBeGreaterThan(0.01);
    expect(found.back, adapter).toBe(0);
  }
});

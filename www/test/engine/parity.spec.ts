/** The engine in the browser against transformers, and against the command line. */

import { expect, test } from "@playwright/test";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  adapterFiles,
  checkpointFiles,
  goldenTensors,
  nibblama,
  openHarness,
  references,
  root,
  safetensors,
} from "./support";

const { models, lora } = references();
/** Of the browser's logits from the reference, as for the native ones; int8 rounds each layer's input. */
const toleranceOf = (checkpoint: string): number => (checkpoint.includes("int8") ? 0.1 : 1e-3);

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

const goldenFolder = (checkpoint: string): string =>
  join(root, process.env["NIBBLAMA_GOLDEN"] === undefined ? "tests/fixtures/golden" : "", checkpoint);

for (const variant of ["relaxed-threads", "simd128"] as const) {
  test(`logits and greedy text of every golden model: ${variant}`, async ({ page }) => {
    await openHarness(page);
    for (const [name, { prompt_ids: ids, refs }] of Object.entries(models)) {
      for (const { key, checkpoint, greedy, safe_steps } of refs) {
        const found = await page.evaluate(
          async ({ entries, ids, steps, variant, native, golden }) => {
            const { loadModel, files, difference, argmax } = window.nibblama;
            const model = await loadModel(await files(entries), { variant });
            const { data, shape } = await model.logits(ids, { all: true });
            const tokens = [];
            for (let history = [...ids]; tokens.length < steps; ) {
              const next = argmax((await model.logits(history)).data);
              tokens.push(next);
              history = [...history, next];
            }
            await model.dispose();
            return {
              shape,
              tokens,
              toNative: difference(data, Float32Array.from(native)),
              toGolden: difference(data, Float32Array.from(golden)),
            };
          },
          {
            entries: checkpointFiles(checkpoint),
            ids,
            steps: Math.min(safe_steps, 8),
            variant,
            native: nativeLogits(goldenFolder(checkpoint), ids),
            golden: goldenLogits(key),
          },
        );
        const what = `${name}: ${checkpoint}`;
        expect(found.shape[0], what).toBe(ids.length);
        expect(found.toNative, what).toBeLessThanOrEqual(1e-4);
        expect(found.toGolden, what).toBeLessThanOrEqual(toleranceOf(checkpoint));
        expect(found.tokens, what).toEqual(greedy.slice(0, found.tokens.length));
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

test("what is quantized in the tab equals the command line's checkpoint byte for byte", async ({ page }) => {
  const out = mkdtempSync(join(tmpdir(), "nibblama-"));
  try {
    const folder = join(out, "stories");
    nibblama("quantize", "models/stories", folder, "--quant-type", "nf4", "--double-quant");
    const expected = safetensors(readFileSync(join(folder, "model.safetensors")));
    await openHarness(page);
    const found = await page.evaluate(async () => {
      const model = await window.nibblama.loadModel("/models/stories/", { quantization: "nf4-dq" });
      const hash = async (bytes: Uint8Array<ArrayBuffer>) =>
        [...new Uint8Array(await crypto.subtle.digest("SHA-256", bytes))]
          .map((byte) => byte.toString(16).padStart(2, "0"))
          .join("");
      const stored: { name: string; dtype: string; shape: number[]; sha256: string }[] = [];
      for (const { name, format } of await model.tensors()) {
        if (format !== "nf4") continue;
        for (const tensor of await model.storedTensors(name.replace(/\.weight$/, ""))) {
          const { name, dtype, shape, bytes } = tensor;
          stored.push({ name, dtype, shape, sha256: await hash(bytes) });
        }
      }
      await model.dispose();
      return stored;
    });
    const { createHash } = await import("node:crypto");
    const quantized = Object.keys(expected).filter((name) => {
      const module = name.replace(/\.weight(\..*)?$/, "");
      return `${module}.weight.absmax` in expected;
    });
    expect(found.map(({ name }) => name).sort()).toEqual(quantized.sort());
    for (const { name, dtype, shape, sha256 } of found) {
      const tensor = expected[name];
      expect({ dtype, shape }, name).toEqual({ dtype: tensor?.dtype, shape: tensor?.shape });
      expect(sha256, name).toBe(createHash("sha256").update(tensor?.bytes ?? "").digest("hex"));
    }
  } finally {
    rmSync(out, { recursive: true });
  }
});

/** What the engine holds: the ledger, and the peak while loading. What `dispose` leaves is in test/apps/memory.spec.ts. */

import { expect, test } from "@playwright/test";
import { nibblama, openHarness } from "./support";

/** The engine's code, stack and allocator, and what the allocator could not reuse. */
const ROOM = 16 * 2 ** 20;

/** `inspect --json` splits finer than the ledger. */
interface Inspected {
  breakdown: {
    packed_codes: number;
    absmax: number;
    nested_absmax: number;
    offset: number;
    quant_map: number;
    nested_quant_map: number;
    other_weights: number;
    total: number;
  };
}

test("the ledger equals inspect, and sums to what is allocated", async ({ page }) => {
  const { breakdown } = JSON.parse(nibblama("inspect", "models/stories-nf4", "--json")) as Inspected;
  await openHarness(page);
  const { ledger, scratchBefore } = await page.evaluate(async () => {
    const model = await window.nibblama.loadModel("/models/stories-nf4/", { context: 512 });
    const scratchBefore = (await model.memory()).scratch;
    await model.logits([1, 2, 3], { arithmetic: "near-exact" });
    const ledger = await model.memory();
    await model.dispose();
    return { ledger, scratchBefore };
  });
  expect(ledger.packed_codes).toBe(breakdown.packed_codes);
  expect(ledger.absmax).toBe(breakdown.absmax);
  expect(ledger.nested_absmax).toBe(breakdown.nested_absmax + breakdown.offset);
  expect(ledger.quant_maps).toBe(breakdown.quant_map + breakdown.nested_quant_map);
  expect(ledger.floats_16bit + ledger.floats_32bit).toBe(breakdown.other_weights);
  expect(ledger.total - ledger.scratch - ledger.kv_cache).toBe(breakdown.total);
  const { total, other, wasm_memory, ...kinds } = ledger;
  expect(Object.values(kinds).reduce((sum, bytes) => sum + bytes, 0)).toBe(total);
  expect(total + other).toBe(wasm_memory);
  expect(other).toBeGreaterThan(0);
  expect(other).toBeLessThan(ROOM);
  // Keys and values: 8 layers, 2 heads of 64, 512 positions, 16 bits each and a scale in f32.
  expect(ledger.kv_cache).toBe(2 * 8 * 2 * 512 * (64 * 2 + 4));
  expect(ledger.scratch).toBeGreaterThan(scratchBefore);
});

for (const [folder, quantization] of [["stories-nf4", null], ["stories", "nf4-dq"], ["stories", "nf4"], ["stories", null]] as const) {
  test(`the peak while loading ${folder} as ${quantization ?? "stored"} is the result and one tensor`, async ({ page }) => {
    await openHarness(page);
    const { ledger, largest } = await page.evaluate(
      async ({ folder, quantization }) => {
        const model = await window.nibblama.loadModel(`/models/${folder}/`, { quantization, context: 512 });
        const tensors = await model.tensors();
        const ledger = await model.memory();
        await model.dispose();
        return { ledger, largest: Math.max(...tensors.map(({ shape }) => shape.reduce((n, each) => n * each, 1))) };
      },
      { folder, quantization },
    );
    // A WebAssembly memory never shrinks: its size after loading is the peak.
    expect(ledger.wasm_memory).toBeLessThanOrEqual(ledger.total + largest * 2 + ROOM);
  });
}

/** 79 million weights: what is left behind shows, and so does a checkpoint that is held whole. */
const LARGE = { hidden: 1024, inner: 2816, layers: 6, vocab: 2048 };
const LARGE_BYTES = 2 * 79_186_944;

test("the peak while quantizing a large checkpoint is far from its size", async ({ page }) => {
  await openHarness(page);
  const ledger = await page.evaluate(async (large) => {
    const model = await window.nibblama.loadModel(await window.nibblama.made(large), { quantization: "nf4-dq" });
    const ledger = await model.memory();
    await model.dispose();
    return ledger;
  }, LARGE);
  const largest = LARGE.hidden * LARGE.inner * 2;
  expect(ledger.total + largest + ROOM).toBeLessThan(LARGE_BYTES);
  expect(ledger.wasm_memory).toBeLessThanOrEqual(ledger.total + largest + ROOM);
});

test("a model of 6.6 billion weights does not fit in 16 bits, and is refused at once; in 4 bits it would", async ({ page }) => {
  await openHarness(page);
  const { stored, quantized, refusal, context } = await page.evaluate(async () => {
    const { made, inspectModel, loadModel, refusal } = window.nibblama;
    const files = await made({ hidden: 4096, inner: 11008, layers: 32, vocab: 32000 });
    const stored = await inspectModel(files, { context: 512 });
    const quantized = await inspectModel(files, { context: 512, quantization: "nf4-dq" });
    return { stored, quantized, refusal: await refusal(loadModel(files)), context: 512 };
  });
  expect(stored.fits).toBe(false);
  expect(stored.reasons).toEqual([{ kind: "memory", needed: stored.bytes.peak, available: 2 ** 32 - 2 ** 16 }]);
  expect(stored.bytes.weights).toBe(2 * (32 * (4 * 4096 * 4096 + 3 * 4096 * 11008 + 2 * 4096) + 32000 * 4096 + 4096));
  expect(quantized).toMatchObject({ fits: true, reasons: [] });
  expect(quantized.bytes.kv_cache).toBe(2 * 32 * 32 * context * (128 * 2 + 4));
  expect(refusal).toMatchObject({ code: "does-not-fit", expected: `at most ${2 ** 32 - 2 ** 16} bytes` });
});

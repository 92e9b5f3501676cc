/** What else is asked of whole models: long contexts, adapters, how much of the time is spent in products, and the embedded model. */

import type { Driver } from "./browser";
import type { Measurements } from "../measurements";
import { linears, SHAPES, weights, type ShapeName } from "../shapes";
import { ARITHMETICS, NF4, rate } from "../target";

/** Decode behind a long text and behind a short one, 135 M shape, near-exact on one thread. */
export async function longContext(driver: Driver, record: Measurements, rounds: number): Promise<void> {
  const [LONG, SHORT, TOKENS] = [4096, 64, 8];
  for (const [key, context] of [["long", LONG], ["short", SHORT]] as const) {
    await driver.ours(key, "start", "relaxed-threads", 2);
    await driver.ours(key, "model", "135m", NF4, LONG + 2 * TOKENS);
    const ms = await driver.ours(key, "fill", "near-exact", context);
    record.add(`135m prefill of ${context}, near-exact, 2 threads`, "tokens/s", rate(context, ms));
    await driver.ours(key, "setThreads", 1);
  }
  for (let round = -1; round < rounds; round++) {
    for (const [key, context] of [["long", LONG], ["short", SHORT]] as const) {
      const ms = await driver.ours(key, "decodeBehind", "near-exact", context, TOKENS);
      if (round >= 0) record.add(`135m decode at ${context}, near-exact, 1 thread`, "tokens/s", rate(TOKENS, ms));
    }
  }
  await driver.end("long");
  await driver.end("short");
}

/** What a LoRA adapter of rank 8 on every linear layer adds, in percent of the time without. */
export async function adapter(driver: Driver, record: Measurements, shape: ShapeName, rounds: number): Promise<void> {
  const key = "adapter";
  await driver.ours(key, "start", "relaxed", 1);
  await driver.ours(key, "model", shape, NF4, 512);
  await driver.ours(key, "adapter", 8);
  for (let round = -1; round < rounds; round++) {
    const times: Record<"decode" | "prefill", number>[] = [];
    for (const on of [false, true]) {
      await driver.ours(key, "setAdapter", on);
      const decode = await driver.ours(key, "decode", "near-exact", 24);
      times.push({ decode, prefill: await driver.ours(key, "prefill", "near-exact", 128) });
    }
    const [without, beside] = times;
    if (round < 0 || without === undefined || beside === undefined) continue;
    for (const kind of ["decode", "prefill"] as const) {
      record.add(`${shape} ${kind}, near-exact, LoRA of rank 8 adds`, "%", 100 * (beside[kind] / without[kind] - 1));
    }
  }
  await driver.end(key);
}

/** Time of a token's products by themselves as a share of its decode: what is left are attention, norms and the calls. */
export async function shareOfProducts(driver: Driver, record: Measurements, shape: ShapeName, rounds: number): Promise<void> {
  const key = "share";
  const sizes = SHAPES[shape];
  const room = (weights(sizes).layers * 9) / 16;
  await driver.ours(key, "start", "relaxed", 1);
  const products = new Map<string, { rows: number; cols: number; count: number; quantization: typeof NF4 | null }>();
  for (const [, rows, cols] of linears(sizes)) {
    const name = `${rows} x ${cols}`;
    const before = products.get(name)?.count ?? 0;
    products.set(name, { rows, cols, count: before + sizes.layers, quantization: NF4 });
  }
  products.set("lm_head", { rows: sizes.vocab, cols: sizes.hidden, count: 1, quantization: null });
  for (const arithmetic of ARITHMETICS) {
    await driver.ours(`${key} model`, "start", "relaxed", 1);
    await driver.ours(`${key} model`, "model", shape, NF4, 512);
    await driver.ours(`${key} model`, "decode", arithmetic, 8);
    for (let round = 0; round < rounds; round++) {
      let sum = 0;
      for (const { rows, cols, count, quantization } of products.values()) {
        // As cold as in the model, where all other matrices come before it is its turn again.
        await driver.ours(key, "matrix", rows, cols, quantization === null ? 0 : room, quantization);
        await driver.ours(key, "product", 1, arithmetic, 20);
        sum += count * (await driver.ours(key, "product", 1, arithmetic, 30));
      }
      const token = (await driver.ours(`${key} model`, "decode", arithmetic, 16)) / 16;
      record.add(`${shape} products' share of decode, ${arithmetic}`, "%", (100 * sum) / token);
    }
  }
  await driver.end(key);
  await driver.end(`${key} model`);
}

/** The model that the site carries. */
export async function embedded(driver: Driver, record: Measurements, rounds: number): Promise<void> {
  for (let round = -1; round < rounds; round++) {
    const { afterWeights } = await driver.page.evaluate(() => globalThis.drive.loadEmbedded(1));
    if (round >= 0) record.add("embedded model, first token after its weights", "ms", afterWeights);
    for (const arithmetic of ARITHMETICS) {
      const found = await driver.page.evaluate((arithmetic) => globalThis.drive.decodeRate(arithmetic, 200), arithmetic);
      if (round >= 0) record.add(`embedded model decode, ${arithmetic}, 1 thread`, "tokens/s", found);
    }
  }
  // The same bits every time.
  for (const arithmetic of ARITHMETICS) {
    const found = await driver.page.evaluate((arithmetic) => globalThis.drive.perplexity(arithmetic), arithmetic);
    record.add(`embedded model perplexity, ${arithmetic}`, "", found);
  }
  await driver.page.evaluate(() => globalThis.drive.disposeEmbedded());
}

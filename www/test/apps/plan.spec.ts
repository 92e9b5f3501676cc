/** What is planned from headers alone, against what the ledger holds afterwards; and what a plan refuses. */

import type { Page } from "@playwright/test";
import { expect, test } from "./support";
import type { Inspection, LoadOptions, MemoryLedger, Quantization } from "../../engine/index";

const NETWORK = { attempts: 2, backoff: 10, stall: 1000, connections: 2 };

interface Held {
  plan: Inspection;
  /** Before `logits`, which may widen the kv cache. */
  ledger: MemoryLedger;
  /** After everything that takes memory. */
  peak: number;
  kind: string;
}

/** Plans, loads and uses a model. */
async function held(page: Page, source: string | { stored: string }, options: LoadOptions): Promise<Held> {
  return page.evaluate(
    async ([source, options]) => {
      const { threads, ...known } = options;
      const plan = await window.npm.inspectModel(source, known);
      const model = await window.npm.loadModel(source, { ...known, ...(threads === undefined ? {} : { threads }) });
      try {
        const prompt = Array.from({ length: Math.min(120, (options.context ?? 0) - 4) }, (_, i) => 3 + (i % 400));
        for await (const _ of model.generate(prompt, { max_new_tokens: 4, do_sample: false }));
        const ledger = await model.memory();
        const whole = (await model.tensors()).some(({ format }) => format === "int8");
        if (!whole) await model.logits(prompt, { all: true });
        // Back and forth between the forms of the kv cache, with positions in it.
        for (let i = 0; i < 3; i++) {
          await model.logits(prompt);
          for await (const _ of model.generate(prompt, { max_new_tokens: 2, do_sample: false, reuse: "all" }));
        }
        await model.embed(prompt);
        const { wasm_memory } = await model.memory();
        const kind = (await model.tensors()).find(({ name }) => name === "lm_head.weight")?.format ?? "tied";
        return { plan, ledger, peak: wasm_memory, kind };
      } finally {
        await model.dispose();
      }
    },
    [source, options] as const,
  );
}

function check(what: string, { plan, ledger, peak }: Held): void {
  const { bytes } = plan;
  expect(plan.fits, what).toBe(true);
  expect(bytes.weights, what).toBe(ledger.packed_codes + ledger.int8_codes + ledger.floats_16bit + ledger.floats_32bit);
  expect(bytes.scales, what).toBe(ledger.absmax + ledger.nested_absmax + ledger.quant_maps + ledger.scb);
  expect(bytes.kv_cache, what).toBe(ledger.kv_cache);
  expect(bytes.scratch, what).toBeGreaterThanOrEqual(ledger.scratch * 0.95);
  expect(bytes.total, what).toBe(bytes.weights + bytes.scales + bytes.kv_cache + bytes.scratch);
  // Nothing that a model does takes more than was planned, and the plan is no wild guess.
  expect(peak, what).toBeLessThanOrEqual(bytes.peak);
  expect(bytes.peak, what).toBeLessThanOrEqual(1.5 * peak + 4 * 2 ** 20);
}

/** With `lm_head`, which is left out by default. */
const whole = (config: object): Quantization => ({ ...config, llm_int8_skip_modules: [] }) as Quantization;
const nf4 = { load_in_4bit: true, bnb_4bit_quant_type: "nf4" };

const cases: [model: string, quantization: Quantization, options: LoadOptions, head: string][] = [
  ["test/stories", null, { context: 700 }, "tied"],
  ["test/stories", "nf4", { context: 700 }, "tied"],
  ["test/stories", "nf4-dq", { context: 1000 }, "tied"],
  ["test/stories", "int8", { context: 124 }, "tied"],
  ["test/stories", "nf4-dq", { context: 1000, kvCacheDtype: "int16" }, "tied"],
  ["test/stories", "nf4-dq", { context: 1000, kvCacheDtype: "float32" }, "tied"],
  ["test/stories", "nf4", { context: 700, arithmetic: "exact" }, "tied"],
  ["test/stories-nf4", null, { context: 700, computeDtype: "bfloat16" }, "tied"],
  ["golden/llama_a-f32", null, { context: 100 }, "F32"],
  ["golden/llama_a-bf16", "nf4-dq", { context: 100 }, "BF16"],
  ["golden/llama_a-bf16", whole(nf4), { context: 100 }, "nf4"],
  ["golden/llama_a-bf16", whole({ ...nf4, bnb_4bit_use_double_quant: true }), { context: 100 }, "nf4"],
  ["golden/llama_a-bf16", whole({ ...nf4, bnb_4bit_quant_type: "fp4" }), { context: 100 }, "fp4"],
  ["golden/llama_a-bf16", whole({ load_in_8bit: true }), { context: 100 }, "int8"],
  ["golden/llama_a-nf4", null, { context: 100 }, "F32"],
  ["golden/llama_a-nf4_dq_bf16_sharded", null, { context: 100 }, "BF16"],
  ["golden/llama_a-fp4", null, { context: 100 }, "BF16"],
  ["golden/llama_a-int8", null, { context: 100 }, "BF16"],
  ["golden/llama_tied-bf16", whole(nf4), { context: 100 }, "tied"],
  ["golden/llama_tied-nf4_dq", null, { context: 100 }, "tied"],
];

for (const [model, quantization, options, head] of cases) {
  const format = quantization === null || typeof quantization === "string" ? quantization : JSON.stringify(quantization);
  test(`${model} as ${format ?? "stored"}, ${JSON.stringify(options)}: what is planned is what is held`, async ({ engine, site }) => {
    test.skip(!site.models.has(model), "other reference data");
    const found = await held(engine, `${site.url}models/${model}`, { ...options, quantization, threads: 1, store: false, network: NETWORK });
    check(model, found);
    expect(found.kind).toBe(head);
  });
}

test("a stored model is planned from the store, a quantized lm_head included", async ({ engine, site }) => {
  test.skip(!site.models.has("golden/llama_a-bf16"), "other reference data");
  const options: LoadOptions = { threads: 1, context: 100, network: NETWORK };
  const id = await engine.evaluate(
    async ([url, options]) => {
      const model = await window.npm.loadModel(url, options);
      await model.dispose();
      return model.facts.stored;
    },
    [`${site.url}models/golden/llama_a-bf16`, { ...options, quantization: whole(nf4), store: true }] as const,
  );
  const found = await held(engine, { stored: id ?? "" }, options);
  check("stored", found);
  expect(found.kind).toBe("nf4");
});

test("a model that the browser's quota has no room for is refused before any weight is read", async ({ engine, site }) => {
  const source = { hub: "test/stories", base: `${site.url}hub/` };
  const options = { quantization: "nf4-dq", context: 64, threads: 1, network: NETWORK } as const;
  const load = (store: boolean) =>
    engine.evaluate(
      async ([source, options]) => {
        try {
          const model = await window.npm.loadModel(source, options);
          await model.dispose();
          return null;
        } catch (error) {
          const { code, reason, expected, found } = error as InstanceType<typeof window.npm.NibblamaError>;
          return { code, reason, expected, found };
        }
      },
      [source, { ...options, store }] as const,
    );
  // In force as long as the session is.
  const session = await engine.context().newCDPSession(engine);
  await session.send("Storage.overrideQuotaForOrigin", { origin: new URL(site.url).origin, quotaSize: 4_000_000 });
  const refused = await load(true);
  // What the 4-bit model takes, and nearly the quota: the small files are there already.
  expect(refused).toMatchObject({ code: "does-not-fit", reason: "the model does not fit: there is not enough room to store it", found: "9711072 bytes" });
  const room = Number(/^at most (\d+) bytes$/.exec(refused?.expected ?? "")?.[1]);
  expect(room).toBeGreaterThan(2_000_000);
  expect(room).toBeLessThan(4_000_000);
  // The first mebibyte holds the header; of the rest nothing was asked for.
  const ranges = site.log.filter(({ path }) => path.endsWith("model.safetensors")).map(({ range }) => range);
  expect(ranges.length).toBeGreaterThan(0);
  expect(ranges.filter((range) => !range?.startsWith("bytes=0-"))).toEqual([]);
  // What need not be stored fits all the same; and so does the other, once there is room.
  expect(await load(false)).toBeNull();
  await session.send("Storage.overrideQuotaForOrigin", { origin: new URL(site.url).origin });
  expect(await load(true)).toBeNull();
  expect(await engine.evaluate(() => window.npm.listStored())).toMatchObject([{ complete: true }]);
});

test("a device that reports too little memory is believed", async ({ engine, site }) => {
  // 2^-6 GiB, 16 MiB; browsers report no less than 0.25.
  await engine.context().route(/package\/worker\.js$/, async (route) => {
    const response = await route.fetch();
    const body = `Object.defineProperty(WorkerNavigator.prototype, "deviceMemory", { get: () => 2 ** -6 });${await response.text()}`;
    await route.fulfill({ response, body });
  });
  const { fits, reasons, bytes } = await engine.evaluate((url) => window.npm.inspectModel(url), `${site.url}models/test/stories`);
  expect({ fits, reasons }).toEqual({ fits: false, reasons: [{ kind: "device", needed: bytes.peak, available: 2 ** 24 }] });
});

/** Bad input, aborts, crashes and builds that do not start: each has its error, and the engine works on. */

import { expect, test, type Page } from "@playwright/test";
import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import type { Model } from "../../engine/index";
import { openHarness, root } from "./support";

const model = (name: string): Buffer => readFileSync(resolve(root, "models/stories-nf4", name));

/** Loads the 4-bit model from files, some of them replaced. */
async function refusalOf(page: Page, replaced: Record<string, string | null>) {
  return page.evaluate(async (replaced) => {
    const { files, loadModel, refusal } = window.nibblama;
    const names = ["config.json", "generation_config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"];
    const kept = names.filter((name) => !(name in replaced));
    const given = await files(kept.map((name) => [name, `/models/stories-nf4/${name}`] as const));
    for (const [name, base64] of Object.entries(replaced)) {
      if (base64 === null) continue;
      given.push(new File([Uint8Array.from(atob(base64), (char) => char.charCodeAt(0))], name));
    }
    return refusal(loadModel(given));
  }, replaced);
}

async function works(page: Page): Promise<void> {
  const text = await page.evaluate(async () => {
    const model = await window.nibblama.loadModel("/models/stories-nf4/");
    let text = "";
    for await (const step of model.generate("Once upon a time", { max_new_tokens: 8 })) text += step.text;
    await model.dispose();
    return text;
  });
  expect(text.length).toBeGreaterThan(0);
}

const weights = model("model.safetensors");
const config = JSON.parse(model("config.json").toString("utf8")) as Record<string, unknown>;
const base64 = (value: Buffer | object): string =>
  (Buffer.isBuffer(value) ? value : Buffer.from(JSON.stringify(value))).toString("base64");

const cases: [what: string, files: Record<string, string | null>, error: Record<string, unknown>][] = [
  ["no config", { "config.json": null }, { code: "missing-file", file: "config.json" }],
  ["no weights", { "model.safetensors": null }, { code: "missing-file", file: "model.safetensors" }],
  ["no tokenizer", { "tokenizer.json": null }, { code: "missing-file", file: "tokenizer.json" }],
  ["config that is not JSON", { "config.json": base64(Buffer.from("{")) }, { code: "invalid-json", file: "config.json" }],
  [
    "another architecture",
    { "config.json": base64({ ...config, architectures: ["GPT2LMHeadModel"], model_type: "gpt2" }) },
    { code: "unsupported-architecture", file: "config.json" },
  ],
  [
    "shapes of another model",
    { "config.json": base64({ ...config, hidden_size: 256 }) },
    { code: "shape-mismatch", file: "model.safetensors" },
  ],
  ["weights cut in the header", { "model.safetensors": base64(weights.subarray(0, 1000)) }, { code: "truncated-file", file: "model.safetensors" }],
  ["weights cut in the data", { "model.safetensors": base64(weights.subarray(0, 100_000)) }, { file: "model.safetensors" }],
  ["a text as weights", { "model.safetensors": base64(Buffer.from("hello, this is no model\n")) }, { file: "model.safetensors" }],
  ["a tokenizer that is not JSON", { "tokenizer.json": base64(Buffer.from("[")) }, { code: "invalid-json", file: "tokenizer.json" }],
  ["a tokenizer without a model", { "tokenizer.json": base64({}) }, { code: "invalid-tokenizer", file: "tokenizer.json" }],
];

test("files that are no model are refused with code and place, and the next load works", async ({ page }) => {
  await openHarness(page);
  for (const [what, files, error] of cases) {
    const refusal = await refusalOf(page, files);
    expect(refusal, what).toMatchObject(error);
    expect(refusal?.message, what).toMatch(/[a-z]{3,}/);
  }
  await expect.poll(() => page.workers().length).toBe(0);
  await works(page);
});

test.describe("in time", () => {
  // Another process can take the core for longer than the limit.
  test.describe.configure({ retries: 2 });

  test("an abort settles within 200 ms while loading, reading and writing", async ({ page }) => {
    await openHarness(page);
    const settled = await page.evaluate(async () => {
      const { loadModel, refusal } = window.nibblama;
      const timed = async (work: (signal: AbortSignal) => Promise<unknown>, after: number) => {
        const abort = new AbortController();
        let began = 0;
        setTimeout(() => {
          began = performance.now();
          abort.abort();
        }, after);
        const error = await refusal(work(abort.signal));
        return { code: error?.code, time: performance.now() - began };
      };
      const loading = await timed((signal) => loadModel("/models/stories/", { quantization: "nf4-dq", signal }), 150);
      const model = await loadModel("/models/stories-nf4/");
      const long = Array.from({ length: 1000 }, (_, i) => (i % 1000) + 3);
      const reading = await timed((signal) => model.logits(long, { signal }), 20);
      const write = async (signal: AbortSignal) => {
        for await (const step of model.generate("Once upon a time", { do_sample: true, signal })) void step;
      };
      const writing = await timed(write, 50);
      // Leaving the loop is the other way to stop.
      for await (const step of model.generate("Once upon a time")) {
        void step;
        break;
      }
      const after = (await model.logits("Once")).data.length;
      await model.dispose();
      return { loading, reading, writing, after };
    });
    for (const where of ["loading", "reading", "writing"] as const) {
      expect(settled[where].code, where).toBe("aborted");
      expect(settled[where].time, where).toBeLessThan(200);
    }
    expect(settled.after).toBe(config["vocab_size"]);
  });
});

test("a trap ends the worker with code crashed, and a new load works", async ({ page }) => {
  await openHarness(page);
  const loaded = page.evaluate(async () => {
    const model = await window.nibblama.loadModel("/models/stories-nf4/");
    Object.assign(window, { model });
  });
  await loaded;
  // The next array that the worker makes for the engine traps, as an unreachable instruction would.
  await page.workers()[0]?.evaluate(() => {
    Uint32Array.from = () => {
      throw new WebAssembly.RuntimeError("unreachable");
    };
  });
  const crashed = await page.evaluate(async () => {
    const { model } = window as unknown as { model: Awaited<ReturnType<typeof window.nibblama.loadModel>> };
    const first = await window.nibblama.refusal(model.logits("Once"));
    const second = await window.nibblama.refusal(model.memory());
    return { first, second, closed: (await model.closed)?.message };
  });
  expect(crashed.first).toMatchObject({ code: "crashed" });
  expect(crashed.second).toMatchObject({ code: "crashed" });
  expect(crashed.closed).toContain("stopped unexpectedly");
  await expect.poll(() => page.workers().length).toBe(0);
  await works(page);
});

test("a build that does not start is passed over for the next, and the reason is told", async ({ page }) => {
  await page.context().route(/\.wasm$/, async (route) => {
    const response = await route.fetch();
    const body = await response.body();
    // Only the builds with threads import their memory shared.
    await route.fulfill(isShared(body) ? { response, body: body.subarray(0, 1000) } : { response, body });
  });
  await openHarness(page);
  const variant = await page.evaluate(async () => {
    const model = await window.nibblama.loadModel("/models/stories-nf4/");
    const { variant } = model;
    await model.dispose();
    return variant;
  });
  expect(variant.name).toBe("relaxed");
  expect(variant.threads).toBe(1);
  // With 8-bit dot products, the ways to use them were timed, and one was taken.
  expect(variant.fastDesigns.map(({ design }) => design)).toEqual(["i16", "i8-split", "i8-pairs", "i8-quads"]);
  expect(variant.fastDesigns.filter(({ chosen }) => chosen)).toHaveLength(1);
  for (const { gigabytesPerSecond } of variant.fastDesigns) expect(gigabytesPerSecond).toBeGreaterThan(0);
  expect(variant.rejected.map(({ name }) => name)).toEqual(["relaxed-threads", "simd128-threads"]);
  for (const { reason } of variant.rejected) expect(reason.length).toBeGreaterThan(10);
});

test("the second module of a build is fetched when it is needed, once; where it cannot be had, that is told", async ({ page }) => {
  const fetched: string[] = [];
  let broken = true;
  await page.context().route(/nibblama_deferred.*\.wasm$/, async (route) => {
    fetched.push(route.request().url());
    await (broken ? route.fulfill({ status: 503 }) : route.continue());
  });
  await openHarness(page);
  const story = await page.evaluate(async () => {
    const model = await window.nibblama.loadModel("/models/stories-nf4/");
    Object.assign(window, { model });
    await model.tokenize("Once");
    let steps = 0;
    for await (const step of model.generate("Once upon a time", { max_new_tokens: 4 })) steps += step.text.length > 0 ? 1 : 0;
    return steps;
  });
  expect(story).toBe(4);
  expect(fetched).toEqual([]);

  const refused = await page.evaluate(() => window.nibblama.refusal((window as unknown as { model: Model }).model.tensors()));
  expect(refused).toMatchObject({ code: "network", found: "status 503" });
  expect(refused?.file).toContain("nibblama_deferred");
  broken = false;
  const counts = await page.evaluate(async () => {
    const { model } = window as unknown as { model: Model };
    const [tensors, layers, embedding] = await Promise.all([model.tensors(), model.layers(), model.embed("Once")]);
    await model.dispose();
    return [tensors.length > 0, layers.length > 0, embedding.length > 0];
  });
  expect(counts).toEqual([true, true, true]);
  expect(fetched).toHaveLength(2);
});

test("names of modules that are regular expressions bring the code that matches them", async ({ page }) => {
  await openHarness(page);
  const formats = await page.evaluate(async () => {
    const quantization = { load_in_4bit: true, llm_int8_skip_modules: [String.raw`model\.layers\.[0-6]\.(mlp|self_attn)`, "lm_head"] };
    const model = await window.nibblama.loadModel("/models/stories/", { quantization });
    const tensors = await model.tensors();
    await model.dispose();
    return tensors.filter(({ name }) => name.endsWith("q_proj.weight")).map(({ format }) => format);
  });
  expect(formats).toEqual([...Array<string>(7).fill("BF16"), "fp4"]);
});

/** Whether a module imports a shared memory: flag 3 of its limits, in the import section. */
function isShared(module: Buffer): boolean {
  const name = module.indexOf("memory");
  return name > 0 && module[name + "memory".length] === 2 && module[name + "memory".length + 1] === 3;
}

test("without cross-origin isolation the builds without threads are taken", async ({ page }) => {
  await openHarness(page, "engineNotIsolated");
  const variant = await page.evaluate(async () => {
    const model = await window.nibblama.loadModel("/models/stories-nf4/");
    const { variant } = model;
    await model.dispose();
    return variant;
  });
  expect(variant).toMatchObject({ name: "relaxed", threads: 1 });
  expect(variant.rejected.map(({ reason }) => reason).join()).toContain("not cross-origin isolated");
});

/** A tab that loads again and again, and one that is told to stop: what was held comes back. */

import { readFileSync } from "node:fs";
import type { Browser, Page } from "@playwright/test";
import { expect, test } from "./support";

/** Memory that the page's processes really use, without garbage. */
async function residentBytes(page: Page, browser: Browser): Promise<number> {
  const collector = await page.context().newCDPSession(page);
  await collector.send("HeapProfiler.collectGarbage");
  await collector.detach();
  const session = await browser.newBrowserCDPSession();
  const { processInfo } = await session.send("SystemInfo.getProcessInfo");
  await session.detach();
  const renderers = processInfo.filter(({ type }) => type === "renderer");
  return renderers.reduce((sum, { id }) => sum + Number(readFileSync(`/proc/${id}/statm`, "utf8").split(" ")[1]) * 4096, 0);
}

test("twenty models are loaded, used and disposed of in one tab, and the memory comes back", async ({ engine, site, browser }) => {
  test.skip(process.platform !== "linux", "reads /proc");
  const once = (seed: number) =>
    engine.evaluate(
      async ([url, seed]) => {
        // Every fifth is quantized: what that needs must come back too.
        const [name, quantization] = seed % 5 === 0 ? ["stories", "nf4-dq" as const] : ["stories-nf4", null];
        const model = await window.npm.loadModel(`${url}models/test/${name}/`, { quantization, context: 512 });
        for await (const _ of model.generate("Once upon a time", { max_new_tokens: 8, do_sample: true, seed }));
        const { wasm_memory } = await model.memory();
        await model.dispose();
        const code = await model.memory().then(() => "none", (error: { code: string }) => error.code);
        return { wasm_memory, code };
      },
      [site.url, seed] as const,
    );
  const sizes: number[] = [];
  let before = 0;
  for (let i = 0; i < 20; i++) {
    const { wasm_memory, code } = await once(i);
    expect(code).toBe("disposed");
    sizes.push(wasm_memory);
    // The first loads also fill caches of the browser.
    if (i === 2) before = await residentBytes(engine, browser);
  }
  await expect.poll(() => engine.workers().length).toBe(0);
  // Fewer than two of the seventeen models that came since; the browser gives back in its own time.
  const held = Math.max(...sizes);
  await expect.poll(() => residentBytes(engine, browser), { timeout: 20_000 }).toBeLessThan(before + 2 * held);
  // A model is not larger because others were there before it; only how a prompt is divided moves its buffers.
  expect(sizes.at(-1)).toBeLessThan(1.25 * (sizes[1] ?? 0));
});

test.describe("in time", () => {
  // Another process can take the core for longer than the limit.
  test.describe.configure({ retries: 2 });

  test("a signal ends prefill and decode within 200 ms, and leaves a model that works in the same memory", async ({ engine, site }) => {
    const result = await engine.evaluate(async (url) => {
      const model = await window.npm.loadModel(url, { threads: 1, context: 2048 });
      const long = Array.from({ length: 2000 }, (_, i) => 3 + (i % 1000));
      const begin = async (prompt: string | number[], begun: (stop: () => void) => Parameters<typeof model.generate>[1], onToken: (stop: () => void) => void) => {
        const stop = new AbortController();
        let began = 0;
        const abort = () => {
          if (began === 0) began = performance.now();
          stop.abort();
        };
        const read = async () => {
          for await (const _ of model.generate(prompt, { ...begun(abort), signal: stop.signal, reuse: "none" })) onToken(abort);
        };
        const code = await read().then(() => "none", (error: { code: string }) => error.code);
        return { code, took: performance.now() - began };
      };
      const prefill = () => begin(long, (stop) => ({ onPrefill: (done: number) => void (done > 100 && stop()) }), () => undefined);
      const decode = () => begin("Once upon a time", () => ({ do_sample: true, max_new_tokens: 500 }), (stop) => stop());
      const results = [await prefill(), await decode()];
      const logits = async () => [...(await model.logits("Once upon a time")).data.slice(0, 32)].join();
      const expected = await logits();
      const before = (await model.memory()).wasm_memory;
      for (let i = 0; i < 5; i++) results.push(await prefill(), await decode());
      const after = (await model.memory()).wasm_memory;
      const same = (await logits()) === expected;
      await model.dispose();
      return { results, before, after, same };
    }, `${site.url}models/test/stories-nf4/`);
    for (const { code, took } of result.results) {
      expect(code).toBe("aborted");
      expect(took).toBeLessThan(200);
    }
    expect(result.after).toBe(result.before);
    expect(result.same).toBe(true);
  });
});

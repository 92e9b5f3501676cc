/** A browser whose own instructions compute something else: the .wasm is changed on its way, one instruction for another of its form. */

import type { Page } from "@playwright/test";
import { expect, test } from "./support";

type Swap = readonly [from: readonly number[], to: readonly number[]];

/** Opcodes behind the prefix 0xfd, as LEB128. */
const DOT_I16: Swap = [[0xfd, 0xba, 0x01], [0xfd, 0xb5, 0x01]]; // i32x4.dot_i16x8_s, i32x4.mul
const DOT_QUADS: Swap = [[0xfd, 0x93, 0x02], [0xfd, 0x89, 0x02]]; // i32x4.relaxed_dot_i8x16_i7x16_add_s, i8x16.relaxed_laneselect
const DOT_PAIRS: Swap = [[0xfd, 0x92, 0x02], [0xfd, 0x80, 0x02]]; // i16x8.relaxed_dot_i8x16_i7x16_s, i8x16.relaxed_swizzle

/** From now on these builds have the second instruction of each pair wherever they had the first. */
async function serve(page: Page, builds: RegExp, swaps: readonly Swap[]): Promise<void> {
  await page.context().route(builds, async (route) => {
    const response = await route.fetch();
    const body = await response.body();
    for (const [from, to] of swaps) {
      const pattern = Buffer.from(from);
      let found = 0;
      for (let at = body.indexOf(pattern); at >= 0; at = body.indexOf(pattern, at + 1)) {
        Buffer.from(to).copy(body, at);
        found += 1;
      }
      expect(found, "instructions changed").toBeGreaterThan(0);
    }
    await route.fulfill({ response, body });
  });
}

/** Which build and design a load ends with, and how far near-exact and fast logits of a prompt are from the exact ones. */
function load(page: Page, url: string) {
  return page.evaluate(async (url) => {
    try {
      const model = await window.npm.loadModel(url, { threads: 1, context: 64 });
      const prompt = [0, 491, 493, 259, 420, 12, 99];
      const exact = (await model.logits(prompt)).data;
      const size = exact.reduce((sum, x) => sum + x * x, 0);
      const distance = async (arithmetic: "near-exact" | "fast") => {
        const { data } = await model.logits(prompt, { arithmetic });
        return Math.sqrt(data.reduce((sum, x, i) => sum + (x - (exact[i] ?? 0)) ** 2, 0) / size);
      };
      const nearExact = await distance("near-exact");
      const fast = await distance("fast");
      const { name, rejected, fastDesigns } = model.variant;
      await model.dispose();
      const reasons = rejected.filter(({ name }) => !name.includes("threads"));
      return { name, rejected: reasons, chosen: fastDesigns.find(({ chosen }) => chosen)?.design, nearExact, fast };
    } catch (error) {
      const { code, message } = error as InstanceType<typeof window.npm.NibblamaError>;
      return { code, message };
    }
  }, url);
}

test("products that the browser computes wrongly are noticed: the next build is taken and says why, or none", async ({ engine, site }) => {
  const url = `${site.url}models/test/stories-nf4`;
  expect(await load(engine, url)).toMatchObject({ name: "relaxed", rejected: [] });
  await serve(engine, /nibblama-relaxed\.wasm$/, [DOT_I16]);
  const passedOver = await load(engine, url);
  expect(passedOver).toMatchObject({
    name: "simd128",
    rejected: [{ name: "relaxed", reason: expect.stringContaining("products with 4-bit weights") as unknown as string }],
  });
  expect(passedOver.nearExact).toBeLessThan(1e-2);
  await serve(engine, /nibblama-simd128\.wasm$/, [DOT_I16]);
  expect(await load(engine, url)).toMatchObject({ code: "parity" });
});

test("8-bit dot products that the browser adds wrongly are not used, and the build is right without them", async ({ engine, site }) => {
  await serve(engine, /nibblama-relaxed\.wasm$/, [DOT_QUADS, DOT_PAIRS]);
  const found = await load(engine, `${site.url}models/test/stories-nf4`);
  expect(found).toMatchObject({ name: "relaxed", rejected: [], chosen: "i16" });
  expect(found.nearExact).toBeLessThan(1e-2);
  expect(found.fast).toBeLessThan(1e-2);
});

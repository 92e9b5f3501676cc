/**
 * Panics and traps inside the engine. The release build holds nothing to provoke them, so the server's answer is
 * changed on its way: one export of the .wasm calls on with an absurd argument, or traps.
 */

import binaryen from "binaryen";
import { expect, test, type Page } from "@playwright/test";
import { origin } from "../sites";
import { openHarness } from "./support";

type Fault = (module: binaryen.Module) => void;

/** Replaces an exported function; `body` gets the name of the one that was there. */
function replaceExport(module: binaryen.Module, name: string, body: (inner: string) => binaryen.ExpressionRef): void {
  const inner = binaryen.getExportInfo(module.getExport(name)).value;
  const { params, results } = binaryen.getFunctionInfo(module.getFunction(inner));
  module.removeExport(name);
  module.addFunction(`faulty ${name}`, params, results, [], body(inner));
  module.addFunctionExport(`faulty ${name}`, name);
}

/** A buffer of 4 GiB: a true panic of the crate, "capacity overflow". */
const panics: Fault = (module) =>
  replaceExport(module, "loader_buffer", (inner) =>
    module.call(inner, [module.local.get(0, binaryen.i32), module.i32.const(-1)], binaryen.i32),
  );

/** Choosing a token traps. */
const traps: Fault = (module) => replaceExport(module, "model_sample", () => module.unreachable());

/** Serves faulty builds until the returned function is called. */
async function serveFaulty(page: Page, fault: Fault): Promise<() => void> {
  let faulty = true;
  await page.context().route(/nibblama_bg.*\.wasm/, async (route) => {
    const response = await route.fetch();
    if (!faulty) return route.fulfill({ response });
    const module = binaryen.readBinary(new Uint8Array(await response.body()));
    fault(module);
    const body = Buffer.from(module.emitBinary());
    module.dispose();
    return route.fulfill({ response, body });
  });
  return () => {
    faulty = false;
  };
}

test("a panic in the engine is told with its message, and a new load works", async ({ page }) => {
  const repair = await serveFaulty(page, panics);
  await openHarness(page);
  const load = () =>
    page.evaluate(async () => {
      const { loadModel, refusal } = window.nibblama;
      return refusal(loadModel("/models/stories-nf4/", { variant: "simd128" }).then((model) => model.dispose()));
    });
  const refused = await load();
  expect(refused?.code).toBe("crashed");
  expect(refused?.message).toContain("capacity overflow");
  await expect.poll(() => page.workers().length).toBe(0);
  repair();
  expect(await load()).toBeNull();
});

test("the page says that the engine stopped, tries once more, and writes on when it can", async ({ page }) => {
  const repair = await serveFaulty(page, traps);
  let loads = 0;
  page.on("request", (request) => (loads += request.url().endsWith("stories-nf4/config.json") ? 1 : 0));
  await page.goto(origin("site"));
  const alert = page.getByRole("alert");
  await expect(alert).toContainText("unreachable", { timeout: 60_000 });
  const again = page.getByRole("button", { name: "Start: load the model" });
  await expect(again).toBeVisible({ timeout: 60_000 });
  expect(loads).toBe(2);
  repair();
  await again.click();
  await expect(page.locator(".ending [role=status]")).not.toBeEmpty({ timeout: 90_000 });
});

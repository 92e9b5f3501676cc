/** The packed npm package: in every bundler's hands, by a plain script, and with the golden models. */

import { execFileSync } from "node:child_process";
import { cpSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { adapterFiles, checkpointFiles, goldenTensors, references } from "../engine/support";
import { golden, repository } from "./site";
import { expect, test } from "./support";

const www = join(repository, "www");
const projects = join(repository, "target/examples");
const tool = (name: string) => join(www, "node_modules/.bin", name);

/** A copy of an example with the packed package installed; built, where it has something to build. */
function project(name: string): string {
  const folder = join(projects, name);
  rmSync(folder, { recursive: true, force: true });
  cpSync(join(www, "examples", name), folder, { recursive: true });
  const installed = join(folder, "node_modules");
  mkdirSync(installed, { recursive: true });
  const tarball = readdirSync(join(www, "dist-npm")).find((file) => file.endsWith(".tgz")) ?? "";
  execFileSync("tar", ["-xzf", join(www, "dist-npm", tarball), "-C", installed]);
  execFileSync("mv", [join(installed, "package"), join(installed, "nibblama")]);
  const { scripts } = JSON.parse(readFileSync(join(folder, "package.json"), "utf8")) as { scripts?: { build: string } };
  const [command, ...args] = scripts?.build.split(" ") ?? [];
  if (command !== undefined) execFileSync(tool(command), args, { cwd: folder, stdio: "pipe" });
  return folder;
}

for (const name of ["vite", "webpack", "esbuild", "static"]) {
  test(`found without configuration: ${name}`, async ({ page, site }) => {
    const folder = project(name);
    const root = name === "vite" ? join(folder, "dist") : folder;
    site.folders.set(name, root);
    const story = async () => {
      await page.goto(`${site.url}${name}/index.html?model=${site.url}models/test/stories-nf4/`);
      const told = page.locator("#story[data-variant]");
      await expect(told).toBeVisible({ timeout: 30_000 });
      return { text: await told.textContent(), variant: await told.getAttribute("data-variant") };
    };
    const first = await story();
    expect(first.text?.length).toBeGreaterThan(60);
    // esbuild copies no files: the build inside the script runs, until the files are put beside the bundle.
    expect(first.variant).toBe(name === "esbuild" ? "simd128" : "relaxed-threads");
    if (name !== "esbuild") return;
    const installed = join(folder, "node_modules/nibblama");
    for (const file of readdirSync(installed)) {
      if (/^(?:worker|pool-thread)\.js$|\.wasm$/.test(file)) cpSync(join(installed, file), join(folder, "dist", file));
    }
    expect((await story()).variant).toBe("relaxed-threads");
  });
}

test("the minimal example is short and tells a story; the chat answers", async ({ page, site }) => {
  const examples = join(projects, "plain");
  rmSync(examples, { recursive: true, force: true });
  cpSync(join(www, "dist-npm"), join(examples, "dist-npm"), { recursive: true });
  cpSync(join(www, "examples"), join(examples, "examples"), { recursive: true });
  cpSync(join(repository, "models/stories-nf4"), join(examples, "examples/models/stories-nf4"), { recursive: true });
  cpSync(join(repository, "models/stories-nf4"), join(examples, "examples/chat/models/stories-nf4"), { recursive: true });
  site.folders.set("plain", examples);
  expect(readFileSync(join(www, "examples/minimal.html"), "utf8").split("\n").length).toBeLessThan(30);
  await page.goto(`${site.url}plain/examples/minimal.html`);
  await expect(page.locator("#story")).toContainText(/\w+ \w+ \w+ \w+ \w+ \w+ \w+ \w+/, { timeout: 30_000 });

  await page.goto(`${site.url}plain/examples/chat/index.html`);
  await page.getByRole("button", { name: "Load" }).click();
  await expect(page.getByRole("status")).toContainText("Ready", { timeout: 30_000 });
  await page.getByLabel("Your message").fill("Once upon a time there was a dog.");
  await page.getByRole("button", { name: "Send" }).click();
  await expect(page.locator('#messages li[data-role="assistant"]')).toContainText(/\w+ \w+ \w+/, { timeout: 30_000 });
  await page.getByRole("button", { name: "Stop" }).click({ timeout: 2000 }).catch(() => undefined);
});

test("in Node the package says what it lacks", () => {
  const script = join(projects, "node.mjs");
  mkdirSync(projects, { recursive: true });
  writeFileSync(script, `import { loadModel } from ${JSON.stringify(join(www, "dist-npm/index.js"))};
try { await loadModel("http://127.0.0.1:1/"); } catch (error) { console.log(error.code, error.message); }`);
  expect(execFileSync(process.execPath, [script], { encoding: "utf8" })).toMatch(/^unsupported-browser .*Node/);
});

test.describe("in a service worker", () => {
  test.use({ serviceWorkers: "allow" });
  test("the package says what it lacks", async ({ engine, site }) => {
    const said = await engine.evaluate(async () => {
      const registration = await navigator.serviceWorker.register("service-worker.js", { type: "module" });
      const answer = new Promise<string>((resolve) => {
        navigator.serviceWorker.addEventListener("message", ({ data }) => resolve(data as string), { once: true });
      });
      const worker = registration.installing ?? registration.waiting ?? registration.active;
      worker?.postMessage(null);
      const text = await answer;
      await registration.unregister();
      return text;
    });
    expect(said).toMatch(/^unsupported-browser .*service worker/);
    expect(site.log).toEqual([]);
  });
});

test("golden models and adapters through the package: logits within 1e-3", async ({ engine, site }) => {
  const { models, lora } = references();
  const tensors = goldenTensors();
  site.folders.set("golden", golden);
  const url = (address: string) => `${site.url}${new URL(address).pathname.slice(1)}`;
  const cases = [
    ...Object.values(models).flatMap(({ prompt_ids, refs }) => refs.map(({ key, checkpoint }) => ({ key, checkpoint, ids: prompt_ids, adapter: "" }))),
    ...lora.adapters.map(({ adapter, base, unmerged }) => ({ key: unmerged.key, checkpoint: base, ids: lora.prompt_ids, adapter })),
  ];
  expect(cases.length).toBeGreaterThan(5);
  for (const { key, checkpoint, ids, adapter } of cases) {
    const expected = new Float32Array(Uint8Array.from(tensors[`${key}.logits`]?.bytes ?? []).buffer);
    const difference = await engine.evaluate(
      async ({ files, adapterFiles, ids, expected }) => {
        const open = (files: [string, string][]) =>
          Promise.all(files.map(async ([name, url]) => new File([await (await fetch(url)).arrayBuffer()], name)));
        const model = await window.npm.loadModel(await open(files), { threads: 1 });
        if (adapterFiles.length > 0) {
          await model.loadAdapter("golden", await open(adapterFiles));
          await model.setAdapter("golden");
        }
        const { data } = await model.logits(ids, { all: true });
        await model.dispose();
        return expected.reduce((most, value, i) => Math.max(most, Math.abs(value - (data[i] ?? Number.NaN))), 0);
      },
      {
        files: checkpointFiles(checkpoint).map(([name, path]): [string, string] => [name, url(path)]),
        adapterFiles: adapter === "" ? [] : adapterFiles(adapter).map(([name, path]): [string, string] => [name, url(path)]),
        ids: [...ids],
        expected: [...expected],
      },
    );
    expect(expected.length, key).toBeGreaterThan(0);
    expect(difference, key).toBeLessThanOrEqual(checkpoint.includes("int8") ? 0.1 : 1e-3);
  }
});

import { expect, test } from "./support";
import type { Fault } from "./site";
import type { HubModel, LoadOptions } from "../../engine/index";

const NETWORK = { attempts: 4, backoff: 10, stall: 400, connections: 3 };
const OPTIONS: LoadOptions = { threads: 1, context: 64, network: NETWORK, store: false };

type Outcome = { error: { code: string; file?: string; found?: string; message: string } } | { logits: number[]; stored: string | null };

/** Loads, and says what became of it: logits that name the model, or the error. */
async function outcome(page: import("@playwright/test").Page, source: string | HubModel, options: LoadOptions = {}): Promise<Outcome> {
  return page.evaluate(
    async ([source, options]) => {
      try {
        const model = await window.npm.loadModel(source, options);
        const { data } = await model.logits([1, 2, 3]);
        const stored = model.facts.stored;
        await model.dispose();
        return { logits: [...data.slice(0, 64)], stored };
      } catch (error) {
        if (!(error instanceof window.npm.NibblamaError)) throw error;
        const { code, file, found, message } = error;
        return { error: { code, message, ...(file === undefined ? {} : { file }), ...(found === undefined ? {} : { found }) } };
      }
    },
    [source, { ...OPTIONS, ...options }] as const,
  );
}

const WEIGHTS = "test/stories-nf4/model.safetensors";
const hub = (url: string, id = "test/stories-nf4") => ({ hub: id, base: `${url}hub/` });

test("a Hub's model comes in ranges, from one commit, with a token that goes nowhere else", async ({ engine, site }) => {
  site.token = "secret";
  expect(await outcome(engine, hub(site.url))).toMatchObject({ error: { code: "network", found: "status 401" } });
  site.log = [];
  expect(await outcome(engine, { ...hub(site.url), token: "secret" })).toHaveProperty("logits");
  const weights = site.log.filter(({ path }) => path.endsWith("model.safetensors"));
  expect(weights.length).toBeGreaterThan(3);
  expect(weights.every(({ path, range }) => path.includes("/resolve/0123456789abcdef") && range !== undefined)).toBe(true);
  // Files that the description does not name are not asked for.
  expect(site.log.some(({ path }) => path.includes("chat_template"))).toBe(false);
});

test("shards, a mirror without descriptions, and a folder's address give the same models", async ({ engine, site }) => {
  const described = await outcome(engine, hub(site.url, "golden/llama_a-nf4_dq_bf16_sharded"));
  expect(described).toHaveProperty("logits");
  site.api = false;
  expect(await outcome(engine, hub(site.url, "golden/llama_a-nf4_dq_bf16_sharded"))).toEqual(described);
  expect(await outcome(engine, `${site.url}models/golden/llama_a-nf4_dq_bf16_sharded`)).toEqual(described);
  expect(await outcome(engine, { ...hub(site.url), hub: "no/model" })).toMatchObject({ error: { code: "missing-file" } });
  expect(await outcome(engine, { hub: "not a name" })).toMatchObject({ error: { code: "invalid-argument" } });
});

const passing: [string, Fault[]][] = [
  ["a connection that is cut, twice", [{ cut: 300_000 }, {}, { cut: 2_000_000 }]],
  ["a connection that falls silent", [{ stall: 100_000 }]],
  ["429 with a time to wait, then 500 and 503", [{ status: 429, retryAfter: 0 }, { status: 500 }, { status: 503 }]],
  ["a server that ignores ranges", [{ ignoreRange: true, always: true }]],
  ["a server that ignores ranges and cuts", [{ ignoreRange: true, cut: 5_000_000 }, { ignoreRange: true }]],
  ["a length that says too much, once", [{ wrongLength: 1000 }]],
];

const failing: [string, Fault[], { code: string; found?: string }][] = [
  ["a connection that is cut every time", [{ cut: 0, always: true }], { code: "network" }],
  ["a server that never answers a byte", [{ stall: 0, always: true }], { code: "network" }],
  ["404", [{ status: 404, always: true }], { code: "missing-file" }],
  ["416", [{ status: 416, always: true }], { code: "network", found: "status 416" }],
  ["429 without end", [{ status: 429, always: true }], { code: "network", found: "status 429" }],
  ["500 without end", [{ status: 500, always: true }], { code: "network", found: "status 500" }],
  ["a wait that is too long", [{ status: 429, retryAfter: 3600, always: true }], { code: "network", found: "status 429" }],
  ["a file that ends early and says so", [{ ignoreRange: true, truncate: 9_000_000, always: true }], { code: "truncated-file" }],
  ["a file that ends in its header", [{ ignoreRange: true, truncate: 100, always: true }], { code: "truncated-file" }],
  ["another range than was asked for", [{ wrongRange: 4, always: true }], { code: "network" }],
  ["a length that is always wrong", [{ ignoreRange: true, wrongLength: 10, always: true }], { code: "truncated-file" }],
  ["a file that changes between requests", [{}, { changed: true, always: true }], { code: "changed-file" }],
  ["a file that is gone between requests", [{}, { status: 404, always: true }], { code: "changed-file" }],
];

for (const [name, faults] of passing) {
  test(`${name}: the right model`, async ({ engine, site }) => {
    const right = await outcome(engine, hub(site.url));
    site.fault(WEIGHTS, ...faults);
    expect(await outcome(engine, hub(site.url))).toEqual(right);
  });
}

for (const [name, faults, error] of failing) {
  test(`${name}: a clear error`, async ({ engine, site }) => {
    site.fault(WEIGHTS, ...faults);
    expect(await outcome(engine, hub(site.url))).toMatchObject({ error });
  });
}

test("a flipped bit anywhere is found by the Hub's hashes", async ({ engine, site }) => {
  for (const [file, flip] of [["model.safetensors", 8_000_000], ["model.safetensors", 9], ["config.json", 40], ["tokenizer.json", 1000]] as const) {
    site.fault(`test/stories-nf4/${file}`, { flip, always: true });
    const found = await outcome(engine, hub(site.url));
    expect(found, `${file} at ${flip}`).toHaveProperty("error");
    // A header that is not JSON any more is refused before the hash is known.
    expect(["damaged-file", "invalid-header", "header-too-large", "truncated-file"]).toContain("error" in found ? found.error.code : "");
    if (flip !== 9) expect(found).toMatchObject({ error: { code: "damaged-file", file } });
    site.reset();
  }
});

test("without ETag, date or description the length still tells a change", async ({ engine, site }) => {
  site.api = false;
  site.fault(WEIGHTS, { noValidator: true }, { noValidator: true, changed: true });
  // The ETag appears with the third answer: that is a change too.
  expect(await outcome(engine, hub(site.url))).toMatchObject({ error: { code: "changed-file" } });
});

test("one signal ends a download, or quantization, at once, and frees what it held", async ({ engine, site }) => {
  site.fault(WEIGHTS, { slow: 50, always: true });
  for (const work of ["download", "quantization"] as const) {
    const result = await engine.evaluate(
      async ([work, source, folder, options]) => {
        const file = async (name: string) => new File([await (await fetch(`${folder}${name}`)).blob()], name);
        // Files of this device are there at once: what takes time is quantizing them.
        const files = () => Promise.all(["config.json", "model.safetensors", "tokenizer.json"].map(file));
        const stop = new AbortController();
        let began = 0;
        const loading = window.npm.loadModel(work === "download" ? source : await files(), {
          ...options,
          ...(work === "download" ? {} : { quantization: "nf4-dq" }),
          signal: stop.signal,
          onProgress: ({ phase, tensors, loaded }) => {
            if (phase !== "weights" || loaded === 0 || (work === "quantization" && tensors < 3) || began > 0) return;
            began = performance.now();
            stop.abort();
          },
        });
        const code = await loading.then(() => "loaded", (error: { code: string }) => error.code);
        return { code, took: performance.now() - began };
      },
      [work, hub(site.url), `${site.url}models/test/stories/`, OPTIONS] as const,
    );
    expect(result.code, work).toBe("aborted");
    expect(result.took, work).toBeLessThan(200);
    await expect.poll(() => engine.workers().length, work).toBe(0);
  }
});

test("files that were picked, and a folder of this device, give the same model; a folder can be stored", async ({ engine, site }) => {
  const remote = await outcome(engine, `${site.url}models/test/stories-nf4`);
  const local = await engine.evaluate(
    async ([url, options]) => {
      const names = ["config.json", "generation_config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"];
      const files = await Promise.all(names.map(async (name) => new File([await (await fetch(`${url}${name}`)).blob()], name)));
      const folder = await (await navigator.storage.getDirectory()).getDirectoryHandle("picked", { create: true });
      for (const file of files) await file.stream().pipeTo(await (await folder.getFileHandle(file.name, { create: true })).createWritable());
      const logits = async (source: Parameters<typeof window.npm.loadModel>[0], store = false) => {
        const model = await window.npm.loadModel(source, { ...options, store });
        const { data } = await model.logits([1, 2, 3]);
        await model.dispose();
        return { logits: [...data.slice(0, 64)], stored: model.facts.stored };
      };
      const found = [await logits(files), await logits(folder), await logits(folder, true)];
      await (await navigator.storage.getDirectory()).removeEntry("picked", { recursive: true });
      // The folder is gone; what was stored of it is not.
      return [...found, await logits({ stored: found[2]?.stored ?? "" })];
    },
    [`${site.url}models/test/stories-nf4/`, OPTIONS] as const,
  );
  expect(local).toHaveLength(4);
  for (const each of local) expect({ ...each, stored: null }).toEqual(remote);
});

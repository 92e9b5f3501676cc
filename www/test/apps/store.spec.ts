import type { Page } from "@playwright/test";
import { expect, test } from "./support";
import type { HubModel, LoadOptions, LoadProgress } from "../../engine/index";

const NETWORK = { attempts: 2, backoff: 10, stall: 1000, connections: 2 };
const OPTIONS: LoadOptions = { threads: 1, context: 64, network: NETWORK, quantization: "nf4-dq" };
const SOURCE = "test/stories";

interface Result {
  code?: string;
  message?: string;
  logits?: string;
  stored?: string | null;
  /** Bytes read in all, as progress told. */
  loaded?: number;
}

async function load(page: Page, source: string | HubModel | { stored: string }, options: LoadOptions = {}): Promise<Result> {
  return page.evaluate(
    async ([source, options]) => {
      let last: LoadProgress | undefined;
      try {
        const model = await window.npm.loadModel(source, { ...options, onProgress: (progress) => (last = progress) });
        const { data } = await model.logits([1, 2, 3]);
        const { stored } = model.facts;
        await model.dispose();
        return { logits: [...data.slice(0, 64)].join(), stored, loaded: last?.loaded ?? 0 };
      } catch (error) {
        const { code, message } = error as { code: string; message: string };
        return { code, message };
      }
    },
    [source, { ...OPTIONS, ...options }] as const,
  );
}

const stored = (page: Page) => page.evaluate(() => window.npm.listStored());

/** Changes a byte of what is stored, as a bad disk would. */
async function damage(page: Page, file: "data" | "journal", at: number): Promise<void> {
  await page.evaluate(
    async ([file, at]) => {
      const root = await (await navigator.storage.getDirectory()).getDirectoryHandle("nibblama");
      for await (const [, folder] of root.entries()) {
        const handle = await (folder as FileSystemDirectoryHandle).getFileHandle(file);
        const bytes = new Uint8Array(await (await handle.getFile()).arrayBuffer());
        const place = at < 0 ? bytes.length + at : at;
        bytes[place] = (bytes[place] ?? 0) ^ 1;
        const stream = await handle.createWritable();
        await stream.write(bytes);
        await stream.close();
      }
    },
    [file, at] as const,
  );
}

for (const place of ["opfs", "cache"] as const) {
  test(`the second load comes from this device alone (${place})`, async ({ engine, site }) => {
    // A browser without the private file system.
    if (place === "cache") await engine.evaluate(() => void Object.assign(StorageManager.prototype, { getDirectory: undefined }));
    const source = { hub: SOURCE, base: `${site.url}hub/` };
    const plain = await load(engine, source, { store: false });
    const first = await load(engine, source);
    expect(first.logits).toBe(plain.logits);
    const [model, ...more] = await stored(engine);
    expect(more).toEqual([]);
    expect(model).toMatchObject({ id: first.stored, complete: true, source: `${site.url}hub/${SOURCE}@main` });
    // Quantized: a fraction of the 28 MB in bf16.
    expect(model?.bytes).toBeLessThan(12_000_000);
    const cached = await engine.evaluate(async () => (await (await caches.open("nibblama")).keys()).length);
    expect(cached > 0).toBe(place === "cache");
    site.log = [];
    const second = await load(engine, source);
    expect(second.logits).toBe(plain.logits);
    expect(site.log).toEqual([]);
    expect((await load(engine, { stored: model?.id ?? "" }, { quantization: null })).logits).toBe(plain.logits);
    // Another quantization is another model.
    await load(engine, source, { quantization: "int8" });
    expect(await stored(engine)).toHaveLength(2);
    for (const { id } of await stored(engine)) await engine.evaluate((id) => window.npm.deleteStored(id), id);
    expect(await stored(engine)).toEqual([]);
    expect(await load(engine, { stored: model?.id ?? "" })).toMatchObject({ code: "missing-file" });
  });
}

test("a broken download goes on where it was, and the whole is still checked", async ({ engine, site }) => {
  const source = { hub: SOURCE, base: `${site.url}hub/` };
  const plain = await load(engine, source, { store: false });
  const weights = `${SOURCE}/model.safetensors`;
  // One connection, cut at 9 MiB of 28; then nothing more.
  const broken = { network: { ...NETWORK, connections: 1, attempts: 1 } };
  site.fault(weights, {}, {}, {}, { cut: 100 }, { status: 500, always: true });
  expect(await load(engine, source, broken)).toMatchObject({ code: "network" });
  expect(await stored(engine)).toMatchObject([{ complete: false }]);
  site.reset();
  const resumed = await load(engine, source);
  expect(resumed.logits).toBe(plain.logits);
  const fetched = site.log.filter(({ path }) => path.endsWith("model.safetensors")).map(({ range }) => Number(/=(\d+)-/.exec(range ?? "")?.[1]));
  // The header again, then from where it broke off.
  expect(fetched[0]).toBe(0);
  expect(Math.min(...fetched.slice(1))).toBeGreaterThan(4_000_000);

  // The same with a bit flipped behind the break: the hash over both parts finds it, and nothing stays.
  await engine.evaluate(async () => {
    for (const { id } of await window.npm.listStored()) await window.npm.deleteStored(id);
  });
  site.fault(weights, {}, {}, {}, { cut: 100 }, { status: 500, always: true });
  expect(await load(engine, source, broken)).toMatchObject({ code: "network" });
  site.reset();
  site.fault(weights, { flip: 25_000_000, always: true });
  expect(await load(engine, source)).toMatchObject({ code: "damaged-file" });
  expect(await stored(engine)).toEqual([]);
});

test("a file that changed since a broken download is read afresh", async ({ engine, site }) => {
  const source = `${site.url}models/${SOURCE}/`;
  const weights = `${SOURCE}/model.safetensors`;
  const plain = await load(engine, source, { store: false });
  site.fault(weights, {}, {}, { changed: true, status: 500, always: true });
  const broken = { store: true, network: { ...NETWORK, connections: 1, attempts: 1 } };
  expect(await load(engine, source, broken)).toMatchObject({ code: "network" });
  site.reset();
  site.fault(weights, { changed: true, always: true });
  const changed = await load(engine, source, { store: true });
  expect(changed.logits).toBeDefined();
  // The last byte of the file is another one, in the final norm or so: the result is of the new file alone.
  expect(changed.logits).toBe((await load(engine, source, { store: false })).logits);
  expect(changed.logits === plain.logits).toBe(false);
});

test("a damaged part is fetched again and never used", async ({ engine, site }) => {
  const source = { hub: SOURCE, base: `${site.url}hub/` };
  const first = await load(engine, source);
  const [model] = await stored(engine);
  for (const at of [5_000_000, -100]) {
    await damage(engine, "data", at);
    site.log = [];
    const again = await load(engine, source);
    expect(again.logits).toBe(first.logits);
    const weights = site.log.filter(({ path }) => path.endsWith("model.safetensors"));
    expect(weights.length).toBeGreaterThan(0);
    // Repaired: the next load asks for nothing.
    site.log = [];
    expect((await load(engine, source)).logits).toBe(first.logits);
    expect(site.log).toEqual([]);
  }
  // Without the source a damaged model is an error, not a wrong model.
  await damage(engine, "data", 6_000_000);
  expect(await load(engine, { stored: model?.id ?? "" }, { quantization: null })).toMatchObject({ code: "damaged-file" });
  // A journal that cannot be read is no journal.
  await damage(engine, "journal", 2);
  expect((await load(engine, source)).logits).toBe(first.logits);
});

test("two tabs that load the same model wait for each other", async ({ engine, site, context }) => {
  const source = { hub: SOURCE, base: `${site.url}hub/` };
  const other = await context.newPage();
  await other.goto(engine.url());
  await other.waitForFunction(() => window.ready);
  const [a, b] = await Promise.all([load(engine, source), load(other, source)]);
  expect(a.logits).toBeDefined();
  expect(b.logits).toBe(a.logits);
  expect(site.log.filter(({ path, range }) => path.endsWith("model.safetensors") && range?.startsWith("bytes=0-"))).toHaveLength(1);
  expect(await stored(engine)).toHaveLength(1);
  await other.close();
});

test("a quota that ends while a model is stored leaves the model, and nothing in the store", async ({ engine, site, context }) => {
  const source = { hub: SOURCE, base: `${site.url}hub/` };
  const plain = await load(engine, source, { store: false });
  const session = await context.newCDPSession(engine);
  const { origin } = new URL(site.url);
  let lowered = 0;
  // When the plan was made there was room for all of it; then something else fills the disk.
  await engine.exposeFunction("lowerQuota", async () => {
    lowered += 1;
    await session.send("Storage.overrideQuotaForOrigin", { origin, quotaSize: 4_000_000 });
  });
  // Slow enough for the quota to change between two tensors.
  site.fault(`${SOURCE}/model.safetensors`, { slow: 1, always: true });
  const result = await engine.evaluate(
    async ([source, options]) => {
      let lowering: Promise<void> | undefined;
      const { lowerQuota } = window as unknown as { lowerQuota(): Promise<void> };
      const model = await window.npm.loadModel(source, {
        ...options,
        onProgress: ({ phase, tensors }) => void (phase === "weights" && tensors > 0 && (lowering ??= lowerQuota())),
      });
      await lowering;
      const { data } = await model.logits([1, 2, 3]);
      const { stored } = model.facts;
      await model.dispose();
      return { logits: [...data.slice(0, 64)].join(), stored };
    },
    [source, OPTIONS] as const,
  );
  expect(lowered).toBe(1);
  expect(result).toEqual({ logits: plain.logits, stored: null });
  expect(await stored(engine)).toEqual([]);
  await session.send("Storage.overrideQuotaForOrigin", { origin });
  site.reset();
  const again = await load(engine, source);
  expect(again.stored).not.toBeNull();
  expect(again.logits).toBe(plain.logits);
});

test("what cannot fit is refused before any weight is read", async ({ engine, site }) => {
  const source = { hub: SOURCE, base: `${site.url}hub/` };
  const inspection = await engine.evaluate(
    ([source, options]) => window.npm.inspectModel(source, options),
    [source, { quantization: "nf4-dq", context: 64, network: NETWORK }] as const,
  );
  expect(inspection).toMatchObject({ fits: true, reasons: [] });
  const read = site.log.filter(({ path }) => path.endsWith("model.safetensors"));
  expect(read).toHaveLength(1);
  const ledger = await engine.evaluate(
    async ([source, options]) => {
      const model = await window.npm.loadModel(source, { ...options, store: false });
      for await (const _ of model.generate("Once upon a time there was a small dog", { max_new_tokens: 40 }));
      const memory = await model.memory();
      await model.dispose();
      return memory;
    },
    [source, OPTIONS] as const,
  );
  const { bytes } = inspection;
  expect(bytes.weights).toBe(ledger.packed_codes + ledger.floats_16bit + ledger.floats_32bit);
  expect(bytes.scales).toBe(ledger.absmax + ledger.nested_absmax + ledger.quant_maps);
  expect(bytes.kv_cache).toBe(ledger.kv_cache);
  expect(bytes.scratch).toBeGreaterThanOrEqual(ledger.scratch * 0.9);
  expect(bytes.peak).toBeGreaterThanOrEqual(ledger.wasm_memory * 0.9);
  expect(bytes.peak).toBeLessThanOrEqual(ledger.wasm_memory * 1.5);
  site.log = [];
  for (const [kind, limits] of [["memory", { memory: 8_000_000 }], ["device", { device: 8_000_000 }], ["storage", { storage: 1_000_000 }]] as const) {
    const refused = await load(engine, source, { limits });
    expect(refused, kind).toMatchObject({ code: "does-not-fit" });
  }
  // Only the first mebibyte, which holds the header.
  expect(site.log.filter(({ range }) => range !== undefined && !range.startsWith("bytes=0-"))).toEqual([]);
});

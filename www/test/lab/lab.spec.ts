import { execFileSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { expect, test, type Page } from "@playwright/test";
import { origin } from "../sites";
import type { LabHarness } from "./harness";

declare const lab: LabHarness;

const HARNESS = `${origin("engine")}test/lab/harness.html`;
const repository = fileURLToPath(new URL("../../..", import.meta.url));
const FULL = { url: "/models/stories/", files: ["config.json", "model.safetensors"] };
const NF4 = { url: "/models/stories-nf4/", files: ["config.json", "model.safetensors"] };
const TENSOR = "model.layers.3.mlp.down_proj.weight";

/** The native command line, which `cargo test` builds too. */
function cli(...args: string[]): unknown {
  const program = ["debug", "release"].map((kind) => `${repository}target/${kind}/nibblama`).find(existsSync);
  if (program === undefined) throw new Error("run `cargo build --features cli` first: the tests compare with it");
  return JSON.parse(execFileSync(program, [...args, "--json"], { encoding: "utf8", maxBuffer: 2 ** 28 }));
}

/** A tensor's bytes, from the file itself. */
function stored(model: string, name: string): Buffer {
  const file = readFileSync(`${repository}models/${model}/model.safetensors`);
  const length = Number(file.readBigUInt64LE(0));
  const header = JSON.parse(file.subarray(8, 8 + length).toString()) as Record<string, { data_offsets: [number, number] }>;
  const [start, end] = header[name]?.data_offsets ?? [0, 0];
  return file.subarray(8 + length + start, 8 + length + end);
}

async function open(page: Page): Promise<void> {
  await page.goto(HARNESS);
  await page.locator("body[data-ready]").waitFor({ state: "attached" });
}

test.beforeEach(async ({ page }) => open(page));

test("weights are listed with what the file says of them", async ({ page }) => {
  const listed = await page.evaluate(
    async ([full, nf4]) => {
      const labs = await Promise.all([full, nf4].map((source) => lab.nibblama.openLab(source)));
      const result = labs.map(({ tensors, quantization, config }) => ({ tensors, quantization, layers: config.num_hidden_layers }));
      for (const each of labs) each.dispose();
      return result;
    },
    [FULL, NF4] as const,
  );
  const told = cli("inspect", `${repository}models/stories`) as { tensors: { name: string; shape: number[]; dtype: string; bytes: number }[] };
  const [full, nf4] = listed;
  expect(full?.quantization).toBeNull();
  const byName = (a: { name: string }, b: { name: string }) => (a.name < b.name ? -1 : 1);
  expect(full?.tensors.map(({ name, shape, format, bytes }) => ({ name, shape, dtype: format, bytes })).sort(byName)).toEqual(
    told.tensors.map(({ name, shape, dtype, bytes }) => ({ name, shape, dtype, bytes })).sort(byName),
  );
  expect(full?.tensors.every(({ original, stored }) => original && stored === null)).toBe(true);
  const tensor = nf4?.tensors.find(({ name }) => name === TENSOR);
  expect(tensor).toMatchObject({
    shape: [384, 1024],
    format: "nf4",
    original: false,
    linear: true,
    stored: { quant_type: "nf4", blocksize: 64 },
  });
  expect(nf4?.tensors.find(({ name }) => name === "model.norm.weight")).toMatchObject({ original: true, linear: false });
});

test("every block equals the checkpoint that was quantized elsewhere", async ({ page }) => {
  const settings = { quant_type: "nf4", blocksize: 64, double_quant: true } as const;
  const packed = await page.evaluate(
    async ([source, tensor, settings]) => {
      const opened = await lab.nibblama.openLab(source);
      const blocks = (await opened.block(tensor, 0, settings)).blocks;
      const bytes: number[] = [];
      const scales: number[] = [];
      for (let i = 0; i < blocks; i++) {
        const block = await opened.block(tensor, i, settings);
        bytes.push(...block.packed);
        scales.push(block.scale);
      }
      opened.dispose();
      return { bytes, scales };
    },
    [FULL, TENSOR, settings] as const,
  );
  expect(Buffer.from(packed.bytes).equals(stored("stories-nf4", TENSOR))).toBe(true);
  const theirs = await page.evaluate(
    async ([source, tensor, settings]) => {
      const opened = await lab.nibblama.openLab(source);
      const answer = await opened.doubleQuant(tensor, settings);
      const block = await opened.block(tensor, 5, settings);
      const refused = await opened.blocksizeSweep(tensor, settings).then(
        () => "",
        (error: unknown) => (error instanceof lab.nibblama.NibblamaError ? error.code : String(error)),
      );
      opened.dispose();
      const { values, errors, normalised } = block;
      return { restored: [...answer.restored], absmax: answer.absmax, block: { values, errors, normalised }, refused };
    },
    [NF4, TENSOR, settings] as const,
  );
  expect(theirs.block).toEqual({ values: null, errors: null, normalised: null });
  expect(theirs.refused).toBe("invalid-argument");
  const far = theirs.restored.filter((scale, i) => Math.abs(scale - (packed.scales[i] ?? 0)) > 1e-6 * scale);
  // torch's mean is an ulp away, which moves a few 8-bit codes to their neighbour.
  expect(far.length).toBeLessThan(theirs.restored.length / 50);
});

test("answers agree with each other and with plain arithmetic", async ({ page }) => {
  const answer = await page.evaluate(
    async ([source, tensor]) => {
      const { openLab, quantizeWeight } = lab.nibblama;
      const opened = await openLab(source);
      const settings = { quant_type: "nf4", blocksize: 64, double_quant: false } as const;
      const wrong: string[] = [];
      for (const quant_type of ["nf4", "fp4"] as const) {
        const book = await opened.codebook(quant_type);
        const block = await opened.block(tensor, 17, { ...settings, quant_type });
        block.values?.forEach((value, i) => {
          const weight = quantizeWeight(book, value, block.absmax ?? 0);
          const same = weight.code === block.codes[i] && weight.restored === block.restored[i] &&
            weight.normalised === block.normalised?.[i] && weight.error === block.errors?.[i];
          if (!same) wrong.push(`${quant_type} ${i}`);
        });
      }
      const sweep = await opened.blocksizeSweep(tensor, { quant_type: "nf4", double_quant: false });
      const contest = await opened.contest(tensor, { blocksize: 64 });
      const double = await opened.doubleQuant(tensor, settings);
      const [printed, printedDouble, stored] = await Promise.all([
        opened.footprint({ quantization: "nf4" }), opened.footprint({ quantization: "nf4-dq" }), opened.footprint(),
      ]);
      const map = await opened.heatmap(tensor, { what: "error", width: 64, height: 64 }, settings);
      const rows = await opened.rows(tensor, settings);
      const histogram = await opened.histogram(tensor);
      const outlier = await opened.block(tensor, 17, settings, { outlier: { position: 3, factor: 12 } });
      const before = await opened.block(tensor, 17, settings);
      const again = opened.block(tensor, 17, settings);
      const kept = (await again) === before;
      opened.dispose();
      return {
        wrong, kept,
        sweep, contest: contest.map(({ levels: _, histogram: { counts }, counts: used, ...rest }) => ({
          ...rest, used: used.reduce((a, b) => a + b, 0), binned: counts.reduce((a, b) => a + b, 0),
        })),
        double: { bytes: double.bytes, model: double.model, single: double.weightErrors?.single },
        footprints: [printed, printedDouble, stored].map((sizes) => [sizes.true_bytes, sizes.get_memory_footprint]),
        highest: map.high, shape: [map.width, map.height, map.data.length],
        rowRmse: [...(rows.rmse ?? [])],
        values: histogram.counts.reduce((a, b) => a + b, 0), std: histogram.std,
        outlier: [outlier.stats?.rmse ?? 0, before.stats?.rmse ?? 0],
      };
    },
    [FULL, TENSOR] as const,
  );
  expect(answer.wrong).toEqual([]);
  expect(answer.kept).toBe(true);
  expect(answer.sweep.map(({ blocksize }) => blocksize)).toEqual([32, 64, 128, 256, 512, 1024, 2048, 4096]);
  expect(answer.sweep.map(({ bits_per_weight }) => bits_per_weight)).toEqual([5, 4.5, 4.25, 4.125, 4.0625, 4.03125, 4.015625, 4.0078125]);
  const at64 = answer.sweep[1];
  for (const format of answer.contest) expect([format.used, format.binned]).toEqual([384 * 1024, 384 * 1024]);
  expect(answer.contest[0]?.rmse).toBe(at64?.rmse);
  expect(answer.contest[0]?.relative_rmse).toBeCloseTo((at64?.rmse ?? 0) / answer.std, 12);
  expect(answer.double.single?.rmse).toBe(at64?.rmse);
  expect(answer.double.bytes.single).toBe(384 * 1024 / 2 + 6144 * 4);
  expect(answer.double.bytes.double).toBe(384 * 1024 / 2 + 6144 + 24 * 4 + 4);
  const [single, double, full] = answer.footprints;
  expect([answer.double.model.single, answer.double.model.printedSingle]).toEqual(single);
  expect([answer.double.model.double, answer.double.model.printedDouble]).toEqual(double);
  const told = cli("inspect", `${repository}models/stories`) as { true_bytes: number; get_memory_footprint: number };
  expect(full).toEqual([told.true_bytes, told.get_memory_footprint]);
  const quantized = cli("inspect", `${repository}models/stories`, "--quant-type", "nf4", "--double-quant") as typeof told;
  expect(double).toEqual([quantized.true_bytes, quantized.get_memory_footprint]);
  expect(answer.highest).toBeCloseTo(at64?.max_error ?? 0, 9);
  expect(answer.shape).toEqual([64, 64, 4096]);
  const squares = answer.rowRmse.reduce((sum, rmse) => sum + rmse * rmse, 0) / 384;
  expect(Math.sqrt(squares)).toBeCloseTo(at64?.rmse ?? 0, 8);
  expect(answer.values).toBe(384 * 1024);
  expect(answer.outlier[0]).toBeGreaterThan(3 * (answer.outlier[1] ?? 0));
});

test("dropped files, servers without ranges, aborts and errors", async ({ page }) => {
  await page.route("**/models/stories-nf4/model.safetensors", async (route) => {
    // A server that does not know ranges answers with everything.
    const headers = { ...route.request().headers() };
    delete headers["range"];
    await route.continue({ headers });
  });
  const result = await page.evaluate(
    async ([full, nf4, tensor]) => {
      const { openLab, NibblamaError } = lab.nibblama;
      const code = (promise: Promise<unknown>) =>
        promise.then(() => "fine", (error: unknown) => (error instanceof NibblamaError ? error.code : String(error)));
      const settings = { quant_type: "nf4", blocksize: 64, double_quant: true } as const;
      const files = await lab.dropped(nf4.url, nf4.files);
      const [a, b] = await Promise.all([openLab(nf4), openLab(files)]);
      const [fromUrl, fromFiles] = await Promise.all([a.block(tensor, 9, settings), b.block(tensor, 9, settings)]);
      const progress: number[] = [];
      await b.prepare("model.embed_tokens.weight", { onProgress: (loaded, total) => progress.push(loaded / total) });
      const abort = new AbortController();
      const aborted = code(a.contest("model.embed_tokens.weight", { blocksize: 64 }, { signal: abort.signal }));
      abort.abort();
      const codes = [
        await aborted,
        await code(a.block("no.such.weight", 0, settings)),
        await code(a.block(tensor, 1e6, settings)),
        await code(b.heatmap("model.norm.weight", { what: "weight", width: 8, height: 1, rect: { x: 380, y: 0, width: 8, height: 1 } }, settings)),
        await code(openLab({ url: full.url, files: ["config.json"] })),
        await code(openLab(files.slice(0, 1))),
        await code(openLab([new File(["{}"], "config.json")])),
      ];
      a.dispose();
      codes.push(await code(a.block(tensor, 10, settings)));
      b.dispose();
      return { same: String(fromUrl.packed) === String(fromFiles.packed), last: progress.at(-1), codes, closed: await a.closed };
    },
    [FULL, NF4, TENSOR] as const,
  );
  expect(result).toEqual({
    same: true,
    last: 1,
    codes: [
      "aborted", "invalid-argument", "invalid-argument", "invalid-argument", "missing-file", "missing-file", "invalid-config", "disposed",
    ],
    closed: undefined,
  });
});

test("perplexity and logits equal the command line's", async ({ page }) => {
  test.setTimeout(300_000);
  const text = readFileSync(`${repository}models/eval/stories.txt`, "utf8");
  const short = text.split("<|endoftext|>").slice(0, 2).join("<|endoftext|>");
  const ours = await page.evaluate(
    async ([full, nf4, text]) => {
      const { loadModel, openLab } = lab.nibblama;
      const files = ["config.json", "generation_config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"];
      const a = await loadModel({ ...full, files }, { threads: 1 });
      const b = await loadModel({ ...nf4, files }, { threads: 1 });
      const progress: [number, number][] = [];
      const reference = await a.perplexity(text);
      const quantized = await b.perplexity(text, { onProgress: (done, total) => progress.push([done, total]) });
      const { ids } = await a.tokenize("Once upon a time there was a small boat.");
      const opened = await openLab(full);
      const [p, q] = await Promise.all([a.logits(ids, { all: true }), b.logits(ids, { all: true })]);
      const comparison = await opened.compareLogits(p, q);
      const itself = await opened.compareLogits(p, p);
      const abort = new AbortController();
      const stopped = b.perplexity(text, { signal: abort.signal, onProgress: () => abort.abort() });
      const code = await stopped.then(() => "fine", (error: unknown) => (error instanceof Error && "code" in error ? error.code : ""));
      opened.dispose();
      await Promise.all([a.dispose(), b.dispose()]);
      return {
        reference, quantized, last: progress.at(-1), code,
        kl: [...comparison.kl], meanKl: comparison.meanKl, agreement: comparison.top1Agreement, first: comparison.firstDifference,
        tops: [[...comparison.topA], [...comparison.topB]],
        itself: [itself.meanKl, itself.top1Agreement, itself.firstDifference],
      };
    },
    [FULL, NF4, short] as const,
  );
  const file = test.info().outputPath("stories.txt");
  (await import("node:fs")).writeFileSync(file, short);
  const told = cli("eval", `${repository}models/stories-nf4`, "--text", file, "--against", `${repository}models/stories`) as {
    perplexity: number; nll: number; tokens: number; stories: number; context: number; against: { perplexity: number; nll: number };
  };
  const { against } = told;
  expect(ours.quantized.nll).toBeCloseTo(told.nll, 12);
  expect(ours.quantized.perplexity).toBeCloseTo(told.perplexity, 9);
  expect(ours.quantized).toMatchObject({ tokens: told.tokens, stories: told.stories, context: told.context });
  expect(ours.reference.nll).toBeCloseTo(against.nll, 12);
  expect(ours.last).toEqual([told.tokens, told.tokens]);
  expect(ours.code).toBe("aborted");
  expect(ours.itself).toEqual([0, 1, null]);
  expect(ours.kl.every((kl) => kl > 0 && kl < 5)).toBe(true);
  expect(ours.meanKl).toBeCloseTo(ours.kl.reduce((a, b) => a + b, 0) / ours.kl.length, 12);
  const [a = [], b = []] = ours.tops;
  const first = a.findIndex((token, i) => token !== b[i]);
  expect(ours.first).toBe(first < 0 ? null : first);
});

test("times of answers about 1.6 million weights", async ({ page }) => {
  test.skip(process.env["NIBBLAMA_BENCH"] !== "1", "prints times and asserts nothing; NIBBLAMA_BENCH=1 runs it");
  const times = await page.evaluate(
    async ([source]) => {
      const opened = await lab.nibblama.openLab(source);
      // 1.57 million weights.
      const tensor = "model.embed_tokens.weight";
      await opened.prepare(tensor);
      const settings = { quant_type: "nf4", blocksize: 64, double_quant: true } as const;
      const times: Record<string, number[]> = {};
      const timed = async (name: string, call: () => Promise<unknown>) => {
        const began = performance.now();
        await call();
        (times[name] ??= []).push(performance.now() - began);
      };
      for (let i = 0; i < 12; i++) {
        const [bins, blocksize] = [40 + i, [32, 64, 128, 256][i % 4] ?? 64];
        const changed = { ...settings, blocksize };
        await timed("block", () => opened.block(tensor, i, settings));
        await timed("outlier", () => opened.block(tensor, 3, settings, { outlier: { position: i, factor: 4 + i } }));
        await timed("block, other blocksize", () => opened.block(tensor, i + 50, changed));
        await timed("heatmap weight", () => opened.heatmap(tensor, { what: "weight", width: 384 - i, height: 300 }, settings));
        await timed("heatmap error", () => opened.heatmap(tensor, { what: "error", width: 384 - i, height: 300 }, changed));
        await timed("heatmap code", () => opened.heatmap(tensor, { what: "code", width: 384 - i, height: 300 }, changed));
        await timed("doubleQuant", () => opened.doubleQuant(tensor, changed, { bins }));
        await timed("histogram", () => opened.histogram(tensor, { bins }));
        await timed("contest", () => opened.contest(tensor, { blocksize }, { bins }));
        await timed("rows", () => opened.rows(tensor, changed));
      }
      for (const quant_type of ["nf4", "fp4"] as const) {
        for (const double_quant of [false, true]) {
          await timed("blocksizeSweep", () => opened.blocksizeSweep(tensor, { quant_type, double_quant }));
        }
      }
      opened.dispose();
      return times;
    },
    [FULL] as const,
  );
  const rows = Object.entries(times).map(([name, all]) => {
    const sorted = [...all].sort((x, y) => x - y);
    return `${name.padEnd(24)} median ${sorted[sorted.length >> 1]?.toFixed(1)} ms, slowest ${sorted.at(-1)?.toFixed(1)} ms`;
  });
  console.log(`1,572,864 weights\n${rows.join("\n")}`);
});

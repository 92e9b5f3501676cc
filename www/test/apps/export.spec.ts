import { existsSync, mkdtempSync, readFileSync, readdirSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Page } from "@playwright/test";
import { nibblama, safetensors } from "../engine/support";
import { golden, type Site } from "./site";
import { expect, test } from "./support";
import type { ExportOptions, LoadOptions } from "../../engine/index";

/** Loads a model, exports it, and writes the files to a folder. */
async function exported(page: Page, site: Site, model: string, load: LoadOptions, options: ExportOptions, adapter?: string): Promise<string> {
  const files = await page.evaluate(
    async ([url, load, options, adapter]) => {
      const model = await window.npm.loadModel(url, { threads: 1, ...load });
      if (adapter !== null) await model.loadAdapter("a", adapter);
      const files: Record<string, string[]> = {};
      const base64 = (bytes: Uint8Array) => {
        let text = "";
        for (let at = 0; at < bytes.length; at += 32768) text += String.fromCharCode(...bytes.subarray(at, at + 32768));
        return btoa(text);
      };
      const written: number[] = [];
      const open = (file: string) =>
        new WritableStream<Uint8Array<ArrayBuffer>>({ write: (piece) => void (files[file] ??= []).push(base64(piece)) });
      await model.export(open, { ...options, onProgress: (done, total) => written.push(done / total) });
      await model.dispose();
      if (written.at(-1) !== 1) throw new Error("the last progress is not the whole");
      return files;
    },
    [`${site.url}models/${model}/`, load, options, adapter === undefined ? null : `${site.url}models/${adapter}/`] as const,
  );
  const folder = mkdtempSync(join(tmpdir(), "nibblama-export-"));
  for (const [name, pieces] of Object.entries(files)) writeFileSync(join(folder, name), Buffer.concat(pieces.map((piece) => Buffer.from(piece, "base64"))));
  return folder;
}

test("an exported model is the checkpoint that the command line writes, byte for byte", async ({ engine, site }) => {
  for (const [quantization, flags] of [["nf4-dq", ["--double-quant"]], ["int8", ["--quant-type", "int8"]]] as const) {
    const folder = await exported(engine, site, "golden/llama_a-bf16", { quantization }, {});
    const source = join(golden, "models/llama_a/bf16");
    const out = join(mkdtempSync(join(tmpdir(), "nibblama-cli-")), "out");
    nibblama("quantize", source, out, ...flags);
    const [ours, theirs] = [folder, out].map((each) => safetensors(readFileSync(join(each, "model.safetensors"))));
    expect(Object.keys(ours ?? {})).toEqual(Object.keys(theirs ?? {}));
    for (const [name, tensor] of Object.entries(theirs ?? {})) {
      expect(ours?.[name]?.dtype, name).toBe(tensor.dtype);
      expect(ours?.[name]?.shape, name).toEqual(tensor.shape);
      expect(ours?.[name]?.bytes.equals(tensor.bytes), name).toBe(true);
    }
    const config = (place: string) => JSON.parse(readFileSync(join(place, "config.json"), "utf8")) as { quantization_config: Record<string, unknown> };
    const { quantization_config: found } = config(folder);
    for (const [key, value] of Object.entries(config(out).quantization_config)) {
      if (key.startsWith("_")) continue;
      expect(found[key], key).toEqual(value);
    }
    expect(readFileSync(join(folder, "config.json"), "utf8")).toMatch(/"llm_int8_threshold": \d+\.\d/);
    expect(readdirSync(folder)).toContain("tokenizer.json");
    // The command line reads it as any other checkpoint.
    expect(nibblama("inspect", folder)).toContain("Llama");
  }
});

test("base and adapter merged: the model itself stays, the export has both", async ({ engine, site }) => {
  site.models.set("golden/lora_all", join(golden, "lora/lora_all"));
  site.models.set("golden/llama_a-f32", join(golden, "models/llama_a/f32"));
  const merged = await exported(engine, site, "golden/llama_a-nf4", {}, { format: "bfloat16", adapter: "a" }, "golden/lora_all");
  const quantized = await exported(engine, site, "golden/llama_a-nf4", {}, { adapter: "a" }, "golden/lora_all");
  expect(existsSync(join(merged, "model.safetensors"))).toBe(true);
  const config = JSON.parse(readFileSync(join(merged, "config.json"), "utf8")) as Record<string, unknown>;
  expect(config).not.toHaveProperty("quantization_config");
  expect(config["dtype"]).toBe("bfloat16");
  site.models.set("test/merged", merged);
  site.models.set("test/merged-nf4", quantized);
  const result = await engine.evaluate(async (url) => {
    const logits = async (folder: string, adapter?: string) => {
      const model = await window.npm.loadModel(`${url}models/${folder}/`, { threads: 1 });
      if (adapter !== undefined) {
        await model.loadAdapter("a", `${url}models/${adapter}/`);
        await model.setAdapter("a");
      }
      const { data } = await model.logits([1, 17, 250, 3]);
      await model.dispose();
      return data;
    };
    const distance = (a: Float32Array, b: Float32Array) => Math.sqrt(a.reduce((sum, x, i) => sum + (x - (b[i] ?? 0)) ** 2, 0) / a.reduce((sum, x) => sum + x * x, 0));
    const base = await logits("golden/llama_a-nf4");
    const adapted = await logits("golden/llama_a-nf4", "golden/lora_all");
    return {
      moved: distance(adapted, base),
      bf16: distance(adapted, await logits("test/merged")),
      nf4: distance(adapted, await logits("test/merged-nf4")),
    };
  }, site.url);
  // Rounding to bf16 is little, quantizing again more, and both are less than what the adapter does.
  expect(result.bf16).toBeLessThan(0.02);
  expect(result.nf4).toBeLessThan(result.moved);
  expect(result.bf16).toBeLessThan(result.nf4);
});

test("an export that cannot be is refused before a file is opened", async ({ engine, site }) => {
  const codes = await engine.evaluate(async (url) => {
    const model = await window.npm.loadModel(`${url}models/golden/llama_a-bf16/`, { threads: 1 });
    const opened: string[] = [];
    const open = (file: string) => {
      opened.push(file);
      return new WritableStream<Uint8Array<ArrayBuffer>>();
    };
    const code = (work: Promise<void>) => work.then(() => "none", (error: { code: string }) => error.code);
    const plain = await code(model.export(open));
    const unknown = await code(model.export(open, { format: "bfloat16", adapter: "none" }));
    const full = () => new WritableStream<Uint8Array<ArrayBuffer>>({ write: () => Promise.reject(new Error("full")) });
    const failed = await code(model.export(full, { format: "bfloat16" }));
    await model.dispose();
    return { plain, unknown, failed, opened };
  }, site.url);
  expect(codes).toEqual({ plain: "unsupported-quantization", unknown: "unknown-adapter", failed: "io", opened: [] });
});

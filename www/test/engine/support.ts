/** Where the tests of the engine find the page, the reference data and the command line. */

import { execFileSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { resolve } from "node:path";
import { fileURLToPath } from "node:url";
import type { Page } from "@playwright/test";
import { MOUNTS, origin } from "../sites";

export const root = fileURLToPath(new URL("../../../", import.meta.url));

/** Opens the page that holds the engine and nothing else. */
export async function openHarness(page: Page, site: "engine" | "engineNotIsolated" = "engine"): Promise<void> {
  await page.goto(`${origin(site)}test/engine/harness.html`);
  await page.waitForFunction(() => "nibblama" in window);
}

export interface Reference {
  key: string;
  checkpoint: string;
  greedy: number[];
  /** The continuation with a kv cache, where it differs from computing everything anew. */
  greedy_cached?: number[];
  safe_steps: number;
}

export interface AdapterReference {
  adapter: string;
  base: string;
  unmerged: Omit<Reference, "checkpoint">;
}

export interface References {
  [model: string]: { prompt_ids: number[]; refs: Reference[] };
}

const golden = (name: string): Buffer => readFileSync(resolve(MOUNTS.golden, name));

/** `model_refs.json`: the models, and the adapters that share one prompt. */
export function references(): { models: References; lora: { prompt_ids: number[]; adapters: AdapterReference[] } } {
  const { lora, ...models } = JSON.parse(golden("model_refs.json").toString("utf8")) as References & {
    lora: { prompt_ids: number[]; adapters: AdapterReference[] };
  };
  return { models, lora };
}

export interface StoredFile {
  [name: string]: { dtype: string; shape: number[]; bytes: Buffer };
}

export function safetensors(bytes: Buffer): StoredFile {
  const length = Number(bytes.readBigUInt64LE(0));
  const header = JSON.parse(bytes.subarray(8, 8 + length).toString("utf8")) as Record<
    string,
    { dtype: string; shape: number[]; data_offsets: [number, number] }
  >;
  const tensors: StoredFile = {};
  for (const [name, tensor] of Object.entries(header)) {
    if (name === "__metadata__") continue;
    const [start, end] = tensor.data_offsets;
    tensors[name] = { dtype: tensor.dtype, shape: tensor.shape, bytes: bytes.subarray(8 + length + start, 8 + length + end) };
  }
  return tensors;
}

export function goldenTensors(): StoredFile {
  return safetensors(golden("model_refs.safetensors"));
}

/** `[name, url]` of a checkpoint's files; the tokenizer may lie beside the folder. */
export function checkpointFiles(folder: string): [string, string][] {
  const names = ["config.json", "generation_config.json", "model.safetensors", "model.safetensors.index.json"];
  const index = resolve(MOUNTS.golden, folder, "model.safetensors.index.json");
  if (existsSync(index)) {
    const { weight_map } = JSON.parse(readFileSync(index, "utf8")) as { weight_map: Record<string, string> };
    names.push(...new Set(Object.values(weight_map)));
  }
  const parent = folder.split("/").slice(0, -1).join("/");
  const places: [string, string][] = names.map((name) => [name, `${folder}/${name}`]);
  for (const name of ["tokenizer.json", "tokenizer_config.json"]) {
    const own = existsSync(resolve(MOUNTS.golden, folder, name));
    places.push([name, `${own ? folder : parent}/${name}`]);
  }
  return places
    .filter(([, path]) => existsSync(resolve(MOUNTS.golden, path)))
    .map(([name, path]) => [name, `${origin("engine")}golden/${path}`]);
}

export function adapterFiles(folder: string): [string, string][] {
  return ["adapter_config.json", "adapter_model.safetensors"].map((name) => [
    name,
    `${origin("engine")}golden/${folder}/${name}`,
  ]);
}

/** Runs the command line, which the native tests have built. */
export function nibblama(...args: string[]): string {
  const target = process.env["CARGO_TARGET_DIR"] ?? "target";
  const binary = process.env["NIBBLAMA_BIN"] ?? resolve(root, target, "debug/nibblama");
  return execFileSync(binary, args, { cwd: root, encoding: "utf8", maxBuffer: 1 << 28, stdio: ["ignore", "pipe", "ignore"] });
}

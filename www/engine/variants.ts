/** Which builds of the engine this browser can run. The list has its home in variants.json. */

import { relaxedSimd, simd } from "wasm-feature-detect";
import { NibblamaError } from "./errors";
import type { VariantName } from "./types";
import table from "./variants.json";

export interface Variant {
  name: VariantName;
  simd: "relaxed" | "simd128";
  threads: boolean;
}

/** Every build, the best first. */
export const VARIANTS: readonly Variant[] = table.variants.map(({ name, simd, threads }) => ({
  name: variantName(name),
  simd: simd === "relaxed" ? "relaxed" : "simd128",
  threads,
}));

function variantName(name: string): VariantName {
  switch (name) {
    case "relaxed-threads":
    case "simd128-threads":
    case "relaxed":
    case "simd128":
      return name;
    default:
      throw new NibblamaError("invalid-argument", "variants.json names an unknown build", { found: name });
  }
}

/** What decides about a build. */
export interface Environment {
  simd: boolean;
  relaxedSimd: boolean;
  /** Shared memory can be had: the page is cross-origin isolated. */
  isolated: boolean;
  cores: number;
}

export async function probe(): Promise<Environment> {
  const [hasSimd, hasRelaxed] = await Promise.all([simd(), relaxedSimd()]);
  return {
    simd: hasSimd,
    relaxedSimd: hasRelaxed,
    isolated: globalThis.crossOriginIsolated === true && typeof SharedArrayBuffer === "function",
    cores: navigator.hardwareConcurrency || 1,
  };
}

/** Why a build cannot or need not be tried, or null. */
export function rejection(variant: Variant, environment: Environment, threads?: number): string | null {
  if (!environment.simd) return "this browser has no WebAssembly SIMD";
  if (variant.simd === "relaxed" && !environment.relaxedSimd) return "this browser has no relaxed SIMD";
  if (!variant.threads) return null;
  if (!environment.isolated) return "the page is not cross-origin isolated, so there is no shared memory";
  if (threads === 1) return "one thread was asked for";
  if (threads === undefined && environment.cores < 2) return "this device has one core";
  return null;
}

export interface Choice {
  /** To be tried in this order. */
  candidates: VariantName[];
  rejected: { name: VariantName; reason: string }[];
}

export function choose(environment: Environment, options: { variant?: VariantName | undefined; threads?: number | undefined } = {}): Choice {
  const choice: Choice = { candidates: [], rejected: [] };
  for (const variant of VARIANTS) {
    const other = options.variant !== undefined && options.variant !== variant.name;
    const reason = other ? `${options.variant} was asked for` : rejection(variant, environment, options.threads);
    if (reason === null) choice.candidates.push(variant.name);
    else choice.rejected.push({ name: variant.name, reason });
  }
  return choice;
}

export async function variantsByPreference(
  options: { variant?: VariantName | undefined; threads?: number | undefined },
): Promise<Choice> {
  return choose(await probe(), options);
}

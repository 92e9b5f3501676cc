/** The crate's footprint in the public form: kinds of bytes as the memory ledger counts them. */

import type { Footprint, ModuleFootprint } from "./types";

interface TrueBytes {
  packed_codes: number;
  absmax: number;
  nested_absmax: number;
  quant_map: number;
  nested_quant_map: number;
  offset: number;
  int8_codes: number;
  scb: number;
  other_weights: number;
  total: number;
}

/** What `model::footprint` serializes. */
interface CrateFootprint {
  parameters: number;
  get_memory_footprint: number;
  true_bytes: TrueBytes;
  kv_cache: number;
  modules: { path: string; parameters: number; kind: string; true_bytes: TrueBytes }[];
}

export function toFootprint(json: string): Footprint {
  const crate = JSON.parse(json) as CrateFootprint;
  const { true_bytes: bytes } = crate;
  const others = (wide: boolean) =>
    crate.modules
      .filter((module) => (module.kind === "float32") === wide)
      .reduce((sum, module) => sum + module.true_bytes.other_weights, 0);
  return {
    parameters: crate.parameters,
    get_memory_footprint: crate.get_memory_footprint,
    true_bytes: bytes.total,
    packed_codes: bytes.packed_codes,
    absmax: bytes.absmax,
    nested_absmax: bytes.nested_absmax + bytes.offset,
    quant_maps: bytes.quant_map + bytes.nested_quant_map,
    int8_codes: bytes.int8_codes,
    scb: bytes.scb,
    floats_16bit: others(false),
    floats_32bit: others(true),
    kv_cache: crate.kv_cache,
    modules: crate.modules.map(({ path, parameters, kind, true_bytes }): ModuleFootprint => {
      const printed_bytes = true_bytes.packed_codes + true_bytes.int8_codes + true_bytes.other_weights;
      return { path, kind: moduleClass(path, kind), parameters, bytes: true_bytes.total, printed_bytes };
    }),
  };
}

/** The class that `print(model)` shows. */
function moduleClass(path: string, format: string): string {
  if (path.endsWith("embed_tokens")) return "Embedding";
  if (path.endsWith("norm")) return "LlamaRMSNorm";
  if (format === "int8") return "Linear8bitLt";
  return format === "nf4" || format === "fp4" ? "Linear4bit" : "Linear";
}

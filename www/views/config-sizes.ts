/** Sizes of the chosen model under settings of this page, for the views that show bytes. */

import { computed, type ReadonlySignal } from "@preact/signals";
import { useEffect, useState } from "preact/hooks";
import { KNOWN_MODELS } from "../app/known-models";
import { report, session } from "../app/session";
import { state } from "../app/state";
import { footprint, type BitsAndBytesConfig, type Footprint } from "../engine/index";
import type { Config4bit } from "./python-config";
import { toSkipList } from "./skip";

/** What the controls say. */
export const currentConfig: ReadonlySignal<Config4bit> = computed(() => ({
  quant_type: state.quant_type.value,
  double_quant: state.double_quant.value === "on",
  compute_dtype: state.compute_dtype.value,
  blocksize: state.blocksize.value,
  skip_modules: toSkipList(state.skip.value),
}));

export function quantizationOf(config: Config4bit): BitsAndBytesConfig {
  return {
    load_in_4bit: true,
    bnb_4bit_quant_type: config.quant_type,
    bnb_4bit_use_double_quant: config.double_quant,
    bnb_4bit_compute_dtype: config.compute_dtype,
    bnb_4bit_blocksize: config.blocksize,
    llm_int8_skip_modules: config.skip_modules === null ? null : [...config.skip_modules],
  };
}

export interface ConfigSizes {
  name: string;
  config: object;
  /** One for each quantization asked for. */
  footprints: Footprint[];
}

/** The model whose sizes are shown: a published one, or that which runs here. */
export function chosenModel(thisModel: string, of: string = state.size_of.value): { name: string; config: object } {
  const own = session.model.value?.facts.config;
  if (of === "this" && own !== undefined) {
    return { name: session.name.value ?? thisModel, config: { ...own, model_type: "llama" } };
  }
  const known = KNOWN_MODELS.find(({ name }) => name === of) ?? KNOWN_MODELS[0];
  return { name: known?.name ?? "", config: known?.config ?? {} };
}

/** Footprints of the chosen model; null until they are there, the last ones while new ones come. */
export function useConfigSizes(
  quantizations: readonly (BitsAndBytesConfig | null)[],
  { thisModel = "", of = state.size_of.value, context = 0 }: { thisModel?: string; of?: string; context?: number } = {},
): ConfigSizes | null {
  const [sizes, setSizes] = useState<ConfigSizes | null>(null);
  const { name, config } = chosenModel(thisModel, of);
  const key = JSON.stringify([name, config, quantizations, context]);
  useEffect(() => {
    let current = true;
    Promise.all(
      quantizations.map((quantization) => footprint(config, { dtype: "bfloat16", context, quantization })),
    ).then(
      (footprints) => current && setSizes({ name, config, footprints }),
      (error: unknown) => current && report(error),
    );
    return () => {
      current = false;
    };
  }, [key]);
  return sizes;
}

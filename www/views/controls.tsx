/** Controls that several views share; each changes the page's one state. */

import type { JSX } from "preact";
import { state } from "../app/state";
import { Check, Segmented } from "../app/ui";
import { viewWords } from "./words";
import { en } from "./words/controls.en";

export const words = viewWords(en, () => import("./words/controls.ko"));

export const BLOCKSIZES = [32, 64, 128, 256, 512, 1024, 2048, 4096] as const;

export function QuantType(): JSX.Element {
  return (
    <Segmented
      label={words.value.quantType}
      value={state.quant_type.value}
      options={[
        { value: "nf4", label: "nf4" },
        { value: "fp4", label: "fp4" },
      ]}
      onChange={(value) => (state.quant_type.value = value)}
    />
  );
}

export function Blocksize(): JSX.Element {
  return (
    <label class="field">
      <span class="label">{words.value.blocksize}</span>
      <select
        value={state.blocksize.value}
        onChange={(event) => {
          const size = BLOCKSIZES.find((value) => String(value) === event.currentTarget.value);
          if (size !== undefined) state.blocksize.value = size;
        }}
      >
        {BLOCKSIZES.map((size) => (
          <option key={size} value={size}>
            {size}
          </option>
        ))}
      </select>
    </label>
  );
}

export function DoubleQuant(): JSX.Element {
  return (
    <Check
      label={words.value.doubleQuant}
      checked={state.double_quant.value === "on"}
      onChange={(on) => (state.double_quant.value = on ? "on" : "off")}
    />
  );
}

export function ComputeDtype(): JSX.Element {
  return (
    <label class="field">
      <span class="label">{words.value.computeDtype}</span>
      <select
        value={state.compute_dtype.value}
        onChange={(event) => {
          const { value } = event.currentTarget;
          if (value === "float32" || value === "bfloat16" || value === "float16") state.compute_dtype.value = value;
        }}
      >
        <option value="bfloat16">bfloat16</option>
        <option value="float16">float16</option>
        <option value="float32">float32</option>
      </select>
    </label>
  );
}

/**
 * Controls that several views share; each changes the page's one state. `.shared` in a view is hidden in the lab,
 * whose side has them all.
 */

import "./texts";
import type { JSX } from "preact";
import { count } from "../app/format";
import { blockIndex, choose, labState, matrices, reopen, settings, short, tensor, weight } from "../app/lab";
import { state } from "../app/state";
import { Check, NumberField, Segmented } from "../app/ui";
import { viewWords } from "./words";
import { en } from "./words/controls.en";

export const words = viewWords(en, () => import("./words/controls.ko"));

export const BLOCKSIZES = [32, 64, 128, 256, 512, 1024, 2048, 4096] as const;

export function QuantType(): JSX.Element {
  return (
    <div class="shared">
      <Segmented
        label={words.value.quantType}
        value={state.quant_type.value}
        options={[
          { value: "nf4", label: "nf4" },
          { value: "fp4", label: "fp4" },
        ]}
        onChange={(value) => (state.quant_type.value = value)}
      />
    </div>
  );
}

export function Blocksize(): JSX.Element {
  return (
    <label class="field shared">
      <span class="label">{words.value.blocksize}</span>
      <select
        data-choice="blocksize"
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
    <div class="shared">
      <Check
        label={words.value.doubleQuant}
        checked={state.double_quant.value === "on"}
        onChange={(on) => (state.double_quant.value = on ? "on" : "off")}
      />
    </div>
  );
}

export function ComputeDtype(): JSX.Element {
  return (
    <label class="field shared">
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

/** Which tensor, block and weight are looked at. */
export function Choice(props: { blocks?: boolean; weights?: boolean }): JSX.Element {
  const t = words.value;
  const chosen = tensor.value;
  const { blocksize } = settings.value;
  const blocks = chosen === null ? 1 : Math.ceil(chosen.elements / blocksize);
  const position = weight.value % blocksize;
  return (
    <div class="choice shared">
      <label class="field wide">
        <span class="label">{t.tensor}</span>
        <select
          value={chosen?.name ?? ""}
          disabled={chosen === null}
          data-choice="tensor"
          onChange={(event) => choose(0, event.currentTarget.value)}
        >
          {matrices.value.map(({ name, shape }) => (
            <option key={name} value={name}>
              {`${short(name)}  ${shape.join(" × ")}`}
            </option>
          ))}
        </select>
      </label>
      {props.blocks === false ? null : (
        <NumberField
          label={t.block}
          note={t.of(count(blocks))}
          value={blockIndex.value}
          min={0}
          max={blocks - 1}
          name="block"
          onValue={(index) => choose(index * blocksize + position)}
        />
      )}
      {props.weights === false ? null : (
        <NumberField
          label={t.weight}
          note={t.of(count(blocksize))}
          value={position}
          min={0}
          max={blocksize - 1}
          name="weight"
          onValue={(place) => choose(blockIndex.value * blocksize + place)}
        />
      )}
    </div>
  );
}

/** What stands in the way of a view: a lab that did not open, a question that failed, originals that are not there. */
export function LabNotice(props: { error: Error | null }): JSX.Element | null {
  const t = words.value;
  const state = labState.value;
  const error = state.kind === "failed" ? state.error : props.error;
  if (error !== null) {
    return (
      <div class="notice bad" role="alert">
        <p>
          {t.labFailed}: <code>{error.message}</code>
        </p>
        <p>
          <button type="button" onClick={reopen}>
            {t.retry}
          </button>
        </p>
      </div>
    );
  }
  return tensor.value?.original === false ? <p class="notice">{t.noOriginals}</p> : null;
}

/** What a view says that can show nothing without the values before quantization; null where they are there. */
export function withoutOriginals(): string | null {
  return tensor.value?.original === false ? words.value.needsOriginals : null;
}

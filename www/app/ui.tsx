/** Small parts that every view uses. */

import type { ComponentChildren, JSX } from "preact";
import { useEffect, useId, useRef, useState } from "preact/hooks";
import type { Signal } from "@preact/signals";

export function Mark(): JSX.Element {
  return (
    <svg viewBox="0 0 20 20" aria-hidden="true">
      <g fill="var(--four)">
        <rect x="1" y="1" width="7" height="7" rx="1.4" />
        <rect x="1" y="12" width="7" height="7" rx="1.4" />
      </g>
      <g fill="var(--full)">
        <rect x="12" y="1" width="7" height="7" rx="1.4" />
        <rect x="12" y="12" width="7" height="7" rx="1.4" />
      </g>
    </svg>
  );
}

/** A labelled slider; `shown` is the value in words. */
export function Slider(props: {
  label: string;
  value: number;
  min: number;
  max: number;
  step: number;
  shown: string;
  disabled?: boolean;
  onInput: (value: number) => void;
}): JSX.Element {
  const id = useId();
  return (
    <div class="field">
      <label for={id}>
        <span>{props.label}</span>
        <output for={id}>{props.shown}</output>
      </label>
      <input
        id={id}
        type="range"
        min={props.min}
        max={props.max}
        step={props.step}
        value={props.value}
        disabled={props.disabled}
        aria-valuetext={props.shown}
        onInput={(event) => props.onInput(event.currentTarget.valueAsNumber)}
      />
    </div>
  );
}

/** A number that is typed or stepped; what is being typed stays as typed until the field is left. */
export function NumberField(props: {
  label: string;
  /** Beside the label, such as what it is counted in. */
  note?: string;
  value: number;
  min: number;
  max: number;
  step?: number;
  disabled?: boolean;
  /** For tests and styles. */
  name: string;
  onValue: (value: number) => void;
}): JSX.Element {
  const [draft, setDraft] = useState<string | null>(null);
  const { min, max, step } = props;
  return (
    <label class="field">
      <span class="label">
        {props.label}
        {props.note === undefined ? null : <span class="num">{props.note}</span>}
      </span>
      <input
        type="number"
        min={min}
        max={max}
        step={step ?? 1}
        disabled={props.disabled}
        value={draft ?? props.value}
        data-choice={props.name}
        onInput={(event) => {
          setDraft(event.currentTarget.value);
          const value = event.currentTarget.valueAsNumber;
          if (!Number.isFinite(value)) return;
          const inside = Math.min(max, Math.max(min, value));
          props.onValue(step === undefined ? Math.round(inside) : inside);
        }}
        onBlur={() => setDraft(null)}
      />
    </label>
  );
}

/** One choice of a few, all in sight. */
export function Segmented<T extends string | number>(props: {
  label: string;
  hideLabel?: boolean;
  value: T;
  options: readonly { value: T; label: string; lang?: string; disabled?: boolean }[];
  onChange: (value: T) => void;
}): JSX.Element {
  const name = useId();
  return (
    <fieldset class="field">
      <legend class={props.hideLabel === true ? "visually-hidden" : ""}>{props.label}</legend>
      <div class="segmented">
        {props.options.map((option) => (
          <label key={option.value} lang={option.lang}>
            <input
              type="radio"
              name={name}
              checked={option.value === props.value}
              disabled={option.disabled}
              onChange={() => props.onChange(option.value)}
            />
            {option.label}
          </label>
        ))}
      </div>
    </fieldset>
  );
}

export function Check(props: { label: string; checked: boolean; onChange: (on: boolean) => void }): JSX.Element {
  return (
    <label class="check">
      <input type="checkbox" checked={props.checked} onChange={(event) => props.onChange(event.currentTarget.checked)} />
      {props.label}
    </label>
  );
}

/** A modal that a signal opens. */
export function Modal(props: {
  open: Signal<boolean>;
  heading: string;
  close: string;
  children: ComponentChildren;
}): JSX.Element {
  const dialog = useRef<HTMLDialogElement>(null);
  const heading = useId();
  const { open } = props;
  useEffect(() => {
    if (open.value) dialog.current?.showModal();
    else dialog.current?.close();
  }, [open.value]);
  return (
    <dialog ref={dialog} aria-labelledby={heading} onClose={() => (open.value = false)}>
      <div class="row spread">
        <h2 id={heading}>{props.heading}</h2>
        <button type="button" class="quiet" onClick={() => (open.value = false)}>
          {props.close}
        </button>
      </div>
      {open.value ? props.children : null}
    </dialog>
  );
}

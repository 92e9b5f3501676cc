/** The lab of this page: opened when a view first needs it, closed when another model comes. */

import { batch, computed, effect, signal, type ReadonlySignal } from "@preact/signals";
import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import { openLab } from "../engine/lab";
import type { Lab, LabSettings, LabTensor } from "../engine/lab-types";
import { keep } from "./offline";
import { isAbort, metered, session, urlsOf } from "./session";
import { state } from "./state";

type LabState =
  | { kind: "closed" }
  | { kind: "opening" }
  | { kind: "open"; lab: Lab }
  | { kind: "failed"; error: Error };

export const labState = signal<LabState>({ kind: "closed" });
const wanted = signal(false);
let attempt = 0;

effect(() => {
  const source = session.originals.value;
  if (!wanted.value) return;
  const mine = ++attempt;
  const former = labState.peek();
  labState.value = { kind: "opening" };
  if (former.kind === "open") former.lab.dispose();
  openLab(source)
    .then(
      (lab) => {
        if (mine !== attempt) return lab.dispose();
        labState.value = { kind: "open", lab };
        // Where a story is written, it comes first.
        if (session.phase.peek().kind === "idle") void keep(urlsOf(source), metered());
        void lab.closed.then((error) => {
          if (error !== undefined && mine === attempt) labState.value = { kind: "failed", error };
        });
      },
      (error: unknown) => {
        if (mine === attempt) labState.value = { kind: "failed", error: error instanceof Error ? error : new Error(String(error)) };
      },
    );
});

export function reopen(): void {
  wanted.value = false;
  wanted.value = true;
}

export const lab: ReadonlySignal<Lab | null> = computed(() => (labState.value.kind === "open" ? labState.value.lab : null));

/** Tensors with two axes: what quantization is about. */
export const matrices: ReadonlySignal<readonly LabTensor[]> = computed(
  () => lab.value?.tensors.filter((tensor) => tensor.shape.length === 2) ?? [],
);

/** The chosen tensor; one that this model lacks gives way to the first of its up_proj. */
export const tensor: ReadonlySignal<LabTensor | null> = computed(() => {
  const all = matrices.value;
  return (
    all.find(({ name }) => name === state.tensor.value) ??
    all.find(({ name, linear }) => linear && name.includes("up_proj")) ??
    all.find(({ linear }) => linear) ??
    all[0] ??
    null
  );
});

/** How the chosen tensor is quantized: as the controls say, or as its file has it where no original is there. */
export const settings: ReadonlySignal<LabSettings> = computed(() => {
  const stored = tensor.value?.original === false ? tensor.value.stored : null;
  return (
    stored ?? {
      quant_type: state.quant_type.value,
      blocksize: state.blocksize.value,
      double_quant: state.double_quant.value === "on",
    }
  );
});

/** The chosen weight's place in the flattened tensor, inside of it. */
export const weight: ReadonlySignal<number> = computed(() =>
  Math.min(state.weight.value, Math.max(0, (tensor.value?.elements ?? 1) - 1)),
);
export const blockIndex: ReadonlySignal<number> = computed(() => Math.floor(weight.value / settings.value.blocksize));

/** Another weight is looked at; what was tried out on the last one is over. */
export function choose(next: number, name?: string): void {
  batch(() => {
    if (name !== undefined) state.tensor.value = name;
    const most = Math.max(0, (tensor.peek()?.elements ?? Infinity) - 1);
    state.weight.value = Math.min(most, Math.max(0, Math.round(next)));
    state.x.value = "";
  });
}

/** "layers.0.mlp.up_proj": a tensor's name without what all share. */
export function short(name: string): string {
  return name.replace(/^model\./, "").replace(/\.weight$/, "");
}

export interface Answer<T> {
  /** The newest answer; the one before stays until it comes. */
  value: T | null;
  error: Error | null;
  /** What `value` is about: another than the chosen tensor while that one's answer is on its way. */
  tensor: LabTensor | null;
}

/**
 * Asks the lab whenever `of` changes. One question is under way at a time; of those that come meanwhile only the
 * last is asked, so that a drag never runs behind.
 */
export function useAnswer<T>(ask: (lab: Lab, tensor: LabTensor) => Promise<T>, of: readonly unknown[]): Answer<T> {
  const [answer, setAnswer] = useState<Answer<T>>({ value: null, error: null, tensor: null });
  const line = useRef({ busy: false, next: null as (() => void) | null, gone: false });
  useEffect(() => {
    wanted.value = true;
    const { current } = line;
    current.gone = false;
    return () => {
      current.gone = true;
    };
  }, []);
  const opened = lab.value;
  const subject = tensor.value;
  // Not after the next frame: the answer shall be in it.
  useLayoutEffect(() => {
    if (opened === null || subject === null) return;
    const { current } = line;
    const run = () => {
      current.busy = true;
      void ask(opened, subject)
        .then(
          (value) => !current.gone && setAnswer({ value, error: null, tensor: subject }),
          (error: unknown) => {
            if (current.gone || isAbort(error)) return;
            setAnswer({ value: null, error: error instanceof Error ? error : new Error(String(error)), tensor: subject });
          },
        )
        .finally(() => {
          current.busy = false;
          const { next } = current;
          current.next = null;
          if (!current.gone) next?.();
        });
    };
    if (current.busy) current.next = run;
    else run();
  }, [opened, subject, ...of]);
  return answer.value === null ? { ...answer, tensor: subject } : answer;
}

/** The page's colours and fonts for canvases: read from the CSS variables whenever they may have changed. */

import { computed, signal, type ReadonlySignal } from "@preact/signals";
import { state } from "../app/state";
import { parseRgb, type Rgb } from "./colour";

const NAMES = [
  "paper", "raised", "sunken", "ink", "ink-2", "rule", "rule-strong", "four", "four-2", "four-3", "four-wash",
  "full", "full-2", "full-wash", "grey-1", "grey-2", "grey-3", "focus",
] as const;

export type Palette = Record<(typeof NAMES)[number], string> & {
  sans: string;
  mono: string;
  /** CSS pixels of 1 rem. */
  rem: number;
  paperRgb: Rgb;
};

const changes = signal(0);
for (const query of ["(prefers-color-scheme: dark)", "(forced-colors: active)", "print", "(min-width: 2200px)"]) {
  matchMedia(query).addEventListener("change", () => changes.value++);
}

export const palette: ReadonlySignal<Palette> = computed(() => {
  void changes.value;
  const root = document.documentElement;
  // The attribute is set by an effect that may come after this; what the reader chose decides already here.
  if (state.theme.value === "") delete root.dataset["theme"];
  else root.dataset["theme"] = state.theme.value;
  const style = getComputedStyle(root);
  const named = Object.fromEntries(NAMES.map((name) => [name, style.getPropertyValue(`--${name}`).trim()]));
  return {
    ...(named as Record<(typeof NAMES)[number], string>),
    sans: style.getPropertyValue("--sans"),
    mono: style.getPropertyValue("--mono"),
    rem: parseFloat(style.fontSize),
    paperRgb: parseRgb(named["paper"] ?? ""),
  };
});

/** What a presenter switches by key: which view is in front, one view alone, answers shown. */

import { computed, signal, type ReadonlySignal } from "@preact/signals";
import { VIEWS, viewOf, type ViewEntry } from "../views/index";
import { motionAllowed } from "./motion";
import { language, remember, state } from "./state";

/** Answers of all questions are shown. */
export const revealed = signal(false);

/** The view shown alone, or null for the whole page. */
export const alone: ReadonlySignal<ViewEntry | null> = computed(() =>
  state.embed.value === "1" ? (viewOf(state.view.value) ?? VIEWS[0] ?? null) : null,
);

export function goTo(id: string): void {
  state.view.value = id;
  if (alone.value !== null) return;
  const behavior = motionAllowed() ? "smooth" : "instant";
  document.getElementById(id === "" ? "top" : id)?.scrollIntoView({ behavior, block: "start" });
}

/** The next view, or the one before. */
export function step(by: 1 | -1): void {
  const at = VIEWS.findIndex((view) => view.id === state.view.value);
  const next = VIEWS[Math.min(VIEWS.length - 1, Math.max(0, at + by))];
  if (next !== undefined) goTo(next.id);
}

export function toggleAlone(): void {
  const on = state.embed.value === "1";
  state.embed.value = on ? "0" : "1";
  if (!on && viewOf(state.view.value) === undefined) state.view.value = VIEWS[0]?.id ?? "";
  const { value } = state.view;
  if (on) requestAnimationFrame(() => document.getElementById(value)?.scrollIntoView({ behavior: "instant" }));
}

export function toggleMode(): void {
  state.mode.value = state.mode.value === "lab" ? "story" : "lab";
}

export function toggleLanguage(): void {
  state.lang.value = language.value === "ko" ? "en" : "ko";
  remember("lang", state.lang.value);
}

export function toggleTheme(): void {
  const dark = state.theme.value === "" ? matchMedia("(prefers-color-scheme: dark)").matches : state.theme.value === "dark";
  state.theme.value = dark ? "light" : "dark";
  remember("theme", state.theme.value);
}

export function toggleHidden(part: string): void {
  const parts = new Set(state.hide.value.split(",").filter((name) => name !== ""));
  if (!parts.delete(part)) parts.add(part);
  state.hide.value = [...parts].join(",");
}

/** Opens or closes the table of the view in front. */
export function toggleTable(): void {
  document.querySelector<HTMLButtonElement>(`#${CSS.escape(state.view.value)} [data-tool=table]`)?.click();
}

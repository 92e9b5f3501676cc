/** Keys for presenters; they rest while something is being typed. */

import type { Signal } from "@preact/signals";
import { stop, write } from "./session";

export function watchKeys(helpOpen: Signal<boolean>): () => void {
  const pressed = (event: KeyboardEvent) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
    const target = event.target;
    if (target instanceof HTMLElement && target.closest("input, textarea, select, dialog, [contenteditable]") !== null) return;
    const act = actions[event.key.toLowerCase()];
    if (act === undefined) return;
    event.preventDefault();
    act();
  };
  const actions: Record<string, () => void> = {
    "?": () => (helpOpen.value = true),
    w: () => void write(),
    s: stop,
  };
  addEventListener("keydown", pressed);
  return () => removeEventListener("keydown", pressed);
}

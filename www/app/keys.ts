/** Keys for presenters; they rest while something is being typed. */

import type { Signal } from "@preact/signals";
import {
  revealed, step, toggleAlone, toggleHidden, toggleLanguage, toggleMode, toggleTable, toggleTheme,
} from "./presenter";
import { stop, write } from "./session";
import type { Strings } from "./strings";

export type KeyName = Exclude<keyof Strings["keys"], "heading" | "lede">;

/** The keys and what they do, in the order the list shows them. */
export const KEYS: readonly { key: string; name: KeyName; act: (help: Signal<boolean>) => void }[] = [
  { key: "?", name: "help", act: (help) => (help.value = true) },
  { key: "J", name: "next", act: () => step(1) },
  { key: "K", name: "previous", act: () => step(-1) },
  { key: "E", name: "alone", act: toggleAlone },
  { key: "L", name: "mode", act: toggleMode },
  { key: "R", name: "reveal", act: () => (revealed.value = !revealed.value) },
  { key: "T", name: "table", act: toggleTable },
  { key: "H", name: "text", act: () => toggleHidden("text") },
  { key: "D", name: "theme", act: toggleTheme },
  { key: "A", name: "language", act: toggleLanguage },
  { key: "W", name: "write", act: () => void write() },
  { key: "S", name: "stop", act: stop },
];

export function watchKeys(helpOpen: Signal<boolean>): () => void {
  const pressed = (event: KeyboardEvent) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
    const target = event.target;
    if (target instanceof HTMLElement && target.closest("input:not([type=range], [type=radio], [type=checkbox]), textarea, select, dialog, [contenteditable]") !== null) return;
    const entry = KEYS.find(({ key }) => key === event.key.toUpperCase());
    if (entry === undefined) return;
    event.preventDefault();
    entry.act(helpOpen);
  };
  addEventListener("keydown", pressed);
  return () => removeEventListener("keydown", pressed);
}

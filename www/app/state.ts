/** The page's one state object: a signal for each setting that a link carries. */

import { computed, effect, signal, type ReadonlySignal, type Signal } from "@preact/signals";
import { formatHash, parseHash, type Settings } from "./hash";
import { en, type Strings } from "./strings";

const initial = parseHash(location.hash);
const remembered = { lang: localStorageItem("lang"), theme: localStorageItem("theme") };
if (initial.lang === "" && (remembered.lang === "en" || remembered.lang === "ko")) initial.lang = remembered.lang;
if (initial.theme === "" && (remembered.theme === "light" || remembered.theme === "dark")) {
  initial.theme = remembered.theme;
}

type State = { [Key in keyof Settings]: Signal<Settings[Key]> };

export const state = Object.fromEntries(
  Object.entries(initial).map(([name, value]) => [name, signal(value)]),
) as unknown as State;

export function settings(): Settings {
  return Object.fromEntries(Object.entries(state).map(([name, value]) => [name, value.value])) as Settings;
}

/** Takes over what a link or a snippet says. */
export function apply(next: Partial<Settings>): void {
  for (const [name, value] of Object.entries(next)) {
    (state[name as keyof Settings] as Signal<string | number>).value = value;
  }
}

export const language: ReadonlySignal<"en" | "ko"> = computed(() => {
  if (state.lang.value !== "") return state.lang.value;
  return navigator.languages.find((tag) => /^(en|ko)\b/.test(tag))?.startsWith("ko") === true ? "ko" : "en";
});

/** The words in force. Korean is fetched when it is first asked for; English shows until then. */
export const words: Signal<Strings> = signal(en);

export async function loadWords(): Promise<void> {
  const wanted = language.peek();
  const strings = wanted === "ko" ? (await import("./strings.ko")).ko : en;
  if (wanted !== language.peek()) return;
  words.value = strings;
  document.documentElement.lang = wanted;
  document.title = strings.title;
}

export function keepHashAndDocument(): void {
  effect(() => {
    void language.value;
    void loadWords();
  });
  effect(() => {
    const { theme } = state;
    const root = document.documentElement.dataset;
    if (theme.value === "") delete root["theme"];
    else root["theme"] = theme.value;
  });
  let timer: number | undefined;
  effect(() => {
    const hash = formatHash(settings());
    clearTimeout(timer);
    // Browsers refuse more than about 100 replacements in 30 s, and a drag makes more.
    timer = window.setTimeout(() => {
      if (hash !== location.hash) history.replaceState(null, "", hash === "" ? location.pathname + location.search : hash);
    }, 350);
  });
  // Another hash, such as that of the skip link, is a place on the page and says nothing about the settings.
  addEventListener("hashchange", () => {
    if (/^#\d/.test(location.hash)) apply(parseHash(location.hash));
  });
}

/** Parts of a view that an embedding page does not want. */
export const HIDEABLE = ["title", "text", "takeaway", "controls", "tools"] as const;
export type Hideable = (typeof HIDEABLE)[number];
export const hidden: ReadonlySignal<ReadonlySet<string>> = computed(() => new Set(state.hide.value.split(",")));

export function remember(name: "lang" | "theme", value: string): void {
  try {
    localStorage.setItem(`nibblama.${name}`, value);
  } catch {
    // Storage may be forbidden; the choice then lasts as long as the page.
  }
}

function localStorageItem(name: string): string | null {
  try {
    return localStorage.getItem(`nibblama.${name}`);
  } catch {
    return null;
  }
}

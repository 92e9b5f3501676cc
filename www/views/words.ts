/** The words of one view, in the language in force. Korean comes with the first visit in Korean. */

import { effect, signal, type ReadonlySignal } from "@preact/signals";
import { language } from "../app/state";

/** `en` shows until the other language is there; both have one shape, so a missing key does not compile. */
export function viewWords<T>(en: T, korean: () => Promise<{ ko: T }>): ReadonlySignal<T> {
  const words = signal(en);
  let ko: T | null = null;
  effect(() => {
    if (language.value === "en") words.value = en;
    else if (ko !== null) words.value = ko;
    else {
      korean().then(
        (loaded) => {
          ko = loaded.ko;
          if (language.peek() === "ko") words.value = ko;
        },
        // Offline before the words were kept: English stays.
        () => undefined,
      );
    }
  });
  return words;
}

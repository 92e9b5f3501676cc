/** Offline after the first visit: registers the service worker, and offers a new version when one is there. */

import { signal } from "@preact/signals";

/** A new version that waits for the reader's word. */
export const waiting = signal<ServiceWorker | null>(null);

let registered: Promise<ServiceWorkerRegistration | null> = Promise.resolve(null);

export function register(): void {
  if (!import.meta.env.PROD || !("serviceWorker" in navigator)) return;
  // Storage that is forbidden, or a page that is not served securely: it works all the same, online.
  registered = navigator.serviceWorker.register("./sw.js", { scope: "./" }).catch(() => null);
  void registered.then((registration) => {
    if (registration == null) return;
    const look = () => {
      // Without a controller this is the first version, which replaces nothing.
      if (registration.waiting !== null && navigator.serviceWorker.controller !== null) waiting.value = registration.waiting;
    };
    look();
    registration.addEventListener("updatefound", () => registration.installing?.addEventListener("statechange", look));
  });
}

/** The reader wants the new version: it takes over, and the page starts anew with the settings in its address. */
export function takeUpdate(): void {
  navigator.serviceWorker.addEventListener("controllerchange", () => location.reload(), { once: true });
  waiting.value?.postMessage({ type: "take-over" });
}

const asked = new Set<string>();

/** Keeps files for the time offline, unless the connection is metered. */
export async function keep(urls: readonly string[], metered: boolean): Promise<void> {
  const fresh = urls.filter((url) => !asked.has(url));
  if (metered || fresh.length === 0) return;
  for (const url of fresh) asked.add(url);
  if ((await registered) == null) return;
  const registration = await navigator.serviceWorker.ready;
  registration.active?.postMessage({ type: "keep", urls: fresh });
}

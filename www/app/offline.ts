/** Offline after the first visit: registers the service worker, and offers a new version when one is there. */

import { signal } from "@preact/signals";

/** A new version that waits for the reader's word. */
export const waiting = signal<ServiceWorker | null>(null);

let registration: Promise<ServiceWorkerRegistration | null> | undefined;

function register(): Promise<ServiceWorkerRegistration | null> {
  if (!import.meta.env.PROD || !("serviceWorker" in navigator)) return Promise.resolve(null);
  // Storage that is forbidden, or a page that is not served securely: it works all the same, online.
  return navigator.serviceWorker.register("./sw.js", { scope: "./" }).catch(() => null);
}

/** Starts the service worker; to be called once the page has what it needs itself. */
export function start(): void {
  if (registration !== undefined) return;
  registration = register();
  void registration.then((registration) => {
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

/**
 * Keeps files for the time offline: all that the page can show or, on a metered connection, no more than what of
 * `read` the browser still holds.
 */
export async function keep(read: readonly string[], metered: boolean): Promise<void> {
  start();
  if ((await registration) == null) return;
  const { active } = await navigator.serviceWorker.ready;
  active?.postMessage(metered ? { type: "keep-read", read } : { type: "keep" });
}

import { effect } from "@preact/signals";
import { render } from "preact";
import { Page } from "./page";
import { alone } from "./presenter";
import { start } from "./offline";
import { open, session } from "./session";
import { keepHashAndDocument, state } from "./state";

keepHashAndDocument();
const only = alone.peek();
void open(only === null ? state.mode.peek() === "story" : only.needs === "model");
// The engine is on its way while the page is drawn, which is a task of its own: the browser would make the layout part
// of the task that ends the loading.
setTimeout(() => {
  const root = document.getElementById("app");
  if (root === null) return;
  // What stood here until now goes in the same frame.
  root.replaceChildren();
  render(<Page />, root);
});
// The service worker comes after what the page needs itself.
addEventListener("load", () => {
  effect(() => {
    if (session.phase.value.kind !== "loading") start();
  });
});

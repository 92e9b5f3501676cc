import { effect } from "@preact/signals";
import { render } from "preact";
import { Page } from "./page";
import { alone } from "./presenter";
import { start } from "./offline";
import { open, session } from "./session";
import { keepHashAndDocument, state } from "./state";

keepHashAndDocument();
const root = document.getElementById("app");
if (root !== null) {
  // What stood here until now goes in the same frame.
  root.replaceChildren();
  render(<Page />, root);
}
const only = alone.peek();
void open(only === null ? state.mode.peek() === "story" : only.needs === "model");
// The service worker comes after what the page needs itself.
addEventListener("load", () => {
  effect(() => {
    if (session.phase.value.kind !== "loading") start();
  });
});

import { render } from "preact";
import { Page } from "./page";
import { alone } from "./presenter";
import { register } from "./offline";
import { open } from "./session";
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
// After the page has what it needs itself.
addEventListener("load", () => setTimeout(register, 1000));

import { render } from "preact";
import { Page } from "./page";
import { open } from "./session";
import { keepHashAndDocument } from "./state";

keepHashAndDocument();
const root = document.getElementById("app");
if (root !== null) render(<Page />, root);
void open();

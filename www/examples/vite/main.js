// The same few lines for every bundler: a story, and which build of the engine told it.
import { loadModel } from "nibblama";

const out = document.querySelector("#story");
const model = await loadModel(new URLSearchParams(location.search).get("model") ?? "models/stories-nf4/");
for await (const { text } of model.generate("Once upon a time", { max_new_tokens: 30, seed: 1 })) out.append(text);
out.dataset.variant = model.variant.name;
await model.dispose();

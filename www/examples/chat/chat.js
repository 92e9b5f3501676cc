// A small chat over one model: messages go through the model's own template, or as plain text where it has none.
import { inspectModel, loadModel } from "../../dist-npm/index.js";

const form = (id) => document.querySelector(id);
const status = document.querySelector("#status");
const list = document.querySelector("#messages");
const stopButton = document.querySelector("#stop");
const messages = [];
let model;
let stop;

const megabytes = (bytes) => `${(bytes / 1e6).toFixed(1)} MB`;

function sourceOf(text) {
  // "organization/name" is a model of the Hub; anything else is a folder's address.
  return /^[\w.-]+\/[\w.-]+$/.test(text) ? { hub: text } : text;
}

form("#load").addEventListener("submit", async (event) => {
  event.preventDefault();
  const { source, quantization } = Object.fromEntries(new FormData(event.target));
  const options = { quantization: quantization || null };
  try {
    await model?.dispose();
    model = undefined;
    const { fits, reasons, bytes } = await inspectModel(sourceOf(source), options);
    if (!fits) {
      status.textContent = `It does not fit: ${reasons.map(({ kind, needed, available }) => `${kind} needs ${megabytes(needed)} of ${megabytes(available)}`).join(", ")}.`;
      return;
    }
    status.textContent = `${megabytes(bytes.download)} to read, ${megabytes(bytes.total)} to hold.`;
    model = await loadModel(sourceOf(source), {
      ...options,
      onProgress: ({ phase, loaded, total, remaining }) => {
        const left = remaining === undefined ? "" : `, ${Math.ceil(remaining / 1000)} s left`;
        status.textContent = phase === "weights" ? `${megabytes(loaded)} of ${megabytes(total)}${left}` : phase;
      },
    });
    status.textContent = `Ready: ${model.variant.name}, ${megabytes((await model.memory()).total)}.`;
  } catch (error) {
    status.textContent = `${error.code}: ${error.message}`;
  }
});

function show(role, text = "") {
  const item = document.createElement("li");
  item.dataset.role = role;
  item.textContent = text;
  list.append(item);
  return item;
}

form("#ask").addEventListener("submit", async (event) => {
  event.preventDefault();
  if (model === undefined || stop !== undefined) return;
  const text = new FormData(event.target).get("text");
  event.target.reset();
  messages.push({ role: "user", content: text });
  show("user", text);
  const item = show("assistant");
  stop = new AbortController();
  stopButton.disabled = false;
  const prompt = model.facts.chatTemplate ? messages : messages.map(({ content }) => content).join(" ");
  try {
    for await (const step of model.generate(prompt, { max_new_tokens: 300, overflow: "slide", signal: stop.signal })) {
      item.append(step.text);
    }
  } catch (error) {
    if (error.code !== "aborted") item.append(` (${error.code}: ${error.message})`);
  }
  messages.push({ role: "assistant", content: item.textContent });
  stop = undefined;
  stopButton.disabled = true;
});

stopButton.addEventListener("click", () => stop?.abort());

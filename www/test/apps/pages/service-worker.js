// A service worker that tries to load a model, and tells the page what it was told.
import { loadModel } from "/package/index.js";

addEventListener("message", (event) => {
  const tell = (text) => event.source.postMessage(text);
  event.waitUntil(loadModel(new URL("/models/test/stories-nf4/", location)).then(() => tell("loaded"), ({ code, message }) => tell(`${code} ${message}`)));
});

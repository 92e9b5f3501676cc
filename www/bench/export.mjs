// node bench/export.mjs MODEL OUT [--quantization nf4-dq] [--adapter FOLDER] [--format bitsandbytes|bfloat16]: loads a folder in a
// browser through the npm package, exports it into OUT, and writes the logits that the exported folder should give, and gives
// here, into OUT/expected.json. tests/fixtures/check_export.py compares them with transformers' own.

import { appendFileSync, mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { openTab } from "./tab.mjs";

const { values: options, positionals } = parseArgs({
  allowPositionals: true,
  options: { quantization: { type: "string" }, adapter: { type: "string" }, format: { type: "string", default: "bitsandbytes" } },
});
const [model, out] = positionals.map((path) => resolve(path));
if (out === undefined) {
  console.error("a model's folder and one to write to are needed");
  process.exit(1);
}
rmSync(out, { recursive: true, force: true });
mkdirSync(out, { recursive: true });
const tab = await openTab({ model, out, ...(options.adapter ? { adapter: resolve(options.adapter) } : {}) });
try {
  await tab.page.exposeFunction("put", (file, base64) => appendFileSync(join(out, file), Buffer.from(base64, "base64")));
  const expected = await tab.page.evaluate(
    async ({ url, quantization, adapter, format }) => {
      const ids = [1, 17, 250, 3, 99, 411, 8, 30];
      const base64 = (bytes) => {
        let text = "";
        for (let at = 0; at < bytes.length; at += 32768) text += String.fromCharCode(...bytes.subarray(at, at + 32768));
        return btoa(text);
      };
      const source = await window.npm.loadModel(`${url}model/`, { quantization });
      if (adapter) await source.loadAdapter("adapter", `${url}adapter/`);
      const open = (file) => new WritableStream({ write: (piece) => window.put(file, base64(piece)) });
      await source.export(open, { format, ...(adapter ? { adapter: "adapter" } : {}) });
      await source.dispose();
      const written = await window.npm.loadModel(`${url}out/`);
      const { data, shape } = await written.logits(ids, { all: true });
      await written.dispose();
      return { ids, shape, logits: [...data] };
    },
    { url: tab.url, quantization: options.quantization ?? null, adapter: options.adapter !== undefined, format: options.format },
  );
  writeFileSync(join(out, "expected.json"), JSON.stringify(expected));
  console.log(`${out}: ${expected.shape.join(" x ")} logits expected`);
} finally {
  await tab.close();
}

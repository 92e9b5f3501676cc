// node summary.mjs LOG_FOLDER FAILED_STEPS: adds up what the test runners counted; the last line is the sum.

import { readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";

const [folder, failedSteps] = process.argv.slice(2);
let passed = 0;
let failed = 0;
for (const name of readdirSync(folder)) {
  const text = readFileSync(join(folder, name), "utf8").replace(/\x1b\[[0-9;]*m/g, "");
  // cargo test and wasm-bindgen-test; vitest; Playwright.
  for (const [, good, bad] of text.matchAll(/^test result: \w+\. (\d+) passed; (\d+) failed/gm)) {
    passed += Number(good);
    failed += Number(bad);
  }
  if (name === "vitest.log") {
    const line = /^\s*Tests\s+(.*)$/m.exec(text)?.[1] ?? "";
    passed += Number(/(\d+) passed/.exec(line)?.[1] ?? 0);
    failed += Number(/(\d+) failed/.exec(line)?.[1] ?? 0);
  }
  if (name === "playwright.log") {
    passed += Number(/^\s+(\d+) passed/m.exec(text)?.[1] ?? 0);
    failed += Number(/^\s+(\d+) failed/m.exec(text)?.[1] ?? 0);
  }
}
// A step can fail without a failing test: formatting, types, a build.
console.log(`${passed} passed, ${Math.max(failed, Number(failedSteps))} failed`);

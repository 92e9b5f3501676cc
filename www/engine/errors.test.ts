import { readFileSync } from "node:fs";
import { expect, test } from "vitest";

const read = (path: string) => readFileSync(new URL(path, import.meta.url), "utf8");
const all = (text: string, pattern: RegExp) => [...text.matchAll(pattern)].map(([, code = ""]) => code).sort();

const codes = all(read("errors.ts"), /^ {2}\| "([a-z-]+)";?$/gm);
const crate = all(read("../../src/error.rs"), /^ {4}\w+ => "([a-z-]+)",$/gm);

test("every code of the crate is a code of the package", () => {
  expect(crate.length).toBeGreaterThan(30);
  expect(crate.filter((code) => !codes.includes(code))).toEqual([]);
});

test("the guide says what to do about each code, once", () => {
  const table = read("../../docs/GUIDE.md").split("## Errors")[1] ?? "";
  const cells = [...table.matchAll(/^\| (`[^|]*) \|/gm)].map(([, cell = ""]) => cell).join();
  expect(all(cells, /`([a-z-]+)`/g)).toEqual(codes);
});

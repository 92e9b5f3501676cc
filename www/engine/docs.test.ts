import { readFileSync, readdirSync } from "node:fs";
import { expect, test } from "vitest";

const read = (path: string) => readFileSync(new URL(path, import.meta.url), "utf8");

test("each test that docs/COVERAGE.md names exists", () => {
  const rows = read("../../docs/COVERAGE.md").split("\n").filter((line) => line.startsWith("| ")).slice(2);
  expect(rows.length).toBe(13);
  for (const row of rows) {
    const places = [...row.matchAll(/`([\w/.-]+\.ts)`: ((?:"[^"]+"(?:, )?)+)/g)];
    expect(places.length, row).toBeGreaterThan(0);
    for (const [, file = "", titles = ""] of places) {
      const source = read(`../${file}`);
      for (const [title] of titles.matchAll(/"[^"]+"/g)) expect(source, file).toContain(`test(${title}`);
    }
  }
});

test("no script asks for a GPU", () => {
  for (const folder of ["", "../app/", "../views/", "../draw/"]) {
    for (const name of readdirSync(new URL(folder === "" ? "." : folder, import.meta.url))) {
      if (!/\.tsx?$/.test(name) || name.endsWith(".test.ts")) continue;
      expect(read(`${folder === "" ? "./" : folder}${name}`), name).not.toMatch(/navigator\.gpu|webgpu|webgl/i);
    }
  }
});

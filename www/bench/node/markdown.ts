/** A run as a section of BENCHMARKS.md, between two marks. */

import { readFileSync, writeFileSync } from "node:fs";
import type { Measurements } from "../measurements";
import { digits } from "../text";
import { heading, type Machine } from "./machine";
import { VERSIONS } from "./packages";
import { goalText, holds, type Goal } from "./report";

const BEGIN = "<!-- run: written by ./build.sh bench --write -->";
const END = "<!-- end of run -->";

export function section(made: Machine, record: Measurements, goals: readonly Goal[]): string {
  const row = (cells: readonly string[]) => `| ${cells.join(" | ")} |`;
  const known = goals.filter(({ value }) => value !== null);
  const asked = known.filter(({ goal }) => goal !== null);
  const versions = Object.values(VERSIONS).map((each) => `${each.package} ${each.version}`);
  const short = asked.filter((goal) => !holds(goal)).map(({ key }) => `\`${key}\``);
  return [
    BEGIN,
    "",
    ...heading(made).map((line) => `${line}  `),
    `Compared with: ${versions.join(", ")}`,
    "",
    ...record.notes.map((note) => `- ${note}`),
    "",
    "| | measured | goal | |",
    "| --- | ---: | ---: | --- |",
    ...asked.map((each) => row([`\`${each.key}\``, digits(each.value ?? Number.NaN), goalText(each), holds(each) ? "holds" : "**falls short**"])),
    "",
    short.length === 0 ? "Every goal that was measured holds." : `Short of their goals: ${short.join(", ")}.`,
    "",
    "Each shape by itself, and what has no goal:",
    "",
    "| | measured |",
    "| --- | ---: |",
    ...known.filter(({ goal }) => goal === null).map(({ key, value }) => row([`\`${key}\``, digits(value ?? Number.NaN)])),
    "",
    "Every measurement:",
    "",
    "| | median | min | max | unit | rounds |",
    "| --- | ---: | ---: | ---: | --- | ---: |",
    ...record.all().map(({ name, unit, median, min, max, n }) => row([name, digits(median), digits(min), digits(max), unit, String(n)])),
    "",
    END,
  ].join("\n");
}

/** Puts the section in the place of the one that `file` has. */
export function writeSection(file: string, text: string): void {
  const before = readFileSync(file, "utf8");
  const [start, end] = [before.indexOf(BEGIN), before.indexOf(END)];
  if (start < 0 || end < start) throw new Error(`${file}: no place for a run: it must hold the lines ${BEGIN} and ${END}`);
  writeFileSync(file, before.slice(0, start) + text + before.slice(end + END.length));
}

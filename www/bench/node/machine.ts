/** On what a run was made. */

import { execFileSync } from "node:child_process";
import { cpus, loadavg, totalmem } from "node:os";

export interface Machine {
  date: string;
  commit: string;
  cpu: string;
  cores: number;
  memory_gb: number;
  node: string;
  browser: string;
  /** Load average over one minute at the start: anything much above 0 counts against the numbers. */
  load: number;
  command: string;
}

export function machine(browser: string, command: string): Machine {
  const git = (...args: string[]) => execFileSync("git", args, { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] }).trim();
  const commit = () => {
    try {
      // Runs are written into BENCHMARKS.md.
      const status = git("status", "--porcelain", "--untracked-files=no", "--", ":(top)", ":(top,exclude)BENCHMARKS.md");
      const changed = status === "" ? "" : " with changes";
      return git("rev-parse", "--short", "HEAD") + changed;
    } catch {
      // The sources may have come without their history.
      return "unknown";
    }
  };
  return {
    date: new Date().toISOString().slice(0, 16).replace("T", " "),
    commit: commit(),
    cpu: cpus()[0]?.model.trim() ?? "unknown",
    cores: cpus().length,
    memory_gb: Math.round(totalmem() / 1e9),
    node: process.version,
    browser: `Chromium ${browser}`,
    load: Math.round(100 * (loadavg()[0] ?? 0)) / 100,
    command,
  };
}

export function heading(m: Machine): string[] {
  return [
    `${m.date} UTC, commit ${m.commit}, ${m.command}`,
    `${m.cpu}, ${m.cores} cores, ${m.memory_gb} GB; ${m.browser}, Node ${m.node}; load average ${m.load} at the start`,
  ];
}

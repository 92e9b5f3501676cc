/** The npm packages that are compared with, fetched for the benchmark alone. */

import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

export const VERSIONS = {
  wllama2: { package: "@wllama/wllama", version: "2.3.7" },
  wllama3: { package: "@wllama/wllama", version: "3.8.1" },
  "onnxruntime-web": { package: "onnxruntime-web", version: "1.30.0" },
} as const;

/** Installs what is missing into `folder`; no script of a package runs. */
export function fetchPackages(folder: string): void {
  const missing = Object.entries(VERSIONS).filter(([name, { version }]) => {
    const file = join(folder, "node_modules", name, "package.json");
    if (!existsSync(file)) return true;
    const found = JSON.parse(readFileSync(file, "utf8")) as { version?: string };
    return found.version !== version;
  });
  if (missing.length === 0) return;
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, "package.json"), '{ "private": true }\n');
  const wanted = Object.entries(VERSIONS).map(([name, each]) =>
    name === each.package ? `${name}@${each.version}` : `${name}@npm:${each.package}@${each.version}`,
  );
  execFileSync("npm", ["install", "--no-fund", "--no-audit", "--ignore-scripts", "--no-package-lock", ...wanted], { cwd: folder, stdio: ["ignore", "ignore", "inherit"] });
}

/** The sites that the tests visit; each is a folder served by our own static server. */

import { resolve } from "node:path";
import { fileURLToPath } from "node:url";

const www = fileURLToPath(new URL("../", import.meta.url));

/** The first of the ports; another run at the same time takes others. */
const port = Number(process.env["NIBBLAMA_PORT"] ?? 4180);

export const SITES = {
  site: { port, folder: "dist", isolated: true },
  siteNotIsolated: { port: port + 1, folder: "dist", isolated: false },
  engine: { port: port + 2, folder: "dist-test", isolated: true },
  engineNotIsolated: { port: port + 3, folder: "dist-test", isolated: false },
} as const;

/** What builds a folder. */
export const BUILDS = { dist: "npm run build", "dist-test": "NIBBLAMA_HARNESS=1 npx vite build" } as const;

/** Folders that are served besides, by the first part of the path. */
export const MOUNTS = {
  /** What tests write for the page to read. */
  made: resolve(www, "test-results/made"),
  golden: resolve(www, "..", process.env["NIBBLAMA_GOLDEN"] ?? "tests/fixtures/golden"),
};

export function origin(site: keyof typeof SITES): string {
  return `http://127.0.0.1:${SITES[site].port}/`;
}

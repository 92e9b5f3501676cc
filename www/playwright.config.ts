import { existsSync } from "node:fs";
import { defineConfig } from "@playwright/test";
import { BUILDS, MOUNTS, origin, SITES } from "./test/sites";

// Pages that are not there would fail each test by its time.
for (const [folder, build] of Object.entries(BUILDS)) {
  if (!existsSync(new URL(folder, import.meta.url))) throw new Error(`www/${folder} is missing; in www/ run: ${build}`);
}

const chromium = process.env["CHROME"] ?? ["/usr/bin/chromium", "/usr/bin/google-chrome"].find(existsSync);

export default defineConfig({
  testDir: "test",
  testMatch: "**/*.spec.ts",
  // Screenshots for people lie in test-results/ itself; Playwright empties its own folder at each start.
  outputDir: "test-results/output",
  // Several tests assert times, and two cores are all there is.
  workers: 1,
  timeout: 120_000,
  forbidOnly: process.env["CI"] !== undefined,
  reporter: [["list"], ["json", { outputFile: "test-results/playwright.json" }]],
  use: {
    baseURL: origin("site"),
    browserName: "chromium",
    // Only the tests of the page without a network let it keep files: each test is a first visit.
    serviceWorkers: "block",
    launchOptions: {
      ...(chromium === undefined ? {} : { executablePath: chromium }),
      args: [
        "--no-sandbox",
        "--disable-quic",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
      ],
    },
  },
  webServer: Object.values(SITES).map(({ port, folder, isolated }) => ({
    command: [
      `node server.mjs --root ${folder} --port ${port}`,
      ...(isolated ? [] : ["--no-isolation"]),
      ...Object.entries(MOUNTS).map(([name, path]) => `--mount ${name}="${path}"`),
    ].join(" "),
    url: `http://127.0.0.1:${port}/healthz`,
    reuseExistingServer: false,
  })),
});

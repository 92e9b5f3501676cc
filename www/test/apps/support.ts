/** The page with the package, and a site with models, for every test here. */

import { existsSync, readdirSync } from "node:fs";
import { join, sep } from "node:path";
import { test as base, type Page } from "@playwright/test";
import type * as Nibblama from "../../engine/index";
import type { chatApi } from "../../engine/openai";
import { golden, repository, Site } from "./site";

declare global {
  interface Window {
    npm: typeof Nibblama;
    chatApi: typeof chatApi;
    ready: boolean;
  }
}

export const test = base.extend<{ engine: Page }, { site: Site }>({
  site: [
    // Playwright wants the empty pattern.
    // eslint-disable-next-line no-empty-pattern
    async ({}, use) => {
      if (!existsSync(join(repository, "www/dist-npm/index.js"))) throw new Error("build the package first: node scripts/package.mjs");
      const site = await Site.start();
      site.models.set("test/stories", join(repository, "models/stories"));
      site.models.set("test/stories-nf4", join(repository, "models/stories-nf4"));
      for (const file of readdirSync(join(golden, "models"), { recursive: true, encoding: "utf8" })) {
        const [name, form, config] = file.split(sep);
        if (config === "config.json") site.models.set(`golden/${name}-${form}`, join(golden, "models", file, ".."));
      }
      await use(site);
      await site.stop();
    },
    { scope: "worker" },
  ],
  engine: async ({ page, site }, use) => {
    site.reset();
    await page.goto(`${site.url}pages/engine.html`);
    await page.waitForFunction(() => window.ready);
    await use(page);
  },
});

export { expect } from "@playwright/test";

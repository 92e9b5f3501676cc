/** What a visit fetches of the site's scripts is what scripts/sizes.mjs counts and limits. */

import { execFileSync } from "node:child_process";
import { expect, test } from "@playwright/test";
import { CountedSite } from "./counted";
import { ready } from "./support";

test("a visit to every view fetches no script besides those that are counted for it", async ({ page }) => {
  const { visit } = JSON.parse(execFileSync("node", ["scripts/sizes.mjs", "--json"], { encoding: "utf8" })) as { visit: string[] };
  const site = await CountedSite.open();
  const fetched = () => [...site.sent.keys()].filter((path) => path.endsWith(".js")).map((path) => path.replace("/assets/", ""));
  try {
    await page.goto(site.home);
    await expect(page.locator(".ending [role=status]")).not.toBeEmpty({ timeout: 90_000 });
    // The first screen does without the other views.
    const first = fetched();
    expect(first.filter((name) => name.startsWith("views"))).toEqual([]);
    expect(first.filter((name) => /^(page|worker|nibblama)-/.test(name))).toHaveLength(3);
    for (const view of await page.locator("section[data-view]").all()) {
      await view.scrollIntoViewIfNeeded();
      await ready(page, (await view.getAttribute("id")) ?? "");
    }
    expect(fetched().filter((name) => !visit.includes(name))).toEqual([]);
    expect(fetched().length).toBeGreaterThan(first.length);
  } finally {
    await site.close();
  }
});

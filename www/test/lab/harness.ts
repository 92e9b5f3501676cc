/** What the lab's browser tests call in the page. */

import * as nibblama from "../../engine/index";

async function dropped(folder: string, names: readonly string[]): Promise<File[]> {
  return Promise.all(
    names.map(async (name) => {
      const response = await fetch(new URL(name, new URL(folder, document.baseURI)));
      if (!response.ok) throw new Error(`${response.status}: ${folder}${name}`);
      return new File([await response.blob()], name);
    }),
  );
}

export interface LabHarness {
  nibblama: typeof nibblama;
  dropped: typeof dropped;
}

Object.assign(globalThis, { lab: { nibblama, dropped } satisfies LabHarness });
document.body.dataset["ready"] = "true";

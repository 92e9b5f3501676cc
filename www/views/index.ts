/** The views, in the order a newcomer meets them. */

import type { ComponentType } from "preact";
import type { Strings } from "../app/strings";

export type ViewId = keyof Strings["views"];

export interface ViewEntry {
  /** Key of the title in the page's words, place in the hash, and id of the section. */
  id: ViewId;
  /** Its number in the story. */
  number: number;
  load: () => Promise<{ default: ComponentType }>;
  /** What must be there before it can show more than its frame. */
  needs: "sizes" | "lab" | "model" | "nothing";
  /** Height of the body before it is loaded, in rem, so that little moves when it comes. */
  height: number;
}

export const VIEWS: readonly ViewEntry[] = [
  { id: "headline", number: 1, load: () => import("./headline"), needs: "sizes", height: 32 },
];

export const viewOf = (id: string): ViewEntry | undefined => VIEWS.find((view) => view.id === id);

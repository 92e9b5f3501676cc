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
  /** Predict-then-reveal questions in it. */
  questions: number;
  /** Height of the body before it is loaded, in rem, so that little moves when it comes. */
  height: number;
}

export const VIEWS: readonly ViewEntry[] = [
  { id: "headline", number: 1, load: () => import("./headline"), needs: "sizes", questions: 2, height: 32 },
  { id: "weight", number: 2, load: () => import("./weight"), needs: "lab", questions: 1, height: 38 },
  { id: "block", number: 3, load: () => import("./block"), needs: "lab", questions: 1, height: 42 },
  { id: "blocksize", number: 4, load: () => import("./blocksize"), needs: "lab", questions: 1, height: 36 },
  { id: "double", number: 5, load: () => import("./double"), needs: "lab", questions: 2, height: 42 },
  { id: "contest", number: 6, load: () => import("./contest"), needs: "lab", questions: 1, height: 54 },
  { id: "map", number: 7, load: () => import("./map"), needs: "lab", questions: 1, height: 52 },
  { id: "layers", number: 8, load: () => import("./layers"), needs: "model", questions: 1, height: 48 },
  { id: "side", number: 9, load: () => import("./side"), needs: "model", questions: 1, height: 48 },
  { id: "lora", number: 10, load: () => import("./lora"), needs: "model", questions: 1, height: 36 },
  { id: "yours", number: 11, load: () => import("./yours"), needs: "sizes", questions: 1, height: 30 },
  { id: "snippet", number: 12, load: () => import("./snippet"), needs: "sizes", questions: 1, height: 36 },
  { id: "teacher", number: 13, load: () => import("./teacher"), needs: "nothing", questions: 0, height: 40 },
];

export const viewOf = (id: string): ViewEntry | undefined => VIEWS.find((view) => view.id === id);

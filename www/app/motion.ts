/** Whether things may move: the system's wish, and the page's own switch. */

import { state } from "./state";

const still = matchMedia("(prefers-reduced-motion: reduce)");

export function motionAllowed(): boolean {
  return !still.matches && state.motion.value !== "off";
}

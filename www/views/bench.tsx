/** The lab's side: every shared control in one place. */

import type { JSX } from "preact";
import { state } from "../app/state";
import { Check } from "../app/ui";
import { Blocksize, Choice, ComputeDtype, DoubleQuant, QuantType, words } from "./controls";

export default function Bench(): JSX.Element {
  const t = words.value;
  return (
    <>
      <h2>{t.heading}</h2>
      <Choice />
      <QuantType />
      <Blocksize />
      <DoubleQuant />
      <ComputeDtype />
      <Check
        label={t.motion}
        checked={state.motion.value === ""}
        onChange={(on) => (state.motion.value = on ? "" : "off")}
      />
    </>
  );
}

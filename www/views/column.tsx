/** One of two texts beside each other, with the token marked where they part. */

import type { ComponentChildren, JSX } from "preact";
import { state } from "../app/state";
import { parts, visible, type Piece } from "./diff";

export function Column(props: {
  kind: string;
  label: string;
  pieces: readonly Piece[];
  at: number | null;
  /** Where the text was changed in the middle, and what says so. */
  cut?: number | null;
  changed?: string;
  children?: ComponentChildren;
}): JSX.Element {
  const { pieces, cut = null } = props;
  const [same, first, rest] = parts(cut === null ? pieces : pieces.slice(0, cut), props.at);
  // The space that most tokens begin with stays outside of the mark.
  const spaced = /^ \S/.test(first);
  return (
    <div class="column" data-column={props.kind}>
      <h3>{props.label}</h3>
      <p lang="en" class="column-text">
        <span class="muted">{state.prompt.value}</span>
        {same}
        {spaced ? " " : ""}
        {first === "" ? null : <mark>{visible(spaced ? first.slice(1) : first)}</mark>}
        {rest}
        {cut === null ? null : (
          <>
            <span class="muted small"> {props.changed} </span>
            <span class="four-text">{parts(pieces.slice(cut), null)[0]}</span>
          </>
        )}
      </p>
      {props.children}
    </div>
  );
}

/** Predict, then see: a question asked where the misconception arises. */

import type { JSX } from "preact";
import { useEffect, useId, useState } from "preact/hooks";
import { revealed } from "../app/presenter";
import { words } from "../app/state";

export interface QuestionProps {
  question: string;
  options: readonly string[];
  /** Which option is right, by the data shown; null while that is not known. */
  right: number | null;
  /** Why, with the numbers. */
  answer: string;
}

export function Question(props: QuestionProps): JSX.Element {
  const t = words.value.question;
  const id = useId();
  const [chosen, setChosen] = useState<number | null>(null);
  const { right } = props;
  // A presenter's key shows the answers without a choice of one's own.
  const open = right !== null && (chosen !== null || revealed.value);
  useEffect(() => setChosen(null), [props.question]);
  return (
    <div class="question" role="group" aria-labelledby={id}>
      <p class="question-tag">{t.predict}</p>
      <p id={id} class="question-text">
        {props.question}
      </p>
      <div class="question-options">
        {props.options.map((option, i) => (
          <button
            type="button"
            key={i}
            aria-pressed={chosen === i}
            disabled={right === null}
            class={!open ? "" : i === right ? "right" : i === chosen ? "wrong" : "other"}
            onClick={() => setChosen(i)}
          >
            {open && i === right ? "✓ " : open && i === chosen ? "✗ " : ""}
            {option}
          </button>
        ))}
      </div>
      <p class="question-answer" role="status">
        {!open || right === null ? "" : `${chosen === null ? "" : chosen === right ? `${t.right} ` : `${t.wrong} `}${props.answer}`}
      </p>
    </div>
  );
}

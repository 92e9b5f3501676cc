/** View 12: the settings as Python, bound both ways. */

import type { JSX } from "preact";
import { useEffect, useState } from "preact/hooks";
import { signal } from "@preact/signals";
import { bytes } from "../app/format";
import { state, apply } from "../app/state";
import { Check } from "../app/ui";
import { currentConfig, quantizationOf, useConfigSizes } from "./config-sizes";
import { lines, LIBRARY, parse, program, type Config4bit, type Line, type Parsed } from "./python-config";
import { Question } from "./question";
import { skipText } from "./skip";
import { View, type Table } from "./view";
import { viewWords } from "./words";
import { en } from "./words/snippet.en";
import "./models.css";

const words = viewWords(en, () => import("./words/snippet.ko"));
const LESSON: Config4bit = { ...LIBRARY, quant_type: "nf4", double_quant: true, compute_dtype: "bfloat16" };
const showDefaults = signal(true);

/** The page's settings as they are in force. */
function set(config: Config4bit): void {
  apply({
    quant_type: config.quant_type,
    double_quant: config.double_quant ? "on" : "off",
    compute_dtype: config.compute_dtype,
    blocksize: config.blocksize as (typeof state.blocksize)["value"],
    skip: skipText(config.skip_modules),
  });
}

export default function Snippet(): JSX.Element {
  const t = words.value;
  const config = currentConfig.value;
  const sizes = useConfigSizes([quantizationOf(config), quantizationOf(LIBRARY)]);
  const rows = lines(config);
  const differing = rows.filter(({ key, isDefault }) => key !== null && !isDefault).length + (config.blocksize === 64 ? 0 : 1);
  const [ours, theirs] = sizes?.footprints ?? [];
  const takeaway =
    sizes === null || ours === undefined || theirs === undefined
      ? null
      : t.takeaway(differing, sizes.name, bytes(ours.true_bytes), bytes(theirs.true_bytes));
  return (
    <View
      id="snippet"
      chart={false}
      text={t.text}
      takeaway={takeaway}
      caption={t.caption}
      controls={<Paste />}
      explain={t.explain}
      questions={<Question question={t.question.ask} options={t.question.options} right={1} answer={t.question.answer} />}
      table={tableOf(rows)}
    >
      <Code rows={rows} config={config} />
      {config.blocksize === 64 ? null : <p class="notice small">{t.blocksizeNote(config.blocksize)}</p>}
      <Program config={config} />
    </View>
  );
}

/** The call, with a control in the place of each value. */
function Code({ rows, config }: { rows: readonly Line[]; config: Config4bit }): JSX.Element {
  const t = words.value;
  return (
    <div class="code-lines" role="group" aria-label={t.caption}>
      <p class="code-line">
        <code>BitsAndBytesConfig(</code>
      </p>
      {rows.map((line) => (
        <p class={`code-line inner ${line.isDefault ? "is-default" : ""}`} key={line.name} data-argument={line.name}>
          <code>{line.name}=</code>
          <Value line={line} config={config} />
          <code>,</code>
          {line.key === null ? null : <span class="code-note">{line.isDefault ? t.isDefault : t.was(defaultOf(line.name))}</span>}
        </p>
      ))}
      <p class="code-line">
        <code>)</code>
      </p>
    </div>
  );
}

function defaultOf(name: string): string {
  return lines(LIBRARY).find((line) => line.name === name)?.value ?? "";
}

function Value({ line, config }: { line: Line; config: Config4bit }): JSX.Element {
  const t = words.value;
  const select = (label: string, options: readonly [string, string][], onChange: (value: string) => void) => (
    <select
      class="code-value"
      aria-label={label}
      value={options.find(([, shown]) => shown === line.value)?.[0] ?? ""}
      onChange={(event) => onChange(event.currentTarget.value)}
    >
      {options.map(([value, shown]) => (
        <option key={value} value={value}>
          {shown}
        </option>
      ))}
    </select>
  );
  switch (line.key) {
    case "quant_type":
      return select(t.values.quant_type, [["nf4", '"nf4"'], ["fp4", '"fp4"']], (value) =>
        set({ ...config, quant_type: value === "nf4" ? "nf4" : "fp4" }),
      );
    case "double_quant":
      return select(t.values.double_quant, [["on", "True"], ["off", "False"]], (value) =>
        set({ ...config, double_quant: value === "on" }),
      );
    case "compute_dtype":
      return select(
        t.values.compute_dtype,
        (["float32", "bfloat16", "float16"] as const).map((dtype): [string, string] => [dtype, `torch.${dtype}`]),
        (value) => {
          if (value === "float32" || value === "bfloat16" || value === "float16") set({ ...config, compute_dtype: value });
        },
      );
    case "skip_modules":
      return (
        <input
          class="code-value"
          type="text"
          size={22}
          aria-label={t.values.skip_modules}
          title={t.skipHint}
          placeholder={t.skipAuto}
          value={state.skip.value}
          onInput={(event) => (state.skip.value = event.currentTarget.value.slice(0, 400))}
        />
      );
    default:
      return <code>{line.value}</code>;
  }
}

function Program({ config }: { config: Config4bit }): JSX.Element {
  const t = words.value;
  const text = program(config, showDefaults.value);
  const [said, setSaid] = useState("");
  useEffect(() => setSaid(""), [text]);
  const copy = () => {
    // Embedding pages may forbid the clipboard.
    const written = navigator.clipboard?.writeText(text) ?? Promise.reject(new Error("no clipboard"));
    written.then(() => setSaid(t.copied), () => setSaid(t.copyFailed));
  };
  return (
    <div class="program">
      <div class="row spread">
        <h3>{t.program}</h3>
        <Check label={t.defaults} checked={showDefaults.value} onChange={(on) => (showDefaults.value = on)} />
      </div>
      <pre class="scroll-x" tabIndex={0} aria-label={t.program} data-program>
        {text}
      </pre>
      <p class="row">
        <button type="button" onClick={copy}>
          {t.copy}
        </button>
        <span role="status" class="small">
          {said}
        </span>
      </p>
    </div>
  );
}

function Paste(): JSX.Element {
  const t = words.value;
  const [text, setText] = useState("");
  const [result, setResult] = useState<Parsed | null>(null);
  const take = (next: string) => {
    const parsed = parse(next);
    setResult(parsed);
    if ("config" in parsed) set(parsed.config);
  };
  return (
    <>
      <div class="row">
        <button type="button" onClick={() => set(LESSON)}>
          {t.lesson}
        </button>
        <button type="button" onClick={() => set(LIBRARY)}>
          {t.library}
        </button>
      </div>
      <label class="field">
        <span class="label">{t.paste}</span>
        <textarea
          rows={4}
          class="mono"
          spellcheck={false}
          placeholder={t.pasteHint}
          value={text}
          onInput={(event) => {
            setText(event.currentTarget.value);
            setResult(null);
          }}
          onPaste={(event) => {
            const pasted = event.clipboardData?.getData("text/plain") ?? "";
            // A paste into an empty box is meant; one into the middle of a text is not over yet.
            if (text !== "" || pasted === "") return;
            event.preventDefault();
            setText(pasted);
            take(pasted);
          }}
        />
      </label>
      <p class="row">
        <button type="button" disabled={text.trim() === ""} onClick={() => take(text)}>
          {t.apply}
        </button>
      </p>
      <p role="status" class={result !== null && "problem" in result ? "notice bad small" : "small"}>
        {result === null ? "" : "problem" in result ? problemWords(result) : result.ignored.length > 0 ? t.ignored(result.ignored.join(", ")) : t.applied}
      </p>
    </>
  );
}

function problemWords({ problem }: Extract<Parsed, { problem: unknown }>): string {
  const t = words.value.problems;
  switch (problem.kind) {
    case "syntax":
      return t.syntax(problem.near);
    case "value":
      return t.value(problem.name, problem.found);
    default:
      return t[problem.kind];
  }
}

function tableOf(rows: readonly Line[]): Table {
  const { table, yes, no } = words.value;
  return {
    caption: table.caption,
    columns: [table.argument, table.value, table.def, table.same].map((head) => ({ head })),
    rows: rows.map(({ key, name, value, isDefault }) => [name, value, key === null ? "False" : defaultOf(name), isDefault ? yes : no]),
  };
}

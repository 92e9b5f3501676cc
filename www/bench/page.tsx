/** The page that measures the device it is open on. */

import { render, type JSX } from "preact";
import { useId, useState } from "preact/hooks";
import { effect, signal } from "@preact/signals";
import { language, remember, state, words as pageWords } from "../app/state";
import { Mark, Segmented } from "../app/ui";
import { viewWords } from "../views/words";
import { builds, json, measureDevice, plainText } from "./device";
import { Measurements } from "./measurements";
import type { ShapeName } from "./shapes";
import type { Builds } from "./target";
import { digits } from "./text";
import { en } from "./words.en";
import "./drive";

const words = viewWords(en, () => import("./words.ko"));

/** Of the last measurement; `version` changes when values came in. */
const record = signal(new Measurements());
const version = signal(0);
const status = signal<"idle" | "running" | "done" | "stopped">("idle");
const now = signal("");
const failure = signal<string | null>(null);
const chosen = signal<Builds | null>(null);
const shapes = signal<"42m" | "both">("42m");
let running = new AbortController();
let date = "";

async function measure(): Promise<void> {
  running = new AbortController();
  record.value = new Measurements();
  date = new Date().toISOString();
  failure.value = null;
  status.value = "running";
  const models: ShapeName[] = shapes.peek() === "both" ? ["42m", "417m"] : ["42m"];
  const step = (what: string) => {
    now.value = what;
    version.value += 1;
  };
  try {
    await measureDevice(record.peek(), models, step, running.signal);
    status.value = "done";
  } catch (error) {
    status.value = running.signal.aborted ? "stopped" : "idle";
    if (!running.signal.aborted) failure.value = error instanceof Error ? error.message : String(error);
  }
  version.value += 1;
}

function Bar(): JSX.Element {
  const { theme } = pageWords.value;
  return (
    <header class="topbar">
      <a class="brand" href="./" aria-label="Nibblama">
        <Mark />
        <span>Nibblama</span>
      </a>
      <div class="switches">
        <button
          type="button"
          class="quiet"
          lang={language.value === "ko" ? "en" : "ko"}
          onClick={() => {
            state.lang.value = language.value === "ko" ? "en" : "ko";
            remember("lang", state.lang.value);
          }}
        >
          {language.value === "ko" ? "English" : "한국어"}
        </button>
        <label>
          <span class="visually-hidden">{theme.label}</span>
          <select
            value={state.theme.value}
            onChange={({ currentTarget: { value } }) => {
              state.theme.value = value === "light" || value === "dark" ? value : "";
              remember("theme", value);
            }}
          >
            <option value="">{theme.auto}</option>
            <option value="light">{theme.light}</option>
            <option value="dark">{theme.dark}</option>
          </select>
        </label>
      </div>
    </header>
  );
}

function Result(): JSX.Element {
  const t = words.value;
  void version.value;
  const rows = record.value.all();
  return (
    <section class="stack" aria-label={t.caption}>
      <div class="table-behind" style={{ maxHeight: "none" }} tabIndex={0} role="group" aria-label={t.caption}>
        <table>
          <caption>{t.caption}</caption>
          <thead>
            <tr>
              <th scope="col">{t.columns.what}</th>
              {[t.columns.median, t.columns.min, t.columns.max].map((head) => (
                <th scope="col" class="n" key={head}>
                  {head}
                </th>
              ))}
              <th scope="col">{t.columns.unit}</th>
            </tr>
          </thead>
          <tbody>
            {rows.length === 0 ? (
              <tr>
                <td colSpan={5}>{t.none}</td>
              </tr>
            ) : null}
            {rows.map(({ name, unit, median, min, max }) => (
              <tr key={name} data-measurement={name}>
                <th scope="row">{t.measurement(name)}</th>
                {[median, min, max].map((value, i) => (
                  <td class="n" key={i} data-value={value}>
                    {digits(value)}
                  </td>
                ))}
                <td>{unit}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
      {record.value.designs.length === 0 ? null : <Designs />}
      <div class="row">
        <Copy label={t.copyText} disabled={rows.length === 0} text={() => plainText(record.peek(), date)} />
        <Copy label={t.copyJson} disabled={rows.length === 0} text={() => json(record.peek(), date)} />
      </div>
    </section>
  );
}

/** What the engine timed to choose how fast arithmetic is computed. */
function Designs(): JSX.Element {
  const t = words.value.designs;
  return (
    <div class="table-behind" style={{ maxHeight: "none" }} tabIndex={0} role="group" aria-label={t.caption}>
      <table>
        <caption>{t.caption}</caption>
        <thead>
          <tr>
            <th scope="col">{t.design}</th>
            <th scope="col" class="n">
              GB/s
            </th>
            <th scope="col">{t.taken}</th>
          </tr>
        </thead>
        <tbody>
          {record.value.designs.map(({ design, gigabytesPerSecond, chosen }) => (
            <tr key={design} data-design={design}>
              <th scope="row">{t.names[design]}</th>
              <td class="n">{digits(gigabytesPerSecond)}</td>
              <td>{chosen ? t.yes : t.no}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

/** A button that copies; where the clipboard is closed to pages, the text stands below, selected. */
function Copy({ label, text, disabled }: { label: string; text: () => string; disabled: boolean }): JSX.Element {
  const [copied, setCopied] = useState(false);
  const [shown, setShown] = useState<string | null>(null);
  const copy = () => {
    const copying = navigator.clipboard?.writeText(text()) ?? Promise.reject(new Error("no clipboard"));
    copying.then(
      () => setCopied(true),
      () => setShown(text()),
    );
  };
  return (
    <>
      <button type="button" disabled={disabled} onClick={copy}>
        {copied ? words.value.copied : label}
      </button>
      {shown === null ? null : (
        <textarea readOnly rows={8} aria-label={label} ref={(area) => area?.select()} value={shown} />
      )}
    </>
  );
}

function Page(): JSX.Element {
  const t = words.value;
  const hint = useId();
  const busy = status.value === "running";
  const done = { idle: "", running: t.now(t.measurement(now.value)), done: t.done, stopped: t.stopped };
  return (
    <>
      <Bar />
      <main class="hero">
        <div class="hero-head">
          <h1>{t.heading}</h1>
          <p>{t.lede}</p>
        </div>
        <div class="stack">
          <p>{t.advice}</p>
          {chosen.value === null ? null : <p>{t.builds(chosen.value.one, chosen.value.many, chosen.value.threads)}</p>}
          <Segmented
            label={t.models}
            value={shapes.value}
            options={[
              { value: "42m", label: t.small, disabled: busy },
              { value: "both", label: t.both, disabled: busy },
            ]}
            onChange={(value) => (shapes.value = value)}
          />
          <p id={hint}>{t.room}</p>
          <div class="row">
            {busy ? (
              <button type="button" onClick={() => running.abort()}>
                {t.stop}
              </button>
            ) : (
              <button type="button" class="primary" aria-describedby={hint} onClick={() => void measure()}>
                {t.start}
              </button>
            )}
          </div>
          <p role="status" data-status={status.value}>
            {done[status.value]}
          </p>
          {failure.value === null ? null : (
            <div class="notice bad" role="alert">
              <p>{t.failed}</p>
              <p>
                <code>{failure.value}</code>
              </p>
            </div>
          )}
        </div>
        <Result />
        <details>
          <summary>{t.meaning}</summary>
          {t.explain.map((text) => (
            <p key={text}>{text}</p>
          ))}
        </details>
      </main>
    </>
  );
}

effect(() => {
  document.documentElement.lang = language.value;
  document.title = words.value.title;
});
effect(() => {
  const root = document.documentElement.dataset;
  if (state.theme.value === "") delete root["theme"];
  else root["theme"] = state.theme.value;
});
builds().then(
  (found) => (chosen.value = found),
  (error: unknown) => (failure.value = error instanceof Error ? error.message : String(error)),
);
const root = document.getElementById("app");
if (root !== null) {
  root.replaceChildren();
  render(<Page />, root);
}

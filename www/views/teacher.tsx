/** View 13: links, embedding, keys and questions for those who teach with this page. */

import type { JSX } from "preact";
import { useRef, useState } from "preact/hooks";
import { count } from "../app/format";
import { FIELDS, formatHash, type Settings } from "../app/hash";
import { KEYS } from "../app/keys";
import { goTo, revealed } from "../app/presenter";
import { HIDEABLE, settings, words as page, type Hideable } from "../app/state";
import { Check } from "../app/ui";
import { VIEWS, type ViewId } from "./index";
import { View, type Table } from "./view";
import { viewWords } from "./words";
import { en } from "./words/teacher.en";

const words = viewWords(en, () => import("./words/teacher.ko"));

export default function Teacher(): JSX.Element {
  const t = words.value;
  const { keys, views } = page.value;
  const now = settings();
  const [id, setId] = useState<ViewId>("block");
  const [hide, setHide] = useState<readonly Hideable[]>(["text"]);
  const link = address({ ...now, embed: "0" });
  const alone = address({ ...now, view: id, embed: "1", hide: hide.join(",") });
  const frame = `<iframe src="${alone.replaceAll("&", "&amp;")}" title="${views[id].title}" width="960" height="720" loading="lazy"></iframe>`;
  const asking = VIEWS.filter(({ questions }) => questions > 0);
  const changed = changedOf(now);
  return (
    <View
      id="teacher"
      chart={false}
      text={t.text}
      takeaway={t.takeaway(
        changed.length,
        count(link.length),
        String(asking.reduce((sum, { questions }) => sum + questions, 0)),
        String(asking.length),
      )}
      controls={
        <>
          <label class="field">
            <span class="label">{t.view}</span>
            <select value={id} onChange={(event) => setId(VIEWS.find((view) => view.id === event.currentTarget.value)?.id ?? id)}>
              {VIEWS.map((view) => (
                <option key={view.id} value={view.id}>{`${view.number} ${views[view.id].short}`}</option>
              ))}
            </select>
          </label>
          <fieldset class="field">
            <legend>{t.hide}</legend>
            <div class="row">
              {HIDEABLE.map((part) => (
                <Check
                  key={part}
                  label={t.parts[part]}
                  checked={hide.includes(part)}
                  onChange={(on) => setHide(HIDEABLE.filter((other) => (other === part ? on : hide.includes(other))))}
                />
              ))}
            </div>
          </fieldset>
        </>
      }
      explain={t.explain}
      table={tableOf(now)}
    >
      <Copyable label={t.link} text={link} />
      <Copyable label={`${t.address}: ${views[id].short}`} text={alone} open />
      <Copyable label={t.frame} text={frame} />
      <div class="teacher-lists">
        <div>
          <h3>{t.questions}</h3>
          <ul class="plain-list">
            {asking.map((view) => (
              <li key={view.id}>
                <button type="button" class="link" onClick={() => goTo(view.id)}>
                  {views[view.id].title}
                </button>
                <span class="muted small"> {t.count(view.questions)}</span>
              </li>
            ))}
          </ul>
          <Check label={t.reveal} checked={revealed.value} onChange={(on) => (revealed.value = on)} />
        </div>
        <div>
          <h3>{t.keys}</h3>
          <dl class="key-list">
            {KEYS.map(({ key, name }) => (
              <div key={key}>
                <dt>
                  <kbd>{key}</kbd>
                </dt>
                <dd>{keys[name]}</dd>
              </div>
            ))}
          </dl>
        </div>
      </div>
    </View>
  );
}

function address(now: Settings): string {
  return new URL(`${location.pathname}${location.search}${formatHash(now)}`, location.href).href;
}

const names = Object.keys(FIELDS) as (keyof Settings)[];
const changedOf = (now: Settings) => names.filter((name) => now[name] !== FIELDS[name].default);

function tableOf(now: Settings): Table {
  const t = words.value;
  const inWords = (value: string | number) => (value === "" ? t.empty : String(value));
  return {
    caption: t.caption,
    columns: [{ head: t.columns.setting }, { head: t.columns.value }, { head: t.columns.initial }],
    rows: names.map((name) => [name, inWords(now[name]), inWords(FIELDS[name].default)]),
  };
}

function Copyable(props: { label: string; text: string; open?: boolean }): JSX.Element {
  const t = words.value;
  const input = useRef<HTMLInputElement>(null);
  const [copied, setCopied] = useState("");
  return (
    <div class="copyable">
      <label class="field">
        <span class="label">{props.label}</span>
        <input ref={input} type="text" readOnly value={props.text} onFocus={(event) => event.currentTarget.select()} />
      </label>
      <button
        type="button"
        onClick={() => {
          input.current?.select();
          // Where the clipboard is closed to pages, the text stands selected.
          navigator.clipboard?.writeText(props.text).then(
            () => setCopied(props.text),
            () => undefined,
          );
        }}
      >
        {copied === props.text ? t.copied : t.copy}
      </button>
      {props.open === true ? (
        <a class="button" href={props.text} target="_blank" rel="noopener">
          {t.open}
        </a>
      ) : null}
    </div>
  );
}

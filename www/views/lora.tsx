/** View 10: one prompt without and with a LoRA adapter on the model of this tab. */

import type { JSX } from "preact";
import { useEffect } from "preact/hooks";
import { batch, signal } from "@preact/signals";
import { bytes, count, percent } from "../app/format";
import { isAbort, session } from "../app/session";
import { state } from "../app/state";
import type { Model, ModelSource } from "../engine/index";
import { firstDifference, parts, type Piece } from "./diff";
import { Pick } from "./pick";
import { Question } from "./question";
import { View, type Table } from "./view";
import { viewWords } from "./words";
import { en } from "./words/lora.en";
import "./models.css";

const words = viewWords(en, () => import("./words/lora.ko"));
const BUILT_IN = ["rhymes", "dialogue", "olden"] as const;
const FILES = ["adapter_config.json", "adapter_model.safetensors"];
const TOKENS = 90;

interface AdapterFacts {
  name: string;
  bytes: number;
  rank: number;
  alpha: number;
  matrices: number;
}

interface Run {
  adapter: string;
  base: number;
  without: Piece[];
  with: Piece[];
  /** Tokens after which another adapter was chosen. */
  switchedAt: number | null;
}

const facts = signal<AdapterFacts | null>(null);
const run = signal<Run | null>(null);
const error = signal<Error | null>(null);
const writing = signal<AbortController | null>(null);
const own = signal<readonly File[]>([]);
/** Adapters that each model holds. */
const held = new WeakMap<Model, Map<string, AdapterFacts>>();

function sourceOf(name: string): ModelSource {
  return name === "own" ? own.peek() : { url: new URL(`models/adapters/${name}/`, document.baseURI), files: FILES };
}

async function configOf(name: string): Promise<{ r: number; lora_alpha: number; target_modules: string[] | string }> {
  const file = own.peek().find((each) => each.name === "adapter_config.json");
  const text =
    name === "own" && file !== undefined
      ? await file.text()
      : await (await fetch(new URL(`models/adapters/${name}/adapter_config.json`, document.baseURI))).text();
  return JSON.parse(text) as { r: number; lora_alpha: number; target_modules: string[] | string };
}

/** Loads an adapter unless the model holds it. */
async function ready(model: Model, name: string): Promise<AdapterFacts> {
  const known = held.get(model) ?? new Map<string, AdapterFacts>();
  held.set(model, known);
  const before = known.get(name);
  if (before !== undefined) return before;
  const { bytes: size } = await model.loadAdapter(name, sourceOf(name));
  const { r, lora_alpha, target_modules } = await configOf(name);
  const adapter = { name, bytes: size, rank: r, alpha: lora_alpha, matrices: [target_modules].flat().length };
  known.set(name, adapter);
  return adapter;
}

export function stopBoth(): void {
  writing.peek()?.abort();
}

/** Writes the prompt twice. The adapter is in use only while the second text is written. */
export async function writeBoth(): Promise<void> {
  const model = session.model.peek();
  if (model === null) return;
  stopBoth();
  const abort = new AbortController();
  batch(() => {
    writing.value = abort;
    error.value = null;
  });
  const name = state.adapter.peek();
  const { signal } = abort;
  const options = () => {
    const temperature = state.temp.peek();
    return {
      max_new_tokens: TOKENS,
      seed: state.seed.peek(),
      do_sample: temperature > 0,
      ...(temperature > 0 ? { temperature } : {}),
      signal,
    };
  };
  try {
    const adapter = await ready(model, name);
    const ledger = await model.memory();
    const base = ledger.total - ledger.lora - ledger.kv_cache - ledger.scratch;
    if (signal.aborted) return;
    batch(() => {
      facts.value = adapter;
      run.value = { adapter: name, base, without: [], with: [], switchedAt: null };
    });
    const into = async (column: "without" | "with") => {
      for await (const { token, text } of model.generate(state.prompt.peek(), options())) {
        const now = run.peek();
        if (signal.aborted || now === null) return;
        run.value = { ...now, [column]: [...now[column], { token, text }] };
      }
    };
    await into("without");
    await model.setAdapter(state.adapter.peek());
    await into("with");
  } catch (problem) {
    if (!isAbort(problem) && writing.peek() === abort) error.value = problem instanceof Error ? problem : new Error(String(problem));
  } finally {
    // The story at the top of the page is the base model's.
    await model.setAdapter(null).catch(() => undefined);
    if (writing.peek() === abort) writing.value = null;
  }
}

/** Another adapter: at once where the second text is being written, else both are written anew. */
async function choose(name: (typeof state.adapter)["value"]): Promise<void> {
  state.adapter.value = name;
  const model = session.model.peek();
  const now = run.peek();
  if (model === null) return;
  if (writing.peek() === null || now === null || now.with.length === 0) return writeBoth();
  try {
    const adapter = await ready(model, name);
    await model.setAdapter(name);
    const latest = run.peek();
    batch(() => {
      facts.value = adapter;
      if (latest !== null) run.value = { ...latest, adapter: name, switchedAt: latest.with.length };
    });
  } catch (problem) {
    error.value = problem instanceof Error ? problem : new Error(String(problem));
  }
}

export default function Lora(): JSX.Element {
  const t = words.value;
  const model = session.model.value;
  const builtIn = session.name.value === null;
  const idle = !session.writing.value;
  useEffect(() => {
    // The first text comes by itself, once the story above is done; a model without adapters of its own waits.
    if (model !== null && builtIn && idle && run.peek() === null && writing.peek() === null) void writeBoth();
  }, [model, builtIn, idle]);
  useEffect(() => stopBoth, []);
  const now = run.value;
  const adapter = facts.value;
  const done = now !== null && now.with.length > 0 && adapter !== null;
  const name = adapterName(now?.adapter ?? state.adapter.value);
  return (
    <View
      id="lora"
      chart={false}
      text={<p>{t.text}</p>}
      takeaway={done ? sentence(now, adapter) : null}
      caption={t.caption(name)}
      controls={<Controls />}
      explain={
        <>
          <p class="formula">
            <code>y = W x + (alpha / r) · B (A x)</code>
          </p>
          {t.explain.map((paragraph) => (
            <p key={paragraph}>{paragraph}</p>
          ))}
        </>
      }
      questions={
        <Question
          question={t.question.ask(now === null ? "…" : bytes(now.base))}
          options={t.question.options}
          right={done ? nearest(adapter.bytes / now.base) : null}
          answer={done ? t.question.answer(bytes(adapter.bytes), percent(adapter.bytes / now.base)) : ""}
        />
      }
      table={done ? tableOf(now, adapter) : null}
    >
      {error.value === null ? null : (
        <p class="notice bad" role="alert">
          {t.loadFailed}: <code>{error.value.message}</code>
        </p>
      )}
      {model === null ? <p class="notice">{session.phase.value.kind === "loading" ? t.waiting : t.noModel}</p> : null}
      {model !== null && !builtIn && state.adapter.value !== "own" ? <p class="notice">{t.foreign}</p> : null}
      <Columns run={now} name={name} />
      {done ? <Facts run={now} adapter={adapter} /> : null}
    </View>
  );
}

function adapterName(name: string): string {
  const known: Record<string, string> = words.value.adapters;
  return known[name] ?? name;
}

/** Half, a tenth, or all: the option next to the share. */
function nearest(share: number): number {
  const options = [0.5, 0.1, 1].map((option) => Math.abs(Math.log(share / option)));
  return options.indexOf(Math.min(...options));
}

function sentence(now: Run, adapter: AdapterFacts): string {
  const t = words.value;
  const at = firstDifference(now.without, now.with);
  const share = percent(adapter.bytes / now.base);
  if (at === null || (writing.value !== null && at >= now.with.length)) {
    return t.takeawaySame(adapterName(adapter.name), bytes(adapter.bytes), share, now.with.length);
  }
  return t.takeaway(adapterName(adapter.name), bytes(adapter.bytes), share, at + 1, now.with[at]?.text.trim() ?? "");
}

function Columns({ run: now, name }: { run: Run | null; name: string }): JSX.Element {
  const t = words.value;
  const at = now === null || now.with.length === 0 ? null : firstDifference(now.without, now.with);
  const prompt = state.prompt.value;
  const column = (label: string, pieces: readonly Piece[], kind: "without" | "with") => {
    const cut = kind === "with" && now?.switchedAt !== null ? (now?.switchedAt ?? null) : null;
    const shown = cut === null ? pieces : pieces.slice(0, cut);
    const [same, first, rest] = parts(shown, at);
    const after = cut === null ? "" : parts(pieces.slice(cut), null)[0];
    return (
      <div class="column" data-column={kind}>
        <h3>{label}</h3>
        <p lang="en" class="column-text">
          <span class="muted">{prompt}</span>
          {same}
          {first === "" ? null : <mark>{first}</mark>}
          {rest}
          {cut === null ? null : (
            <>
              <span class="muted small"> {t.switched} </span>
              <span class="four-text">{after}</span>
            </>
          )}
        </p>
        <p class="small muted">
          {count(pieces.length)} {t.facts.tokens}
        </p>
      </div>
    );
  };
  return (
    <div class="columns" aria-busy={writing.value !== null}>
      {column(t.without, now?.without ?? [], "without")}
      {column(t.with(name), now?.with ?? [], "with")}
    </div>
  );
}

function Facts({ run: now, adapter }: { run: Run; adapter: AdapterFacts }): JSX.Element {
  const { facts: t } = words.value;
  const rows: [string, string][] = [
    [t.rank, String(adapter.rank)],
    [t.alpha, String(adapter.alpha)],
    [t.scale, String(adapter.alpha / adapter.rank)],
    [t.matrices, String(adapter.matrices)],
    [t.bytes, bytes(adapter.bytes)],
    [t.base, bytes(now.base)],
    [t.share, percent(adapter.bytes / now.base)],
  ];
  return (
    <>
      <dl class="figures">
        {rows.map(([term, value]) => (
          <div key={term}>
            <dt>{term}</dt>
            <dd>{value}</dd>
          </div>
        ))}
      </dl>
      <div class="proportion" role="img" aria-label={`${words.value.chart}: ${bytes(adapter.bytes)}, ${bytes(now.base)}`}>
        <i class="base" style={{ flexGrow: now.base }} />
        <i class="added" style={{ flexGrow: adapter.bytes }} />
      </div>
    </>
  );
}

function Controls(): JSX.Element {
  const t = words.value;
  const model = session.model.value;
  return (
    <>
      <fieldset class="field">
        <legend>{t.adapter}</legend>
        <div class="segmented">
          {[...BUILT_IN, ...(own.value.length > 0 ? (["own"] as const) : [])].map((name) => (
            <label key={name}>
              <input
                type="radio"
                name="lora-adapter"
                checked={state.adapter.value === name}
                onChange={() => void choose(name)}
              />
              {adapterName(name)}
            </label>
          ))}
        </div>
      </fieldset>
      <label class="field">
        <span class="label">{t.prompt}</span>
        <input
          type="text"
          lang="en"
          value={state.prompt.value}
          onInput={(event) => (state.prompt.value = event.currentTarget.value)}
          onKeyDown={(event) => event.key === "Enter" && void writeBoth()}
        />
      </label>
      <div class="row">
        <button type="button" class="primary" disabled={model === null || writing.value !== null} onClick={() => void writeBoth()}>
          {t.write}
        </button>
        <button type="button" disabled={writing.value === null} onClick={stopBoth}>
          {t.stop}
        </button>
      </div>
      <div class="field">
        <span class="label">{t.pick}</span>
        <p>
          <Pick
            label={t.pickButton}
            name="lora"
            disabled={model === null}
            onFiles={(files) => {
              if (!FILES.every((name) => files.some((file) => file.name === name))) {
                error.value = new Error(t.missing);
                return;
              }
              own.value = files;
              if (model === null) return;
              // A former one of that name is no longer meant.
              const had = held.get(model)?.delete("own") === true;
              const forget = had ? model.deleteAdapter("own").catch(() => undefined) : Promise.resolve();
              void forget.then(() => choose("own"));
            }}
          />
        </p>
      </div>
    </>
  );
}

function tableOf(now: Run, adapter: AdapterFacts): Table {
  const { table, facts: t } = words.value;
  return {
    caption: table.caption,
    columns: [{ head: table.what }, { head: table.bytes, format: count }],
    rows: [
      [t.bytes, adapter.bytes],
      [t.base, now.base],
    ],
  };
}

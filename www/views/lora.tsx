/** View 10: one prompt without and with a LoRA adapter on the model of this tab. */

import type { JSX } from "preact";
import { useEffect } from "preact/hooks";
import { bytes, count, percent, small } from "../app/format";
import { session } from "../app/session";
import { state } from "../app/state";
import { Segmented, Slider } from "../app/ui";
import { Canvas, type Drawing } from "../draw/canvas";
import { Column } from "./column";
import { firstDifference } from "./diff";
import {
  choose, dropMerged, error, facts, FILES, MOST_TO_MERGE, own, place, run, stage, stopBoth, strengthen, takeOwn, writeBoth,
  type AdapterFacts, type Run,
} from "./lora-run";
import { Pick } from "./pick";
import { bars } from "./bars";
import { Figures } from "./figures";
import { Question } from "./question";
import { View, type Table } from "./view";
import { viewWords } from "./words";
import { en } from "./words/lora.en";
import "./models.css";

const words = viewWords(en, () => import("./words/lora.ko"));
const BUILT_IN = ["rhymes", "dialogue", "olden"] as const;

export default function Lora(): JSX.Element {
  const t = words.value;
  const model = session.model.value;
  const builtIn = session.name.value === null;
  const idle = !session.writing.value;
  useEffect(() => {
    // The first text comes by itself, once the story above is done; a model without adapters of its own waits.
    if (model !== null && builtIn && idle && run.peek() === null && stage.peek() === "idle") void writeBoth();
  }, [model, builtIn, idle]);
  useEffect(
    () => () => {
      stopBoth();
      dropMerged();
    },
    [],
  );
  const now = run.value;
  const adapter = facts.value;
  const done = now !== null && now.with.length > 0 && adapter !== null;
  const name = adapterName(now?.adapter ?? state.adapter.value);
  return (
    <View
      id="lora"
      text={t.text}
      takeaway={done ? sentence(now, adapter) : null}
      caption={t.caption(name)}
      controls={<Controls />}
      explain={["y = W x + (alpha / r) · B (A x)", ...t.explain]}
      questions={
        <Question
          question={t.question.ask(now === null ? "…" : bytes(now.base), adapter === null ? "…" : String(adapter.rank))}
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
      <p class="small muted" role="status">
        {t.stages[stage.value]}
      </p>
      {done ? <Size run={now} adapter={adapter} /> : null}
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
  if (now.shift !== null && now.merged !== null) {
    const { merged, base } = now.shift;
    const again = now.quantized ? t.again.four : t.again.sixteen;
    return t.takeawayMerged(adapterName(adapter.name), bytes(now.merged), bytes(now.base + adapter.bytes), again, small(merged), small(base));
  }
  if (at === null || (stage.value !== "idle" && at >= now.with.length)) {
    return t.takeawaySame(adapterName(adapter.name), bytes(adapter.bytes), share, now.with.length);
  }
  return t.takeaway(adapterName(adapter.name), bytes(adapter.bytes), share, at + 1, now.with[at]?.text.trim() ?? "");
}

function Columns({ run: now, name }: { run: Run | null; name: string }): JSX.Element {
  const t = words.value;
  const at = now === null || now.with.length === 0 ? null : firstDifference(now.without, now.with);
  return (
    <div class="columns" aria-busy={stage.value !== "idle"}>
      {(["without", "with"] as const).map((kind) => {
        const pieces = now?.[kind] ?? [];
        const label = kind === "without" ? t.without : now?.how === "merged" ? t.withMerged(name) : t.with(name);
        return (
          <Column key={kind} kind={kind} label={label} pieces={pieces} at={at} cut={kind === "with" ? (now?.switchedAt ?? null) : null} changed={t.switched}>
            <p class="small muted">
              {count(pieces.length)} {t.facts.tokens}
            </p>
          </Column>
        );
      })}
    </div>
  );
}

function Size({ run: now, adapter }: { run: Run; adapter: AdapterFacts }): JSX.Element {
  const t = words.value;
  const rows: [string, string][] = [
    [t.facts.rank, String(adapter.rank)],
    [t.facts.alpha, String(adapter.alpha)],
    [t.facts.scale, String(Number((adapter.alpha / adapter.rank).toPrecision(4)))],
    [t.facts.matrices, adapter.targets],
    [t.facts.share, percent(adapter.bytes / now.base)],
    ...(now.shift === null
      ? []
      : ([
          [t.facts.shift, `${small(now.shift.merged)} nat`],
          [t.facts.whole, `${small(now.shift.base)} nat`],
        ] as [string, string][])),
  ];
  return (
    <>
      <Figures rows={rows} />
      <Canvas
        name="bytes"
        label={`${t.chart}: ${bytes(adapter.bytes)}, ${bytes(now.base)}`}
        height={(_, rem) => (now.merged === null ? 3 : 5.4) * rem}
        draw={(drawing) => drawBytes(drawing, now, adapter)}
      />
    </>
  );
}

/** What is held: the base with the adapter beside it, and the merged weights once they are there. */
function drawBytes(drawing: Drawing, { base, merged, quantized }: Run, adapter: AdapterFacts): void {
  const { colours } = drawing;
  const { bars: t } = words.value;
  const own = quantized ? colours.four : colours.full;
  bars(drawing, 0, [
    { label: t.beside, shown: `${bytes(base)} + ${bytes(adapter.bytes)}`, parts: [[base, own], [adapter.bytes, colours["grey-1"]]] },
    ...(merged === null ? [] : [{ label: t.merged, shown: bytes(merged), parts: [[merged, own] as const] }]),
  ]);
}

function Controls(): JSX.Element {
  const t = words.value;
  const model = session.model.value;
  const busy = stage.value !== "idle";
  const tooLarge = (run.value?.base ?? 0) > MOST_TO_MERGE;
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
      <Segmented
        label={t.place}
        value={state.lora.value}
        options={(["beside", "merged"] as const).map((value) => ({ value, label: t.places[value], disabled: value === "merged" && tooLarge }))}
        onChange={place}
      />
      {tooLarge ? <p class="small muted">{t.tooLarge}</p> : null}
      <Slider
        label={t.strength}
        value={state.strength.value}
        min={0}
        max={2}
        step={0.1}
        shown={t.times(state.strength.value.toFixed(1))}
        onInput={strengthen}
      />
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
        <button type="button" class="primary" disabled={model === null || busy} onClick={() => void writeBoth()}>
          {t.write}
        </button>
        <button type="button" disabled={!busy} onClick={stopBoth}>
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
              void takeOwn(files);
            }}
          />
        </p>
      </div>
    </>
  );
}

function tableOf(now: Run, adapter: AdapterFacts): Table {
  const { table, facts: t, bars } = words.value;
  return {
    caption: table.caption,
    columns: [{ head: table.what }, { head: table.bytes, format: count }],
    rows: [
      [t.bytes, adapter.bytes],
      [t.base, now.base],
      ...(now.merged === null ? [] : [[bars.merged, now.merged]]),
    ],
  };
}

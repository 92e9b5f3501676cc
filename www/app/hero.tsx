/** The first screen: a story being written, and what the model weighs. */

import type { JSX } from "preact";
import { useEffect, useRef } from "preact/hooks";
import { signal } from "@preact/signals";
import type { LoadProgress, VariantInfo } from "../engine/index";
import { Bars } from "./bars";
import { bytes, count } from "./format";
import { cancelLoading, needModel, quantizeHere, session, start, stop, write } from "./session";
import { state, words } from "./state";
import { Modal, Slider } from "./ui";

const buildOpen = signal(false);

function Waiting(): JSX.Element {
  const t = words.value.hero;
  const phase = session.phase.value;
  if (phase.kind !== "loading") {
    return (
      <div class="story-wait">
        <p>{phase.kind === "idle" && phase.metered ? t.meteredUnknown : ""}</p>
        <p>
          <button type="button" class="primary" onClick={() => void start()}>
            {t.start}
          </button>
        </p>
      </div>
    );
  }
  const { progress } = phase;
  return (
    <div class="story-wait">
      <h3>{t.loading}</h3>
      <progress
        aria-label={t.loading}
        {...(progress !== null && progress.total > 0 ? { value: progress.loaded, max: progress.total } : {})}
      />
      <p class="num" role="status">
        {progressInWords(progress)}
      </p>
      {progress?.facts === undefined ? null : (
        <p class="small muted">
          {t.facts(
            count(progress.facts.parameters),
            progress.facts.config.num_hidden_layers,
            progress.facts.config.hidden_size,
          )}
        </p>
      )}
    </div>
  );
}

function progressInWords(progress: LoadProgress | null): string {
  const t = words.value.hero;
  if (progress === null || progress.phase === "engine") return t.engine;
  if (progress.total === 0) return t.headers;
  return t.weights(bytes(progress.loaded), bytes(progress.total));
}

function Paper(): JSX.Element {
  const t = words.value.hero;
  const story = session.story.value;
  const paper = useRef<HTMLDivElement>(null);
  // Follows the text as long as the reader has not scrolled away from its end.
  useEffect(() => {
    const box = paper.current;
    if (box !== null && box.scrollHeight - box.scrollTop - box.clientHeight < 120) box.scrollTop = box.scrollHeight;
  }, [story?.text]);
  const body = story === null ? "" : story.text.slice(0, story.text.length - story.last.length);
  return (
    <div
      class="story-paper"
      ref={paper}
      role="region"
      aria-label={t.storyLabel}
      tabIndex={0}
      lang="en"
      aria-busy={session.writing.value}
    >
      {story === null ? (
        <Waiting />
      ) : (
        <>
          <span class="prompt">{story.prompt}</span>
          {body}
          <span class={session.writing.value ? "last" : ""}>{story.last}</span>
        </>
      )}
    </div>
  );
}

function Reading(props: { label: string; children: string; unit?: string }): JSX.Element {
  return (
    <div class="reading">
      <dt>{props.label}</dt>
      <dd>{props.children}</dd>
    </div>
  );
}

function Readings(): JSX.Element {
  const t = words.value.hero;
  const story = session.story.value;
  const ledger = session.ledger.value;
  const variant = session.model.value?.variant;
  return (
    <>
      <dl class="readings">
        <Reading label={t.speed}>{story?.rate == null ? "\u2013" : story.rate.toFixed(1)}</Reading>
        <Reading label={t.memory}>{ledger === null ? "\u2013" : bytes(ledger.total)}</Reading>
        <Reading label={t.wasm}>{ledger === null ? "\u2013" : bytes(ledger.wasm_memory)}</Reading>
      </dl>
      <p class="row ending">
        <button type="button" class="chip" disabled={variant === undefined} onClick={() => (buildOpen.value = true)}>
          {variant === undefined ? t.build : buildInWords(variant)}
        </button>
        <span class="small muted" role="status">
          {story?.ending == null ? "" : t.finished[story.ending]}
        </span>
      </p>
    </>
  );
}

function buildInWords(variant: VariantInfo): string {
  const t = words.value.hero;
  return `${variant.simd === "relaxed" ? t.relaxed : t.simd128} · ${t.threads(variant.threads)}`;
}

function Build(): JSX.Element {
  const { build, hero, close } = words.value;
  const variant = session.model.value?.variant;
  return (
    <Modal open={buildOpen} heading={build.heading} close={close}>
      {variant === undefined ? null : (
        <div class="stack">
          <p>{build.runs(variant.name, hero.threads(variant.threads), variant.isa)}</p>
          <p>{build.about}</p>
          {crossOriginIsolated ? null : <p class="notice">{build.noIsolation}</p>}
          {variant.rejected.length === 0 ? null : (
            <>
              <h3>{build.passedOver}</h3>
              <ul>
                {variant.rejected.map(({ name, reason }) => (
                  <li key={name}>
                    <code>{name}</code>: {reason}
                  </li>
                ))}
              </ul>
            </>
          )}
        </div>
      )}
    </Modal>
  );
}

function PromptBox(): JSX.Element {
  const t = words.value.hero;
  const ready = session.model.value !== null;
  const writing = session.writing.value;
  const seed = (value: number) => {
    if (Number.isFinite(value)) state.seed.value = Math.min(2 ** 31, Math.max(0, Math.round(value)));
  };
  return (
    <form
      class="prompt-box"
      onSubmit={(event) => {
        event.preventDefault();
        if (session.writing.value) stop();
        else void write();
      }}
    >
      <div class="prompt-line">
        <textarea
          aria-label={t.prompt}
          rows={1}
          lang="en"
          maxLength={1000}
          value={state.prompt.value}
          onInput={(event) => (state.prompt.value = event.currentTarget.value)}
          onKeyDown={(event) => {
            if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
            event.preventDefault();
            void write();
          }}
        />
        <button type="submit" class="primary" disabled={!ready}>
          {writing ? t.stop : t.write}
        </button>
      </div>
      <div class="row" role="group" aria-label={t.examples}>
        {t.exampleTexts.map((text) => (
          <button
            type="button"
            class="chip"
            lang="en"
            key={text}
            onClick={() => {
              state.prompt.value = text;
              void write();
            }}
          >
            {text} …
          </button>
        ))}
      </div>
      <div class="controls">
        <Slider
          label={t.temperature}
          value={state.temp.value}
          min={0}
          max={1.5}
          step={0.05}
          shown={state.temp.value.toFixed(2)}
          onInput={(value) => (state.temp.value = value)}
        />
        <div class="seed">
          <label class="field">
            <span class="label">{t.seed}</span>
            <input
              type="number"
              min={0}
              max={2 ** 31}
              value={state.seed.value}
              onChange={(event) => seed(event.currentTarget.valueAsNumber)}
            />
          </label>
          <button
            type="button"
            disabled={!ready}
            onClick={() => {
              seed(state.seed.value + 1);
              void write();
            }}
          >
            {t.again}
          </button>
        </div>
      </div>
    </form>
  );
}

export function QuantizeHere(): JSX.Element {
  const t = words.value.quantize;
  const progress = session.quantizing.value;
  const done = session.quantized.value;
  return (
    <section class="panel" aria-labelledby="quantize-heading">
      <h2 id="quantize-heading">{t.heading}</h2>
      <p>{done === null ? t.aboutUnknown : t.about(bytes(done.before))}</p>
      {progress === null ? (
        <p>
          <button type="button" onClick={() => void quantizeHere()} disabled={session.phase.value.kind === "loading"}>
            {t.button}
          </button>
        </p>
      ) : (
        <div class="stack">
          <progress aria-label={t.heading} value={progress.loaded} max={Math.max(progress.total, 1)} />
          <p class="num small" role="status">
            {t.progress(progress.tensor ?? "", progress.tensors, progress.tensorsTotal)}
          </p>
          <p>
            <button type="button" onClick={cancelLoading}>
              {t.cancel}
            </button>
          </p>
        </div>
      )}
      {done === null ? null : (
        <div class="stack">
          <dl class="before-after">
            <div>
              <dt>{t.before}</dt>
              <dd class="num full">{bytes(done.before)}</dd>
              <i class="seg-full" aria-hidden="true" />
            </div>
            <div>
              <dt>{t.after}</dt>
              <dd class="num four">{bytes(weightBytes(done.after))}</dd>
              <i
                class="seg-codes"
                aria-hidden="true"
                style={{ width: `${(weightBytes(done.after) / done.before) * 100}%` }}
              />
            </div>
          </dl>
          <p class="small" role="status">
            {t.took(done.seconds.toFixed(1))}
          </p>
        </div>
      )}
    </section>
  );
}

/** What of a ledger is weights: all but kv cache and buffers. */
function weightBytes(ledger: { total: number; kv_cache: number; scratch: number }): number {
  return ledger.total - ledger.kv_cache - ledger.scratch;
}

export function Hero(): JSX.Element {
  const t = words.value.hero;
  // Coming from the lab, where the story was not wanted.
  useEffect(() => void needModel(), []);
  return (
    <div class="hero" id="top">
      <div class="hero-head">
        <h1>{t.heading}</h1>
        <p>{t.lede}</p>
      </div>
      <div class="hero-grid">
        <div class="story" id="story">
          <Paper />
          <Readings />
          <PromptBox />
        </div>
        <Bars />
      </div>
      <Build />
    </div>
  );
}

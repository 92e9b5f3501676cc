/** View 9: full precision and 4-bit from one prompt. */

import type { JSX } from "preact";
import { useEffect, useRef } from "preact/hooks";
import { bytes, count, percent, small } from "../app/format";
import { KERNELS } from "../app/hash";
import { metered, session } from "../app/session";
import { state } from "../app/state";
import { Segmented } from "../app/ui";
import { Canvas, type Drawing } from "../draw/canvas";
import { axisBottom, line } from "../draw/axes";
import { linear } from "../draw/scale";
import type { MemoryLedger } from "../engine/index";
import { Blocksize, DoubleQuant, QuantType } from "./controls";
import { Column } from "./column";
import { firstDifference } from "./diff";
import {
  compared, failure, leavePair, measurePair, setArithmetic, sides, stage, stopPair, writePair, type Compared, type Stage,
} from "./pair";
import { Question } from "./question";
import { View, type Table } from "./view";
import { viewWords } from "./words";
import { en } from "./words/side.en";
import "./models.css";

const words = viewWords(en, () => import("./words/side.ko"));

export default function SideBySide(): JSX.Element {
  const t = words.value;
  const root = useRef<HTMLDivElement>(null);
  const model = session.model.value;
  const builtIn = session.name.value === null;
  const stored = !builtIn && model?.facts.quantization !== null && model !== null;
  const idle = !session.writing.value;
  useWhileSeen(root, builtIn && model !== null && idle && !metered());
  const [full, four] = [sides.full.value, sides.four.value];
  const at = full.pieces.length === 0 || four.pieces.length === 0 ? null : firstDifference(full.pieces, four.pieces);
  const done = compared.value !== null;
  const kl = compared.value === null ? "" : small(compared.value.meanKl);
  const takeaway = !done
    ? null
    : at === null
      ? t.takeawaySame(full.pieces.length, kl)
      : t.takeaway(at + 1, (four.pieces[at] ?? full.pieces[at])?.text.trim() ?? "", kl);
  return (
    <View
      id="side"
      text={t.text}
      takeaway={takeaway}
      caption={t.caption}
      controls={<Controls stored={stored} />}
      explain={t.explain}
      questions={<Question question={t.question.ask} options={t.question.options} right={done ? 2 : null} answer={t.question.answer(kl)} />}
      table={compared.value === null ? null : tableOf(compared.value)}
    >
      <div ref={root} class="figure-body">
        {failure.value === null ? null : (
          <p class="notice bad" role="alert">
            {t.failed}: <code>{failure.value.message}</code>
          </p>
        )}
        {stored ? <p class="notice">{t.noOriginals}</p> : null}
        <Progress stage={stage.value} />
        <div class="columns" aria-busy={stage.value.kind === "writing"}>
          {(["full", "four"] as const).map((which) => (
            <Column key={which} kind={which} label={t[which]} pieces={sides[which].value.pieces} at={at} />
          ))}
        </div>
        {compared.value === null ? null : (
          <Canvas
            name="kl"
            label={`${t.kl}: ${takeaway ?? ""}`}
            height={(_, rem) => 8 * rem}
            draw={(drawing) => compared.value !== null && draw(drawing, compared.value)}
          />
        )}
        <Numbers />
      </div>
    </View>
  );
}

/** Begins when the view is seen, and gives the memory back when it has been out of sight for a while. */
function useWhileSeen(root: { current: HTMLElement | null }, begin: boolean): void {
  const may = useRef(begin);
  may.current = begin;
  const seen = useRef(false);
  const start = () => {
    if (seen.current && may.current && stage.peek().kind === "idle" && !wasLeft() && sides.full.peek().pieces.length === 0) void writePair();
  };
  useEffect(start, [begin]);
  useEffect(() => {
    const element = root.current;
    if (element === null) return;
    let timer: number | undefined;
    const observer = new IntersectionObserver(([entry]) => {
      seen.current = entry?.isIntersecting === true;
      clearTimeout(timer);
      if (seen.current) start();
      else timer = window.setTimeout(leavePair, 15_000);
    });
    observer.observe(element);
    return () => {
      clearTimeout(timer);
      observer.disconnect();
      leavePair();
    };
  }, []);
}

function wasLeft(): boolean {
  const now = stage.peek();
  return now.kind === "idle" && now.left;
}

function Progress({ stage: now }: { stage: Stage }): JSX.Element | null {
  const t = words.value;
  switch (now.kind) {
    case "idle":
      return <p class="small muted">{now.left ? t.left : metered() ? t.metered : ""}</p>;
    case "ready":
      return null;
    case "loading":
      return (
        <Bar
          label={now.total === 0 ? `${t[now.which]}: ${t.engine}` : t.loading(t[now.which], bytes(now.loaded), bytes(now.total))}
          share={now.total === 0 ? null : now.loaded / now.total}
        />
      );
    case "measuring":
      return (
        <Bar label={`${t.facts.perplexity}, ${t[now.which]}: ${t.measuring(count(now.done), count(now.total))}`} share={now.done / now.total} />
      );
    case "writing":
      return <Bar label={`${t.writing}: ${t[now.which]}`} share={null} />;
    case "comparing":
      return <Bar label={t.comparing} share={null} />;
  }
}

function Bar({ label, share }: { label: string; share: number | null }): JSX.Element {
  return (
    <label class="field small">
      <span>{label}</span>
      <progress max={1} {...(share === null ? {} : { value: share })} />
    </label>
  );
}

/** Speed, ledger and quality of both, number beside number. */
function Numbers(): JSX.Element | null {
  const { facts: t, full: fullName, four: fourName, perplexity } = words.value;
  const [full, four] = [sides.full.value, sides.four.value];
  if (full.rate === null && full.perplexity === null) return null;
  const held = (of: (memory: MemoryLedger) => number) => (side: typeof full) => {
    const size = side.memory === null ? 0 : of(side.memory);
    return size === 0 ? "" : bytes(size);
  };
  const ledger: [string, (memory: MemoryLedger) => number][] = [
    [t.codes, (memory) => memory.packed_codes],
    [t.scales, ({ absmax, nested_absmax, quant_maps }) => absmax + nested_absmax + quant_maps],
    [t.floats, (memory) => memory.floats_16bit + memory.floats_32bit],
    [t.cache, (memory) => memory.kv_cache],
    [t.scratch, (memory) => memory.scratch],
    [t.other, (memory) => memory.other],
    [t.wasm, (memory) => memory.wasm_memory],
  ];
  const rows: [string, string, string][] = [
    [full.dtype === "float32" ? t.rate : t.rateEmulated(full.dtype), full.rate?.toFixed(1) ?? "", four.rate?.toFixed(1) ?? ""],
    [t.kernel, full.kernel, four.kernel],
    ...ledger.map(([name, of]): [string, string, string] => [name, held(of)(full), held(of)(four)]),
    [t.perplexity, full.perplexity?.perplexity.toFixed(3) ?? "", four.perplexity?.perplexity.toFixed(3) ?? ""],
  ];
  const both = full.perplexity !== null && four.perplexity !== null;
  return (
    <>
      <div class="scroll-x" tabIndex={0} role="region" aria-label={`${fullName}, ${fourName}`}>
        <table class="ledger">
          <thead>
            <tr>
              <td />
              <th scope="col" class="n">
                {fullName}
              </th>
              <th scope="col" class="n">
                {fourName}
              </th>
            </tr>
          </thead>
          <tbody>
            {rows
              .filter(([, a, b]) => a !== "" || b !== "")
              .map(([label, a, b]) => (
                <tr key={label} class={label === t.wasm ? "sum" : ""}>
                  <th scope="row">{label}</th>
                  <td class="n">{a}</td>
                  <td class="n">{b}</td>
                </tr>
              ))}
          </tbody>
        </table>
      </div>
      {both && full.perplexity !== null && four.perplexity !== null ? (
        <p class="small" role="status">
          {perplexity(
            full.perplexity.perplexity.toFixed(3),
            four.perplexity.perplexity.toFixed(3),
            percent(four.perplexity.perplexity / full.perplexity.perplexity - 1),
            count(four.perplexity.tokens),
          )}
        </p>
      ) : null}
    </>
  );
}

function draw({ ctx, width, height, colours, font, text }: Drawing, { kl, topA, topB }: Compared): void {
  const { rem } = colours;
  const bottom = height - 1.7 * rem;
  const most = Math.max(...kl, 1e-9);
  const x = linear([0, kl.length], [1, width - 1]);
  const y = linear([0, most], [bottom, 1.4 * rem]);
  const bar = Math.max(1, x(1) - x(0) - 1);
  kl.forEach((value, i) => {
    const changed = topA[i] !== topB[i];
    ctx.fillStyle = changed ? colours.four : colours["four-2"];
    ctx.fillRect(x(i), y(value), bar, bottom - y(value));
    // Not by colour alone: where the likeliest token differs, a mark stands on the bar.
    if (changed) {
      ctx.beginPath();
      ctx.arc(x(i) + bar / 2, y(value) - 4, 2.5, 0, 7);
      ctx.fill();
    }
  });
  line(ctx, colours["rule-strong"], x(0), bottom, x(kl.length), bottom);
  font(0.75);
  text(words.value.kl, 1, 0.9 * rem, { colour: colours["ink-2"], halo: true });
  const label = small(most);
  font(0.75, { mono: true });
  text(label, width - 1, 0.9 * rem, { colour: colours["ink-2"], align: "right", halo: true });
  axisBottom({ ctx, width, height, colours, font, text }, x, bottom, { format: (value) => count(value), about: 6 });
}

function Controls({ stored }: { stored: boolean }): JSX.Element {
  const t = words.value;
  const now = stage.value;
  const busy = now.kind !== "idle" && now.kind !== "ready";
  const size = session.name.value === null ? session.sizes.value?.bf16.true_bytes : session.model.value?.facts.fileBytes;
  const emulated = state.tab_dtype.value !== "float32";
  return (
    <>
      <div class="row">
        <button type="button" class="primary" disabled={stored || busy || session.model.value === null} onClick={() => void writePair()}>
          {now.kind === "ready" ? t.again : size === undefined ? t.startUnknown : t.start(bytes(size))}
        </button>
        <button type="button" disabled={!busy} onClick={stopPair}>
          {t.stop}
        </button>
        <button type="button" class="quiet" disabled={now.kind !== "ready"} onClick={leavePair}>
          {t.leave}
        </button>
      </div>
      <QuantType />
      <Blocksize />
      <DoubleQuant />
      <Segmented
        label={t.dtype}
        value={state.tab_dtype.value}
        options={(["float32", "bfloat16", "float16"] as const).map((value) => ({ value, label: value }))}
        onChange={(value) => (state.tab_dtype.value = value)}
      />
      <Segmented
        label={t.arithmetic}
        value={state.arithmetic.value}
        options={(["exact", "near-exact", "fast"] as const).map((value) => ({ value, label: t.arithmetics[value], disabled: emulated }))}
        onChange={(value) => void setArithmetic(value)}
      />
      {emulated ? <p class="small muted">{t.emulated}</p> : null}
      <label class="field">
        <span class="label">{t.kernel}</span>
        <select
          data-choice="kernel"
          value={state.kernel.value}
          onChange={(event) => (state.kernel.value = KERNELS.find((name) => name === event.currentTarget.value) ?? "auto")}
        >
          {KERNELS.map((name) => (
            <option key={name} value={name} disabled={name.endsWith("threads") && !crossOriginIsolated}>
              {name === "auto" ? t.best : name}
            </option>
          ))}
        </select>
      </label>
      <p>
        <button type="button" disabled={stored || busy || session.model.value === null} onClick={() => void measurePair()}>
          {t.measure}
        </button>
      </p>
    </>
  );
}

function tableOf({ kl, topA, topB, tokens }: Compared): Table {
  const { table, yes, no } = words.value;
  return {
    caption: table.caption,
    columns: [{ head: table.position, format: count }, { head: table.token }, { head: table.kl, format: small }, { head: table.same }],
    rows: [...kl].map((value, i) => [i + 1, tokens[i] ?? "", value, topA[i] === topB[i] ? yes : no]),
  };
}

/** View 1: the parts of a 4-bit model, one after another, against half a byte per parameter. */

import type { JSX } from "preact";
import { useEffect, useState } from "preact/hooks";
import { footprint, type Footprint } from "../engine/index";
import { segmentsOf } from "../app/bars";
import { bytes, count, percent } from "../app/format";
import { KNOWN_MODELS } from "../app/known-models";
import { report, session } from "../app/session";
import { state } from "../app/state";
import { Check } from "../app/ui";
import { Canvas, type Drawing } from "../draw/canvas";
import { axisBottom, hatch, line } from "../draw/axes";
import { linear } from "../draw/scale";
import { Question } from "./question";
import { View, type Table } from "./view";
import { viewWords } from "./words";
import { en } from "./words/headline.en";

const words = viewWords(en, () => import("./words/headline.ko"));

interface Part {
  kind: keyof typeof en.parts;
  from: number;
  to: number;
}

interface Sized {
  name: string;
  four: Footprint;
  sixteen: Footprint;
}

/** The 4-bit model's parts, each beginning where the last ended. */
export function waterfall(four: Footprint): Part[] {
  const parts: Part[] = [{ kind: "naive", from: 0, to: four.parameters / 2 }];
  let at = 0;
  for (const { kind, bytes } of segmentsOf(four)) {
    if (kind === "full") continue;
    parts.push({ kind, from: at, to: at + bytes });
    at += bytes;
  }
  return [...parts, { kind: "total", from: 0, to: at }, { kind: "printed", from: 0, to: four.get_memory_footprint }];
}

function useSizes(): Sized | null {
  const [sized, setSized] = useState<Sized | null>(null);
  const own = session.model.value?.facts.rawConfig;
  const [known] = KNOWN_MODELS;
  const model = KNOWN_MODELS.find(({ name }) => name === state.size_of.value) ?? null;
  const here = state.size_of.value === "this" && own !== undefined;
  const name = here ? (session.name.value ?? words.value.thisModel) : (model ?? known)?.name;
  const double = state.double_quant.value === "on";
  const blocksize = state.blocksize.value;
  useEffect(() => {
    let current = true;
    const config = here ? { ...own, quantization_config: undefined } : (model ?? known)?.config;
    if (config === undefined || name === undefined) return;
    const quantization = {
      load_in_4bit: true,
      bnb_4bit_quant_type: "nf4" as const,
      bnb_4bit_use_double_quant: double,
      bnb_4bit_blocksize: blocksize,
    };
    Promise.all([
      footprint(config, { dtype: "bfloat16", quantization }),
      footprint(config, { dtype: "bfloat16" }),
    ]).then(([four, sixteen]) => current && setSized({ name, four, sixteen }), report);
    return () => {
      current = false;
    };
  }, [name, here, double, blocksize, own]);
  return sized;
}

export default function Headline(): JSX.Element {
  const t = words.value;
  const sized = useSizes();
  const parts = sized === null ? [] : waterfall(sized.four);
  return (
    <View
      id="headline"
      text={t.text}
      takeaway={sized === null ? null : sentence(sized)}
      caption={t.caption(sized?.name ?? "")}
      controls={<Controls />}
      explain={sized === null ? [] : explanation(sized)}
      questions={sized === null ? null : <Questions sized={sized} />}
      table={sized === null ? null : tableOf(sized.four, parts)}
    >
      <Canvas
        name="parts"
        label={sized === null ? "" : sentence(sized)}
        height={(_, rem) => 25 * rem}
        draw={(drawing) => draw(drawing, parts)}
      />
    </View>
  );
}

function sentence({ name, four }: Sized): string {
  const t = words.value;
  const naive = four.parameters / 2;
  const tied = !four.modules.some((module) => module.kind === "Linear");
  return t.takeaway(name, bytes(four.true_bytes), bytes(naive), percent(four.true_bytes / naive - 1, 0), tied ? t.kept.tied : t.kept.all);
}

function draw(drawing: Drawing, parts: readonly Part[]): void {
  const { ctx, width, height, colours, font, text } = drawing;
  const last = parts.at(-2);
  if (last === undefined) return;
  const { rem } = colours;
  const bottom = height - 1.7 * rem;
  const x = linear([0, last.to * 1.04], [1, width - 1]);
  const row = bottom / parts.length;
  const fill: Record<Part["kind"], string> = {
    naive: "transparent", codes: colours.four, absmax: colours["four-2"], nested: colours["four-3"],
    embed: colours["grey-1"], head: colours["grey-2"], norm: colours["grey-3"], total: colours.four, printed: "transparent",
  };
  const naive = parts[0];
  if (naive !== undefined) {
    ctx.setLineDash([4, 4]);
    line(ctx, colours.four, x(naive.to), 1.25 * rem, x(naive.to), bottom);
    ctx.setLineDash([]);
  }
  parts.forEach((part, i) => {
    const top = i * row;
    const label = words.value.parts[part.kind];
    const barTop = top + 1.25 * rem;
    const barHeight = row - 1.25 * rem - 0.3 * rem;
    const [x0, x1] = [x(part.from), Math.max(x(part.to), x(part.from) + 1.5)];
    font(0.8, { weight: part.kind === "total" ? 650 : 400 });
    const shown = bytes(part.to - part.from);
    const labelWidth = ctx.measureText(label).width;
    font(0.8, { mono: true, weight: part.kind === "total" ? 650 : 400 });
    const whole = labelWidth + 0.6 * rem + ctx.measureText(shown).width;
    // The label stands right of where its bar begins, or left of it where the chart ends too soon.
    const right = part.from === 0 ? x0 : x0 + 0.4 * rem;
    const start = right + whole < width - 1 ? right : Math.max(1, x0 - 0.4 * rem - whole);
    text(shown, start + labelWidth + 0.6 * rem, top + rem, { colour: colours.ink, halo: true });
    font(0.8, { weight: part.kind === "total" ? 650 : 400 });
    text(label, start, top + rem, { colour: part.kind === "total" ? colours.ink : colours["ink-2"], halo: true });
    if (part.kind === "total") {
      // The whole in its parts' own colours, in their places.
      for (const piece of parts.slice(1, -2)) {
        ctx.fillStyle = fill[piece.kind];
        ctx.fillRect(x(piece.from), barTop, x(piece.to) - x(piece.from), barHeight);
      }
    } else {
      ctx.fillStyle = fill[part.kind];
      ctx.fillRect(x0, barTop, x1 - x0, barHeight);
    }
    if (part.kind === "naive" || part.kind === "printed") {
      hatch(drawing, colours.four, x0, barTop, x1 - x0, barHeight);
      ctx.strokeStyle = colours.four;
      ctx.lineWidth = 1.5;
      ctx.strokeRect(x0 + 0.75, barTop + 0.75, Math.max(x1 - x0 - 1.5, 0), barHeight - 1.5);
    }
    const next = parts[i + 1];
    if (next !== undefined && next.from === part.to) line(ctx, colours["rule-strong"], x1, barTop, x1, barTop + row + 0.6 * rem);
  });
  axisBottom(drawing, x, bottom, { format: (value) => (value === 0 ? "0" : bytes(value, 2)), about: Math.max(3, Math.floor(width / 110)) });
}

function tableOf(four: Footprint, parts: readonly Part[]): Table {
  const t = words.value;
  return {
    caption: t.caption(""),
    columns: [{ head: t.part }, { head: t.bytes, format: count }, { head: t.share, format: (share) => percent(share) }],
    rows: parts.map(({ kind, from, to }) => [t.parts[kind], to - from, (to - from) / four.true_bytes]),
  };
}

function Controls(): JSX.Element {
  const t = words.value;
  return (
    <div class="controls">
      <label class="field">
        <span class="label">{t.model}</span>
        <select value={state.size_of.value} onChange={(event) => (state.size_of.value = event.currentTarget.value)}>
          {KNOWN_MODELS.map(({ name }) => (
            <option key={name} value={name}>
              {name}
            </option>
          ))}
          <option value="this" disabled={session.model.value === null}>
            {session.name.value ?? t.thisModel}
          </option>
        </select>
      </label>
      <Check
        label={t.doubleQuant}
        checked={state.double_quant.value === "on"}
        onChange={(on) => (state.double_quant.value = on ? "on" : "off")}
      />
    </div>
  );
}

function explanation({ four }: Sized): readonly string[] {
  const tables = four.modules.filter(({ kind }) => kind === "Embedding" || kind === "Linear");
  const share = tables.reduce((sum, module) => sum + module.printed_bytes, 0) / four.get_memory_footprint;
  return words.value.explain(percent(share), bytes(four.get_memory_footprint), bytes(four.true_bytes));
}

function Questions({ sized }: { sized: Sized }): JSX.Element {
  const t = words.value;
  const { four, sixteen, name } = sized;
  const linear = four.packed_codes + four.absmax + four.nested_absmax + four.quant_maps;
  const options = [four.parameters / 2, four.true_bytes, sixteen.true_bytes / 2, four.parameters].map((size) => bytes(size));
  return (
    <>
      <Question
        question={t.question.ask(name, count(four.parameters))}
        options={[...new Set(options)]}
        right={[...new Set(options)].indexOf(bytes(four.true_bytes))}
        answer={t.question.answer(bytes(four.true_bytes), bytes(four.floats_16bit))}
      />
      <Question
        question={t.shrink.ask}
        options={t.shrink.options}
        right={1}
        answer={t.shrink.answer(bytes(linear), bytes(sixteen.true_bytes - four.floats_16bit))}
      />
    </>
  );
}

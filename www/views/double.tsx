/** View 5: double quantization, from absmax to 8-bit codes, and what it saves. */

import type { JSX } from "preact";
import type { LabDoubleQuant } from "../engine/lab-types";
import { bytes, count, percent, plain, signed, small } from "../app/format";
import { blockIndex, choose, settings, short, tensor, useAnswer } from "../app/lab";
import { axisLeft, dot, line } from "../draw/axes";
import { session } from "../app/session";
import { Canvas, type Drawing, type Point } from "../draw/canvas";
import { linear, type Scale } from "../draw/scale";
import { Blocksize, Choice, DoubleQuant, LabNotice } from "./controls";
import { bars } from "./bars";
import { Figures } from "./figures";
import { Question } from "./question";
import { View, type Table } from "./view";
import { viewWords } from "./words";
import { en } from "./words/double.en";

const words = viewWords(en, () => import("./words/double.ko"));

/** The 256 scales that share a second-level absmax with the chosen block's. */
interface Group {
  first: number;
  last: number;
}

export default function Double(): JSX.Element {
  const t = words.value;
  const { quant_type, blocksize } = settings.value;
  const answer = useAnswer((lab, subject) => lab.doubleQuant(subject.name, settings.peek()), [quant_type, blocksize]);
  const shown = answer.value;
  const here = Math.min(blockIndex.value, (shown?.codes.length ?? 1) - 1);
  const group = shown === null ? { first: 0, last: 0 } : groupOf(shown, here);
  const name = short(answer.tensor?.name ?? "");
  const turn = (block: number) => choose(block * settings.value.blocksize);
  return (
    <View
      id="double"
      late={answer.tensor !== tensor.value}
      text={t.text}
      takeaway={shown === null ? null : sentence(shown, answer.tensor?.elements ?? 1)}
      caption={t.caption(name, count(group.first), count(group.last))}
      controls={
        <>
          <Choice weights={false} />
          <div class="choice">
            <Blocksize />
            <DoubleQuant />
          </div>
        </>
      }
      explain={t.explain(
        shown?.weightErrors == null ? "" : small(shown.weightErrors.single.rmse),
        shown?.weightErrors == null ? "" : small(shown.weightErrors.double.rmse),
        ofLarge(),
      )}
      questions={shown === null ? null : <Asked shown={shown} />}
      table={shown === null ? null : tableOf(shown, name)}
    >
      <LabNotice error={answer.error} />
      <Canvas
        name="scales"
        label={t.chart}
        height={(width, rem) => Math.min(19 * rem, Math.max(14 * rem, width * 0.4))}
        draw={(drawing) => shown !== null && drawScales(drawing, shown, group, here)}
        slider={{
          value: here,
          min: 0,
          max: (shown?.codes.length ?? 1) - 1,
          page: 16,
          text: shown === null ? "" : inWords(shown, here),
          onChange: turn,
        }}
        onPoint={(point) => {
          if (shown !== null && (point.phase === "down" || point.phase === "drag")) turn(nearest(point, group));
        }}
      />
      {shown === null ? null : <Figures rows={figuresOf(shown, here)} />}
      <Canvas
        name="bytes"
        label={t.memory}
        height={(_, rem) => 11 * rem}
        draw={(drawing) => shown !== null && drawBytes(drawing, shown)}
      />
    </View>
  );
}

function groupOf({ codes, nestedBlocksize }: LabDoubleQuant, here: number): Group {
  const first = here - (here % nestedBlocksize);
  return { first, last: Math.min(first + nestedBlocksize, codes.length) - 1 };
}

/** What it saves of Llama 3.1 8B. */
function ofLarge(): string {
  const { nf4, nf4dq } = session.sizesOf8B.value ?? {};
  if (nf4 === undefined || nf4dq === undefined) return "";
  const saved = nf4.true_bytes - nf4dq.true_bytes;
  return words.value.large(bytes(saved), bytes(nf4.true_bytes), percent(saved / nf4.true_bytes));
}

function sentence({ bytes: tensorBytes, model }: LabDoubleQuant, weights: number): string {
  const bits = (held: number) => (held * 8) / weights;
  const saved = model.single - model.double;
  return words.value.takeaway(
    (bits(tensorBytes.single) - bits(tensorBytes.double)).toFixed(3),
    bits(tensorBytes.single).toFixed(3),
    bits(tensorBytes.double).toFixed(3),
    bytes(saved),
    bytes(model.single),
    percent(saved / model.single),
    bytes(model.printedDouble),
  );
}

function inWords({ absmax, restored }: LabDoubleQuant, here: number): string {
  const before = absmax?.[here];
  return words.value.scaleAt(count(here), before === undefined ? "\u2013" : plain(before, 5), plain(restored[here] as number, 5));
}

function Asked({ shown }: { shown: LabDoubleQuant }): JSX.Element {
  const { printed, saved } = words.value;
  const { model } = shown;
  const fell = 1 - model.printedDouble / model.printedSingle;
  const share = 1 - model.double / model.single;
  const options = [0.2, 0.1, share, 0.001].map((value) => percent(value));
  return (
    <>
      <Question
        question={printed.ask}
        options={printed.options}
        right={fell > 0.09 ? 0 : fell > 0.01 ? 1 : 2}
        answer={printed.answer(`${count(model.printedSingle)} B`, `${count(model.printedDouble)} B`)}
      />
      <Question question={saved.ask} options={options} right={2} answer={saved.answer(percent(share))} />
    </>
  );
}

const LEFT = 4.2;
const RUG = 3.4;
const placeOf = (width: number, rem: number, { first, last }: Group): Scale =>
  linear([first - 0.5, Math.max(last, first + 1) + 0.5], [LEFT * rem, width - RUG * rem]);

function nearest(point: Point, group: Group): number {
  const rem = parseFloat(getComputedStyle(document.documentElement).fontSize);
  return Math.min(group.last, Math.max(group.first, Math.round(placeOf(point.width, rem, group).invert(point.x))));
}

function drawScales(drawing: Drawing, shown: LabDoubleQuant, group: Group, here: number): void {
  const { ctx, width, height, colours, font, text } = drawing;
  const { rem } = colours;
  const t = words.value;
  const x = placeOf(width, rem, group);
  const nested = shown.nested[Math.floor(group.first / shown.nestedBlocksize)] as number;
  const y = linear([-nested * 1.05, nested * 1.05], [height - 0.8 * rem, 2 * rem]);
  axisLeft(drawing, y, LEFT * rem, { about: 5, format: (value) => signed(value, 3), grid: width - RUG * rem });
  ctx.fillStyle = colours["full-wash"];
  ctx.fillRect(x(here) - 4, 1.4 * rem, 8, height - 1.8 * rem);
  // The map's levels at the right edge: dense near zero.
  for (const level of shown.map) line(ctx, colours.four, width - (RUG - 0.5) * rem, y(level * nested), width - 0.4 * rem, y(level * nested));
  for (let i = group.first; i <= group.last; i++) {
    const restored = (shown.restored[i] as number) - shown.offset;
    const before = shown.absmax?.[i];
    const radius = i === here ? 0.42 * rem : 0.2 * rem;
    if (before !== undefined) {
      if (i === here) line(ctx, colours.ink, x(i), y(before - shown.offset), x(i), y(restored), 2);
      dot(ctx, x(i), y(before - shown.offset), radius, colours.full, i === here ? colours.ink : undefined);
    }
    dot(ctx, x(i), y(restored), radius * 0.62, colours.four);
  }
  const chosen = (shown.restored[here] as number) - shown.offset;
  ctx.setLineDash([4, 3]);
  line(ctx, colours.four, x(here), y(chosen), width - 0.4 * rem, y(chosen), 1.5);
  ctx.setLineDash([]);
  line(ctx, colours.ink, LEFT * rem, y(0), width - RUG * rem, y(0));
  font(0.78);
  let at = LEFT * rem;
  for (const [label, colour] of [[t.before, colours.full], [t.after, colours.four]] as const) {
    dot(ctx, at + 0.3 * rem, 0.65 * rem, 0.28 * rem, colour);
    text(label, at + 0.85 * rem, 0.95 * rem, { colour: colours["ink-2"] });
    at += ctx.measureText(label).width + 2 * rem;
  }
  text(t.levels, width - 0.4 * rem, 0.95 * rem, { align: "right", colour: colours.four });
  // Where the row has room for it, beside the others; else over the axis.
  const mean = t.zero(plain(shown.offset, 4));
  const room = at + ctx.measureText(`${mean}${t.levels}`).width + 2 * rem < width;
  if (room) line(ctx, colours.ink, at, 0.65 * rem, at + 0.6 * rem, 0.65 * rem, 2);
  text(mean, room ? at + 0.85 * rem : LEFT * rem + 0.4 * rem, room ? 0.95 * rem : height - 1.1 * rem, { halo: true, colour: colours["ink-2"] });
}

function figuresOf(shown: LabDoubleQuant, here: number): [string, string][] {
  const { figures } = words.value;
  const absmax = shown.absmax?.[here];
  const nested = shown.nested[Math.floor(here / shown.nestedBlocksize)] as number;
  const restored = shown.restored[here] as number;
  return [
    ...(absmax === undefined
      ? []
      : ([
          [figures.absmax, plain(absmax, 6)],
          [figures.mean, signed(absmax - shown.offset, 6)],
          [figures.divided, signed((absmax - shown.offset) / nested, 4)],
        ] as [string, string][])),
    [figures.code, String(shown.codes[here])],
    [figures.restored, plain(restored, 6)],
    ...(absmax === undefined ? [] : ([[figures.error, signed(restored - absmax, 6)]] as [string, string][])),
  ];
}

function drawBytes(drawing: Drawing, { model }: LabDoubleQuant): void {
  const { colours, font, text } = drawing;
  const t = words.value;
  font(0.78);
  text(t.memory, 0, 0.9 * colours.rem, { colour: colours["ink-2"] });
  const kinds = ["single", "double", "printedSingle", "printedDouble"] as const;
  bars(
    drawing,
    1.5 * colours.rem,
    kinds.map((kind) => ({
      label: t.rows[kind],
      shown: `${count(model[kind])} B`,
      // What is only printed is outlined.
      parts: [[model[kind], kind === "double" ? colours.four : kind === "single" ? colours["four-2"] : null]],
    })),
  );
}

function tableOf(shown: LabDoubleQuant, name: string): Table {
  const { columns } = words.value;
  const six = (value: number) => plain(value, 6);
  const { absmax, codes, restored } = shown;
  return {
    caption: name,
    columns: [
      { head: columns.block, format: count },
      ...(absmax === null ? [] : [{ head: columns.absmax, format: six }]),
      { head: columns.code },
      { head: columns.restored, format: six },
    ],
    rows: {
      length: codes.length,
      row: (i) => [i, ...(absmax === null ? [] : [absmax[i] as number]), codes[i] as number, restored[i] as number],
    },
  };
}

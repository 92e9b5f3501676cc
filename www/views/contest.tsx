/** View 6: the formats on the chosen tensor; bits, MAE and RMSE together, histograms against levels. */

import type { JSX } from "preact";
import type { LabFormat, LabFormatName } from "../engine/lab-types";
import { small } from "../app/format";
import { settings, short, tensor, useAnswer } from "../app/lab";
import { axisBottom, axisLeft, dot, line } from "../draw/axes";
import { Canvas, type Drawing } from "../draw/canvas";
import { linear } from "../draw/scale";
import { Blocksize, Choice, LabNotice, withoutOriginals } from "./controls";
import { Question } from "./question";
import { View, type Table } from "./view";
import { viewWords } from "./words";
import { en } from "./words/contest.en";

const words = viewWords(en, () => import("./words/contest.ko"));

const BINS = 128;
/** What is meant by a 4-bit format here: its codes have 4 bits, scales on top. */
const FOUR_BIT = 5.5;

export default function Contest(): JSX.Element {
  const t = words.value;
  const { blocksize } = settings.value;
  const answer = useAnswer<LabFormat[] | null>(
    async (lab, subject) => (subject.original ? lab.contest(subject.name, { blocksize }, { bins: BINS }) : null),
    [blocksize],
  );
  const formats = answer.value;
  const name = short(answer.tensor?.name ?? "");
  return (
    <View
      id="contest"
      late={answer.tensor !== tensor.value}
      text={t.text}
      takeaway={formats === null ? withoutOriginals() : sentence(formats, name)}
      caption={t.caption}
      controls={
        <>
          <Choice blocks={false} weights={false} />
          <Blocksize />
        </>
      }
      explain={t.explain}
      questions={formats === null ? null : <Asked formats={formats} name={name} />}
      table={formats === null ? null : tableOf(formats, name)}
    >
      <LabNotice error={answer.error} />
      {withoutOriginals() !== null ? null : (
        <>
          <Canvas
            name="formats"
            label={formats === null ? "" : `${t.chart}: ${formats.map(inWords).join("; ")}`}
            height={(width, rem) => Math.min(22 * rem, Math.max(17 * rem, width * 0.45))}
            draw={(drawing) => formats !== null && drawScatter(drawing, formats)}
          />
          <Canvas
            name="levels"
            label={t.levels}
            height={(width, rem) => (1.8 + Math.ceil(7 / columnsOf(width, rem)) * ROW) * rem}
            draw={(drawing) => formats !== null && drawLevels(drawing, formats)}
          />
        </>
      )}
    </View>
  );
}

const nameOf = (name: LabFormatName): string => words.value.names[name];
const inWords = (format: LabFormat) => `${nameOf(format.name)} ${format.bits_per_weight.toFixed(2)}, ${small(format.rmse)}`;

function bestOf(formats: readonly LabFormat[]): LabFormat | undefined {
  return formats
    .filter(({ bits_per_weight }) => bits_per_weight < FOUR_BIT)
    .reduce<LabFormat | undefined>((best, format) => (best === undefined || format.rmse < best.rmse ? format : best), undefined);
}

function sentence(formats: readonly LabFormat[], name: string): string {
  const best = bestOf(formats);
  const few = formats.reduce<LabFormat | undefined>(
    (least, format) => (least === undefined || format.bits_per_weight < least.bits_per_weight ? format : least),
    undefined,
  );
  if (best === undefined || few === undefined) return "";
  const bits = (format: LabFormat) => format.bits_per_weight.toFixed(2);
  const t = words.value;
  return best === few
    ? t.same(name, nameOf(best.name), small(best.rmse), bits(best))
    : t.takeaway(name, nameOf(best.name), small(best.rmse), bits(best), nameOf(few.name), small(few.rmse), bits(few));
}

function Asked({ formats, name }: { formats: readonly LabFormat[]; name: string }): JSX.Element | null {
  const { question } = words.value;
  const four = formats.filter(({ bits_per_weight }) => bits_per_weight < FOUR_BIT);
  const best = bestOf(formats);
  const nf4 = four.find((format) => format.name === "nf4-dq");
  if (best === undefined || nf4 === undefined) return null;
  return (
    <Question
      question={question.ask(name)}
      options={four.map((format) => nameOf(format.name))}
      right={four.indexOf(best)}
      answer={question.answer(nameOf(best.name), small(best.rmse), best.bits_per_weight.toFixed(2), small(nf4.rmse), nf4.bits_per_weight.toFixed(2))}
    />
  );
}

function drawScatter(drawing: Drawing, formats: readonly LabFormat[]): void {
  const { ctx, width, height, colours, font, text } = drawing;
  const { rem } = colours;
  const t = words.value;
  const most = Math.max(...formats.map(({ relative_rmse }) => relative_rmse));
  const x = linear([3.9, 8.35], [3.4 * rem, width - 0.6 * rem]);
  const y = linear([0, most * 1.12], [height - 3.2 * rem, 2 * rem]);
  axisLeft(drawing, y, 3.4 * rem, { title: t.axisError, about: 5, format: (value) => String(value), grid: width - 0.6 * rem });
  axisBottom(drawing, x, y.range[0], { title: t.axisBits, ticks: [4, 4.5, 5, 6, 7, 8], format: String });
  const size = 0.42 * rem;
  const dots = formats.map((format) => ({ x: x(format.bits_per_weight) - size, y: y(format.relative_rmse) - size, width: 2 * size, height: 2 * size }));
  const taken = [...dots];
  // From the axis up: there is no place under the lowest.
  for (const format of [...formats].sort((a, b) => a.relative_rmse - b.relative_rmse)) {
    const [cx, cy] = [x(format.bits_per_weight), y(format.relative_rmse)];
    const ours = format.name.startsWith("nf4") || format.name === "fp4";
    dot(ctx, cx, cy, ours ? size : 0.34 * rem, ours ? colours.four : colours["grey-2"], format.name === "nf4-dq" ? colours.ink : undefined);
    font(0.8, { weight: ours ? 600 : 400 });
    const label = nameOf(format.name);
    const box = { width: ctx.measureText(label).width + 0.4 * rem, height: 0.95 * rem };
    // Beside the dot, else over or under it: the first place where it meets no dot and no other label.
    const places = [0, 0.6, -0.6, 1.1, -1.1, 2.1, -2.1, 3.1].flatMap((rows) => {
      const top = cy - box.height / 2 + rows * rem;
      const beside = Math.abs(rows) < 1 ? 0.7 * rem : -size;
      return [{ ...box, x: cx + beside, y: top }, { ...box, x: cx - beside - box.width, y: top }];
    });
    const free = places.find(
      (at) => at.x >= x.range[0] && at.x + at.width <= width && at.y + at.height < y.range[0] && at.y > 0 && !taken.some((other) => meet(at, other)),
    );
    const at = free ?? places[0];
    if (at === undefined) continue;
    taken.push(at);
    // Far from its dot, a label needs a line to it.
    if (cy - at.y > 2 * rem) line(ctx, colours["rule-strong"], cx, at.y + box.height, cx, cy - size);
    text(label, at.x, at.y + 0.75 * rem, { colour: ours ? colours.four : colours.ink, halo: true });
  }
}

interface Box {
  x: number;
  y: number;
  width: number;
  height: number;
}

const meet = (a: Box, b: Box) => a.x < b.x + b.width && b.x < a.x + a.width && a.y < b.y + b.height && b.y < a.y + a.height;

const ROW = 7.4;
const columnsOf = (width: number, rem: number): number => (width > 29 * rem ? 2 : 1);

function drawLevels(drawing: Drawing, formats: readonly LabFormat[]): void {
  const { ctx, width, colours, font, text } = drawing;
  const { rem } = colours;
  const t = words.value;
  font(0.8);
  text(t.levels, 0, 0.9 * rem, { colour: colours["ink-2"] });
  const columns = columnsOf(width, rem);
  const gap = 1.5 * rem;
  const wide = (width - gap * (columns - 1)) / columns;
  formats.forEach((format, i) => {
    const left = (i % columns) * (wide + gap);
    const top = (1.8 + Math.floor(i / columns) * ROW) * rem;
    const base = top + (ROW - 1.5) * rem;
    const x = linear([-1.02, 1.02], [left, left + wide]);
    font(0.8, { weight: 650 });
    text(nameOf(format.name), left, top + 0.8 * rem);
    font(0.72, { mono: true });
    text(`${format.bits_per_weight.toFixed(2)} ${t.bits}`, left + wide, top + 0.8 * rem, { align: "right", colour: colours["ink-2"] });
    text(`MAE ${small(format.mae)}  RMSE ${small(format.rmse)}`, left + wide, top + 1.8 * rem, { align: "right", colour: colours["ink-2"] });
    const { counts, low, high } = format.histogram;
    const inner = counts.slice(1, -1);
    const most = Math.max(1, ...inner);
    const step = (high - low) / counts.length;
    const room = base - top - 2.3 * rem;
    ctx.fillStyle = colours["full-2"];
    counts.forEach((n, bin) => {
      const h = Math.min(1, n / most) * room;
      ctx.fillRect(x(low + bin * step), base - h, Math.max(0.8, x(low + step) - x(low) - 0.4), h);
    });
    line(ctx, colours["rule-strong"], left, base, left + wide, base);
    const fine = format.levels.length > 32;
    ctx.globalAlpha = fine ? 0.75 : 1;
    for (const level of format.levels) line(ctx, colours.four, x(level), base + 1, x(level), base + 0.85 * rem, fine ? 1 : 2);
    ctx.globalAlpha = 1;
  });
}

function tableOf(formats: readonly LabFormat[], name: string): Table {
  const { columns } = words.value;
  return {
    caption: name,
    columns: [
      { head: columns.format },
      { head: columns.bits, format: (value) => value.toFixed(4) },
      { head: columns.mae, format: small },
      { head: columns.rmse, format: small },
      { head: columns.relative, format: (value) => value.toFixed(4) },
      { head: columns.max, format: small },
      { head: columns.snr, format: (value) => value.toFixed(2) },
    ],
    rows: formats.map((format) => [
      nameOf(format.name), format.bits_per_weight, format.mae, format.rmse, format.relative_rmse, format.max_error, format.snr_db,
    ]),
  };
}

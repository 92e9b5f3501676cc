/** View 4: blocksize from 32 to 4096, error against bits. */

import type { JSX } from "preact";
import type { LabSweepPoint } from "../engine/lab-types";
import { count, percent, small } from "../app/format";
import { settings, short, tensor, useAnswer } from "../app/lab";
import { state } from "../app/state";
import { axisBottom, axisLeft, dot } from "../draw/axes";
import { Canvas, type Drawing, type Point } from "../draw/canvas";
import { linear, log, type Scale } from "../draw/scale";
import { Blocksize as BlocksizeControl, BLOCKSIZES, Choice, DoubleQuant, LabNotice, QuantType, withoutOriginals } from "./controls";
import { Question } from "./question";
import { View, type Table } from "./view";
import { viewWords } from "./words";
import { en } from "./words/blocksize.en";

const words = viewWords(en, () => import("./words/blocksize.ko"));

interface Sweeps {
  single: LabSweepPoint[];
  double: LabSweepPoint[];
}

export default function Blocksize(): JSX.Element {
  const t = words.value;
  const { quant_type } = settings.value;
  const answer = useAnswer<Sweeps | null>(
    async (lab, subject) => {
      if (!subject.original) return null;
      const [single, double] = await Promise.all([
        lab.blocksizeSweep(subject.name, { quant_type, double_quant: false }),
        lab.blocksizeSweep(subject.name, { quant_type, double_quant: true }),
      ]);
      return { single, double };
    },
    [quant_type],
  );
  const sweeps = answer.value;
  const on = state.double_quant.value === "on" ? "double" : "single";
  const place = BLOCKSIZES.indexOf(state.blocksize.value);
  const here = sweeps?.[on].find(({ blocksize }) => blocksize === state.blocksize.value);
  return (
    <View
      id="blocksize"
      late={answer.tensor !== tensor.value}
      text={t.text}
      takeaway={sweeps === null ? withoutOriginals() : sentence(sweeps[on])}
      caption={t.caption(quant_type.toUpperCase(), short(answer.tensor?.name ?? ""))}
      controls={
        <>
          <div class="choice">
            <BlocksizeControl />
            <DoubleQuant />
          </div>
          <QuantType />
          <Choice blocks={false} weights={false} />
        </>
      }
      explain={t.explain}
      questions={sweeps === null ? null : <Asked sweep={sweeps.single} />}
      table={sweeps === null ? null : tableOf(sweeps, short(answer.tensor?.name ?? ""))}
    >
      <LabNotice error={answer.error} />
      {withoutOriginals() !== null ? null : (
        <Canvas
          name="sweep"
          label={t.chart}
          height={(width, rem) => Math.min(27 * rem, Math.max(19 * rem, width * 0.55))}
          draw={(drawing) => sweeps !== null && draw(drawing, sweeps, on)}
          slider={{
            value: place,
            min: 0,
            max: BLOCKSIZES.length - 1,
            page: 2,
            text: here === undefined ? String(state.blocksize.value) : inWords(here),
            onChange: (next) => (state.blocksize.value = BLOCKSIZES[next] ?? 64),
          }}
          onPoint={(point) => {
            if (sweeps !== null && (point.phase === "down" || point.phase === "drag")) pick(point, sweeps, point.phase === "down");
          }}
        />
      )}
    </View>
  );
}

const inWords = (point: LabSweepPoint) =>
  words.value.point(count(point.blocksize), point.bits_per_weight.toFixed(3), small(point.rmse));

/** The chosen blocksize beside 64; 64 itself beside the longest. */
function sentence(sweep: readonly LabSweepPoint[]): string {
  const at = (size: number) => sweep.find(({ blocksize }) => blocksize === size);
  const chosen = state.blocksize.value;
  const [first, last] = [at(Math.min(chosen, 64)), chosen === 64 ? sweep.at(-1) : at(Math.max(chosen, 64))];
  if (first === undefined || last === undefined) return "";
  const saved = (first.bits_per_weight - last.bits_per_weight).toFixed(3);
  return words.value.takeaway(count(first.blocksize), count(last.blocksize), saved, percent(last.rmse / first.rmse - 1, 0));
}

function Asked({ sweep }: { sweep: readonly LabSweepPoint[] }): JSX.Element | null {
  const { question } = words.value;
  const [from, to] = [64, 4096].map((size) => sweep.find(({ blocksize }) => blocksize === size));
  if (from === undefined || to === undefined) return null;
  const times = to.rmse / from.rmse;
  return (
    <Question
      question={question.ask(count(from.blocksize), count(to.blocksize))}
      options={question.options}
      right={times < 2 ? 2 : times < 20 ? 1 : 0}
      answer={question.answer(times.toFixed(2))}
    />
  );
}

/** Two digits are enough between round ticks. */
const tick = (value: number) => String(Number(value.toPrecision(3)));

interface Scales {
  x: Scale;
  y: Scale;
}

/** The horizontal axis is logarithmic in what is paid beyond the 4 bits of the codes. */
const beyond = (point: LabSweepPoint) => point.bits_per_weight - 4;

function scales(width: number, height: number, rem: number, { single, double }: Sweeps): Scales {
  const all = [...single, ...double];
  const errors = all.map(({ rmse }) => rmse);
  const [least, most] = [Math.min(...errors), Math.max(...errors)];
  // The curves fill the chart: what matters is how they fall, and the axis says where it begins.
  const spare = (most - least || most) * 0.3;
  const over = all.map(beyond);
  return {
    x: log([Math.min(...over) * 0.75, Math.max(...over) * 1.35], [4 * rem, width - 0.6 * rem], 10),
    y: linear([Math.max(0, least - spare), most + spare], [height - 3.2 * rem, 2 * rem]),
  };
}

function draw(drawing: Drawing, sweeps: Sweeps, on: keyof Sweeps): void {
  const { ctx, width, height, colours, font, text } = drawing;
  const { rem } = colours;
  const t = words.value;
  const { x, y } = scales(width, height, rem, sweeps);
  axisLeft(drawing, y, 4 * rem, { title: t.axisError, about: 5, format: tick, grid: width - 0.6 * rem });
  const ticks = [0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1].filter((at) => at >= x.domain[0] && at <= x.domain[1]);
  axisBottom(drawing, x, y.range[0], { title: t.axisBits, ticks, format: (value) => String(Number((4 + value).toFixed(3))) });
  for (const kind of ["single", "double"] as const) {
    const points = sweeps[kind];
    const chosen = kind === on;
    ctx.strokeStyle = chosen ? colours.four : colours["four-2"];
    ctx.lineWidth = chosen ? 2.5 : 1.5;
    ctx.setLineDash(kind === "double" ? [] : [6, 4]);
    ctx.beginPath();
    for (const point of points) ctx.lineTo(x(beyond(point)), y(point.rmse));
    ctx.stroke();
    ctx.setLineDash([]);
    let free = Number.POSITIVE_INFINITY;
    for (const point of points) {
      const picked = chosen && point.blocksize === state.blocksize.value;
      dot(ctx, x(beyond(point)), y(point.rmse), (picked ? 0.48 : 0.26) * rem, chosen ? colours.four : colours["four-2"], picked ? colours.ink : undefined);
      if (!chosen) continue;
      font(0.72, { mono: true, weight: picked ? 650 : 400 });
      const label = String(point.blocksize);
      const room = ctx.measureText(label).width / 2;
      // From right to left; a label that would touch the last one is left out, the chosen one never is.
      if (x(beyond(point)) + room > free && !picked) continue;
      free = x(beyond(point)) - room - 0.3 * rem;
      // Above the line for one curve and below for the other, so that labels never meet.
      const under = kind === "double";
      text(label, x(beyond(point)), y(point.rmse) + (under ? 1.35 : -0.7) * rem, { align: "center", halo: true, colour: picked ? colours.ink : colours["ink-2"] });
    }
    const end = points.find(({ blocksize }) => blocksize === (kind === "single" ? 128 : 64));
    if (end !== undefined) {
      font(0.8, { weight: chosen ? 600 : 400 });
      const single = kind === "single";
      const name = single ? t.single : t.double;
      const half = ctx.measureText(name).width / 2;
      // Left of the last point's label, or inside the chart.
      const most = single ? width - 2 : x(beyond(points[0] ?? end)) - 1.2 * rem;
      const centre = Math.min(most - half, Math.max(4 * rem + half, x(beyond(end)) + (single ? 1 : -1) * half * 0.4));
      text(name, centre, y(end.rmse) + (single ? -2 : 2.9) * rem, { align: "center", colour: chosen ? colours.four : colours["ink-2"], halo: true });
    }
  }
}

function pick(point: Point, sweeps: Sweeps, both: boolean): void {
  const rem = parseFloat(getComputedStyle(document.documentElement).fontSize);
  const { x, y } = scales(point.width, point.height, rem, sweeps);
  let best: { far: number; size: number; kind: keyof Sweeps } | null = null;
  const kinds = both ? (["single", "double"] as const) : [state.double_quant.value === "on" ? ("double" as const) : ("single" as const)];
  for (const kind of kinds) {
    for (const candidate of sweeps[kind]) {
      const far = Math.hypot(x(beyond(candidate)) - point.x, y(candidate.rmse) - point.y);
      if (best === null || far < best.far) best = { far, size: candidate.blocksize, kind };
    }
  }
  const size = BLOCKSIZES.find((value) => value === best?.size);
  if (best === null || size === undefined) return;
  state.blocksize.value = size;
  if (both) state.double_quant.value = best.kind === "double" ? "on" : "off";
}

function tableOf({ single, double }: Sweeps, name: string): Table {
  const t = words.value;
  const { columns } = t;
  const row = (label: string) => (point: LabSweepPoint) =>
    [point.blocksize, label, point.blocks, point.bits_per_weight, point.mae, point.rmse, point.max_error];
  return {
    caption: t.caption(settings.value.quant_type.toUpperCase(), name),
    columns: [
      { head: columns.blocksize },
      { head: columns.scales },
      { head: columns.blocks, format: count },
      { head: columns.bits, format: (value) => value.toFixed(4) },
      { head: columns.mae, format: small },
      { head: columns.rmse, format: small },
      { head: columns.max, format: small },
    ],
    rows: [...single.map(row(t.single)), ...double.map(row(t.double))],
  };
}

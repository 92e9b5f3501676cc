/** View 2: one weight snaps to one of 16 levels under the normal curve. */

import type { JSX } from "preact";
import { quantizeWeight } from "../engine/lab";
import type { LabBlock, LabCodebook, LabFormat, LabWeight } from "../engine/lab-types";
import { bits, count, percent, plain, signed } from "../app/format";
import { blockIndex, settings, short, tensor, useAnswer, weight } from "../app/lab";
import { state } from "../app/state";
import { NumberField } from "../app/ui";
import { axisBottom, dot, line } from "../draw/axes";
import { Canvas, type Drawing, type Point } from "../draw/canvas";
import { useTween } from "../draw/motion";
import { linear } from "../draw/scale";
import { Choice, LabNotice, QuantType } from "./controls";
import { Figures } from "./figures";
import { Question } from "./question";
import { View, type Table } from "./view";
import { viewWords } from "./words";
import { en } from "./words/weight.en";

const words = viewWords(en, () => import("./words/weight.ko"));

/** NF4's outermost quantile: half of bitsandbytes' offset tail lies beyond it (`create_normal_map`, 0.9677083). */
const SIGMAS_AT_ONE = 1.8481;
const BINS = 96;

interface Shown {
  codebook: LabCodebook;
  block: LabBlock;
  position: number;
  /** Null where the formats cannot be compared: no originals. */
  format: LabFormat | null;
}

export default function Weight(): JSX.Element {
  const t = words.value;
  const { quant_type, blocksize, double_quant } = settings.value;
  const answer = useAnswer<Shown>(
    async (lab, subject) => {
      const position = weight.peek() % blocksize;
      const [codebook, block, formats] = await Promise.all([
        lab.codebook(quant_type),
        lab.block(subject.name, blockIndex.peek(), settings.peek()),
        subject.original ? lab.contest(subject.name, { blocksize }, { bins: BINS }) : null,
      ]);
      const format = formats?.find(({ name }) => name === quant_type) ?? null;
      return { codebook, block, position, format };
    },
    [quant_type, blocksize, double_quant, weight.value],
  );
  const shown = answer.value;
  const own = shown === null ? 0 : ownValue(shown);
  const tried = state.x.value === "" ? own : Number(state.x.value);
  const snapped = shown === null ? null : quantizeWeight(shown.codebook, tried, 1);
  const level = useTween(snapped?.level ?? 0);
  const type = quant_type.toUpperCase();
  const setTried = (value: number) => {
    state.x.value = String(Number(Math.min(1, Math.max(-1, value)).toFixed(4)));
  };
  return (
    <View
      id="weight"
      late={answer.tensor !== tensor.value}
      text={t.text}
      takeaway={shown === null || snapped === null ? null : sentence(shown, snapped)}
      caption={t.caption(type, short(answer.tensor?.name ?? ""))}
      controls={
        <>
          <QuantType />
          <Choice />
          <Typed shown={shown} tried={tried} onValue={setTried} />
        </>
      }
      explain={[
        ...t.explain,
        ...(shown?.format == null || quant_type !== "nf4" ? [] : [t.assumes(SIGMAS_AT_ONE.toFixed(2), (1 / spreadOf(shown)).toFixed(2))]),
      ]}
      questions={
        shown === null ? null : (
          <Question
            question={t.question.ask(count(shown.block.codes.length))}
            options={["4", "16", count(shown.block.codes.length)].filter((option, i, all) => all.indexOf(option) === i)}
            right={1}
            answer={t.question.answer(String(new Set(shown.block.codes).size))}
          />
        )
      }
      table={shown === null ? null : tableOf(shown, type)}
    >
      <LabNotice error={answer.error} />
      <Canvas
        name="levels"
        label={t.slider}
        height={(width, rem) => Math.min(26 * rem, Math.max(17 * rem, width * 0.5))}
        draw={(drawing) => shown !== null && snapped !== null && draw(drawing, shown, snapped, level)}
        slider={{
          value: Number(tried.toFixed(4)),
          min: -1,
          max: 1,
          step: 0.01,
          page: 0.1,
          text: shown === null || snapped === null ? "" : sentence(shown, snapped),
          onChange: setTried,
        }}
        onPoint={(point) => drag(point, setTried)}
        cursor="ew-resize"
      />
      {shown === null || snapped === null ? null : <Figures rows={figuresOf(shown, snapped)} />}
    </View>
  );
}

/** The chosen weight, divided by absmax; without an original its level. */
function ownValue({ block, codebook, position }: Shown): number {
  const place = Math.min(position, block.codes.length - 1);
  const code = block.codes[place] as number;
  return block.normalised?.[place] ?? (codebook.levels[codebook.codes.indexOf(code)] as number);
}

/** Standard deviation of the weights divided by their block's absmax, from the histogram. */
function spreadOf({ format }: Shown): number {
  if (format === null) return 1 / SIGMAS_AT_ONE;
  const { counts, low, high } = format.histogram;
  const step = (high - low) / counts.length;
  const total = counts.reduce((sum, n) => sum + n, 0);
  const squares = counts.reduce((sum, n, i) => sum + n * (low + (i + 0.5) * step) ** 2, 0);
  return total === 0 || squares === 0 ? 1 / SIGMAS_AT_ONE : Math.sqrt(squares / total);
}

const absmaxOf = ({ block }: Shown): number => block.absmax ?? block.scale;

function sentence(shown: Shown, snapped: LabWeight): string {
  const absmax = absmaxOf(shown);
  const restored = snapped.level * shown.block.scale;
  const error = Math.abs(restored - snapped.normalised * absmax) / (absmax === 0 ? 1 : absmax);
  return words.value.takeaway(
    signed(snapped.normalised * absmax),
    `${snapped.code} (${bits(snapped.code)})`,
    signed(restored),
    percent(error),
  );
}

function Typed(props: { shown: Shown | null; tried: number; onValue: (value: number) => void }): JSX.Element {
  const t = words.value;
  const absmax = props.shown === null ? 1 : absmaxOf(props.shown);
  return (
    <div class="choice">
      <NumberField
        label={t.typed}
        value={Number((props.tried * absmax).toPrecision(4))}
        min={-absmax}
        max={absmax}
        step={Number((absmax / 100).toPrecision(1))}
        disabled={props.shown === null || absmax === 0}
        name="value"
        onValue={(value) => props.onValue(value / absmax)}
      />
      <button type="button" disabled={state.x.value === ""} onClick={() => (state.x.value = "")}>
        {t.own}
      </button>
    </div>
  );
}

const SIDE = 10;
const scaleOf = (width: number) => linear([-1.04, 1.04], [SIDE, width - SIDE]);

function drag(point: Point, onValue: (value: number) => void): void {
  if (point.phase === "down" || point.phase === "drag") onValue(scaleOf(point.width).invert(point.x));
}

function draw(drawing: Drawing, shown: Shown, snapped: LabWeight, level: number): void {
  const { ctx, width, height, colours, font, text } = drawing;
  const { rem } = colours;
  const { codebook, format } = shown;
  const x = scaleOf(width);
  const base = height - 4.6 * rem;
  const top = 2.2 * rem;

  // The interval that leads to the chosen level.
  ctx.fillStyle = colours["four-wash"];
  const [from, to] = [Math.max(-1, snapped.lower), Math.min(1, snapped.upper)];
  ctx.fillRect(x(from), top, x(to) - x(from), base - top);

  // Two normal distributions: one as wide as the real weights, and the one that NF4's levels were made for.
  const sigma = spreadOf(shown);
  const step = 2 / BINS;
  const curve = (wide: number) => (value: number) => Math.exp(-0.5 * (value / wide) ** 2) / (wide * Math.sqrt(2 * Math.PI));
  const [fits, assumed] = [curve(sigma), curve(1 / SIGMAS_AT_ONE)];
  const total = format === null ? 1 : format.histogram.counts.reduce((sum, n) => sum + n, 0);
  const share = (n: number) => n / (total * step);
  // The bins at the ends hold every block's own absmax; they would dwarf the rest.
  const peak = Math.max(fits(0), assumed(0), ...(format?.histogram.counts.slice(1, -1).map(share) ?? []));
  const y = (density: number) => base - Math.min(1.06, density / peak) * (base - top);
  if (format !== null) {
    const { counts, low } = format.histogram;
    ctx.fillStyle = colours["grey-3"];
    counts.forEach((n, i) => {
      ctx.fillRect(x(low + i * step) + 0.5, y(share(n)), Math.max(1, x(low + step) - x(low) - 1), base - y(share(n)));
    });
  }
  const nf4 = codebook.quant_type === "nf4";
  for (const [of, colour, dashed] of [[fits, colours.full, false], [assumed, colours.four, true]] as const) {
    if (dashed ? !nf4 : format === null) continue;
    ctx.beginPath();
    for (let i = 0; i <= 160; i++) ctx.lineTo(x(-1 + i / 80), y(of(-1 + i / 80)));
    ctx.strokeStyle = colour;
    ctx.lineWidth = dashed ? 1.5 : 2;
    ctx.setLineDash(dashed ? [5, 4] : []);
    ctx.stroke();
    ctx.setLineDash([]);
  }
  font(0.78);
  // On the side where the weight is not.
  const side = snapped.normalised > 0 ? -1 : 1;
  const beside = (label: string, at: number, of: (value: number) => number, colour: string) => {
    const wide = ctx.measureText(label).width;
    const from = x(side * at) + side * 0.5 * rem;
    const left = side > 0 ? Math.min(from, x(0.95) - wide) : Math.max(from - wide, x(-0.95));
    text(label, left, y(of(at)) - 0.2 * rem, { colour, halo: true });
  };
  if (format !== null) beside(words.value.normal, sigma * 0.62, fits, colours.full);
  if (nf4) beside(words.value.assumed, 0.6, assumed, colours.four);
  if (format !== null) text(words.value.real, x(side * 0.35), base - 0.7 * rem, { colour: colours.ink, align: "center" });

  // Levels below the axis, each in its place; the chosen one stands out.
  axisBottom(drawing, x, base, { format: (value) => plain(value, 1), ticks: [] });
  codebook.levels.forEach((value, i) => {
    const chosen = i === snapped.interval;
    line(ctx, colours.four, x(value), base - (chosen ? 10 : 0), x(value), base + (chosen ? 1.5 : 0.9) * rem, chosen ? 3 : 1.5);
  });
  font(0.72, { mono: true });
  for (const value of [-1, 0, 1]) {
    if (Math.abs(value - snapped.level) * (width / 2) < 3.2 * rem) continue;
    text(plain(value, 0), x(value), base + 1.15 * rem, { align: value < 0 ? "left" : value > 0 ? "right" : "center", baseline: "top", colour: colours["ink-2"] });
  }

  // The weight falls to the axis, and slides to its level; the way it slides is the error.
  const at = x(snapped.normalised);
  ctx.setLineDash([3, 3]);
  line(ctx, colours.full, at, top - 0.3 * rem, at, base);
  ctx.setLineDash([]);
  ctx.strokeStyle = colours.ink;
  ctx.lineWidth = 3;
  ctx.beginPath();
  ctx.moveTo(at, base);
  ctx.lineTo(x(level), base);
  ctx.stroke();
  dot(ctx, at, top - 0.3 * rem, 0.45 * rem, colours.full, colours.ink);
  dot(ctx, x(level), base, 0.4 * rem, colours.four, colours.ink);
  font(0.8, { mono: true, weight: 600 });
  const label = plain(snapped.normalised, 3);
  const right = at + ctx.measureText(label).width + 1.2 * rem < width;
  text(label, at + (right ? 0.8 : -0.8) * rem, top - 0.05 * rem, { align: right ? "left" : "right", colour: colours.full, halo: true });

  nibble(drawing, snapped, x(level), base + 1.65 * rem);
}

/** The four bits under the level, as boxes; ones are full. */
function nibble({ ctx, width, colours, font, text }: Drawing, { code, level }: LabWeight, at: number, top: number): void {
  const size = 1.15 * colours.rem;
  const left = Math.min(Math.max(at - 2 * size, 1), width - 4 * size - 1);
  font(0.8, { mono: true, weight: 600 });
  [...bits(code)].forEach((bit, i) => {
    const one = bit === "1";
    ctx.fillStyle = one ? colours.four : colours.paper;
    ctx.fillRect(left + i * size, top, size, size);
    ctx.strokeStyle = colours.four;
    ctx.lineWidth = 1.5;
    ctx.strokeRect(left + i * size + 0.5, top + 0.5, size - 1, size - 1);
    text(bit, left + (i + 0.5) * size, top + size / 2 + 1, { align: "center", baseline: "middle", colour: one ? colours.paper : colours.ink });
  });
  const before = left > 7 * colours.rem;
  text(`${code} = ${plain(level, 4)}`, before ? left - 8 : left + 4 * size + 8, top + size / 2, {
    align: before ? "right" : "left",
    baseline: "middle",
    colour: colours.ink,
  });
}

function figuresOf(shown: Shown, snapped: LabWeight): [string, string][] {
  const { names } = words.value;
  const absmax = absmaxOf(shown);
  const value = snapped.normalised * absmax;
  const restored = snapped.level * shown.block.scale;
  return [
    [names.value, signed(value, 5)],
    [names.absmax, plain(absmax, 5)],
    [names.normalised, signed(snapped.normalised)],
    [names.level, signed(snapped.level)],
    [names.code, String(snapped.code)],
    [names.nibble, bits(snapped.code)],
    [names.restored, signed(restored, 5)],
    [names.error, signed(restored - value, 5)],
  ];
}

function tableOf({ codebook, format }: Shown, type: string): Table {
  const { column, table } = words.value;
  const places = Array.from(codebook.levels, (level, i) => ({ level, i }));
  return {
    caption: table(type),
    columns: [
      { head: column.level, format: (value) => plain(value, 6) },
      { head: column.code },
      { head: column.bits },
      { head: column.lower, format: (value) => plain(value, 6) },
      { head: column.upper, format: (value) => plain(value, 6) },
      ...(format === null ? [] : [{ head: column.share, format: count }]),
    ],
    rows: places.map(({ level, i }) => [
      level,
      codebook.codes[i] as number,
      bits(codebook.codes[i] as number),
      i === 0 ? -1 : (codebook.thresholds[i - 1] as number),
      i === places.length - 1 ? 1 : (codebook.thresholds[i] as number),
      ...(format === null ? [] : [format.counts[i] as number]),
    ]),
  };
}

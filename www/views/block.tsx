/** View 3: one block on its way to nibbles and back, step by step. */

import type { JSX } from "preact";
import { useEffect, useState } from "preact/hooks";
import type { LabBlock, LabCodebook } from "../engine/lab-types";
import { bits, count, plain, signed, small } from "../app/format";
import { blockIndex, choose, settings, short, tensor, useAnswer, weight } from "../app/lab";
import { state } from "../app/state";
import { Slider } from "../app/ui";
import { axisLeft, dot, line } from "../draw/axes";
import { Canvas, type Drawing, type Point } from "../draw/canvas";
import { useTween } from "../draw/motion";
import { linear, type Scale } from "../draw/scale";
import { Blocksize, Choice, LabNotice, QuantType } from "./controls";
import { Question } from "./question";
import { View, type Table } from "./view";
import { viewWords } from "./words";
import { en } from "./words/block.en";

const words = viewWords(en, () => import("./words/block.ko"));

/** The outlier that the question asks about. */
const ASKED = 16;
/** Weights whose bytes are shown: the whole of a block of 64. */
const WINDOW = 64;

interface Shown {
  codebook: LabCodebook;
  block: LabBlock;
  /** Without the outlier. */
  plain: LabBlock;
  factor: number;
}

const used = ({ codes }: LabBlock): string => String(new Set(codes).size);

export default function Block(): JSX.Element {
  const t = words.value;
  const { quant_type, blocksize, double_quant } = settings.value;
  const index = blockIndex.value;
  const position = weight.value - index * blocksize;
  const factor = state.outlier.value;
  const answer = useAnswer<Shown>(
    async (lab, subject) => {
      const at = weight.peek() % settings.peek().blocksize;
      const one = (planted: number) =>
        lab.block(subject.name, index, settings.peek(), planted > 0 ? { outlier: { position: at, factor: planted } } : {});
      const planted = subject.original ? factor : 0;
      const [codebook, before, block] = await Promise.all([
        lab.codebook(settings.peek().quant_type),
        one(0),
        planted > 0 ? one(planted) : null,
      ]);
      return { codebook, plain: before, block: block ?? before, factor: planted };
    },
    [quant_type, blocksize, double_quant, index, factor, factor > 0 ? position : 0],
  );
  const shown = answer.value;
  const step = state.step.value;
  const snapped = useTween(step >= 2 ? 1 : 0);
  const whole = useTween(shown === null ? Number.NaN : (shown.block.absmax ?? shown.block.scale));
  const name = short(answer.tensor?.name ?? "");
  const original = tensor.value?.original !== false;
  const here = Math.min(position, (shown?.block.codes.length ?? 1) - 1);
  const turn = (next: number) => choose(blockIndex.value * settings.value.blocksize + next);
  return (
    <View
      id="block"
      late={answer.tensor !== tensor.value}
      text={t.text}
      takeaway={shown === null ? null : sentence(shown)}
      caption={t.caption(name, count(index))}
      controls={
        <>
          <Slider
            label={t.outlier}
            value={factor}
            min={0}
            max={32}
            step={1}
            disabled={!original}
            shown={factor === 0 ? t.none : t.outlierAt(String(factor))}
            onInput={(value) => (state.outlier.value = value)}
          />
          <Choice />
          <div class="choice">
            <QuantType />
            <Blocksize />
          </div>
        </>
      }
      explain={t.explain}
      questions={shown === null || !original ? null : <Asked before={shown.plain} index={index} />}
      table={shown === null ? null : tableOf(shown.block, `${name}, ${count(index)}`)}
    >
      <LabNotice error={answer.error} />
      <div class="steps" role="group" aria-label={t.step}>
        {t.steps.map((label, i) => (
          <button type="button" key={label} aria-pressed={step === i} onClick={() => (state.step.value = i)}>
            {`${i + 1} ${label}`}
          </button>
        ))}
      </div>
      <p class="step-note" role="status">
        {shown === null ? "" : note(shown, step, here)}
      </p>
      <Canvas
        name="block"
        label={t.chart}
        height={(width, rem) => Math.min(20 * rem, Math.max(13 * rem, width * 0.4))}
        draw={(drawing) => shown !== null && drawBars(drawing, shown, { step, here, snapped, whole })}
        slider={{
          value: here,
          min: 0,
          max: (shown?.block.codes.length ?? 1) - 1,
          page: 8,
          text: shown === null ? "" : inWords(shown.block, here),
          onChange: turn,
        }}
        onPoint={(point) => {
          if (shown !== null && (point.phase === "down" || point.phase === "drag")) {
            turn(nearest(point, shown.block.codes.length));
          }
        }}
      />
      <Canvas
        name="bytes"
        label={shown === null ? "" : t.bytes}
        height={(width, rem) => (1.3 + Math.ceil(WINDOW / 2 / bytesInRow(width, rem)) * 1.9) * rem}
        draw={(drawing) => shown !== null && drawBytes(drawing, shown.block, here, step >= 3)}
        onPoint={(point) => {
          if (shown === null || point.phase !== "down") return;
          const place = byteAt(point, shown.block, here);
          if (place !== null) turn(place);
        }}
      />
    </View>
  );
}

function sentence({ block, plain: before, factor }: Shown): string {
  const t = words.value;
  const n = block.codes.length;
  if (block.stats === null || before.stats === null) {
    return t.takeawayStored(count(n), count(block.packed.length), used(block));
  }
  if (factor > 0) return t.collapse(String(factor), used(block), used(before), (block.stats.rmse / before.stats.rmse).toFixed(1));
  return t.takeaway(count(n), count(block.packed.length), count(2 * n), used(block), small(block.stats.rmse));
}

/** The question stands at once; its answer is asked for when the block has stood still for a moment. */
function Asked({ before, index }: { before: LabBlock; index: number }): JSX.Element {
  const { question } = words.value;
  const still = useSettled(index);
  const answer = useAnswer(
    async (lab, subject) => {
      const at = weight.peek() % settings.peek().blocksize;
      return lab.block(subject.name, still, settings.peek(), { outlier: { position: at, factor: ASKED } });
    },
    [still, settings.value],
  );
  const asked = answer.value?.index === before.index ? answer.value : null;
  const times = (asked?.stats?.rmse ?? 0) / (before.stats?.rmse ?? 1);
  return (
    <Question
      question={question.ask(count(before.codes.length))}
      options={question.options}
      right={asked === null ? null : times > 2.5 ? 2 : times > 1.5 ? 1 : 0}
      answer={asked === null ? "" : question.answer(times.toFixed(1), used(asked))}
    />
  );
}

/** Follows a value once it has not changed for a third of a second. */
function useSettled(value: number): number {
  const [settled, settle] = useState(value);
  useEffect(() => {
    const timer = setTimeout(() => settle(value), 330);
    return () => clearTimeout(timer);
  }, [value]);
  return settled;
}

function note({ block, codebook }: Shown, step: number, here: number): string {
  const { notes } = words.value;
  const value = block.values?.[here];
  const normalised = block.normalised?.[here];
  const code = block.codes[here] as number;
  const level = codebook.levels[codebook.codes.indexOf(code)] as number;
  const scale = plain(block.scale, 5);
  const named = (c: number) => `${c} (${bits(c)})`;
  if (value !== undefined && normalised !== undefined && block.absmax !== null) {
    const absmax = plain(block.absmax, 5);
    if (step === 0) {
      const largest = block.values?.findIndex((v) => Math.abs(v) === block.absmax) ?? 0;
      return notes.absmax(absmax, largest, count(block.codes.length));
    }
    if (step === 1) return notes.divide(signed(value, 5), absmax, signed(normalised));
    if (step === 2) return notes.level(signed(normalised), signed(level), named(code));
  }
  if (step === 3) {
    const pair = here - (here % 2);
    const byte = block.packed[pair / 2] as number;
    const hex = `0x${byte.toString(16).toUpperCase().padStart(2, "0")}`;
    return notes.pack(hex, named(block.codes[pair] as number), named(block.codes[pair + 1] ?? 0));
  }
  return notes.unpack(String(code), signed(level), scale, signed(block.restored[here] as number, 5));
}

function inWords(block: LabBlock, here: number): string {
  const value = block.values?.[here];
  return words.value.weightAt(here, value === undefined ? "\u2013" : signed(value, 5), signed(block.restored[here] as number, 5));
}

const LEFT = 3.4;
const RIGHT = 0.4;
const placeOf = (width: number, rem: number, n: number): Scale => linear([-0.5, n - 0.5], [LEFT * rem, width - RIGHT * rem]);

function nearest(point: Point, n: number): number {
  const rem = parseFloat(getComputedStyle(document.documentElement).fontSize);
  return Math.min(n - 1, Math.max(0, Math.round(placeOf(point.width, rem, n).invert(point.x))));
}

interface Stand {
  step: number;
  here: number;
  /** 0: the weights as they are, 1: at their levels. */
  snapped: number;
  /** The value that stands at the top. */
  whole: number;
}

function drawBars(drawing: Drawing, { block, codebook }: Shown, { step, here, snapped, whole }: Stand): void {
  const { ctx, width, height, colours, font, text } = drawing;
  const { rem } = colours;
  const t = words.value;
  const n = block.codes.length;
  const x = placeOf(width, rem, n);
  const divided = step === 1 || step === 2 || step === 3;
  const top = whole > 0 ? whole : 1;
  const y = linear([-top, top], [height - 0.8 * rem, 2 * rem]);
  const axis = divided ? linear([-1, 1], y.range) : y;
  const decimals = top < 0.1 ? 3 : 2;
  axisLeft(drawing, axis, LEFT * rem, { about: 4, format: (value) => plain(value, divided ? 1 : decimals), grid: width - RIGHT * rem });
  if (step >= 2) {
    ctx.globalAlpha = 0.55;
    for (const level of codebook.levels) line(ctx, colours["four-2"], LEFT * rem, y(level * top), width - RIGHT * rem, y(level * top));
    ctx.globalAlpha = 1;
  }
  const step1 = x(1) - x(0);
  const bar = Math.max(1, Math.min(step1 * 0.62, 0.8 * rem));
  // The chosen weight keeps its place and its frame in every view.
  ctx.fillStyle = colours["full-wash"];
  ctx.fillRect(x(here) - Math.max(step1, 4) / 2, 1.4 * rem, Math.max(step1, 4), height - 1.8 * rem);
  for (let i = 0; i < n; i++) {
    const value = block.values?.[i];
    const restored = block.restored[i] as number;
    if (value !== undefined) {
      ctx.fillStyle = step === 4 ? colours["full-2"] : colours.full;
      const wide = step === 4 ? bar * 0.5 : bar;
      ctx.fillRect(x(i) - (step === 4 ? bar / 2 : wide / 2), Math.min(y(0), y(value)), wide, Math.max(1, Math.abs(y(value) - y(0))));
    }
    if (step === 4 || value === undefined) {
      ctx.fillStyle = colours.four;
      ctx.fillRect(x(i), Math.min(y(0), y(restored)), bar * 0.5, Math.max(1, Math.abs(y(restored) - y(0))));
    } else if (step >= 2) {
      const code = block.codes[i] as number;
      const level = (codebook.levels[codebook.codes.indexOf(code)] as number) * (block.absmax ?? block.scale);
      const shown = value + (level - value) * snapped;
      if (step1 > 5) line(ctx, colours.ink, x(i), y(value), x(i), y(shown), 1.5);
      dot(ctx, x(i), y(shown), Math.max(1.2, Math.min(bar / 2, 0.26 * rem)), colours.four);
    }
  }
  line(ctx, colours.ink, LEFT * rem, y(0), width - RIGHT * rem, y(0));
  if (step === 0 && block.values !== null && block.absmax !== null) {
    const largest = block.values.findIndex((value) => Math.abs(value) === block.absmax);
    const tip = y(block.values[largest] as number);
    ctx.setLineDash([5, 4]);
    line(ctx, colours.ink, LEFT * rem, tip, width - RIGHT * rem, tip);
    ctx.setLineDash([]);
    font(0.8, { weight: 600 });
    const right = x(largest) > width / 2;
    const below = tip < height / 2 ? 1.05 : -0.45;
    text(`absmax ${plain(block.absmax, 4)}`, x(largest) + (right ? -0.6 : 0.6) * rem, tip + below * rem, { align: right ? "right" : "left", halo: true });
  }
  font(0.78);
  const direct: [string, string][] =
    step === 4
      ? [[t.original, colours["full-2"]], [t.restored, colours.four]]
      : step >= 2
        ? [[t.original, colours.full], [t.level, colours.four]]
        : [[t.original, colours.full]];
  let at = LEFT * rem;
  for (const [label, colour] of direct) {
    ctx.fillStyle = colour;
    ctx.fillRect(at, 0.35 * rem, 0.6 * rem, 0.6 * rem);
    text(label, at + 0.85 * rem, 0.95 * rem, { colour: colours["ink-2"] });
    at += ctx.measureText(label).width + 2 * rem;
  }
}

const CELL = 2.4;
function bytesInRow(width: number, rem: number): number {
  const fit = Math.floor(width / (CELL * rem));
  return fit >= 16 ? 16 : fit >= 8 ? 8 : 4;
}

/** The bytes around the chosen weight: of a longer block a window. */
const windowOf = (block: LabBlock, here: number): number => {
  const start = here - (here % WINDOW);
  return Math.min(start, Math.max(0, block.codes.length - WINDOW));
};

function byteAt(point: Point, block: LabBlock, here: number): number | null {
  const rem = parseFloat(getComputedStyle(document.documentElement).fontSize);
  const columns = bytesInRow(point.width, rem);
  const cell = Math.min(point.width / columns, 4 * rem);
  const column = Math.floor(point.x / (cell / 2));
  const row = Math.floor((point.y - 1.3 * rem) / (1.9 * rem));
  if (row < 0 || column >= columns * 2) return null;
  const place = windowOf(block, here) + row * columns * 2 + column;
  return place < block.codes.length ? place : null;
}

function drawBytes(drawing: Drawing, block: LabBlock, here: number, lit: boolean): void {
  const { ctx, width, colours, font, text } = drawing;
  const { rem } = colours;
  const columns = bytesInRow(width, rem);
  const cell = Math.min(width / columns, 4 * rem);
  const start = windowOf(block, here);
  font(0.78);
  text(words.value.bytes, 0, 0.85 * rem, { colour: colours["ink-2"] });
  font(0.9, { mono: true, weight: 600 });
  for (let i = 0; i < WINDOW / 2; i++) {
    const byte = block.packed[start / 2 + i];
    if (byte === undefined) break;
    const left = (i % columns) * cell;
    const top = (1.3 + Math.floor(i / columns) * 1.9) * rem;
    const [w, h] = [cell - 5, 1.55 * rem];
    for (const [half, code] of [byte >> 4, byte & 15].entries()) {
      const chosen = start + 2 * i + half === here;
      const from = left + (half * w) / 2;
      ctx.fillStyle = chosen ? colours.four : lit ? colours["four-wash"] : colours.sunken;
      ctx.fillRect(from, top, w / 2, h);
      text(code.toString(16).toUpperCase(), from + w / 4, top + h / 2 + 1, {
        align: "center",
        baseline: "middle",
        colour: chosen ? colours.paper : lit ? colours.ink : colours["ink-2"],
      });
    }
    ctx.strokeStyle = lit ? colours.four : colours["rule-strong"];
    ctx.lineWidth = 1;
    ctx.strokeRect(left + 0.5, top + 0.5, w - 1, h - 1);
  }
}

function tableOf(block: LabBlock, name: string): Table {
  const { columns } = words.value;
  const five = (value: number) => signed(value, 6);
  const { values, normalised, errors } = block;
  return {
    caption: name,
    columns: [
      { head: columns.position },
      ...(values === null ? [] : [{ head: columns.value, format: five }, { head: columns.normalised, format: five }]),
      { head: columns.code },
      { head: columns.byte },
      { head: columns.restored, format: five },
      ...(errors === null ? [] : [{ head: columns.error, format: five }]),
    ],
    rows: Array.from(block.codes, (code, i) => [
      i,
      ...(values === null || normalised === null ? [] : [values[i] as number, normalised[i] as number]),
      code,
      `0x${(block.packed[i >> 1] as number).toString(16).padStart(2, "0")}`,
      block.restored[i] as number,
      ...(errors === null ? [] : [errors[i] as number]),
    ]),
  };
}

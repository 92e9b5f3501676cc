/** View 7: every weight, code or error of a tensor; what is chosen here is chosen in every view. */

import type { JSX } from "preact";
import type { LabDistribution, LabHeatmap, LabRows } from "../engine/lab-types";
import { count, plain, signed, small } from "../app/format";
import { blockIndex, choose, settings, short, tensor, useAnswer, weight } from "../app/lab";
import { state } from "../app/state";
import { NumberField, Segmented } from "../app/ui";
import { line } from "../draw/axes";
import { Canvas, type Drawing } from "../draw/canvas";
import { blueOrange, cividis, table, type Rgb } from "../draw/colour";
import { Choice, LabNotice } from "./controls";
import { Question } from "./question";
import { View, type Table } from "./view";
import { viewWords } from "./words";
import { en } from "./words/map.en";

const words = viewWords(en, () => import("./words/map.ko"));

/** Cells asked for: no more than a large canvas has pixels for. */
const CELLS = { width: 768, height: 384 };
const NEAR = { width: 64, height: 24 };

interface Shown {
  what: "error" | "weight" | "code";
  map: LabHeatmap;
  rows: LabRows;
  spread: LabDistribution;
  columns: number;
}

interface Near {
  what: Shown["what"];
  map: LabHeatmap;
}

export default function TensorMap(): JSX.Element {
  const t = words.value;
  const { quant_type, blocksize, double_quant } = settings.value;
  const original = tensor.value?.original !== false;
  const what = state.layer.value === "error" && !original ? "weight" : state.layer.value;
  const quantized = [quant_type, blocksize, double_quant];
  const answer = useAnswer<Shown>(
    async (lab, subject) => {
      const [map, rows, spread] = await Promise.all([
        lab.heatmap(subject.name, { what, ...CELLS }, settings.peek()),
        lab.rows(subject.name, settings.peek()),
        lab.histogram(subject.name, { bins: 64 }),
      ]);
      return { what, map, rows, spread, columns: subject.shape.at(-1) ?? 1 };
    },
    [what, ...quantized],
  );
  const shown = answer.value;
  const columns = tensor.value?.shape.at(-1) ?? 1;
  const height = (tensor.value?.elements ?? 1) / columns;
  const row = Math.floor(weight.value / columns);
  const column = weight.value % columns;
  const near = useAnswer<Near>(
    async (lab, subject) => {
      const rect = around(row, column, height, columns);
      return { what, map: await lab.heatmap(subject.name, { what, rect, width: rect.width, height: rect.height }, settings.peek()) };
    },
    [what, ...quantized, weight.value],
  );
  const close = near.value;
  const name = short(answer.tensor?.name ?? "");
  const value = close === null ? null : valueAt(close.map, row, column);
  const said = value === null || near.tensor !== tensor.value ? "" : t.at(count(row), count(column), show(what, value));
  return (
    <View
      id="map"
      late={answer.tensor !== tensor.value}
      text={t.text}
      takeaway={shown === null || (what === "code" && value === null) ? null : sentence(shown, name, row, column, value ?? 0)}
      caption={`${name}: ${t.caption[what]}`}
      controls={
        <>
          <Segmented
            label={t.what}
            value={what}
            options={(["error", "weight", "code"] as const).map((layer) => ({
              value: layer,
              label: t.layers[layer],
              disabled: layer === "error" && !original,
            }))}
            onChange={(layer) => (state.layer.value = layer)}
          />
          <Choice blocks={false} weights={false} />
          <div class="choice">
            <NumberField label={t.row} min={0} max={height - 1} value={row} name="row" onValue={(next) => choose(next * columns + column)} />
            <NumberField label={t.column} min={0} max={columns - 1} value={column} name="column" onValue={(next) => choose(row * columns + next)} />
          </div>
        </>
      }
      explain={t.explain}
      questions={shown?.rows.rmse == null ? null : <Asked rows={shown.rows} rmse={shown.rows.rmse} />}
      table={shown === null ? null : tableOf(shown.rows, `${name}, ${t.rows}`)}
    >
      <LabNotice error={answer.error ?? near.error} />
      <Canvas
        name="map"
        label={t.chart}
        height={(width, rem) => mapHeight(width, rem, height / columns) + 1.7 * rem}
        draw={(drawing) => shown !== null && drawMap(drawing, shown, row, column)}
        slider={{
          value: weight.value,
          min: 0,
          max: Math.max(0, columns * height - 1),
          page: blocksize,
          row: columns,
          text: said,
          onChange: (next) => choose(next),
        }}
        onPoint={(point) => {
          if (shown === null || (point.phase !== "down" && point.phase !== "drag")) return;
          const size = mapSize(point.width, point.height);
          const [x, y] = [clamp(point.x / size.width, columns), clamp(point.y / size.height, height)];
          choose(y * columns + x);
        }}
        cursor="crosshair"
      />
      <p class="step-note num-note" role="status">
        {said}
      </p>
      <Canvas
        name="magnified"
        label={close === null ? "" : t.magnified(count(close.map.height), count(close.map.width))}
        height={(width, rem) => (width * NEAR.height) / NEAR.width + 1.6 * rem}
        draw={(drawing) => close !== null && drawNear(drawing, close, { row, column, columns })}
        onPoint={(point) => {
          if (close === null || point.phase !== "down") return;
          const { rect } = close.map;
          const size = point.width / NEAR.width;
          const [x, y] = [Math.floor(point.x / size), Math.floor((point.y - 1.6 * remNow()) / size)];
          if (x < rect.width && y >= 0 && y < rect.height) choose((rect.y + y) * columns + rect.x + x);
        }}
        cursor="crosshair"
      />
    </View>
  );
}

const remNow = () => parseFloat(getComputedStyle(document.documentElement).fontSize);
const clamp = (share: number, n: number) => Math.min(n - 1, Math.max(0, Math.floor(share * n)));
const show = (what: Shown["what"], value: number) => (what === "code" ? String(value) : what === "error" ? small(value) : signed(value, 5));

/** The part of the tensor that the magnifier shows: around the weight, inside the tensor. */
export function around(row: number, column: number, rows: number, columns: number) {
  const width = Math.min(NEAR.width, columns);
  const height = Math.min(NEAR.height, rows);
  // Whole steps of the window's width, so that it stands still while one moves inside of it.
  const x = Math.min(Math.floor(column / width) * width, columns - width);
  const y = Math.min(Math.max(0, row - Math.floor(height / 2)), rows - height);
  return { x, y, width, height };
}

function valueAt({ rect, width, data }: LabHeatmap, row: number, column: number): number | null {
  const [x, y] = [column - rect.x, row - rect.y];
  return x < 0 || y < 0 || x >= rect.width || y >= rect.height ? null : (data[y * width + x] ?? null);
}

function largest(values: Float32Array): number {
  let best = 0;
  for (let i = 1; i < values.length; i++) if ((values[i] as number) > (values[best] as number)) best = i;
  return best;
}

/** Of a tensor's rows, kept: a drag asks for the sentence at every step. */
const known = new WeakMap<Float32Array, { median: number; worst: number }>();
function extremes(rmse: Float32Array): { median: number; worst: number } {
  const kept = known.get(rmse) ?? { median: rmse.slice().sort()[Math.floor(rmse.length / 2)] as number, worst: largest(rmse) };
  known.set(rmse, kept);
  return kept;
}

function sentence(shown: Shown, name: string, row: number, column: number, value: number): string {
  const { takeaway } = words.value;
  const { rows, spread } = shown;
  if (shown.what === "error" && rows.rmse !== null) {
    const { median, worst } = extremes(rows.rmse);
    return takeaway.error(name, small(median), count(worst), small(rows.rmse[worst] as number));
  }
  if (shown.what === "code") return takeaway.code(name, count(row), count(column), String(value), count(blockIndex.value));
  const top = largest(rows.absmax);
  return takeaway.weight(name, plain(spread.absmax, 4), count(top), (spread.absmax / spread.std).toFixed(1));
}

function Asked({ rows, rmse }: { rows: LabRows; rmse: Float32Array }): JSX.Element {
  const { question } = words.value;
  const worst = largest(rmse);
  return (
    <Question
      question={question.ask}
      options={question.options}
      right={1}
      answer={question.answer(count(worst), small(rmse[worst] as number), small(rows.absmax[worst] as number))}
    />
  );
}

/** A tall tensor is pressed together, so that the whole map stays in sight. */
const mapHeight = (width: number, rem: number, ratio: number) => Math.min(Math.max(width * ratio, 8 * rem), 19 * rem);
const mapSize = (width: number, height: number) => ({ width, height: height - 1.7 * remNow() });

/** How values become shares of the colour scale. */
function colouring(what: Shown["what"], map: LabHeatmap, ground: Rgb): { lut: Uint32Array; low: number; high: number } {
  if (what === "error") return { lut: table(cividis), low: 0, high: map.high };
  if (what === "code") return { lut: table(blueOrange(ground)), low: 0, high: 15 };
  const most = Math.max(Math.abs(map.low), Math.abs(map.high));
  return { lut: table(blueOrange(ground)), low: -most, high: most };
}

/** The map as a picture of one pixel a cell. */
function picture(map: LabHeatmap, { lut, low, high }: ReturnType<typeof colouring>): HTMLCanvasElement {
  const canvas = document.createElement("canvas");
  canvas.width = map.width;
  canvas.height = map.height;
  const ctx = canvas.getContext("2d") as CanvasRenderingContext2D;
  const image = ctx.createImageData(map.width, map.height);
  const pixels = new Uint32Array(image.data.buffer);
  const factor = high > low ? 255 / (high - low) : 0;
  for (let i = 0; i < map.data.length; i++) {
    const step = ((map.data[i] as number) - low) * factor;
    pixels[i] = lut[step < 0 ? 0 : step > 255 ? 255 : step | 0] as number;
  }
  ctx.putImageData(image, 0, 0);
  return canvas;
}

const pictures = new WeakMap<LabHeatmap, { key: string; canvas: HTMLCanvasElement }>();
function pictureOf(map: LabHeatmap, what: Shown["what"], ground: Rgb): HTMLCanvasElement {
  const key = ground.join();
  const kept = pictures.get(map);
  if (kept?.key === key) return kept.canvas;
  const canvas = picture(map, colouring(what, map, ground));
  pictures.set(map, { key, canvas });
  return canvas;
}

function drawMap(drawing: Drawing, { what, map, columns }: Shown, row: number, column: number): void {
  const { ctx, width, height, colours, font, text } = drawing;
  const { rem } = colours;
  const tall = height - 1.7 * rem;
  const image = pictureOf(map, what, colours.paperRgb);
  ctx.imageSmoothingEnabled = image.width > width || image.height > tall;
  ctx.drawImage(image, 0, 0, width, tall);
  const rows = map.rect.height;
  const [x, y] = [((column + 0.5) / columns) * width, ((row + 0.5) / rows) * tall];
  // The chosen weight: a ring with a light edge, so that it shows on every colour.
  for (const [colour, wide] of [[colours.paper, 4], [colours.ink, 2]] as const) {
    ctx.strokeStyle = colour;
    ctx.lineWidth = wide;
    ctx.beginPath();
    ctx.arc(x, y, 0.55 * rem, 0, 2 * Math.PI);
    ctx.stroke();
  }
  // The colour scale, with what its ends mean.
  const { low, high } = colouring(what, map, colours.paperRgb);
  const scale = colouring(what, map, colours.paperRgb).lut;
  font(0.72, { mono: true });
  const format = (value: number) => (what === "code" ? String(value) : small(value).replace("-", "\u2212"));
  const [from, to] = [format(low), format(high)];
  const start = ctx.measureText(from).width + 0.5 * rem;
  const end = start + Math.min(12 * rem, width * 0.5);
  const steps = new Uint8Array(scale.buffer);
  for (let i = 0; i < 64; i++) {
    const at = Math.round((i / 63) * 255) * 4;
    ctx.fillStyle = `rgb(${steps[at]} ${steps[at + 1]} ${steps[at + 2]})`;
    ctx.fillRect(start + (i / 64) * (end - start), tall + 0.55 * rem, (end - start) / 64 + 1, 0.7 * rem);
  }
  text(from, 0, tall + 1.2 * rem, { colour: colours["ink-2"] });
  text(to, end + 0.5 * rem, tall + 1.2 * rem, { colour: colours["ink-2"] });
}

function drawNear(drawing: Drawing, { what, map }: Near, at: { row: number; column: number; columns: number }): void {
  const { ctx, width, colours, font, text } = drawing;
  const { rem } = colours;
  const { rect } = map;
  font(0.78);
  text(words.value.magnified(count(rect.height), count(rect.width)), 0, 0.9 * rem, { colour: colours["ink-2"] });
  const size = width / NEAR.width;
  const top = 1.6 * rem;
  ctx.imageSmoothingEnabled = false;
  ctx.drawImage(pictureOf(map, what, colours.paperRgb), 0, top, rect.width * size, rect.height * size);
  // The block runs along the rows, and may begin and end inside of one.
  const { blocksize } = settings.value;
  const first = blockIndex.value * blocksize;
  for (let y = 0; y < rect.height; y++) {
    const start = (rect.y + y) * at.columns + rect.x;
    const from = Math.max(first, start);
    const to = Math.min(first + blocksize, start + rect.width);
    if (from >= to) continue;
    for (const [colour, wide] of [[colours.paper, 4], [colours.ink, 1.5]] as const) {
      ctx.strokeStyle = colour;
      ctx.lineWidth = wide;
      ctx.strokeRect((from - start) * size, top + y * size, (to - from) * size, size);
    }
  }
  const [x, y] = [(at.column - rect.x) * size, top + (at.row - rect.y) * size];
  ctx.lineWidth = 3;
  ctx.strokeStyle = colours.four;
  ctx.strokeRect(x - 1, y - 1, size + 2, size + 2);
  line(ctx, colours.rule, 0, top + rect.height * size + 1, rect.width * size, top + rect.height * size + 1);
}

function tableOf(rows: LabRows, name: string): Table {
  const { columns } = words.value;
  const { rmse } = rows;
  return {
    caption: name,
    columns: [
      { head: columns.row, format: count },
      { head: columns.absmax, format: (value) => plain(value, 5) },
      { head: columns.mean, format: (value) => signed(value, 5) },
      { head: columns.std, format: (value) => plain(value, 5) },
      ...(rmse === null ? [] : [{ head: columns.rmse, format: small }]),
    ],
    rows: {
      length: rows.absmax.length,
      row: (i) => [
        i, rows.absmax[i] as number, rows.mean[i] as number, rows.std[i] as number, ...(rmse === null ? [] : [rmse[i] as number]),
      ],
    },
  };
}

/** View 11: sizes of any Llama from its config.json, before anything is downloaded. */

import type { JSX } from "preact";
import { useEffect, useState } from "preact/hooks";
import { signal } from "@preact/signals";
import { droppedName } from "../app/files";
import { bytes, count } from "../app/format";
import { KNOWN_MODELS } from "../app/known-models";
import { openFiles, session } from "../app/session";
import { state } from "../app/state";
import { Slider } from "../app/ui";
import { hatch } from "../draw/axes";
import { Canvas, type Drawing } from "../draw/canvas";
import { linear } from "../draw/scale";
import { footprint, type Footprint, type ModuleFootprint } from "../engine/index";
import { currentConfig, quantizationOf } from "./config-sizes";
import { Blocksize, DoubleQuant, QuantType } from "./controls";
import { Pick } from "./pick";
import { Question } from "./question";
import { View, type Table } from "./view";
import { viewWords } from "./words";
import { en } from "./words/yours.en";
import "./models.css";

const words = viewWords(en, () => import("./words/yours.ko"));
/** Bytes that a WebAssembly memory can have. */
const ROOM = 2 ** 32;

/** What was pasted or chosen; weights lie in `files` where a folder was chosen. */
interface Chosen {
  name: string;
  config: Record<string, unknown>;
  files: readonly File[];
}

const chosen = signal<Chosen | null>(null);

interface Sized {
  name: string;
  /** As bitsandbytes would hold it, or as the file says where it is quantized already. */
  four: Footprint;
  full: Footprint;
  stored: string | null;
}

type Kind = keyof typeof en.kinds;

export function kindOf(path: string): Kind {
  if (path.endsWith("embed_tokens")) return "embed";
  if (path === "lm_head") return "head";
  if (path.includes(".self_attn.")) return "attention";
  return path.includes(".mlp.") ? "mlp" : "norm";
}

/** Bytes by kind of module, in the order of the model. */
export function kinds(modules: readonly ModuleFootprint[], cache: number): [Kind, number][] {
  const sums = new Map<Kind, number>((["embed", "attention", "mlp", "norm", "head"] as const).map((kind) => [kind, 0]));
  for (const { path, bytes } of modules) sums.set(kindOf(path), (sums.get(kindOf(path)) ?? 0) + bytes);
  return [...[...sums].filter(([, size]) => size > 0), ["cache", cache]];
}

function useSizes(context: number): { sized: Sized | null; error: Error | null } {
  const [result, setResult] = useState<{ sized: Sized | null; error: Error | null }>({ sized: null, error: null });
  const known = KNOWN_MODELS.find(({ name }) => name === state.size_of.value) ?? KNOWN_MODELS[0];
  const name = chosen.value?.name ?? known?.name ?? "";
  const config = chosen.value?.config ?? known?.config ?? {};
  const quantization = quantizationOf(currentConfig.value);
  const key = JSON.stringify([config, quantization, context]);
  useEffect(() => {
    let current = true;
    const own = (config as { quantization_config?: { bnb_4bit_quant_type?: string } }).quantization_config;
    const { quantization_config: _, ...plain } = config as Record<string, unknown>;
    Promise.all([
      footprint(own === undefined ? plain : config, { context, ...(own === undefined ? { quantization } : {}) }),
      footprint(plain, { context, dtype: "bfloat16" }),
    ]).then(
      ([four, full]) => {
        const stored = own === undefined ? null : (own.bnb_4bit_quant_type ?? "int8");
        if (current) setResult({ sized: { name, four, full, stored }, error: null });
      },
      (error: unknown) => {
        if (current) setResult({ sized: null, error: error instanceof Error ? error : new Error(String(error)) });
      },
    );
    return () => {
      current = false;
    };
  }, [key, name]);
  return result;
}

/** Powers of two from 128 tokens on. */
const contextOf = (exponent: number) => 2 ** exponent;

export default function Yours(): JSX.Element {
  const t = words.value;
  const context = contextOf(state.context.value);
  const { sized, error } = useSizes(context);
  return (
    <View
      id="yours"
      text={t.text}
      takeaway={sized === null ? null : sentence(sized, context)}
      caption={t.caption(sized?.name ?? "", count(context))}
      controls={<Controls sized={sized} />}
      explain={t.explain}
      questions={
        <Question
          question={t.question.ask(sized?.name ?? "")}
          options={t.question.options}
          right={sized === null ? null : 1}
          answer={sized === null ? "" : t.question.answer(bytes(sized.four.true_bytes), bytes(sized.four.kv_cache * 2))}
        />
      }
      table={sized === null ? null : tableOf(sized)}
    >
      {error === null ? null : (
        <div class="notice bad" role="alert">
          <p>
            {t.refused}: <code>{error.message}</code>
          </p>
        </div>
      )}
      <Canvas
        name="kinds"
        label={sized === null ? "" : sentence(sized, context)}
        height={(_, rem) => 15 * rem}
        draw={(drawing) => sized !== null && draw(drawing, sized)}
      />
    </View>
  );
}

function sentence({ name, four, full }: Sized, context: number): string {
  const t = words.value;
  if (four.kv_cache > four.true_bytes) return t.takeawayCache(name, bytes(four.true_bytes), bytes(four.kv_cache), count(context));
  return t.takeaway(name, bytes(full.true_bytes), bytes(four.true_bytes), bytes(four.kv_cache), count(context));
}

function draw(drawing: Drawing, { four, full }: Sized): void {
  const { ctx, width, height, colours, font, text } = drawing;
  const t = words.value;
  const { rem } = colours;
  const rows = [
    { label: t.rows.full, parts: kinds(full.modules, full.kv_cache), fill: colours.full, light: colours["full-2"] },
    { label: t.rows.four, parts: kinds(four.modules, four.kv_cache), fill: colours.four, light: colours["four-2"] },
  ];
  const whole = Math.max(full.true_bytes + full.kv_cache, four.true_bytes + four.kv_cache);
  const x = linear([0, whole], [1, width - 1]);
  const linears = new Set<Kind>(["attention", "mlp"]);
  rows.forEach(({ label, parts, fill, light }, i) => {
    const top = i * (height / 2);
    const bar = top + 1.7 * rem;
    const thick = 2.1 * rem;
    const total = parts.reduce((sum, [, size]) => sum + size, 0);
    font(0.9, { weight: 650 });
    text(label, 1, top + 1.15 * rem, { colour: colours.ink });
    const from = ctx.measureText(label).width + 0.7 * rem;
    font(0.9, { mono: true });
    text(bytes(total), from, top + 1.15 * rem, { colour: colours.ink });
    let at = 0;
    // Labels in three lines below the bar, so that neighbours do not cover each other; narrow parts stay for the table.
    const ends = [0, 0, 0];
    parts.forEach(([kind, size], k) => {
      const [x0, x1] = [x(at), x(at + size)];
      at += size;
      ctx.fillStyle =
        kind === "cache" ? colours["grey-2"] : linears.has(kind) ? (kind === "mlp" ? fill : light) : kind === "embed" ? colours["grey-1"] : colours["grey-3"];
      ctx.fillRect(x0, bar, Math.max(x1 - x0 - 1, 0.5), thick);
      if (kind === "cache") hatch(drawing, colours.paper, x0, bar, x1 - x0 - 1, thick);
      font(0.75);
      const words = `${t.kinds[kind]} ${bytes(size, 2)}`;
      const wide = ctx.measureText(words).width;
      const wanted = Math.min(Math.max(x0, 1), Math.max(1, width - wide - 1));
      // The first line with room where the part begins; else that which moves the label least.
      const starts = ends.map((end) => Math.max(wanted, end));
      const start = Math.min(...starts);
      const line = starts.indexOf(start);
      if (start + wide > width || x1 - x0 < 3) return;
      ends[line] = start + wide + 0.6 * rem;
      const y = bar + thick + (1 + line * 1.05) * rem;
      text(words, start, y, { colour: k === parts.length - 1 ? colours.ink : colours["ink-2"] });
    });
  });
}

function Controls({ sized }: { sized: Sized | null }): JSX.Element {
  const t = words.value;
  const [text, setText] = useState("");
  const [said, setSaid] = useState("");
  const read = (source: string, name: string, files: readonly File[]) => {
    try {
      const config: unknown = JSON.parse(source);
      if (typeof config !== "object" || config === null || Array.isArray(config)) throw new Error();
      chosen.value = { name, config: config as Record<string, unknown>, files };
      setSaid("");
    } catch {
      setSaid(t.notJson);
    }
  };
  const take = (files: readonly File[]) => {
    const config = files.find(({ name }) => name === "config.json");
    if (config === undefined) return setSaid(t.noConfig);
    void config.text().then((source) => read(source, droppedName(files), files));
  };
  const weights = chosen.value?.files.some(({ name }) => name.endsWith(".safetensors")) === true;
  // Weights, the cache, logits and code: what the tab has to find room for.
  const needed = sized === null ? 0 : sized.four.true_bytes + sized.four.kv_cache;
  return (
    <>
      <label class="field">
        <span class="label">{t.examples}</span>
        <select
          value={chosen.value === null ? state.size_of.value : ""}
          onChange={(event) => {
            chosen.value = null;
            state.size_of.value = event.currentTarget.value;
          }}
        >
          {chosen.value === null ? null : <option value="">{chosen.value.name}</option>}
          {KNOWN_MODELS.map(({ name }) => (
            <option key={name} value={name}>
              {name}
            </option>
          ))}
        </select>
      </label>
      <Slider
        label={t.context}
        value={state.context.value}
        min={7}
        max={17}
        step={1}
        shown={count(contextOf(state.context.value))}
        onInput={(value) => (state.context.value = value)}
      />
      <QuantType />
      <Blocksize />
      <DoubleQuant />
      <label class="field">
        <span class="label">{t.paste}</span>
        <textarea
          rows={4}
          class="mono"
          spellcheck={false}
          placeholder={t.pasteHint}
          value={text}
          onInput={(event) => setText(event.currentTarget.value)}
        />
      </label>
      <div class="row">
        <button type="button" disabled={text.trim() === ""} onClick={() => read(text, t.pasted, [])}>
          {t.read}
        </button>
        <Pick label={t.folder} name="yours-folder" folder onFiles={take} />
        <Pick label={t.files} name="yours-files" onFiles={take} />
      </div>
      <p role="status" class="small">
        {said !== ""
          ? said
          : [
              sized?.stored == null ? "" : t.stored(sized.stored),
              sized === null ? "" : needed > ROOM ? t.tooLarge(bytes(needed)) : t.fits(bytes(needed)),
            ].join(" ")}
      </p>
      {weights ? (
        <p class="row">
          <button
            type="button"
            class="primary"
            disabled={needed > ROOM || session.phase.value.kind === "loading"}
            onClick={() => void openFiles(chosen.value?.files ?? [])}
          >
            {t.load}
          </button>
          <span role="status" class="small">
            {session.phase.value.kind === "loading" ? t.loading : ""}
          </span>
        </p>
      ) : null}
    </>
  );
}

function tableOf({ four, full }: Sized): Table {
  const { table } = words.value;
  const before = new Map(full.modules.map((module) => [module.path, module.bytes]));
  return {
    caption: table.caption,
    columns: [
      { head: table.path },
      { head: table.kind },
      { head: table.parameters, format: count },
      { head: table.before, format: count },
      { head: table.after, format: count },
    ],
    rows: [
      ...four.modules.map((module) => [module.path, module.kind, module.parameters, before.get(module.path) ?? 0, module.bytes]),
      [words.value.kinds.cache, "", 0, full.kv_cache, four.kv_cache],
    ],
  };
}

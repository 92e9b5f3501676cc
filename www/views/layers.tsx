/** View 8: the layer tree before and after, and what is left out. */

import type { JSX } from "preact";
import { signal } from "@preact/signals";
import { bytes, count, percent } from "../app/format";
import { KNOWN_MODELS } from "../app/known-models";
import { cancelLoading, quantizeHere, session } from "../app/session";
import { state } from "../app/state";
import { chosenModel, currentConfig, quantizationOf, useConfigSizes } from "./config-sizes";
import { Blocksize, DoubleQuant, QuantType } from "./controls";
import { toggled, treeOf, type TreeRow } from "./layer-tree";
import { Question } from "./question";
import { skipText } from "./skip";
import { View, type Table } from "./view";
import { viewWords } from "./words";
import { en } from "./words/layers.en";
import "./models.css";

const words = viewWords(en, () => import("./words/layers.ko"));
/** The story below the tree is this view's own doing. */
const written = signal(false);

interface Tree {
  name: string;
  tied: boolean;
  rows: TreeRow[];
  before: number;
  after: number;
}

export default function Layers(): JSX.Element {
  const t = words.value;
  const sizes = useConfigSizes([null, quantizationOf(currentConfig.value)], { thisModel: t.thisModel });
  const [before, after] = sizes?.footprints ?? [];
  const tree: Tree | null =
    sizes === null || before === undefined || after === undefined
      ? null
      : {
          name: sizes.name,
          tied: isTied(sizes.config),
          rows: treeOf(before, after, isTied(sizes.config)),
          before: before.true_bytes,
          after: after.true_bytes,
        };
  const layers = tree?.rows.find(({ name }) => name === "q_proj");
  const blocks = after?.modules.filter(({ path }) => path.endsWith(".q_proj")).length ?? 0;
  return (
    <View
      id="layers"
      chart={false}
      text={t.text}
      takeaway={tree === null ? null : sentence(tree)}
      caption={t.caption(tree?.name ?? chosenModel(t.thisModel).name)}
      controls={<Controls blocks={blocks} />}
      explain={t.explain}
      questions={
        <Question
          question={t.question.ask}
          options={t.question.options}
          right={layers === undefined ? null : 1}
          answer={t.question.answer(count(blocks))}
        />
      }
      table={tree === null ? null : tableOf(tree)}
    >
      {tree === null ? null : <TreeTable tree={tree} />}
      <Story />
    </View>
  );
}

function isTied(config: object): boolean {
  return (config as { tie_word_embeddings?: boolean }).tie_word_embeddings === true;
}

function sentence({ rows, before, after }: Tree): string {
  const linear = rows.filter(({ container, skip }) => !container && skip !== null);
  const sum = (picked: readonly TreeRow[]) => picked.reduce((total, { times }) => total + times, 0);
  const left = rows.filter(({ quantized }) => !quantized).reduce((total, row) => total + row.bytesAfter, 0);
  const four = linear.filter(({ quantized }) => quantized);
  return words.value.takeaway(count(sum(four)), count(sum(linear)), bytes(before), bytes(after), bytes(left), percent(left / after));
}

function toggle(name: string, quantize: boolean): void {
  state.skip.value = skipText(toggled(currentConfig.value.skip_modules, name, quantize));
}

function why(row: TreeRow, tied: boolean): string | null {
  const { kept } = words.value;
  if (row.container || row.quantized) return null;
  if (row.kind === "Embedding" || row.kind === "LlamaRMSNorm") return kept[row.kind];
  if (row.name === "lm_head" && tied) return kept.tied;
  return row.name === "lm_head" && currentConfig.value.skip_modules === null ? kept.lm_head : kept.skipped;
}

function TreeTable({ tree }: { tree: Tree }): JSX.Element {
  const t = words.value;
  const widest = Math.max(...tree.rows.map(({ bytesBefore }) => bytesBefore), 1);
  return (
    <div class="scroll-x tree-box" tabIndex={0} role="region" aria-label={t.caption(tree.name)}>
      <table class="tree">
        <thead>
          <tr>
            <th scope="col">{t.module}</th>
            <th scope="col" class="n">
              {t.before}
            </th>
            <th scope="col" class="n">
              {t.after}
            </th>
            <td />
          </tr>
        </thead>
        <tbody>
          {tree.rows.map((row, i) => (
            <Row key={`${i} ${row.name}`} row={row} tied={tree.tied} widest={widest} />
          ))}
        </tbody>
      </table>
    </div>
  );
}

function Row({ row, tied, widest }: { row: TreeRow; tied: boolean; widest: number }): JSX.Element {
  const t = words.value;
  const reason = why(row, tied);
  const name = (
    <code>
      {row.name === "" ? "" : `(${row.name}): `}
      {row.before === row.kind ? (
        row.kind
      ) : (
        <>
          <del>{row.before}</del> <ins>{row.kind}</ins>
        </>
      )}
      {row.times > 1 ? <span class="times muted"> {t.times(row.times)}</span> : null}
    </code>
  );
  const indent = { paddingInlineStart: `calc(${row.depth} * var(--step, 0.9rem))` };
  if (row.container) {
    return (
      <tr class="tree-container">
        <th scope="row" colSpan={4} style={indent}>
          {name}
        </th>
      </tr>
    );
  }
  const { skip } = row;
  return (
    <tr class={row.quantized ? "four" : "full"} data-module={row.name}>
      <th scope="row" style={indent}>
        {skip === null ? (
          name
        ) : (
          <label class="check">
            <input
              type="checkbox"
              checked={row.quantized}
              aria-label={t.quantize(row.name)}
              onChange={(event) => toggle(skip, event.currentTarget.checked)}
            />
            {name}
          </label>
        )}
        {reason === null ? null : <span class="tree-why">{reason}</span>}
      </th>
      <td class="n was-bytes">{row.bytesBefore === 0 ? "" : bytes(row.bytesBefore)}</td>
      <td class="n">{row.bytesAfter === 0 ? "" : bytes(row.bytesAfter)}</td>
      <td class="tree-bar" aria-hidden="true">
        <i class="was" style={{ width: `${(row.bytesBefore / widest) * 100}%` }} />
        <i class={row.quantized ? "four" : "full"} style={{ width: `${(row.bytesAfter / widest) * 100}%` }} />
      </td>
    </tr>
  );
}

function Controls({ blocks }: { blocks: number }): JSX.Element {
  const t = words.value;
  const skip = currentConfig.value.skip_modules;
  const loading = session.quantizing.value;
  const model = session.model.value;
  // A model that came quantized has no other form to go back to.
  const own = session.name.value === null || model?.facts.quantization === null;
  return (
    <>
      <label class="field">
        <span class="label">{t.model}</span>
        <select value={state.size_of.value} onChange={(event) => (state.size_of.value = event.currentTarget.value)}>
          {KNOWN_MODELS.map(({ name }) => (
            <option key={name} value={name}>
              {name}
            </option>
          ))}
          <option value="this" disabled={model === null}>
            {session.name.value ?? t.thisModel}
          </option>
        </select>
      </label>
      <QuantType />
      <Blocksize />
      <DoubleQuant />
      <details>
        <summary>{t.layers}</summary>
        <div class="layer-grid">
          {Array.from({ length: blocks }, (_, i) => {
            const name = `model.layers.${i}`;
            const out = skip?.includes(name) === true;
            return (
              <button type="button" key={name} aria-pressed={out} aria-label={t.layer(i)} onClick={() => toggle(name, out)}>
                {i}
              </button>
            );
          })}
        </div>
      </details>
      <div class="row">
        <button
          type="button"
          class="primary"
          disabled={!own || loading !== null}
          onClick={() => {
            written.value = true;
            void quantizeHere(quantizationOf(currentConfig.peek()));
          }}
        >
          {t.regenerate}
        </button>
        <button type="button" disabled={skip === null} onClick={() => (state.skip.value = "")}>
          {t.reset}
        </button>
        {loading === null ? null : (
          <button type="button" class="quiet" onClick={cancelLoading}>
            {t.cancel}
          </button>
        )}
      </div>
      <p role="status" class="small muted">
        {loading !== null
          ? t.regenerating(loading.tensors, loading.tensorsTotal)
          : !own
            ? t.noOriginals
            : state.size_of.value === "this"
              ? ""
              : t.otherModel}
      </p>
    </>
  );
}

function Story(): JSX.Element | null {
  const story = session.story.value;
  if (!written.value || story === null || session.quantizing.value !== null) return null;
  return (
    <div class="tree-story">
      <p class="small muted">{words.value.writes(session.name.value ?? words.value.thisModel)}</p>
      <p lang="en">
        {story.prompt}
        <span class="four-text">{story.text}</span>
      </p>
    </div>
  );
}

function tableOf({ rows }: Tree): Table {
  const { table } = words.value;
  return {
    caption: table.caption,
    columns: [
      { head: table.path },
      { head: table.from },
      { head: table.to },
      { head: table.times, format: count },
      { head: table.before, format: count },
      { head: table.after, format: count },
    ],
    rows: rows.filter(({ container }) => !container).map((row) => [row.name, row.before, row.kind, row.times, row.bytesBefore, row.bytesAfter]),
  };
}

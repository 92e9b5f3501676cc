/** The frame every view fills: text, figure with its takeaway, controls, explanation, table and exports. */

import type { ComponentChildren, JSX } from "preact";
import { useRef, useState } from "preact/hooks";
import { hidden, words } from "../app/state";
import { csv, png, save, type Cell } from "../draw/export";
import type { ViewId } from "./index";

export interface Column {
  head: string;
  /** How a number of this column reads; exports carry every digit. */
  format?: (value: number) => string;
}

export interface Table {
  caption: string;
  columns: readonly Column[];
  rows: readonly (readonly Cell[])[] | LazyRows;
}

/** Rows of a large tensor, of which the page shows few: each is made when it is asked for. */
export interface LazyRows {
  length: number;
  row: (index: number) => readonly Cell[];
}

function firstRows({ rows }: Table, most: number): readonly (readonly Cell[])[] {
  if (!("row" in rows)) return rows.slice(0, most);
  return Array.from({ length: Math.min(most, rows.length) }, (_, i) => rows.row(i));
}

/** Rows that the page shows of a table; its CSV has all. */
const MOST_ROWS = 256;

interface ViewProps {
  id: ViewId;
  /** What this is about, in two or three sentences. */
  text: string;
  /** One sentence made from the data shown; null while there is none. */
  takeaway: string | null;
  /** What the figure shows, with its unit. */
  caption?: string;
  controls?: ComponentChildren;
  /** What is shown is still about what was chosen before. */
  late?: boolean;
  /** False where the figure is no picture: it has no PNG then. */
  chart?: boolean;
  /** The longer explanation, opened beside the figure, by paragraphs. */
  explain: readonly string[];
  /** Questions that are asked before the answer shows. */
  questions?: ComponentChildren;
  /** The numbers behind the figure; null while there are none. */
  table: Table | null;
  children: ComponentChildren;
}

export function View(props: ViewProps): JSX.Element {
  const figure = useRef<HTMLElement>(null);
  const hide = hidden.value;
  const t = words.value.tools;
  return (
    <>
      {hide.has("text") ? null : <div class="view-text"><p>{props.text}</p></div>}
      <figure class="view-figure" ref={figure}>
        {hide.has("takeaway") ? null : (
          <p class="takeaway" data-ready={props.takeaway !== null}>
            {props.takeaway ?? t.computing}
          </p>
        )}
        {props.caption === undefined ? null : <figcaption class="caption">{props.caption}</figcaption>}
        <div class="figure-body" aria-busy={props.takeaway === null || props.late === true}>
          {props.children}
        </div>
        {hide.has("tools") ? null : <Tools {...props} figure={figure} />}
      </figure>
      {props.controls === undefined || hide.has("controls") ? null : <div class="view-controls">{props.controls}</div>}
      {hide.has("text") ? null : (
        <div class="view-more">
          {props.questions}
          <details class="explain">
            <summary>{t.explain}</summary>
            <div class="prose">
              {props.explain.map((paragraph) => (
                <p key={paragraph}>{paragraph}</p>
              ))}
            </div>
          </details>
        </div>
      )}
    </>
  );
}

function Tools(props: ViewProps & { figure: { current: HTMLElement | null } }): JSX.Element {
  const t = words.value.tools;
  const [open, setOpen] = useState(false);
  const { table } = props;
  const title = words.value.views[props.id].title;
  return (
    <div class="tools">
      <div class="row chart-tools">
        <button
          type="button"
          class="quiet"
          data-tool="table"
          aria-expanded={open}
          disabled={table === null}
          onClick={() => setOpen(!open)}
        >
          {open ? t.hideTable : t.table}
        </button>
        {props.chart === false ? null : <button
          type="button"
          class="quiet"
          data-tool="png"
          aria-label={t.savePng(title)}
          disabled={props.takeaway === null}
          onClick={() => {
            const element = props.figure.current;
            if (element !== null) void png(element, title, props.takeaway ?? "").then((blob) => save(`nibblama-${props.id}.png`, blob));
          }}
        >
          PNG
        </button>}
        <button
          type="button"
          class="quiet"
          data-tool="csv"
          aria-label={t.saveCsv(title)}
          disabled={table === null}
          onClick={() => {
            if (table === null) return;
            const text = csv(table.columns.map((column) => column.head), firstRows(table, table.rows.length));
            save(`nibblama-${props.id}.csv`, new Blob([text], { type: "text/csv" }));
          }}
        >
          CSV
        </button>
      </div>
      {table === null ? null : <DataTable table={table} open={open} />}
    </div>
  );
}

function DataTable({ table, open }: { table: Table; open: boolean }): JSX.Element {
  const rows = open ? firstRows(table, MOST_ROWS) : [];
  return (
    <div class="scroll-x table-behind" tabIndex={open ? 0 : -1} role="region" aria-label={table.caption} hidden={!open}>
      {open ? (
        <table>
          <caption>{table.caption}</caption>
          <thead>
            <tr>
              {table.columns.map(({ head }, i) => (
                <th scope="col" key={head} class={typeof rows[0]?.[i] === "number" ? "n" : ""}>
                  {head}
                </th>
              ))}
            </tr>
          </thead>
          <tbody>
            {rows.map((row, i) => (
              <tr key={i}>
                {row.map((cell, j) => {
                  const number = typeof cell === "number";
                  return (
                    <td key={j} class={number ? "n" : ""} {...(number ? { "data-value": cell } : {})}>
                      {number ? (table.columns[j]?.format ?? String)(cell) : cell}
                    </td>
                  );
                })}
              </tr>
            ))}
          </tbody>
          {table.rows.length <= MOST_ROWS ? null : (
            <tfoot>
              <tr>
                <td colSpan={table.columns.length}>{words.value.tools.more(MOST_ROWS, table.rows.length)}</td>
              </tr>
            </tfoot>
          )}
        </table>
      ) : null}
    </div>
  );
}

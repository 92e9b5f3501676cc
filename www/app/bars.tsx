/** The memory bars: f32, bf16, and 4 bits as it is printed and as it is. */

import type { JSX } from "preact";
import type { Footprint, ModuleFootprint } from "../engine/index";
import { bytes, count } from "./format";
import { LLAMA_8B } from "./known-models";
import { goTo } from "./presenter";
import { session, type Sizes } from "./session";
import { words } from "./state";

export interface Segment {
  kind: "full" | "codes" | "absmax" | "nested" | "embed" | "head" | "norm";
  bytes: number;
}

const sum = (modules: ModuleFootprint[]) => modules.reduce((total, module) => total + module.bytes, 0);

/** What the bytes of a 4-bit model are for. */
export function segmentsOf(footprint: Footprint): Segment[] {
  const embed = sum(footprint.modules.filter((module) => module.kind === "Embedding"));
  const head = sum(footprint.modules.filter((module) => module.kind === "Linear"));
  const norm = sum(footprint.modules.filter((module) => module.kind === "LlamaRMSNorm"));
  const segments: Segment[] = [
    { kind: "codes", bytes: footprint.packed_codes },
    { kind: "absmax", bytes: footprint.absmax },
    { kind: "nested", bytes: footprint.nested_absmax + footprint.quant_maps },
    { kind: "embed", bytes: embed },
    { kind: "head", bytes: head },
    { kind: "norm", bytes: norm },
  ];
  return segments.filter((segment) => segment.bytes > 0);
}

function Bar(props: { label: string; bytes: number; whole: number; segments: Segment[]; printed?: boolean }): JSX.Element {
  const share = (part: number) => `${(part / props.whole) * 100}%`;
  return (
    <div class={props.printed === true ? "bar printed" : "bar"} role="listitem">
      <span>{props.label}</span>
      <span class="bar-track" aria-hidden="true">
        {props.segments.map((segment) => (
          <i key={segment.kind} class={`seg-${segment.kind}`} style={{ width: share(segment.bytes) }} />
        ))}
      </span>
      <span class="num">{bytes(props.bytes)}</span>
    </div>
  );
}

function BarSet(props: { name: string; sizes: Sizes | null }): JSX.Element {
  const t = words.value.bars;
  const { sizes } = props;
  const whole = sizes?.f32.true_bytes ?? 1;
  const rows: [string, number, Segment[], boolean][] =
    sizes === null
      ? []
      : [
          [t.f32, sizes.f32.true_bytes, [{ kind: "full", bytes: sizes.f32.true_bytes }], false],
          [t.bf16, sizes.bf16.true_bytes, [{ kind: "full", bytes: sizes.bf16.true_bytes }], false],
          [t.printed, sizes.nf4dq.get_memory_footprint, [{ kind: "codes", bytes: sizes.nf4dq.get_memory_footprint }], true],
          [t.nf4, sizes.nf4.true_bytes, segmentsOf(sizes.nf4), false],
          [t.nf4dq, sizes.nf4dq.true_bytes, segmentsOf(sizes.nf4dq), false],
        ];
  return (
    <div class="barset">
      <h3>
        <span>{props.name}</span>
        <span class="num muted">{sizes === null ? "" : t.parameters(count(sizes.f32.parameters))}</span>
      </h3>
      <div role="list" class="barset-rows">
        {rows.map(([label, value, segments, printed]) => (
          <Bar key={label} label={label} bytes={value} whole={whole} segments={segments} printed={printed} />
        ))}
      </div>
    </div>
  );
}

export function Bars(): JSX.Element {
  const t = words.value.bars;
  const big = session.sizesOf8B.value;
  return (
    <section class="bars" aria-labelledby="bars-heading">
      <h2 id="bars-heading">{t.heading}</h2>
      <p class="takeaway">
        {big === null
          ? t.waiting
          : t.takeaway(
              LLAMA_8B.name,
              bytes(big.f32.true_bytes),
              bytes(big.nf4dq.true_bytes),
              (big.f32.true_bytes / big.nf4dq.true_bytes).toFixed(1),
            )}
      </p>
      <div class="bars-pair">
        <BarSet name={LLAMA_8B.name} sizes={big} />
        <BarSet name={session.name.value ?? t.thisModel} sizes={session.sizes.value} />
      </div>
      <div class="bars-notes">
        {big === null ? null : <p class="small muted">{t.printedNote(bytes(big.nf4dq.get_memory_footprint))}</p>}
        {big === null ? null : (
          <p>
            <button type="button" class="link" onClick={() => goTo("headline")}>
              {words.value.views.headline.title}
            </button>
          </p>
        )}
      </div>
    </section>
  );
}

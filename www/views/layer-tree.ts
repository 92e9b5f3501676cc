/** The modules of a Llama as `print(model)` shows them, with bytes before and after. */

import type { Footprint, ModuleFootprint } from "../engine/index";

export interface TreeRow {
  /** Nesting, as print() indents. */
  depth: number;
  /** "q_proj", "(0-31)". */
  name: string;
  /** "Linear", "Linear4bit", "Embedding", or a container's class. */
  kind: string;
  /** What it was before; the same as `kind` where nothing changed. */
  before: string;
  /** Sums over all modules that the row stands for; 0 in a container's own row. */
  bytesBefore: number;
  bytesAfter: number;
  /** How many modules it stands for. */
  times: number;
  /** What `llm_int8_skip_modules` would call it; null where there is nothing to choose. */
  skip: string | null;
  /** Whether it is quantized now. */
  quantized: boolean;
  container: boolean;
}

interface Group {
  first: number;
  last: number;
}

const layerOf = (path: string) => /^model\.layers\.(\d+)\.(.+)$/.exec(path);

/** Runs of neighbouring layers whose modules have the same kinds and sizes: print() shows each run once. */
export function groups(after: Footprint): Group[] {
  const signatures: string[] = [];
  for (const module of after.modules) {
    const place = layerOf(module.path);
    if (place?.[1] === undefined) continue;
    const layer = Number(place[1]);
    signatures[layer] = `${signatures[layer] ?? ""} ${place[2]}:${module.kind}:${module.bytes}`;
  }
  const found: Group[] = [];
  signatures.forEach((signature, layer) => {
    const last = found.at(-1);
    if (last !== undefined && signatures[last.first] === signature) last.last = layer;
    else found.push({ first: layer, last: layer });
  });
  return found;
}

/** `before` in 16 bits, `after` quantized; both of one configuration, module by module. */
export function treeOf(before: Footprint, after: Footprint, tied: boolean): TreeRow[] {
  const earlier = new Map(before.modules.map((module) => [module.path, module]));
  const container = (depth: number, name: string, kind: string): TreeRow => ({
    depth, name, kind, before: kind, bytesBefore: 0, bytesAfter: 0, times: 1, skip: null, quantized: false, container: true,
  });
  const row = (depth: number, name: string, modules: readonly ModuleFootprint[]): TreeRow => {
    const kind = modules[0]?.kind ?? "";
    const was = earlier.get(modules[0]?.path ?? "")?.kind ?? kind;
    return {
      depth, name, kind, before: was,
      bytesBefore: modules.reduce((sum, { path }) => sum + (earlier.get(path)?.bytes ?? 0), 0),
      bytesAfter: modules.reduce((sum, { bytes }) => sum + bytes, 0),
      times: modules.length,
      skip: was.startsWith("Linear") ? name : null,
      quantized: kind === "Linear4bit" || kind === "Linear8bitLt",
      container: false,
    };
  };
  const one = (path: string) => after.modules.filter((module) => module.path === path);
  const rows = [
    container(0, "", "LlamaForCausalLM"),
    container(1, "model", "LlamaModel"),
    row(2, "embed_tokens", one("model.embed_tokens")),
    container(2, "layers", "ModuleList"),
  ];
  for (const { first, last } of groups(after)) {
    const count = last - first + 1;
    rows.push(container(3, first === last ? `${first}` : `${first}-${last}`, count === 1 ? "LlamaDecoderLayer" : `${count} x LlamaDecoderLayer`));
    const inside = (name: string) =>
      after.modules.filter(({ path }) => {
        const place = layerOf(path);
        return place !== null && Number(place[1]) >= first && Number(place[1]) <= last && place[2] === name;
      });
    rows.push(container(4, "self_attn", "LlamaAttention"));
    for (const name of ["q_proj", "k_proj", "v_proj", "o_proj"]) rows.push(row(5, name, inside(`self_attn.${name}`)));
    rows.push(container(4, "mlp", "LlamaMLP"));
    for (const name of ["gate_proj", "up_proj", "down_proj"]) rows.push(row(5, name, inside(`mlp.${name}`)));
    for (const name of ["input_layernorm", "post_attention_layernorm"]) rows.push(row(4, name, inside(name)));
  }
  rows.push(row(2, "norm", one("model.norm")));
  const head = one("lm_head");
  if (head.length > 0) rows.push(row(1, "lm_head", head));
  else if (tied) rows.push({ ...container(1, "lm_head", "Linear"), container: false });
  return rows.filter((each) => each.container || each.times > 0);
}

/** The list with a name put in or taken out. The library's own list is lm_head alone; that and only that is null. */
export function toggled(skip: readonly string[] | null, name: string, quantize: boolean): string[] | null {
  const list = (skip ?? ["lm_head"]).filter((each) => each !== name);
  if (!quantize) list.push(name);
  return list.length === 1 && list[0] === "lm_head" ? null : list;
}

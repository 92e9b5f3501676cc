/** Merging for view 10: an adapter added into the weights, and what that does to the predictions. */

import { session } from "../app/session";
import { state } from "../app/state";
import { loadModel, openLab, type Model } from "../engine/index";
import { dropMerged, merged, ready, run, stage, update, weightBytes } from "./lora-run";

/** The model with an adapter, at its strength, in its weights: written out as a checkpoint and loaded in a worker of its own. */
export async function mergedModel(model: Model, name: string, signal: AbortSignal): Promise<Model> {
  const strength = state.strength.peek();
  const key = `${name} ${strength}`;
  let held = merged.peek();
  if (held?.of !== model || held.key !== key) {
    dropMerged();
    stage.value = "merging";
    await ready(model, name);
    await model.setAdapter(name, strength);
    const files: File[] = [];
    const collect = (file: string) => {
      const parts: Uint8Array<ArrayBuffer>[] = [];
      return new WritableStream<Uint8Array<ArrayBuffer>>({
        write: (part) => void parts.push(part),
        close: () => void files.push(new File(parts, file)),
      });
    };
    const format = model.facts.quantization === null ? "bfloat16" : "bitsandbytes";
    await model.export(collect, { adapter: name, format, signal });
    held = { of: model, key, model: await loadModel(files, { context: 512, signal }) };
    merged.value = held;
  }
  update({ merged: await weightBytes(held.model) });
  return held.model;
}

/** How far merging moves the predictions along the written text, beside how far the adapter does. */
export async function compare(model: Model, ids: readonly number[], signal: AbortSignal): Promise<void> {
  const [now, held] = [run.peek(), merged.peek()];
  if (now === null || held === null || now.with.length < 2) return;
  stage.value = "comparing";
  const context = [...ids, ...now.with.map(({ token }) => token)].slice(0, -1);
  const all = { all: true, signal };
  await model.setAdapter(state.adapter.peek(), state.strength.peek());
  const beside = await model.logits(context, all);
  await model.setAdapter(null);
  const [base, within] = [await model.logits(context, all), await held.model.logits(context, all)];
  const lab = await openLab(session.originals.peek(), { signal });
  try {
    const [toMerged, toBase] = [await lab.compareLogits(beside, within), await lab.compareLogits(beside, base)];
    update({ shift: { merged: toMerged.meanKl, base: toBase.meanKl } });
  } finally {
    lab.dispose();
  }
}

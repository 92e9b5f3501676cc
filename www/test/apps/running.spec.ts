import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { Page } from "@playwright/test";
import { references, safetensors } from "../engine/support";
import { golden, repository, type Site } from "./site";
import { expect, test } from "./support";
import type { Model } from "../../engine/index";

declare global {
  interface Window {
    model: Model;
    /** Everything that one prompt gives; `read` are the tokens of it that were not in the kv cache. */
    write(prompt: string, options: Parameters<Model["generate"]>[1]): Promise<{ text: string; tokens: number[]; read: number; steps: object[] }>;
  }
}

const STORY = "Once upon a time there was a little girl who lived in a house near the woods. She had a dog and a cat. ".repeat(6);

async function open(page: Page, site: Site, options: object = {}, folder = "test/stories-nf4"): Promise<void> {
  await page.evaluate(
    async ([source, options]) => {
      await window.model?.dispose();
      window.model = await window.npm.loadModel(source, { threads: 1, context: 512, ...options });
      window.write = async (prompt, options) => {
        const steps = [];
        let read = -1;
        const onPrefill = (done: number, total: number) => void (read = read < 0 ? total - done : read);
        for await (const step of window.model.generate(prompt, { ...options, onPrefill })) steps.push(step);
        return { text: steps.map(({ text }) => text).join(""), tokens: steps.map(({ token }) => token), read, steps };
      };
    },
    [`${site.url}models/${folder}/`, options] as const,
  );
}

test("a prompt that begins like the text before is not read again, and the text is the same", async ({ engine, site }) => {
  for (const arithmetic of ["near-exact", "exact"] as const) {
    await open(engine, site, { arithmetic });
    const result = await engine.evaluate(async (story) => {
      const options = { max_new_tokens: 12, do_sample: true, seed: 5 };
      const fresh = await window.write(`${story} Then`, { ...options, reuse: "none" });
      await window.write(story, options);
      const reused = await window.write(`${story} Then`, options);
      const again = await window.write(`${story} Then`, options);
      const more = await window.write(`${story} Then${again.text} And`, { ...options, reuse: "all" });
      const other = await window.write("A dog", options);
      const alone = await window.write("A dog", { ...options, reuse: "none" });
      return { fresh, reused, again, more, other, alone };
    }, STORY);
    expect(result.reused.text).toBe(result.fresh.text);
    expect(result.again.text).toBe(result.fresh.text);
    expect(result.reused.read).toBeLessThan(result.fresh.read / 4);
    expect(result.more.read).toBeLessThan(5);
    expect(result.other.text).toBe(result.alone.text);
  }
});

test("an adapter changed within a text is no text to reuse, and its strength can be set", async ({ engine, site }) => {
  await open(engine, site, { arithmetic: "exact" });
  site.models.set("test/rhymes", join(repository, "models/adapters/rhymes"));
  const result = await engine.evaluate(
    async ([adapter, story]) => {
      const logits = async () => [...(await window.model.logits("Once upon a time")).data].join();
      const base = await logits();
      await window.model.loadAdapter("rhymes", adapter);
      await window.model.setAdapter("rhymes", 0);
      const none = await logits();
      await window.model.setAdapter("rhymes", 0.5);
      const half = await logits();
      await window.model.setAdapter("rhymes");
      const whole = await logits();
      const options = { max_new_tokens: 8 };
      const fresh = await window.write(story, { ...options, reuse: "none" });
      await window.model.setAdapter(null);
      await window.write(story, options);
      await window.model.setAdapter("rhymes");
      const again = await window.write(story, options);
      const refused = await window.model.setAdapter("rhymes", Number.NaN).catch((error: { code: string }) => error.code);
      return { base, none, half, whole, same: fresh.text === again.text, refused };
    },
    [`${site.url}models/test/rhymes/`, STORY] as const,
  );
  expect(result.none).toBe(result.base);
  expect(new Set([result.base, result.half, result.whole]).size).toBe(3);
  expect(result.same).toBe(true);
  expect(result.refused).toBe("invalid-argument");
});

test("candidates are the texts of their seeds, with log-probabilities of the model itself", async ({ engine, site }) => {
  await open(engine, site, { arithmetic: "exact" });
  const result = await engine.evaluate(async () => {
    const options = { max_new_tokens: 10, do_sample: true, temperature: 0.8 };
    const three = await window.write("Once upon a time", { ...options, seed: 7, n: 3, logprobs: 3 });
    const alone = [];
    for (const seed of [7, 8, 9]) alone.push((await window.write("Once upon a time", { ...options, seed, reuse: "none" })).tokens);
    const { data } = await window.model.logits("Once upon a time");
    const code = (error: { code: string }) => error.code;
    const refused = [
      await window.write("x", { n: 0 }).catch(code),
      // Names of other libraries, or misspelt ones, must not be passed over.
      await window.write("x", { typical_p: 0.9 } as object).catch(code),
      await window.npm.loadModel("models/", { quantisation: "nf4" } as object).catch(code),
    ];
    return { steps: three.steps, alone, logits: [...data], refused };
  });
  const steps = result.steps as { candidate: number; token: number; finish?: string; logprob: number; top_logprobs: { token: number; logprob: number }[] }[];
  for (const [candidate, tokens] of result.alone.entries()) {
    expect(steps.filter((step) => step.candidate === candidate).map(({ token }) => token)).toEqual(tokens);
  }
  expect(steps.filter(({ finish }) => finish !== undefined)).toHaveLength(3);
  expect(new Set(result.alone.map((tokens) => tokens.join())).size).toBeGreaterThan(1);
  const largest = Math.max(...result.logits);
  const total = Math.log(result.logits.reduce((sum, x) => sum + Math.exp(x - largest), 0)) + largest;
  const expected = result.logits.map((x, token) => ({ token, logprob: x - total })).sort((a, b) => b.logprob - a.logprob);
  const [first] = steps;
  expect(first?.top_logprobs.map(({ token }) => token)).toEqual(expected.slice(0, 3).map(({ token }) => token));
  expect(first?.logprob).toBeCloseTo(expected.find(({ token }) => token === first?.token)?.logprob ?? 0, 6);
  expect(result.refused).toEqual(["invalid-argument", "unsupported-option", "unsupported-option"]);
});

test("a full context ends, is an error, or slides and says what it dropped", async ({ engine, site }) => {
  await open(engine, site, { arithmetic: "exact", context: 32 });
  const result = await engine.evaluate(async () => {
    const options = { max_new_tokens: 60, do_sample: false };
    const { ids } = await window.model.tokenize("Once upon a time");
    const end = await window.write("Once upon a time", options);
    const error = await window.write("Once upon a time", { ...options, overflow: "error" }).catch((e: { code: string }) => e.code);
    const slid = await window.write("Once upon a time", { ...options, overflow: "slide" });
    const long = await window.write("a b c d e f g h ".repeat(20), { ...options, max_new_tokens: 4, overflow: "slide" });
    const refused = await window.write("a b c d e f g h ".repeat(20), options).catch((e: { code: string }) => e.code);
    // What follows the slide is what the model says after the tokens that were kept.
    const steps = slid.steps as { token: number; dropped?: number }[];
    const at = steps.findIndex(({ dropped }) => dropped !== undefined);
    const text = [...ids, ...steps.slice(0, at).map(({ token }) => token)];
    const bos = window.model.facts.config.bos_token_id;
    const kept = ids[0] === bos ? [ids[0] ?? 0, ...text.slice(-15)] : text.slice(-16);
    const alone = [];
    for await (const { token } of window.model.generate(kept, { ...options, max_new_tokens: 5, reuse: "none" })) alone.push(token);
    return { end, error, slid, long: long.steps, refused, at, before: text.length, kept: kept.length, alone, after: steps.slice(at, at + 5).map(({ token }) => token) };
  });
  expect(result.end.steps.at(-1)).toMatchObject({ finish: "context" });
  expect(result.error).toBe("context-full");
  expect(result.refused).toBe("context-full");
  expect(result.at).toBeGreaterThan(0);
  expect(result.slid.steps[result.at]).toMatchObject({ dropped: result.before - result.kept });
  expect(result.alone).toEqual(result.after);
  expect((result.long[0] as { dropped: number }).dropped).toBeGreaterThan(100);
});

test("a session goes on in another tab's model, and only in the same one", async ({ engine, site }) => {
  await open(engine, site);
  const result = await engine.evaluate(
    async ([url, story]) => {
      const code = (work: Promise<unknown>) => work.then(() => "none", (error: { code: string }) => error.code);
      const empty = await code(window.model.saveSession());
      const options = { max_new_tokens: 6, reuse: "all" as const };
      await window.write(story, options);
      const file = await window.model.saveSession();
      const went = await window.write(`${story} Then`, options);
      const other = await window.npm.loadModel(`${url}models/test/stories-nf4/`, { threads: 1, context: 400 });
      const info = await other.restoreSession(file);
      let read = -1;
      const onPrefill = (done: number, total: number) => void (read = read < 0 ? total - done : read);
      let text = "";
      for await (const token of other.generate(`${story} Then`, { ...options, onPrefill })) text += token.text;
      const bytes = new Uint8Array(await file.arrayBuffer());
      const changed = (at: number) => new Blob([Uint8Array.from(bytes, (byte, i) => (i === at ? byte ^ 1 : byte))]);
      const codes = {
        empty,
        magic: await code(other.restoreSession(changed(0))),
        header: await code(other.restoreSession(changed(12))),
        body: await code(other.restoreSession(changed(bytes.length - 5))),
        cut: await code(other.restoreSession(new Blob([bytes.subarray(0, 200)]))),
        nothing: await code(other.restoreSession(new Blob([]))),
      };
      await other.dispose();
      const short = await window.npm.loadModel(`${url}models/test/stories-nf4/`, { threads: 1, context: 16 });
      const full = await code(short.restoreSession(file));
      await short.dispose();
      const different = await window.npm.loadModel(`${url}models/test/stories/`, { threads: 1 });
      const mismatch = await code(different.restoreSession(file));
      await different.dispose();
      return { info, read, same: text === went.text, codes, full, mismatch };
    },
    [site.url, STORY] as const,
  );
  expect(result.info.text).toContain("Once upon a time");
  expect(result.same).toBe(true);
  expect(result.read).toBeLessThan(5);
  expect(result.codes).toEqual({
    empty: "invalid-argument",
    magic: "invalid-session",
    header: "invalid-session",
    body: "damaged-file",
    cut: "damaged-file",
    nothing: "invalid-session",
  });
  expect(result.full).toBe("context-full");
  expect(result.mismatch).toBe("session-mismatch");
});

test("embeddings are the mean of the last hidden states", async ({ engine, site }) => {
  const ids = references().models["llama_a"]?.prompt_ids ?? [];
  const states = safetensors(readFileSync(join(golden, "model_refs.safetensors")))["llama_a.f32.hidden.2"];
  const last = new Float32Array(Uint8Array.from(states?.bytes ?? []).buffer);
  const hidden = states?.shape[1] ?? 0;
  site.models.set("golden/f32", join(golden, "models/llama_a/f32"));
  await open(engine, site, {}, "golden/f32");
  const result = await engine.evaluate(async (ids) => {
    const vector = [...(await window.model.embed(ids))];
    // A text in between changes nothing.
    await window.write("Hello", { max_new_tokens: 3 });
    return { vector, again: [...(await window.model.embed(ids))] };
  }, [...ids]);
  expect(result.again).toEqual(result.vector);
  expect(result.vector).toHaveLength(hidden);
  for (const [i, value] of result.vector.entries()) {
    const expected = ids.reduce((sum, _, row) => sum + (last[row * hidden + i] ?? Number.NaN), 0) / ids.length;
    expect(Math.abs(value - expected)).toBeLessThan(1e-3);
  }
});

test("chat completions in OpenAI's form, whole and as a stream", async ({ engine, site }) => {
  await open(engine, site, { arithmetic: "exact" }, "golden/llama_a-nf4");
  const result = await engine.evaluate(async () => {
    const { chat } = window.chatApi(window.model, "llama_a");
    const request = { messages: [{ role: "user", content: "Hello" }], max_tokens: 8, temperature: 0, logprobs: true, top_logprobs: 2 };
    const whole = await chat.completions.create(request);
    const chunks = [];
    for await (const chunk of await chat.completions.create({ ...request, stream: true, stream_options: { include_usage: true } })) chunks.push(chunk);
    const two = await chat.completions.create({ ...request, temperature: 1, n: 2, seed: 3 });
    const refused = await chat.completions.create({ ...request, ...{ tools: [{}] } }).catch((error: { code: string }) => error.code);
    return { whole, chunks, two, refused };
  });
  const { whole, chunks, two, refused } = result;
  expect(whole).toMatchObject({ object: "chat.completion", model: "llama_a", choices: [{ index: 0, message: { role: "assistant" } }] });
  expect(chunks.map(({ choices }) => choices[0]?.delta.content ?? "").join("")).toBe(whole.choices[0]?.message.content);
  expect(chunks[0]?.choices[0]?.delta.role).toBe("assistant");
  expect(chunks.at(-1)?.usage).toEqual(whole.usage);
  expect(chunks.at(-2)?.choices[0]?.finish_reason).toBe(whole.choices[0]?.finish_reason);
  expect(whole.usage.total_tokens).toBe(whole.usage.prompt_tokens + whole.usage.completion_tokens);
  expect(whole.choices[0]?.logprobs?.content[0]?.top_logprobs).toHaveLength(2);
  expect(two.choices).toHaveLength(2);
  expect(refused).toBe("invalid-argument");
});

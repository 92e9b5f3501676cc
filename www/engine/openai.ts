/**
 * The form of OpenAI's chat completions over a loaded model, for code written against it.
 *
 * ```ts
 * const openai = chatApi(model, "stories");
 * const answer = await openai.chat.completions.create({ messages: [{ role: "user", content: "Hello" }] });
 * ```
 */

import { NibblamaError, type ChatMessage, type FinishReason, type GenerateOptions, type GeneratedToken, type Model } from "./index";

/** What of OpenAI's request is understood; anything else that would change the answer is refused. */
export interface ChatRequest {
  messages: readonly ChatMessage[];
  model?: string;
  stream?: boolean;
  stream_options?: { include_usage?: boolean };
  max_tokens?: number;
  max_completion_tokens?: number;
  /** 0 chooses the most likely token. */
  temperature?: number;
  top_p?: number;
  n?: number;
  seed?: number;
  stop?: string | readonly string[];
  logprobs?: boolean;
  top_logprobs?: number;
}

export interface Usage {
  prompt_tokens: number;
  completion_tokens: number;
  total_tokens: number;
}

export interface ChoiceLogprobs {
  content: {
    token: string;
    logprob: number;
    bytes: null;
    top_logprobs: { token: string; logprob: number; bytes: null }[];
  }[];
}

export type OpenAiFinish = "stop" | "length";

export interface ChatCompletion {
  id: string;
  object: "chat.completion";
  created: number;
  model: string;
  choices: {
    index: number;
    message: { role: "assistant"; content: string };
    logprobs: ChoiceLogprobs | null;
    finish_reason: OpenAiFinish;
  }[];
  usage: Usage;
}

export interface ChatCompletionChunk {
  id: string;
  object: "chat.completion.chunk";
  created: number;
  model: string;
  choices: {
    index: number;
    delta: { role?: "assistant"; content?: string };
    logprobs: ChoiceLogprobs | null;
    finish_reason: OpenAiFinish | null;
  }[];
  usage?: Usage;
}

export interface ChatCompletions {
  create(request: ChatRequest & { stream: true }, options?: { signal?: AbortSignal }): Promise<AsyncIterable<ChatCompletionChunk>>;
  create(request: ChatRequest & { stream?: false }, options?: { signal?: AbortSignal }): Promise<ChatCompletion>;
  create(request: ChatRequest, options?: { signal?: AbortSignal }): Promise<ChatCompletion | AsyncIterable<ChatCompletionChunk>>;
}

const KNOWN: ReadonlySet<string> = new Set([
  "messages", "model", "stream", "stream_options", "max_tokens", "max_completion_tokens", "temperature", "top_p", "n",
  "seed", "stop", "logprobs", "top_logprobs",
  // These say nothing about the answer.
  "user", "metadata", "store", "service_tier",
]);

/** OpenAI's form over `model`; `name` is what answers call it. */
export function chatApi(model: Model, name = "nibblama"): { chat: { completions: ChatCompletions } } {
  let count = 0;
  function create(request: ChatRequest & { stream: true }, options?: { signal?: AbortSignal }): Promise<AsyncIterable<ChatCompletionChunk>>;
  function create(request: ChatRequest & { stream?: false }, options?: { signal?: AbortSignal }): Promise<ChatCompletion>;
  async function create(request: ChatRequest, options: { signal?: AbortSignal } = {}): Promise<ChatCompletion | AsyncIterable<ChatCompletionChunk>> {
    const settings = generateOptions(request, options.signal);
    const head = { id: `chatcmpl-${(count += 1)}`, created: Math.floor(Date.now() / 1000), model: request.model ?? name };
    const { ids } = await model.tokenize(request.messages);
    if (request.stream) return chunks(model, request, settings, head, ids.length);
    const texts: { content: string; logprobs: ChoiceLogprobs | null; finish_reason: OpenAiFinish }[] = [];
    let completion_tokens = 0;
    for await (const token of model.generate(request.messages, settings)) {
      completion_tokens += 1;
      const choice = (texts[token.candidate ?? 0] ??= {
        content: "",
        logprobs: request.logprobs ? { content: [] } : null,
        finish_reason: "stop",
      });
      choice.content += token.text;
      choice.logprobs?.content.push(...logprobs(token));
      if (token.finish !== undefined) choice.finish_reason = finish(token.finish);
    }
    return {
      ...head,
      object: "chat.completion",
      choices: texts.map(({ content, ...choice }, index) => ({ index, message: { role: "assistant", content }, ...choice })),
      usage: usage(ids.length, completion_tokens),
    };
  }
  return { chat: { completions: { create } as ChatCompletions } };
}

async function* chunks(
  model: Model,
  request: ChatRequest,
  settings: GenerateOptions,
  head: { id: string; created: number; model: string },
  prompt_tokens: number,
): AsyncGenerator<ChatCompletionChunk, void> {
  const object = "chat.completion.chunk" as const;
  const begun = new Set<number>();
  let completion_tokens = 0;
  for await (const token of model.generate(request.messages, settings)) {
    completion_tokens += 1;
    const index = token.candidate ?? 0;
    const delta = { ...(begun.has(index) ? {} : { role: "assistant" as const }), content: token.text };
    begun.add(index);
    const log = request.logprobs ? { content: logprobs(token) } : null;
    yield { ...head, object, choices: [{ index, delta, logprobs: log, finish_reason: null }] };
    if (token.finish !== undefined) {
      yield { ...head, object, choices: [{ index, delta: {}, logprobs: null, finish_reason: finish(token.finish) }] };
    }
  }
  if (request.stream_options?.include_usage) {
    yield { ...head, object, choices: [], usage: usage(prompt_tokens, completion_tokens) };
  }
}

function generateOptions(request: ChatRequest, signal: AbortSignal | undefined): GenerateOptions {
  for (const [key, value] of Object.entries(request)) {
    if (KNOWN.has(key) || value === null || value === undefined) continue;
    // Penalties of zero and the like ask for nothing.
    if (value === 0 || value === false || (Array.isArray(value) && value.length === 0)) continue;
    throw new NibblamaError("invalid-argument", "this part of OpenAI's request is not understood", { tensor: key });
  }
  const { temperature, top_p, n, seed, stop, stream_options: _ } = request;
  const limit = request.max_completion_tokens ?? request.max_tokens;
  return {
    ...(limit === undefined ? {} : { max_new_tokens: limit }),
    ...(temperature === undefined ? {} : temperature === 0 ? { do_sample: false } : { do_sample: true, temperature }),
    ...(top_p === undefined ? {} : { top_p }),
    ...(n === undefined ? {} : { n }),
    ...(seed === undefined ? {} : { seed }),
    ...(stop === undefined ? {} : { stop_strings: typeof stop === "string" ? [stop] : [...stop] }),
    ...(request.logprobs ? { logprobs: request.top_logprobs ?? 0 } : {}),
    ...(signal === undefined ? {} : { signal }),
  };
}

function logprobs({ text, logprob, top_logprobs = [] }: GeneratedToken): ChoiceLogprobs["content"] {
  if (logprob === undefined) return [];
  const top = top_logprobs.map((each) => ({ token: each.text, logprob: each.logprob, bytes: null }));
  return [{ token: text, logprob, bytes: null, top_logprobs: top }];
}

/** OpenAI has no reason of its own for a full context: it is a length too. */
function finish(reason: FinishReason): OpenAiFinish {
  return reason === "length" || reason === "context" ? "length" : "stop";
}

function usage(prompt_tokens: number, completion_tokens: number): Usage {
  return { prompt_tokens, completion_tokens, total_tokens: prompt_tokens + completion_tokens };
}

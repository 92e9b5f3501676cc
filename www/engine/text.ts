/**
 * Text to ids and ids to text. Chat templates are the Hugging Face library's work, which is fetched for models that
 * have one; decoding is ours, because theirs differs from the reference on invalid byte sequences and cannot stream.
 */

import type { Template } from "@huggingface/jinja";
import { Decoder } from "./decoder";
import { openEncoder, type Encoder } from "./encoder";
import { NibblamaError } from "./errors";
import type { ChatMessage } from "./types";

/** A file's name and content. */
export interface TextFile {
  name: string;
  text: string;
}

/** The tokenizer of one model. */
export class Text {
  readonly #file: string;
  readonly #encoder: Encoder;
  readonly #decoder: Decoder;
  readonly #special: ReadonlySet<number>;
  readonly #template: Template | undefined;
  readonly #variables: Record<string, string>;

  private constructor(file: string, parsed: Json, settings: Json, encoder: Encoder, template: Template | undefined) {
    this.#file = file;
    this.#encoder = encoder;
    this.#decoder = new Decoder(file, parsed["decoder"]);
    this.#special = specialIds(parsed["added_tokens"]);
    this.#template = template;
    this.#variables = {};
    for (const key of ["bos_token", "eos_token", "unk_token", "pad_token"]) {
      const content = tokenContent(settings[key]);
      if (content !== undefined) this.#variables[key] = content;
    }
  }

  /**
   * From `tokenizer.json` and, where they exist, `tokenizer_config.json` and `chat_template.jinja`.
   *
   * Throws `invalid-tokenizer` or `invalid-json`, naming the file.
   */
  static async open(tokenizer: TextFile, config?: TextFile, template?: TextFile): Promise<Text> {
    const parsed = jsonObject(tokenizer);
    const settings = config === undefined ? {} : jsonObject(config);
    if (!isObject(parsed["model"])) {
      throw new NibblamaError("invalid-tokenizer", "the model is missing", { file: tokenizer.name });
    }
    const encoder = await openEncoder(parsed, settings).catch((error: unknown) => {
      throw invalid(tokenizer.name, "cannot be read", error);
    });
    const source = template?.text ?? namedTemplate(settings["chat_template"]);
    const templateFile = template?.name ?? config?.name ?? tokenizer.name;
    const compiled = source === undefined ? undefined : await compile(templateFile, source);
    return new Text(tokenizer.name, parsed, settings, encoder, compiled);
  }

  get hasChatTemplate(): boolean {
    return this.#template !== undefined;
  }

  encode(text: string, addSpecialTokens: boolean): number[] {
    return described(this.#file, "the text cannot be encoded", () =>
      this.#encoder.encode(text, addSpecialTokens),
    );
  }

  /** Chat messages as the model's template writes them; by default up to where the assistant's answer begins. */
  render(messages: readonly ChatMessage[], addGenerationPrompt = true): string {
    const template = this.#template;
    if (template === undefined) {
      throw new NibblamaError("invalid-tokenizer", "the model has no chat template", { file: this.#file });
    }
    return described(this.#file, "the chat template cannot be applied", () =>
      template.render({
        ...this.#variables,
        messages: messages.map(({ role, content }) => ({ role, content })),
        add_generation_prompt: addGenerationPrompt,
      }),
    );
  }

  /** The bytes that a token adds inside a text; none for special tokens. */
  bytes(id: number): Uint8Array<ArrayBuffer> {
    return this.#special.has(id) ? new Uint8Array() : this.#decoder.bytes(this.#token(id));
  }

  /** What to show for one token: its text, a special token's name, `�` for parts of a character. */
  piece(id: number): string {
    const token = this.#token(id);
    return this.#special.has(id) ? token : this.#decoder.decode([token], false);
  }

  decode(ids: readonly number[], skipSpecialTokens: boolean): string {
    const kept = skipSpecialTokens ? ids.filter((id) => !this.#special.has(id)) : ids;
    return this.#decoder.decode(kept.map((id) => this.#token(id)));
  }

  #token(id: number): string {
    const token = this.#encoder.token(id);
    if (token === undefined) {
      throw new NibblamaError("invalid-token", "no such token id", { file: this.#file, found: String(id) });
    }
    return token;
  }
}

type Json = Record<string, unknown>;

async function compile(file: string, source: string): Promise<Template> {
  const { Template } = await import("@huggingface/jinja");
  return described(file, "chat template is not valid", () => new Template(source));
}

function isObject(value: unknown): value is Json {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function jsonObject({ name, text }: TextFile): Json {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new NibblamaError("invalid-json", "not valid JSON", { file: name, found: message(error) });
  }
  if (!isObject(value)) throw new NibblamaError("invalid-json", "not a JSON object", { file: name });
  return value;
}

/** The libraries throw errors of their own; they get a code and the file's name here. */
function described<T>(file: string, reason: string, action: () => T): T {
  try {
    return action();
  } catch (error) {
    throw invalid(file, reason, error);
  }
}

function invalid(file: string, reason: string, error: unknown): NibblamaError {
  return new NibblamaError("invalid-tokenizer", reason, { file, found: message(error) });
}

function message(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

function specialIds(addedTokens: unknown): Set<number> {
  const ids = new Set<number>();
  if (!Array.isArray(addedTokens)) return ids;
  for (const token of addedTokens as unknown[]) {
    if (isObject(token) && token["special"] === true && typeof token["id"] === "number") ids.add(token["id"]);
  }
  return ids;
}

/** A template may be one string, or a list with names of which "default" is for chats. */
function namedTemplate(value: unknown): string | undefined {
  if (typeof value === "string") return value;
  if (!Array.isArray(value)) return undefined;
  const named: unknown = value.find((entry) => isObject(entry) && entry["name"] === "default");
  return isObject(named) && typeof named["template"] === "string" ? named["template"] : undefined;
}

function tokenContent(value: unknown): string | undefined {
  if (typeof value === "string") return value;
  return isObject(value) && typeof value["content"] === "string" ? value["content"] : undefined;
}

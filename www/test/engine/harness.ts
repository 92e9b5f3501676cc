/** Puts the engine's public API where the tests reach it, with what several of them need. */

import * as engine from "../../engine/index";

/** What went wrong, in a form that leaves the page. */
export interface Refusal {
  code: string;
  message: string;
  file: string | null;
  tensor: string | null;
  expected: string | null;
  found: string | null;
}

/** Shape of a model that is made for a test. */
export interface Made {
  hidden: number;
  inner: number;
  layers: number;
  vocab: number;
}

const harness = {
  ...engine,

  /** Files as a visitor would drop them, from `[name, url]`. */
  async files(entries: readonly (readonly [name: string, url: string])[]): Promise<File[]> {
    const file = async ([name, url]: readonly [string, string]) => {
      const response = await fetch(url);
      if (!response.ok) throw new Error(`${url}: status ${response.status}`);
      return new File([await response.blob()], name);
    };
    return Promise.all(entries.map(file));
  },

  async refusal(promise: Promise<unknown>): Promise<Refusal | null> {
    try {
      await promise;
      return null;
    } catch (error) {
      if (!(error instanceof engine.NibblamaError)) throw error;
      const { code, message, file, tensor, expected, found } = error;
      return { code, message, file: file ?? null, tensor: tensor ?? null, expected: expected ?? null, found: found ?? null };
    }
  },

  async sha256(bytes: Uint8Array<ArrayBuffer>): Promise<string> {
    const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
    return Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("");
  },

  /** The files of a bf16 model of any size, with weights that repeat; its tokenizer is taken from the stories model. */
  async made({ hidden, inner, layers, vocab }: Made): Promise<File[]> {
    const shapes: [name: string, shape: number[]][] = [["model.embed_tokens.weight", [vocab, hidden]]];
    for (let i = 0; i < layers; i++) {
      const at = `model.layers.${i}`;
      for (const name of ["q", "k", "v", "o"]) shapes.push([`${at}.self_attn.${name}_proj.weight`, [hidden, hidden]]);
      for (const name of ["gate", "up"]) shapes.push([`${at}.mlp.${name}_proj.weight`, [inner, hidden]]);
      shapes.push([`${at}.mlp.down_proj.weight`, [hidden, inner]]);
      for (const name of ["input", "post_attention"]) shapes.push([`${at}.${name}_layernorm.weight`, [hidden]]);
    }
    shapes.push(["model.norm.weight", [hidden]]);
    const header: Record<string, unknown> = {};
    let end = 0;
    for (const [name, shape] of shapes) {
      const start = end;
      end += shape.reduce((product, n) => product * n, 2);
      header[name] = { dtype: "BF16", shape, data_offsets: [start, end] };
    }
    const json = new TextEncoder().encode(JSON.stringify(header));
    const length = new Uint8Array(8);
    new DataView(length.buffer).setBigUint64(0, BigInt(json.length), true);
    // bf16 from 2^-7 to 2^-5, of both signs.
    const pattern = Uint16Array.from({ length: 1 << 20 }, (_, i) => (i % 3 === 0 ? 0xbc00 : 0x3c00) + ((i * 37) % 256));
    const chunk = new Blob([pattern]);
    const parts: Blob[] = [];
    for (let left = end; left > 0; left -= chunk.size) parts.push(left < chunk.size ? chunk.slice(0, left) : chunk);
    const config = {
      architectures: ["LlamaForCausalLM"],
      model_type: "llama",
      hidden_size: hidden,
      intermediate_size: inner,
      num_hidden_layers: layers,
      num_attention_heads: hidden / (hidden < 4096 ? 64 : 128),
      vocab_size: vocab,
      max_position_embeddings: 512,
      rms_norm_eps: 1e-5,
      hidden_act: "silu",
      tie_word_embeddings: true,
      torch_dtype: "bfloat16",
      bos_token_id: 0,
      eos_token_id: 0,
    };
    return [
      new File([JSON.stringify(config)], "config.json"),
      new File([length, json, ...parts], "model.safetensors"),
      ...(await harness.files([["tokenizer.json", "/models/stories/tokenizer.json"]])),
    ];
  },

  /** The largest difference; infinite when one is not a number. */
  difference(found: Float32Array, expected: Float32Array): number {
    if (found.length !== expected.length) return Number.POSITIVE_INFINITY;
    let worst = 0;
    for (const [i, value] of found.entries()) {
      const distance = Math.abs(value - (expected[i] ?? Number.NaN));
      worst = Number.isNaN(distance) ? Number.POSITIVE_INFINITY : Math.max(worst, distance);
    }
    return worst;
  },
};

declare global {
  interface Window {
    nibblama: typeof harness;
  }
}

window.nibblama = harness;

//! The layer tree as Python's `print(model)` shows it.

use super::config::{Config, LINEARS_PER_LAYER, LinearModule};
use crate::checkpoint::decimal::Repr;
use crate::quant::{BitsAndBytesConfig, QuantFormat};

/// The text of `print(model)` of transformers 5, without a final line break, for `config` with the
/// layers that `quantization` names quantized.
pub fn tree(config: &Config, quantization: Option<&BitsAndBytesConfig>) -> String {
    let hidden = config.hidden_size;
    let norm = format!("LlamaRMSNorm(({hidden},), eps={})", Repr::from(config.rms_norm_eps));
    let padding = match config.pad_token_id {
        None => String::new(),
        // torch counts a negative index from the end.
        Some(id) if id < 0 => format!(", padding_idx={}", config.vocab_size as i64 + id),
        Some(id) => format!(", padding_idx={id}"),
    };
    let linear = |module: &LinearModule| linear(config, quantization, module);
    let layer = |i: usize| {
        let modules: [LinearModule; LINEARS_PER_LAYER] = config.layer_linears(i);
        let [q, k, v, o, gate, up, down] = modules.each_ref().map(linear);
        let attention = [("q_proj", q), ("k_proj", k), ("v_proj", v), ("o_proj", o)];
        let mlp = [
            ("gate_proj", gate),
            ("up_proj", up),
            ("down_proj", down),
            ("act_fn", "SiLUActivation()".to_owned()),
        ];
        block(
            "LlamaDecoderLayer",
            [
                ("self_attn", block("LlamaAttention", attention)),
                ("mlp", block("LlamaMLP", mlp)),
                ("input_layernorm", norm.clone()),
                ("post_attention_layernorm", norm.clone()),
            ],
        )
    };
    let layers: Vec<String> = (0..config.num_hidden_layers).map(layer).collect();
    let model = block(
        "LlamaModel",
        [
            ("embed_tokens", format!("Embedding({}, {hidden}{padding})", config.vocab_size)),
            ("layers", module_list(&layers)),
            ("norm", norm.clone()),
            ("rotary_emb", "LlamaRotaryEmbedding()".to_owned()),
        ],
    );
    let lm_head = LinearModule {
        path: "lm_head".to_owned(),
        in_features: hidden,
        out_features: config.vocab_size,
        bias: false,
    };
    block("LlamaForCausalLM", [("model", model), ("lm_head", linear(&lm_head))])
}

fn linear(config: &Config, quantization: Option<&BitsAndBytesConfig>, module: &LinearModule) -> String {
    let LinearModule { path, in_features, out_features, bias } = module;
    let asked = quantization.filter(|q| q.quantizes(path, config.tie_word_embeddings));
    let class = match asked.map(|q| &q.format) {
        None => "Linear",
        Some(QuantFormat::FourBit { .. }) => "Linear4bit",
        Some(QuantFormat::Int8 { .. }) => "Linear8bitLt",
    };
    let bias = if *bias { "True" } else { "False" };
    format!("{class}(in_features={in_features}, out_features={out_features}, bias={bias})")
}

/// A module and its children, each on its own lines.
fn block<'a>(class: &str, children: impl IntoIterator<Item = (&'a str, String)>) -> String {
    let mut text = format!("{class}(\n");
    for (name, child) in children {
        text += &format!("  ({name}): {}\n", child.replace('\n', "\n  "));
    }
    text + ")"
}

/// torch prints neighbours that look the same once.
fn module_list(layers: &[String]) -> String {
    let mut text = "ModuleList(\n".to_owned();
    let mut start = 0;
    for run in layers.chunk_by(|a, b| a == b) {
        let layer = run[0].replace('\n', "\n  ");
        let end = start + run.len();
        text += &if run.len() == 1 {
            format!("  ({start}): {layer}\n")
        } else {
            format!("  ({start}-{}): {} x {layer}\n", end - 1, run.len())
        };
        start = end;
    }
    text + ")"
}

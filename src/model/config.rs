//! `config.json` of a Llama, in the key style of transformers 4 or 5.

use super::Fields;
use crate::checkpoint::Dtype;
use crate::checkpoint::decimal::Repr;
use crate::checkpoint::json::Value;
use crate::error::{ErrorCode, Result};
use crate::quant::BitsAndBytesConfig;

/// Upper bound of every width and of the vocabulary; keeps products of two widths and the layer count
/// far below 2^63.
const MAX_WIDTH: usize = 1 << 24;
const MAX_LAYERS: usize = 1024;
const MAX_POSITIONS: usize = 1 << 30;

/// The shape of a Llama and what its checkpoint says about quantization.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// Rows of the embedding and of `lm_head`.
    pub vocab_size: usize,
    /// Width of the residual stream.
    pub hidden_size: usize,
    /// Width of the MLP.
    pub intermediate_size: usize,
    /// Decoder layers.
    pub num_hidden_layers: usize,
    /// Query heads.
    pub num_attention_heads: usize,
    /// Key and value heads; divides `num_attention_heads`.
    pub num_key_value_heads: usize,
    /// Width of one head; even, and independent of `hidden_size / num_attention_heads`.
    pub head_dim: usize,
    /// Context length the model was made for.
    pub max_position_embeddings: usize,
    /// Added to the mean square in every `LlamaRMSNorm`.
    pub rms_norm_eps: f64,
    /// Rotary position embedding.
    pub rope: Rope,
    /// Whether `lm_head` shares the weight of `embed_tokens`.
    pub tie_word_embeddings: bool,
    /// Whether q, k, v and o have biases.
    pub attention_bias: bool,
    /// Whether gate, up and down have biases.
    pub mlp_bias: bool,
    /// `dtype`, or `torch_dtype` in transformers 4.
    pub dtype: Option<Dtype>,
    /// Start token, if named.
    pub bos_token_id: Option<u32>,
    /// End tokens, if named; never guessed.
    pub eos_token_ids: Vec<u32>,
    /// Padding row of the embedding; only [`super::tree`] shows it. Negative ids count from the end.
    pub pad_token_id: Option<i64>,
    /// `quantization_config`: the checkpoint holds bitsandbytes weights.
    pub quantization: Option<BitsAndBytesConfig>,
}

/// Rotary position embedding.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rope {
    /// Base of the geometric series of frequencies.
    pub theta: f64,
    /// How frequencies are stretched.
    pub scaling: RopeScaling,
}

/// `rope_type` and its parameters.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum RopeScaling {
    /// Frequencies as they are.
    Default,
    /// All frequencies divided by `factor`.
    Linear {
        /// Divisor.
        factor: f64,
    },
    /// Llama 3.1: low frequencies divided by `factor`, high ones kept, a ramp between.
    Llama3 {
        /// Divisor of the low frequencies.
        factor: f64,
        /// Wavelengths above `original_max_position_embeddings / low_freq_factor` are low frequencies.
        low_freq_factor: f64,
        /// Wavelengths below `original_max_position_embeddings / high_freq_factor` are high frequencies.
        high_freq_factor: f64,
        /// Context length before scaling.
        original_max_position_embeddings: usize,
    },
}

/// A linear layer of the model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinearModule {
    /// Module path as transformers names it, such as `model.layers.0.mlp.up_proj`.
    pub path: String,
    /// Columns of the weight.
    pub in_features: usize,
    /// Rows of the weight.
    pub out_features: usize,
    /// Whether there is a bias of `out_features` values.
    pub bias: bool,
}

/// Linear layers of one decoder layer, in the order of [`Config::linear_modules`].
pub const LINEARS_PER_LAYER: usize = 7;

impl Config {
    /// Reads `config.json`; `file` names it in errors.
    ///
    /// Keys that transformers' `LlamaConfig` gives a default may be absent, except sizes and token ids.
    ///
    /// # Errors
    /// [`ErrorCode::InvalidJson`], [`ErrorCode::InvalidConfig`], [`ErrorCode::UnsupportedArchitecture`],
    /// [`ErrorCode::UnsupportedOption`] or [`ErrorCode::UnsupportedQuantization`].
    pub fn from_json(file: &str, json: &[u8]) -> Result<Config> {
        let value = super::parse_json(file, json)?;
        let fields = Fields::new(file, &value, ErrorCode::InvalidConfig)?;
        check_architecture(&fields)?;
        check_options(&fields)?;

        let hidden_size = fields.required_size("hidden_size", MAX_WIDTH)?;
        let num_attention_heads = fields.required_size("num_attention_heads", MAX_WIDTH)?;
        let num_key_value_heads =
            fields.size("num_key_value_heads", MAX_WIDTH)?.unwrap_or(num_attention_heads);
        if !num_attention_heads.is_multiple_of(num_key_value_heads) {
            return Err(fields
                .error(
                    ErrorCode::InvalidConfig,
                    "query heads do not divide into groups",
                    "num_key_value_heads",
                )
                .expected(format!("a divisor of {num_attention_heads}"))
                .found(num_key_value_heads));
        }
        let head_dim = match fields.size("head_dim", MAX_WIDTH)? {
            Some(head_dim) => head_dim,
            None if hidden_size.is_multiple_of(num_attention_heads) => hidden_size / num_attention_heads,
            None => {
                return Err(fields
                    .error(ErrorCode::InvalidConfig, "heads do not divide hidden_size", "num_attention_heads")
                    .expected(format!("a divisor of {hidden_size}"))
                    .found(num_attention_heads));
            }
        };
        if !head_dim.is_multiple_of(2) || num_attention_heads.saturating_mul(head_dim) > MAX_WIDTH {
            return Err(fields
                .error(
                    ErrorCode::InvalidConfig,
                    "rotary embedding cannot split this width in halves",
                    "head_dim",
                )
                .expected("an even width")
                .found(head_dim));
        }
        let max_position_embeddings = fields.size("max_position_embeddings", MAX_POSITIONS)?.unwrap_or(2048);
        Ok(Config {
            vocab_size: fields.required_size("vocab_size", MAX_WIDTH)?,
            hidden_size,
            intermediate_size: fields.required_size("intermediate_size", MAX_WIDTH)?,
            num_hidden_layers: fields.required_size("num_hidden_layers", MAX_LAYERS)?,
            num_attention_heads,
            num_key_value_heads,
            head_dim,
            max_position_embeddings,
            rms_norm_eps: rms_norm_eps(&fields)?,
            rope: rope(&fields, max_position_embeddings)?,
            tie_word_embeddings: fields.flag("tie_word_embeddings")?.unwrap_or(false),
            attention_bias: fields.flag("attention_bias")?.unwrap_or(false),
            mlp_bias: fields.flag("mlp_bias")?.unwrap_or(false),
            dtype: dtype(&fields)?,
            bos_token_id: fields.token_ids("bos_token_id")?.and_then(|ids| ids.first().copied()),
            eos_token_ids: fields.token_ids("eos_token_id")?.unwrap_or_default(),
            pad_token_id: fields.get("pad_token_id").and_then(Value::as_i64),
            quantization: quantization(&fields)?,
        })
    }

    /// Width of the concatenated query heads.
    pub fn query_width(&self) -> usize {
        self.num_attention_heads * self.head_dim
    }

    /// Width of the concatenated key (or value) heads.
    pub fn key_value_width(&self) -> usize {
        self.num_key_value_heads * self.head_dim
    }

    /// Every linear layer in the order transformers registers them: layer by layer q, k, v, o, gate, up,
    /// down, then `lm_head` (also when its weight is tied).
    pub fn linear_modules(&self) -> Vec<LinearModule> {
        let mut modules = Vec::with_capacity(self.num_hidden_layers * LINEARS_PER_LAYER + 1);
        for layer in 0..self.num_hidden_layers {
            modules.extend(self.layer_linears(layer));
        }
        modules.push(LinearModule {
            path: "lm_head".to_owned(),
            in_features: self.hidden_size,
            out_features: self.vocab_size,
            bias: false,
        });
        modules
    }

    /// The linear layers of decoder layer `layer`: q, k, v, o, gate, up, down.
    pub(crate) fn layer_linears(&self, layer: usize) -> [LinearModule; LINEARS_PER_LAYER] {
        let (hidden, inner) = (self.hidden_size, self.intermediate_size);
        let (query, kv) = (self.query_width(), self.key_value_width());
        let linear = |name: &str, in_features, out_features, bias| LinearModule {
            path: format!("model.layers.{layer}.{name}"),
            in_features,
            out_features,
            bias,
        };
        [
            linear("self_attn.q_proj", hidden, query, self.attention_bias),
            linear("self_attn.k_proj", hidden, kv, self.attention_bias),
            linear("self_attn.v_proj", hidden, kv, self.attention_bias),
            linear("self_attn.o_proj", query, hidden, self.attention_bias),
            linear("mlp.gate_proj", hidden, inner, self.mlp_bias),
            linear("mlp.up_proj", hidden, inner, self.mlp_bias),
            linear("mlp.down_proj", inner, hidden, self.mlp_bias),
        ]
    }

    /// Name and shape of every tensor of a full-precision checkpoint, in module order; without
    /// `lm_head.weight` when it is tied.
    pub fn tensor_shapes(&self) -> Vec<(String, Vec<usize>)> {
        let norm = |name: String| (name, vec![self.hidden_size]);
        let mut tensors =
            vec![("model.embed_tokens.weight".to_owned(), vec![self.vocab_size, self.hidden_size])];
        for layer in 0..self.num_hidden_layers {
            for module in self.layer_linears(layer) {
                let LinearModule { path, in_features, out_features, bias } = module;
                tensors.push((format!("{path}.weight"), vec![out_features, in_features]));
                if bias {
                    tensors.push((format!("{path}.bias"), vec![out_features]));
                }
            }
            tensors.push(norm(format!("model.layers.{layer}.input_layernorm.weight")));
            tensors.push(norm(format!("model.layers.{layer}.post_attention_layernorm.weight")));
        }
        tensors.push(norm("model.norm.weight".to_owned()));
        if !self.tie_word_embeddings {
            tensors.push(("lm_head.weight".to_owned(), vec![self.vocab_size, self.hidden_size]));
        }
        tensors
    }
}

fn check_architecture(fields: &Fields<'_>) -> Result<()> {
    let unsupported = |key: &str, expected: &str, found: &str| {
        Err(fields
            .error(ErrorCode::UnsupportedArchitecture, "unsupported architecture", key)
            .expected(expected)
            .found(found))
    };
    if let Some(names) = fields.texts("architectures")?
        && names.iter().all(|name| name != "LlamaForCausalLM")
    {
        return unsupported("architectures", "LlamaForCausalLM", &names.join(", "));
    }
    match fields.text("model_type")? {
        None | Some("llama") => Ok(()),
        Some(other) => unsupported("model_type", "llama", other),
    }
}

/// Refuses options that would change the computation.
fn check_options(fields: &Fields<'_>) -> Result<()> {
    let unsupported = |key: &str, expected: &str, found: String| {
        Err(fields
            .error(ErrorCode::UnsupportedOption, "unsupported option", key)
            .expected(expected)
            .found(found))
    };
    match fields.text("hidden_act")? {
        // transformers' ACT2FN gives both names the same function.
        None | Some("silu" | "swish") => {}
        Some(other) => return unsupported("hidden_act", "silu", other.to_owned()),
    }
    let neutral = [("pretraining_tp", 1.0), ("partial_rotary_factor", 1.0), ("residual_multiplier", 1.0)];
    for (key, value) in neutral {
        if let Some(found) = fields.number(key)?
            && found != value
        {
            return unsupported(key, "1", Repr::from(found).to_string());
        }
    }
    for key in ["sliding_window", "attention_sink", "num_local_experts", "layer_types", "text_config"] {
        if let Some(found) = fields.get(key) {
            return unsupported(key, "null", found.to_string());
        }
    }
    Ok(())
}

fn rms_norm_eps(fields: &Fields<'_>) -> Result<f64> {
    let eps = fields.number("rms_norm_eps")?.unwrap_or(1e-6);
    if (0.0..=1.0).contains(&eps) {
        return Ok(eps);
    }
    Err(fields
        .error(ErrorCode::InvalidConfig, "invalid value", "rms_norm_eps")
        .expected("0 to 1")
        .found(Repr::from(eps)))
}

fn dtype(fields: &Fields<'_>) -> Result<Option<Dtype>> {
    let key = if fields.get("dtype").is_some() { "dtype" } else { "torch_dtype" };
    let Some(name) = fields.text(key)? else { return Ok(None) };
    match Dtype::from_torch_name(name) {
        Some(dtype @ (Dtype::F32 | Dtype::F16 | Dtype::BF16)) => Ok(Some(dtype)),
        _ => Err(fields
            .error(ErrorCode::UnsupportedOption, "unsupported dtype", key)
            .expected("float32, bfloat16 or float16")
            .found(name)),
    }
}

fn quantization(fields: &Fields<'_>) -> Result<Option<BitsAndBytesConfig>> {
    fields
        .get("quantization_config")
        .map(|value| BitsAndBytesConfig::from_json(fields.file(), value))
        .transpose()
}

/// transformers 5 keeps everything in `rope_parameters`; transformers 4 has `rope_theta` and, when
/// scaled, `rope_scaling`, whose type key was once `type`.
fn rope(fields: &Fields<'_>, max_position_embeddings: usize) -> Result<Rope> {
    let parameters = match fields.object("rope_scaling")? {
        Some(scaling) => Some(scaling),
        None => fields.object("rope_parameters")?,
    };
    let outer_theta = fields.positive("rope_theta")?;
    let Some(parameters) = parameters else {
        return Ok(Rope { theta: outer_theta.unwrap_or(10_000.0), scaling: RopeScaling::Default });
    };
    let theta = parameters.positive("rope_theta")?.or(outer_theta).unwrap_or(10_000.0);
    if let Some(factor) = parameters.number("partial_rotary_factor")?
        && factor != 1.0
    {
        return Err(parameters
            .error(ErrorCode::UnsupportedOption, "unsupported option", "partial_rotary_factor")
            .expected("1")
            .found(Repr::from(factor)));
    }
    let required = |key: &str| {
        parameters
            .positive(key)?
            .ok_or_else(|| parameters.error(ErrorCode::InvalidConfig, "missing value", key))
    };
    let rope_type = parameters.text("rope_type")?.or(parameters.text("type")?).unwrap_or("default");
    let scaling = match rope_type {
        "default" => RopeScaling::Default,
        "linear" => RopeScaling::Linear { factor: required("factor")? },
        "llama3" => {
            let key = "original_max_position_embeddings";
            // An outer value has priority, as in transformers.
            let original = match fields.size(key, MAX_POSITIONS)? {
                Some(original) => original,
                None => parameters.size(key, MAX_POSITIONS)?.unwrap_or(max_position_embeddings),
            };
            let (low, high) = (required("low_freq_factor")?, required("high_freq_factor")?);
            if high <= low {
                return Err(parameters
                    .error(ErrorCode::InvalidConfig, "invalid value", "high_freq_factor")
                    .expected(format!("more than low_freq_factor, {}", Repr::from(low)))
                    .found(Repr::from(high)));
            }
            RopeScaling::Llama3 {
                factor: required("factor")?,
                low_freq_factor: low,
                high_freq_factor: high,
                original_max_position_embeddings: original,
            }
        }
        other => {
            return Err(parameters
                .error(ErrorCode::UnsupportedOption, "unsupported rotary scaling", "rope_type")
                .expected("default, linear or llama3")
                .found(other));
        }
    };
    Ok(Rope { theta, scaling })
}

//! Sizes from a configuration alone.

use super::config::Config;
use crate::checkpoint::Dtype;
use crate::checkpoint::json::{Value, object};
use crate::quant::{BitsAndBytesConfig, QuantFormat};

/// What a model takes, in bytes unless said otherwise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Footprint {
    /// Number of parameters; tied embeddings count once.
    pub parameters: u64,
    /// What transformers' function of that name returns: parameters as stored and rotary tables, without
    /// the statistics of quantized layers.
    pub get_memory_footprint: u64,
    /// What is really held.
    pub true_bytes: TrueBytes,
    /// Keys and values in f32 of as many positions as asked for.
    pub kv_cache: u64,
    /// Module by module, in the order of the model.
    pub modules: Vec<ModuleFootprint>,
}

/// Bytes held, by kind; names as in [`super::MemoryLedger`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TrueBytes {
    /// 4-bit codes.
    pub packed_codes: u64,
    /// Block scales, f32 or 8-bit codes.
    pub absmax: u64,
    /// Scales of those codes.
    pub nested_absmax: u64,
    /// 16 f32 a layer.
    pub quant_map: u64,
    /// 256 f32 a layer with double quantization.
    pub nested_quant_map: u64,
    /// One f32 a layer with double quantization.
    pub offset: u64,
    /// LLM.int8 codes.
    pub int8_codes: u64,
    /// LLM.int8 row scales.
    pub scb: u64,
    /// Unquantized weights and biases.
    pub other_weights: u64,
    /// Sum of all.
    pub total: u64,
}

/// One module that owns weights.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModuleFootprint {
    /// Path as transformers names it.
    pub path: String,
    /// Number of parameters.
    pub parameters: u64,
    /// `"nf4"`, `"fp4"`, `"int8"` or the torch name of the float dtype.
    pub kind: &'static str,
    /// What is really held.
    pub true_bytes: TrueBytes,
}

impl Footprint {
    /// The fields under their names.
    pub fn to_json(&self) -> Value {
        let module = |module: &ModuleFootprint| {
            object! {
                "path": module.path.as_str(),
                "parameters": module.parameters,
                "kind": module.kind,
                "true_bytes": module.true_bytes.to_json(),
            }
        };
        object! {
            "parameters": self.parameters,
            "get_memory_footprint": self.get_memory_footprint,
            "true_bytes": self.true_bytes.to_json(),
            "kv_cache": self.kv_cache,
            "modules": Value::Array(self.modules.iter().map(module).collect()),
        }
    }
}

impl TrueBytes {
    /// The fields under their names.
    pub fn to_json(&self) -> Value {
        object! {
            "packed_codes": self.packed_codes,
            "absmax": self.absmax,
            "nested_absmax": self.nested_absmax,
            "quant_map": self.quant_map,
            "nested_quant_map": self.nested_quant_map,
            "offset": self.offset,
            "int8_codes": self.int8_codes,
            "scb": self.scb,
            "other_weights": self.other_weights,
            "total": self.total,
        }
    }

    fn add(&mut self, other: &TrueBytes) {
        self.packed_codes += other.packed_codes;
        self.absmax += other.absmax;
        self.nested_absmax += other.nested_absmax;
        self.quant_map += other.quant_map;
        self.nested_quant_map += other.nested_quant_map;
        self.offset += other.offset;
        self.int8_codes += other.int8_codes;
        self.scb += other.scb;
        self.other_weights += other.other_weights;
        self.total += other.total;
    }

    fn summed(mut self) -> Self {
        let scales = self.absmax + self.nested_absmax + self.quant_map + self.nested_quant_map + self.offset;
        self.total = self.packed_codes + scales + self.int8_codes + self.scb + self.other_weights;
        self
    }
}

/// The footprint of `config` quantized as `quantization` says, with a kv cache of `context` positions.
///
/// Unquantized weights have `dtype`, else the dtype of the config; without either they are 16-bit when
/// quantized, and float32 otherwise.
pub fn footprint(
    config: &Config,
    quantization: Option<&BitsAndBytesConfig>,
    dtype: Option<&Dtype>,
    context: usize,
) -> Footprint {
    let default = if quantization.is_some() { Dtype::BF16 } else { Dtype::F32 };
    let (kind, width) = match dtype.or(config.dtype.as_ref()).unwrap_or(&default) {
        Dtype::F16 => ("float16", 2),
        Dtype::BF16 => ("bfloat16", 2),
        _ => ("float32", 4),
    };
    let dense = |path: String, parameters: u64| {
        let true_bytes = TrueBytes { other_weights: parameters * width, ..Default::default() }.summed();
        ModuleFootprint { path, parameters, kind, true_bytes }
    };
    let (vocab, hidden) = (config.vocab_size as u64, config.hidden_size as u64);
    let mut modules = vec![dense("model.embed_tokens".to_owned(), vocab * hidden)];
    for layer in 0..config.num_hidden_layers {
        for module in config.layer_linears(layer) {
            let (rows, cols) = (module.out_features as u64, module.in_features as u64);
            let bias = if module.bias { rows } else { 0 };
            modules.push(linear(config, quantization, module.path, rows, cols, bias, (kind, width)));
        }
        for norm in ["input_layernorm", "post_attention_layernorm"] {
            modules.push(dense(format!("model.layers.{layer}.{norm}"), hidden));
        }
    }
    modules.push(dense("model.norm".to_owned(), hidden));
    if !config.tie_word_embeddings {
        modules.push(linear(config, quantization, "lm_head".to_owned(), vocab, hidden, 0, (kind, width)));
    }
    let mut true_bytes = TrueBytes::default();
    modules.iter().for_each(|module| true_bytes.add(&module.true_bytes));
    // transformers registers the rotary frequencies twice, head_dim / 2 f32 each.
    let buffers = config.head_dim as u64 * 4;
    let positions = 2 * (config.num_hidden_layers * config.key_value_width()) as u64 * context as u64;
    Footprint {
        parameters: modules.iter().map(|module| module.parameters).sum(),
        get_memory_footprint: true_bytes.packed_codes
            + true_bytes.int8_codes
            + true_bytes.other_weights
            + buffers,
        true_bytes,
        kv_cache: positions * 4,
        modules,
    }
}

fn linear(
    config: &Config,
    quantization: Option<&BitsAndBytesConfig>,
    path: String,
    rows: u64,
    cols: u64,
    bias: u64,
    (float, width): (&'static str, u64),
) -> ModuleFootprint {
    let n = rows * cols;
    let asked = quantization.filter(|q| q.quantizes(&path, config.tie_word_embeddings));
    let mut bytes = TrueBytes { other_weights: bias * width, ..Default::default() };
    let kind = match asked.map(|q| &q.format) {
        None => {
            bytes.other_weights += n * width;
            float
        }
        Some(QuantFormat::FourBit { quant_type, blocksize, double_quant, .. }) => {
            let blocks = n.div_ceil(*blocksize as u64);
            bytes.packed_codes = n.div_ceil(2);
            bytes.quant_map = 16 * 4;
            bytes.absmax = blocks * if *double_quant { 1 } else { 4 };
            if *double_quant {
                bytes.nested_absmax = blocks.div_ceil(256) * 4;
                bytes.nested_quant_map = 256 * 4;
                bytes.offset = 4;
            }
            quant_type.as_str()
        }
        Some(QuantFormat::Int8 { .. }) => {
            bytes.int8_codes = n;
            bytes.scb = rows * 4;
            "int8"
        }
    };
    ModuleFootprint { path, parameters: n + bias, kind, true_bytes: bytes.summed() }
}

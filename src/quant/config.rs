//! `quantization_config` of transformers (`BitsAndBytesConfig`).

use std::fmt;

use regex_lite::Regex;

use crate::checkpoint::Dtype;
use crate::checkpoint::decimal::Repr;
use crate::checkpoint::fields::Fields;
use crate::checkpoint::json::{Value, object};
use crate::error::{Error, ErrorCode, Result};
use crate::quant::codebook::QuantType;

/// The dtype a quantized layer multiplies in (`bnb_4bit_compute_dtype`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum ComputeDtype {
    /// f32 throughout.
    #[default]
    Float32,
    /// Activations and dequantized weights rounded to bfloat16.
    Bfloat16,
    /// Activations and dequantized weights rounded to float16.
    Float16,
}

impl ComputeDtype {
    /// `"float32"`, `"bfloat16"` or `"float16"`.
    pub const fn as_str(self) -> &'static str {
        match self {
            ComputeDtype::Float32 => "float32",
            ComputeDtype::Bfloat16 => "bfloat16",
            ComputeDtype::Float16 => "float16",
        }
    }

    /// The dtype of that torch name.
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "float32" => Some(ComputeDtype::Float32),
            "bfloat16" => Some(ComputeDtype::Bfloat16),
            "float16" => Some(ComputeDtype::Float16),
            _ => None,
        }
    }
}

/// How linear weights are stored.
#[derive(Debug, Clone, PartialEq)]
pub enum QuantFormat {
    /// `load_in_4bit`.
    FourBit {
        /// `bnb_4bit_quant_type`.
        quant_type: QuantType,
        /// Elements per scale. transformers always uses 64 and has no key for it.
        blocksize: usize,
        /// `bnb_4bit_use_double_quant`.
        double_quant: bool,
        /// `bnb_4bit_quant_storage`: the dtype that carries the packed bytes in a file.
        quant_storage: Dtype,
    },
    /// `load_in_8bit` (LLM.int8).
    Int8 {
        /// `llm_int8_threshold`: activations of at least this magnitude are multiplied unquantized;
        /// 0 turns that off.
        threshold: f32,
    },
}

impl fmt::Display for QuantFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            QuantFormat::FourBit { quant_type, blocksize, double_quant, quant_storage } => {
                let double_quant = if *double_quant { ", double quantization" } else { "" };
                write!(f, "{quant_type}, blocksize {blocksize}{double_quant}")?;
                if *quant_storage == Dtype::U8 {
                    Ok(())
                } else {
                    write!(f, ", stored as {}", quant_storage.torch_name())
                }
            }
            QuantFormat::Int8 { threshold } => write!(f, "int8, threshold {}", Repr::from(*threshold)),
        }
    }
}

/// What to do with linear weights (transformers' `BitsAndBytesConfig`).
#[derive(Debug, Clone, PartialEq)]
pub struct BitsAndBytesConfig {
    /// 4-bit or int8.
    pub format: QuantFormat,
    /// `bnb_4bit_compute_dtype`.
    pub compute_dtype: ComputeDtype,
    /// `llm_int8_skip_modules`: patterns of modules to leave alone. `None` leaves out `lm_head` only; a
    /// list replaces that default, so `lm_head` is quantized unless the list names it.
    pub skip_modules: Option<Vec<String>>,
}

impl Default for BitsAndBytesConfig {
    /// The defaults of `BitsAndBytesConfig(load_in_4bit=True)`: FP4, no double quantization.
    fn default() -> Self {
        Self::four_bit(QuantType::Fp4, false)
    }
}

impl BitsAndBytesConfig {
    /// 4-bit at blocksize 64 with float32 compute dtype.
    pub fn four_bit(quant_type: QuantType, double_quant: bool) -> Self {
        let format =
            QuantFormat::FourBit { quant_type, blocksize: 64, double_quant, quant_storage: Dtype::U8 };
        BitsAndBytesConfig { format, compute_dtype: ComputeDtype::Float32, skip_modules: None }
    }

    /// NF4 without double quantization.
    pub fn nf4() -> Self {
        Self::four_bit(QuantType::Nf4, false)
    }

    /// LLM.int8 with the default outlier threshold 6.0.
    pub fn int8() -> Self {
        BitsAndBytesConfig {
            format: QuantFormat::Int8 { threshold: 6.0 },
            compute_dtype: ComputeDtype::Float32,
            skip_modules: None,
        }
    }

    /// Reads the value of `quantization_config`; absent keys take transformers' defaults.
    ///
    /// # Errors
    /// [`ErrorCode::UnsupportedQuantization`] for another method or setting,
    /// [`ErrorCode::InvalidConfig`] for a value of the wrong type.
    pub fn from_json(file: &str, value: &Value) -> Result<Self> {
        let fields = Fields::new(file, value, ErrorCode::InvalidConfig)?.within("quantization_config");
        read(&fields)
    }

    /// The value of `quantization_config` with the keys transformers writes.
    pub fn to_json(&self) -> Value {
        let defaults = (QuantType::Fp4, false, Dtype::U8, 6.0);
        let (four_bit, (quant_type, double_quant, storage, threshold)) = match &self.format {
            QuantFormat::FourBit { quant_type, double_quant, quant_storage, .. } => {
                (true, (*quant_type, *double_quant, quant_storage.clone(), defaults.3))
            }
            QuantFormat::Int8 { threshold } => (false, (defaults.0, defaults.1, defaults.2, *threshold)),
        };
        object! {
            "_load_in_4bit": four_bit,
            "_load_in_8bit": (!four_bit),
            "bnb_4bit_compute_dtype": self.compute_dtype.as_str(),
            "bnb_4bit_quant_storage": storage.torch_name(),
            "bnb_4bit_quant_type": quant_type.as_str(),
            "bnb_4bit_use_double_quant": double_quant,
            "llm_int8_enable_fp32_cpu_offload": false,
            "llm_int8_has_fp16_weight": false,
            "llm_int8_skip_modules": self.skip_modules.as_deref(),
            "llm_int8_threshold": threshold,
            "load_in_4bit": four_bit,
            "load_in_8bit": (!four_bit),
            "quant_method": "bitsandbytes",
        }
    }

    /// Whether the linear layer at `module_path` (such as `model.layers.0.mlp.up_proj`) is quantized.
    /// With `tied` embeddings there is no separate `lm_head` to quantize.
    pub fn quantizes(&self, module_path: &str, tied: bool) -> bool {
        if module_path == "lm_head" && (tied || self.skip_modules.is_none()) {
            return false;
        }
        let skip = self.skip_modules.as_deref().unwrap_or_default();
        !skip.iter().any(|pattern| pattern_matches(pattern, module_path))
    }

    /// Refuses skip patterns that are not regular expressions this crate understands.
    ///
    /// # Errors
    /// [`ErrorCode::UnsupportedOption`] naming the pattern.
    pub fn check_skip_modules(&self) -> Result<()> {
        for pattern in self.skip_modules.iter().flatten().filter(|pattern| !is_plain(pattern)) {
            Regex::new(&format!("^(?:{pattern})$")).map_err(|_| {
                Error::new(ErrorCode::UnsupportedOption, "unsupported pattern")
                    .tensor("llm_int8_skip_modules")
                    .expected("a module name or a regular expression without look-around")
                    .found(pattern)
            })?;
        }
        Ok(())
    }
}

/// transformers' `should_convert_module`: the pattern is a suffix of the path, or a regular expression
/// that matches from its start up to a module boundary.
fn pattern_matches(pattern: &str, path: &str) -> bool {
    if path.ends_with(pattern) {
        return true;
    }
    if is_plain(pattern) {
        let matches = |head: &str| {
            head.len() == pattern.len() && pattern.bytes().zip(head.bytes()).all(|(p, c)| p == b'.' || p == c)
        };
        return any_head(path, matches);
    }
    Regex::new(&format!("^(?:{pattern})$")).is_ok_and(|regex| any_head(path, |head| regex.is_match(head)))
}

/// Whether a pattern has nothing but letters, digits and dots that stand for any character, as nearly all have:
/// regular expressions are a large part of the code, which WebAssembly builds fetch when it is needed.
fn is_plain(pattern: &str) -> bool {
    pattern.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte))
}

fn any_head(path: &str, matches: impl Fn(&str) -> bool) -> bool {
    // The match may end anywhere with a dot before or after it, or at the end of the path.
    (0..=path.len()).filter(|&end| path.is_char_boundary(end)).any(|end| {
        let (head, rest) = path.split_at(end);
        (head.ends_with('.') || rest.is_empty() || rest.starts_with('.')) && matches(head)
    })
}

fn unsupported(fields: &Fields<'_>, key: &str, expected: &str, found: &str) -> Error {
    fields
        .error(ErrorCode::UnsupportedQuantization, "unsupported quantization", key)
        .expected(expected)
        .found(found)
}

fn read(fields: &Fields<'_>) -> Result<BitsAndBytesConfig> {
    let unsupported = |key: &str, expected: &str, found: &str| unsupported(fields, key, expected, found);
    let flag = |key: &str| fields.flag(key).map(Option::unwrap_or_default);
    let method = fields.text("quant_method")?.unwrap_or("bitsandbytes");
    if method != "bitsandbytes" {
        return Err(unsupported("quant_method", "bitsandbytes", method));
    }
    if flag("llm_int8_has_fp16_weight")? {
        return Err(unsupported("llm_int8_has_fp16_weight", "false", "true"));
    }
    let four_bit = flag("load_in_4bit")? || flag("_load_in_4bit")?;
    let int8 = flag("load_in_8bit")? || flag("_load_in_8bit")?;
    let compute = fields.text("bnb_4bit_compute_dtype")?.unwrap_or("float32");
    let config = BitsAndBytesConfig {
        format: match (four_bit, int8) {
            (true, false) => read_four_bit(fields)?,
            (false, true) => QuantFormat::Int8 { threshold: threshold(fields)? },
            (true, true) => return Err(unsupported("load_in_8bit", "4 or 8 bits", "both")),
            (false, false) => return Err(unsupported("load_in_4bit", "4 or 8 bits", "neither")),
        },
        compute_dtype: ComputeDtype::from_name(compute)
            .ok_or_else(|| unsupported("bnb_4bit_compute_dtype", "float32, bfloat16 or float16", compute))?,
        skip_modules: fields.texts("llm_int8_skip_modules")?,
    };
    config.check_skip_modules().map_err(|e| e.in_file(fields.file()))?;
    Ok(config)
}

fn read_four_bit(fields: &Fields<'_>) -> Result<QuantFormat> {
    let name = fields.text("bnb_4bit_quant_type")?.unwrap_or("fp4");
    let quant_type = QuantType::from_name(name)
        .ok_or_else(|| unsupported(fields, "bnb_4bit_quant_type", "nf4 or fp4", name))?;
    let storage = fields.text("bnb_4bit_quant_storage")?.unwrap_or("uint8");
    let quant_storage = quant_storage(storage).ok_or_else(|| {
        let names = "uint8, int8, float16, bfloat16, float32 or float64";
        unsupported(fields, "bnb_4bit_quant_storage", names, storage)
    })?;
    let double_quant = fields.flag("bnb_4bit_use_double_quant")?.unwrap_or(false);
    Ok(QuantFormat::FourBit { quant_type, blocksize: 64, double_quant, quant_storage })
}

fn threshold(fields: &Fields<'_>) -> Result<f32> {
    let key = "llm_int8_threshold";
    let threshold = fields.number(key)?.unwrap_or(6.0);
    if !(0.0..=65504.0).contains(&threshold) {
        return Err(unsupported(fields, key, "0 to 65504", &Repr::from(threshold).to_string()));
    }
    Ok(threshold as f32)
}

/// The storage dtype of that torch name, if bitsandbytes accepts it.
pub fn quant_storage(name: &str) -> Option<Dtype> {
    match name {
        "uint8" => Some(Dtype::U8),
        "int8" => Some(Dtype::I8),
        "float16" => Some(Dtype::F16),
        "bfloat16" => Some(Dtype::BF16),
        "float32" => Some(Dtype::F32),
        "float64" => Some(Dtype::F64),
        _ => None,
    }
}

//! A checkpoint streamed into a model: headers first, then tensor after tensor through one buffer.

use wasm_bindgen::prelude::*;

use super::model::Running;
use super::{Lab, Model, to_js};
use crate::checkpoint::json::{Value, object};
use crate::checkpoint::{Header, ShardIndex, TensorInfo};
use crate::error::{Error, ErrorCode, Result};
use crate::model::{Config, GenerationConfig, LoadOptions, WeightsLoader};
use crate::quant::{BitsAndBytesConfig, ComputeDtype, QuantFormat};

/// Room that a WebAssembly memory can have.
const MAX_MEMORY: u64 = 1 << 32;

/// A buffer up to this many bytes stays until the end.
const LASTING_BUFFER: usize = 64 << 20;

/// A model on its way in.
#[wasm_bindgen]
pub struct Loader {
    pub(super) config: Config,
    generation: GenerationConfig,
    options: LoadOptions,
    index: Option<ShardIndex>,
    headers: Vec<Header>,
    /// Of tensors kept from an earlier load; they go before those of `headers`.
    pub(super) stored: Option<Header>,
    pub(super) weights: Option<WeightsLoader>,
    /// One tensor's bytes at its start; JavaScript writes them through [`Loader::buffer`].
    pub(super) buffer: Vec<u8>,
}

#[wasm_bindgen]
impl Loader {
    /// `quantization` is a `BitsAndBytesConfig` as JSON; without one, weights stay as they are stored.
    ///
    /// # Errors
    /// Whatever is wrong with the configuration files, as an `Error`.
    #[wasm_bindgen(constructor)]
    pub fn new(
        config: &[u8],
        generation_config: Option<Vec<u8>>,
        quantization: Option<String>,
        compute_dtype: &str,
    ) -> Result<Loader, JsValue> {
        let build = || -> Result<Loader> {
            let config = Config::from_json("config.json", config)?;
            let generation = match generation_config {
                Some(bytes) => GenerationConfig::from_json("generation_config.json", &bytes)?,
                None => GenerationConfig::default(),
            };
            let compute_dtype = ComputeDtype::from_name(compute_dtype).ok_or_else(|| {
                Error::new(ErrorCode::InvalidArgument, "unknown compute dtype")
                    .expected("float32, bfloat16 or float16")
                    .found(compute_dtype)
            })?;
            let quantization = quantization.as_deref().map(quantization_from).transpose()?;
            Ok(Loader {
                config,
                generation,
                options: LoadOptions { quantization, compute_dtype, lm_head: None },
                index: None,
                headers: Vec::new(),
                stored: None,
                weights: None,
                buffer: Vec::new(),
            })
        };
        build().map_err(to_js)
    }

    /// Takes `model.safetensors.index.json` and returns the names of the shards.
    ///
    /// # Errors
    /// What is wrong with it, as an `Error`.
    #[wasm_bindgen(js_name = setIndex)]
    pub fn set_index(&mut self, file: &str, json: &[u8]) -> Result<Vec<String>, JsValue> {
        let index = ShardIndex::parse(file, json).map_err(to_js)?;
        let shards = index.shards().to_vec();
        self.index = Some(index);
        Ok(shards)
    }

    /// Bytes at the start of a safetensors file that hold its header, from the first 8.
    ///
    /// # Errors
    /// An `Error` for a file that is too short, or whose header is too long.
    #[wasm_bindgen(js_name = headerLength)]
    pub fn header_length(file: &str, start: &[u8], file_length: f64) -> Result<f64, JsValue> {
        let first = start.first_chunk::<8>().ok_or_else(|| {
            to_js(
                Error::new(ErrorCode::TruncatedFile, "the file ends inside its header")
                    .in_file(file)
                    .expected("at least 8 bytes")
                    .found(format!("{} bytes", start.len())),
            )
        })?;
        Header::header_len(file, *first, file_length as u64).map(|length| length as f64).map_err(to_js)
    }

    /// Takes the first bytes of a safetensors file, as many as [`Loader::header_length`] says. Returns the
    /// file's tensors in file order as JSON: `[name, start, end]`, bytes in the file.
    ///
    /// # Errors
    /// What is wrong with the header, as an `Error`.
    #[wasm_bindgen(js_name = addHeader)]
    pub fn add_header(&mut self, file: &str, prefix: &[u8], file_length: f64) -> Result<String, JsValue> {
        let header = Header::parse(file, prefix, file_length as u64).map_err(to_js)?;
        let ranges = ranges(&header);
        self.headers.push(header);
        Ok(ranges)
    }

    /// Checks all headers against the configuration and each other, and reserves the buffer.
    ///
    /// # Errors
    /// An `Error` naming the tensor that is missing, unexpected or of a wrong shape or dtype; `out-of-memory`.
    pub fn begin(&mut self) -> Result<(), JsValue> {
        let mut begin = || -> Result<()> {
            if let Some(index) = &self.index {
                index.check(&self.headers)?;
            }
            let files = self.stored.iter().chain(&self.headers);
            let infos = files.flat_map(|header| header.tensors().iter().map(|info| (header.file(), info)));
            let infos = infos.filter(|(file, info)| !self.is_stored(file, &info.name));
            self.weights = Some(WeightsLoader::new(&self.config, infos, &self.options)?);
            let largest = self.tensors().map(TensorInfo::byte_len).max().unwrap_or(0);
            let too_large = || {
                Error::new(ErrorCode::OutOfMemory, "no room for the largest tensor")
                    .expected(format!("less than {MAX_MEMORY} bytes"))
                    .found(format!("{largest} bytes"))
            };
            let largest = usize::try_from(largest).map_err(|_| too_large())?;
            self.buffer.try_reserve_exact(largest).map_err(|_| too_large())
        };
        begin().map_err(to_js)
    }

    fn tensors(&self) -> impl Iterator<Item = &TensorInfo> {
        self.stored.iter().chain(&self.headers).flat_map(Header::tensors)
    }

    /// Whether the tensor is used; those that are not can be skipped over.
    pub fn wants(&self, name: &str) -> bool {
        self.weights.as_ref().is_some_and(|weights| weights.wants(name))
    }

    /// Address of `length` bytes for the next tensor. Any other call may move them.
    ///
    /// # Panics
    /// Without room for them; [`Loader::begin`] saw that the largest tensor has some.
    pub fn buffer(&mut self, length: usize) -> *mut u8 {
        // Embeddings are far larger than the rest and come first; their room is then the weights'.
        if self.buffer.capacity() > LASTING_BUFFER && length < self.buffer.capacity() / 4 {
            self.buffer = Vec::new();
        }
        // It never gets shorter, for what is made longer is filled with zeros first.
        if length > self.buffer.len() {
            self.buffer.resize(length, 0);
        }
        self.buffer.as_mut_ptr()
    }

    /// Takes the tensor whose bytes lie in the buffer; a weight to be quantized is quantized now.
    ///
    /// # Errors
    /// What is wrong with the tensor, as an `Error`.
    pub fn push(&mut self, file: usize, tensor: usize) -> Result<(), JsValue> {
        let Loader { headers, stored, weights, buffer, .. } = self;
        let header = headers.get(file).or(stored.as_ref());
        let place = header.and_then(|header| Some((header, header.tensors().get(tensor)?)));
        let (Some((header, info)), Some(weights)) = (place, weights) else {
            return Err(to_js(Error::new(ErrorCode::InvalidArgument, "no such tensor was announced")));
        };
        let bytes = buffer.get(..info.byte_len() as usize).unwrap_or(buffer);
        info.view(header.file(), bytes).and_then(|view| weights.push(view)).map_err(to_js)
    }

    /// The model, with a kv cache for `context` tokens; by default for as many as it was trained for, at
    /// most 2048. The cache's dtype, "float32" or "int16", goes with the arithmetic unless one is asked for. The loader
    /// is used up.
    ///
    /// # Errors
    /// `missing-tensor` naming one that did not come, `invalid-argument`, `out-of-memory`.
    pub fn finish(
        self,
        context: Option<usize>,
        arithmetic: Option<String>,
        kv_cache_dtype: Option<String>,
    ) -> Result<Model, JsValue> {
        let Loader { config, generation, options, weights, .. } = self;
        // The buffer is freed here, so that the kv cache can take its place.
        let weights =
            weights.ok_or_else(|| to_js(Error::new(ErrorCode::InvalidArgument, "begin was not called")))?;
        let context = context.unwrap_or(config.max_position_embeddings.min(2048));
        weights
            .finish()
            .and_then(|weights| {
                let running = Running { arithmetic, kv_cache_dtype, context };
                Model::new(config, generation, weights, options, running)
            })
            .map_err(to_js)
    }

    /// The headers' tensors for looking at one by one, after the checks of [`Loader::begin`]. The loader is used
    /// up.
    ///
    /// # Errors
    /// As [`Loader::begin`].
    pub fn lab(self) -> Result<Lab, JsValue> {
        let Loader { config, options, index, headers, .. } = self;
        let check = || -> Result<()> {
            if let Some(index) = &index {
                index.check(&headers)?;
            }
            let infos =
                headers.iter().flat_map(|header| header.tensors().iter().map(|info| (header.file(), info)));
            WeightsLoader::new(&config, infos, &options).map(|_| ())
        };
        check().map_err(to_js)?;
        Ok(Lab::new(config, headers))
    }

    /// What is known before any weight is there, as JSON.
    pub fn facts(&self) -> String {
        let Config { vocab_size, hidden_size, intermediate_size, num_hidden_layers, .. } = self.config;
        let config = &self.config;
        let quantization = self.options.quantization.as_ref().or(config.quantization.as_ref());
        object! {
            "config": object! {
                "model_type": "llama",
                "vocab_size": vocab_size,
                "hidden_size": hidden_size,
                "intermediate_size": intermediate_size,
                "num_hidden_layers": num_hidden_layers,
                "num_attention_heads": config.num_attention_heads,
                "num_key_value_heads": config.num_key_value_heads,
                "head_dim": config.head_dim,
                "max_position_embeddings": config.max_position_embeddings,
                "rms_norm_eps": config.rms_norm_eps,
                "tie_word_embeddings": config.tie_word_embeddings,
                "attention_bias": config.attention_bias,
                "mlp_bias": config.mlp_bias,
                "dtype": config.dtype.as_ref().map(|dtype| dtype.torch_name()),
                "bos_token_id": config.bos_token_id,
                "eos_token_ids": config.eos_token_ids.as_slice(),
            },
            "generation": object! {
                "do_sample": self.generation.do_sample,
                "temperature": self.generation.temperature,
                "top_k": self.generation.top_k,
                "top_p": self.generation.top_p,
                "min_p": self.generation.min_p,
                "repetition_penalty": self.generation.repetition_penalty,
                "max_new_tokens": self.generation.max_new_tokens,
                "eos_token_ids": end_tokens(&self.config, &self.generation),
            },
            "quantization": quantization.map(quantization_json),
            "tensors": self.tensors().count(),
            "parameters": parameters(config),
        }
        .to_string()
    }
}

/// `[name, start, end]` of each tensor in file order, as JSON.
#[inline(never)]
pub(super) fn ranges(header: &Header) -> String {
    let range = |info: &TensorInfo| {
        Value::Array(vec![info.name.as_str().into(), info.range.start.into(), info.range.end.into()])
    };
    Value::Array(header.tensors().iter().map(range).collect()).to_string()
}

/// `generation_config.json` goes before `config.json`, as in transformers.
pub(super) fn end_tokens<'a>(config: &'a Config, generation: &'a GenerationConfig) -> &'a [u32] {
    if generation.eos_token_ids.is_empty() { &config.eos_token_ids } else { &generation.eos_token_ids }
}

fn parameters(config: &Config) -> u64 {
    let shapes = config.tensor_shapes();
    shapes.iter().map(|(_, shape)| shape.iter().map(|&n| n as u64).product::<u64>()).sum()
}

/// `BitsAndBytesConfig` from JSON, with the blocksize that transformers has no key for.
pub(super) fn quantization_from(json: &str) -> Result<BitsAndBytesConfig> {
    let value = crate::checkpoint::json::parse("quantization", json.as_bytes())?;
    let mut config = BitsAndBytesConfig::from_json("quantization", &value)?;
    if let (Some(wanted), QuantFormat::FourBit { blocksize, .. }) =
        (value.get("bnb_4bit_blocksize"), &mut config.format)
    {
        let number = wanted.as_u64().and_then(|n| usize::try_from(n).ok()).ok_or_else(|| {
            Error::new(ErrorCode::InvalidArgument, "the blocksize is not a whole number")
                .tensor("bnb_4bit_blocksize")
                .found(wanted)
        })?;
        crate::quant::four_bit::check_blocksize(number)?;
        *blocksize = number;
    }
    Ok(config)
}

fn quantization_json(config: &BitsAndBytesConfig) -> Value {
    let mut value = config.to_json();
    if let (Value::Object(entries), QuantFormat::FourBit { blocksize, .. }) = (&mut value, &config.format) {
        entries.push(("bnb_4bit_blocksize".to_owned(), (*blocksize).into()));
    }
    value
}

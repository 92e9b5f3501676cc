//! A loaded model with its kv cache and the text being written.

use js_sys::Array;
use wasm_bindgen::prelude::*;

use super::loader::end_tokens;
use super::stored::tensor_objects;
use super::to_js;
use crate::checkpoint::json::{Value, object};
use crate::checkpoint::{Checkpoint, Dtype};
use crate::error::{Error, ErrorCode, Result};
use crate::generate::{Sampler, SamplingConfig, StopStrings};
use crate::kernels::Arithmetic;
use crate::model::linear::Matrix;
use crate::model::lora::Adapter;
use crate::model::tree::tree;
use crate::model::weights::Weights;
use crate::model::{Config, GenerationConfig, KvCache, KvCacheDtype, Llama, LoadOptions, LogitsFor};
use crate::quant::bnb::{tensors_of, tensors_of_int8};
use crate::quant::{Absmax, BitsAndBytesConfig, Floats};

/// A Llama and the state of one text.
#[wasm_bindgen]
pub struct Model {
    pub(super) llama: Llama,
    generation: GenerationConfig,
    pub(super) quantization: Option<BitsAndBytesConfig>,
    pub(super) cache: KvCache,
    /// Every token in the cache.
    pub(super) history: Vec<u32>,
    /// After the last token, (vocab_size,).
    pub(super) logits: Vec<f32>,
    sampler: Option<Sampler>,
    stops: StopStrings,
    /// Tokens that are being computed.
    begun: Vec<u32>,
    /// An adapter was changed while the cache held something.
    pub(super) mixed: bool,
}

impl Model {
    pub(super) fn new(
        config: Config,
        generation: GenerationConfig,
        weights: Weights,
        options: LoadOptions,
        Running { arithmetic, kv_cache_dtype, context }: Running,
    ) -> Result<Model> {
        let LoadOptions { quantization, compute_dtype, .. } = options;
        let quantization = quantization.or_else(|| config.quantization.clone());
        let mut llama = Llama::new(config, weights)?;
        llama.set_compute_dtype(compute_dtype);
        if let Some(arithmetic) = arithmetic {
            set_arithmetic(&mut llama, &arithmetic)?;
        }
        llama.set_kv_cache_dtype(kv_cache_dtype.as_deref().map(kv_cache_dtype_from).transpose()?);
        let cache = llama.new_cache(context)?;
        Ok(Model {
            llama,
            generation,
            quantization,
            cache,
            history: Vec::new(),
            logits: Vec::new(),
            sampler: None,
            stops: StopStrings::default(),
            begun: Vec::new(),
            mixed: false,
        })
    }
}

/// How a model is to run; what is `None` is chosen for it.
pub(super) struct Running {
    pub(super) arithmetic: Option<String>,
    pub(super) kv_cache_dtype: Option<String>,
    /// Positions of the kv cache.
    pub(super) context: usize,
}

fn set_arithmetic(llama: &mut Llama, name: &str) -> Result<()> {
    let wrong =
        |reason, expected| Error::new(ErrorCode::InvalidArgument, reason).expected(expected).found(name);
    if matches!(llama.arithmetic(), Arithmetic::Emulated(_)) {
        return Err(wrong("an emulated compute dtype has its own arithmetic", "compute dtype float32"));
    }
    let arithmetic = Arithmetic::from_name(name)
        .ok_or_else(|| wrong("unknown arithmetic", "exact, near-exact or fast"))?;
    llama.set_arithmetic(arithmetic);
    Ok(())
}

/// The dtype of a kv cache called `name`.
fn kv_cache_dtype_from(name: &str) -> Result<KvCacheDtype> {
    KvCacheDtype::from_name(name).ok_or_else(|| {
        Error::new(ErrorCode::InvalidArgument, "unknown dtype of a kv cache")
            .expected("float32 or int16")
            .found(name)
    })
}

#[wasm_bindgen]
impl Model {
    /// How products with 4-bit weights are computed from now on: "exact" (at first), "near-exact" or "fast". The kv
    /// cache takes the dtype that goes with it when the next tokens are read, unless one was asked for.
    ///
    /// # Errors
    /// `invalid-argument` for another name, and where a compute dtype is emulated.
    #[wasm_bindgen(js_name = setArithmetic)]
    pub fn set_arithmetic(&mut self, name: &str) -> Result<(), JsValue> {
        set_arithmetic(&mut self.llama, name).map_err(to_js)
    }

    /// Empties the kv cache.
    pub fn reset(&mut self) {
        self.cache.clear();
        self.history.clear();
        self.begun.clear();
        self.mixed = false;
    }

    /// Room left in the kv cache.
    pub fn remaining(&self) -> usize {
        self.cache.remaining()
    }

    /// Whether a prompt must be read in one call: LLM.int8 chooses outlier columns over all of its tokens.
    #[wasm_bindgen(js_name = readsWhole)]
    pub fn reads_whole(&self) -> bool {
        self.llama.has_int8()
    }

    /// Tokens from which a call computes each in one way: pieces of a prompt with as many give the same bits
    /// however it is divided.
    #[wasm_bindgen(js_name = pieceTokens)]
    pub fn piece_tokens(&self) -> usize {
        crate::kernels::PANEL_TOKENS
    }

    /// Begins to append tokens to the text; [`Model::step`] does it.
    ///
    /// # Errors
    /// `context-full`, `invalid-token`, `invalid-argument` for no tokens.
    pub fn begin(&mut self, tokens: Vec<u32>) -> Result<(), JsValue> {
        self.cache.set_dtype(self.llama.kv_cache_dtype()).map_err(to_js)?;
        self.llama.begin(&tokens, &self.cache).map_err(to_js)?;
        self.begun = tokens;
        Ok(())
    }

    /// Computes at most `layers` more layers for what was begun, and returns whether that was all. Logits come after
    /// the `last` tokens of a prompt.
    ///
    /// # Errors
    /// `invalid-argument` when nothing was begun, `out-of-memory`.
    pub fn step(&mut self, layers: usize, last: bool) -> Result<bool, JsValue> {
        let done = self.llama.step(layers, &mut self.cache).map_err(to_js)?;
        if done {
            self.history.append(&mut self.begun);
            if last {
                self.llama.swap_last_logits(&mut self.logits).map_err(to_js)?;
            }
        }
        Ok(done)
    }

    /// Appends tokens to the text, at once.
    ///
    /// # Errors
    /// Those of [`Model::begin`] and [`Model::step`].
    pub fn read(&mut self, tokens: Vec<u32>) -> Result<(), JsValue> {
        self.begin(tokens)?;
        self.step(usize::MAX, true).map(|_| ())
    }

    /// Logits after the last token read.
    pub fn logits(&self) -> Vec<f32> {
        self.logits.clone()
    }

    /// Appends tokens and returns the logits after each, row by row.
    ///
    /// # Errors
    /// As [`Model::read`].
    #[wasm_bindgen(js_name = readAll)]
    pub fn read_all(&mut self, tokens: &[u32]) -> Result<Vec<f32>, JsValue> {
        self.cache.set_dtype(self.llama.kv_cache_dtype()).map_err(to_js)?;
        let logits = self.llama.forward(tokens, &mut self.cache, LogitsFor::All).map_err(to_js)?;
        self.history.extend_from_slice(tokens);
        Ok(logits.to_vec())
    }

    /// Sets how tokens are chosen from now on: JSON with the names of transformers' `GenerationConfig`; what
    /// is null comes from the model's own.
    ///
    /// # Errors
    /// `invalid-argument` for a setting out of range.
    #[wasm_bindgen(js_name = setSampling)]
    pub fn set_sampling(&mut self, options: &str, stop_strings: Vec<String>) -> Result<(), JsValue> {
        self.sampling(options)
            .and_then(Sampler::new)
            .map(|sampler| self.sampler = Some(sampler))
            .map_err(to_js)?;
        self.stops = StopStrings::new(stop_strings);
        Ok(())
    }

    fn sampling(&self, options: &str) -> Result<SamplingConfig> {
        let options = crate::checkpoint::json::parse("options", options.as_bytes())?;
        let wrong = |key: &str, expected: &str, found: &Value| {
            Error::new(ErrorCode::InvalidArgument, "wrong type of value")
                .tensor(key)
                .expected(expected)
                .found(found)
        };
        let given = |key: &str| options.get(key).filter(|value| !value.is_null());
        let number = |key: &str, default: f32| match given(key) {
            None => Ok(default),
            Some(value) => value.as_f64().map(|x| x as f32).ok_or_else(|| wrong(key, "a number", value)),
        };
        let whole = |key: &str, default: u64| match given(key) {
            None => Ok(default),
            Some(value) => value.as_u64().ok_or_else(|| wrong(key, "a whole number", value)),
        };
        let generation = &self.generation;
        Ok(SamplingConfig {
            do_sample: match given("do_sample") {
                None => generation.do_sample,
                Some(value) => value.as_bool().ok_or_else(|| wrong("do_sample", "true or false", value))?,
            },
            temperature: number("temperature", generation.temperature)?,
            top_k: usize::try_from(whole("top_k", generation.top_k as u64)?).unwrap_or(usize::MAX),
            top_p: number("top_p", generation.top_p)?,
            min_p: number("min_p", generation.min_p)?,
            repetition_penalty: number("repetition_penalty", generation.repetition_penalty)?,
            seed: whole("seed", 0)?,
        })
    }

    /// Chooses the next token, which is not read yet.
    ///
    /// # Errors
    /// `non-finite-logits`; `invalid-argument` before [`Model::set_sampling`] and [`Model::read`].
    pub fn sample(&mut self) -> Result<u32, JsValue> {
        let Some(sampler) = &mut self.sampler else {
            return Err(to_js(Error::new(ErrorCode::InvalidArgument, "no sampling was set")));
        };
        sampler.sample(&mut self.logits, &self.history).map_err(to_js)
    }

    /// Whether the token ends a text.
    #[wasm_bindgen(js_name = isEnd)]
    pub fn is_end(&self, token: u32) -> bool {
        end_tokens(self.llama.config(), &self.generation).contains(&token)
    }

    /// Takes a token's bytes and returns the text that can be shown now.
    #[wasm_bindgen(js_name = pushText)]
    pub fn push_text(&mut self, bytes: &[u8]) -> String {
        self.stops.push(bytes)
    }

    /// Whether a stop string was reached.
    pub fn stopped(&self) -> bool {
        self.stops.stopped().is_some()
    }

    /// The text still held back, once no more will come.
    #[wasm_bindgen(js_name = finishText)]
    pub fn finish_text(&mut self) -> String {
        self.stops.finish()
    }

    /// What the model holds, as JSON: the ledger of [`Llama::memory`] and the kv cache.
    pub fn memory(&self) -> String {
        let mut ledger = self.llama.memory();
        ledger.scratch += ((self.logits.capacity() + self.history.capacity()) * size_of::<u32>()) as u64;
        let kv_cache = self.cache.bytes() as u64;
        let mut json = ledger.to_json();
        if let Value::Object(entries) = &mut json {
            entries.push(("kv_cache".to_owned(), kv_cache.into()));
            entries.push(("total".to_owned(), (ledger.total() + kv_cache).into()));
        }
        json.to_string()
    }

    /// The modules as Python's `print(model)` shows them.
    pub fn layers(&self) -> String {
        tree(self.llama.config(), self.quantization.as_ref())
    }

    /// Names of the adapters that are loaded.
    pub fn adapters(&self) -> Vec<String> {
        self.llama.adapters().map(str::to_owned).collect()
    }

    /// Every weight as it is held, as JSON.
    pub fn tensors(&self) -> String {
        let config = self.llama.config();
        let weights = self.llama.weights();
        let row = |name: String,
                   shape: &[usize],
                   format: &str,
                   bytes: usize,
                   blocksize: Option<usize>,
                   nested: bool| {
            object! {
                "name": name, "shape": shape, "format": format, "bytes": bytes, "blocksize": blocksize,
                "double_quant": nested,
            }
        };
        let dense = |name: String, floats: &Floats, shape: &[usize]| {
            row(name, shape, floats.dtype().as_str(), floats.bytes(), None, false)
        };
        let embedding = [config.vocab_size, config.hidden_size];
        let mut rows = vec![dense("model.embed_tokens.weight".to_owned(), &weights.embed_tokens, &embedding)];
        for (module, linear) in config.linear_modules().iter().zip(weights.linears()) {
            let name = format!("{}.weight", module.path);
            let shape = &[linear.rows, linear.cols];
            rows.push(match &linear.matrix {
                Matrix::Dense(floats) => dense(name, floats, shape),
                Matrix::FourBit(params) => {
                    let state = &params.quant_state;
                    let nested = matches!(state.absmax, Absmax::Nested(_));
                    let bytes = params.bytes().total();
                    row(name, shape, state.quant_type.as_str(), bytes, Some(state.blocksize), nested)
                }
                Matrix::Int8 { params, .. } => row(name, shape, "int8", params.bytes(), None, false),
            });
            if let Some(bias) = &linear.bias {
                rows.push(dense(format!("{}.bias", module.path), bias, &[linear.rows]));
            }
        }
        let hidden = &[config.hidden_size];
        for (i, layer) in weights.layers.iter().enumerate() {
            let norms = [
                ("input_layernorm", &layer.input_layernorm),
                ("post_attention_layernorm", &layer.post_attention_layernorm),
            ];
            for (name, norm) in norms {
                rows.push(dense(format!("model.layers.{i}.{name}.weight"), norm, hidden));
            }
        }
        rows.push(dense("model.norm.weight".to_owned(), &weights.norm, hidden));
        Value::Array(rows).to_string()
    }

    /// The tensors of a quantized module in the form bitsandbytes stores them: objects with `name`, `dtype`,
    /// `shape` and `bytes`.
    ///
    /// # Errors
    /// `invalid-argument` when there is no such module, or it is not quantized.
    #[wasm_bindgen(js_name = storedTensors)]
    pub fn stored_tensors(&self, module: &str) -> Result<Array, JsValue> {
        let modules = self.llama.config().linear_modules();
        let linear = modules.iter().zip(self.llama.weights().linears()).find(|(each, _)| each.path == module);
        let tensors = match linear.map(|(_, linear)| &linear.matrix) {
            Some(Matrix::FourBit(params)) => tensors_of(module, params, &Dtype::U8).map_err(to_js)?,
            Some(Matrix::Int8 { params, .. }) => tensors_of_int8(module, params),
            Some(Matrix::Dense(_)) | None => {
                return Err(to_js(
                    Error::new(ErrorCode::InvalidArgument, "no quantized module of that name").found(module),
                ));
            }
        };
        Ok(tensor_objects(tensors))
    }

    /// Reads a PEFT adapter and keeps it under `name`; returns its bytes.
    ///
    /// # Errors
    /// What is wrong with it, as an `Error`.
    #[wasm_bindgen(js_name = loadAdapter)]
    pub fn load_adapter(
        &mut self,
        name: &str,
        adapter_config: &[u8],
        file: String,
        bytes: Vec<u8>,
    ) -> Result<f64, JsValue> {
        let before = self.llama.memory().lora;
        let load = || -> Result<()> {
            let checkpoint = Checkpoint::from_bytes(vec![(file, bytes)], None)?;
            let adapter = Adapter::from_tensors("adapter_config.json", adapter_config, checkpoint.views())?;
            self.llama.load_adapter(name, adapter)
        };
        load().map_err(to_js)?;
        Ok((self.llama.memory().lora - before) as f64)
    }

    /// Takes an adapter into use at `scale` of its strength, or none.
    ///
    /// # Errors
    /// `unknown-adapter`, `invalid-argument` for a scale that is not finite.
    #[wasm_bindgen(js_name = setAdapter)]
    pub fn set_adapter(&mut self, name: Option<String>, scale: f32) -> Result<(), JsValue> {
        let set = match &name {
            Some(name) => self.llama.set_adapter_scaled(name, scale),
            None => self.llama.set_adapter(None),
        };
        self.mixed |= !self.cache.is_empty() || !self.begun.is_empty();
        set.map_err(to_js)
    }

    /// Forgets an adapter.
    ///
    /// # Errors
    /// `unknown-adapter`.
    #[wasm_bindgen(js_name = deleteAdapter)]
    pub fn delete_adapter(&mut self, name: &str) -> Result<(), JsValue> {
        self.llama.delete_adapter(name).map_err(to_js)
    }
}

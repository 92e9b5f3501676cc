//! Named tensors to the weights of a Llama, one tensor in memory at a time.

use super::config::{Config, LINEARS_PER_LAYER, LinearModule};
use super::linear::{Linear, Matrix, same_format};
use crate::checkpoint::{Checkpoint, Dtype, NameMap, TensorInfo, TensorView};
use crate::error::{Error, ErrorCode, Result};
use crate::quant::bnb::{ModuleParts, OutputTensor, Part, StoredAs, Weight, stored_as};
use crate::quant::{BitsAndBytesConfig, ComputeDtype, Floats, QuantFormat};

/// Columns beyond which the i32 sums of LLM.int8 could overflow.
const MAX_INT8_COLS: usize = (i32::MAX / (127 * 127)) as usize;

/// What to do with a checkpoint while loading it.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct LoadOptions {
    /// Quantize the linear layers of a full-precision checkpoint; `None` keeps what is stored.
    pub quantization: Option<BitsAndBytesConfig>,
    /// What 4-bit layers multiply in.
    pub compute_dtype: ComputeDtype,
    /// Quantize `lm_head`, which bitsandbytes leaves as it is: smaller where it has a weight of its own. With tied
    /// embeddings it gets a copy in this format beside them. LLM.int8 is without outlier columns here, whatever its
    /// threshold, so that a row of logits depends on its token alone.
    pub lm_head: Option<QuantFormat>,
}

/// All weights of a Llama.
#[derive(Debug, Clone, PartialEq)]
pub struct Weights {
    /// (vocab_size, hidden_size).
    pub embed_tokens: Floats,
    /// Decoder layers.
    pub layers: Vec<Layer>,
    /// Final norm, (hidden_size,).
    pub norm: Floats,
    /// (vocab_size, hidden_size); `None` when it is `embed_tokens`. With tied embeddings a quantized copy of them.
    pub lm_head: Option<Linear>,
    /// What 4-bit layers multiply in, unless the model is told otherwise.
    pub compute_dtype: ComputeDtype,
}

/// Weights of one decoder layer.
#[derive(Debug, Clone, PartialEq)]
pub struct Layer {
    /// (hidden_size,).
    pub input_layernorm: Floats,
    /// (heads * head_dim, hidden_size).
    pub q_proj: Linear,
    /// (kv heads * head_dim, hidden_size).
    pub k_proj: Linear,
    /// (kv heads * head_dim, hidden_size).
    pub v_proj: Linear,
    /// (hidden_size, heads * head_dim).
    pub o_proj: Linear,
    /// (hidden_size,).
    pub post_attention_layernorm: Floats,
    /// (intermediate_size, hidden_size).
    pub gate_proj: Linear,
    /// (intermediate_size, hidden_size).
    pub up_proj: Linear,
    /// (hidden_size, intermediate_size).
    pub down_proj: Linear,
}

impl Weights {
    /// Loads a whole checkpoint, one tensor after the other.
    ///
    /// # Errors
    /// Those of [`WeightsLoader`].
    pub fn from_checkpoint(config: &Config, checkpoint: &Checkpoint, options: &LoadOptions) -> Result<Self> {
        let infos = checkpoint.headers().iter().flat_map(|h| h.tensors().iter().map(|info| (h.file(), info)));
        let mut loader = WeightsLoader::new(config, infos, options)?;
        for tensor in checkpoint.views() {
            if loader.wants(tensor.name) {
                loader.push(tensor)?;
                checkpoint.release(tensor.name);
            }
        }
        loader.finish()
    }

    /// Every linear layer in the order of [`Config::linear_modules`]; without a tied `lm_head`.
    pub fn linears(&self) -> impl Iterator<Item = &Linear> {
        self.layers
            .iter()
            .flat_map(|l| {
                [&l.q_proj, &l.k_proj, &l.v_proj, &l.o_proj, &l.gate_proj, &l.up_proj, &l.down_proj]
            })
            .chain(&self.lm_head)
    }

    /// The linear layer with that index in [`Config::linear_modules`].
    pub(crate) fn linear_mut(&mut self, index: usize) -> Option<&mut Linear> {
        let Some(layer) = self.layers.get_mut(index / LINEARS_PER_LAYER) else {
            return self.lm_head.as_mut();
        };
        Some(match index % LINEARS_PER_LAYER {
            0 => &mut layer.q_proj,
            1 => &mut layer.k_proj,
            2 => &mut layer.v_proj,
            3 => &mut layer.o_proj,
            4 => &mut layer.gate_proj,
            5 => &mut layer.up_proj,
            _ => &mut layer.down_proj,
        })
    }

    /// Norms and the embedding.
    pub(crate) fn floats(&self) -> impl Iterator<Item = &Floats> {
        let norms = self.layers.iter().flat_map(|l| [&l.input_layernorm, &l.post_attention_layernorm]);
        [&self.embed_tokens, &self.norm].into_iter().chain(norms)
    }
}

/// Collects tensors in any order; whatever the headers can tell is checked before any data comes.
pub struct WeightsLoader {
    tied: bool,
    /// (vocab_size, hidden_size).
    shape: (usize, usize),
    compute_dtype: ComputeDtype,
    lm_head: Option<QuantFormat>,
    num_layers: usize,
    linears: Vec<LinearSlot>,
    /// Position in `linears` by module path.
    paths: NameMap<usize>,
    /// Embedding and norms by tensor name.
    floats: NameMap<FloatSlot>,
    /// Dtype and shape of every tensor to come, by name; taken out when it comes.
    awaited: NameMap<(Dtype, Vec<usize>)>,
}

struct LinearSlot {
    module: LinearModule,
    /// Quantize on the way in.
    quantize: Option<QuantFormat>,
    /// `llm_int8_threshold` for a stored int8 weight.
    threshold: f32,
    file: String,
    kinds: Vec<Part>,
    weight_dtype: Dtype,
    parts: Option<ModuleParts>,
    linear: Option<Linear>,
}

struct FloatSlot {
    shape: Vec<usize>,
    seen: bool,
    values: Option<Floats>,
}

impl WeightsLoader {
    /// Checks every name, dtype and shape of `infos`, pairs of a file and a tensor in it.
    ///
    /// Rotary tables (`rotary_emb.inv_freq`) are ignored, and so is `lm_head.weight` of a model with tied
    /// embeddings.
    ///
    /// # Errors
    /// [`ErrorCode::MissingTensor`], [`ErrorCode::UnexpectedTensor`], [`ErrorCode::DuplicateTensor`],
    /// [`ErrorCode::ShapeMismatch`], [`ErrorCode::UnsupportedDtype`], [`ErrorCode::InvalidQuantState`] or
    /// [`ErrorCode::UnsupportedQuantization`].
    pub fn new<'a>(
        config: &Config,
        infos: impl IntoIterator<Item = (&'a str, &'a TensorInfo)>,
        options: &LoadOptions,
    ) -> Result<Self> {
        check_options(config, options)?;
        let mut loader = Self::slots(config);
        loader.compute_dtype = options.compute_dtype;
        loader.lm_head = options.lm_head.clone();
        for (file, info) in infos {
            loader.expect(file, info)?;
        }
        for slot in &mut loader.linears {
            slot.resolve(config, options)?;
        }
        if let Some((name, _)) = loader.floats.iter().find(|(_, slot)| !slot.seen) {
            return Err(missing(name));
        }
        Ok(loader)
    }

    fn slots(config: &Config) -> Self {
        let tied = config.tie_word_embeddings;
        let mut modules = config.linear_modules();
        if tied {
            modules.pop();
        }
        let threshold = match config.quantization.as_ref().map(|q| &q.format) {
            Some(QuantFormat::Int8 { threshold }) => *threshold,
            _ => 0.0,
        };
        let float = |(name, shape)| (name, FloatSlot { shape, seen: false, values: None });
        let is_linear = |name: &str| name.contains("_proj.") || name.starts_with("lm_head.");
        WeightsLoader {
            tied,
            shape: (config.vocab_size, config.hidden_size),
            compute_dtype: ComputeDtype::Float32,
            lm_head: None,
            num_layers: config.num_hidden_layers,
            paths: modules.iter().enumerate().map(|(i, module)| (module.path.clone(), i)).collect(),
            linears: modules
                .into_iter()
                .map(|module| LinearSlot {
                    parts: Some(ModuleParts::new(module.path.as_str())),
                    module,
                    quantize: None,
                    threshold,
                    file: String::new(),
                    kinds: Vec::new(),
                    weight_dtype: Dtype::F32,
                    linear: None,
                })
                .collect(),
            floats: config
                .tensor_shapes()
                .into_iter()
                .filter(|(name, _)| !is_linear(name))
                .map(float)
                .collect(),
            awaited: NameMap::default(),
        }
    }

    fn expect(&mut self, file: &str, info: &TensorInfo) -> Result<()> {
        let TensorInfo { name, dtype, shape, .. } = info;
        if ignored(name, self.tied) {
            return Ok(());
        }
        let at = |error: Error| error.in_file(file).tensor(name);
        if let Some(slot) = self.floats.get_mut(name) {
            check_shape(&slot.shape, shape).map_err(at)?;
            check_float(dtype).map_err(at)?;
            slot.seen = true;
        } else {
            let linear = Part::split(name).and_then(|(path, part)| Some((*self.paths.get(path)?, part)));
            let Some((index, part)) = linear else {
                return Err(at(Error::new(ErrorCode::UnexpectedTensor, "no place in this model")));
            };
            let slot = &mut self.linears[index];
            match part {
                Part::Bias if !slot.module.bias => {
                    return Err(at(Error::new(ErrorCode::UnexpectedTensor, "this layer has no bias")));
                }
                Part::Bias => {
                    check_shape(&[slot.module.out_features], shape).map_err(at)?;
                    check_float(dtype).map_err(at)?;
                }
                Part::Weight => {
                    slot.file = file.to_owned();
                    slot.weight_dtype = dtype.clone();
                }
                _ => {}
            }
            slot.kinds.push(part);
        }
        if self.awaited.insert(name.clone(), (dtype.clone(), shape.clone())).is_some() {
            return Err(at(Error::new(ErrorCode::DuplicateTensor, "tensor occurs twice")));
        }
        let slot = Part::split(name).and_then(|(path, part)| Some((self.paths.get(path)?, part)));
        match slot {
            Some((&index, Part::Weight)) => self.linears[index].check_weight(dtype, shape).map_err(at),
            _ => Ok(()),
        }
    }

    /// Whether the loader needs the tensor of that name (and has not got it yet).
    pub fn wants(&self, name: &str) -> bool {
        self.awaited.contains_key(name)
    }

    /// Takes one tensor; bytes are copied or quantized, not kept.
    ///
    /// # Errors
    /// [`ErrorCode::UnexpectedTensor`] for a tensor that is not [wanted](Self::wants),
    /// [`ErrorCode::ShapeMismatch`] when it is not what its header said, and what decoding and quantizing
    /// find.
    pub fn push(&mut self, tensor: TensorView<'_>) -> Result<()> {
        let at = |error: Error| error.in_file(tensor.file).tensor(tensor.name);
        let Some((dtype, shape)) = self.awaited.remove(tensor.name) else {
            return Err(at(Error::new(ErrorCode::UnexpectedTensor, "tensor was not asked for")));
        };
        if *tensor.dtype != dtype {
            return Err(at(Error::new(ErrorCode::UnsupportedDtype, "dtype differs from the header")
                .expected(dtype.as_str())
                .found(tensor.dtype.as_str())));
        }
        check_shape(&shape, tensor.shape).map_err(at)?;
        if let Some(slot) = self.floats.get_mut(tensor.name) {
            slot.values = Some(Floats::from_view(&tensor)?);
            return Ok(());
        }
        let index = Part::split(tensor.name).and_then(|(path, _)| self.paths.get(path));
        match index {
            Some(&index) => self.linears[index].push(tensor),
            None => Err(at(Error::new(ErrorCode::UnexpectedTensor, "no place in this model"))),
        }
    }

    /// Whether the tensor belongs to a layer that is quantized on its way in; any other is held as it is stored.
    pub fn quantizes(&self, name: &str) -> bool {
        self.linear_slot(name).is_some_and(|slot| slot.quantize.is_some())
    }

    /// The tensors of the layer that the tensor `name` belongs to, in the form bitsandbytes stores them; `None`
    /// until every one of its tensors came.
    ///
    /// # Errors
    /// Those of [`Linear::stored_form`].
    pub fn stored_form(&self, name: &str) -> Result<Option<Vec<OutputTensor<'_>>>> {
        let whole = self.linear_slot(name).and_then(|slot| Some((slot, slot.linear.as_ref()?)));
        whole.map(|(slot, linear)| linear.stored_form(&slot.module.path)).transpose()
    }

    fn linear_slot(&self, name: &str) -> Option<&LinearSlot> {
        let (path, _) = Part::split(name)?;
        self.linears.get(*self.paths.get(path)?)
    }

    /// The weights, once every tensor came.
    ///
    /// # Errors
    /// [`ErrorCode::MissingTensor`] naming one that did not.
    pub fn finish(mut self) -> Result<Weights> {
        if let Some(name) = self.awaited.keys().next() {
            return Err(missing(name));
        }
        let mut linears = self
            .linears
            .into_iter()
            .map(|slot| slot.linear.ok_or_else(|| missing(&format!("{}.weight", slot.module.path))));
        let mut linear = || linears.next().unwrap_or_else(|| Err(missing("lm_head.weight")));
        let mut float = |name: String| {
            self.floats.get_mut(&name).and_then(|slot| slot.values.take()).ok_or_else(|| missing(&name))
        };
        let mut layers = Vec::with_capacity(self.num_layers);
        for i in 0..self.num_layers {
            layers.push(Layer {
                input_layernorm: float(format!("model.layers.{i}.input_layernorm.weight"))?,
                q_proj: linear()?,
                k_proj: linear()?,
                v_proj: linear()?,
                o_proj: linear()?,
                post_attention_layernorm: float(format!("model.layers.{i}.post_attention_layernorm.weight"))?,
                gate_proj: linear()?,
                up_proj: linear()?,
                down_proj: linear()?,
            });
        }
        let embed_tokens = float("model.embed_tokens.weight".to_owned())?;
        let mut lm_head = if self.tied { None } else { Some(linear()?) };
        if let Some(format) = &self.lm_head {
            lm_head = Some(quantized_head(lm_head, &embed_tokens, self.shape, format)?);
        }
        Ok(Weights {
            embed_tokens,
            layers,
            norm: float("model.norm.weight".to_owned())?,
            compute_dtype: self.compute_dtype,
            lm_head,
        })
    }
}

impl LinearSlot {
    /// What the header of `weight` can tell: floats and int8 codes have the shape of the layer, packed
    /// codes half as many bytes.
    fn check_weight(&self, dtype: &Dtype, shape: &[usize]) -> Result<()> {
        let (rows, cols) = (self.module.out_features, self.module.in_features);
        if shape == [rows, cols] {
            return Ok(());
        }
        let packed = (rows * cols).div_ceil(2);
        let bytes = shape.iter().try_fold(dtype.size().unwrap_or(0), |n, &axis| n.checked_mul(axis));
        if bytes == Some(packed) {
            return Ok(());
        }
        Err(Error::new(ErrorCode::ShapeMismatch, "wrong shape")
            .expected(format!("[{rows}, {cols}], or {packed} bytes of 4-bit codes"))
            .found(format!("{shape:?} of {}", dtype.as_str())))
    }

    /// Decides what becomes of the layer, from its parts, the config and the options.
    fn resolve(&mut self, config: &Config, options: &LoadOptions) -> Result<()> {
        let LinearModule { path, bias, in_features, .. } = &self.module;
        let at = |error: Error| error.in_file(&self.file).tensor(format!("{path}.weight"));
        if !self.kinds.contains(&Part::Weight) {
            return Err(missing(&format!("{path}.weight")));
        }
        if *bias && !self.kinds.contains(&Part::Bias) {
            return Err(missing(&format!("{path}.bias")).in_file(&self.file));
        }
        let stored =
            stored_as(path, &self.weight_dtype, &self.kinds).map_err(|e| e.in_file(self.file.as_str()))?;
        let quantizes = |c: &&BitsAndBytesConfig| c.quantizes(path, config.tie_word_embeddings);
        let mut promised = config.quantization.as_ref().filter(quantizes);
        // What was quantized as asked in an earlier, interrupted load is taken as it is.
        if config.quantization.is_none() && stored != StoredAs::Dense {
            promised = options.quantization.as_ref().filter(quantizes);
        }
        let agrees = match (stored, promised.map(|c| &c.format)) {
            (StoredAs::Dense, None) => {
                check_float(&self.weight_dtype).map_err(at)?;
                true
            }
            (
                StoredAs::FourBit { quant_type, nested },
                Some(QuantFormat::FourBit { quant_type: promised, double_quant, .. }),
            ) => quant_type == *promised && nested == *double_quant,
            (StoredAs::Int8, Some(QuantFormat::Int8 { .. })) => true,
            _ => false,
        };
        if !agrees {
            return Err(at(Error::new(
                ErrorCode::InvalidQuantState,
                "the tensors of this layer are not what quantization_config says",
            )
            .expected(promised.map_or("unquantized".to_owned(), |c| c.format.to_string()))
            .found(stored)));
        }
        if config.quantization.is_none() && stored == StoredAs::Dense {
            self.quantize = options.quantization.as_ref().filter(quantizes).map(|c| c.format.clone());
        }
        let int8 =
            matches!(stored, StoredAs::Int8) || matches!(self.quantize, Some(QuantFormat::Int8 { .. }));
        if int8 && *in_features > MAX_INT8_COLS {
            return Err(at(Error::new(ErrorCode::UnsupportedQuantization, "too wide for int8 sums")
                .expected(format!("at most {MAX_INT8_COLS} columns"))
                .found(in_features)));
        }
        Ok(())
    }

    fn push(&mut self, tensor: TensorView<'_>) -> Result<()> {
        let Some(parts) = &mut self.parts else {
            return Err(Error::new(ErrorCode::UnexpectedTensor, "the layer is complete")
                .in_file(tensor.file)
                .tensor(tensor.name));
        };
        parts.push(tensor)?;
        if parts.len() < self.kinds.len() {
            return Ok(());
        }
        let Some(parts) = self.parts.take() else { return Ok(()) };
        let LinearModule { path, in_features: cols, out_features: rows, .. } = &self.module;
        let (rows, cols) = (*rows, *cols);
        let at = |error: Error| error.in_file(&self.file).tensor(format!("{path}.weight"));
        let (weight, bias) = parts.finish().map_err(at)?;
        check_shape(&[rows, cols], &weight.shape()).map_err(at)?;
        let matrix = match (weight, &self.quantize) {
            (Weight::Dense { values, .. }, Some(format)) => {
                Matrix::quantize(&values, rows, cols, format).map_err(at)?
            }
            (Weight::Dense { values, .. }, None) => Matrix::Dense(values),
            (Weight::FourBit(params), _) => Matrix::FourBit(params),
            (Weight::Int8(params), _) => Matrix::Int8 { params, threshold: self.threshold },
        };
        self.linear = Some(Linear { matrix, bias, rows, cols });
        Ok(())
    }
}

/// A stored quantization cannot be changed: its full-precision weights are gone.
fn check_options(config: &Config, options: &LoadOptions) -> Result<()> {
    let (Some(stored), Some(asked)) = (&config.quantization, &options.quantization) else { return Ok(()) };
    if same_format(&stored.format, asked) && stored.skip_modules == asked.skip_modules {
        return Ok(());
    }
    Err(Error::new(ErrorCode::UnsupportedQuantization, "the checkpoint is quantized already")
        .expected(format!("{}, or a full-precision checkpoint", stored.format))
        .found(&asked.format))
}

/// `lm_head` in `format`, from its own weight or, where there is none, from the embedding's.
fn quantized_head(
    lm_head: Option<Linear>,
    embed_tokens: &Floats,
    (rows, cols): (usize, usize),
    format: &QuantFormat,
) -> Result<Linear> {
    let values = match lm_head.as_ref().map(|linear| &linear.matrix) {
        None => embed_tokens,
        Some(Matrix::Dense(values)) => values,
        Some(_) => {
            return Err(Error::new(ErrorCode::UnsupportedQuantization, "lm_head is quantized already")
                .tensor("lm_head.weight")
                .expected("a full-precision lm_head"));
        }
    };
    let format = match format {
        QuantFormat::Int8 { .. } => &QuantFormat::Int8 { threshold: 0.0 },
        four_bit => four_bit,
    };
    let matrix =
        Matrix::quantize(values, rows, cols, format).map_err(|error| error.tensor("lm_head.weight"))?;
    Ok(Linear { matrix, bias: lm_head.and_then(|linear| linear.bias), rows, cols })
}

fn ignored(name: &str, tied: bool) -> bool {
    name.ends_with("rotary_emb.inv_freq") || (tied && name == "lm_head.weight")
}

fn missing(name: &str) -> Error {
    Error::new(ErrorCode::MissingTensor, "the model lacks a tensor").tensor(name)
}

fn check_shape(expected: &[usize], found: &[usize]) -> Result<()> {
    if expected == found {
        return Ok(());
    }
    Err(Error::new(ErrorCode::ShapeMismatch, "wrong shape")
        .expected(format!("{expected:?}"))
        .found(format!("{found:?}")))
}

fn check_float(dtype: &Dtype) -> Result<()> {
    match dtype {
        Dtype::F32 | Dtype::BF16 | Dtype::F16 => Ok(()),
        other => Err(Error::new(ErrorCode::UnsupportedDtype, "not a float tensor this crate computes with")
            .expected("F32, BF16 or F16")
            .found(other.as_str())),
    }
}

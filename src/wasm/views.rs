//! What the lab's views draw: single weights of a checkpoint and the answers of [`crate::model::lens`].

use js_sys::{Array, Float32Array, Float64Array, Object, Reflect, Uint8Array};
use wasm_bindgen::prelude::*;

use super::{Model, to_js};
use crate::checkpoint::json::{Value, object as json_object};
use crate::checkpoint::{Dtype, Header, TensorInfo};
use crate::error::{Error, ErrorCode, Result};
use crate::generate::score::{compare, log_sum_exp};
use crate::model::lens::{self, Quantity, Settings};
use crate::model::{Config, LogitsFor};
use crate::quant::bnb::{ModuleParts, Part, StoredAs, Weight, stored_as};
use crate::quant::heatmap::{Bin, Rect};
use crate::quant::stats::{ErrorStats, Histogram};
use crate::quant::{Floats, QuantType};

/// A checkpoint's headers, and a buffer for the tensors of one weight.
#[wasm_bindgen]
pub struct Lab {
    config: Config,
    headers: Vec<Header>,
    buffer: Vec<u8>,
    weight: Option<Weight>,
    parts: Option<ModuleParts>,
}

impl Lab {
    pub(super) fn new(config: Config, headers: Vec<Header>) -> Self {
        Lab { config, headers, buffer: Vec::new(), weight: None, parts: None }
    }

    /// File, position in it and header entry of every tensor.
    fn tensors(&self) -> impl Iterator<Item = (usize, usize, &TensorInfo)> {
        let files = self.headers.iter().enumerate();
        files.flat_map(|(file, header)| {
            header.tensors().iter().enumerate().map(move |(i, info)| (file, i, info))
        })
    }

    fn row(&self, name: &str, shape: &[usize]) -> Result<Value> {
        let module = name.strip_suffix(".weight").unwrap_or(name);
        let (mut parts, mut kinds, mut bytes) = (Vec::new(), Vec::new(), 0);
        let (mut dtype, mut blocks) = (&Dtype::F32, 1);
        for (file, i, info) in self.tensors() {
            let Some((owner, part)) = Part::split(&info.name) else { continue };
            if owner != module || part == Part::Bias {
                continue;
            }
            match part {
                Part::Weight => dtype = &info.dtype,
                Part::Absmax => blocks = info.shape.iter().product::<usize>().max(1),
                _ => {}
            }
            parts.push(Value::from([file as u64, i as u64, info.range.start, info.range.end].as_slice()));
            kinds.push(part);
            bytes += info.byte_len();
        }
        let elements: usize = shape.iter().product();
        let (format, stored) = match stored_as(module, dtype, &kinds)? {
            StoredAs::Dense => (dtype.as_str(), Value::Null),
            StoredAs::Int8 => ("int8", Value::Null),
            StoredAs::FourBit { quant_type, nested } => {
                // The exact number stands in quant_state, which is read with the tensor.
                let blocksize = elements.div_ceil(blocks).next_power_of_two();
                let stored = json_object! {
                    "quant_type": quant_type.as_str(), "blocksize": blocksize, "double_quant": nested,
                };
                (quant_type.as_str(), stored)
            }
        };
        Ok(json_object! {
            "name": name,
            "shape": shape,
            "elements": elements,
            "format": format,
            "bytes": bytes,
            "original": matches!(dtype, Dtype::F32 | Dtype::BF16 | Dtype::F16) && stored.is_null(),
            "stored": stored,
            "linear": name.contains("_proj."),
            "parts": Value::Array(parts),
        })
    }
}

#[wasm_bindgen]
impl Lab {
    /// The weights in the model's order as JSON; `parts` lists file, tensor, first and last byte of what holds each.
    ///
    /// # Errors
    /// None after [`super::Loader::lab`].
    pub fn weights(&self) -> Result<String, JsValue> {
        let shapes = self.config.tensor_shapes();
        let weights = shapes.iter().filter(|(name, _)| name.ends_with(".weight"));
        let rows: Result<Vec<Value>> = weights.map(|(name, shape)| self.row(name, shape)).collect();
        rows.map(|rows| Value::Array(rows).to_string()).map_err(to_js)
    }

    /// Address of `length` bytes for the next tensor. Any other call may move them.
    ///
    /// # Errors
    /// `out-of-memory`.
    pub fn buffer(&mut self, length: usize) -> Result<*mut u8, JsValue> {
        self.buffer.clear();
        self.buffer.try_reserve_exact(length).map_err(|_| {
            to_js(
                Error::new(ErrorCode::OutOfMemory, "no room for the tensor").found(format!("{length} bytes")),
            )
        })?;
        self.buffer.resize(length, 0);
        Ok(self.buffer.as_mut_ptr())
    }

    /// Takes the tensor whose bytes lie in the buffer as a part of the weight being read.
    ///
    /// # Errors
    /// What is wrong with the tensor, as an `Error`.
    pub fn push(&mut self, file: usize, tensor: usize) -> Result<(), JsValue> {
        let mut push = || -> Result<()> {
            let place =
                self.headers.get(file).and_then(|header| Some((header, header.tensors().get(tensor)?)));
            let unknown = || Error::new(ErrorCode::InvalidArgument, "no such tensor was announced");
            let (header, info) = place.ok_or_else(unknown)?;
            let view = info.view(header.file(), &self.buffer)?;
            let (module, part) = Part::split(&info.name).ok_or_else(unknown)?;
            let float = matches!(info.dtype, Dtype::F32 | Dtype::BF16 | Dtype::F16);
            if part == Part::Weight && float && self.parts.is_none() && info.shape.last() != Some(&1) {
                let values = Floats::from_view(&view)?;
                self.weight = Some(Weight::Dense { values, shape: info.shape.clone() });
                return Ok(());
            }
            self.parts.get_or_insert_with(|| ModuleParts::new(module)).push(view)
        };
        push().map_err(to_js)
    }

    /// Drops what was pushed, after a failure.
    pub fn forget(&mut self) {
        (self.parts, self.weight) = (None, None);
    }

    /// The weight whose tensors were pushed.
    ///
    /// # Errors
    /// What is wrong with them together, as an `Error`.
    pub fn take(&mut self) -> Result<Lens, JsValue> {
        self.buffer = Vec::new();
        let (parts, weight) = (self.parts.take(), self.weight.take());
        let finish = |parts: ModuleParts| parts.finish().map(|(weight, _)| weight);
        let missing = || Error::new(ErrorCode::MissingTensor, "no tensor was read");
        let weight = weight.map(Ok).or_else(|| parts.map(finish)).unwrap_or_else(|| Err(missing()));
        weight.map(|weight| Lens(lens::Lens::new(weight))).map_err(to_js)
    }
}

/// One weight. Settings are quant_type, blocksize and double_quant everywhere; answers are fresh objects.
#[wasm_bindgen]
pub struct Lens(lens::Lens);

#[inline(never)]
fn object(entries: &[(&str, JsValue)]) -> JsValue {
    let object = Object::new();
    for (name, value) in entries {
        // A fresh object takes any property.
        let _ = Reflect::set(&object, &JsValue::from_str(name), value);
    }
    object.into()
}

#[inline(never)]
fn f32s(values: &[f32]) -> JsValue {
    Float32Array::from(values).into()
}

#[inline(never)]
fn f64s(values: &[f64]) -> JsValue {
    Float64Array::from(values).into()
}

#[inline(never)]
fn u8s(values: &[u8]) -> JsValue {
    Uint8Array::from(values).into()
}

fn or_null<T>(value: Option<T>, convert: impl Fn(T) -> JsValue) -> JsValue {
    value.map_or(JsValue::NULL, convert)
}

#[inline(never)]
fn errors(stats: &ErrorStats) -> JsValue {
    object(&[
        ("mae", stats.mae.into()),
        ("rmse", stats.rmse.into()),
        ("max_error", stats.max_error.into()),
        ("snr_db", stats.snr_db.into()),
        ("bits_per_weight", stats.bits_per_weight.into()),
    ])
}

#[inline(never)]
fn counts(counts: &[u64]) -> JsValue {
    f64s(&counts.iter().map(|&n| n as f64).collect::<Vec<_>>())
}

#[inline(never)]
fn histogram(histogram: &Histogram) -> JsValue {
    object(&[
        ("low", histogram.low.into()),
        ("high", histogram.high.into()),
        ("counts", counts(&histogram.counts)),
        ("below", (histogram.below as f64).into()),
        ("above", (histogram.above as f64).into()),
    ])
}

fn quant_type_of(name: &str) -> Result<QuantType> {
    QuantType::from_name(name).ok_or_else(|| {
        let error = Error::new(ErrorCode::UnsupportedQuantization, "unknown quantization type");
        error.expected("nf4 or fp4").found(name)
    })
}

#[inline(never)]
fn settings(quant_type: &str, blocksize: usize, double_quant: bool) -> Result<Settings> {
    Ok(Settings { quant_type: quant_type_of(quant_type)?, blocksize, double_quant })
}

fn bins_of(bins: usize) -> Result<usize> {
    if (1..=4096).contains(&bins) {
        return Ok(bins);
    }
    Err(Error::new(ErrorCode::InvalidArgument, "wrong number of bins").expected("1 to 4096").found(bins))
}

#[wasm_bindgen]
impl Lens {
    /// `position` below 0 plants no outlier.
    ///
    /// # Errors
    /// [`lens::Lens::block`].
    pub fn block(
        &mut self,
        index: usize,
        quant_type: &str,
        blocksize: usize,
        double_quant: bool,
        position: i32,
        factor: f32,
    ) -> Result<JsValue, JsValue> {
        let lens = &mut self.0;
        let mut block = || {
            let settings = settings(quant_type, blocksize, double_quant)?;
            let outlier = usize::try_from(position).ok().map(|position| (position, factor));
            Ok((lens.settings(settings), lens.block(index, settings, outlier)?))
        };
        let (settings, b) = block().map_err(to_js)?;
        let elements: usize = lens.shape().iter().product();
        Ok(object(&[
            ("index", index.into()),
            ("blocks", elements.div_ceil(settings.blocksize).into()),
            ("first", (index * settings.blocksize).into()),
            (
                "settings",
                object(&[
                    ("quant_type", settings.quant_type.as_str().into()),
                    ("blocksize", settings.blocksize.into()),
                    ("double_quant", settings.double_quant.into()),
                ]),
            ),
            ("values", or_null(b.values.as_deref(), f32s)),
            ("absmax", or_null(b.absmax, JsValue::from)),
            ("absmaxCode", or_null(b.absmax_code, JsValue::from)),
            ("scale", b.scale.into()),
            ("normalised", or_null(b.normalised.as_deref(), f32s)),
            ("codes", u8s(&b.codes)),
            ("packed", u8s(&b.packed)),
            ("restored", f32s(&b.restored)),
            ("stats", or_null(b.stats.as_ref(), errors)),
        ]))
    }

    /// For each blocksize: blocksize, blocks, then the fields of the errors.
    ///
    /// # Errors
    /// [`lens::Lens::sweep`].
    pub fn sweep(&self, quant_type: &str, double_quant: bool) -> Result<Array, JsValue> {
        let points = quant_type_of(quant_type).and_then(|quant_type| self.0.sweep(quant_type, double_quant));
        let row = |(blocksize, blocks, stats): (usize, usize, ErrorStats)| {
            let row = [blocksize as f64, blocks as f64];
            Array::of2(&f64s(&row), &errors(&stats))
        };
        Ok(points.map_err(to_js)?.into_iter().map(row).collect())
    }

    /// # Errors
    /// [`lens::Lens::double_quant`].
    #[wasm_bindgen(js_name = doubleQuant)]
    pub fn double_quant(
        &mut self,
        quant_type: &str,
        blocksize: usize,
        bins: usize,
    ) -> Result<JsValue, JsValue> {
        let mut compute = || self.0.double_quant(settings(quant_type, blocksize, true)?, bins_of(bins)?);
        let d = compute().map_err(to_js)?;
        let pair =
            |pair: [ErrorStats; 2]| object(&[("single", errors(&pair[0])), ("double", errors(&pair[1]))]);
        Ok(object(&[
            ("absmax", or_null(d.absmax.as_deref(), f32s)),
            ("offset", d.nested.offset.into()),
            ("codes", u8s(&d.nested.codes)),
            ("map", f32s(d.nested.code.as_slice())),
            ("nested", f32s(&d.nested.absmax)),
            ("nestedBlocksize", d.nested.blocksize.into()),
            ("restored", f32s(&d.restored)),
            ("histogram", histogram(&d.histogram)),
            ("bytes", object(&[("single", d.bytes[0].into()), ("double", d.bytes[1].into())])),
            ("scaleErrors", or_null(d.scale_errors.as_ref(), errors)),
            ("weightErrors", or_null(d.weight_errors, pair)),
        ]))
    }

    /// # Errors
    /// [`lens::Lens::contestant`].
    pub fn contestant(&mut self, name: &str, blocksize: usize, bins: usize) -> Result<JsValue, JsValue> {
        let c = bins_of(bins).and_then(|bins| self.0.contestant(name, blocksize, bins)).map_err(to_js)?;
        Ok(object(&[
            ("stats", errors(&c.stats)),
            ("levels", f32s(&c.levels)),
            ("counts", counts(&c.counts)),
            ("histogram", histogram(&c.histogram)),
        ]))
    }

    /// `what` is "weight", "code", "error" or "absmax"; `rect` x, y, width and height in elements; `cells` width
    /// and height of the picture.
    ///
    /// # Errors
    /// [`lens::Lens::heatmap`].
    #[expect(clippy::too_many_arguments, reason = "one call a frame, without an object to take apart")]
    pub fn heatmap(
        &mut self,
        what: &str,
        rect: &[u32],
        cells: &[u32],
        mean: bool,
        quant_type: &str,
        blocksize: usize,
        double_quant: bool,
    ) -> Result<Vec<f32>, JsValue> {
        let mut compute = || {
            let what = match what {
                "weight" => Quantity::Weight,
                "code" => Quantity::Code,
                "error" => Quantity::Error,
                "absmax" => Quantity::Absmax,
                other => return Err(Error::new(ErrorCode::InvalidArgument, "unknown quantity").found(other)),
            };
            let (&[x, y, width, height], &[across, down]) = (rect, cells) else {
                return Err(Error::new(ErrorCode::InvalidArgument, "four numbers and two are wanted"));
            };
            let [x, y, width, height] = [x, y, width, height].map(|n| n as usize);
            let bin = if mean { Bin::Mean } else { Bin::Max };
            let settings = settings(quant_type, blocksize, double_quant)?;
            let rect = Rect { x, y, width, height };
            self.0.heatmap(what, settings, rect, (across as usize, down as usize), bin)
        };
        compute().map_err(to_js)
    }

    /// Without `quant_type` only the values are summarized.
    ///
    /// # Errors
    /// [`lens::Lens::rows`].
    pub fn rows(
        &mut self,
        quant_type: Option<String>,
        blocksize: usize,
        double_quant: bool,
    ) -> Result<JsValue, JsValue> {
        let compute = || {
            let settings = quant_type.map(|name| settings(&name, blocksize, double_quant)).transpose()?;
            self.0.rows(settings)
        };
        let (rows, rmse) = compute().map_err(to_js)?;
        let column =
            |get: fn(&crate::quant::stats::Summary) -> f32| f32s(&rows.iter().map(get).collect::<Vec<_>>());
        Ok(object(&[
            ("absmax", column(|row| row.absmax)),
            ("mean", column(|row| row.mean as f32)),
            ("std", column(|row| row.std as f32)),
            ("rmse", or_null(rmse, |rmse| f32s(&rmse.iter().map(|&x| x as f32).collect::<Vec<_>>()))),
        ]))
    }

    /// Mean, standard deviation, absmax and a histogram of the values.
    ///
    /// # Errors
    /// [`lens::Lens::distribution`].
    pub fn distribution(&mut self, bins: usize) -> Result<Array, JsValue> {
        let (summary, counted) = bins_of(bins).and_then(|bins| self.0.distribution(bins)).map_err(to_js)?;
        let numbers = [summary.mean, summary.std, f64::from(summary.absmax)];
        Ok(Array::of2(&f64s(&numbers), &histogram(&counted)))
    }
}

#[wasm_bindgen]
impl Model {
    /// Appends tokens, and returns for each from the `skip`th on the negative log-likelihood in nats of its
    /// successor, which `targets` holds for all of them.
    ///
    /// # Errors
    /// As [`Model::read`]; `invalid-argument` when the arrays differ in length, `non-finite-logits`.
    pub fn score(&mut self, tokens: &[u32], targets: &[u32], skip: usize) -> Result<Vec<f64>, JsValue> {
        let mut score = || -> Result<Vec<f64>> {
            let vocabulary = self.llama.config().vocab_size;
            if tokens.len() != targets.len() || targets.iter().any(|&token| token as usize >= vocabulary) {
                let error = Error::new(ErrorCode::InvalidArgument, "these are no tokens to score");
                return Err(error.expected(tokens.len()).found(targets.len()));
            }
            self.cache.set_dtype(self.llama.kv_cache_dtype())?;
            let logits = self.llama.forward(tokens, &mut self.cache, LogitsFor::All)?;
            let rows = logits.chunks_exact(vocabulary).zip(targets).skip(skip);
            rows.map(|(row, &target)| Ok(log_sum_exp(row)? - f64::from(row[target as usize]))).collect()
        };
        let scores = score().map_err(to_js)?;
        self.history.extend_from_slice(tokens);
        Ok(scores)
    }
}

/// Ascending levels (16), thresholds (15) and codes (16, one a level) of "nf4" or "fp4".
///
/// # Errors
/// For another name.
#[wasm_bindgen]
pub fn codebook(quant_type: &str) -> Result<Vec<f32>, JsValue> {
    let quant_type = quant_type_of(quant_type).map_err(to_js)?;
    let codes = quant_type.interval_codes();
    let levels = codes.iter().map(|&code| quant_type.codebook()[usize::from(code)]);
    let codes = codes.iter().map(|&code| f32::from(code));
    Ok(levels.chain(quant_type.thresholds().iter().copied()).chain(codes).collect())
}

/// For each row of `vocabulary` logits: KL(a || b) in nats, the likeliest token by `a` and by `b`.
///
/// # Errors
/// `invalid-argument` when the arrays are no whole rows of equal number, `non-finite-logits`.
#[wasm_bindgen(js_name = compareLogits)]
pub fn compare_logits(a: &[f32], b: &[f32], vocabulary: usize) -> Result<Vec<f64>, JsValue> {
    if vocabulary == 0 || a.len() != b.len() || !a.len().is_multiple_of(vocabulary) {
        let error = Error::new(ErrorCode::InvalidArgument, "the logits are not of the same shape");
        return Err(to_js(error.expected(format!("rows of {vocabulary}")).found(format!(
            "{} and {}",
            a.len(),
            b.len()
        ))));
    }
    let rows = a.chunks(vocabulary).zip(b.chunks(vocabulary));
    let row = |(a, b)| compare(a, b).map(|row| [row.kl, row.reference_top as f64, row.top as f64]);
    rows.map(row).collect::<Result<Vec<_>>>().map(|rows| rows.concat()).map_err(to_js)
}

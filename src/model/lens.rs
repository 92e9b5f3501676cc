//! One weight under the lens: what the lab's views ask of a tensor, each answer in one call.

use crate::checkpoint::Dtype;
use crate::error::{Error, ErrorCode, Result};
use crate::kernels;
use crate::quant::QuantType;
use crate::quant::bnb::Weight;
use crate::quant::contest::{self, Contestant};
use crate::quant::four_bit::{Absmax, NestedAbsmax, Params4bit, check_blocksize};
use crate::quant::half::round_to;
use crate::quant::heatmap::{Bin, Rect, heatmap};
use crate::quant::stats::{ErrorStats, Histogram, Summary, bits_per_weight};
use crate::quant::steps::{self, Block};

/// How a tensor is quantized to 4 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// NF4 or FP4.
    pub quant_type: QuantType,
    /// A power of two from 32 to 4096.
    pub blocksize: usize,
    /// Whether the scales are quantized too.
    pub double_quant: bool,
}

/// What a heatmap shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Quantity {
    /// The values; restored ones where no original is there.
    Weight,
    /// Position of the code among the ascending levels.
    Code,
    /// Absolute error.
    Error,
    /// Scale of the element's block.
    Absmax,
}

/// The blocksizes there are.
pub const BLOCKSIZES: [usize; 8] = [32, 64, 128, 256, 512, 1024, 2048, 4096];

/// The scales of one tensor, quantized to 8 bits.
#[derive(Debug, Clone, PartialEq)]
pub struct DoubleQuant {
    /// As computed, one a block; unknown when only codes were stored.
    pub absmax: Option<Vec<f32>>,
    /// Codes, levels, second-level scales and offset.
    pub nested: NestedAbsmax,
    /// What the codes stand for.
    pub restored: Vec<f32>,
    /// Of absmax, or of the restored scales where it is unknown, from 0 to the largest.
    pub histogram: Histogram,
    /// Bytes of codes and scales, without and with double quantization; tables left out.
    pub bytes: [usize; 2],
    /// Of the restored scales.
    pub scale_errors: Option<ErrorStats>,
    /// Of the weights, without and with double quantization.
    pub weight_errors: Option<[ErrorStats; 2]>,
}

/// A tensor in 4 bits, kept between calls.
struct Coded {
    params: Params4bit,
    /// The scales before double quantization.
    absmax: Option<Vec<f32>>,
    /// The values of `params`; empty until asked for.
    restored: Vec<f32>,
}

/// A weight as read from a checkpoint, and its last quantized form.
pub struct Lens {
    shape: Vec<usize>,
    dtype: Dtype,
    /// Before quantization.
    original: Option<Vec<f32>>,
    /// What an int8 checkpoint restores to.
    int8: Option<Vec<f32>>,
    coded: Option<Coded>,
}

impl Lens {
    /// Of a quantized weight no original is there.
    pub fn new(weight: Weight) -> Self {
        let shape = weight.shape();
        let (mut original, mut int8, mut coded, mut dtype) = (None, None, None, Dtype::F32);
        match weight {
            Weight::Dense { values, .. } => {
                dtype = values.dtype();
                original = Some(values.to_f32_vec());
            }
            Weight::Int8(params) => int8 = Some(params.dequantize()),
            Weight::FourBit(params) => {
                let absmax = match &params.quant_state.absmax {
                    Absmax::F32(absmax) => Some(absmax.clone()),
                    Absmax::Nested(_) => None,
                };
                coded = Some(Coded { params, absmax, restored: Vec::new() });
            }
        }
        Lens { shape, dtype, original, int8, coded }
    }

    /// (out_features, in_features) for a linear layer.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Rows and columns, all axes but the last taken together.
    pub fn matrix(&self) -> (usize, usize) {
        let cols = self.shape.last().copied().unwrap_or(1);
        (self.shape.iter().product::<usize>() / cols.max(1), cols)
    }

    /// The settings in force when `asked` is asked for: those of a quantized checkpoint cannot be changed.
    pub fn settings(&self, asked: Settings) -> Settings {
        match (&self.original, &self.coded) {
            (None, Some(Coded { params, .. })) => {
                let state = &params.quant_state;
                let double_quant = matches!(state.absmax, Absmax::Nested(_));
                Settings { quant_type: state.quant_type, blocksize: state.blocksize, double_quant }
            }
            _ => asked,
        }
    }

    #[inline(never)]
    fn original(&self) -> Result<&[f32]> {
        self.original.as_deref().ok_or_else(|| {
            Error::new(ErrorCode::InvalidArgument, "the checkpoint holds no values before quantization")
        })
    }

    #[inline(never)]
    fn quantize(&self, Settings { quant_type, blocksize, double_quant }: Settings) -> Result<Coded> {
        check_blocksize(blocksize)?;
        let original = self.original()?;
        let mut packed = vec![0; original.len().div_ceil(2)];
        let mut absmax = vec![0.0; original.len().div_ceil(blocksize)];
        kernels::quantize_4bit(original, quant_type, blocksize, &mut packed, &mut absmax);
        let params = Params4bit::from_codes(
            packed,
            absmax.clone(),
            &self.shape,
            self.dtype.clone(),
            quant_type,
            blocksize,
            double_quant,
        )?;
        Ok(Coded { params, absmax: Some(absmax), restored: Vec::new() })
    }

    /// Makes `coded` the tensor under `settings`.
    #[inline(never)]
    fn code(&mut self, settings: Settings) -> Result<&mut Coded> {
        if self.original.is_some() {
            let held = self.coded.as_ref().map(|coded| &coded.params.quant_state);
            let same = held.is_some_and(|state| {
                (state.quant_type, state.blocksize) == (settings.quant_type, settings.blocksize)
            });
            if !same {
                self.coded = Some(self.quantize(settings)?);
            }
        }
        let missing = || {
            Error::new(ErrorCode::InvalidArgument, "the checkpoint holds neither 4-bit codes nor an original")
        };
        let coded = self.coded.as_mut().ok_or_else(missing)?;
        if self.original.is_some() {
            coded.set_double_quant(settings.double_quant);
        }
        Ok(coded)
    }

    /// Block `index`; `outlier` makes the weight at a position so many times the block's absmax, keeping its
    /// sign and rounded to the tensor's dtype.
    ///
    /// # Errors
    /// [`ErrorCode::InvalidArgument`] when there is no such block or position, or nothing to plant in.
    #[inline(never)]
    pub fn block(
        &mut self,
        index: usize,
        settings: Settings,
        outlier: Option<(usize, f32)>,
    ) -> Result<Block> {
        let blocksize = self.settings(settings).blocksize;
        self.code(settings)?;
        let (Some(coded), dtype) = (&self.coded, &self.dtype) else { unreachable!("just made") };
        let out_of_range = |what: &str, found: usize, len: usize| {
            Error::new(ErrorCode::InvalidArgument, what).expected(format!("0 to {}", len - 1)).found(found)
        };
        let blocks = coded.params.quant_state.absmax.len();
        if index >= blocks {
            return Err(out_of_range("no such block", index, blocks));
        }
        let first = index * blocksize;
        let range = first..coded.params.len().min(first + blocksize);
        let mut values = self.original.as_ref().map(|original| original[range].to_vec());
        if let Some((position, factor)) = outlier {
            self.original()?;
            let values = values.as_deref_mut().unwrap_or_default();
            let Some(&value) = values.get(position) else {
                return Err(out_of_range("no such position in the block", position, values.len()));
            };
            let absmax = crate::quant::four_bit::block_absmax(values);
            let planted = (absmax * factor).copysign(if factor < 0.0 { -value } else { value });
            values[position] = planted;
            round_to(&mut values[position..=position], dtype);
        }
        Ok(steps::block(&coded.params, index, values.as_deref(), coded.absmax.as_deref()))
    }

    /// Blocksize, number of blocks and errors, for each of [`BLOCKSIZES`].
    ///
    /// # Errors
    /// Without an original.
    pub fn sweep(
        &self,
        quant_type: QuantType,
        double_quant: bool,
    ) -> Result<Vec<(usize, usize, ErrorStats)>> {
        let original = self.original()?;
        let mut restored = vec![0.0; original.len()];
        let point = |blocksize| {
            let Coded { params, .. } = self.quantize(Settings { quant_type, blocksize, double_quant })?;
            kernels::dequantize_4bit(&params, &mut restored);
            let stats = ErrorStats::new(original, &restored, bits_per_weight(&params));
            Ok((blocksize, params.quant_state.absmax.len(), stats))
        };
        BLOCKSIZES.into_iter().map(point).collect()
    }

    /// Double quantization of the tensor's scales.
    ///
    /// # Errors
    /// As [`Lens::block`].
    pub fn double_quant(&mut self, settings: Settings, bins: usize) -> Result<DoubleQuant> {
        let single = self.errors(Settings { double_quant: false, ..settings })?;
        let double = self.errors(Settings { double_quant: true, ..settings })?;
        let coded = self.code(Settings { double_quant: true, ..settings })?;
        let nested = match (&coded.params.quant_state.absmax, &coded.absmax) {
            (Absmax::Nested(nested), _) => nested.clone(),
            (Absmax::F32(absmax), _) => NestedAbsmax::quantize(absmax),
        };
        let restored: Vec<f32> = (0..nested.codes.len()).map(|i| nested.get(i)).collect();
        let shown = coded.absmax.as_deref().unwrap_or(&restored);
        let largest = crate::quant::four_bit::block_absmax(shown);
        let histogram = Histogram::new(shown, 0.0, if largest > 0.0 { largest } else { 1.0 }, bins);
        let blocks = nested.codes.len();
        let doubled = blocks + nested.absmax.len() * 4 + 4;
        let bits = doubled as f64 * 8.0 / blocks as f64;
        let packed = coded.params.packed.len();
        Ok(DoubleQuant {
            absmax: coded.absmax.clone(),
            scale_errors: coded.absmax.as_ref().map(|absmax| ErrorStats::new(absmax, &restored, bits)),
            restored,
            histogram,
            bytes: [packed + blocks * 4, packed + doubled],
            nested,
            weight_errors: single.zip(double).map(|(single, double)| [single, double]),
        })
    }

    /// Errors under `settings`; nothing without an original.
    ///
    /// # Errors
    /// As [`Lens::block`].
    #[inline(never)]
    pub fn errors(&mut self, settings: Settings) -> Result<Option<ErrorStats>> {
        self.code(settings)?.restore();
        let (Some(original), Some(coded)) = (&self.original, &self.coded) else { return Ok(None) };
        Ok(Some(ErrorStats::new(original, &coded.restored, bits_per_weight(&coded.params))))
    }

    /// One format on this tensor: "nf4", "nf4-dq", "fp4" or one of [`contest::INTEGER_FORMATS`].
    ///
    /// # Errors
    /// Without an original; [`contest::integer`].
    pub fn contestant(&mut self, name: &str, blocksize: usize, bins: usize) -> Result<Contestant> {
        check_blocksize(blocksize)?;
        let (rows, _) = self.matrix();
        let original = self.original()?;
        let quant_type = match name {
            "nf4" | "nf4-dq" => QuantType::Nf4,
            "fp4" => QuantType::Fp4,
            _ => return contest::integer(name, original, rows, blocksize, bins),
        };
        let settings = Settings { quant_type, blocksize, double_quant: name == "nf4-dq" };
        self.code(settings)?.restore();
        let (Some(original), Some(coded)) = (&self.original, &self.coded) else { unreachable!("just made") };
        Ok(contest::four_bit(original, &coded.params, &coded.restored, bins))
    }

    /// See [`heatmap`].
    ///
    /// # Errors
    /// [`ErrorCode::InvalidArgument`] for a rectangle beyond the tensor; what is not there.
    pub fn heatmap(
        &mut self,
        what: Quantity,
        settings: Settings,
        rect: Rect,
        (width, height): (usize, usize),
        bin: Bin,
    ) -> Result<Vec<f32>> {
        let (rows, cols) = self.matrix();
        let inside = |start: usize, len: usize, all: usize| len > 0 && start < all && len <= all - start;
        let cells = (1..=rect.width).contains(&width) && (1..=rect.height).contains(&height);
        if !(inside(rect.x, rect.width, cols) && inside(rect.y, rect.height, rows) && cells) {
            return Err(Error::new(ErrorCode::InvalidArgument, "the rectangle is not a part of the tensor")
                .expected(format!("a part of {rows} x {cols}, no more cells than elements"))
                .found(format!("{rect:?} as {width} x {height} cells")));
        }
        if what == Quantity::Error {
            self.original()?;
        }
        let coded = match (what, &self.original, &self.int8) {
            (Quantity::Weight, Some(values), _) | (Quantity::Weight, None, Some(values)) => {
                let mut row = |i: usize, out: &mut [f32]| out.copy_from_slice(&values[i..][..out.len()]);
                return Ok(heatmap(cols, rect, width, height, bin, &mut row));
            }
            _ => self.code(settings)?,
        };
        if matches!(what, Quantity::Weight | Quantity::Error) {
            coded.restore();
        }
        let (Some(Coded { params, restored, .. }), original) = (&self.coded, &self.original) else {
            unreachable!("just made")
        };
        let state = &params.quant_state;
        let mut position = [0.0; 16];
        let ascending = state.quant_type.interval_codes();
        ascending.iter().enumerate().for_each(|(i, &code)| position[usize::from(code)] = i as f32);
        let mut row = |i: usize, out: &mut [f32]| match (what, original) {
            (Quantity::Error, Some(original)) => {
                let pairs = restored[i..].iter().zip(&original[i..]);
                out.iter_mut().zip(pairs).for_each(|(out, (x, y))| *out = (x - y).abs());
            }
            (Quantity::Code, _) => {
                (i..).zip(out).for_each(|(i, out)| *out = position[usize::from(params.code_at(i))]);
            }
            (Quantity::Absmax, _) => {
                (i..).zip(out).for_each(|(i, out)| *out = state.absmax.get(i / state.blocksize));
            }
            (Quantity::Weight | Quantity::Error, _) => out.copy_from_slice(&restored[i..][..out.len()]),
        };
        Ok(heatmap(cols, rect, width, height, bin, &mut row))
    }

    /// The values: original, or what the stored codes stand for.
    ///
    /// # Errors
    /// None in practice: a weight has one or the other.
    pub fn values(&mut self) -> Result<&[f32]> {
        if self.original.is_none() && self.int8.is_none() {
            // The settings of a quantized checkpoint are its own, whatever is asked for.
            let any = Settings { quant_type: QuantType::Nf4, blocksize: 64, double_quant: false };
            return Ok(self.code(any)?.restore());
        }
        Ok(self.original.as_deref().or(self.int8.as_deref()).unwrap_or_default())
    }

    /// Summary of each row of the values, and RMSE of each under `settings` where an original is there.
    ///
    /// # Errors
    /// As [`Lens::block`].
    pub fn rows(&mut self, settings: Option<Settings>) -> Result<(Vec<Summary>, Option<Vec<f64>>)> {
        let (_, cols) = self.matrix();
        let rows = self.values()?.chunks(cols).map(Summary::new).collect();
        let Some(settings) = settings.filter(|_| self.original.is_some()) else { return Ok((rows, None)) };
        self.code(settings)?.restore();
        let (Some(original), Some(coded)) = (&self.original, &self.coded) else { return Ok((rows, None)) };
        let stats = ErrorStats::chunks(original, &coded.restored, cols, 0.0);
        Ok((rows, Some(stats.iter().map(|stats| stats.rmse).collect())))
    }

    /// Summary and histogram of the values over `[-absmax, absmax]`.
    ///
    /// # Errors
    /// None in practice.
    pub fn distribution(&mut self, bins: usize) -> Result<(Summary, Histogram)> {
        let values = self.values()?;
        let summary = Summary::new(values);
        let edge = if summary.absmax > 0.0 && summary.absmax.is_finite() { summary.absmax } else { 1.0 };
        Ok((summary, Histogram::new(values, -edge, edge, bins)))
    }
}

impl Coded {
    #[inline(never)]
    fn set_double_quant(&mut self, double_quant: bool) {
        let held = &mut self.params.quant_state.absmax;
        let (Some(absmax), true) = (&self.absmax, matches!(held, Absmax::Nested(_)) != double_quant) else {
            return;
        };
        *held = if double_quant {
            Absmax::Nested(NestedAbsmax::quantize(absmax))
        } else {
            Absmax::F32(absmax.clone())
        };
        self.restored.clear();
    }

    #[inline(never)]
    fn restore(&mut self) -> &[f32] {
        if self.restored.is_empty() {
            self.restored.resize(self.params.len(), 0.0);
            kernels::dequantize_4bit(&self.params, &mut self.restored);
        }
        &self.restored
    }
}

//! LLM.int8: row-wise 8-bit weights, and the specification of the product with them.

use half::f16;

use crate::checkpoint::decimal::Repr;
use crate::error::{Error, ErrorCode, Result};

/// What an i32 product of two row-wise quantized rows is scaled by, beside both row maxima, as
/// bitsandbytes' CPU path has it. It is 1.8e-5 larger than 1 / 127^2; with the exact value, activations
/// of the next layer round to other codes and logits move by up to 0.3.
pub const MM_DEQUANT: f32 = 6.200124e-05;

/// Row-wise 8-bit weight (bitsandbytes' `Int8Params`): element (r, c) is
/// `cb[r * cols + c] * scb[r] * (1 / 127)`.
#[derive(Debug, Clone, PartialEq)]
pub struct Int8Params {
    /// Codes in -127..=127, row-major (rows, cols).
    pub cb: Vec<i8>,
    /// Largest magnitude of each row.
    pub scb: Vec<f32>,
    /// out_features.
    pub rows: usize,
    /// in_features.
    pub cols: usize,
}

/// Activations quantized for one product.
#[derive(Debug, Clone, PartialEq)]
pub struct Int8Activations {
    /// Codes, row-major (tokens, cols); outlier columns hold 0.
    pub ca: Vec<i8>,
    /// Largest magnitude of each row, outliers left out.
    pub sca: Vec<f32>,
    /// Columns with at least one outlier, ascending.
    pub outlier_cols: Vec<usize>,
}

/// Codes of one row of f16 values; `keep` says which take part in the row maximum (others get 0).
fn quantize_row(row: &[f16], keep: impl Fn(f32) -> bool, codes: &mut [i8]) -> f32 {
    let kept = |x: &f16| {
        let x = x.to_f32();
        if keep(x) { x } else { 0.0 }
    };
    let max = row.iter().map(kept).fold(0.0, |m: f32, x| m.max(x.abs()));
    // torch evaluates `127.0 / max` as a reciprocal and a product.
    let scale = (1.0 / max) * 127.0;
    // In an all-zero row 0 * inf is NaN, which becomes code 0.
    row.iter().zip(codes).for_each(|(x, c)| *c = (kept(x) * scale).round_ties_even() as i8);
    max
}

impl Int8Params {
    /// Quantizes `src` (row-major, rows x cols). The values are rounded to f16 first, whatever dtype
    /// they came from.
    ///
    /// # Errors
    /// [`ErrorCode::NonFiniteWeight`] when a value is NaN, infinite or beyond f16;
    /// [`ErrorCode::ShapeMismatch`].
    pub fn quantize(src: &[f32], rows: usize, cols: usize) -> Result<Self> {
        if rows.checked_mul(cols) != Some(src.len()) || src.is_empty() {
            return Err(Error::new(ErrorCode::ShapeMismatch, "shape and number of values disagree")
                .expected(format!("[{rows}, {cols}]"))
                .found(src.len()));
        }
        let mut cb = vec![0; src.len()];
        let mut scb = Vec::with_capacity(rows);
        let mut half = vec![f16::ZERO; cols];
        for (r, (row, codes)) in src.chunks(cols).zip(cb.chunks_mut(cols)).enumerate() {
            half.iter_mut().zip(row).for_each(|(h, &x)| *h = f16::from_f32(x));
            if let Some(c) = half.iter().position(|h| !h.is_finite()) {
                return Err(Error::new(
                    ErrorCode::NonFiniteWeight,
                    "weight holds NaN, an infinity or a value beyond float16",
                )
                .expected("magnitudes up to 65504")
                .found(format!("{} at row {r}, column {c}", Repr::from(row[c]))));
            }
            scb.push(quantize_row(&half, |_| true, codes));
        }
        Ok(Int8Params { cb, scb, rows, cols })
    }

    /// Checks lengths and that all scales are finite and none is negative.
    ///
    /// # Errors
    /// [`ErrorCode::InvalidQuantState`].
    pub fn validate(&self) -> Result<()> {
        let invalid = |reason: &str| Error::new(ErrorCode::InvalidQuantState, reason);
        if self.rows.checked_mul(self.cols) != Some(self.cb.len()) || self.cb.is_empty() {
            return Err(invalid("wrong number of int8 codes")
                .expected(format!("[{}, {}]", self.rows, self.cols))
                .found(self.cb.len()));
        }
        if self.scb.len() != self.rows {
            return Err(invalid("wrong number of SCB scales").expected(self.rows).found(self.scb.len()));
        }
        match self.scb.iter().position(|s| !s.is_finite() || *s < 0.0) {
            None => Ok(()),
            Some(r) => Err(invalid("SCB holds an impossible scale")
                .expected("finite values, none below zero")
                .found(format!("{} at row {r}", Repr::from(self.scb[r])))),
        }
    }

    /// Element (r, c): `(cb * scb) * (1 / 127)` in f32. Panics when out of range.
    #[inline]
    pub fn get(&self, r: usize, c: usize) -> f32 {
        f32::from(self.cb[r * self.cols + c]) * self.scb[r] * (1.0 / 127.0)
    }

    /// All values, row-major.
    pub fn dequantize(&self) -> Vec<f32> {
        (0..self.rows).flat_map(|r| (0..self.cols).map(move |c| self.get(r, c))).collect()
    }

    /// Bytes held: codes and scales.
    pub fn bytes(&self) -> usize {
        self.cb.len() + self.scb.len() * 4
    }
}

impl Int8Activations {
    /// Quantizes activations `x` (tokens, cols) row by row, after rounding them to f16.
    ///
    /// With a threshold above zero, entries of at least that magnitude are outliers: they are left out
    /// of the row maximum, and their columns become 0 in every row of the call. Panics when the length
    /// of `x` is not a multiple of `cols`.
    pub fn quantize(x: &[f32], cols: usize, threshold: f32) -> Self {
        assert!(cols > 0 && x.len().is_multiple_of(cols), "activations must be whole rows");
        // torch compares in f16, so the threshold is rounded as well.
        let limit = f16::from_f32(threshold).to_f32();
        let is_outlier = |v: f32| threshold > 0.0 && v.abs() >= limit;
        let half: Vec<f16> = x.iter().map(|&v| f16::from_f32(v)).collect();
        let mut outlier = vec![false; cols];
        for row in half.chunks(cols) {
            row.iter().zip(&mut outlier).for_each(|(v, o)| *o |= is_outlier(v.to_f32()));
        }
        let outlier_cols: Vec<usize> = (0..cols).filter(|&c| outlier[c]).collect();
        let mut ca = vec![0; x.len()];
        let mut sca = Vec::with_capacity(x.len() / cols);
        for (row, codes) in half.chunks(cols).zip(ca.chunks_mut(cols)) {
            sca.push(quantize_row(row, |v| !is_outlier(v), codes));
            outlier_cols.iter().for_each(|&c| codes[c] = 0);
        }
        Int8Activations { ca, sca, outlier_cols }
    }
}

/// `y[t * rows + r] = sum_c x[t * cols + c] * W[r, c]` as LLM.int8 computes it: i32 products of the
/// codes, scaled, plus the outlier columns in f32. Overwrites `y`; panics when a length does not fit.
///
/// A token's result depends on the other tokens of the call, because they share the outlier columns.
pub fn linear(x: &[f32], w: &Int8Params, threshold: f32, y: &mut [f32]) {
    let activations = Int8Activations::quantize(x, w.cols, threshold);
    assert_eq!(y.len(), activations.sca.len() * w.rows, "output length");
    let tokens = x.chunks(w.cols).zip(activations.ca.chunks(w.cols)).zip(&activations.sca);
    for (((x, ca), sca), y) in tokens.zip(y.chunks_mut(w.rows)) {
        for (r, y) in y.iter_mut().enumerate() {
            let cb = &w.cb[r * w.cols..][..w.cols];
            let acc: i32 = ca.iter().zip(cb).map(|(&a, &b)| i32::from(a) * i32::from(b)).sum();
            let outliers: f32 = activations.outlier_cols.iter().map(|&c| x[c] * w.get(r, c)).sum();
            *y = mm_dequant(acc, *sca, w.scb[r]) + outliers;
        }
    }
}

/// Value of an i32 accumulator of codes whose row maxima are `sca` and `scb`.
#[inline]
pub fn mm_dequant(acc: i32, sca: f32, scb: f32) -> f32 {
    acc as f32 * (sca * scb) * MM_DEQUANT
}

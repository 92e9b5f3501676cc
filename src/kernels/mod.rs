//! The operations of the model, each through one safe entry point that checks lengths (in release
//! builds too) and picks the instruction set.
//!
//! [`scalar`] is the specification. All results are bit-equal with it on every instruction set, with
//! two exceptions that say so: [`Arithmetic::NearExact`] and [`Arithmetic::Fast`].

// Without vectors only the reference is used.
#![cfg_attr(
    all(target_arch = "wasm32", not(target_feature = "simd128")),
    allow(dead_code, unreachable_code, unused_imports, unused_variables)
)]

#[cfg(target_arch = "aarch64")]
mod aarch64;
mod activations;
mod attention;
mod calibrate;
mod codec;
mod elementwise;
mod isa;
// Rows and lanes index several arrays at once.
#[allow(clippy::needless_range_loop)]
mod matmul;
#[allow(clippy::needless_range_loop)]
mod matvec;
mod rows;
pub mod scalar;
mod simd;
mod units;
#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
mod wasm32;
#[cfg(target_arch = "x86_64")]
mod x86_64;

use std::ops::Range;

use activations::{PairsF32, PairsI8, PairsI16, SplitI8};
use calibrate::design;
use isa::vectors;
use matmul::{Groups, Matrix};
use matvec::{PAIRS, QUADS, SPLIT, Token, WIDE};
use rows::Columns;
use simd::Simd;

pub use attention::{
    BLOCK as CACHE_BLOCK, CachedLayer, Head16, Queries, Stored, key_index, padded, value_index,
};
pub use calibrate::{Design, DesignTiming, calibrate, set_design};
pub use conversion::{dequantize_4bit, quantize_4bit, quantize_floats_4bit};
#[cfg(not(target_arch = "wasm32"))]
pub use isa::with_isa;
pub use isa::{Isa, available, isa};
pub(crate) use rows::TOGETHER;
#[cfg(all(target_arch = "wasm32", target_feature = "atomics"))]
pub(crate) use rows::{fail, work};
pub use rows::{set_threads, threads};

use crate::quant::int8::{Int8Activations, mm_dequant};
use crate::quant::{Absmax, ComputeDtype, Floats, Int8Params, Params4bit};

/// Runs a generic kernel on the vector type of this machine, or the other expression without one. This
/// is the only dispatch. A kernel marked `bytes` multiplies bytes, for which some processors have more.
macro_rules! dispatch {
    (bytes $kernel:path, ($($arg:ident: $type:ty),*), $scalar:expr) => {{
        #[cfg(target_arch = "x86_64")]
        {
            #[target_feature(enable = "avx2,fma,avxvnni")]
            fn avx_vnni(s: x86_64::AvxVnni, $($arg: $type),*) {
                $kernel(s, $($arg),*)
            }
            match x86_64::AvxVnni::new() {
                // SAFETY: `Avx::new` saw these features.
                Some(s) if isa() == Isa::AvxVnni => unsafe { avx_vnni(s, $($arg),*) },
                _ => dispatch!($kernel, ($($arg: $type),*), $scalar),
            }
        }
        #[cfg(not(target_arch = "x86_64"))]
        dispatch!($kernel, ($($arg: $type),*), $scalar);
    }};
    ($kernel:path, ($($arg:ident: $type:ty),*), $scalar:expr) => {{
        #[cfg(target_arch = "x86_64")]
        {
            #[target_feature(enable = "avx2,fma")]
            fn avx2(s: $crate::kernels::x86_64::Avx2, $($arg: $type),*) {
                $kernel(s, $($arg),*)
            }
            match $crate::kernels::x86_64::Avx2::new() {
                // SAFETY: `Avx::new` saw both features.
                Some(s) if $crate::kernels::isa::vectors() => unsafe { avx2(s, $($arg),*) },
                _ => $scalar,
            }
        }
        #[cfg(target_arch = "aarch64")]
        if $crate::kernels::isa::vectors() {
            $kernel($crate::kernels::aarch64::Neon, $($arg),*);
        } else {
            $scalar
        }
        #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
        $kernel($crate::kernels::wasm32::Wasm, $($arg),*);
        #[cfg(not(any(
            all(target_arch = "wasm32", target_feature = "simd128"),
            target_arch = "x86_64",
            target_arch = "aarch64"
        )))]
        $scalar
    }};
}

// Uses the macro.
mod conversion;

/// How a product with a 4-bit weight is computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Arithmetic {
    /// Dequantized weights in f32, summed in the order that [`scalar`] defines: the same bits on every
    /// machine, for one token or many.
    Exact,
    /// 14-bit integer levels and activations. Relative error at most 2e-4: L2 over the outputs, against
    /// f64, activations and weights of a bell-shaped distribution. The errors are random, so a handful
    /// of outputs can exceed it.
    NearExact,
    /// 7-bit levels, 8-bit activations. Relative error at most 1e-2 in the same sense. Without the
    /// instructions that make it fast it is [`Arithmetic::NearExact`].
    Fast,
    /// As bitsandbytes computes with that `bnb_4bit_compute_dtype`: activations and dequantized weights
    /// rounded to it, sums in f32. Bit-defined like [`Arithmetic::Exact`]. The caller rounds the result,
    /// once, after adding a bias.
    Emulated(ComputeDtype),
}

impl Arithmetic {
    /// The arithmetic called `name`: `"exact"`, `"near-exact"` or `"fast"`.
    pub fn from_name(name: &str) -> Option<Arithmetic> {
        match name {
            "exact" => Some(Arithmetic::Exact),
            "near-exact" => Some(Arithmetic::NearExact),
            "fast" => Some(Arithmetic::Fast),
            _ => None,
        }
    }
}

/// Buffers that products reuse from call to call.
#[derive(Debug, Default)]
pub struct Scratch {
    pairs_f32: Vec<PairsF32>,
    pairs_i16: Vec<PairsI16>,
    pairs_i8: Vec<PairsI8>,
    split_i8: Vec<SplitI8>,
    scales: Vec<f32>,
    /// Scales in all lanes, for the designs that want them so.
    scale_lanes: Vec<[f32; 4]>,
    biases: Vec<i32>,
    groups: Groups,
    /// LLM.int8 activations.
    codes: Vec<i16>,
}

impl Scratch {
    /// Bytes held.
    pub fn bytes(&self) -> usize {
        size_of_val(self.pairs_f32.as_slice())
            + size_of_val(self.pairs_i16.as_slice())
            + size_of_val(self.pairs_i8.as_slice())
            + size_of_val(self.split_i8.as_slice())
            + 4 * (self.scales.len() + self.biases.len())
            + size_of_val(self.scale_lanes.as_slice())
            + 2 * self.codes.len()
            + self.groups.bytes()
    }
}

/// The dtype that [`scalar`] computes `arithmetic` in.
fn compute_dtype(arithmetic: Arithmetic) -> ComputeDtype {
    match arithmetic {
        Arithmetic::Emulated(dtype) => dtype,
        _ => ComputeDtype::Float32,
    }
}

/// Tokens from which panels pay; fewer go through the matrix one by one. In integer arithmetic the two ways
/// round differently; panels give a token the same bits whatever is beside it.
pub const PANEL_TOKENS: usize = 4;
/// Rows that a thread takes are a multiple of this: whole panels, and whole cache lines of results.
const ROWS: usize = 16;

/// How a product with a 4-bit matrix is computed, and the activations in the form for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Path {
    /// [`matvec::four_bit_exact`] in units of so many columns, from `pairs_f32`.
    Exact(usize),
    /// [`matmul::exact`], from `pairs_f32`.
    ExactTiles(ComputeDtype),
    /// An integer product in one of the designs of [`matvec`] and units of so many columns, from `pairs_i16`, `split_i8` or
    /// `pairs_i8`.
    Rows { design: u8, unit: usize },
    /// [`matmul::panels`] in one of its designs and units of so many columns, from `groups`.
    Panels { design: u8, unit: usize },
}

/// Chooses the path and prepares the activations for it.
#[inline(always)]
fn prepare<S: Simd>(
    s: S,
    x: &[f32],
    w: &Params4bit,
    arithmetic: Arithmetic,
    scratch: &mut Scratch,
    path: &mut Path,
) {
    let cols = w.cols();
    let tokens = x.len().checked_div(cols).unwrap_or(0);
    let whole = cols > 0 && cols.is_multiple_of(32);
    let unit = if cols.is_multiple_of(64) && w.quant_state.blocksize >= 64 { 64 } else { 32 };
    let bytes = S::HAS_DOT8 && unit == 64;
    let design = if bytes { design(arithmetic) } else { WIDE };
    let integer = whole && matches!(arithmetic, Arithmetic::NearExact | Arithmetic::Fast);
    let Scratch { pairs_f32, pairs_i16, pairs_i8, split_i8, scales, scale_lanes, biases, groups, .. } =
        scratch;
    if integer && tokens >= PANEL_TOKENS {
        // Panels have no use for SPLIT: with as many multiplications of bytes they save additions only.
        let design = if design == SPLIT { WIDE } else { design };
        matmul::group(s, x, cols, unit, design != WIDE, groups);
        *path = Path::Panels { design, unit };
    } else if integer {
        pairs_i16.clear();
        pairs_i8.clear();
        split_i8.clear();
        scales.clear();
        biases.clear();
        let quant_type = w.quant_state.quant_type;
        for x in x.chunks_exact(cols) {
            match design {
                WIDE => {
                    activations::pairs_i16(s, x, unit, matvec::ACTIVATIONS_I16, pairs_i16, scales);
                    biases.resize(scales.len(), 0);
                }
                SPLIT => {
                    let (_, offset) = matvec::level_scale_split(quant_type);
                    activations::split_i8(s, x, offset, split_i8, scales, biases);
                }
                _ => {
                    let (_, offset) = matvec::level_scale_u7(quant_type);
                    activations::pairs_i8(s, x, unit, offset, pairs_i8, scales, biases);
                }
            }
        }
        scale_lanes.clear();
        if matches!(design, SPLIT | QUADS) {
            scale_lanes.extend(scales.iter().map(|&scale| [scale; 4]));
        }
        *path = Path::Rows { design, unit };
    } else {
        let dtype = compute_dtype(arithmetic);
        pairs_f32.clear();
        for x in x.chunks_exact(cols.max(1)) {
            if dtype == ComputeDtype::Float32 {
                activations::pairs_f32(s, x, pairs_f32);
            } else {
                let x: Vec<f32> = x.iter().map(|&x| scalar::round_to(dtype, x)).collect();
                activations::pairs_f32(s, &x, pairs_f32);
            }
        }
        let one = whole && tokens == 1 && dtype == ComputeDtype::Float32;
        *path = if one { Path::Exact(unit) } else { Path::ExactTiles(dtype) };
    }
}

/// The rows `rows` of a product with a 4-bit matrix.
#[inline(always)]
fn four_bit<S: Simd>(
    s: S,
    w: &Params4bit,
    scratch: &Scratch,
    path: Path,
    rows: Range<usize>,
    mut out: Columns<'_>,
) {
    let cols = w.cols();
    let Scratch { pairs_f32, pairs_i16, pairs_i8, split_i8, scales, scale_lanes, biases, groups, .. } =
        scratch;
    let (chunks, tokens) = (cols / 32, out.tokens());
    match path {
        Path::Exact(64) => matvec::four_bit_exact::<S, 2>(s, w, pairs_f32, rows, out.of_token(0)),
        Path::Exact(_) => matvec::four_bit_exact::<S, 1>(s, w, pairs_f32, rows, out.of_token(0)),
        Path::ExactTiles(dtype) => {
            matmul::exact(s, Matrix::FourBit(w, dtype), cols, pairs_f32, rows, &mut out);
        }
        Path::Rows { design, unit } => {
            let units = cols / unit;
            for t in 0..tokens {
                let (rows, y) = (rows.clone(), out.of_token(t));
                macro_rules! token {
                    ($codes:expr, $scales:expr) => {
                        Token {
                            codes: &$codes[t * chunks..][..chunks],
                            scales: &$scales[t * units..][..units],
                            biases: &biases[t * units..][..units],
                        }
                    };
                }
                // The scales of so few rows are not worth a table.
                let nested = matches!(w.quant_state.absmax, Absmax::Nested(_))
                    && w.quant_state.blocksize == unit
                    && rows.len() * units >= 512;
                match (design, unit) {
                    (SPLIT, _) if nested => {
                        matvec::four_bit_split::<S, true>(s, w, token!(split_i8, scale_lanes), rows, y)
                    }
                    (QUADS, _) if nested => {
                        matvec::four_bit_quads::<S, true>(s, w, token!(pairs_i8, scale_lanes), rows, y)
                    }
                    (SPLIT, _) => {
                        matvec::four_bit_split::<S, false>(s, w, token!(split_i8, scale_lanes), rows, y)
                    }
                    (PAIRS, _) => matvec::four_bit_pairs(s, w, token!(pairs_i8, scales), rows, y),
                    (QUADS, _) => {
                        matvec::four_bit_quads::<S, false>(s, w, token!(pairs_i8, scale_lanes), rows, y)
                    }
                    (_, 64) => matvec::four_bit_i16::<S, 2>(s, w, token!(pairs_i16, scales), rows, y),
                    _ => matvec::four_bit_i16::<S, 1>(s, w, token!(pairs_i16, scales), rows, y),
                }
            }
        }
        Path::Panels { design, unit } => match (design, unit) {
            (PAIRS, _) => matmul::panels::<S, PAIRS, 2>(s, w, groups, rows, &mut out),
            (QUADS, _) => matmul::panels::<S, QUADS, 2>(s, w, groups, rows, &mut out),
            (_, 64) => matmul::panels::<S, WIDE, 2>(s, w, groups, rows, &mut out),
            _ => matmul::panels::<S, WIDE, 1>(s, w, groups, rows, &mut out),
        },
    }
}

#[inline(always)]
fn prepare_floats<S: Simd>(s: S, x: &[f32], cols: usize, scratch: &mut Scratch) {
    scratch.pairs_f32.clear();
    for x in x.chunks_exact(cols.max(1)) {
        activations::pairs_f32(s, x, &mut scratch.pairs_f32);
    }
}

#[inline(always)]
fn floats<S: Simd>(
    s: S,
    w: &Floats,
    cols: usize,
    scratch: &Scratch,
    rows: Range<usize>,
    mut out: Columns<'_>,
) {
    use half::slice::HalfFloatSliceExt;
    let (pairs, tokens) = (&scratch.pairs_f32, out.tokens());
    if tokens >= PANEL_TOKENS {
        return matmul::exact(s, Matrix::Floats(w), cols, pairs, rows, &mut out);
    }
    let chunks = cols.div_ceil(32);
    for t in 0..tokens {
        let (x, y, rows) = (&pairs[t * chunks..][..chunks], out.of_token(t), rows.clone());
        match w {
            Floats::F32(w) => matvec::floats::<S, matvec::StoredF32>(s, w, cols, x, rows, y),
            Floats::Bf16(w) => {
                matvec::floats::<S, matvec::StoredBf16>(s, w.reinterpret_cast(), cols, x, rows, y);
            }
            Floats::F16(w) => {
                matvec::floats::<S, matvec::StoredF16>(s, w.reinterpret_cast(), cols, x, rows, y);
            }
        }
    }
}

#[inline(always)]
fn int8<S: Simd>(
    s: S,
    x: &[f32],
    ca: &[i16],
    activations: &Int8Activations,
    w: &Int8Params,
    rows: Range<usize>,
    mut out: Columns<'_>,
) {
    let (cols, tokens) = (w.cols, out.tokens());
    let finish = |t: usize, r: usize, acc: i32| {
        let outliers: f32 = activations.outlier_cols.iter().map(|&c| x[t * cols + c] * w.get(r, c)).sum();
        mm_dequant(acc, activations.sca[t], w.scb[r]) + outliers
    };
    for (i, r) in rows.enumerate() {
        let cb = &w.cb[r * cols..][..cols];
        let token = |t: usize| &ca[t * cols..][..cols];
        let mut t = 0;
        while t + 4 <= tokens {
            let x = [token(t), token(t + 1), token(t + 2), token(t + 3)];
            for acc in matvec::dot_int8(s, cb, x) {
                out.of_token(t)[i] = finish(t, r, acc);
                t += 1;
            }
        }
        for t in t..tokens {
            let [acc] = matvec::dot_int8(s, cb, [token(t)]);
            out.of_token(t)[i] = finish(t, r, acc);
        }
    }
}

/// Number of tokens in `x` of (tokens, cols), with `y` of (tokens, rows).
fn tokens(x: &[f32], y: &[f32], rows: usize, cols: usize) -> usize {
    assert!(rows > 0, "a matrix needs rows");
    assert!(y.len().is_multiple_of(rows), "output must be whole rows of {rows}, has {}", y.len());
    let tokens = y.len() / rows;
    assert_eq!(tokens.checked_mul(cols), Some(x.len()), "input length for {tokens} tokens of {cols}");
    tokens
}

/// `y[t * rows + r] = sum_k x[t * cols + k] * W[r * cols + k]`: `x` is (tokens, cols), `y` (tokens,
/// rows) and overwritten. Blocks may straddle rows.
///
/// # Panics
/// When a length does not fit the shape of `w`.
pub fn linear_4bit(x: &[f32], w: &Params4bit, y: &mut [f32], arithmetic: Arithmetic, scratch: &mut Scratch) {
    linear_4bit_each(x, &[w], &mut [y], arithmetic, scratch);
}

/// [`linear_4bit`] with up to [`TOGETHER`] matrices of the same quantization, which share the input and one job of the threads.
pub(crate) fn linear_4bit_each(
    x: &[f32],
    ws: &[&Params4bit],
    ys: &mut [&mut [f32]],
    arithmetic: Arithmetic,
    scratch: &mut Scratch,
) {
    assert_eq!(ws.len(), ys.len(), "a result for each matrix");
    let (w, cols) = (ws[0], ws[0].cols());
    let mut count = 0;
    for (each, y) in ws.iter().zip(&*ys) {
        assert!(same_activations(w, each), "matrices of one kind");
        check_4bit(each);
        count = tokens(x, y, each.rows(), cols);
    }
    if count == 0 {
        return;
    }
    if !vectors() {
        let each = ws.iter().zip(ys);
        return each.for_each(|(w, y)| scalar::linear_4bit(x, w, y, compute_dtype(arithmetic)));
    }
    let mut path = Path::Exact(0);
    let chosen = &mut path;
    dispatch!(
        prepare,
        (x: &[f32], w: &Params4bit, arithmetic: Arithmetic, scratch: &mut Scratch, chosen: &mut Path),
        unreachable!("checked above")
    );
    let scratch = &*scratch;
    rows::split(ys, cols, ROWS, count, &|i, rows, out| {
        let w = ws[i];
        dispatch!(
            bytes four_bit,
            (w: &Params4bit, scratch: &Scratch, path: Path, rows: Range<usize>, out: Columns<'_>),
            unreachable!("checked above")
        );
    });
}

/// Whether both matrices read activations in the same form.
pub(crate) fn same_activations(a: &Params4bit, b: &Params4bit) -> bool {
    let form = |w: &Params4bit| (w.cols(), w.quant_state.blocksize, w.quant_state.quant_type);
    form(a) == form(b)
}

fn check_4bit(w: &Params4bit) {
    let n = w.rows().checked_mul(w.cols()).expect("number of elements overflows");
    assert_eq!(w.packed.len(), n.div_ceil(2), "packed length");
    let blocksize = w.quant_state.blocksize;
    assert!(blocksize >= 32 && blocksize.is_power_of_two(), "blocksize {blocksize}");
    assert_eq!(w.quant_state.absmax.len(), n.div_ceil(blocksize), "absmax length");
}

/// LLM.int8 product over all tokens of the call: `x` is (tokens, cols), `y` (tokens, rows) and
/// overwritten. Columns with an activation of at least `threshold` in any token are multiplied in
/// f32 (none with threshold 0), so a result depends on the tokens it is computed with.
///
/// # Panics
/// When a length does not fit, or with more than 133,152 columns (i32 sums could overflow).
pub fn linear_int8(x: &[f32], w: &Int8Params, threshold: f32, y: &mut [f32], scratch: &mut Scratch) {
    linear_int8_each(x, &[w], threshold, &mut [y], scratch);
}

/// [`linear_int8`] with up to [`TOGETHER`] matrices, which share the input and one job of the threads.
pub(crate) fn linear_int8_each(
    x: &[f32],
    ws: &[&Int8Params],
    threshold: f32,
    ys: &mut [&mut [f32]],
    scratch: &mut Scratch,
) {
    assert_eq!(ws.len(), ys.len(), "a result for each matrix");
    let (cols, mut count) = (ws[0].cols, 0);
    for (w, y) in ws.iter().zip(&*ys) {
        assert_eq!(w.cols, cols, "columns");
        assert_eq!(w.rows.checked_mul(w.cols), Some(w.cb.len()), "codes");
        assert_eq!(w.scb.len(), w.rows, "row scales");
        count = tokens(x, y, w.rows, cols);
    }
    assert!(cols <= (i32::MAX / (127 * 127)) as usize, "too many columns");
    if count == 0 || cols == 0 {
        return ys.iter_mut().for_each(|y| y.fill(0.0));
    }
    let activations = &Int8Activations::quantize(x, cols, threshold);
    if !vectors() {
        return ws.iter().zip(ys).for_each(|(w, y)| scalar::linear_int8(x, activations, w, y));
    }
    scratch.codes.clear();
    scratch.codes.extend(activations.ca.iter().map(|&c| i16::from(c)));
    let ca = scratch.codes.as_slice();
    rows::split(ys, cols, ROWS, count, &|i, rows, out| {
        let w = ws[i];
        dispatch!(
            int8,
            (
                x: &[f32],
                ca: &[i16],
                activations: &Int8Activations,
                w: &Int8Params,
                rows: Range<usize>,
                out: Columns<'_>
            ),
            unreachable!("checked above")
        );
    });
}

/// Product with a matrix of stored floats (rows, cols): `x` is (tokens, cols), `y` (tokens, rows) and
/// overwritten. Sums in f32, in pair order.
///
/// # Panics
/// When a length does not fit.
pub fn linear_floats(x: &[f32], w: &Floats, rows: usize, cols: usize, y: &mut [f32], scratch: &mut Scratch) {
    linear_floats_each(x, &[(w, rows)], cols, &mut [y], scratch);
}

/// [`linear_floats`] with up to [`TOGETHER`] matrices and their rows, which share the input and one job of the threads.
pub(crate) fn linear_floats_each(
    x: &[f32],
    ws: &[(&Floats, usize)],
    cols: usize,
    ys: &mut [&mut [f32]],
    scratch: &mut Scratch,
) {
    assert_eq!(ws.len(), ys.len(), "a result for each matrix");
    let mut count = 0;
    for (&(w, rows), y) in ws.iter().zip(&*ys) {
        assert_eq!(rows.checked_mul(cols), Some(w.len()), "weight length");
        count = tokens(x, y, rows, cols);
    }
    if count == 0 {
        return;
    }
    if !vectors() {
        let each = ws.iter().zip(ys);
        return each.for_each(|(&(w, rows), y)| scalar::linear_floats(x, w, rows, cols, y));
    }
    dispatch!(
        prepare_floats,
        (x: &[f32], cols: usize, scratch: &mut Scratch),
        unreachable!("checked above")
    );
    let scratch = &*scratch;
    rows::split(ys, cols, ROWS, count, &|i, rows, out| {
        let (w, _) = ws[i];
        dispatch!(
            floats,
            (w: &Floats, cols: usize, scratch: &Scratch, rows: Range<usize>, out: Columns<'_>),
            unreachable!("checked above")
        );
    });
}

/// RMSNorm of one row or several: rows of `weight.len()`, `y = x / sqrt(mean(x^2) + eps) * weight`.
///
/// # Panics
/// When `x` and `y` differ in length or do not hold whole rows.
pub fn rms_norm(x: &[f32], weight: &Floats, eps: f32, y: &mut [f32]) {
    assert_eq!(x.len(), y.len(), "output length");
    assert!(!weight.is_empty() && x.len().is_multiple_of(weight.len()), "rows of {}", weight.len());
    for (x, y) in x.chunks_exact(weight.len()).zip(y.chunks_exact_mut(weight.len())) {
        weight.decode_into(0..y.len(), y);
        dispatch!(
            elementwise::rms_norm,
            (x: &[f32], eps: f32, y: &mut [f32]),
            scalar::rms_norm(x, &weight.to_f32_vec(), eps, y)
        );
    }
}

/// Rotary embedding of `x` (heads, head_dim), half-split: element `i` of a head pairs with
/// `i + head_dim / 2`. `cos` and `sin` hold the `head_dim / 2` angles of the position.
///
/// # Panics
/// When the lengths do not fit.
pub fn rope(x: &mut [f32], cos: &[f32], sin: &[f32]) {
    assert_eq!(cos.len(), sin.len(), "cos and sin");
    assert!(!cos.is_empty() && x.len().is_multiple_of(2 * cos.len()), "heads of {}", 2 * cos.len());
    dispatch!(
        elementwise::rope,
        (x: &mut [f32], cos: &[f32], sin: &[f32]),
        scalar::rope(x, cos, sin)
    );
}

/// Attention of new positions to all before them and themselves: `q` and `out` are (tokens, heads, head_dim), `first` is
/// the position of the first token, whose keys and values `layer` holds already; heads that follow each other share a
/// kv head. `out` is overwritten with `softmax(q k^T / sqrt(head_dim)) v`.
///
/// # Panics
/// When the lengths do not fit, or the positions are more than the capacity.
pub fn attention(
    q: &[f32],
    layer: &CachedLayer<'_>,
    first: usize,
    out: &mut [f32],
    queries: &mut Queries,
    heads: usize,
) {
    let CachedLayer { kv_heads, head_dim, capacity, stored } = *layer;
    layer.check();
    assert_eq!(q.len(), out.len(), "output length");
    assert!(kv_heads > 0 && heads.is_multiple_of(kv_heads) && heads > 0, "{heads} heads on {kv_heads}");
    let (width, group) = (heads * head_dim, heads / kv_heads * head_dim);
    assert!(width > 0 && q.len().is_multiple_of(width), "rows of {width}");
    let tokens = q.len() / width;
    assert!(first.checked_add(tokens).is_some_and(|end| end <= capacity), "positions");
    if tokens == 0 {
        return;
    }
    if let Stored::Int16 { .. } = stored
        && vectors()
    {
        queries.clear(q.len() / head_dim, head_dim);
        let queries = &mut *queries;
        dispatch!(
            attention::queries,
            (q: &[f32], head_dim: usize, queries: &mut Queries),
            unreachable!("checked above")
        );
    }
    let queries = &*queries;
    // Each position costs a product with its key and one with its value.
    rows::split(&mut [out], 2 * (first + tokens), group, tokens, &|_, range, mut out| match stored {
        Stored::Int16 { .. } if vectors() => dispatch!(
            attention::int16,
            (queries: &Queries, layer: &CachedLayer<'_>, first: usize, range: Range<usize>, out: Columns<'_>),
            unreachable!("checked above")
        ),
        Stored::Int16 { .. } => {
            for (t, head) in
                (0..tokens).flat_map(|t| range.clone().step_by(head_dim).map(move |head| (t, head)))
            {
                let cached = layer.head16(head / group).expect("16 bits");
                let out = &mut out.of_token(t)[head - range.start..][..head_dim];
                scalar::attention_int16(&q[t * width + head..][..head_dim], &cached, first + t + 1, out);
            }
        }
        Stored::Float32 { keys, values } => {
            let mut scores = Vec::new();
            for start in range.clone().step_by(group) {
                for t in 0..tokens {
                    let positions = start / group * capacity * head_dim..;
                    let seen = (first + t + 1) * head_dim;
                    let (k, v) = (&keys[positions.clone()][..seen], &values[positions][..seen]);
                    let q = &q[t * width + start..][..group];
                    let out = &mut out.of_token(t)[start - range.start..][..group];
                    scores.resize(group / head_dim * (first + t + 1), 0.0);
                    let scores = scores.as_mut_slice();
                    dispatch!(
                        attention::float32,
                        (q: &[f32], k: &[f32], v: &[f32], head_dim: usize, out: &mut [f32], scores: &mut [f32]),
                        scalar::attention(q, k, v, head_dim, out, scores)
                    );
                }
            }
        }
    });
}

/// Puts a key and a value, `head_dim` each, at `position` of a head of a 16-bit cache, see [`Stored::Int16`]. Returns their
/// scales.
///
/// # Panics
/// When the lengths differ or there is no such position.
pub fn store_int16(pair: [&[f32]; 2], cached: [&mut [[i16; 8]]; 2], position: usize) -> [f32; 2] {
    assert_eq!(pair[0].len(), pair[1].len(), "key and value");
    let mut stored = [0.0; 2];
    let scales = &mut stored;
    dispatch!(
        attention::store_int16,
        (pair: [&[f32]; 2], cached: [&mut [[i16; 8]]; 2], position: usize, scales: &mut [f32; 2]),
        scalar::store_int16(pair, cached, position, scales)
    );
    stored
}

/// `gate = silu(gate) * up`. Panics when the lengths differ.
pub fn silu_mul(gate: &mut [f32], up: &[f32]) {
    assert_eq!(gate.len(), up.len(), "operand lengths");
    dispatch!(
        elementwise::silu_mul,
        (gate: &mut [f32], up: &[f32]),
        scalar::silu_mul(gate, up)
    );
}

/// `y += x`. Panics when the lengths differ.
pub fn add_assign(y: &mut [f32], x: &[f32]) {
    assert_eq!(y.len(), x.len(), "operand lengths");
    dispatch!(
        elementwise::add_assign,
        (y: &mut [f32], x: &[f32]),
        scalar::add_assign(y, x)
    );
}

/// `y += a * x`. Panics when the lengths differ.
pub fn axpy(a: f32, x: &[f32], y: &mut [f32]) {
    assert_eq!(y.len(), x.len(), "operand lengths");
    dispatch!(
        elementwise::axpy,
        (a: f32, x: &[f32], y: &mut [f32]),
        scalar::axpy(a, x, y)
    );
}

/// Softmax in place.
pub fn softmax(x: &mut [f32]) {
    dispatch!(
        elementwise::softmax,
        (x: &mut [f32]),
        scalar::softmax(x)
    );
}

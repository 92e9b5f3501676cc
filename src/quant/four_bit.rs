//! 4-bit blockwise quantization (NF4, FP4) with optional double quantization: the specification that
//! faster kernels are checked against, and the form in which quantized weights stay in memory.
//!
//! Blocks of `blocksize` elements run over the flattened row-major tensor and ignore rows; the last
//! one may be short. Byte `i` holds element `2i` in its high nibble and `2i + 1` in its low nibble; an
//! odd number of elements leaves one low nibble, which holds the code of 0.0.
//!
//! Of a full block every element is scaled by the f32 reciprocal `1 / max(absmax, 1e-38)`; a short
//! last block is divided by `max(absmax, 1e-38)` and stores that divisor as its absmax (unless all its
//! elements are zero). Both are what bitsandbytes does on a CPU, and they differ in the last bit.

use crate::checkpoint::Dtype;
use crate::checkpoint::decimal::Repr;
use crate::error::{Error, ErrorCode, Result};
use crate::quant::blockwise8;
use crate::quant::codebook::{DYNAMIC_MAP, QuantType};

/// Smallest divisor of a block (below the normal f32 range).
pub const MIN_DIVISOR: f32 = 1e-38;

/// Blocksize of the second level of double quantization.
pub const NESTED_BLOCKSIZE: usize = 256;

/// Packed 4-bit codes and what is needed to read them (bitsandbytes' `Params4bit`).
#[derive(Debug, Clone, PartialEq)]
pub struct Params4bit {
    /// `ceil(n / 2)` bytes, element `2i` in the high nibble of byte `i`.
    pub packed: Vec<u8>,
    /// Scales, map, dtype and shape.
    pub quant_state: QuantState,
}

/// What accompanies the codes (bitsandbytes' `QuantState`).
#[derive(Debug, Clone, PartialEq)]
pub struct QuantState {
    /// NF4 or FP4.
    pub quant_type: QuantType,
    /// Elements per scale: a power of two from 32 to 4096.
    pub blocksize: usize,
    /// The dtype that was quantized: F32, BF16 or F16.
    pub dtype: Dtype,
    /// Shape of the unpacked tensor, (out_features, in_features) for a linear layer.
    pub shape: Vec<usize>,
    /// The levels in code order as stored (`quant_map`); always equal to `quant_type.codebook()`.
    pub code: [f32; 16],
    /// One scale per block.
    pub absmax: Absmax,
}

/// The scale of every block.
#[derive(Debug, Clone, PartialEq)]
pub enum Absmax {
    /// As computed.
    F32(Vec<f32>),
    /// Quantized to 8 bits (double quantization).
    Nested(NestedAbsmax),
}

/// Scales quantized to 8 bits: scale `i` is `code[codes[i]] * absmax[i / blocksize] + offset`.
#[derive(Debug, Clone, PartialEq)]
pub struct NestedAbsmax {
    /// One 8-bit code per 4-bit block.
    pub codes: Vec<u8>,
    /// One scale per `blocksize` codes.
    pub absmax: Vec<f32>,
    /// The 8-bit levels (`nested_quant_map`).
    pub code: Box<[f32; 256]>,
    /// Mean of all scales, subtracted before quantizing.
    pub offset: f32,
    /// 256 in every checkpoint transformers writes.
    pub blocksize: usize,
}

/// Bytes held by one 4-bit tensor.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FourBitBytes {
    /// Packed codes.
    pub packed: usize,
    /// Scales: 4 bytes a block, or 1 with double quantization.
    pub absmax: usize,
    /// Second-level scales.
    pub nested_absmax: usize,
    /// The 16 levels.
    pub quant_map: usize,
    /// The 256 levels of double quantization.
    pub nested_quant_map: usize,
    /// The offset of double quantization.
    pub offset: usize,
}

impl FourBitBytes {
    /// The sum.
    pub fn total(&self) -> usize {
        self.packed + self.absmax + self.nested_absmax + self.quant_map + self.nested_quant_map + self.offset
    }
}

/// Refuses a 4-bit blocksize other than a power of two from 32 to 4096.
pub fn check_blocksize(blocksize: usize) -> Result<()> {
    if blocksize.is_power_of_two() && (32..=4096).contains(&blocksize) {
        Ok(())
    } else {
        Err(Error::new(ErrorCode::UnsupportedQuantization, "unsupported blocksize")
            .expected("a power of two from 32 to 4096")
            .found(blocksize))
    }
}

/// Number of elements of `shape`; zero and overflow are errors.
pub(crate) fn checked_elements(shape: &[usize]) -> Result<usize> {
    let n = shape.iter().try_fold(1usize, |n, &d| n.checked_mul(d)).ok_or_else(|| {
        Error::new(ErrorCode::ShapeOverflow, "number of elements overflows").found(format!("{shape:?}"))
    })?;
    if n == 0 {
        return Err(Error::new(ErrorCode::InvalidArgument, "a tensor without elements cannot be quantized")
            .found(format!("{shape:?}")));
    }
    Ok(n)
}

/// Largest magnitude of a block. NaN and infinities win over every number, so a result that is finite
/// vouches for the whole block.
pub fn block_absmax(block: &[f32]) -> f32 {
    f32::from_bits(block.iter().fold(0, |m, x| m.max(x.to_bits() & 0x7fff_ffff)))
}

/// Quantizes `src` into `packed` (`ceil(n / 2)` bytes) and `absmax` (`ceil(n / blocksize)`).
///
/// Values must be finite: a block holding NaN or infinity gets a non-finite absmax, which
/// [`Params4bit::from_codes`] refuses. Panics when a length or an odd blocksize does not fit.
pub fn quantize_blocks(
    src: &[f32],
    quant_type: QuantType,
    blocksize: usize,
    packed: &mut [u8],
    absmax: &mut [f32],
) {
    assert!(blocksize >= 2 && blocksize.is_multiple_of(2), "blocksize must be even");
    assert_eq!(packed.len(), src.len().div_ceil(2), "packed length");
    assert_eq!(absmax.len(), src.len().div_ceil(blocksize), "absmax length");
    let blocks = src.chunks(blocksize).zip(packed.chunks_mut(blocksize / 2)).zip(absmax);
    for ((block, packed), absmax) in blocks {
        *absmax = block_absmax(block);
        let divisor = absmax.max(MIN_DIVISOR);
        if block.len() == blocksize {
            let reciprocal = 1.0 / divisor;
            pack(block, packed, |x| quant_type.encode(x * reciprocal), quant_type.zero_code());
        } else {
            // The codes are relative to the divisor, so a subnormal scale must become it; an all-zero
            // block keeps 0, as on CUDA.
            if *absmax > 0.0 {
                *absmax = divisor;
            }
            pack(block, packed, |x| quant_type.encode(x / divisor), quant_type.zero_code());
        }
    }
}

fn pack(block: &[f32], packed: &mut [u8], encode: impl Fn(f32) -> u8, spare: u8) {
    for (pair, byte) in block.chunks(2).zip(packed) {
        *byte = encode(pair[0]) << 4 | pair.get(1).map_or(spare, |&x| encode(x));
    }
}

impl Params4bit {
    /// Quantizes `src` (row-major, of `shape`), whose values came from a tensor of `dtype`.
    ///
    /// # Errors
    /// [`ErrorCode::NonFiniteWeight`] when a value is NaN or infinite (bitsandbytes would store
    /// garbage), [`ErrorCode::UnsupportedQuantization`] for the blocksize,
    /// [`ErrorCode::UnsupportedDtype`], [`ErrorCode::ShapeMismatch`].
    pub fn quantize(
        src: &[f32],
        shape: &[usize],
        dtype: Dtype,
        quant_type: QuantType,
        blocksize: usize,
        double_quant: bool,
    ) -> Result<Self> {
        check_blocksize(blocksize)?;
        if checked_elements(shape)? != src.len() {
            return Err(Error::new(ErrorCode::ShapeMismatch, "shape and number of values disagree")
                .expected(format!("{shape:?}"))
                .found(src.len()));
        }
        let mut packed = vec![0; src.len().div_ceil(2)];
        let mut absmax = vec![0.0; src.len().div_ceil(blocksize)];
        quantize_blocks(src, quant_type, blocksize, &mut packed, &mut absmax);
        Self::from_codes(packed, absmax, shape, dtype, quant_type, blocksize, double_quant)
    }

    /// Assembles codes and scales computed elsewhere (a kernel with the results of
    /// [`quantize_blocks`]) and applies double quantization to the scales if asked to.
    ///
    /// # Errors
    /// As [`Params4bit::quantize`].
    pub fn from_codes(
        packed: Vec<u8>,
        absmax: Vec<f32>,
        shape: &[usize],
        dtype: Dtype,
        quant_type: QuantType,
        blocksize: usize,
        double_quant: bool,
    ) -> Result<Self> {
        if let Some(block) = absmax.iter().position(|a| !a.is_finite()) {
            return Err(Error::new(ErrorCode::NonFiniteWeight, "weight holds NaN or an infinity")
                .expected("finite values")
                .found(format!(
                    "a block with absmax {} at element {}",
                    Repr::from(absmax[block]),
                    block * blocksize
                )));
        }
        let absmax =
            if double_quant { Absmax::Nested(NestedAbsmax::quantize(&absmax)) } else { Absmax::F32(absmax) };
        let code = *quant_type.codebook();
        let quant_state = QuantState { quant_type, blocksize, dtype, shape: shape.to_vec(), code, absmax };
        let params = Params4bit { packed, quant_state };
        params.validate()?;
        Ok(params)
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        self.quant_state.shape.iter().product()
    }

    /// Whether there are no elements (never, for a validated value).
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// First dimension of the shape (out_features of a linear layer); 1 for a vector.
    pub fn rows(&self) -> usize {
        match self.quant_state.shape.as_slice() {
            [] | [_] => 1,
            [rows, ..] => *rows,
        }
    }

    /// Elements per row (in_features of a linear layer).
    pub fn cols(&self) -> usize {
        match self.quant_state.shape.as_slice() {
            [] => 1,
            [n] => *n,
            [_, rest @ ..] => rest.iter().product(),
        }
    }

    /// The code (0..16) of element `i`. Panics when `i` is out of range.
    #[inline]
    pub fn code_at(&self, i: usize) -> u8 {
        let byte = self.packed[i / 2];
        if i.is_multiple_of(2) { byte >> 4 } else { byte & 15 }
    }

    /// The values, `code[c] * absmax` in f32. Round them with [`crate::quant::half::round_to`] for the
    /// values of a 16-bit tensor.
    pub fn dequantize(&self) -> Vec<f32> {
        let mut out = vec![0.0; self.len()];
        self.dequantize_into(&mut out);
        out
    }

    /// The values into `out`, whose length must be [`Params4bit::len`] (panics otherwise).
    pub fn dequantize_into(&self, out: &mut [f32]) {
        assert_eq!(out.len(), self.len(), "output length");
        let QuantState { blocksize, code, absmax, .. } = &self.quant_state;
        let blocks = out.chunks_mut(*blocksize).zip(self.packed.chunks(blocksize / 2));
        for (b, (out, packed)) in blocks.enumerate() {
            let scale = absmax.get(b);
            for (pair, byte) in out.chunks_mut(2).zip(packed) {
                pair[0] = code[usize::from(byte >> 4)] * scale;
                if let Some(low) = pair.get_mut(1) {
                    *low = code[usize::from(byte & 15)] * scale;
                }
            }
        }
    }

    /// Checks every length, the blocksizes, the map and that all statistics are finite.
    ///
    /// # Errors
    /// [`ErrorCode::InvalidQuantState`] for contradictions, [`ErrorCode::UnsupportedQuantization`] for
    /// blocksizes, [`ErrorCode::UnsupportedDtype`], [`ErrorCode::ShapeOverflow`].
    pub fn validate(&self) -> Result<()> {
        let QuantState { quant_type, blocksize, dtype, shape, code, absmax } = &self.quant_state;
        check_blocksize(*blocksize)?;
        let n = checked_elements(shape)?;
        if !matches!(dtype, Dtype::F32 | Dtype::BF16 | Dtype::F16) {
            return Err(Error::new(ErrorCode::UnsupportedDtype, "unsupported dtype of the quantized tensor")
                .expected("float32, bfloat16 or float16")
                .found(dtype.torch_name()));
        }
        check_len("packed codes", n.div_ceil(2), self.packed.len())?;
        check_len("absmax", n.div_ceil(*blocksize), absmax.len())?;
        // The kernels of bitsandbytes have the levels built in and never look at the stored map.
        if code != quant_type.codebook() {
            return Err(invalid("quant_map is not the map of this quant_type").expected(quant_type));
        }
        match absmax {
            Absmax::F32(absmax) => check_scales("absmax", absmax),
            Absmax::Nested(nested) => nested.validate(),
        }
    }

    /// Bytes held, part by part.
    pub fn bytes(&self) -> FourBitBytes {
        let mut bytes =
            FourBitBytes { packed: self.packed.len(), quant_map: 16 * 4, ..FourBitBytes::default() };
        match &self.quant_state.absmax {
            Absmax::F32(absmax) => bytes.absmax = absmax.len() * 4,
            Absmax::Nested(nested) => {
                bytes.absmax = nested.codes.len();
                bytes.nested_absmax = nested.absmax.len() * 4;
                bytes.nested_quant_map = 256 * 4;
                bytes.offset = 4;
            }
        }
        bytes
    }
}

impl Absmax {
    /// Scale of a block. Panics when `block` is out of range.
    #[inline]
    pub fn get(&self, block: usize) -> f32 {
        match self {
            Absmax::F32(absmax) => absmax[block],
            Absmax::Nested(nested) => nested.get(block),
        }
    }

    /// Number of blocks.
    pub fn len(&self) -> usize {
        match self {
            Absmax::F32(absmax) => absmax.len(),
            Absmax::Nested(nested) => nested.codes.len(),
        }
    }

    /// Whether there are no blocks.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All scales as f32.
    pub fn to_vec(&self) -> Vec<f32> {
        (0..self.len()).map(|i| self.get(i)).collect()
    }
}

impl NestedAbsmax {
    /// Double quantization of the scales of one tensor.
    ///
    /// The offset is their correctly rounded mean; torch's own mean can be an ulp away, as it depends
    /// on the order of summation.
    pub fn quantize(absmax: &[f32]) -> Self {
        Self::quantize_with_offset(absmax, mean(absmax))
    }

    /// The same for a given offset.
    pub fn quantize_with_offset(absmax: &[f32], offset: f32) -> Self {
        Self::quantize_by(blockwise8::quantize_blockwise, absmax, offset)
    }

    /// The same for a given offset, with the 8-bit codes that bitsandbytes picks on a CPU instead of the nearest.
    pub fn quantize_as_cpu_with_offset(absmax: &[f32], offset: f32) -> Self {
        Self::quantize_by(blockwise8::quantize_blockwise_as_cpu, absmax, offset)
    }

    /// [`NestedAbsmax::quantize`] with the 8-bit codes that bitsandbytes picks on a CPU.
    pub fn quantize_as_cpu(absmax: &[f32]) -> Self {
        Self::quantize_as_cpu_with_offset(absmax, mean(absmax))
    }

    fn quantize_by(
        quantize: impl Fn(&[f32], usize, &[f32; 256], &mut [u8], &mut [f32]),
        absmax: &[f32],
        offset: f32,
    ) -> Self {
        let centred: Vec<f32> = absmax.iter().map(|a| a - offset).collect();
        let mut codes = vec![0; absmax.len()];
        let mut scales = vec![0.0; absmax.len().div_ceil(NESTED_BLOCKSIZE)];
        let code = Box::new(DYNAMIC_MAP);
        quantize(&centred, NESTED_BLOCKSIZE, &code, &mut codes, &mut scales);
        NestedAbsmax { codes, absmax: scales, code, offset, blocksize: NESTED_BLOCKSIZE }
    }

    /// Scale of a 4-bit block. Panics when `block` is out of range.
    #[inline]
    pub fn get(&self, block: usize) -> f32 {
        self.code[usize::from(self.codes[block])] * self.absmax[block / self.blocksize] + self.offset
    }

    fn validate(&self) -> Result<()> {
        if !(self.blocksize.is_power_of_two() && (32..=4096).contains(&self.blocksize)) {
            return Err(Error::new(ErrorCode::UnsupportedQuantization, "unsupported nested blocksize")
                .expected("a power of two from 32 to 4096")
                .found(self.blocksize));
        }
        check_len("nested_absmax", self.codes.len().div_ceil(self.blocksize), self.absmax.len())?;
        check_scales("nested_absmax", &self.absmax)?;
        if !self.code.iter().all(|c| c.is_finite()) {
            return Err(invalid("nested_quant_map holds NaN or an infinity"));
        }
        if !self.offset.is_finite() {
            return Err(invalid("nested_offset is not finite").found(Repr::from(self.offset)));
        }
        Ok(())
    }
}

/// Correctly rounded, but for sums beyond f64's 53 bits.
fn mean(absmax: &[f32]) -> f32 {
    let sum: f64 = absmax.iter().map(|&a| f64::from(a)).sum();
    (sum / absmax.len() as f64) as f32
}

fn invalid(reason: impl Into<String>) -> Error {
    Error::new(ErrorCode::InvalidQuantState, reason)
}

fn check_len(what: &str, expected: usize, found: usize) -> Result<()> {
    if expected == found {
        return Ok(());
    }
    Err(invalid(format!("wrong number of {what}")).expected(expected).found(found))
}

fn check_scales(what: &str, scales: &[f32]) -> Result<()> {
    match scales.iter().position(|a| !a.is_finite() || *a < 0.0) {
        None => Ok(()),
        Some(i) => Err(invalid(format!("{what} holds an impossible scale"))
            .expected("finite values, none below zero")
            .found(format!("{} at {i}", Repr::from(scales[i])))),
    }
}

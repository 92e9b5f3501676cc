//! The code tables of bitsandbytes and the rule that picks a code.
//!
//! A 4-bit code is chosen by counting how many of 15 ascending thresholds the scaled value exceeds:
//! `interval_codes()[thresholds().iter().filter(|&&t| v > t).count()]`. A value equal to a threshold
//! takes the lower interval. Thresholds are midpoints of neighbouring levels, computed in f32 as
//! bitsandbytes' CPU path computes them.

// Levels are written as bitsandbytes prints them.
#![allow(clippy::excessive_precision)]

use std::fmt;

/// NF4 levels in code order, ascending (`bitsandbytes.functional.get_4bit_type("nf4")`).
pub static NF4: [f32; 16] = [
    -1.0,
    -0.6961928009986877,
    -0.5250730514526367,
    -0.39491748809814453,
    -0.28444138169288635,
    -0.18477343022823334,
    -0.09105003625154495,
    0.0,
    0.07958029955625534,
    0.16093020141124725,
    0.24611230194568634,
    0.33791524171829224,
    0.44070982933044434,
    0.5626170039176941,
    0.7229568362236023,
    1.0,
];

/// FP4 levels in code order; bit 3 is the sign and the order is not that of the values. Code 8 is
/// negative zero for the quantizer, but the map bitsandbytes stores holds +0 there.
pub static FP4: [f32; 16] = [
    0.0,
    0.0052083334885537624,
    0.6666666865348816,
    1.0,
    0.3333333432674408,
    0.5,
    0.1666666716337204,
    0.25,
    0.0,
    -0.0052083334885537624,
    -0.6666666865348816,
    -1.0,
    -0.3333333432674408,
    -0.5,
    -0.1666666716337204,
    -0.25,
];

/// NF4 codes by ascending level: the identity.
static NF4_INTERVALS: [u8; 16] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15];

/// FP4 codes by ascending level, negative zero (8) below positive zero (0).
static FP4_INTERVALS: [u8; 16] = [11, 10, 13, 12, 15, 14, 9, 8, 0, 1, 6, 7, 4, 5, 2, 3];

static NF4_THRESHOLDS: [f32; 15] = midpoints(&NF4, &NF4_INTERVALS);

/// The boundary between the two zeros is the largest value below zero, so that every v < 0 of that
/// interval takes code 8 and both zeros take code 0, as on CUDA. (The CPU path puts 0 there and so
/// reverses the sign.)
static FP4_THRESHOLDS: [f32; 15] = {
    let mut thresholds = midpoints(&FP4, &FP4_INTERVALS);
    thresholds[7] = -f32::from_bits(1);
    thresholds
};

const fn midpoints(levels: &[f32; 16], ascending: &[u8; 16]) -> [f32; 15] {
    let mut out = [0.0; 15];
    let mut i = 0;
    while i < 15 {
        out[i] = (levels[ascending[i] as usize] + levels[ascending[i + 1] as usize]) / 2.0;
        i += 1;
    }
    out
}

/// The two 4-bit data types of bitsandbytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum QuantType {
    /// 4-bit NormalFloat: levels at quantiles of a normal distribution.
    Nf4,
    /// 4-bit float: sign, two exponent bits, one mantissa bit.
    Fp4,
}

impl QuantType {
    /// `"nf4"` or `"fp4"`, as in `quantization_config` and tensor names.
    pub const fn as_str(self) -> &'static str {
        match self {
            QuantType::Nf4 => "nf4",
            QuantType::Fp4 => "fp4",
        }
    }

    /// The type of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "nf4" => Some(QuantType::Nf4),
            "fp4" => Some(QuantType::Fp4),
            _ => None,
        }
    }

    /// The 16 levels in code order, as stored in `quant_map`.
    pub const fn codebook(self) -> &'static [f32; 16] {
        match self {
            QuantType::Nf4 => &NF4,
            QuantType::Fp4 => &FP4,
        }
    }

    /// The 15 decision thresholds, ascending.
    pub const fn thresholds(self) -> &'static [f32; 15] {
        match self {
            QuantType::Nf4 => &NF4_THRESHOLDS,
            QuantType::Fp4 => &FP4_THRESHOLDS,
        }
    }

    /// The code of each interval between thresholds, ascending.
    pub const fn interval_codes(self) -> &'static [u8; 16] {
        match self {
            QuantType::Nf4 => &NF4_INTERVALS,
            QuantType::Fp4 => &FP4_INTERVALS,
        }
    }

    /// The code of a value already divided by its block's absmax (usually in [-1, 1]).
    #[inline]
    pub fn encode(self, v: f32) -> u8 {
        let t = self.thresholds();
        let mut i = if v > t[7] { 8 } else { 0 };
        i += if v > t[i + 3] { 4 } else { 0 };
        i += if v > t[i + 1] { 2 } else { 0 };
        i += usize::from(v > t[i]);
        self.interval_codes()[i]
    }

    /// The code of 0.0, which also fills the spare nibble of an odd number of elements.
    pub const fn zero_code(self) -> u8 {
        match self {
            QuantType::Nf4 => 7,
            QuantType::Fp4 => 0,
        }
    }
}

impl fmt::Display for QuantType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The signed dynamic 8-bit map of bitsandbytes (`create_dynamic_map()`), ascending: seven decades
/// with 1, 2, 4 .. 64 values of either sign each, zero (index 127) and 1.0; there is no -1.0.
pub static DYNAMIC_MAP: [f32; 256] = dynamic_map();

/// `torch.linspace(0.1, 1, steps + 1)[i]` in f32: the upper half counts down from the end, and each
/// value is rounded once (torch uses fused multiply-add).
const fn linspace(i: usize, steps: usize) -> f32 {
    let step = ((1.0 - 0.1f32) / steps as f32) as f64;
    if i < steps.div_ceil(2) {
        (0.1f32 as f64 + step * i as f64) as f32
    } else {
        (1.0 - step * (steps - i) as f64) as f32
    }
}

const fn dynamic_map() -> [f32; 256] {
    const DECADES: [f32; 7] = [1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0];
    let mut map = [0.0; 256];
    map[255] = 1.0;
    // Decade e has 2^e values; they follow the 2^e - 1 smaller ones on either side of zero.
    let mut e = 0;
    while e < 7 {
        let steps = 1 << e;
        let mut i = 0;
        while i < steps {
            let mean = (linspace(i, steps) + linspace(i + 1, steps)) / 2.0;
            let value = DECADES[e] * mean;
            map[127 + steps + i] = value;
            map[127 - steps - i] = -value;
            i += 1;
        }
        e += 1;
    }
    map
}

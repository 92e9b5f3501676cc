//! What quantization did to a tensor: errors, histograms, and two integer formats for comparison.

use crate::quant::four_bit::Params4bit;
use crate::quant::int8::Int8Params;

/// Difference between a tensor and its quantized form.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ErrorStats {
    /// Mean absolute error.
    pub mae: f64,
    /// Root of the mean squared error.
    pub rmse: f64,
    /// Largest absolute error.
    pub max_error: f64,
    /// `10 log10(sum x^2 / sum error^2)` in decibels; infinite without error.
    pub snr_db: f64,
    /// Bits a weight, scales included (see [`bits_per_weight`]).
    pub bits_per_weight: f64,
}

impl ErrorStats {
    /// Compares `restored` with `original`. All errors of nothing are 0. Panics when lengths differ.
    #[inline(never)]
    pub fn new(original: &[f32], restored: &[f32], bits_per_weight: f64) -> Self {
        assert_eq!(original.len(), restored.len(), "lengths");
        let (mut absolute, mut squared, mut signal, mut max_error) = (0.0, 0.0, 0.0, 0.0f64);
        for (&x, &y) in original.iter().zip(restored) {
            let (x, error) = (f64::from(x), (f64::from(x) - f64::from(y)).abs());
            absolute += error;
            squared += error * error;
            signal += x * x;
            max_error = max_error.max(error);
        }
        let n = original.len().max(1) as f64;
        let snr_db = if squared == 0.0 { f64::INFINITY } else { 10.0 * (signal / squared).log10() };
        ErrorStats { mae: absolute / n, rmse: (squared / n).sqrt(), max_error, snr_db, bits_per_weight }
    }

    /// The same for every run of `len` elements: rows with `len = cols`, blocks with `len = blocksize`.
    /// The last run may be short. Panics when `len` is 0 or lengths differ.
    pub fn chunks(original: &[f32], restored: &[f32], len: usize, bits_per_weight: f64) -> Vec<Self> {
        assert_eq!(original.len(), restored.len(), "lengths");
        let pairs = original.chunks(len).zip(restored.chunks(len));
        pairs.map(|(x, y)| Self::new(x, y, bits_per_weight)).collect()
    }
}

/// Bits a weight of a 4-bit tensor: codes and scales of both levels with the offset. The two maps, the
/// same in every tensor, are left out; [`Params4bit::bytes`] counts them.
pub fn bits_per_weight(params: &Params4bit) -> f64 {
    let bytes = params.bytes();
    let held = bytes.packed + bytes.absmax + bytes.nested_absmax + bytes.offset;
    held as f64 * 8.0 / params.len() as f64
}

/// Bits a weight of an int8 tensor, row scales included.
pub fn int8_bits_per_weight(params: &Int8Params) -> f64 {
    params.bytes() as f64 * 8.0 / params.cb.len() as f64
}

/// Counts of values in equal bins of `[low, high]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Histogram {
    /// Lower edge of the first bin.
    pub low: f32,
    /// Upper edge of the last bin, itself counted in it.
    pub high: f32,
    /// Values per bin.
    pub counts: Vec<u64>,
    /// Values below `low`.
    pub below: u64,
    /// Values above `high`.
    pub above: u64,
}

impl Histogram {
    /// Counts `values`; NaN is counted nowhere. Panics unless `low < high` and `bins > 0`.
    pub fn new(values: &[f32], low: f32, high: f32, bins: usize) -> Self {
        let mut histogram = Self::empty(low, high, bins);
        histogram.extend(values.iter().copied());
        histogram
    }

    /// No values yet. Panics unless `low < high` and `bins > 0`.
    pub fn empty(low: f32, high: f32, bins: usize) -> Self {
        assert!(low < high && bins > 0, "an empty histogram");
        Histogram { low, high, counts: vec![0; bins], below: 0, above: 0 }
    }

    /// Counts more values.
    pub fn extend(&mut self, values: impl Iterator<Item = f32>) {
        let bins = self.counts.len();
        let scale = bins as f64 / (f64::from(self.high) - f64::from(self.low));
        for v in values {
            if v < self.low {
                self.below += 1;
            } else if v > self.high {
                self.above += 1;
            } else if !v.is_nan() {
                let bin = ((f64::from(v) - f64::from(self.low)) * scale) as usize;
                self.counts[bin.min(bins - 1)] += 1;
            }
        }
    }
}

/// Location and spread of some values.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Summary {
    /// Arithmetic mean.
    pub mean: f64,
    /// Standard deviation (of all values, not of a sample).
    pub std: f64,
    /// Largest magnitude.
    pub absmax: f32,
}

impl Summary {
    /// Of nothing all are 0.
    #[inline(never)]
    pub fn new(values: &[f32]) -> Self {
        let n = values.len().max(1) as f64;
        let mean = values.iter().map(|&x| f64::from(x)).sum::<f64>() / n;
        let squares = values.iter().map(|&x| (f64::from(x) - mean).powi(2)).sum::<f64>();
        Summary { mean, std: (squares / n).sqrt(), absmax: super::four_bit::block_absmax(values) }
    }
}

/// How often each of the 16 codes occurs.
pub fn code_counts(params: &Params4bit) -> [u64; 16] {
    let mut counts = [0; 16];
    (0..params.len()).for_each(|i| counts[usize::from(params.code_at(i))] += 1);
    counts
}

/// A tensor after a round trip through a format that is here for comparison only.
#[derive(Debug, Clone, PartialEq)]
pub struct RoundTrip {
    /// The restored values.
    pub values: Vec<f32>,
    /// Bits a weight, with f32 scales.
    pub bits_per_weight: f64,
}

/// Symmetric INT4: codes -7..=7, one f32 scale `absmax / 7` a block.
pub fn int4_symmetric(src: &[f32], blocksize: usize) -> RoundTrip {
    let values = src.chunks(blocksize).flat_map(|block| symmetric(block, 7.0));
    RoundTrip { values: values.collect(), bits_per_weight: blockwise_bits(src.len(), blocksize, 32) }
}

/// Asymmetric INT4: codes 0..=15, an f32 scale `(max - min) / 15` and an f32 minimum a block.
pub fn int4_asymmetric(src: &[f32], blocksize: usize) -> RoundTrip {
    let values = src.chunks(blocksize).flat_map(|block| {
        let low = block.iter().copied().fold(f32::INFINITY, f32::min);
        let high = block.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let scale = (high - low) / 15.0;
        let restore = move |&x: &f32| match scale {
            0.0 => low,
            _ => ((x - low) / scale).round_ties_even().clamp(0.0, 15.0) * scale + low,
        };
        block.iter().map(restore)
    });
    RoundTrip { values: values.collect(), bits_per_weight: blockwise_bits(src.len(), blocksize, 64) }
}

/// Symmetric INT8 with one f32 scale for the whole tensor.
pub fn int8_per_tensor(src: &[f32]) -> RoundTrip {
    let bits_per_weight = 8.0 + 32.0 / src.len().max(1) as f64;
    RoundTrip { values: symmetric(src, 127.0).collect(), bits_per_weight }
}

fn symmetric(block: &[f32], levels: f32) -> impl Iterator<Item = f32> {
    let scale = block.iter().fold(0.0, |m: f32, x| m.max(x.abs())) / levels;
    // Subnormal scales are coarse enough to lead beyond the levels.
    let within = move |code: f32| if code.abs() > levels { levels.copysign(code) } else { code };
    let code = move |x: f32| within((x / scale).round_ties_even());
    block.iter().map(move |&x| if scale == 0.0 { 0.0 } else { code(x) * scale })
}

fn blockwise_bits(n: usize, blocksize: usize, scale_bits: usize) -> f64 {
    4.0 + (n.div_ceil(blocksize) * scale_bits) as f64 / n.max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::Dtype;
    use crate::quant::QuantType;

    /// Standard normal values: splitmix64 and Box-Muller.
    fn gaussian(n: usize, mut seed: u64) -> Vec<f32> {
        let mut uniform = || {
            seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut z = seed;
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64
        };
        let normal = |_| {
            let (u, v) = (1.0 - uniform(), uniform());
            ((-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos()) as f32
        };
        (0..n).map(normal).collect()
    }

    #[test]
    #[cfg_attr(miri, ignore = "a million weights take hours there")]
    fn gaussian_weights_give_the_known_errors() {
        let x = gaussian(1 << 20, 1);
        let sigma = (x.iter().map(|&v| f64::from(v).powi(2)).sum::<f64>() / x.len() as f64).sqrt();
        let double_quantized = |quant_type| {
            let params = Params4bit::quantize(&x, &[1024, 1024], Dtype::F32, quant_type, 64, true).unwrap();
            RoundTrip { values: params.dequantize(), bits_per_weight: bits_per_weight(&params) }
        };
        for (name, trip, rmse, bits) in [
            ("nf4 + dq", double_quantized(QuantType::Nf4), 0.0921, 4.127),
            ("fp4 + dq", double_quantized(QuantType::Fp4), 0.1221, 4.127),
            ("int4 symmetric", int4_symmetric(&x, 64), 0.1077, 4.5),
            ("int4 asymmetric", int4_asymmetric(&x, 64), 0.0897, 5.0),
        ] {
            let stats = ErrorStats::new(&x, &trip.values, trip.bits_per_weight);
            // bitsandbytes itself gives 0.09200 and 0.12195 on four million values; the other digits are
            // those of a smaller sample.
            assert!((stats.rmse / sigma - rmse).abs() < 2e-4, "{name}: {}", stats.rmse / sigma);
            assert!((stats.bits_per_weight - bits).abs() < 1e-3, "{name}: {}", stats.bits_per_weight);
            let snr = -20.0 * (stats.rmse / sigma).log10();
            assert!((stats.snr_db - snr).abs() < 1e-9, "{name}: {} {snr}", stats.snr_db);
        }
        let int8 = int8_per_tensor(&x);
        let step = f64::from(x.iter().fold(0.0f32, |m, v| m.max(v.abs()))) / 127.0;
        let stats = ErrorStats::new(&x, &int8.values, int8.bits_per_weight);
        assert!((stats.rmse * 12f64.sqrt() / step - 1.0).abs() < 0.01);
        assert!(stats.max_error <= step / 2.0 * 1.0001);
    }

    #[test]
    fn errors_of_chunks_add_up() {
        let x = gaussian(1000, 2);
        let y = int4_symmetric(&x, 64).values;
        let all = ErrorStats::new(&x, &y, 4.5);
        let blocks = ErrorStats::chunks(&x, &y, 64, 4.5);
        assert_eq!(blocks.len(), 16);
        let lens = x.chunks(64).map(<[f32]>::len);
        let mae: f64 = blocks.iter().zip(lens).map(|(b, n)| b.mae * n as f64).sum::<f64>() / 1000.0;
        assert!((mae - all.mae).abs() < 1e-12);
        let max = blocks.iter().fold(0.0f64, |m, b| m.max(b.max_error));
        assert_eq!(max, all.max_error);
        assert_eq!(ErrorStats::new(&[0.0; 3], &[0.0; 3], 4.0).snr_db, f64::INFINITY);
    }

    #[test]
    fn histogram_counts_every_value_once() {
        let values = [-2.0, -1.0, -0.5, 0.0, 0.999, 1.0, 1.5, f32::NAN];
        let h = Histogram::new(&values, -1.0, 1.0, 4);
        assert_eq!((h.below, h.above), (1, 1));
        assert_eq!(h.counts, [1, 1, 1, 2]);
    }
}

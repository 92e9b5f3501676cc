//! Formats side by side on one tensor: errors, levels, and how the weights fall between them.

use crate::error::{Error, ErrorCode, Result};
use crate::quant::four_bit::Params4bit;
use crate::quant::int8::Int8Params;
use crate::quant::stats::{
    self, ErrorStats, Histogram, RoundTrip, bits_per_weight, code_counts, int8_bits_per_weight,
};

/// The formats that are not [`Params4bit`], by name.
pub const INTEGER_FORMATS: [&str; 4] = ["int4-symmetric", "int4-asymmetric", "int8", "llm-int8"];

/// What one format makes of a tensor.
#[derive(Debug, Clone, PartialEq)]
pub struct Contestant {
    /// Against the original.
    pub stats: ErrorStats,
    /// Ascending, in units of the histogram: -1 to 1.
    pub levels: Vec<f32>,
    /// How often each level is taken.
    pub counts: Vec<u64>,
    /// The weights as the format scales them, in [-1, 1].
    pub histogram: Histogram,
}

/// NF4 or FP4. `restored` are the values of `params`. Panics when lengths differ.
pub fn four_bit(original: &[f32], params: &Params4bit, restored: &[f32], bins: usize) -> Contestant {
    let state = &params.quant_state;
    let by_code = code_counts(params);
    let ascending = state.quant_type.interval_codes().map(usize::from);
    let mut histogram = Histogram::empty(-1.0, 1.0, bins);
    for block in original.chunks(state.blocksize) {
        let scale = reciprocal(super::four_bit::block_absmax(block));
        histogram.extend(block.iter().map(|x| (x * scale).clamp(-1.0, 1.0)));
    }
    Contestant {
        stats: ErrorStats::new(original, restored, bits_per_weight(params)),
        levels: ascending.map(|code| state.code[code]).to_vec(),
        counts: ascending.map(|code| by_code[code]).to_vec(),
        histogram,
    }
}

fn reciprocal(x: f32) -> f32 {
    if x == 0.0 { 0.0 } else { 1.0 / x }
}

/// One of [`INTEGER_FORMATS`] for a tensor of `rows` rows: INT4 in blocks of `blocksize`, INT8 with one scale
/// for the tensor, LLM.int8 with one a row.
///
/// # Errors
/// [`ErrorCode::InvalidArgument`] for another name; LLM.int8: [`Int8Params::quantize`].
pub fn integer(
    name: &str,
    original: &[f32],
    rows: usize,
    blocksize: usize,
    bins: usize,
) -> Result<Contestant> {
    let cols = original.len() / rows.max(1);
    // Elements that share a scale, and the number of levels.
    let (trip, group, levels) = match name {
        "int4-symmetric" => (stats::int4_symmetric(original, blocksize), blocksize, 15),
        "int4-asymmetric" => (stats::int4_asymmetric(original, blocksize), blocksize, 16),
        "int8" => (stats::int8_per_tensor(original), original.len(), 255),
        "llm-int8" => {
            let params = Int8Params::quantize(original, rows, cols)?;
            let bits_per_weight = int8_bits_per_weight(&params);
            (RoundTrip { values: params.dequantize(), bits_per_weight }, cols, 255)
        }
        other => {
            return Err(Error::new(ErrorCode::InvalidArgument, "unknown format")
                .expected(INTEGER_FORMATS.join(", "))
                .found(other));
        }
    };
    let mut histogram = Histogram::empty(-1.0, 1.0, bins);
    let mut counts = vec![0; levels];
    let (step, per_level) = (2.0 / (levels - 1) as f32, (levels - 1) as f32 / 2.0);
    let groups = original.chunks(group.max(1)).zip(trip.values.chunks(group.max(1)));
    for (original, restored) in groups {
        let low = original.iter().copied().fold(f32::INFINITY, f32::min);
        let high = original.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let (centre, half) = match name {
            "int4-asymmetric" => (low / 2.0 + high / 2.0, high / 2.0 - low / 2.0),
            _ => (0.0, high.max(-low)),
        };
        let scale = reciprocal(half);
        histogram.extend(original.iter().map(|x| ((x - centre) * scale).clamp(-1.0, 1.0)));
        for y in restored {
            let level = ((y - centre) * scale + 1.0) * per_level;
            counts[(level.round_ties_even() as usize).min(levels - 1)] += 1;
        }
    }
    Ok(Contestant {
        stats: ErrorStats::new(original, &trip.values, trip.bits_per_weight),
        levels: (0..levels).map(|i| i as f32 * step - 1.0).collect(),
        counts,
        histogram,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::Dtype;
    use crate::quant::QuantType;

    fn wave(n: usize) -> Vec<f32> {
        (0..n).map(|i| (i as f32 * 0.37).sin() * (1.0 + (i / 64) as f32)).collect()
    }

    #[test]
    fn every_weight_is_counted_once_at_its_level() {
        let x = wave(40 * 100);
        for (name, levels) in INTEGER_FORMATS.into_iter().zip([15, 16, 255, 255]) {
            let c = integer(name, &x, 40, 64, 32).unwrap();
            assert_eq!((c.levels.len(), c.counts.len()), (levels, levels), "{name}");
            assert_eq!((c.levels[0], *c.levels.last().unwrap()), (-1.0, 1.0), "{name}");
            assert_eq!(c.counts.iter().sum::<u64>(), 4000, "{name}");
            let histogram = &c.histogram;
            assert_eq!(histogram.counts.iter().sum::<u64>(), 4000, "{name}");
            assert_eq!((histogram.below, histogram.above), (0, 0), "{name}");
        }
        // A symmetric grid has a level at zero, an asymmetric one spans minimum to maximum.
        let ramp: Vec<f32> = (0..16).map(|i| i as f32).collect();
        let c = integer("int4-asymmetric", &ramp, 1, 64, 16).unwrap();
        assert_eq!((c.counts, c.stats.rmse), (vec![1; 16], 0.0));
        let c = integer("int4-symmetric", &[0.0, 7.0, -7.0, 3.0], 1, 64, 4).unwrap();
        let mut counts = vec![0; 15];
        [0, 7, 10, 14].into_iter().for_each(|i: usize| counts[i] = 1);
        assert_eq!((c.counts, c.stats.max_error), (counts, 0.0));
        assert_eq!(integer("int4-symmetric", &[0.0; 70], 1, 64, 4).unwrap().counts[7], 70);
        assert_eq!(integer("int3", &x, 1, 64, 8).unwrap_err().code(), ErrorCode::InvalidArgument);
    }

    #[test]
    fn four_bit_counts_follow_the_levels() {
        let mut x = vec![0.0f32; 64];
        (x[0], x[1], x[2]) = (-3.0, 3.0, -0.7);
        for (quant_type, zeros) in [(QuantType::Nf4, 7), (QuantType::Fp4, 8)] {
            let params = Params4bit::quantize(&x, &[64], Dtype::F32, quant_type, 64, false).unwrap();
            let c = four_bit(&x, &params, &params.dequantize(), 8);
            assert!(c.levels.is_sorted());
            assert_eq!((c.counts[0], c.counts[15], c.counts[zeros]), (1, 1, 61));
            assert_eq!(c.counts.iter().sum::<u64>(), 64);
            assert_eq!(c.histogram.counts, [1, 0, 0, 1, 61, 0, 0, 1]);
        }
    }
}

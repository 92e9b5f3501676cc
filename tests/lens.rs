//! The lab's answers against the plain functions they stand for, and against bitsandbytes' checkpoints.

#[path = "support/golden.rs"]
mod golden;

use nibblama::checkpoint::Checkpoint;
use nibblama::kernels;
use nibblama::model::lens::{BLOCKSIZES, Lens, Quantity, Settings};
use nibblama::quant::bnb::{ModuleParts, Part, Weight};
use nibblama::quant::contest::INTEGER_FORMATS;
use nibblama::quant::heatmap::{Bin, Rect};
use nibblama::quant::stats::{ErrorStats, bits_per_weight};
use nibblama::quant::{Absmax, Params4bit, QuantType};
use nibblama::{ErrorCode, Result};

const MODULE: &str = "model.layers.1.mlp.down_proj";
const NF4: Settings = Settings { quant_type: QuantType::Nf4, blocksize: 64, double_quant: false };
const NF4_DQ: Settings = Settings { double_quant: true, ..NF4 };

fn weight(model: &str) -> Weight {
    let checkpoint = Checkpoint::open(&golden::dir().join("models").join(model)).unwrap();
    let mut parts = ModuleParts::new(MODULE);
    for view in checkpoint.views().filter(|view| Part::split(view.name).is_some_and(|(m, _)| m == MODULE)) {
        parts.push(view).unwrap();
    }
    parts.finish().unwrap().0
}

fn dense(model: &str) -> Vec<f32> {
    match weight(model) {
        Weight::Dense { values, .. } => values.to_f32_vec(),
        other => panic!("quantized: {:?}", other.shape()),
    }
}

fn code_of(result: Result<impl Sized>) -> ErrorCode {
    result.err().expect("refused").code()
}

#[test]
fn blocks_equal_those_that_bitsandbytes_stored() {
    for (original, stored, settings) in
        [("llama_a/f32", "llama_a/nf4", NF4), ("llama_a/f32", "llama_a/nf4_dq", NF4_DQ)]
    {
        let mut ours = Lens::new(weight(original));
        let mut theirs = Lens::new(weight(stored));
        // What is asked for does not matter where the codes are all there is.
        let other = Settings { quant_type: QuantType::Fp4, blocksize: 128, double_quant: false };
        assert_eq!(theirs.settings(other), settings);
        let elements: usize = ours.shape().iter().product();
        for index in 0..elements.div_ceil(64) {
            let (a, b) =
                (ours.block(index, settings, None).unwrap(), theirs.block(index, other, None).unwrap());
            assert_eq!(a.packed, b.packed, "{stored} {index}");
            match (a.absmax_code, b.absmax_code) {
                (None, None) => assert_eq!(a.scale, b.scale),
                // The offset is torch's mean, which is an ulp or two away; a code then is its neighbour's.
                (Some(ours), Some(theirs)) => assert!(ours.abs_diff(theirs) <= 1, "{stored} {index}"),
                other => panic!("{other:?}"),
            }
            assert_eq!((b.values, b.stats), (None, None));
            assert_eq!(b.absmax.is_some(), stored == "llama_a/nf4");
            if let Some(absmax) = b.absmax {
                assert_eq!(a.absmax, Some(absmax));
            }
        }
    }
}

#[test]
fn answers_equal_the_plain_functions() {
    let x = dense("llama_a/bf16");
    let mut lens = Lens::new(weight("llama_a/bf16"));
    let shape = lens.shape().to_vec();
    let plain = |quant_type, blocksize, double_quant| {
        let dtype = nibblama::checkpoint::Dtype::BF16;
        let params = Params4bit::quantize(&x, &shape, dtype, quant_type, blocksize, double_quant).unwrap();
        let stats = ErrorStats::new(&x, &params.dequantize(), bits_per_weight(&params));
        (params, stats)
    };
    for quant_type in [QuantType::Nf4, QuantType::Fp4] {
        for double_quant in [false, true] {
            let points = lens.sweep(quant_type, double_quant).unwrap();
            for ((blocksize, blocks, stats), wanted) in points.into_iter().zip(BLOCKSIZES) {
                let (params, expected) = plain(quant_type, wanted, double_quant);
                assert_eq!((blocksize, blocks, stats), (wanted, params.quant_state.absmax.len(), expected));
                let settings = Settings { quant_type, blocksize, double_quant };
                assert_eq!(lens.errors(settings).unwrap(), Some(expected));
            }
        }
    }
    for (name, quant_type, double_quant) in
        [("nf4", QuantType::Nf4, false), ("nf4-dq", QuantType::Nf4, true), ("fp4", QuantType::Fp4, false)]
    {
        let (params, expected) = plain(quant_type, 128, double_quant);
        let contestant = lens.contestant(name, 128, 64).unwrap();
        assert_eq!(contestant.stats, expected);
        let nibbles = params.packed.iter().flat_map(|b| [b >> 4, b & 15]);
        let lowest = quant_type.interval_codes()[0];
        assert_eq!(contestant.counts[0], nibbles.filter(|&c| c == lowest).count() as u64, "{name}");
    }
    for name in INTEGER_FORMATS {
        assert!(lens.contestant(name, 64, 64).unwrap().stats.rmse > 0.0, "{name}");
    }

    let single = plain(QuantType::Nf4, 64, false);
    let (double, double_stats) = plain(QuantType::Nf4, 64, true);
    let answer = lens.double_quant(NF4, 20).unwrap();
    let Absmax::Nested(nested) = &double.quant_state.absmax else { panic!("not nested") };
    assert_eq!(&answer.nested, nested);
    assert_eq!(answer.absmax, Some(single.0.quant_state.absmax.to_vec()));
    assert_eq!(answer.restored, double.quant_state.absmax.to_vec());
    assert_eq!(answer.weight_errors, Some([single.1, double_stats]));
    let tables = |params: &Params4bit| params.bytes().quant_map + params.bytes().nested_quant_map;
    assert_eq!(answer.bytes, [&single.0, &double].map(|params| params.bytes().total() - tables(params)));
    assert_eq!(answer.histogram.counts.iter().sum::<u64>(), nested.codes.len() as u64);

    let (rows, rmse) = lens.rows(Some(NF4_DQ)).unwrap();
    let cols = shape[1];
    let restored = double.dequantize();
    for (r, (row, rmse)) in rows.iter().zip(rmse.unwrap()).enumerate() {
        let range = r * cols..(r + 1) * cols;
        assert_eq!(rmse, ErrorStats::new(&x[range.clone()], &restored[range.clone()], 0.0).rmse);
        assert_eq!(row.absmax, x[range].iter().fold(0.0, |m: f32, v| m.max(v.abs())));
    }
    let (summary, histogram) = lens.distribution(31).unwrap();
    assert_eq!(histogram.counts.iter().sum::<u64>(), x.len() as u64);
    assert_eq!((histogram.high, histogram.low), (summary.absmax, -summary.absmax));
}

#[test]
fn heatmaps_show_elements() {
    let x = dense("llama_a/f32");
    let mut lens = Lens::new(weight("llama_a/f32"));
    let (rows, cols) = lens.matrix();
    let all = Rect { x: 0, y: 0, width: cols, height: rows };
    let mut show = |what| lens.heatmap(what, NF4, all, (cols, rows), Bin::Max).unwrap();
    assert_eq!(show(Quantity::Weight), x);
    let (codes, errors, absmax) = (show(Quantity::Code), show(Quantity::Error), show(Quantity::Absmax));
    let mut packed = vec![0; x.len() / 2];
    let mut scales = vec![0.0; x.len().div_ceil(64)];
    kernels::quantize_4bit(&x, QuantType::Nf4, 64, &mut packed, &mut scales);
    for i in 0..x.len() {
        let code = if i % 2 == 0 { packed[i / 2] >> 4 } else { packed[i / 2] & 15 };
        assert_eq!((codes[i], absmax[i]), (f32::from(code), scales[i / 64]));
        let restored = QuantType::Nf4.codebook()[usize::from(code)] * scales[i / 64];
        assert_eq!(errors[i], (restored - x[i]).abs());
    }
    let fp4 = Settings { quant_type: QuantType::Fp4, ..NF4 };
    let codes = lens.heatmap(Quantity::Code, fp4, all, (cols, rows), Bin::Max).unwrap();
    // Position follows the value for FP4 too, whose codes do not.
    let block = lens.block(0, fp4, None).unwrap();
    for (i, restored) in block.restored.iter().enumerate() {
        assert_eq!(codes[i] > 8.0, *restored > 0.0);
    }
    for (rect, cells) in [
        (Rect { x: cols, ..all }, (1, 1)),
        (Rect { width: cols + 1, ..all }, (1, 1)),
        (Rect { height: usize::MAX, y: 1, ..all }, (1, 1)),
        (all, (cols + 1, 1)),
        (all, (0, 1)),
    ] {
        let refused = lens.heatmap(Quantity::Weight, NF4, rect, cells, Bin::Mean);
        assert_eq!(code_of(refused), ErrorCode::InvalidArgument, "{rect:?} {cells:?}");
    }
}

#[test]
fn an_outlier_spoils_its_block() {
    let mut lens = Lens::new(weight("llama_a/bf16"));
    let before = lens.block(3, NF4_DQ, None).unwrap();
    let after = lens.block(3, NF4_DQ, Some((5, 20.0))).unwrap();
    let (values, planted) = (before.values.unwrap(), after.values.unwrap());
    let absmax = before.absmax.unwrap();
    assert!((planted[5].abs() / (absmax * 20.0) - 1.0).abs() < 0.005);
    assert_eq!(planted[5].is_sign_negative(), values[5].is_sign_negative());
    assert_eq!(planted[6..], values[6..]);
    assert!(after.codes.iter().filter(|&&code| code == 7).count() > 40);
    assert!(after.stats.unwrap().rmse > 3.0 * before.stats.unwrap().rmse);
    // Nothing is left behind.
    assert_eq!(lens.block(3, NF4_DQ, None).unwrap().packed, before.packed);
    assert_eq!(code_of(lens.block(3, NF4, Some((64, 2.0)))), ErrorCode::InvalidArgument);
    assert_eq!(code_of(lens.block(usize::MAX, NF4, None)), ErrorCode::InvalidArgument);
    let wrong = Settings { blocksize: 48, ..NF4 };
    assert_eq!(code_of(lens.block(0, wrong, None)), ErrorCode::UnsupportedQuantization);
}

#[test]
fn without_an_original_what_needs_it_is_refused() {
    let all = |lens: &Lens| {
        let (rows, cols) = lens.matrix();
        (Rect { x: 0, y: 0, width: cols, height: rows }, (cols, rows))
    };
    let mut lens = Lens::new(weight("llama_a/nf4_dq"));
    let (rect, cells) = all(&lens);
    let mut show = |what| lens.heatmap(what, NF4, rect, cells, Bin::Max);
    let restored = show(Quantity::Weight).unwrap();
    assert!(show(Quantity::Code).is_ok() && show(Quantity::Absmax).is_ok());
    assert_eq!(code_of(show(Quantity::Error)), ErrorCode::InvalidArgument);
    assert_eq!(lens.values().unwrap(), restored);
    assert_eq!(code_of(lens.sweep(QuantType::Nf4, true)), ErrorCode::InvalidArgument);
    assert_eq!(code_of(lens.contestant("nf4", 64, 8)), ErrorCode::InvalidArgument);
    assert_eq!(code_of(lens.block(0, NF4, Some((0, 2.0)))), ErrorCode::InvalidArgument);
    let (_, rmse) = lens.rows(Some(NF4)).unwrap();
    assert_eq!(rmse, None);
    let doubled = lens.double_quant(NF4, 8).unwrap();
    assert_eq!((doubled.absmax, doubled.scale_errors, doubled.weight_errors), (None, None, None));
    assert_eq!(doubled.restored.len(), restored.len() / 64);

    // Stored scales that are not quantized can still be.
    let doubled = Lens::new(weight("llama_a/nf4")).double_quant(NF4, 8).unwrap();
    assert!(doubled.scale_errors.unwrap().rmse > 0.0 && doubled.weight_errors.is_none());

    let mut int8 = Lens::new(weight("llama_a/int8"));
    let (rect, cells) = all(&int8);
    assert_eq!(int8.heatmap(Quantity::Weight, NF4, rect, cells, Bin::Max).unwrap(), int8.values().unwrap());
    assert_eq!(code_of(int8.block(0, NF4, None)), ErrorCode::InvalidArgument);
    assert_eq!(code_of(int8.double_quant(NF4, 8)), ErrorCode::InvalidArgument);
}

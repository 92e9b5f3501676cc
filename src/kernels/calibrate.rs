//! Which of the designs for [`super::Arithmetic::NearExact`] and [`super::Arithmetic::Fast`] this machine runs best.
//!
//! All give results within its bound. WebAssembly does not tell what a relaxed instruction becomes: a dot product of four
//! bytes is one instruction on x86-64 with AVX-VNNI or Arm with the dot product extension, and a handful elsewhere.

use std::sync::atomic::{AtomicU8, Ordering};

use super::matvec::{PAIRS, QUADS, SPLIT, WIDE};
use super::rows::alone;
use super::{Arithmetic, Isa, PANEL_TOKENS, Scratch, isa, linear_4bit};
use crate::checkpoint::Dtype;
use crate::quant::{Absmax, Params4bit, QuantState, QuantType};

/// A design of integer products. The first two are near-exact; fast products take them where 8-bit ones do not pay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Design {
    /// 16-bit products.
    I16 = WIDE,
    /// 8-bit products of the halves of 14-bit numbers, four neighbours added in one step; many tokens as [`Design::I16`].
    I8Split = SPLIT,
    /// 8-bit products added to their neighbours in 16 bits, then in 32.
    I8Pairs = PAIRS,
    /// 8-bit products of four neighbours added in one step.
    I8Quads = QUADS,
}

impl Design {
    /// All of them.
    pub const ALL: [Design; 4] = [Design::I16, Design::I8Split, Design::I8Pairs, Design::I8Quads];

    /// The name in reports: `"i16"`, `"i8-split"`, `"i8-pairs"`, `"i8-quads"`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Design::I16 => "i16",
            Design::I8Split => "i8-split",
            Design::I8Pairs => "i8-pairs",
            Design::I8Quads => "i8-quads",
        }
    }

    /// The least exact arithmetic that it serves.
    const fn arithmetic(self) -> Arithmetic {
        match self {
            Design::I16 | Design::I8Split => Arithmetic::NearExact,
            Design::I8Pairs | Design::I8Quads => Arithmetic::Fast,
        }
    }
}

/// In place of a design, as long as none was chosen.
const UNSET: u8 = u8::MAX;

/// Calls `f` with the designs chosen for near-exact and for fast products. Unit tests have them for each thread.
fn chosen<T>(f: impl FnOnce(&[AtomicU8; 2]) -> T) -> T {
    #[cfg(test)]
    thread_local! {
        static CHOSEN: [AtomicU8; 2] = const { [AtomicU8::new(UNSET), AtomicU8::new(UNSET)] };
    }
    #[cfg(test)]
    return CHOSEN.with(f);
    #[cfg(not(test))]
    {
        static CHOSEN: [AtomicU8; 2] = [AtomicU8::new(UNSET), AtomicU8::new(UNSET)];
        f(&CHOSEN)
    }
}

/// The design in use, as a parameter of the kernels: what was chosen, else what suits the instructions of the machine as far
/// as they are known.
pub(super) fn design(arithmetic: Arithmetic) -> u8 {
    let fast = arithmetic == Arithmetic::Fast;
    let chosen =
        chosen(|[near_exact, of_fast]| if fast { of_fast } else { near_exact }.load(Ordering::Relaxed));
    match chosen {
        UNSET if fast => QUADS,
        UNSET if isa() == Isa::AvxVnni => SPLIT,
        UNSET => WIDE,
        chosen => chosen,
    }
}

/// Uses `design` for fast products from now on, on all threads, and for near-exact ones if it is one of theirs: what an
/// earlier [`calibrate`] on this machine chose. Without instructions for 8-bit products it makes no difference.
pub fn set_design(design: Design) {
    chosen(|[near_exact, fast]| {
        fast.store(design as u8, Ordering::Relaxed);
        if design.arithmetic() == Arithmetic::NearExact {
            near_exact.store(design as u8, Ordering::Relaxed);
        }
    });
}

/// How fast a design multiplies one token with a matrix on one thread.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DesignTiming {
    /// What was timed.
    pub design: Design,
    /// Packed codes and scales read, in GB/s.
    pub gigabytes_per_second: f64,
    /// Whether [`Arithmetic::Fast`] uses it from now on. [`Arithmetic::NearExact`] uses the faster of its own.
    pub chosen: bool,
}

/// Rows and columns of the matrix that is multiplied: 0.3 MB, which fits a second-level cache.
const SHAPE: [usize; 2] = [256, 2048];
/// Rounds, and milliseconds of each for a design: many short ones, as other work on the machine spoils some.
const ROUNDS: usize = 5;
const ROUND_MS: f64 = 1.0;

/// Errors of a design above this many times the bound of its arithmetic are faults.
const TOLERANCE: f32 = 5.0;

/// How much faster a near-exact design must be than the first: noise must not decide, as the bits of the result differ.
const MARGIN: f64 = 1.05;

/// Times the designs of [`Arithmetic::NearExact`] and [`Arithmetic::Fast`] and uses the fastest of each from now on. `now` is
/// a clock in milliseconds.
///
/// Takes about 20 ms, in which products are not shared out to threads. An engine that optimizes code while it runs, as
/// browsers do, is to be asked twice, with time for that in between: of `earlier`, what such a call returned, and the new
/// times the best count. On a machine without the instructions for 8-bit products nothing is timed.
pub fn calibrate(now: impl FnMut() -> f64, earlier: &[DesignTiming]) -> Vec<DesignTiming> {
    if matches!(isa(), Isa::Scalar | Isa::Simd128) {
        return Vec::new();
    }
    // Another thread would come to the aid of some designs and not of others.
    let _alone = alone();
    calibrate_with(now, earlier, linear_4bit)
}

/// The same for any `product`, which is [`linear_4bit`] or, in a test, a faulty one.
fn calibrate_with(
    mut now: impl FnMut() -> f64,
    earlier: &[DesignTiming],
    product: impl Fn(&[f32], &Params4bit, &mut [f32], Arithmetic, &mut Scratch),
) -> Vec<DesignTiming> {
    let [rows, cols] = SHAPE;
    let (n, blocksize) = (rows * cols, 64);
    let packed = (0..n / 2).map(|i| ((i * 151) >> 3) as u8).collect();
    let absmax = Absmax::F32((0..n / blocksize).map(|i| 0.5 + (i % 7) as f32 / 16.0).collect());
    let quant_type = QuantType::Nf4;
    let (dtype, shape, code) = (Dtype::F32, vec![rows, cols], *quant_type.codebook());
    let w =
        Params4bit { packed, quant_state: QuantState { quant_type, blocksize, dtype, shape, code, absmax } };
    let x: Vec<f32> = (0..cols).map(|i| (i * 37 % 101) as f32 / 50.0 - 1.0).collect();
    let (mut y, mut scratch) = (vec![0.0; rows], Scratch::default());
    let bytes = (n / 2 + n / blocksize * size_of::<f32>()) as f64;
    // An engine's own instructions may be faulty: Node.js 20 adds dot products of four wrongly where many tokens are
    // multiplied. Such a design is not taken.
    let several: Vec<f32> = x.iter().cycle().take(PANEL_TOKENS * cols).copied().collect();
    let mut products = |arithmetic| {
        let mut y = vec![0.0; (PANEL_TOKENS + 1) * rows];
        let (one, many) = y.split_at_mut(rows);
        product(&x, &w, one, arithmetic, &mut scratch);
        product(&several, &w, many, arithmetic, &mut scratch);
        y
    };
    let exact = products(Arithmetic::Exact);
    let size: f32 = exact.iter().map(|y| y * y).sum();
    let mut best = Design::ALL.map(|design| {
        set_design(design);
        let bound = if design.arithmetic() == Arithmetic::Fast { 1e-2 } else { 2e-4 } * TOLERANCE;
        let error: f32 = products(Arithmetic::Fast).iter().zip(&exact).map(|(y, e)| (y - e) * (y - e)).sum();
        (design, 0.0f64, error <= bound * bound * size)
    });
    for (design, rate, _) in best.iter_mut().filter(|(.., right)| *right) {
        let rates = earlier
            .iter()
            .filter(|timing| timing.design == *design)
            .map(|timing| timing.gigabytes_per_second);
        *rate = rates.fold(0.0, f64::max);
    }
    for _ in 0..ROUNDS {
        for (design, rate, _) in best.iter_mut().filter(|(.., right)| *right) {
            set_design(*design);
            let (start, mut runs) = (now(), 0);
            let elapsed = loop {
                product(&x, &w, &mut y, Arithmetic::Fast, &mut scratch);
                runs += 1;
                let elapsed = now() - start;
                // A clock that does not advance ends the round too.
                if elapsed >= ROUND_MS || runs == 2000 {
                    break elapsed;
                }
            };
            *rate = rate.max(bytes * f64::from(runs) / (elapsed * 1e6));
        }
    }
    // The fastest of the near-exact designs, then of that one and the others.
    let mut fastest = best[0];
    for (designs, margin) in [(&best[1..2], MARGIN), (&best[2..], 1.0)] {
        for each in designs {
            if each.1 > fastest.1 * margin {
                fastest = *each;
            }
        }
        set_design(fastest.0);
    }
    let timing = |(design, gigabytes_per_second, _)| DesignTiming {
        design,
        gigabytes_per_second,
        chosen: design == fastest.0,
    };
    best.map(timing).to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the designs of `faulty` compute for several tokens is off by a tenth, or is no number.
    fn chosen_with(faulty: &[Design], off: f32, rates: [f64; 4]) -> (Vec<DesignTiming>, Design) {
        let mut time = 0.0;
        let clock = || {
            time += 1.0;
            time
        };
        let earlier: Vec<_> = Design::ALL
            .into_iter()
            .zip(rates)
            .map(|(design, gigabytes_per_second)| DesignTiming {
                design,
                gigabytes_per_second,
                chosen: false,
            })
            .collect();
        let timings = calibrate_with(clock, &earlier, |x, w, y, arithmetic, _| {
            crate::kernels::scalar::linear_4bit(x, w, y, crate::quant::ComputeDtype::Float32);
            let fails = faulty.iter().any(|&faulty| faulty as u8 == design(Arithmetic::Fast));
            if arithmetic == Arithmetic::Fast && fails && y.len() > w.rows() {
                y.iter_mut().for_each(|y| *y *= off);
            }
        });
        let chosen = timings.iter().find(|timing| timing.chosen).unwrap().design;
        assert_eq!(design(Arithmetic::Fast), chosen as u8);
        (timings, chosen)
    }

    #[test]
    fn a_design_that_computes_something_else_is_not_chosen() {
        use Design::{I8Pairs, I8Quads, I8Split, I16};
        let cases: [(&[Design], Design); 5] = [
            (&[], I16),
            (&[I16], I8Split),
            (&[I16, I8Split], I8Pairs),
            (&[I16, I8Split, I8Pairs], I8Quads),
            (&[I8Split, I8Pairs, I8Quads], I16),
        ];
        for (faulty, expected) in cases {
            for off in [1.1, f32::NAN] {
                let (timings, chosen) = chosen_with(faulty, off, [0.0; 4]);
                // By this clock all are equally fast, and the first of them is taken.
                assert_eq!(chosen, expected, "{faulty:?}");
                for DesignTiming { design, gigabytes_per_second, .. } in timings {
                    assert_eq!(gigabytes_per_second == 0.0, faulty.contains(&design), "{design:?}");
                }
            }
        }
        // Errors near the bound are no fault: that of fast arithmetic, then that of near-exact.
        assert_eq!(chosen_with(&Design::ALL, 1.01, [0.0; 4]).1, I8Pairs);
        assert_eq!(chosen_with(&Design::ALL, 1.0005, [0.0; 4]).1, I16);
    }
    #[test]
    fn the_best_of_all_calls_counts_and_near_exact_wants_a_margin() {
        let rate = chosen_with(&[], 1.0, [0.0; 4]).0[0].gigabytes_per_second;
        for (earlier, near_exact, fast) in [
            ([0.0, 1.04, 0.0, 0.0], Design::I16, Design::I16),
            ([0.0, 1.06, 0.0, 0.0], Design::I8Split, Design::I8Split),
            ([0.0, 1.06, 0.0, 1.07], Design::I8Split, Design::I8Quads),
            ([2.0, 1.06, 0.0, 1.07], Design::I16, Design::I16),
        ] {
            let (timings, chosen) = chosen_with(&[], 1.0, earlier.map(|times| times * rate));
            assert_eq!((design(Arithmetic::NearExact), chosen), (near_exact as u8, fast), "{earlier:?}");
            assert!(timings.iter().zip(earlier).all(|(t, k)| t.gigabytes_per_second == rate * k.max(1.0)));
        }
        // What is found faulty now does not count for what it was.
        assert_eq!(chosen_with(&[Design::I8Split], 1.1, [0.0, 9.0 * rate, 0.0, 0.0]).1, Design::I16);
    }
}

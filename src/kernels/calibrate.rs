//! Which of the designs for [`super::Arithmetic::Fast`] this machine runs best.
//!
//! All give results within its bound. WebAssembly does not tell what a relaxed instruction becomes: a dot product of four
//! bytes is one instruction on x86-64 with AVX-VNNI or Arm with the dot product extension, and a handful elsewhere.

use std::sync::atomic::{AtomicU8, Ordering};

use super::matvec::{PAIRS, QUADS, WIDE};
use super::{Arithmetic, Isa, PANEL_TOKENS, Scratch, isa, linear_4bit};
use crate::checkpoint::Dtype;
use crate::quant::{Absmax, Params4bit, QuantState, QuantType};

/// A design of the products of [`Arithmetic::Fast`](super::Arithmetic::Fast).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum FastDesign {
    /// That of near-exact products: where 8-bit products do not pay.
    I16 = WIDE,
    /// 8-bit products added to their neighbours in 16 bits, then in 32.
    I8Pairs = PAIRS,
    /// 8-bit products of four neighbours added in one step.
    I8Quads = QUADS,
}

impl FastDesign {
    /// All of them.
    pub const ALL: [FastDesign; 3] = [FastDesign::I16, FastDesign::I8Pairs, FastDesign::I8Quads];

    /// The name in reports: `"i16"`, `"i8-pairs"`, `"i8-quads"`.
    pub const fn as_str(self) -> &'static str {
        match self {
            FastDesign::I16 => "i16",
            FastDesign::I8Pairs => "i8-pairs",
            FastDesign::I8Quads => "i8-quads",
        }
    }
}

static FAST: AtomicU8 = AtomicU8::new(QUADS);

/// The design in use, as a parameter of the kernels.
pub(super) fn fast_design() -> u8 {
    FAST.load(Ordering::Relaxed)
}

/// Uses `design` for fast products from now on, on all threads: what an earlier [`calibrate`] on this machine chose.
/// Without instructions for 8-bit products it makes no difference.
pub fn set_fast_design(design: FastDesign) {
    FAST.store(design as u8, Ordering::Relaxed);
}

/// How fast a design multiplies one token with a matrix on one thread.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DesignTiming {
    /// What was timed.
    pub design: FastDesign,
    /// Packed codes and scales read, in GB/s.
    pub gigabytes_per_second: f64,
    /// Whether [`Arithmetic::Fast`] uses it from now on.
    pub chosen: bool,
}

/// Rows and columns of the matrix that is multiplied: 0.3 MB, which fits a second-level cache.
const SHAPE: [usize; 2] = [256, 2048];
/// Rounds, and milliseconds of each for a design.
const ROUNDS: usize = 2;
const ROUND_MS: f64 = 2.0;

/// Relative error of a design above which it computes something else: five times the bound of fast arithmetic.
const TOLERANCE: f32 = 5e-2;

/// Times the designs of [`Arithmetic::Fast`] and uses the fastest of them from now on. `now` is a clock in milliseconds.
///
/// Takes about 12 ms. An engine that optimizes code while it runs, as browsers do, is to be asked twice, with time for that
/// in between. On a machine without the instructions for 8-bit products nothing is timed.
pub fn calibrate(now: impl FnMut() -> f64) -> Vec<DesignTiming> {
    if matches!(isa(), Isa::Scalar | Isa::Simd128) {
        return Vec::new();
    }
    calibrate_with(now, linear_4bit)
}

/// The same for any `product`, which is [`linear_4bit`] or, in a test, a faulty one.
fn calibrate_with(
    mut now: impl FnMut() -> f64,
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
    let mut best = FastDesign::ALL.map(|design| (design, 0.0f64));
    // An engine's own instructions may be faulty: Node.js 20 adds dot products of four wrongly where many tokens are
    // multiplied. Such a design is not taken.
    let several: Vec<f32> = x.iter().cycle().take(PANEL_TOKENS * cols).copied().collect();
    let mut of_several = |arithmetic| {
        let mut y = vec![0.0; PANEL_TOKENS * rows];
        product(&several, &w, &mut y, arithmetic, &mut scratch);
        y
    };
    let exact = of_several(Arithmetic::Exact);
    let size: f32 = exact.iter().map(|y| y * y).sum();
    let right = FastDesign::ALL.map(|design| {
        set_fast_design(design);
        let error: f32 =
            of_several(Arithmetic::Fast).iter().zip(&exact).map(|(y, e)| (y - e) * (y - e)).sum();
        error <= TOLERANCE * TOLERANCE * size
    });
    for _ in 0..ROUNDS {
        for ((design, rate), right) in best.iter_mut().zip(right) {
            if !right {
                continue;
            }
            set_fast_design(*design);
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
    let [(mut fastest, mut most), ..] = best;
    for (design, rate) in best {
        if rate > most {
            (fastest, most) = (design, rate);
        }
    }
    set_fast_design(fastest);
    let timing =
        |(design, rate)| DesignTiming { design, gigabytes_per_second: rate, chosen: design == fastest };
    best.map(timing).to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the designs of `faulty` compute for several tokens is off by a tenth, or is no number.
    fn chosen_with(faulty: &[FastDesign], off: f32) -> (Vec<DesignTiming>, FastDesign) {
        let mut time = 0.0;
        let clock = || {
            time += 1.0;
            time
        };
        let timings = calibrate_with(clock, |x, w, y, arithmetic, _| {
            crate::kernels::scalar::linear_4bit(x, w, y, crate::quant::ComputeDtype::Float32);
            let fails = faulty.iter().any(|&design| design as u8 == fast_design());
            if arithmetic == Arithmetic::Fast && fails && y.len() > w.rows() {
                y.iter_mut().for_each(|y| *y *= off);
            }
        });
        let chosen = timings.iter().find(|timing| timing.chosen).unwrap().design;
        assert_eq!(fast_design(), chosen as u8);
        (timings, chosen)
    }

    #[test]
    fn a_design_that_computes_something_else_is_not_chosen() {
        use FastDesign::{I8Pairs, I8Quads, I16};
        let cases: [(&[FastDesign], FastDesign); 4] =
            [(&[], I16), (&[I16], I8Pairs), (&[I16, I8Pairs], I8Quads), (&[I8Pairs, I8Quads], I16)];
        for (faulty, expected) in cases {
            for off in [1.1, f32::NAN] {
                let (timings, chosen) = chosen_with(faulty, off);
                // By this clock all are equally fast, and the first of them is taken.
                assert_eq!(chosen, expected, "{faulty:?}");
                for DesignTiming { design, gigabytes_per_second, .. } in timings {
                    assert_eq!(gigabytes_per_second == 0.0, faulty.contains(&design), "{design:?}");
                }
            }
        }
        // Errors within the bound are no fault.
        assert_eq!(chosen_with(&FastDesign::ALL, 1.01).1, I16);
        set_fast_design(I8Quads);
    }
}

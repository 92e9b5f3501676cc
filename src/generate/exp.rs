//! exp(x) for x <= 0, the same bits on every platform.

/// ln 2, its high part exact in 32 bits so that `k * LN2_HIGH` is exact for |k| < 2^20.
const LN2_HIGH: f64 = f64::from_bits(0x3fe6_2e42_fee0_0000);
const LN2_LOW: f64 = 1.908_214_929_270_587_7e-10;

/// e^x for x <= 0, to about 1e-15 relative; below -700 it is 0.
///
/// `f64::exp` is the platform's own library function, and its last bit differs between them. A drawn
/// token must not, so this uses nothing but IEEE additions and multiplications, which Rust never
/// contracts or reorders: reduce to r = x - k ln 2 with |r| <= ln 2 / 2, take the Taylor polynomial of
/// degree 13, scale by 2^k.
pub fn exp(x: f64) -> f64 {
    debug_assert!(x <= 0.0);
    if x < -700.0 {
        return 0.0;
    }
    let k = (x * std::f64::consts::LOG2_E - 0.5) as i64; // rounds half away from zero, since x <= 0
    let r = (x - k as f64 * LN2_HIGH) - k as f64 * LN2_LOW;
    let mut sum = 1.0;
    for n in (1..=13).rev() {
        sum = 1.0 + sum * (r * RECIPROCALS[n]);
    }
    sum * f64::from_bits(((1023 + k) as u64) << 52)
}

/// 1 / n.
const RECIPROCALS: [f64; 14] = {
    let mut table = [0.0; 14];
    let mut n = 1;
    while n < 14 {
        table[n] = 1.0 / n as f64;
        n += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::exp;

    #[test]
    fn close_to_the_library_function() {
        for i in (0..700_000).step_by(if cfg!(miri) { 9973 } else { 1 }) {
            let x = -f64::from(i) * 1e-3;
            let expected = x.exp();
            assert!((exp(x) - expected).abs() <= 2e-15 * expected, "exp({x})");
        }
        assert_eq!(exp(0.0), 1.0);
        assert_eq!(exp(-701.0), 0.0);
        assert_eq!(exp(f64::NEG_INFINITY), 0.0);
    }

    #[test]
    fn bits_are_fixed() {
        let bits: Vec<u64> = [-0.1, -1.0, -10.5, -300.25].iter().map(|&x| exp(x).to_bits()).collect();
        assert_eq!(bits, BITS);
    }

    /// The same arithmetic in CPython.
    const BITS: [u64; 4] =
        [0x3fec_f46d_99d5_2b3a, 0x3fd7_8b56_362c_ef38, 0x3efc_dfc2_63f6_a0ba, 0x24dc_7582_3310_2ace];
}

//! Floats from decimal text and back, exactly.
//!
//! The standard library does the same faster, with tables that would be a tenth of the WebAssembly build.

use std::cmp::Ordering;
use std::fmt;

/// Significant digits that can decide how a number is rounded: halves between two f64 have at most 767.
const MAX_DIGITS: usize = 800;
/// Position of the lowest bit of an f64, as a power of two.
const LOWEST: i32 = -1074;

/// A natural number of any size: digits to the base 2^32, the lowest first, no zeros on top.
struct Natural(Vec<u32>);

impl Natural {
    fn new(value: u64) -> Self {
        let mut natural = Natural(vec![value as u32, (value >> 32) as u32]);
        natural.trim();
        natural
    }

    fn power_of_ten(exponent: u32) -> Self {
        let mut power = Natural::new(1);
        power.times_power_of_ten(exponent);
        power
    }

    fn trim(&mut self) {
        while self.0.last() == Some(&0) {
            self.0.pop();
        }
    }

    fn bits(&self) -> i32 {
        self.0.last().map_or(0, |top| self.0.len() as i32 * 32 - top.leading_zeros() as i32)
    }

    fn times_plus(&mut self, factor: u32, summand: u32) {
        let mut carry = u64::from(summand);
        for digit in &mut self.0 {
            carry += u64::from(*digit) * u64::from(factor);
            *digit = carry as u32;
            carry >>= 32;
        }
        self.0.push(carry as u32);
        self.trim();
    }

    fn times_power_of_ten(&mut self, exponent: u32) {
        (0..exponent).for_each(|_| self.times_plus(10, 0));
    }

    fn shift_left(&mut self, bits: u32) {
        self.times_plus(1 << (bits % 32), 0);
        if !self.0.is_empty() {
            self.0.splice(0..0, std::iter::repeat_n(0, bits as usize / 32));
        }
    }

    fn subtract(&mut self, other: &Natural) {
        let mut borrow = 0;
        for (i, digit) in self.0.iter_mut().enumerate() {
            let difference = i64::from(*digit) - i64::from(other.0.get(i).copied().unwrap_or(0)) + borrow;
            *digit = difference as u32;
            borrow = difference >> 32;
        }
        self.trim();
    }

    fn compare(&self, other: &Natural) -> Ordering {
        let digits = |natural: &Natural| natural.0.len();
        digits(self).cmp(&digits(other)).then_with(|| self.0.iter().rev().cmp(other.0.iter().rev()))
    }

    /// `self + summand` against `other`.
    fn sum_compare(&self, summand: &Natural, other: &Natural) -> Ordering {
        let mut rest = Natural(other.0.clone());
        if rest.compare(self) == Ordering::Less {
            return Ordering::Greater;
        }
        rest.subtract(self);
        summand.compare(&rest)
    }
}

/// The f64 nearest to `digits`, ASCII, times ten to the power of `exponent`, ties to even; infinite beyond
/// the largest.
pub(super) fn nearest(digits: &[u8], exponent: i64) -> f64 {
    let zeros = digits.iter().take_while(|&&digit| digit == b'0').count();
    let (digits, rest) = digits[zeros..].split_at((digits.len() - zeros).min(MAX_DIGITS));
    let magnitude = exponent.saturating_add((digits.len() + rest.len()) as i64);
    if digits.is_empty() || magnitude < -330 {
        return 0.0;
    }
    if magnitude > 310 {
        return f64::INFINITY;
    }
    let mut numerator = Natural::new(0);
    digits.iter().for_each(|digit| numerator.times_plus(10, u32::from(digit - b'0')));
    // What is cut off only matters by being there.
    numerator.times_plus(10, u32::from(rest.iter().any(|&digit| digit != b'0')));
    let exponent = magnitude as i32 - digits.len() as i32 - 1;
    let mut denominator = Natural::power_of_ten(exponent.min(0).unsigned_abs());
    numerator.times_power_of_ten(exponent.max(0).unsigned_abs());

    // Made less than two apart, then divided bit by bit, with two bits to spare and one for the rest.
    let power = numerator.bits() - denominator.bits();
    if power > 0 {
        denominator.shift_left(power.unsigned_abs());
    } else {
        numerator.shift_left(power.unsigned_abs());
    }
    let mut quotient = 0u64;
    for _ in 0..56 {
        quotient <<= 1;
        if numerator.compare(&denominator) != Ordering::Less {
            numerator.subtract(&denominator);
            quotient |= 1;
        }
        numerator.shift_left(1);
    }
    quotient = quotient << 1 | u64::from(!numerator.0.is_empty());
    let power = power - 56;

    let top = power + 64 - quotient.leading_zeros() as i32;
    let lowest = LOWEST.max(top - 53);
    let Some(half) = 1u64.checked_shl((lowest - power - 1).unsigned_abs()) else { return 0.0 };
    let (mut mantissa, rest) = (quotient / half / 2, quotient % half.saturating_mul(2));
    if rest > half || rest == half && mantissa % 2 == 1 {
        mantissa += 1;
    }
    // The mantissa's highest bit adds one to the exponent.
    let bits = ((lowest - LOWEST) as u64) << 52;
    f64::from_bits((bits + mantissa).min(f64::INFINITY.to_bits()))
}

/// Shortest digits that round to `mantissa * 2^exponent`, and the power of ten that a point before them has.
/// `lopsided` when the next number below is half as far away as the one above.
fn shortest(mantissa: u64, exponent: i32, lopsided: bool) -> (String, i32) {
    // The number is `rest / scale`; what lies less than `below` and `above` away rounds to it.
    let extra = 1 + u32::from(lopsided);
    let mut rest = Natural::new(mantissa);
    rest.shift_left(exponent.max(0).unsigned_abs() + extra);
    let mut scale = Natural::new(1);
    scale.shift_left(exponent.min(0).unsigned_abs() + extra);
    let mut below = Natural::new(1);
    below.shift_left(exponent.max(0).unsigned_abs());
    let mut above = Natural::new(1);
    above.shift_left(exponent.max(0).unsigned_abs() + extra - 1);
    let even = mantissa.is_multiple_of(2);
    let reaches = |order: Ordering| order == Ordering::Greater || even && order == Ordering::Equal;

    // An estimate that is at most one too small.
    let top = exponent + 63 - mantissa.leading_zeros() as i32;
    let mut point = (f64::from(top) * std::f64::consts::LOG10_2 - 1e-10).ceil() as i32;
    scale.times_power_of_ten(point.max(0).unsigned_abs());
    for number in [&mut rest, &mut below, &mut above] {
        number.times_power_of_ten(point.min(0).unsigned_abs());
    }
    if reaches(rest.sum_compare(&above, &scale)) {
        scale.times_plus(10, 0);
        point += 1;
    }
    let mut digits = String::new();
    loop {
        for number in [&mut rest, &mut below, &mut above] {
            number.times_plus(10, 0);
        }
        let mut digit = b'0';
        while rest.compare(&scale) != Ordering::Less {
            rest.subtract(&scale);
            digit += 1;
        }
        let down = reaches(below.compare(&rest));
        let up = reaches(rest.sum_compare(&above, &scale));
        if up && (!down || rest.sum_compare(&Natural(rest.0.clone()), &scale) != Ordering::Less) {
            digit += 1;
        }
        digits.push(char::from(digit));
        if down || up {
            return (digits, point);
        }
    }
}

/// A float as Python's `repr` prints it: the shortest digits that round-trip, with an exponent below 1e-4 and from
/// 1e16. Finite ones are valid JSON.
#[derive(Debug, Clone, Copy)]
pub struct Repr {
    value: f64,
    mantissa: u64,
    exponent: i32,
    lopsided: bool,
}

impl From<f64> for Repr {
    fn from(value: f64) -> Self {
        let bits = value.to_bits();
        let (field, fraction) = ((bits >> 52 & 0x7ff) as i32, bits & ((1 << 52) - 1));
        let mantissa = if field == 0 { fraction } else { fraction | 1 << 52 };
        Repr { value, mantissa, exponent: field.max(1) - 1 + LOWEST, lopsided: fraction == 0 && field > 1 }
    }
}

impl From<f32> for Repr {
    /// The shortest digits among f32.
    fn from(value: f32) -> Self {
        let bits = value.to_bits();
        let (field, fraction) = ((bits >> 23 & 0xff) as i32, u64::from(bits & ((1 << 23) - 1)));
        let mantissa = if field == 0 { fraction } else { fraction | 1 << 23 };
        let (value, exponent) = (f64::from(value), field.max(1) - 150);
        Repr { value, mantissa, exponent, lopsided: fraction == 0 && field > 1 }
    }
}

impl fmt::Display for Repr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.value.is_nan() {
            return f.write_str("nan");
        }
        if self.value.is_sign_negative() {
            f.write_str("-")?;
        }
        if self.value.is_infinite() {
            return f.write_str("inf");
        }
        let (digits, point) = if self.mantissa == 0 {
            ("0".to_owned(), 1)
        } else {
            shortest(self.mantissa, self.exponent, self.lopsided)
        };
        if !(-3..=16).contains(&point) {
            let (first, others) = digits.split_at(1);
            let (dot, sign) = (if others.is_empty() { "" } else { "." }, if point < 1 { '-' } else { '+' });
            return write!(f, "{first}{dot}{others}e{sign}{:02}", (point - 1).abs());
        }
        // Zeros up to the point on either side, and one digit at least on both.
        let mut text = "0".repeat((1 - point).max(0) as usize) + &digits;
        let point = point.max(1) as usize;
        while text.len() <= point {
            text.push('0');
        }
        text.insert(point, '.');
        f.write_str(&text)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Through [`nearest`], as the JSON reader calls it.
    fn read(text: &str) -> f64 {
        let (number, exponent) = text.split_once('e').unwrap_or((text, "0"));
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        let digits = [whole, fraction].concat();
        nearest(digits.as_bytes(), exponent.parse::<i64>().unwrap() - fraction.len() as i64)
    }

    #[test]
    fn prints_as_python_does() {
        for (value, text) in [
            (0.0, "0.0"),
            (-0.0, "-0.0"),
            (1.0, "1.0"),
            (-2.5, "-2.5"),
            (0.26645782589912415, "0.26645782589912415"),
            (0.0001, "0.0001"),
            (0.00001, "1e-05"),
            (3.333333116818801e-39, "3.333333116818801e-39"),
            (1.5e-7, "1.5e-07"),
            (123456789012345680.0, "1.2345678901234568e+17"),
            (1e15, "1000000000000000.0"),
            (1e16, "1e+16"),
            (9007199254740993.0, "9007199254740992.0"),
            (1e100, "1e+100"),
            (5e-324, "5e-324"),
            (f64::MAX, "1.7976931348623157e+308"),
            (f64::NAN, "nan"),
            (f64::NEG_INFINITY, "-inf"),
        ] {
            assert_eq!(Repr::from(value).to_string(), text);
        }
        assert_eq!(Repr::from(0.1f32).to_string(), "0.1");
        assert_eq!(Repr::from(16777216.0f32).to_string(), "16777216.0");
        assert_eq!(Repr::from(1e-45f32).to_string(), "1e-45");
    }

    #[test]
    fn reads_the_hard_cases() {
        let half_of_lowest = "2.4703282292062327208e-324";
        let long = format!("1{}", "0".repeat(2000));
        for (text, value) in [
            ("0", 0.0),
            ("000.000e999999", 0.0),
            ("9007199254740993", 9007199254740992.0),
            ("9007199254740993.00000000000000000000000000000000000001", 9007199254740994.0),
            ("2.2250738585072012e-308", f64::MIN_POSITIVE),
            ("2.2250738585072011e-308", 2.225073858507201e-308),
            ("1.7976931348623158e308", f64::MAX),
            ("1.7976931348623159e308", f64::INFINITY),
            ("4.9e-324", f64::from_bits(1)),
            (half_of_lowest, 0.0),
            ("2.4703282292062327209e-324", f64::from_bits(1)),
            ("1e-9223372036854775808", 0.0),
            ("1e9223372036854775807", f64::INFINITY),
            (long.as_str(), f64::INFINITY),
        ] {
            assert_eq!(read(text).to_bits(), value.to_bits(), "{text}");
        }
        // A digit far beyond those that are kept decides between two neighbours.
        let half = format!("9007199254740993.{}", "0".repeat(3000));
        assert_eq!(read(&half), 9007199254740992.0);
        assert_eq!(read(&(half + "1")), 9007199254740994.0);
    }

    proptest! {
        #[test]
        #[cfg_attr(miri, ignore = "minutes of big numbers")]
        fn agrees_with_the_standard_library(bits in any::<u64>(), digits in "[0-9]{1,40}", exponent in -400i64..400) {
            let mantissa = |text: &str| {
                text.split('e').next().unwrap_or_default().replace('.', "").trim_matches('0').to_owned()
            };
            let (double, single) = (f64::from_bits(bits).abs(), f32::from_bits(bits as u32).abs());
            if double.is_finite() {
                let text = Repr::from(double).to_string();
                prop_assert_eq!(text.parse::<f64>().unwrap(), double);
                prop_assert_eq!(mantissa(&text), mantissa(&format!("{double:e}")));
                prop_assert_eq!(read(&text.replace('+', "")), double);
            }
            if single.is_finite() {
                let text = Repr::from(single).to_string();
                prop_assert_eq!(text.parse::<f32>().unwrap(), single);
                prop_assert_eq!(mantissa(&text), mantissa(&format!("{single:e}")));
            }
            let text = format!("{digits}e{exponent}");
            prop_assert_eq!(read(&text), text.parse::<f64>().unwrap(), "{}", text);
        }
    }
}

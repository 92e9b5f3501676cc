//! The vector trait that kernels are written over, and the small operations built from it.
//!
//! A vector has 128 bits on every machine, so that all of them can follow the order of summation of
//! [`super::scalar`]. `V` is untyped: an operation's suffix says how it reads the lanes.

/// Sixteen bytes of plain numbers that a vector is loaded from or stored to.
///
/// # Safety
/// The type has 16 bytes without padding and any bit pattern is a value of it.
pub unsafe trait Block: Copy {}
// SAFETY: arrays of plain numbers, 16 bytes each.
unsafe impl Block for [f32; 4] {}
// SAFETY: as above.
unsafe impl Block for [i32; 4] {}
// SAFETY: as above.
unsafe impl Block for [u32; 4] {}
// SAFETY: as above.
unsafe impl Block for [i16; 8] {}
// SAFETY: as above.
unsafe impl Block for [u16; 8] {}
// SAFETY: as above.
unsafe impl Block for [i8; 16] {}
// SAFETY: as above.
unsafe impl Block for [u8; 16] {}

macro_rules! operations {
    ($($(#[$doc:meta])* fn $name:ident($($arg:ident),*);)+) => {
        $($(#[$doc])* fn $name(self, $($arg: Self::V),*) -> Self::V;)+
    };
}

/// One instruction set. A value is the proof that the machine has it, which is what makes the methods
/// safe; they must be inlined into a function that enables the instructions.
// `self` is the proof, not what is converted.
#[allow(clippy::wrong_self_convention)]
pub trait Simd: Copy + Send + Sync {
    /// A 128-bit register.
    type V: Copy;

    /// Whether [`Simd::dot_i8_u7`] is one instruction, without which 8-bit products do not pay.
    const HAS_DOT8: bool;

    /// Loads, without any alignment.
    fn load<B: Block>(self, block: &B) -> Self::V;
    /// Loads half of a register from each, without any alignment.
    fn load_halves(self, low: &[f32; 2], high: &[f32; 2]) -> Self::V;
    /// Stores, without any alignment.
    fn store<B: Block>(self, block: &mut B, v: Self::V);
    /// The same f32 in all lanes.
    fn splat_f32(self, x: f32) -> Self::V;
    /// The same 32 bits in all lanes.
    fn splat_u32(self, x: u32) -> Self::V;
    /// `x` in the first lane, 0 in the others.
    #[inline(always)]
    fn first_i32(self, x: &i32) -> Self::V {
        self.load(&[*x, 0, 0, 0])
    }
    /// `u16` lanes shifted right.
    fn shr_u16<const N: u32>(self, a: Self::V) -> Self::V;
    /// `u32` lanes shifted right.
    fn shr_u32<const N: u32>(self, a: Self::V) -> Self::V;
    /// 32-bit lanes shifted left.
    fn shl_u32<const N: u32>(self, a: Self::V) -> Self::V;
    /// `u16` lanes shifted left.
    fn shl_u16<const N: u32>(self, a: Self::V) -> Self::V;

    operations! {
        fn and(a, b);
        fn or(a, b);
        fn xor(a, b);
        fn add_f32(a, b);
        fn sub_f32(a, b);
        fn mul_f32(a, b);
        fn div_f32(a, b);
        /// `a * b + c`, fused where that is one instruction; never in bit-defined kernels.
        fn madd_f32(a, b, c);
        /// `a < b ? a : b`.
        fn min_f32(a, b);
        /// `a > b ? a : b`.
        fn max_f32(a, b);
        /// All ones where `a > b`.
        fn gt_f32(a, b);
        /// All ones where NaN.
        fn nan_f32(a);
        /// To nearest, ties to even.
        fn round_f32(a);
        /// Integers from f32 lanes in the range of i32, toward zero.
        fn to_i32(a);
        fn from_i32(a);
        fn add_i32(a, b);
        fn sub_i32(a, b);
        fn sub_i8(a, b);
        /// The larger of signed lanes.
        fn max_i32(a, b);
        /// All ones where equal.
        fn eq_i32(a, b);
        /// Bytes of `table` at indices below 16; another index gives an unspecified byte.
        fn swizzle(table, indices);
        /// Low halves interleaved, a first.
        fn low_u8(a, b);
        /// High halves interleaved, a first.
        fn high_u8(a, b);
        fn low_u16(a, b);
        fn high_u16(a, b);
        fn high_u64(a, b);
        /// Lane 0 in all lanes.
        fn splat_lane_0(a);
        fn splat_lane_1(a);
        fn splat_lane_2(a);
        fn splat_lane_3(a);
        /// Lanes 0 and 2 of a, then of b.
        fn even_u32(a, b);
        /// Lanes 1 and 3 of a, then of b.
        fn odd_u32(a, b);
        /// i32 lanes of a, then of b, saturated to i16.
        fn narrow_i32(a, b);
        /// i16 lanes of a, then of b, saturated to i8.
        fn narrow_i16(a, b);
        /// i16 lanes of a, then of b, saturated to u8.
        fn narrow_i16_u8(a, b);
        /// Low eight i8 lanes as i16.
        fn extend_low_i8(a);
        /// High eight i8 lanes as i16.
        fn extend_high_i8(a);
        /// Products of i16 lanes, neighbours added: four i32.
        fn dot_i16(a, b);
        /// Products of i8 lanes of a with lanes of b in 0..=127, neighbours added: eight i16.
        fn dot_i8_u7(a, b);
        /// Products of i8 lanes of a with lanes of b in 0..=127, four neighbours added to the i32 lanes of c.
        fn dot_add_i8_u7(a, b, c);
    }

    /// The same value, hidden from the compiler: LLVM would re-create a constant vector at every use
    /// inside a loop, which costs a sixth of the speed.
    #[inline(always)]
    fn hide(self, v: Self::V) -> Self::V {
        std::hint::black_box(v)
    }

    /// The lanes as f32.
    #[inline(always)]
    fn lanes_f32(self, v: Self::V) -> [f32; 4] {
        let mut lanes = [0.0; 4];
        self.store(&mut lanes, v);
        lanes
    }

    /// The lanes as i32.
    #[inline(always)]
    fn lanes_i32(self, v: Self::V) -> [i32; 4] {
        let mut lanes = [0; 4];
        self.store(&mut lanes, v);
        lanes
    }

    /// Sum of four f32 lanes in the order of [`super::scalar::reduce`].
    #[inline(always)]
    fn sum_f32(self, v: Self::V) -> f32 {
        let [a, b, c, d] = self.lanes_f32(self.add_f32(v, self.high_u64(v, v)));
        let _ = (c, d);
        a + b
    }

    /// The sums of the i32 lanes of four vectors.
    #[inline(always)]
    fn sums_i32(self, v: [Self::V; 4]) -> Self::V {
        let pairs = |a, b| self.add_i32(self.even_u32(a, b), self.odd_u32(a, b));
        pairs(pairs(v[0], v[1]), pairs(v[2], v[3]))
    }

    /// The sixteen partial sums of [`super::scalar`], reduced.
    #[inline(always)]
    fn reduce(self, sums: &[Self::V; 4]) -> f32 {
        let low = self.add_f32(sums[0], sums[1]);
        self.sum_f32(self.add_f32(low, self.add_f32(sums[2], sums[3])))
    }

    /// Low nibbles and high nibbles of sixteen bytes, each in 0..=15. `mask` is 15 in every byte.
    #[inline(always)]
    fn nibbles(self, bytes: Self::V, mask: Self::V) -> (Self::V, Self::V) {
        (self.and(bytes, mask), self.and(self.shr_u16::<4>(bytes), mask))
    }
}

/// Table of sixteen f32, by byte planes, for lookups of sixteen codes at once.
#[derive(Clone, Copy)]
pub struct TableF32<S: Simd>([S::V; 4]);

impl<S: Simd> TableF32<S> {
    #[inline(always)]
    pub fn new(s: S, table: &[f32; 16]) -> Self {
        let plane = |byte: usize| table.map(|x| x.to_le_bytes()[byte]);
        TableF32([0, 1, 2, 3].map(|byte| s.hide(s.load(&plane(byte)))))
    }

    /// The f32 of sixteen codes in order.
    #[inline(always)]
    pub fn get(&self, s: S, codes: S::V) -> [S::V; 4] {
        let [a, b, c, d] = [0, 1, 2, 3].map(|i: usize| s.swizzle(self.0[i], codes));
        let (ab0, ab1) = (s.low_u8(a, b), s.high_u8(a, b));
        let (cd0, cd1) = (s.low_u8(c, d), s.high_u8(c, d));
        [s.low_u16(ab0, cd0), s.high_u16(ab0, cd0), s.low_u16(ab1, cd1), s.high_u16(ab1, cd1)]
    }
}

/// Table of sixteen i16, by byte planes.
#[derive(Clone, Copy)]
pub struct TableI16<S: Simd>([S::V; 2]);

impl<S: Simd> TableI16<S> {
    #[inline(always)]
    pub fn new(s: S, table: &[f32; 16], scale: f32) -> Self {
        let plane = |byte: usize| table.map(|x| ((x * scale).round_ties_even() as i16).to_le_bytes()[byte]);
        TableI16([0, 1].map(|byte| s.hide(s.load(&plane(byte)))))
    }

    /// The i16 of sixteen codes in order.
    #[inline(always)]
    pub fn get(&self, s: S, codes: S::V) -> [S::V; 2] {
        let (a, b) = (s.swizzle(self.0[0], codes), s.swizzle(self.0[1], codes));
        [s.low_u8(a, b), s.high_u8(a, b)]
    }
}

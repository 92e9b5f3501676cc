//! WebAssembly. A module's features hold for all of it, so exactly one type exists in a build.

use core::arch::wasm32::*;

use super::simd::{Block, Simd};

/// The instruction set of this module: relaxed SIMD when it was built with it, else SIMD128.
#[derive(Clone, Copy)]
pub struct Wasm;

macro_rules! map {
    ($($name:ident($($arg:ident),*) = $body:expr;)+) => {
        $(#[inline(always)]
        fn $name(self, $($arg: v128),*) -> v128 {
            $body
        })+
    };
}

impl Simd for Wasm {
    type V = v128;
    const HAS_DOT8: bool = cfg!(target_feature = "relaxed-simd");

    #[inline(always)]
    fn load<B: Block>(self, block: &B) -> v128 {
        // SAFETY: a Block has 16 readable bytes, and v128.load needs no alignment.
        unsafe { v128_load((&raw const *block).cast()) }
    }

    #[inline(always)]
    fn load_halves(self, low: &[f32; 2], high: &[f32; 2]) -> v128 {
        // SAFETY: both have 8 readable bytes, and these loads need no alignment.
        unsafe {
            v128_load64_lane::<1>(v128_load64_zero((&raw const *low).cast()), (&raw const *high).cast())
        }
    }

    #[inline(always)]
    fn store<B: Block>(self, block: &mut B, v: v128) {
        // SAFETY: a Block has 16 writable bytes that may take any value.
        unsafe { v128_store((&raw mut *block).cast(), v) }
    }

    #[inline(always)]
    fn splat_f32(self, x: f32) -> v128 {
        f32x4_splat(x)
    }

    #[inline(always)]
    fn splat_u32(self, x: u32) -> v128 {
        u32x4_splat(x)
    }

    #[inline(always)]
    fn first_i32(self, x: &i32) -> v128 {
        i32x4(*x, 0, 0, 0)
    }

    #[inline(always)]
    fn shr_u16<const N: u32>(self, a: v128) -> v128 {
        u16x8_shr(a, N)
    }

    #[inline(always)]
    fn shr_u32<const N: u32>(self, a: v128) -> v128 {
        u32x4_shr(a, N)
    }

    #[inline(always)]
    fn shl_u32<const N: u32>(self, a: v128) -> v128 {
        u32x4_shl(a, N)
    }

    #[inline(always)]
    fn shl_u16<const N: u32>(self, a: v128) -> v128 {
        u16x8_shl(a, N)
    }

    map! {
        and(a, b) = v128_and(a, b);
        or(a, b) = v128_or(a, b);
        xor(a, b) = v128_xor(a, b);
        add_f32(a, b) = f32x4_add(a, b);
        sub_f32(a, b) = f32x4_sub(a, b);
        mul_f32(a, b) = f32x4_mul(a, b);
        div_f32(a, b) = f32x4_div(a, b);
        // pmin(a, b) is b < a ? b : a.
        min_f32(a, b) = f32x4_pmin(b, a);
        max_f32(a, b) = f32x4_pmax(b, a);
        gt_f32(a, b) = f32x4_gt(a, b);
        nan_f32(a) = f32x4_ne(a, a);
        round_f32(a) = f32x4_nearest(a);
        from_i32(a) = f32x4_convert_i32x4(a);
        add_i32(a, b) = i32x4_add(a, b);
        sub_i32(a, b) = i32x4_sub(a, b);
        sub_i8(a, b) = i8x16_sub(a, b);
        max_i32(a, b) = i32x4_max(a, b);
        eq_i32(a, b) = i32x4_eq(a, b);
        low_u8(a, b) = i8x16_shuffle::<0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23>(a, b);
        high_u8(a, b) =
            i8x16_shuffle::<8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31>(a, b);
        low_u16(a, b) = i16x8_shuffle::<0, 8, 1, 9, 2, 10, 3, 11>(a, b);
        high_u16(a, b) = i16x8_shuffle::<4, 12, 5, 13, 6, 14, 7, 15>(a, b);
        high_u64(a, b) = i64x2_shuffle::<1, 3>(a, b);
        splat_lane_0(a) = i32x4_shuffle::<0, 0, 0, 0>(a, a);
        splat_lane_1(a) = i32x4_shuffle::<1, 1, 1, 1>(a, a);
        splat_lane_2(a) = i32x4_shuffle::<2, 2, 2, 2>(a, a);
        splat_lane_3(a) = i32x4_shuffle::<3, 3, 3, 3>(a, a);
        even_u32(a, b) = i32x4_shuffle::<0, 2, 4, 6>(a, b);
        odd_u32(a, b) = i32x4_shuffle::<1, 3, 5, 7>(a, b);
        narrow_i32(a, b) = i16x8_narrow_i32x4(a, b);
        narrow_i16(a, b) = i8x16_narrow_i16x8(a, b);
        narrow_i16_u8(a, b) = u8x16_narrow_i16x8(a, b);
        extend_low_i8(a) = i16x8_extend_low_i8x16(a);
        extend_high_i8(a) = i16x8_extend_high_i8x16(a);
        dot_i16(a, b) = i32x4_dot_i16x8(a, b);
    }

    #[cfg(not(target_feature = "relaxed-simd"))]
    map! {
        madd_f32(a, b, c) = f32x4_add(f32x4_mul(a, b), c);
        to_i32(a) = i32x4_trunc_sat_f32x4(a);
        swizzle(table, indices) = i8x16_swizzle(table, indices);
        dot_i8_u7(a, b) = i16x8_narrow_i32x4(
            i32x4_dot_i16x8(i16x8_extend_low_i8x16(a), i16x8_extend_low_i8x16(b)),
            i32x4_dot_i16x8(i16x8_extend_high_i8x16(a), i16x8_extend_high_i8x16(b))
        );
        dot_add_i8_u7(a, b, c) = i32x4_add(c, i32x4_extadd_pairwise_i16x8(Wasm.dot_i8_u7(a, b)));
    }

    #[cfg(target_feature = "relaxed-simd")]
    map! {
        madd_f32(a, b, c) = f32x4_relaxed_madd(a, b, c);
        to_i32(a) = i32x4_relaxed_trunc_f32x4(a);
        swizzle(table, indices) = i8x16_relaxed_swizzle(table, indices);
        dot_i8_u7(a, b) = i16x8_relaxed_dot_i8x16_i7x16(a, b);
        dot_add_i8_u7(a, b, c) = i32x4_relaxed_dot_i8x16_i7x16_add(a, b, c);
    }
}

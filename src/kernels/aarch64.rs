//! AArch64 with NEON, which every such processor has.

use core::arch::aarch64::*;

use super::simd::{Block, Simd};

/// NEON.
#[derive(Clone, Copy)]
pub struct Neon;

macro_rules! map {
    ($($name:ident($($arg:ident),*) = $body:expr;)+) => {
        $(#[inline(always)]
        fn $name(self, $($arg: uint8x16_t),*) -> uint8x16_t {
            // SAFETY: NEON is part of every AArch64 target.
            #[allow(unused_unsafe)]
            unsafe { $body }
        })+
    };
}

macro_rules! casts {
    ($($name:ident = $intrinsic:ident;)+) => {
        $(macro_rules! $name { ($a:expr) => { $intrinsic($a) }; })+
    };
}

casts! {
    f = vreinterpretq_f32_u8;
    from_f = vreinterpretq_u8_f32;
    s32 = vreinterpretq_s32_u8;
    from_s32 = vreinterpretq_u8_s32;
    u32 = vreinterpretq_u32_u8;
    from_u32 = vreinterpretq_u8_u32;
    s16 = vreinterpretq_s16_u8;
    from_s16 = vreinterpretq_u8_s16;
    u16 = vreinterpretq_u16_u8;
    from_u16 = vreinterpretq_u8_u16;
    u64 = vreinterpretq_u64_u8;
    from_u64 = vreinterpretq_u8_u64;
    s8 = vreinterpretq_s8_u8;
    from_s8 = vreinterpretq_u8_s8;
}

impl Simd for Neon {
    type V = uint8x16_t;
    const HAS_DOT8: bool = true;

    #[inline(always)]
    fn load<B: Block>(self, block: &B) -> uint8x16_t {
        // SAFETY: a Block has 16 readable bytes, and byte loads need no alignment.
        unsafe { vld1q_u8((&raw const *block).cast()) }
    }

    #[inline(always)]
    fn load_halves(self, low: &[f32; 2], high: &[f32; 2]) -> uint8x16_t {
        // SAFETY: both have 8 readable bytes, and byte loads need no alignment.
        unsafe { vcombine_u8(vld1_u8((&raw const *low).cast()), vld1_u8((&raw const *high).cast())) }
    }

    #[inline(always)]
    fn store<B: Block>(self, block: &mut B, v: uint8x16_t) {
        // SAFETY: a Block has 16 writable bytes that may take any value.
        unsafe { vst1q_u8((&raw mut *block).cast(), v) }
    }

    #[inline(always)]
    fn splat_f32(self, x: f32) -> uint8x16_t {
        self.splat_u32(x.to_bits())
    }

    map! {
        and(a, b) = vandq_u8(a, b);
        or(a, b) = vorrq_u8(a, b);
        xor(a, b) = veorq_u8(a, b);
        add_f32(a, b) = from_f!(vaddq_f32(f!(a), f!(b)));
        sub_f32(a, b) = from_f!(vsubq_f32(f!(a), f!(b)));
        mul_f32(a, b) = from_f!(vmulq_f32(f!(a), f!(b)));
        div_f32(a, b) = from_f!(vdivq_f32(f!(a), f!(b)));
        madd_f32(a, b, c) = from_f!(vfmaq_f32(f!(c), f!(a), f!(b)));
        // vminq_f32 treats NaN otherwise than the trait asks.
        min_f32(a, b) = from_f!(vbslq_f32(vcltq_f32(f!(a), f!(b)), f!(a), f!(b)));
        max_f32(a, b) = from_f!(vbslq_f32(vcgtq_f32(f!(a), f!(b)), f!(a), f!(b)));
        gt_f32(a, b) = from_u32!(vcgtq_f32(f!(a), f!(b)));
        nan_f32(a) = vmvnq_u8(from_u32!(vceqq_f32(f!(a), f!(a))));
        round_f32(a) = from_f!(vrndnq_f32(f!(a)));
        to_i32(a) = from_s32!(vcvtq_s32_f32(f!(a)));
        from_i32(a) = from_f!(vcvtq_f32_s32(s32!(a)));
        add_i32(a, b) = from_s32!(vaddq_s32(s32!(a), s32!(b)));
        sub_i32(a, b) = from_s32!(vsubq_s32(s32!(a), s32!(b)));
        sub_i8(a, b) = vsubq_u8(a, b);
        max_i32(a, b) = from_s32!(vmaxq_s32(s32!(a), s32!(b)));
        eq_i32(a, b) = from_u32!(vceqq_u32(u32!(a), u32!(b)));
        swizzle(table, indices) = vqtbl1q_u8(table, indices);
        low_u8(a, b) = vzip1q_u8(a, b);
        high_u8(a, b) = vzip2q_u8(a, b);
        low_u16(a, b) = from_u16!(vzip1q_u16(u16!(a), u16!(b)));
        high_u16(a, b) = from_u16!(vzip2q_u16(u16!(a), u16!(b)));
        high_u64(a, b) = from_u64!(vzip2q_u64(u64!(a), u64!(b)));
        splat_lane_0(a) = from_u32!(vdupq_laneq_u32::<0>(u32!(a)));
        splat_lane_1(a) = from_u32!(vdupq_laneq_u32::<1>(u32!(a)));
        splat_lane_2(a) = from_u32!(vdupq_laneq_u32::<2>(u32!(a)));
        splat_lane_3(a) = from_u32!(vdupq_laneq_u32::<3>(u32!(a)));
        even_u32(a, b) = from_u32!(vuzp1q_u32(u32!(a), u32!(b)));
        odd_u32(a, b) = from_u32!(vuzp2q_u32(u32!(a), u32!(b)));
        narrow_i32(a, b) = from_s16!(vqmovn_high_s32(vqmovn_s32(s32!(a)), s32!(b)));
        narrow_i16(a, b) = from_s8!(vqmovn_high_s16(vqmovn_s16(s16!(a)), s16!(b)));
        narrow_i16_u8(a, b) = vqmovun_high_s16(vqmovun_s16(s16!(a)), s16!(b));
        extend_low_i8(a) = from_s16!(vmovl_s8(vget_low_s8(s8!(a))));
        extend_high_i8(a) = from_s16!(vmovl_high_s8(s8!(a)));
        dot_i16(a, b) = from_s32!(vpaddq_s32(
            vmull_s16(vget_low_s16(s16!(a)), vget_low_s16(s16!(b))),
            vmull_high_s16(s16!(a), s16!(b))
        ));
        dot_i8_u7(a, b) = from_s16!(vpaddq_s16(
            vmull_s8(vget_low_s8(s8!(a)), vget_low_s8(s8!(b))),
            vmull_high_s8(s8!(a), s8!(b))
        ));
        dot_add_i8_u7(a, b, c) = from_s32!(vpadalq_s16(
            s32!(c),
            vpaddq_s16(vmull_s8(vget_low_s8(s8!(a)), vget_low_s8(s8!(b))), vmull_high_s8(s8!(a), s8!(b)))
        ));
    }

    #[inline(always)]
    fn splat_u32(self, x: u32) -> uint8x16_t {
        // SAFETY: NEON is part of every AArch64 target.
        unsafe { vreinterpretq_u8_u32(vdupq_n_u32(x)) }
    }

    #[inline(always)]
    fn shr_u16<const N: u32>(self, a: uint8x16_t) -> uint8x16_t {
        // SAFETY: as above. A shift by a negative count goes right.
        unsafe { from_u16!(vshlq_u16(u16!(a), vdupq_n_s16(-(N as i16)))) }
    }

    #[inline(always)]
    fn shr_u32<const N: u32>(self, a: uint8x16_t) -> uint8x16_t {
        // SAFETY: as above.
        unsafe { from_u32!(vshlq_u32(u32!(a), vdupq_n_s32(-(N as i32)))) }
    }

    #[inline(always)]
    fn shl_u32<const N: u32>(self, a: uint8x16_t) -> uint8x16_t {
        // SAFETY: as above.
        unsafe { from_u32!(vshlq_u32(u32!(a), vdupq_n_s32(N as i32))) }
    }

    #[inline(always)]
    fn shl_u16<const N: u32>(self, a: uint8x16_t) -> uint8x16_t {
        // SAFETY: as above.
        unsafe { from_u16!(vshlq_u16(u16!(a), vdupq_n_s16(N as i16))) }
    }
}

//! x86-64 with AVX2 and FMA, in 128-bit vectors, with or without AVX-VNNI.

use core::arch::x86_64::*;

use super::simd::{Block, Simd};

/// Proof that the processor has AVX2 and FMA, and with `VNNI` AVX-VNNI, which adds products of four bytes in one instruction.
#[derive(Clone, Copy)]
pub struct Avx<const VNNI: bool>(());

/// AVX2 and FMA.
pub type Avx2 = Avx<false>;
/// AVX-VNNI too.
pub type AvxVnni = Avx<true>;

impl<const VNNI: bool> Avx<VNNI> {
    /// Asks the processor.
    pub fn new() -> Option<Self> {
        let avx2 = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
        (avx2 && (!VNNI || is_x86_feature_detected!("avxvnni"))).then_some(Avx(()))
    }
}

macro_rules! map {
    ($($name:ident($($arg:ident),*) = $body:expr;)+) => {
        $(#[inline(always)]
        fn $name(self, $($arg: __m128i),*) -> __m128i {
            // SAFETY: `Avx::new` saw the feature that the instruction needs.
            unsafe { $body }
        })+
    };
}

macro_rules! f {
    ($a:expr) => {
        _mm_castsi128_ps($a)
    };
}

macro_rules! i {
    ($a:expr) => {
        _mm_castps_si128($a)
    };
}

impl<const VNNI: bool> Simd for Avx<VNNI> {
    type V = __m128i;
    const HAS_DOT8: bool = true;

    #[inline(always)]
    fn load<B: Block>(self, block: &B) -> __m128i {
        // SAFETY: a Block has 16 readable bytes, and loadu needs no alignment.
        unsafe { _mm_loadu_si128((&raw const *block).cast()) }
    }

    #[inline(always)]
    fn load_halves(self, low: &[f32; 2], high: &[f32; 2]) -> __m128i {
        // SAFETY: both have 8 readable bytes, and these loads need no alignment.
        unsafe {
            let low = _mm_castsi128_pd(_mm_loadl_epi64((&raw const *low).cast()));
            _mm_castpd_si128(_mm_loadh_pd(low, (&raw const *high).cast()))
        }
    }

    #[inline(always)]
    fn store<B: Block>(self, block: &mut B, v: __m128i) {
        // SAFETY: a Block has 16 writable bytes that may take any value.
        unsafe { _mm_storeu_si128((&raw mut *block).cast(), v) }
    }

    #[inline(always)]
    fn splat_f32(self, x: f32) -> __m128i {
        self.splat_u32(x.to_bits())
    }

    #[inline(always)]
    fn splat_u32(self, x: u32) -> __m128i {
        // SAFETY: `Avx::new` saw AVX2.
        unsafe { _mm_set1_epi32(x as i32) }
    }

    #[inline(always)]
    fn shr_u16<const N: u32>(self, a: __m128i) -> __m128i {
        // SAFETY: `Avx::new` saw AVX2.
        unsafe { _mm_srl_epi16(a, _mm_cvtsi32_si128(N as i32)) }
    }

    #[inline(always)]
    fn shr_u32<const N: u32>(self, a: __m128i) -> __m128i {
        // SAFETY: `Avx::new` saw AVX2.
        unsafe { _mm_srl_epi32(a, _mm_cvtsi32_si128(N as i32)) }
    }

    #[inline(always)]
    fn shl_u32<const N: u32>(self, a: __m128i) -> __m128i {
        // SAFETY: `Avx::new` saw AVX2.
        unsafe { _mm_sll_epi32(a, _mm_cvtsi32_si128(N as i32)) }
    }

    #[inline(always)]
    fn shl_u16<const N: u32>(self, a: __m128i) -> __m128i {
        // SAFETY: `Avx::new` saw AVX2.
        unsafe { _mm_sll_epi16(a, _mm_cvtsi32_si128(N as i32)) }
    }

    map! {
        and(a, b) = _mm_and_si128(a, b);
        or(a, b) = _mm_or_si128(a, b);
        xor(a, b) = _mm_xor_si128(a, b);
        add_f32(a, b) = i!(_mm_add_ps(f!(a), f!(b)));
        sub_f32(a, b) = i!(_mm_sub_ps(f!(a), f!(b)));
        mul_f32(a, b) = i!(_mm_mul_ps(f!(a), f!(b)));
        div_f32(a, b) = i!(_mm_div_ps(f!(a), f!(b)));
        madd_f32(a, b, c) = i!(_mm_fmadd_ps(f!(a), f!(b), f!(c)));
        min_f32(a, b) = i!(_mm_min_ps(f!(a), f!(b)));
        max_f32(a, b) = i!(_mm_max_ps(f!(a), f!(b)));
        gt_f32(a, b) = i!(_mm_cmpgt_ps(f!(a), f!(b)));
        nan_f32(a) = i!(_mm_cmpunord_ps(f!(a), f!(a)));
        round_f32(a) = i!(_mm_round_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(f!(a)));
        to_i32(a) = _mm_cvttps_epi32(f!(a));
        from_i32(a) = i!(_mm_cvtepi32_ps(a));
        add_i32(a, b) = _mm_add_epi32(a, b);
        sub_i32(a, b) = _mm_sub_epi32(a, b);
        sub_i8(a, b) = _mm_sub_epi8(a, b);
        max_i32(a, b) = _mm_max_epi32(a, b);
        eq_i32(a, b) = _mm_cmpeq_epi32(a, b);
        swizzle(table, indices) = _mm_shuffle_epi8(table, indices);
        low_u8(a, b) = _mm_unpacklo_epi8(a, b);
        high_u8(a, b) = _mm_unpackhi_epi8(a, b);
        low_u16(a, b) = _mm_unpacklo_epi16(a, b);
        high_u16(a, b) = _mm_unpackhi_epi16(a, b);
        high_u64(a, b) = _mm_unpackhi_epi64(a, b);
        splat_lane_0(a) = _mm_shuffle_epi32::<0x00>(a);
        splat_lane_1(a) = _mm_shuffle_epi32::<0x55>(a);
        splat_lane_2(a) = _mm_shuffle_epi32::<0xaa>(a);
        splat_lane_3(a) = _mm_shuffle_epi32::<0xff>(a);
        even_u32(a, b) = i!(_mm_shuffle_ps::<0b10_00_10_00>(f!(a), f!(b)));
        odd_u32(a, b) = i!(_mm_shuffle_ps::<0b11_01_11_01>(f!(a), f!(b)));
        narrow_i32(a, b) = _mm_packs_epi32(a, b);
        narrow_i16(a, b) = _mm_packs_epi16(a, b);
        narrow_i16_u8(a, b) = _mm_packus_epi16(a, b);
        extend_low_i8(a) = _mm_cvtepi8_epi16(a);
        extend_high_i8(a) = _mm_cvtepi8_epi16(_mm_unpackhi_epi64(a, a));
        dot_i16(a, b) = _mm_madd_epi16(a, b);
        // maddubs takes the unsigned operand first.
        dot_i8_u7(a, b) = _mm_maddubs_epi16(b, a);
        dot_add_i8_u7(a, b, c) = if VNNI {
            _mm_dpbusd_avx_epi32(c, b, a)
        } else {
            _mm_add_epi32(c, _mm_madd_epi16(_mm_maddubs_epi16(b, a), _mm_set1_epi16(1)))
        };
    }
}

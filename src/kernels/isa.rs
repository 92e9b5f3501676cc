//! Which instruction set the kernels run on.

/// An instruction set that kernels exist for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Isa {
    /// The reference, plain Rust.
    Scalar,
    /// WebAssembly SIMD.
    Simd128,
    /// WebAssembly relaxed SIMD.
    RelaxedSimd,
    /// x86-64 with AVX2, 128-bit vectors.
    Avx2,
    /// The same with AVX-VNNI for products of bytes.
    AvxVnni,
    /// AArch64.
    Neon,
}

impl Isa {
    /// The name in reports: `"scalar"`, `"simd128"`, `"relaxed-simd"`, `"avx2"`, `"avx-vnni"`, `"neon"`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Isa::Scalar => "scalar",
            Isa::Simd128 => "simd128",
            Isa::RelaxedSimd => "relaxed-simd",
            Isa::Avx2 => "avx2",
            Isa::AvxVnni => "avx-vnni",
            Isa::Neon => "neon",
        }
    }
}

/// The instruction set of a wasm module is decided when it is built, any other at run time.
#[cfg(all(target_arch = "wasm32", target_feature = "relaxed-simd"))]
const AVAILABLE: &[Isa] = &[Isa::RelaxedSimd];
#[cfg(all(target_arch = "wasm32", target_feature = "simd128", not(target_feature = "relaxed-simd")))]
const AVAILABLE: &[Isa] = &[Isa::Simd128];
#[cfg(target_arch = "x86_64")]
const AVAILABLE: &[Isa] = &[Isa::Scalar, Isa::Avx2, Isa::AvxVnni];
#[cfg(target_arch = "aarch64")]
const AVAILABLE: &[Isa] = &[Isa::Scalar, Isa::Neon];
#[cfg(not(any(
    all(target_arch = "wasm32", target_feature = "simd128"),
    target_arch = "x86_64",
    target_arch = "aarch64"
)))]
const AVAILABLE: &[Isa] = &[Isa::Scalar];

/// The instruction sets this build can use on this machine, the one in use last.
pub fn available() -> &'static [Isa] {
    #[cfg(target_arch = "x86_64")]
    {
        use super::x86_64::{Avx2, AvxVnni};
        let (avx2, vnni) = (Avx2::new().is_some(), AvxVnni::new().is_some());
        &AVAILABLE[..1 + usize::from(avx2) + usize::from(vnni)]
    }
    #[cfg(not(target_arch = "x86_64"))]
    AVAILABLE
}

/// The instruction set in use.
pub fn isa() -> Isa {
    #[cfg(not(target_arch = "wasm32"))]
    if let Some(isa) = FORCED.get() {
        return isa;
    }
    available()[available().len() - 1]
}

#[cfg(not(target_arch = "wasm32"))]
thread_local! {
    /// What [`with_isa`] asks for on this thread.
    static FORCED: std::cell::Cell<Option<Isa>> = const { std::cell::Cell::new(None) };
}

/// Calls `f` with kernels of `isa` on this thread, so that each can be tested on one machine.
///
/// # Panics
/// When `isa` is not among the [`available`] ones.
#[cfg(not(target_arch = "wasm32"))]
pub fn with_isa<T>(isa: Isa, f: impl FnOnce() -> T) -> T {
    /// Puts back what was, also when `f` panics.
    struct Before(Option<Isa>);
    impl Drop for Before {
        fn drop(&mut self) {
            FORCED.set(self.0);
        }
    }
    assert!(available().contains(&isa), "{} is not available", isa.as_str());
    let _before = Before(FORCED.replace(Some(isa)));
    f()
}

/// Whether kernels run on vectors.
pub(super) fn vectors() -> bool {
    isa() != Isa::Scalar
}

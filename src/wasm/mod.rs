//! The JavaScript boundary: classes that only convert. Errors cross as `Error` objects with a `code`.

mod bench;
mod error;
mod export;
mod loader;
mod model;
mod parity;
mod quantized;
mod session;
mod stored;
#[cfg(target_feature = "atomics")]
mod threads;
mod views;

use std::sync::{Mutex, PoisonError};

use wasm_bindgen::prelude::*;

use crate::checkpoint::Dtype;
use crate::error::{Error, ErrorCode, Result};
use crate::kernels::DesignTiming;
use crate::model::Config;

pub use error::to_js;
pub use loader::Loader;
pub use model::Model;
pub use quantized::Quantized;
pub use views::{Lab, Lens};

/// Panics are printed with their place, and kept for the page to tell: a trap by itself says only "unreachable".
#[wasm_bindgen(start)]
pub fn start() {
    std::panic::set_hook(Box::new(|info| {
        console_error_panic_hook::hook(info);
        let message = JsValue::from_str(&info.to_string());
        // Without the global object there is nobody to tell; the trap follows in any case.
        let _ = js_sys::Reflect::set(&js_sys::global(), &"nibblamaPanic".into(), &message);
    }));
}

/// The target features this build was compiled with, of those that variants differ in.
#[wasm_bindgen(js_name = targetFeatures)]
pub fn target_features() -> Vec<String> {
    let features = [
        ("simd128", cfg!(target_feature = "simd128")),
        ("relaxed-simd", cfg!(target_feature = "relaxed-simd")),
        ("atomics", cfg!(target_feature = "atomics")),
    ];
    features.into_iter().filter(|(_, on)| *on).map(|(name, _)| name.to_owned()).collect()
}

/// The kernels inside: "scalar", "simd128" or "relaxed-simd".
#[wasm_bindgen]
pub fn isa() -> String {
    crate::kernels::isa().as_str().to_owned()
}

/// [`kernels::calibrate`](crate::kernels::calibrate) with the clock `now`, in milliseconds: GB/s of each of
/// [`Design::ALL`](crate::kernels::Design::ALL), then the index of the one in use; nothing where there is no choice.
#[wasm_bindgen]
pub fn calibrate(now: &js_sys::Function) -> Vec<f64> {
    let clock = || now.call0(&JsValue::NULL).ok().and_then(|time| time.as_f64()).unwrap_or(f64::INFINITY);
    // Of all calls, the best times count: other work can only make them worse.
    static TIMINGS: Mutex<Vec<DesignTiming>> = Mutex::new(Vec::new());
    let mut timings = TIMINGS.lock().unwrap_or_else(PoisonError::into_inner);
    *timings = crate::kernels::calibrate(clock, &timings);
    let chosen = timings.iter().position(|timing| timing.chosen).map(|index| index as f64);
    timings.iter().map(|timing| timing.gigabytes_per_second).chain(chosen).collect()
}

/// Sizes from the text of a `config.json`, as JSON of [`crate::model::footprint::Footprint`]. Without
/// `quantization` (a `BitsAndBytesConfig` as JSON) the configuration's own is meant.
///
/// # Errors
/// What is wrong with the configuration, as an `Error`.
#[wasm_bindgen]
pub fn footprint(
    config: &str,
    quantization: Option<String>,
    dtype: Option<String>,
    context: usize,
) -> Result<String, JsValue> {
    let compute = || -> Result<String> {
        let config = Config::from_json("config.json", config.as_bytes())?;
        let asked = quantization.as_deref().map(loader::quantization_from).transpose()?;
        let quantization = asked.as_ref().or(config.quantization.as_ref());
        let unknown = |name: &str| Error::new(ErrorCode::InvalidArgument, "unknown dtype").found(name);
        let dtype = dtype.as_deref().map(|name| Dtype::from_torch_name(name).ok_or_else(|| unknown(name)));
        let sizes =
            crate::model::footprint::footprint(&config, quantization, dtype.transpose()?.as_ref(), context);
        Ok(sizes.to_json().to_string())
    };
    compute().map_err(to_js)
}

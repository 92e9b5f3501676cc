//! What JavaScript needs to run a pool of threads: each is a worker with an instance of its own of this module, on
//! the same memory. Only the builds with atomics have it.

use wasm_bindgen::prelude::*;

use crate::kernels;

/// The compiled module, for the workers of the pool.
#[wasm_bindgen(js_name = sharedModule)]
pub fn shared_module() -> JsValue {
    wasm_bindgen::module()
}

/// Shares products out to `threads` threads from now on: this one and as many workers of the pool.
#[wasm_bindgen(js_name = setThreads)]
pub fn set_threads(threads: usize) {
    kernels::set_threads(threads);
}

/// Makes this worker a thread of the pool. It never returns, except by a trap.
#[wasm_bindgen(js_name = runPoolThread)]
pub fn run_pool_thread() {
    kernels::work()
}

/// Says that this thread of the pool trapped, so that the thread that waits for it does not wait for ever.
#[wasm_bindgen(js_name = poolThreadFailed)]
pub fn pool_thread_failed() {
    kernels::fail();
}

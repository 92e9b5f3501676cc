//! Rows of a product over threads, or in place: the one file of the kernels that knows of threads.
//!
//! A pool of workers sleeps until a product is large enough to be worth waking them. The caller always computes
//! too and takes pieces like any worker. It waits for those workers only that have begun, so one that is not
//! scheduled in time costs nothing: the caller has done its share by then. Nobody spins for more than a few
//! microseconds, which is what the next product of the same token takes to come; on a busy machine spinning
//! steals the core that the other thread needs.
//!
//! Natively [`set_threads`] starts the workers; in WebAssembly, JavaScript does, each of which calls [`work`].

use std::marker::PhantomData;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// Multiplications from which a product is shared out: about 75 microseconds of near-exact arithmetic on one thread. Waking a
/// thread and waiting for it costs about 30; 1024 x 1024 lost a tenth by it.
const MIN_WORK: usize = 3 << 19;
/// Pieces per thread, so that a thread that is held up leaves the rest of its share to others.
const PIECES: usize = 4;
/// Looks at a counter before going to sleep.
const SPINS: u32 = 4000;

/// Columns of a (tokens, stride) array of results: those of one range of rows of the matrix. Other threads may
/// hold other ranges of the same array.
pub struct Columns<'a> {
    first: *mut f32,
    stride: usize,
    width: usize,
    tokens: usize,
    array: PhantomData<&'a mut [f32]>,
}

impl<'a> Columns<'a> {
    /// The parts of `y` (tokens, stride) that belong to `range`.
    ///
    /// # Safety
    /// Until the result is dropped nobody else reads or writes those columns.
    unsafe fn new(y: *mut f32, tokens: usize, stride: usize, range: &Range<usize>) -> Columns<'a> {
        // SAFETY: the range lies in the first of the rows.
        let first = unsafe { y.add(range.start) };
        Columns { first, stride, width: range.len(), tokens, array: PhantomData }
    }

    /// Number of tokens.
    pub fn tokens(&self) -> usize {
        self.tokens
    }

    /// The results of token `t`, one for each row of the range.
    pub fn of_token(&mut self, t: usize) -> &mut [f32] {
        assert!(t < self.tokens, "token {t} of {}", self.tokens);
        // SAFETY: a row of the array, whose columns `new` was given alone.
        unsafe { std::slice::from_raw_parts_mut(self.first.add(t * self.stride), self.width) }
    }
}

/// Calls `f(range, columns)` for ranges that cover `0..rows`, all but the last multiples of `multiple` long, on as
/// many threads as pay for products of `cols` columns. `y` is (tokens, rows).
pub fn split(
    rows: usize,
    cols: usize,
    multiple: usize,
    tokens: usize,
    y: &mut [f32],
    f: impl Fn(Range<usize>, Columns<'_>) + Sync,
) {
    assert_eq!(tokens.checked_mul(rows), Some(y.len()), "output length");
    let threads = threads();
    let work = y.len().saturating_mul(cols);
    // The lock also keeps a second product, of another thread, from the pool.
    let pool = if threads > 1 && work >= MIN_WORK { POOL.try_lock().ok() } else { None };
    let address = Address(y.as_mut_ptr());
    // SAFETY: the ranges do not overlap, and `y` is borrowed until all are done.
    let columns = |range: &Range<usize>| unsafe { Columns::new(address.get(), tokens, rows, range) };
    if pool.is_none() {
        return f(0..rows, columns(&(0..rows)));
    }
    let piece = rows.div_ceil(threads * PIECES).next_multiple_of(multiple);
    let next = AtomicUsize::new(0);
    fork_join(&|| {
        loop {
            let start = next.fetch_add(piece, Ordering::Relaxed);
            if start >= rows {
                return;
            }
            let range = start..rows.min(start + piece);
            let columns = columns(&range);
            f(range, columns);
        }
    });
}

/// A pointer that closures of several threads hold.
#[derive(Clone, Copy)]
struct Address(*mut f32);

impl Address {
    fn get(self) -> *mut f32 {
        self.0
    }
}

// SAFETY: what is behind it is shared out by `split`.
unsafe impl Send for Address {}
// SAFETY: as above.
unsafe impl Sync for Address {}

/// Held while a product is shared out.
static POOL: Mutex<()> = Mutex::new(());
static STATE: Mutex<State> = Mutex::new(State { job: None, number: 0, active: 0 });
/// A job is there.
static WORK: Condvar = Condvar::new();
/// No worker is active.
static DONE: Condvar = Condvar::new();
/// `State::number` and `State::active`, to be looked at without the lock.
static NUMBER: AtomicU32 = AtomicU32::new(0);
static ACTIVE: AtomicUsize = AtomicUsize::new(0);
/// Threads in use, the caller's included, and workers there are.
static THREADS: AtomicUsize = AtomicUsize::new(1);
#[cfg_attr(all(target_arch = "wasm32", not(target_feature = "atomics")), allow(dead_code))]
static WORKERS: AtomicUsize = AtomicUsize::new(0);
/// A worker panicked or trapped: what it was to write is missing.
static FAILED: AtomicBool = AtomicBool::new(false);

struct State {
    /// Takes pieces until none is left.
    job: Option<&'static (dyn Fn() + Sync)>,
    number: u32,
    active: usize,
}

fn lock() -> MutexGuard<'static, State> {
    // Nothing that can panic runs under the lock.
    STATE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs `job` on this thread and on every worker that wakes in time; returns when all are done.
fn fork_join(job: &(dyn Fn() + Sync)) {
    /// Waits for the workers also when `job` panics here.
    struct Join;
    impl Drop for Join {
        fn drop(&mut self) {
            let mut state = lock();
            state.job = None;
            if state.active > 0 {
                drop(state);
                let _ = (0..SPINS).find(|_| ACTIVE.load(Ordering::Acquire) == 0);
                state = lock();
            }
            while state.active > 0 {
                state = DONE.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
        }
    }
    // SAFETY: `Join` ends the life of the reference before this function returns or unwinds.
    let job = unsafe { std::mem::transmute::<&(dyn Fn() + Sync), &'static (dyn Fn() + Sync)>(job) };
    let join = Join;
    {
        let mut state = lock();
        state.job = Some(job);
        state.number = state.number.wrapping_add(1);
        NUMBER.store(state.number, Ordering::Release);
    }
    WORK.notify_all();
    job();
    drop(join);
    assert!(!FAILED.load(Ordering::Acquire), "a thread of the pool stopped");
}

/// Threads that products are shared out to, the caller's included.
pub fn threads() -> usize {
    THREADS.load(Ordering::Relaxed)
}

/// Shares products out to `threads` threads. Natively missing workers are started, which live as long as the
/// process; where that fails fewer are used. In WebAssembly JavaScript starts them. Returns the number in use.
pub fn set_threads(threads: usize) -> usize {
    #[cfg(not(target_arch = "wasm32"))]
    while WORKERS.load(Ordering::Relaxed) + 1 < threads {
        let index = WORKERS.fetch_add(1, Ordering::Relaxed);
        let name = format!("nibblama-{}", index + 1);
        if std::thread::Builder::new().name(name).spawn(move || work_as(index)).is_err() {
            WORKERS.fetch_sub(1, Ordering::Relaxed);
            break;
        }
    }
    #[cfg(not(target_arch = "wasm32"))]
    let threads = threads.min(WORKERS.load(Ordering::Relaxed) + 1);
    let threads = threads.max(1);
    THREADS.store(threads, Ordering::Relaxed);
    threads
}

/// Makes this thread a worker of the pool: it computes and sleeps in turns, and never returns.
#[cfg(all(target_arch = "wasm32", target_feature = "atomics"))]
pub fn work() -> ! {
    work_as(WORKERS.fetch_add(1, Ordering::Relaxed))
}

#[cfg_attr(all(target_arch = "wasm32", not(target_feature = "atomics")), allow(dead_code))]
fn work_as(index: usize) -> ! {
    let mut seen = 0;
    loop {
        let _ = (0..SPINS).find(|_| NUMBER.load(Ordering::Acquire) != seen);
        let mut state = lock();
        let job = loop {
            match state.job {
                Some(job) if state.number != seen && index + 1 < threads() => {
                    seen = state.number;
                    state.active += 1;
                    ACTIVE.store(state.active, Ordering::Release);
                    break job;
                }
                _ => {
                    seen = state.number;
                    state = WORK.wait(state).unwrap_or_else(PoisonError::into_inner);
                }
            }
        };
        drop(state);
        let failure = OnPanic;
        job();
        std::mem::forget(failure);
        leave();
    }
}

fn leave() {
    let mut state = lock();
    state.active = state.active.saturating_sub(1);
    ACTIVE.store(state.active, Ordering::Release);
    if state.active == 0 {
        DONE.notify_all();
    }
}

/// Dropped when a job unwinds.
struct OnPanic;

impl Drop for OnPanic {
    fn drop(&mut self) {
        fail();
    }
}

/// Says that a worker stopped in the middle of its work; the caller of the product panics in turn. To be called
/// from outside where panics do not unwind.
#[cfg_attr(all(target_arch = "wasm32", not(target_feature = "atomics")), allow(dead_code))]
pub fn fail() {
    FAILED.store(true, Ordering::Release);
    leave();
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The tests share one pool, and the second breaks it for a while.
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

    #[test]
    fn every_row_is_computed_once_on_any_number_of_threads() {
        let _one = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
        let (rows, tokens) = (1000, 3);
        for threads in [1, 2, 5] {
            assert_eq!(set_threads(threads), threads);
            for cols in [1, 4096] {
                for _ in 0..20 {
                    let mut y = vec![f32::NAN; tokens * rows];
                    split(rows, cols, 16, tokens, &mut y, |range, mut out| {
                        assert!(range.start.is_multiple_of(16));
                        for t in 0..out.tokens() {
                            for (y, r) in out.of_token(t).iter_mut().zip(range.clone()) {
                                assert!(y.is_nan(), "row {r} twice");
                                *y = (t * rows + r) as f32;
                            }
                        }
                    });
                    assert!(y.iter().enumerate().all(|(i, &y)| y == i as f32));
                }
            }
        }
        set_threads(1);
    }

    #[test]
    fn a_panic_on_a_worker_reaches_the_caller() {
        let _one = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
        set_threads(2);
        let caller = std::thread::current().id();
        let result = std::panic::catch_unwind(|| {
            let begun = AtomicBool::new(false);
            fork_join(&|| {
                if std::thread::current().id() != caller {
                    begun.store(true, Ordering::Release);
                    panic!("a worker's panic, part of the test");
                }
                while !begun.load(Ordering::Acquire) {
                    std::thread::yield_now();
                }
            });
        });
        assert!(FAILED.swap(false, Ordering::AcqRel));
        let message = *result.unwrap_err().downcast::<&str>().unwrap();
        assert_eq!(message, "a thread of the pool stopped");
        set_threads(1);
    }
}

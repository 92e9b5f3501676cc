//! Rows of a product over threads, or in place: the one file of the kernels that knows of threads.
//!
//! A pool of workers sleeps until a product is large enough to be worth waking them. The caller always computes
//! too and takes pieces like any worker. It waits for those workers only that have begun, so one that is not
//! scheduled in time costs nothing: the caller has done its share by then. Nobody spins for longer than the next
//! product of the same token takes to come, some tens of microseconds, and where workers turn out to be of no use, as
//! on a busy machine, they are woken ever more rarely: spinning steals the core that the other thread needs.
//!
//! Natively [`set_threads`] starts the workers; in WebAssembly, JavaScript does, each of which calls [`work`].

use std::marker::PhantomData;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// Multiplications from which a job is shared with threads that are awake: about 12 microseconds of near-exact arithmetic
/// on one thread.
const MIN_WORK: usize = 1 << 18;
/// Multiplications that lie between two times that sleeping threads are woken, at least. That takes the caller some
/// time, which is lost where they do not come, as on a busy machine; and where they come to the caller's own core, it
/// stands still until they sleep again. So it doubles each time that none was of use, up to the second number.
const WAKE_WORK: [usize; 2] = [1 << 23, 1 << 28];
/// Times that caller and workers take turns at pieces of work between two such times, if workers are of use. One that
/// runs in place of the caller takes what is left of a job: one turn, or two.
const TURNS: usize = 4;
/// Multiplications of the smallest piece, about 3 microseconds: as long as that may one thread wait for another at the end.
const PIECE_WORK: usize = 1 << 16;
/// Matrices of one job at most.
pub const TOGETHER: usize = 3;
/// Looks at a counter before a worker goes to sleep: about 30 microseconds, longer than what lies between two products
/// of a token, and a part of what it takes to be woken.
const SPINS: u32 = 120_000;
/// The same before the caller does, which waits for a last piece.
const JOIN_SPINS: u32 = 40_000;

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

/// A slice of which several threads write a part each.
pub struct Shared<'a, T> {
    first: *mut T,
    len: usize,
    slice: PhantomData<&'a mut [T]>,
}

// SAFETY: whoever takes parts answers for it that no two threads have the same.
unsafe impl<T: Send> Sync for Shared<'_, T> {}

impl<'a, T> Shared<'a, T> {
    pub fn new(slice: &'a mut [T]) -> Self {
        Shared { first: slice.as_mut_ptr(), len: slice.len(), slice: PhantomData }
    }

    /// The elements `range`.
    ///
    /// # Safety
    /// Until the result is dropped nobody else has any of them.
    #[allow(clippy::mut_from_ref)]
    pub unsafe fn part(&self, range: Range<usize>) -> &mut [T] {
        assert!(range.start <= range.end && range.end <= self.len, "{range:?} of {}", self.len);
        // SAFETY: the range lies in the slice, and is the caller's alone.
        unsafe { std::slice::from_raw_parts_mut(self.first.add(range.start), range.len()) }
    }
}

/// Calls `f(i, range, columns)` for ranges that cover the rows of every `ys[i]`, (tokens, rows) each, all but the last of
/// one multiples of `multiple` long, on as many threads as pay for products of `cols` columns.
///
/// # Panics
/// With more than [`TOGETHER`] of them.
pub fn split(
    ys: &mut [&mut [f32]],
    cols: usize,
    multiple: usize,
    tokens: usize,
    f: &(dyn Fn(usize, Range<usize>, Columns<'_>) + Sync),
) {
    assert!(ys.len() <= TOGETHER && tokens > 0, "{} matrices, {tokens} tokens", ys.len());
    let mut parts = [(Address(std::ptr::null_mut()), 0); TOGETHER];
    let (mut units, mut elements) = (0, 0);
    for (part, y) in parts.iter_mut().zip(ys) {
        assert!(y.len().is_multiple_of(tokens), "output length");
        let rows = y.len() / tokens;
        *part = (Address(y.as_mut_ptr()), rows);
        units += rows.div_ceil(multiple);
        elements += y.len();
    }
    // Units are counted over all parts.
    let run = |units: Range<usize>| {
        let mut before = 0;
        for (i, &(address, rows)) in parts.iter().enumerate() {
            let row = |unit: usize| (unit.saturating_sub(before) * multiple).min(rows);
            let range = row(units.start)..row(units.end);
            before += rows.div_ceil(multiple);
            if !range.is_empty() {
                // SAFETY: no other piece has these rows, and `ys` is borrowed until all are done.
                let columns = unsafe { Columns::new(address.get(), tokens, rows, &range) };
                f(i, range, columns);
            }
        }
    };
    let (threads, work) = (threads(), elements.saturating_mul(cols));
    // The lock also keeps a second job, of another thread, from the pool.
    let pool = if threads > 1 && work >= MIN_WORK { POOL.try_lock().ok() } else { None };
    let Some(mut pool) = pool else { return run(0..units) };
    pool.since = pool.since.saturating_add(work);
    let wake = pool.since >= pool.wait;
    if !wake && SPINNING.load(Ordering::Acquire) == 0 {
        return run(0..units);
    }
    let least = (PIECE_WORK / (work / units)).max(1);
    let (next, last, turns) = (AtomicUsize::new(0), AtomicBool::new(false), AtomicUsize::new(0));
    let woken = fork_join(wake, &|worker| {
        loop {
            // Large pieces first: the last ones decide how long a thread waits for another.
            let start = next.load(Ordering::Relaxed);
            if start >= units {
                return;
            }
            let end = units.min(start + ((units - start) / (2 * threads)).max(least));
            if next.compare_exchange(start, end, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
                if last.swap(worker, Ordering::Relaxed) != worker {
                    turns.fetch_add(1, Ordering::Relaxed);
                }
                run(start..end);
            }
        }
    });
    if woken {
        *pool = pool.woken();
    }
    pool.turns = pool.turns.saturating_add(turns.into_inner());
}

/// As long as the result lives no job is shared out.
pub fn alone() -> impl Drop {
    POOL.lock().unwrap_or_else(PoisonError::into_inner)
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

/// Held while a job is shared out.
static POOL: Mutex<Pool> = Mutex::new(Pool { since: 0, wait: WAKE_WORK[0], turns: TURNS });

struct Pool {
    /// Multiplications since threads were last woken.
    since: usize,
    /// Multiplications from which they are woken again.
    wait: usize,
    /// Times that caller and workers took turns since then.
    turns: usize,
}

impl Pool {
    /// When threads were woken just now.
    fn woken(&self) -> Pool {
        let [least, most] = WAKE_WORK;
        let wait = if self.turns < TURNS { most.min(2 * self.wait) } else { least };
        Pool { since: 0, wait, turns: 0 }
    }
}

static STATE: Mutex<State> = Mutex::new(State { job: None, number: 0, active: 0, asleep: 0 });
/// A job is there.
static WORK: Condvar = Condvar::new();
/// No worker is active.
static DONE: Condvar = Condvar::new();
/// `State::number` and `State::active`, to be looked at without the lock.
static NUMBER: AtomicU32 = AtomicU32::new(0);
static ACTIVE: AtomicUsize = AtomicUsize::new(0);
/// Workers that look for a job without sleeping.
static SPINNING: AtomicUsize = AtomicUsize::new(0);
/// Threads in use, the caller's included, and workers there are.
static THREADS: AtomicUsize = AtomicUsize::new(1);
#[cfg_attr(all(target_arch = "wasm32", not(target_feature = "atomics")), allow(dead_code))]
static WORKERS: AtomicUsize = AtomicUsize::new(0);
/// A worker panicked or trapped: what it was to write is missing.
static FAILED: AtomicBool = AtomicBool::new(false);

/// Told whether a worker runs it.
type Job<'a> = dyn Fn(bool) + Sync + 'a;

struct State {
    /// Takes pieces until none is left.
    job: Option<&'static Job<'static>>,
    number: u32,
    active: usize,
    /// Workers that wait for [`WORK`].
    asleep: usize,
}

fn lock() -> MutexGuard<'static, State> {
    // Nothing that can panic runs under the lock.
    STATE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs `job` on this thread and on every worker that comes in time, after waking those that sleep if `wake` says so;
/// returns when all are done, and whether any was woken.
fn fork_join(wake: bool, job: &Job<'_>) -> bool {
    /// Waits for the workers also when `job` panics here.
    struct Join;
    impl Drop for Join {
        fn drop(&mut self) {
            let mut state = lock();
            state.job = None;
            if state.active > 0 {
                drop(state);
                let _ = (0..JOIN_SPINS).find(|_| ACTIVE.load(Ordering::Acquire) == 0);
                state = lock();
            }
            while state.active > 0 {
                state = DONE.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
        }
    }
    // SAFETY: `Join` ends the life of the reference before this function returns or unwinds.
    let job = unsafe { std::mem::transmute::<&Job<'_>, &'static Job<'static>>(job) };
    let join = Join;
    let wake = {
        let mut state = lock();
        state.job = Some(job);
        state.number = state.number.wrapping_add(1);
        NUMBER.store(state.number, Ordering::Release);
        wake && state.asleep > 0
    };
    if wake {
        WORK.notify_all();
    }
    job(false);
    drop(join);
    assert!(!FAILED.load(Ordering::Acquire), "a thread of the pool stopped");
    wake
}

/// Threads that products are shared out to, the caller's included.
pub fn threads() -> usize {
    // Known where there can be no others, so that a build without threads holds nothing of the pool.
    if cfg!(all(target_arch = "wasm32", not(target_feature = "atomics"))) {
        return 1;
    }
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
    SPINNING.fetch_add(1, Ordering::AcqRel);
    loop {
        let new = (0..SPINS).any(|_| NUMBER.load(Ordering::Acquire) != seen);
        SPINNING.fetch_sub(1, Ordering::AcqRel);
        let mut state = lock();
        if !new && state.number == seen {
            state.asleep += 1;
            state = WORK.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.asleep -= 1;
        }
        seen = state.number;
        let job = state.job.filter(|_| index + 1 < threads());
        if job.is_some() {
            state.active += 1;
            ACTIVE.store(state.active, Ordering::Release);
        }
        drop(state);
        if let Some(job) = job {
            let failure = OnPanic;
            job(true);
            std::mem::forget(failure);
        }
        SPINNING.fetch_add(1, Ordering::AcqRel);
        if job.is_some() {
            leave();
        }
    }
}

fn leave() {
    let mut state = lock();
    state.active = state.active.saturating_sub(1);
    ACTIVE.store(state.active, Ordering::Release);
    if state.active == 0 && state.job.is_none() {
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
    fn threads_that_are_of_no_use_are_woken_ever_more_rarely() {
        let [least, most] = WAKE_WORK;
        let mut pool = Pool { since: least, wait: least, turns: TURNS };
        let mut waits = Vec::new();
        for turns in [TURNS, TURNS - 1, 0, 0, 0, 0, 0, 1, TURNS] {
            pool = Pool { turns, ..pool }.woken();
            assert_eq!((pool.since, pool.turns), (0, 0));
            waits.push(pool.wait / least);
        }
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 32, 32, 1]);
        assert_eq!(most, 32 * least);
    }

    #[test]
    fn every_row_is_computed_once_on_any_number_of_threads() {
        let _one = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
        let (sizes, tokens) = ([1000, 7, 256], 3);
        for threads in [1, 2, 5] {
            assert_eq!(set_threads(threads), threads);
            for cols in [1, 4096] {
                for _ in 0..20 {
                    let mut ys = sizes.map(|rows| vec![f32::NAN; tokens * rows]);
                    let mut parts = ys.each_mut().map(Vec::as_mut_slice);
                    split(&mut parts, cols, 16, tokens, &|i, range, mut out| {
                        assert!(range.start.is_multiple_of(16));
                        for t in 0..out.tokens() {
                            for (y, r) in out.of_token(t).iter_mut().zip(range.clone()) {
                                assert!(y.is_nan(), "row {r} of {i} twice");
                                *y = (t * sizes[i] + r) as f32;
                            }
                        }
                    });
                    for y in ys {
                        assert!(y.iter().enumerate().all(|(i, &y)| y == i as f32));
                    }
                }
            }
        }
        set_threads(1);
    }

    #[test]
    fn nothing_is_shared_out_while_somebody_wants_to_be_alone() {
        let _one = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
        set_threads(2);
        let pieces = || {
            let (mut y, pieces) = ([0.0; 1000], AtomicUsize::new(0));
            split(&mut [&mut y], 1 << 20, 1, 1, &|_, _, _| _ = pieces.fetch_add(1, Ordering::Relaxed));
            pieces.into_inner()
        };
        // Products of other tests have the pool at times.
        let shared_out = || {
            (0..1000).any(|_| {
                std::thread::sleep(std::time::Duration::from_millis(1));
                pieces() > 1
            })
        };
        assert!(shared_out());
        let alone = alone();
        assert_eq!(pieces(), 1);
        drop(alone);
        assert!(shared_out());
        set_threads(1);
    }

    #[test]
    fn a_panic_on_a_worker_reaches_the_caller() {
        let _one = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
        set_threads(2);
        let caller = std::thread::current().id();
        let result = std::panic::catch_unwind(|| {
            let begun = AtomicBool::new(false);
            fork_join(true, &|_| {
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

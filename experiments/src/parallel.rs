//! Several runs at once, with results that do not depend on how many.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// Does `work` for each place below `total` on `threads` threads, the caller's among them; results in the order of the
/// places. After a failure nothing new is begun.
///
/// # Errors
/// The failure at the lowest place, whichever came first.
pub fn in_parallel<T: Send, E: Send>(
    total: usize,
    threads: usize,
    work: impl Fn(usize) -> Result<T, E> + Sync,
) -> Result<Vec<T>, E> {
    let (next, failed) = (AtomicUsize::new(0), AtomicBool::new(false));
    let results: Vec<Mutex<Option<Result<T, E>>>> = (0..total).map(|_| Mutex::new(None)).collect();
    let worker = || {
        // Places are begun in order, so the first that fails is among those begun, whoever notices first.
        while !failed.load(Ordering::Relaxed) {
            let place = next.fetch_add(1, Ordering::Relaxed);
            if place >= total {
                break;
            }
            let result = work(place);
            failed.fetch_or(result.is_err(), Ordering::Relaxed);
            *results[place].lock().expect("no thread panics with it") = Some(result);
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..threads.clamp(1, total.max(1)) {
            scope.spawn(worker);
        }
        worker();
    });
    let results = results.into_iter();
    results
        .filter_map(|result| result.into_inner().expect("no thread panicked"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_in_order_and_the_first_failure_wins() {
        for threads in [1, 3, 50] {
            let squares = in_parallel(20, threads, |place| Ok::<_, usize>(place * place));
            assert_eq!(squares, Ok((0..20).map(|place| place * place).collect()));
            let failed = in_parallel(20, threads, |place| {
                if place % 7 == 6 { Err(place) } else { Ok(()) }
            });
            assert_eq!(failed, Err(6));
            assert_eq!(in_parallel(0, threads, Ok::<usize, usize>), Ok(Vec::new()));
        }
    }
}

// SPDX-License-Identifier: MIT OR Apache-2.0

//! Work that is done on several cores and whose results are taken in order. Only as many results
//! wait as there are workers twice over, however much work there is.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use crossbeam_channel::{Receiver, Sender, bounded};

use super::super::PublishError;

/// What makes one piece of the work, by its number.
type Make<'a, T> = dyn Fn(u64) -> Result<T, PublishError> + Sync + 'a;
/// What takes the results, by their numbers.
type Take<'a, T> = dyn FnMut(T) -> Result<(), PublishError> + 'a;

/// Has `workers` threads make the pieces `0..count`, and hands each to `take` in order. The first
/// error ends it.
pub(super) fn in_order<T: Send>(
    count: u64,
    workers: usize,
    make: &Make<'_, T>,
    take: &mut Take<'_, T>,
) -> Result<(), PublishError> {
    let in_flight = workers.saturating_mul(2).saturating_add(1);
    let (give, turns) = bounded(in_flight);
    let (done, finished) = bounded(in_flight);
    for _ in 0..in_flight {
        // The channel has room for exactly these.
        let _ = give.try_send(());
    }
    let next = AtomicU64::new(0);
    thread::scope(|scope| {
        for _ in 0..workers.max(1) {
            let (turns, done, next) = (turns.clone(), done.clone(), &next);
            scope.spawn(move || work(count, make, next, &turns, &done));
        }
        drop((turns, done));
        // Leaving this early drops the channels, which ends the workers.
        collect(count, give, finished, take)
    })
}

/// Makes one piece after another until there are none left. A turn is taken before a piece is
/// chosen, so the lowest piece that is not taken yet always has one: the queue cannot lock up.
fn work<T>(
    count: u64,
    make: &Make<'_, T>,
    next: &AtomicU64,
    turns: &Receiver<()>,
    done: &Sender<(u64, Result<T, PublishError>)>,
) {
    while turns.recv().is_ok() {
        let index = next.fetch_add(1, Ordering::Relaxed);
        if index >= count {
            return;
        }
        let made = make(index);
        let has_failed = made.is_err();
        if done.send((index, made)).is_err() || has_failed {
            return;
        }
    }
}

/// Brings the pieces back into order.
#[expect(clippy::needless_pass_by_value, reason = "the channels have to be dropped at the end")]
fn collect<T>(
    count: u64,
    give: Sender<()>,
    finished: Receiver<(u64, Result<T, PublishError>)>,
    take: &mut Take<'_, T>,
) -> Result<(), PublishError> {
    let mut early = BTreeMap::new();
    for index in 0..count {
        let made = loop {
            if let Some(made) = early.remove(&index) {
                break made;
            }
            match finished.recv() {
                Ok((number, made)) => early.insert(number, made?),
                Err(_) => {
                    let what = "a worker ended before its work was done".to_owned();
                    return Err(PublishError::Delta { what });
                }
            };
        };
        take(made)?;
        let _ = give.try_send(());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_come_in_order_whatever_the_number_of_workers() {
        for workers in [1, 2, 7] {
            let mut found = Vec::new();
            let make = |index: u64| {
                if index.is_multiple_of(3) {
                    thread::yield_now();
                }
                Ok(index * 2)
            };
            let mut take = |made| {
                found.push(made);
                Ok(())
            };
            in_order(100, workers, &make, &mut take).unwrap();
            assert!(found.into_iter().eq((0..100).map(|index| index * 2)));
        }
    }

    #[test]
    fn the_first_error_ends_it() {
        let failed = || PublishError::Delta { what: "x".to_owned() };
        let make = |index: u64| if index == 50 { Err(failed()) } else { Ok(()) };
        assert!(in_order(1_000_000, 3, &make, &mut |()| Ok(())).is_err());
        assert!(in_order(1_000_000, 3, &|_| Ok(()), &mut |()| Err(failed())).is_err());
        in_order(0, 3, &make, &mut |()| Err(failed())).unwrap();
    }
}

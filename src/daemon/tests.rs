//! The hand-offs under a model checker: whatever the order in which the threads run, nothing stalls and nothing is missed.
//!
//! Waits of the model never time out, so that whoever must be woken is, or the model stands still, which fails the test:
//! in the real program a time-out would hide a lost wake-up as a delay, which is what `faults.md` 64 is about.
//! The threads here are the skeletons of `data` and `deliver`: the same calls in the same order.

use std::sync::Arc;
use std::time::Duration;

use shuttle::scheduler::{DfsScheduler, PctScheduler, RandomScheduler, Scheduler};
use shuttle::thread;

use super::epoch::Epoch;
use super::feedback::{Feedback, Tell};
use super::handoff::{self, Giver, Taken, Taker};
use super::stop::Stop;
use super::wake::Wake;
use crate::engine::record::{Lost, Reason};
use crate::units::{Lines, Monotonic};

const LONG: Duration = Duration::from_secs(3600);

/// Runs a model in very many orders of its threads: those next to each other, chosen at random, and those with few but
/// badly placed interruptions, which is where such faults hide.
#[track_caller]
fn in_every_order(model: fn()) {
    fn run(scheduler: impl Scheduler + 'static, model: fn()) -> usize {
        shuttle::Runner::new(scheduler, shuttle::Config::default()).run(model)
    }
    let orders = run(DfsScheduler::new(Some(20_000), false), model)
        + run(RandomScheduler::new_from_seed(64, 5_000), model)
        + run(PctScheduler::new_from_seed(64, 3, 5_000), model);
    eprintln!("{orders} orders");
}

fn epoch(number: u64, giver: &Giver) -> Box<Epoch> {
    let mut epoch = giver.empty();
    assert!(epoch.batch.members.is_empty(), "memory comes back without what was in it");
    epoch.batch.members.push(number);
    epoch
}

/// Takes until nothing comes any more: the numbers of the epochs.
fn take_all(taker: &Taker) -> Vec<u64> {
    let mut numbers = Vec::new();
    loop {
        match taker.take(LONG) {
            Taken::Epoch(epoch) => {
                numbers.extend(&epoch.batch.members);
                taker.give_back(epoch);
            }
            Taken::Nothing => {}
            Taken::End => return numbers,
        }
    }
}

#[test]
fn fault_064_every_epoch_is_taken_in_its_order() {
    in_every_order(|| {
        let (giver, taker) = handoff::pair(|| {});
        let output = thread::spawn(move || take_all(&taker));
        for number in 1..=4 {
            giver.give(epoch(number, &giver)).expect("the output thread is there");
        }
        drop(giver);
        assert_eq!(output.join().expect("no panic"), [1, 2, 3, 4]);
    });
}

#[test]
fn fault_064_an_output_that_ends_holds_up_nobody() {
    in_every_order(|| {
        let (giver, taker) = handoff::pair(|| {});
        let output = thread::spawn(move || matches!(taker.take(LONG), Taken::Epoch(_)));
        let given = (1..=4).take_while(|number| giver.give(epoch(*number, &giver)).is_ok()).count();
        assert!((1..=2).contains(&given), "one is taken, one may wait in vain: {given}");
        assert!(output.join().expect("no panic"));
    });
}

/// While records wait for the output, the output thread waits for that and not for epochs.
#[test]
fn fault_064_an_epoch_wakes_who_waits_for_the_output() {
    in_every_order(|| {
        let bell = Arc::new(Wake::default());
        let ring = Arc::clone(&bell);
        let (giver, taker) = handoff::pair(move || ring.raise());
        let output = thread::spawn(move || {
            let mut numbers = Vec::<u64>::new();
            loop {
                match taker.try_take() {
                    Taken::Epoch(epoch) => numbers.extend(&epoch.batch.members),
                    Taken::Nothing => assert!(bell.wait(LONG)),
                    Taken::End => return numbers,
                }
            }
        });
        for number in 1..=3 {
            giver.give(epoch(number, &giver)).expect("the output thread is there");
        }
        drop(giver);
        assert_eq!(output.join().expect("no panic"), [1, 2, 3]);
    });
}

#[test]
fn fault_064_what_is_told_wakes_the_data_thread() {
    in_every_order(|| {
        let wake = Arc::new(Wake::default());
        let feedback = Arc::new(Feedback::new(Arc::clone(&wake)));
        let input = {
            let wake = Arc::clone(&wake);
            thread::spawn(move || wake.raise())
        };
        let output = {
            let feedback = Arc::clone(&feedback);
            thread::spawn(move || ["one", "two"].into_iter().for_each(|message| feedback.tell(tell(message))))
        };
        let mut told = Vec::new();
        while told.len() < 2 {
            told.extend(feedback.take().into_iter().map(|tell| tell.message));
            if told.len() < 2 {
                wake.wait(LONG);
            }
        }
        assert_eq!(told, ["one", "two"]);
        for thread in [input, output] {
            thread.join().expect("no panic");
        }
    });
}

fn tell(message: &str) -> Tell {
    Tell {
        reason: Reason::StoreDamaged,
        message: message.to_owned(),
        stream: None,
        uncounted: Lines(0),
        lost: Lost::default(),
        loss: None,
    }
}

/// The data thread: gives as long as nobody asks it to stop, sleeps in between, and gives a last epoch.
fn data(giver: Giver, wake: &Wake, stop: &Stop) -> u64 {
    let (mut number, mut gone) = (0, false);
    let mut cut = |gone: &mut bool| {
        number += 1;
        *gone |= giver.give(epoch(number, &giver)).is_err();
    };
    while !stop.is_requested() && !gone {
        cut(&mut gone);
        wake.wait(LONG);
    }
    stop.await_end();
    cut(&mut gone);
    number
}

#[test]
fn fault_064_a_request_to_stop_is_heard_in_any_moment() {
    in_every_order(|| {
        let wake = Arc::new(Wake::default());
        let stop = Arc::new(Stop::new(LONG, Arc::clone(&wake)));
        let (giver, taker) = handoff::pair(|| {});
        let output = thread::spawn(move || take_all(&taker));
        let main = {
            let stop = Arc::clone(&stop);
            thread::spawn(move || assert!(stop.request(Monotonic(0)), "nobody else asked"))
        };
        let given = data(giver, &wake, &stop);
        main.join().expect("no panic");
        assert!(stop.is_awaited() && stop.deadline().is_some());
        let taken = output.join().expect("no panic");
        assert!(taken.iter().copied().eq(1..=given), "{taken:?} of {given}");
    });
}

/// The output breaks while the data thread may be waiting for room: it asks for the end, and takes what still comes.
#[test]
fn fault_064_a_broken_output_lets_the_data_thread_end() {
    in_every_order(|| {
        let wake = Arc::new(Wake::default());
        let stop = Arc::new(Stop::new(LONG, Arc::clone(&wake)));
        let (giver, taker) = handoff::pair(|| {});
        let output = {
            let stop = Arc::clone(&stop);
            thread::spawn(move || {
                stop.request(Monotonic(0));
                take_all(&taker)
            })
        };
        let hints = {
            let wake = Arc::clone(&wake);
            thread::spawn(move || (0..2).for_each(|_| wake.raise()))
        };
        let given = data(giver, &wake, &stop);
        hints.join().expect("no panic");
        let taken = output.join().expect("no panic");
        assert!(taken.iter().copied().eq(1..=given), "{taken:?} of {given}");
    });
}

#[test]
fn a_flag_raised_early_is_seen_once() {
    in_every_order(|| {
        let wake = Arc::new(Wake::default());
        wake.raise();
        assert!(wake.wait(LONG));
        let again = Arc::clone(&wake);
        let input = thread::spawn(move || again.raise());
        assert!(wake.wait(LONG), "the next one is waited for");
        input.join().expect("no panic");
    });
}

//! The five incidents that squall exists for, each lived through from its first line to the last notification.
//!
//! | incident | presets |
//! |---|---|
//! | `retry_loop` | `retry-loop` |
//! | `spike_of_503` | `503-spike`, `exhausted-pools` |
//! | `slow_without_errors` | `slow-without-errors` |
//! | `black_friday`, and the path that was renamed | `exhausted-pools`, `connection-reset`, `error-share`; `not-found-share` |
//! | `autoscaled` | `retry-loop` |
//!
//! The whole way is real: a file that grows, `squall run` with the presets as they are, records in a file, a receiver of
//! webhooks on loopback. Rules go by the log's own time, so the minutes and hours of an incident are written in moments.
//! That is the time of the lines that concern a rule; in their silence it is the clock on the wall that goes on. So where an
//! alert has to resolve, a later line of its kind tells it that time has passed, and it resolves at the time at which it was
//! due. Only the pace of messages (`notify.group_wait` and its like) is set to at once.
//!
//! Each story is told twice: on a good day, and with a `kill -9` wherever it pauses, pending and firing among them. In both
//! each turn is told exactly once. Then `squall replay` reads the same log, and its timeline must say what was told.
//! Elsewhere: kills while a message is on its way (it comes twice, with one id), receivers that are away, alerts that resolve
//! in silence, and a thousand rules that fire at once (`daemon::notify`); the rules alone, to the second (`cli::presets`);
//! the containers' CPU and memory of the first incident (the resource watch).

mod aftermath;
mod autoscaled;
mod black_friday;
mod retry_loop;
mod slow_without_errors;
mod spike_of_503;
mod story;

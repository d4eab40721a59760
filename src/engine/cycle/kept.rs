//! What this stage keeps over a restart: streams in which a loop is open, whole.
//!
//! A deadline is kept as the time that was left, with the wall time at which it was, as `storm` does it. Entries have
//! other numbers in the next process; members are known again by their templates.

use std::borrow::Cow;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::watch::Watch;
use super::{Cycle, Loops};
use crate::units::{Now, Timestamp};

/// The loops of one stream.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct KeptCycle<'a> {
    /// The wall time at which this was true.
    wall: Timestamp,
    /// For each open loop, how long ago its last iteration came, and how long until it was to be told.
    waits: Vec<(Duration, Duration)>,
    watch: Cow<'a, Watch>,
}

impl Cycle {
    /// What is to be written down; nothing where no loop is open.
    pub fn kept(&self, now: Now) -> Option<KeptCycle<'_>> {
        let watch = self.watch.as_deref().filter(|watch| !watch.loops.is_empty())?;
        let waits = watch.loops.iter().map(|open| open.waits(now.arrival)).collect();
        Some(KeptCycle { wall: now.wall, waits, watch: watch.settled() })
    }

    /// The stream comes back from a restart: what it has done before its next line may not be known.
    pub fn take_back(&mut self, kept: Option<KeptCycle<'_>>, now: Now, shared: &mut Loops) {
        self.has_begun = false;
        self.is_resumed = true;
        let Some(KeptCycle { wall, waits, watch }) = kept else { return };
        let mut watch = watch.into_owned();
        watch.forget_entries();
        let stopped = now.wall.since(wall);
        for (open, (quiet_for, left)) in watch.loops.iter_mut().zip(waits) {
            open.resume(now.arrival, (quiet_for.saturating_add(stopped), left.saturating_sub(stopped)));
            shared.note_deadline(open.next_deadline());
            shared.listening += u32::from(open.is_listening());
        }
        self.watch = Some(Box::new(watch));
    }
}

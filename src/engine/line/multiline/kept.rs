//! What this stage keeps over a restart: the traces that are held, since their lines are behind the position at which
//! reading goes on.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Grammars, Trace, Traces};
use crate::engine::frame::IoStream;
use crate::engine::line::Line;
use crate::engine::line::kept::KeptPieces;
use crate::units::{Monotonic, Timestamp};

/// A trace, borrowed from the stage or from the bytes that were kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptTrace<'a> {
    #[serde(borrow)]
    text: KeptPieces<'a>,
    lines: u32,
    log_time: Timestamp,
    grammars: Grammars,
}

impl Trace {
    /// This trace, to be written down.
    pub fn kept(&self) -> KeptTrace<'_> {
        KeptTrace {
            text: self.held.kept(),
            lines: self.lines,
            log_time: self.log_time,
            grammars: self.grammars,
        }
    }

    /// Bytes of memory behind it.
    pub fn size(&self) -> usize {
        size_of::<Trace>() + self.held.size()
    }

    /// Hands the trace on as it is.
    pub fn flush(mut self, stream: IoStream, mut sink: impl FnMut(&Line<'_>)) {
        self.leave(stream, &mut sink);
    }
}

impl From<KeptTrace<'_>> for Trace {
    fn from(kept: KeptTrace<'_>) -> Trace {
        Trace {
            held: kept.text.into(),
            lines: kept.lines.max(1),
            log_time: kept.log_time,
            deadline: Monotonic(0),
            grammars: kept.grammars,
        }
    }
}

impl Traces {
    /// The trace of a standard stream.
    pub fn kept(&self, name: IoStream) -> Option<KeptTrace<'_>> {
        self.streams[name as usize].held().map(Trace::kept)
    }

    /// Goes on where the process before this one was, from `now` on. Called before the first line.
    pub fn take_over(&mut self, name: IoStream, mut trace: Box<Trace>, now: Monotonic) {
        trace.deadline = now + self.options.wait.max(PATIENCE);
        let stream = &mut self.streams[name as usize];
        stream.told = Some(trace.held.extent());
        stream.trace = Some(trace);
    }

    /// Whether lines of a trace came or went since this was last asked.
    pub fn has_news(&mut self, name: IoStream) -> bool {
        let stream = &mut self.streams[name as usize];
        let extent = stream.held().map(|trace| trace.held.extent());
        std::mem::replace(&mut stream.told, extent) != extent
    }
}

/// How long a trace waits at least for its source after a restart: the rest of it stands in the file already, but that
/// file must be found first.
pub const PATIENCE: Duration = Duration::from_secs(10);

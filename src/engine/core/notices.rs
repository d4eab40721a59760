//! Notices: what is said of lines that are not here as themselves.

use super::{Core, SHARE, Stream, StreamId};
use crate::engine::frame::IoStream;
use crate::engine::ledger::Noticed;
use crate::engine::record::encode::Encoder;
use crate::engine::record::envelope::{Envelope, Place};
use crate::engine::record::{Lost, Notice, Reason};
use crate::engine::storm::GRAIN;
use crate::engine::storm::novelty::Flood;
use crate::units::{Bytes, Lines, Monotonic, Now};

impl Core {
    /// Bytes that were never read.
    pub fn lost(&mut self, id: StreamId, reason: Reason, lost: Bytes, now: Now) {
        let what = if reason == Reason::Vanished { "deleted" } else { "truncated" };
        let message = match lost {
            Bytes(0) => format!("file {what}: all of it that was seen had been read"),
            lost => format!("at least {lost} bytes were lost: file {what} before it was read"),
        };
        let lost = Lost { bytes: Some(lost), ..Lost::default() };
        self.notices += 1;
        let notice = Notice::of_loss(reason, message, lost, now.wall);
        self.encoder.notice(&self.streams[id.0 as usize].envelope, &notice);
    }

    /// Says something about a stream that stands for none of its accepted lines.
    pub fn tell(&mut self, id: StreamId, notice: &Notice<'_>) {
        self.notices += 1;
        self.encoder.notice(&self.streams[id.0 as usize].envelope, notice);
    }

    /// Says something about the stream with this name, or, where there is none, about the instance itself.
    pub fn notice(&mut self, about: Option<&str>, notice: &Notice<'_>) {
        self.notices += 1;
        let named = |stream: &&mut Stream| about.is_some_and(|key| *stream.envelope.key == *key);
        if let Some(stream) = self.streams.iter_mut().find(named) {
            stream.account.noticed += notice.count;
            self.noticed.count(notice.reason, notice.count);
            return self.encoder.notice(&stream.envelope, notice);
        }
        let key = about.map_or_else(|| format!("{}/squall", self.identity.node), str::to_owned);
        let envelope = Envelope::new(&key, IoStream::Unknown, &Place::default(), &self.identity);
        self.encoder.notice(&envelope, notice);
    }

    /// Tells `SHARE` floods at most, all or those that are due by `now`. True when none is left.
    pub(super) fn tell_floods(&mut self, now: Option<Monotonic>) -> bool {
        let mut told = 0;
        for stream in &mut self.streams {
            if told >= SHARE as u64 {
                return false;
            }
            let here = stream.tell_floods(&mut self.encoder, &mut self.noticed, now);
            self.notices += here;
            told += here;
        }
        let deadlines =
            |stream: &Stream| stream.novelty.deadline().into_iter().chain(stream.shed.deadline()).min();
        let next = self.streams.iter().filter_map(deadlines).min();
        self.next_flood = next.map(|next| now.map_or(next, |now| next.max(now + GRAIN)));
        true
    }
}

impl Noticed {
    /// Counts the lines of a notice. Only these reasons stand for any.
    pub(super) fn count(&mut self, reason: Reason, lines: Lines) {
        match reason {
            Reason::NoveltyFlood => self.novelty_flood += lines,
            Reason::Shed => self.shed += lines,
            _ => self.store_damaged += lines,
        }
    }
}

impl Stream {
    /// Tells the floods that are due by `now`, or all. Returns how many.
    pub(super) fn tell_floods(
        &mut self,
        encoder: &mut Encoder,
        noticed: &mut Noticed,
        now: Option<Monotonic>,
    ) -> u64 {
        let novelty = self.novelty.take(now).map(|flood| (Reason::NoveltyFlood, flood));
        let shed = self.shed.take(now).map(|flood| (Reason::Shed, flood));
        let mut told = 0;
        for (reason, flood) in novelty.into_iter().chain(shed) {
            encoder.notice(&self.envelope, &flood_notice(reason, &flood));
            self.account.noticed += flood.count;
            noticed.count(reason, flood.count);
            told += 1;
        }
        told
    }
}

fn flood_notice(reason: Reason, flood: &Flood) -> Notice<'_> {
    let what = match reason {
        Reason::Shed => "lines of known templates were only counted, because there was no room for more",
        _ => "lines of templates never seen before came too fast to be sent one by one",
    };
    Notice {
        reason,
        message: format!("{} {what}", flood.count),
        time: flood.last,
        offset: flood.offset,
        count: flood.count,
        lost: Lost::default(),
        families: &flood.families,
        examples: &flood.examples,
    }
}

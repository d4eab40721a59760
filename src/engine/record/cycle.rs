//! Loop records.
//!
//! What is written of log text (the message, the endpoint) is escaped and capped where it is taken; names and numbers are
//! ours. A record is a few KiB at most: 16 members, 32 intervals.

use super::Kind;
use super::encode::{EXAMPLE_ROOM, Encoder};
use super::envelope::Envelope;
use super::json;
use crate::engine::cycle::{LoopView, Period};
use crate::units::Lines;

impl Encoder {
    /// How a loop stands. The record stands for no lines.
    pub fn cycle(&mut self, envelope: &Envelope, view: &LoopView) {
        let start = self.begin(view.seen);
        self.message(view.message().as_bytes(), EXAMPLE_ROOM);
        self.log(envelope, None, 0);
        self.identity(envelope, Kind::Loop);
        self.raw(&envelope.instance);
        self.hex(",\"loop\":\"", view.id.0);
        self.raw(b",\"members\":[");
        for (index, member) in view.members.iter().enumerate() {
            self.hex(if index == 0 { "\"" } else { ",\"" }, member.template.0);
        }
        self.raw(b"]");
        self.field(",\"iterations\":", view.iterations);
        self.period(view.period);
        self.word(",\"verdict\":\"", view.judgement.verdict.as_str());
        if view.judgement.verdict.grows() {
            self.raw(if view.judgement.jitter { b",\"jitter\":true" } else { b",\"jitter\":false" });
            if let Some(cap) = view.judgement.cap {
                self.float(",\"cap\":", cap);
            }
        }
        if view.falls > 0 {
            self.field(",\"restarts\":", u64::from(view.falls));
        }
        self.intervals(",\"intervals\":{\"first\":[", &view.first);
        self.intervals(",\"last\":[", &view.last);
        self.raw(b",\"unit\":\"s\"}");
        if let Some(attempts) = view.attempts {
            self.field(",\"attempts\":", u64::from(attempts.last));
            if let Some(limit) = attempts.limit {
                self.field(",\"attempts_limit\":", u64::from(limit));
            }
        }
        if let Some(endpoint) = &view.endpoint {
            self.raw(b",\"endpoint\":");
            json::string(&mut self.batch.bytes, endpoint.as_bytes());
        }
        if let Some(advice) = view.advice() {
            self.raw(b",\"advice\":");
            json::string(&mut self.batch.bytes, advice.as_bytes());
        }
        self.time(",\"started\":\"", view.started);
        self.time(",\"last\":\"", view.seen);
        match view.closed_by {
            None => self.word(",\"state\":\"", "open"),
            Some(closed_by) => {
                self.word(",\"state\":\"", "closed");
                self.word(",\"closed_by\":\"", closed_by.as_str());
            }
        }
        self.end(start, envelope, Kind::Loop, Lines(0), view.seen);
    }

    fn period(&mut self, period: Period) {
        let Period { p50, p95, min, max } = period;
        let names = [",\"period\":{\"p50\":", ",\"p95\":", ",\"min\":", ",\"max\":"];
        for (name, part) in names.into_iter().zip([p50, p95, min, max]) {
            self.float(name, part);
        }
        self.raw(b",\"unit\":\"s\"}");
    }

    /// The numbers of a list that `name` has opened.
    fn intervals(&mut self, name: &str, intervals: &[f32]) {
        self.raw(name.as_bytes());
        for (index, &interval) in intervals.iter().enumerate() {
            self.float(if index == 0 { "" } else { "," }, f64::from(interval));
        }
        self.raw(b"]");
    }

    fn float(&mut self, name: &str, seconds: f64) {
        self.raw(name.as_bytes());
        json::float(&mut self.batch.bytes, rounded(seconds));
    }
}

/// Milliseconds, and four digits of what is shorter than a tenth of a second.
fn rounded(seconds: f64) -> f64 {
    let unit = if seconds < 0.1 { 1e5 } else { 1e3 };
    (seconds * unit).round() / unit
}

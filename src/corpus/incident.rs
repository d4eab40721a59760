//! The incident: an api-gateway that lost its WebSocket and logged every retry, for ever.
//!
//! 97 % of the lines are the retry loop: two lines in turn, and in two of five iterations the client adds details
//! that change each time. 3 % are the gateway's ordinary life, each line with an id of its own, so that it can be
//! recognised word for word wherever it arrives. The shares are exact, not drawn.
//! The clock is the storm's own: a calm minute, then about 15 lines a second (four hours for the default length),
//! then "restored" and a calm end.

use super::random::Random;
use super::template::{Scene, Template};
use crate::engine::frame::IoStream;
use crate::units::{Bytes, Lines, Timestamp};

/// How many lines had piled up when somebody looked.
pub const LINES: u64 = 220_314;

/// Whether a line belongs to the retry loop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A line of the retry loop.
    Storm,
    /// A line of the gateway's ordinary life; no other line of the incident has the same text.
    Calm,
}

/// What is known of a line besides its text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    /// When it was written; later than the line before it.
    pub time: Timestamp,
    /// Where it was written to.
    pub stream: IoStream,
    /// What it is.
    pub kind: Kind,
}

/// What an incident holds, counted as it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Truth {
    /// All lines.
    pub lines: Lines,
    /// Lines of the retry loop.
    pub storm: Lines,
    /// All others.
    pub calm: Lines,
    /// The length of all texts, without newlines and envelopes.
    pub bytes: Bytes,
}

/// Makes the lines of one incident, one after the other.
#[derive(Clone, Debug)]
pub struct Incident {
    scene: Scene,
    start: Timestamp,
    storm_left: u64,
    calm_left: u64,
    /// Calm lines before the storm, of those in `calm_left`.
    head_left: u64,
    /// Calm lines after the storm, of those in `calm_left`.
    tail: u64,
    retry: Retry,
    phrases: Phrases,
    truth: Truth,
}

impl Incident {
    /// An incident of `lines` lines whose first line is written at `start`.
    pub fn new(seed: u64, lines: u64, start: Timestamp) -> Incident {
        let calm = (u128::from(lines) * CALM_PERCENT / 100) as u64;
        let quiet = QUIET_LINES.min(calm / 3);
        Incident {
            scene: Scene::new(seed, start),
            start,
            storm_left: lines - calm,
            calm_left: calm,
            head_left: quiet,
            tail: quiet,
            retry: Retry::default(),
            phrases: Phrases::parse(),
            truth: Truth::default(),
        }
    }

    /// Replaces `text` with the next line, without its newline; `None` after the last one.
    pub fn next_into(&mut self, text: &mut Vec<u8>) -> Option<Event> {
        text.clear();
        let phase = self.phase()?;
        self.advance_clock(phase);
        let time = self.scene.time;
        let (kind, stream) = if phase == Phase::Storm && !self.is_calm_in_storm() {
            self.storm_left -= 1;
            self.retry.write(text, &mut self.scene, &self.phrases);
            (Kind::Storm, IoStream::Stderr)
        } else {
            (Kind::Calm, self.write_calm(phase, text))
        };
        self.truth.lines += Lines(1);
        self.truth.bytes += Bytes(text.len() as u64);
        match kind {
            Kind::Storm => self.truth.storm += Lines(1),
            Kind::Calm => self.truth.calm += Lines(1),
        }
        Some(Event { time, stream, kind })
    }

    /// What has been made so far: the whole truth once [`next_into`](Self::next_into) has said `None`.
    pub fn truth(&self) -> Truth {
        self.truth
    }

    fn phase(&self) -> Option<Phase> {
        if self.head_left > 0 {
            Some(Phase::Before)
        } else if self.storm_left > 0 {
            Some(Phase::Storm)
        } else {
            (self.calm_left > 0).then_some(Phase::After)
        }
    }

    fn advance_clock(&mut self, phase: Phase) {
        if self.truth.lines == Lines(0) {
            return;
        }
        let mean = if phase == Phase::Storm { STORM_GAP } else { QUIET_GAP };
        let gap = jittered(&mut self.scene.random, mean);
        self.scene.time.0 = self.scene.time.0.saturating_add(gap);
        if self.truth.storm == Lines(0) && phase == Phase::Storm {
            self.scene.time = self.scene.time.max(Timestamp(self.start.0.saturating_add(MINUTE)));
        }
    }

    /// Draws whether the next line of the storm is a calm one, such that all that are left come, evenly spread, and
    /// that the first and the last line of the storm are its own.
    fn is_calm_in_storm(&mut self) -> bool {
        let calm = self.calm_left - self.tail;
        self.truth.storm > Lines(0) && self.scene.random.below(self.storm_left - 1 + calm) < calm
    }

    fn write_calm(&mut self, phase: Phase, text: &mut Vec<u8>) -> IoStream {
        let first_after = phase == Phase::After && self.calm_left == self.tail;
        let last_before = phase == Phase::Before && self.head_left == 1;
        self.calm_left -= 1;
        self.head_left = self.head_left.saturating_sub(1);
        let (stream, template) = match (first_after, last_before) {
            (true, _) => &self.phrases.restored,
            (_, true) => &self.phrases.lost,
            _ => self.scene.random.pick(&self.phrases.ordinary),
        };
        template.render(text, &mut self.scene);
        *stream
    }
}

impl Truth {
    /// The truth about an incident, found by making it: for those who need it before the lines.
    pub fn of(mut incident: Incident) -> Truth {
        let mut text = Vec::new();
        while incident.next_into(&mut text).is_some() {}
        incident.truth
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Before,
    Storm,
    After,
}

/// The retry loop: which of its two lines is next, and whether with details.
#[derive(Clone, Copy, Debug, Default)]
struct Retry {
    /// Lines written so far.
    lines: u64,
    /// One bit for each of five iterations: whether both of its lines carry details.
    detailed: u8,
}

impl Retry {
    fn write(&mut self, text: &mut Vec<u8>, scene: &mut Scene, phrases: &Phrases) {
        let iteration = self.lines / 2 % 5;
        if self.lines.is_multiple_of(10) {
            self.detailed = *scene.random.pick(&TWO_OF_FIVE);
        }
        let detailed = self.detailed >> iteration & 1 == 1;
        match (self.lines.is_multiple_of(2), detailed) {
            (true, false) => text.extend_from_slice(TIMEOUT.as_bytes()),
            (true, true) => phrases.timeout.render(text, scene),
            (false, false) => text.extend_from_slice(FAILED.as_bytes()),
            (false, true) => phrases.failed.render(text, scene),
        }
        self.lines += 1;
    }
}

type Phrase = (IoStream, Template);

#[derive(Clone, Debug)]
struct Phrases {
    timeout: Template,
    failed: Template,
    lost: Phrase,
    restored: Phrase,
    ordinary: Vec<Phrase>,
}

impl Phrases {
    fn parse() -> Phrases {
        let phrase = |(stream, template)| (stream, Template::parse(template));
        Phrases {
            timeout: Template::parse(TIMEOUT_DETAILED),
            failed: Template::parse(FAILED_DETAILED),
            lost: phrase((IoStream::Stderr, LOST)),
            restored: phrase((IoStream::Stdout, RESTORED)),
            ordinary: ORDINARY.map(phrase).into(),
        }
    }
}

/// From half of `mean` to one and a half of it.
fn jittered(random: &mut Random, mean: i64) -> i64 {
    mean / 2 + random.below(mean.unsigned_abs()) as i64
}

const CALM_PERCENT: u128 = 3;
const MINUTE: i64 = 60 * Timestamp::SECOND;

/// Calm lines before the storm, and as many after it: a minute's worth at the rate that they have inside it.
const QUIET_LINES: u64 = 27;
const QUIET_GAP: i64 = MINUTE / QUIET_LINES as i64;

/// 15 lines a second.
const STORM_GAP: i64 = Timestamp::SECOND / 15;

/// The iterations of five that are told in detail. Never two in a row, so that the loop's interval stays as steady in
/// each kind of its lines as it is: this client does not back off, and a reader of either kind must see that.
const TWO_OF_FIVE: [u8; 3] = [0b01010, 0b10010, 0b10100];

/// The first line of an iteration.
pub const TIMEOUT: &str = "WebSocket connection timeout";
/// The second line of an iteration.
pub const FAILED: &str = "Reconnection failed after 5 attempts";

// One shape of details for each line: more would spread the storm over entries too slow to be storms themselves.
const TIMEOUT_DETAILED: &str =
    "WebSocket connection timeout: wss://api.example-broker.com:10000/?req=<hex:8> (attempt <1..5>)";
const FAILED_DETAILED: &str =
    "Reconnection failed after 5 attempts in <50010..50099> ms, port <32768..60999>";

const LOST: &str = "WARN upstream socket closed by peer, session=<id> code=1006";
const RESTORED: &str = "WebSocket connection restored, session=<id>";

/// The gateway's ordinary life. At 15 lines a second a template of these comes about twice a minute: far from any
/// storm's threshold. Each holds an id, so no two lines are equal.
const ORDINARY: [(IoStream, &str); 16] = [
    (IoStream::Stdout, "GET /api/v1/quotes/<symbol> 200 <2..90>ms req=<id>"),
    (IoStream::Stdout, "GET /api/v1/orders?limit=<10|20|50>&page=<1..40> 200 <4..140>ms req=<id>"),
    (IoStream::Stdout, "POST /api/v1/orders 201 <12..210>ms req=<id> user=<user>"),
    (IoStream::Stdout, "DELETE /api/v1/watchlists/<1..9000> 204 <3..60>ms req=<id>"),
    (IoStream::Stdout, "GET /api/v1/positions 304 <1..9>ms req=<id>"),
    (IoStream::Stdout, "GET /health 200 <1..4>ms probe=<id>"),
    (IoStream::Stdout, "access token refreshed for <user>, jti=<id>, expires in <600..3600> s"),
    (IoStream::Stdout, "routes reloaded: <20..60> routes, revision <id>"),
    (IoStream::Stdout, "cache stats: hits=<1000..90000> misses=<10..900> evicted=<0..50> epoch=<id>"),
    (IoStream::Stdout, "gc: minor, <1..30> ms, <100..900> MiB -> <40..99> MiB, cycle <id>"),
    (IoStream::Stdout, "metrics flushed: <200..400> series in <2..30> ms, batch=<id>"),
    (IoStream::Stdout, "session opened for <user> from <ip>, sid=<id>"),
    (IoStream::Stdout, "session closed after <1..3600> s, sid=<id>"),
    (IoStream::Stdout, "order <id> routed to <service>"),
    (IoStream::Stderr, "WARN slow request: GET /api/v1/reports/<symbol> took <1000..4000> ms req=<id>"),
    (IoStream::Stderr, "WARN rate limit: <ip> at <90..99> % of its quota, key=<id>"),
];

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    const START: Timestamp = Timestamp(1_770_336_000_000_000_000);

    fn all(seed: u64, lines: u64) -> (Vec<(Event, String)>, Truth) {
        let mut incident = Incident::new(seed, lines, START);
        let (mut events, mut text) = (Vec::new(), Vec::new());
        while let Some(event) = incident.next_into(&mut text) {
            events.push((event, String::from_utf8(text.clone()).expect("UTF-8")));
        }
        assert_eq!(incident.next_into(&mut text), None, "the end stays the end");
        (events, incident.truth())
    }

    fn is_storm_text(text: &str) -> bool {
        text.starts_with(TIMEOUT) || text.starts_with(FAILED)
    }

    #[test]
    fn the_truth_is_exact() {
        #[track_caller]
        fn check(lines: u64, storm: u64, calm: u64) {
            let (events, truth) = all(7, lines);
            let of = |kind| events.iter().filter(|(event, _)| event.kind == kind).count() as u64;
            let bytes = events.iter().map(|(_, text)| text.len() as u64).sum();
            assert_eq!((of(Kind::Storm), of(Kind::Calm)), (storm, calm));
            let want =
                Truth { lines: Lines(lines), storm: Lines(storm), calm: Lines(calm), bytes: Bytes(bytes) };
            assert_eq!(truth, want);
            assert_eq!(Truth::of(Incident::new(7, lines, START)), want);
        }
        check(0, 0, 0);
        check(1, 1, 0);
        check(34, 33, 1);
        check(100, 97, 3);
        check(10_000, 9_700, 300);
        check(LINES, 213_705, 6_609);
    }

    #[test]
    fn every_calm_line_is_the_only_one() {
        let (events, truth) = all(3, 60_000);
        let calm: HashSet<&str> = events
            .iter()
            .filter(|(event, _)| event.kind == Kind::Calm)
            .map(|(_, text)| text.as_str())
            .collect();
        assert_eq!(calm.len() as u64, truth.calm.0);
        assert!(!calm.iter().any(|text| is_storm_text(text)));
        let phrases = Phrases::parse();
        let each = phrases.ordinary.iter().chain([&phrases.lost, &phrases.restored]);
        assert!(each.map(|(_, template)| template).all(Template::is_unique));
    }

    #[test]
    fn the_storm_is_two_lines_in_turn() {
        let (events, _) = all(11, 50_000);
        let storm: Vec<&(Event, String)> =
            events.iter().filter(|(event, _)| event.kind == Kind::Storm).collect();
        for (index, (event, text)) in storm.iter().enumerate() {
            assert!(
                text.starts_with([TIMEOUT, FAILED][index % 2]) && event.stream == IoStream::Stderr,
                "{text}"
            );
        }
        let detailed = storm.iter().filter(|(_, text)| text != TIMEOUT && text != FAILED).count();
        assert_eq!(detailed * 5, storm.len() * 2, "40 % carry details");
    }

    #[test]
    fn the_clock_is_the_storms_own() {
        let (events, truth) = all(5, LINES);
        let is_storm = |(event, _): &&(Event, String)| event.kind == Kind::Storm;
        assert_eq!(events[0].0.time, START);
        assert!(events.windows(2).all(|pair| pair[0].0.time < pair[1].0.time));
        let first = events.iter().find(is_storm).expect("a storm").0.time;
        let last = events.iter().rfind(is_storm).expect("a storm").0.time;
        let calm_start = first.since(START).as_secs_f64();
        assert!((60.0..80.0).contains(&calm_start), "{calm_start} s of calm");
        let end = events.last().expect("events").0.time;
        assert!((45.0..90.0).contains(&end.since(last).as_secs_f64()));
        let hours = end.since(START).as_secs_f64() / 3_600.0;
        assert!((4.0..4.2).contains(&hours), "{hours} h for {truth:?}");
    }

    #[test]
    fn it_begins_and_ends_as_told() {
        let (events, _) = all(5, 10_000);
        let storm_at = events.iter().position(|(event, _)| event.kind == Kind::Storm).expect("a storm");
        assert!(events[storm_at - 1].1.starts_with("WARN upstream socket closed"));
        let storm_end = events.iter().rposition(|(event, _)| event.kind == Kind::Storm).expect("a storm");
        assert!(events[storm_end + 1].1.starts_with("WebSocket connection restored"));
        assert_eq!(events.iter().filter(|(_, text)| text.contains("restored")).count(), 1);
        assert_eq!((storm_at as u64, (events.len() - storm_end - 1) as u64), (QUIET_LINES, QUIET_LINES));
    }

    #[test]
    fn calm_stays_calm_by_any_measure() {
        let (events, _) = all(9, LINES);
        let calm: Vec<i64> =
            events.iter().filter(|(e, _)| e.kind == Kind::Calm).map(|(e, _)| e.time.0).collect();
        let busiest = calm.iter().enumerate().map(|(index, time)| {
            calm[index..].partition_point(|later| later - time < 10 * Timestamp::SECOND)
        });
        // All templates together stay below the 20 lines in 10 s that make a failing entry a storm.
        assert!(busiest.max().is_some_and(|lines| lines < 20));
    }

    #[test]
    fn the_seed_decides_everything() {
        assert_eq!(all(1, 3_000), all(1, 3_000));
        assert_ne!(all(1, 3_000).0, all(2, 3_000).0);
    }

    #[test]
    fn lines_have_the_incidents_size() {
        let file = super::super::incident_file(1, LINES, START);
        let mean = file.len() as f64 / LINES as f64;
        assert!((115.0..121.0).contains(&mean), "{mean} bytes a line");
    }
}

//! What is told of a loop.

use std::fmt::{self, Write as _};

use super::attempts::Attempts;
use super::backoff::{Judgement, Verdict};
use super::open::Open;
use super::sequence::{FIRST, Sequence};
use super::step::Step;
use crate::engine::storm::window::ClosedBy;
use crate::engine::template::mask::TemplateId;
use crate::units::{Timestamp, grouped};

/// The name of a loop: equal wherever the same templates make it up. Shown as 32 hexadecimal digits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LoopId(pub u128);

impl fmt::Display for LoopId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// One of the lines that make up an iteration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its template; that of its shortest wording, where it has several.
    pub template: TemplateId,
    /// The first line of that template, up to 256 bytes.
    pub text: String,
}

/// How long an iteration takes, in seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Period {
    /// The median.
    pub p50: f64,
    /// The 95th percentile.
    pub p95: f64,
    /// The shortest.
    pub min: f64,
    /// The longest.
    pub max: f64,
}

/// How a loop stands, or stood when it closed.
#[derive(Clone, Debug, PartialEq)]
pub struct LoopView {
    /// Its name.
    pub id: LoopId,
    /// Its members in the order in which they appear in an iteration.
    pub members: Vec<Member>,
    /// Iterations since it began.
    pub iterations: u64,
    /// How long they take.
    pub period: Period,
    /// How the program spaces its tries, and what is known of that.
    pub judgement: Judgement,
    /// How often the intervals grew and then fell to a quarter or less.
    pub falls: u32,
    /// The first intervals, in seconds: those that the verdict rests on.
    pub first: Vec<f32>,
    /// The last ones that are not among those, oldest first.
    pub last: Vec<f32>,
    /// What its lines say of attempts.
    pub attempts: Option<Attempts>,
    /// What it tries to reach.
    pub endpoint: Option<String>,
    /// Whether its lines speak of failing or trying again.
    pub is_retry: bool,
    /// When its first line was written.
    pub started: Timestamp,
    /// When its last iteration began.
    pub seen: Timestamp,
    /// Why it has ended; `None` while it goes on.
    pub closed_by: Option<ClosedBy>,
}

/// How a loop stands whose members are `steps`.
pub(super) fn of(
    open: &Open,
    steps: &[&Step],
    sequence: &Sequence,
    judgement: Judgement,
    closed_by: Option<ClosedBy>,
) -> LoopView {
    let member = |step: &&Step| Member {
        template: TemplateId(step.template),
        text: String::from_utf8_lossy(without_time(&step.text)).trim_end().to_owned(),
    };
    let recent = sequence.recent();
    let first = sequence.rise().to_vec();
    // The newest of them stand among the first ones while there are few.
    let beyond = sequence.count().saturating_sub(FIRST as u64).min(LAST_TOLD as u64) as usize;
    LoopView {
        id: LoopId(open.id),
        members: steps.iter().map(member).collect(),
        iterations: open.iterations,
        period: Period {
            p50: open.spread.quantile(0.5),
            p95: open.spread.quantile(0.95),
            min: open.spread.min(),
            max: open.spread.max(),
        },
        judgement,
        falls: sequence.falls(),
        first,
        last: recent[recent.len() - beyond.min(recent.len())..].to_vec(),
        attempts: steps.iter().rev().find_map(|step| step.attempts),
        endpoint: steps.iter().find_map(|step| step.endpoint.clone()).or_else(|| open.endpoint.clone()),
        is_retry: steps.iter().any(|step| !step.tags().is_none()),
        started: open.started,
        seen: open.last,
        closed_by,
    }
}

impl LoopView {
    /// One sentence for people: what it is, what it says, how often and how fast.
    pub fn message(&self) -> String {
        let mut message = String::from(if self.is_retry { "retry loop" } else { "loop" });
        if self.is_retry {
            message.push_str(match (self.judgement.verdict, self.judgement.jitter) {
                (Verdict::None, _) => " without back-off",
                (Verdict::Constant, _) => " with a constant wait",
                (Verdict::Linear, _) => " with linear back-off",
                (Verdict::Exponential, false) => " with exponential back-off",
                (Verdict::Exponential, true) => " with exponential back-off and jitter",
                (Verdict::Jittered, _) => " with jitter but no back-off",
                (Verdict::Unknown, _) => "",
            });
        }
        for (index, member) in self.members.iter().enumerate() {
            message.push_str(if index == 0 { ": " } else { " → " });
            message.push_str(cut(&member.text));
        }
        let Period { p50, min, max, .. } = self.period;
        // Where most lines have the same time, the whole says more.
        let mean =
            self.seen.since(self.started).as_secs_f64() / self.iterations.saturating_sub(1).max(1) as f64;
        let p50 = if p50 > 0.0 { p50 } else { mean };
        // A String takes every write.
        let _ = write!(message, " (×{}, ", grouped(self.iterations));
        let _ = if self.judgement.verdict.grows() {
            write!(message, "every {} to {})", Shown(min), Shown(max))
        } else {
            write!(message, "every {})", Shown(p50))
        };
        message
    }

    /// What the back-off should have been, in one sentence; `None` where nothing is to be said against it.
    pub fn advice(&self) -> Option<&'static str> {
        if !self.is_retry {
            return None;
        }
        match self.judgement {
            Judgement { verdict: Verdict::None | Verdict::Constant | Verdict::Jittered, .. } => Some(
                "retry after 1 s, 2 s, 4 s … up to 60 s with jitter, and stop after a number of attempts",
            ),
            Judgement { verdict: Verdict::Linear, .. } => {
                Some("let the wait double up to 60 s, with jitter, and stop after a number of attempts")
            }
            Judgement { verdict: Verdict::Exponential, jitter: false, .. } => {
                Some("add jitter, so that many clients do not come back at the same moment")
            }
            Judgement { verdict: Verdict::Exponential | Verdict::Unknown, .. } => None,
        }
    }

    /// Bytes of memory behind it.
    pub fn size(&self) -> usize {
        let members: usize = self.members.iter().map(|member| size_of::<Member>() + member.text.len()).sum();
        let intervals = (self.first.len() + self.last.len()) * size_of::<f32>();
        size_of::<LoopView>() + members + intervals + self.endpoint.as_ref().map_or(0, String::len)
    }
}

/// The text behind the time that it begins with: the time of one line says nothing of a loop.
fn without_time(text: &[u8]) -> &[u8] {
    let mut rest = text;
    // A date, a time of day, a zone.
    for _ in 0..3 {
        let end = rest.iter().position(|&byte| byte == b' ').unwrap_or(rest.len());
        let (word, behind) = rest.split_at(end);
        let is_time = |byte: &u8| byte.is_ascii_digit() || b"TZ:.,/+-[]".contains(byte);
        if !word.iter().all(is_time) || word.iter().filter(|byte| byte.is_ascii_digit()).count() < 4 {
            break;
        }
        rest = behind.trim_ascii_start();
    }
    if rest.is_empty() { text } else { rest }
}

/// The beginning of a member's text, whole characters of it.
fn cut(text: &str) -> &str {
    let mut end = SHOWN_MAX.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// A time as people read it: `0.27 s`, `5 s`, `80 ms`.
struct Shown(f64);

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            seconds if seconds < 0.000_95 => write!(f, "{:.0} µs", seconds * 1e6),
            seconds if seconds < 0.0995 => write!(f, "{:.0} ms", seconds * 1e3),
            seconds if seconds < 9.995 => write!(f, "{} s", (seconds * 100.0).round() / 100.0),
            seconds => write!(f, "{seconds:.0} s"),
        }
    }
}

/// Intervals from the end that are told.
const LAST_TOLD: usize = 16;
/// Bytes of a member's text in the message.
const SHOWN_MAX: usize = 120;

#[cfg(test)]
mod tests {
    use super::*;

    fn view(verdict: Verdict, jitter: bool, texts: &[&str]) -> LoopView {
        let member = |text: &&str| Member { template: TemplateId(7), text: (*text).to_owned() };
        LoopView {
            id: LoopId(1),
            members: texts.iter().map(member).collect(),
            iterations: 3_210,
            period: Period { p50: 0.27, p95: 0.31, min: 0.2, max: 64.2 },
            judgement: Judgement { verdict, jitter, cap: None },
            falls: 0,
            first: Vec::new(),
            last: Vec::new(),
            attempts: None,
            endpoint: None,
            is_retry: true,
            started: Timestamp(0),
            seen: Timestamp(0),
            closed_by: None,
        }
    }

    #[test]
    fn messages() {
        #[track_caller]
        fn check(verdict: Verdict, jitter: bool, texts: &[&str], want: &str) {
            assert_eq!(view(verdict, jitter, texts).message(), want);
        }
        check(
            Verdict::None,
            false,
            &["WebSocket connection timeout", "Reconnection failed after 5 attempts"],
            "retry loop without back-off: WebSocket connection timeout → Reconnection failed after 5 attempts \
             (×3,210, every 0.27 s)",
        );
        check(Verdict::Constant, false, &["a"], "retry loop with a constant wait: a (×3,210, every 0.27 s)");
        check(
            Verdict::Exponential,
            true,
            &["a"],
            "retry loop with exponential back-off and jitter: a (×3,210, every 0.2 s to 64 s)",
        );
        check(Verdict::Unknown, false, &["a"], "retry loop: a (×3,210, every 0.27 s)");
        let long = "é".repeat(200);
        check(
            Verdict::Unknown,
            false,
            &[&long],
            &format!("retry loop: {} (×3,210, every 0.27 s)", "é".repeat(60)),
        );
    }

    #[test]
    fn times_at_the_beginning_are_left_out() {
        #[track_caller]
        fn check(text: &str, want: &str) {
            assert_eq!(std::str::from_utf8(without_time(text.as_bytes())), Ok(want));
        }
        check("2026-02-06T00:11:00.000Z connection timeout", "connection timeout");
        check("2026-02-06 00:11:00,123 +0000 connection timeout", "connection timeout");
        check("[2026-02-06 00:11:00] connection timeout", "connection timeout");
        check("503 unavailable", "503 unavailable");
        check("2026-02-06T00:11:00.000Z", "2026-02-06T00:11:00.000Z");
        check("", "");
    }

    #[test]
    fn times() {
        #[track_caller]
        fn check(seconds: f64, want: &str) {
            assert_eq!(Shown(seconds).to_string(), want);
        }
        check(0.0001, "100 µs");
        check(0.0123, "12 ms");
        check(0.137, "0.14 s");
        check(5.0, "5 s");
        check(63.7, "64 s");
    }

    #[test]
    fn advice_is_given_where_it_is_due() {
        assert!(
            view(Verdict::None, false, &[]).advice().is_some_and(|advice| advice.contains("1 s, 2 s, 4 s"))
        );
        assert!(view(Verdict::Exponential, true, &[]).advice().is_none());
        let other = LoopView { is_retry: false, ..view(Verdict::None, false, &[]) };
        assert!(other.advice().is_none());
    }
}

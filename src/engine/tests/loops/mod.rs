//! Loops through the whole engine: what `issues` 4 says that they must show.

mod false_ones;
mod verdicts;

use serde_json::Value;

use super::super::storm::window::ClosedBy;
use super::super::storm::{Collapse, Limits};
use super::World;
use crate::corpus::incident;
use crate::units::{Monotonic, Timestamp};

/// Numbers that look random and are the same everywhere.
pub(super) struct Dice(u64);

impl Dice {
    pub(super) fn new(seed: u64) -> Dice {
        Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x5851_f42d_4c95_7f2d)
    }

    /// From 0 up to, but not including, 1 (SplitMix64).
    pub(super) fn roll(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    }

    pub(super) fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.roll()
    }

    pub(super) fn below(&mut self, count: usize) -> usize {
        (self.roll() * count as f64) as usize
    }

    /// About normally distributed.
    pub(super) fn normal(&mut self, deviation: f64) -> f64 {
        ((0..12).map(|_| self.roll()).sum::<f64>() - 6.0) * deviation
    }
}

impl World {
    pub(super) fn loops(&self) -> Vec<&Value> {
        self.of("loop").into_iter().map(|record| &record["squall"]).collect()
    }

    fn of_state(&self, state: &str) -> Vec<&Value> {
        self.loops().into_iter().filter(|told| told["state"] == state).collect()
    }

    /// Closes everything and gives the record of the only loop that there was.
    #[track_caller]
    fn only_loop(mut self) -> Value {
        self.finish(ClosedBy::End);
        let closed = self.of_state("closed");
        let [only] = closed.as_slice() else { panic!("{} loops: {closed:#?}", closed.len()) };
        assert_eq!(self.engine.ledger().loops, 1);
        (*only).clone()
    }
}

fn world() -> World {
    World::new(Collapse::Storms, Limits::default())
}

/// A line of a program's ordinary life.
fn noise(dice: &mut Dice) -> String {
    const LINES: [&str; 10] = [
        "GET /api/v1/quotes 200 # ms",
        "POST /api/v1/orders 201 # ms",
        "cache: # hits",
        "gc: minor, # ms",
        "order # routed",
        "token refreshed for user #",
        "metrics flushed: # series",
        "routes reloaded: #",
        "slow request: # ms",
        "user # signed in",
    ];
    let number = format!("{}", dice.below(100_000));
    LINES[dice.below(LINES.len())].replace('#', &number)
}

#[test]
fn the_incident_is_one_loop() {
    let mut world = world();
    let start = super::START;
    let mut incident = incident::Incident::new(1, 20_000, Timestamp(start));
    let (mut text, mut storm, mut found_after) = (Vec::new(), Vec::new(), None);
    while let Some(event) = incident.next_into(&mut text) {
        let second = (event.time.0 - start) as f64 / 1e9;
        if event.kind == incident::Kind::Storm {
            storm.push(second);
            world.line(second, std::str::from_utf8(&text).expect("text"));
        }
        if found_after.is_none() && !world.loops().is_empty() {
            found_after = Some(storm.len() / 2);
        }
    }
    assert!(found_after.is_some_and(|iterations| iterations <= 10), "found after {found_after:?} iterations");
    let mut starts: Vec<f64> = storm.chunks(2).map(|pair| pair[0]).collect();
    let iterations = starts.len() as u64;
    let mut periods: Vec<f64> = starts.windows(2).map(|pair| pair[1] - pair[0]).collect();
    periods.sort_by(f64::total_cmp);
    starts.clear();
    let only = world.only_loop();
    assert_eq!(only["members"].as_array().map(Vec::len), Some(2));
    assert_eq!(only["verdict"], "none");
    assert_eq!(only["endpoint"], "wss://api.example-broker.com:10000/");
    assert_eq!(only["attempts"], 5);
    assert!(only["iterations"].as_u64().is_some_and(|told| told.abs_diff(iterations) <= 1), "{only:#}");
    for (name, share) in [("p50", 0.5), ("p95", 0.95)] {
        let (told, truth) = (
            only["period"][name].as_f64().expect("a number"),
            periods[(periods.len() as f64 * share) as usize],
        );
        assert!((told / truth - 1.0).abs() < 0.05, "{name}: {told} for {truth}");
    }
}

/// One retry loop in the middle of other things.
struct Scenario {
    /// Lines of other templates for each line of the loop, on average.
    noise: f64,
    /// A member comes up to so many times in an iteration.
    repeats: usize,
    containers: usize,
    /// What stands before each line; `{c}` is the container, `{id}` differs for each line.
    prefix: &'static str,
    /// What stands behind.
    suffix: &'static str,
}

const PLAIN: Scenario = Scenario { noise: 0.0, repeats: 1, containers: 1, prefix: "", suffix: "" };
/// Seconds from one try to the next.
const PERIOD: f64 = 0.27;

/// Plays a scenario for so many iterations. Says after how many of them a loop was told, and how it stood in the end.
#[track_caller]
fn play(scenario: &Scenario, seed: u64) -> (usize, Value) {
    let (mut dice, mut world) = (Dice::new(seed), world());
    let mut events: Vec<(f64, usize, usize)> = Vec::new();
    for container in 0..scenario.containers {
        let phase = dice.between(0.0, PERIOD);
        for iteration in 0..60 {
            let at = 1.0 + phase + iteration as f64 * PERIOD + dice.between(0.0, 0.02);
            for member in 0..2 {
                for repeat in 0..1 + dice.below(scenario.repeats) {
                    events.push((at + member as f64 * 0.05 + repeat as f64 * 0.004, container, member));
                }
            }
        }
    }
    events.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (mut found_at, mut id) = (None, 0);
    for (at, container, member) in events {
        id += 1;
        let dress = |part: &str| {
            part.replace("{c}", &(container + 1).to_string())
                .replace("{id}", &format!("{:x}", id * 7919 + 4096))
        };
        let text = ["upstream connection timeout", "Reconnection failed after 5 attempts"][member];
        world.line(at, &format!("{}{text}{}", dress(scenario.prefix), dress(scenario.suffix)));
        while dice.roll() < scenario.noise / (1.0 + scenario.noise) {
            let line = noise(&mut dice);
            world.line(at + 0.001, &line);
        }
        if found_at.is_none() && !world.loops().is_empty() {
            found_at = Some(at);
        }
    }
    let found_after = found_at.map_or(usize::MAX, |at| ((at - 1.0) / PERIOD) as usize);
    (found_after, world.only_loop())
}

#[test]
fn a_loop_is_found_in_whatever_stands_around_it() {
    #[track_caller]
    fn check(scenario: Scenario) {
        for seed in 0..8 {
            let (found_after, told) = play(&scenario, seed);
            assert!(found_after <= 10, "seed {seed}: found after {found_after} iterations");
            assert_eq!(told["members"].as_array().map(Vec::len), Some(2), "seed {seed}: {told:#}");
            assert_eq!(told["verdict"], "none", "seed {seed}: {told:#}");
            let period = told["period"]["p50"].as_f64().expect("a number");
            assert!((period / PERIOD - 1.0).abs() < 0.05, "seed {seed}: {period}");
            let iterations = told["iterations"].as_u64().expect("a number") as f64;
            let want = 60.0 * scenario.containers as f64;
            assert!(
                (iterations - want).abs() <= 0.05 * want,
                "seed {seed}: {iterations} iterations of {want}"
            );
        }
    }
    check(PLAIN);
    check(Scenario { noise: 0.3, ..PLAIN });
    check(Scenario { repeats: 5, ..PLAIN });
    check(Scenario { noise: 0.3, repeats: 5, ..PLAIN });
    check(Scenario { containers: 3, prefix: "gateway-{c}  | ", ..PLAIN });
    check(Scenario { containers: 3, prefix: "gateway-{c}  | ", noise: 0.3, repeats: 3, ..PLAIN });
    check(Scenario { containers: 3, prefix: "[worker-{c}] ", noise: 0.3, ..PLAIN });
    check(Scenario { suffix: " req={id}", ..PLAIN });
    check(Scenario { suffix: " (id {id}, port 5{id})", noise: 0.3, repeats: 3, ..PLAIN });
    check(Scenario { prefix: "req-{id} ", noise: 0.3, ..PLAIN });
    check(Scenario { prefix: "2026-02-06T00:00:00.{id}Z gw-1 ", ..PLAIN });
}

#[test]
fn a_loop_record_is_what_the_interface_says() {
    let mut world = world();
    world.line(0.0, "GET /health 200");
    for iteration in 0..12 {
        let second = 60.0 + f64::from(iteration) * 5.0;
        world.line(second, "ERROR connect to db.example.com:5432 timed out");
        world.line(second + 0.25, &format!("retry {} of 40", iteration + 1));
    }
    assert_eq!(world.of_state("open").len(), 2, "after 6 iterations, and 10 s later: {:#?}", world.loops());
    world.wait(40);
    let records = world.of("loop");
    let record = records[records.len() - 1];
    assert_eq!(
        record["message"],
        "retry loop with a constant wait: ERROR connect to db.example.com:5432 timed out → retry 1 of 40 (×12, every 5 s)"
    );
    assert_eq!(record["@timestamp"], "2026-02-06T00:01:55.250000000Z");
    let told = &record["squall"];
    for (name, want) in [
        ("kind", Value::from("loop")),
        ("iterations", 12.into()),
        ("verdict", "constant".into()),
        ("attempts", 12.into()),
        ("attempts_limit", 40.into()),
        ("endpoint", "db.example.com:5432".into()),
        ("state", "closed".into()),
        ("closed_by", "quiet".into()),
        ("started", "2026-02-06T00:01:00.000000000Z".into()),
        ("last", "2026-02-06T00:01:55.250000000Z".into()),
        ("stream", "gateway/stderr".into()),
        ("period", serde_json::json!({"p50": 5, "p95": 5, "min": 5, "max": 5, "unit": "s"})),
        (
            "intervals",
            serde_json::json!({"first": [5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5], "last": [], "unit": "s"}),
        ),
    ] {
        assert_eq!(told[name], want, "{name}: {told:#}");
    }
    assert_eq!(told["loop"].as_str().map(str::len), Some(32));
    let advice = told["advice"].as_str().expect("advice");
    assert!(advice.contains("1 s, 2 s, 4 s"), "{advice}");
    let lines = world.of("line");
    let of = |text: &str| {
        lines.iter().find(|line| line["message"].as_str().is_some_and(|message| message.contains(text)))
    };
    let template = |text: &str| of(text).map(|line| line["squall"]["template"].clone());
    assert_eq!(told["members"][0], template("timed out").expect("a line"));
    assert_eq!(told["members"][1], template("retry 1").expect("a line"));
    world.finish(ClosedBy::End);
    assert_eq!(world.engine.ledger().loops, 1);
}

#[test]
fn a_loop_of_one_line_is_found_by_its_regularity() {
    #[track_caller]
    fn check(text: &str, intervals: &[f64], verdict: &str, endpoint: &str) {
        let (mut world, mut second) = (world(), 100.0);
        world.line(0.0, "hello");
        world.line(second, text);
        for interval in intervals {
            second += interval;
            world.line(second, text);
        }
        let only = world.only_loop();
        assert_eq!(
            (only["verdict"].as_str(), only["endpoint"].as_str()),
            (Some(verdict), Some(endpoint)),
            "{only:#}"
        );
        assert_eq!(only["members"].as_array().map(Vec::len), Some(1));
    }
    check("curl: (7) Failed to connect to 127.0.0.1 port 9 after 0 ms", &[1.0; 8], "constant", "127.0.0.1:9");
    check(
        "ssh: connect to host 127.0.0.1 port 2222: Connection refused",
        &[0.02; 80],
        "none",
        "127.0.0.1:2222",
    );
    check(
        "connect ECONNREFUSED 10.0.0.1:5432",
        &[0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 51.2, 60.0, 60.0],
        "exponential",
        "10.0.0.1:5432",
    );
    check(
        "redis:6379 unreachable, next try in 3 s, to redis:6379",
        &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0],
        "linear",
        "redis:6379",
    );
    // Said twice at each try.
    let twice: Vec<f64> = [0.001, 4.999].repeat(9);
    check("connect ECONNREFUSED 10.0.0.1:5432", &twice, "constant", "10.0.0.1:5432");
}

#[test]
fn what_a_loop_tries_to_reach_may_stand_beside_it() {
    let mut world = world();
    for iteration in 0..20 {
        let second = f64::from(iteration) * 2.0;
        world.line(second, "dialing amqp://guest:secret@mq.example.com:5672/vhost?heartbeat=5");
        world.line(second + 0.5, "connection refused");
        world.line(second + 0.6, "reconnecting soon");
    }
    let only = world.only_loop();
    assert_eq!(only["endpoint"], "amqp://mq.example.com:5672/vhost");
}

#[test]
fn a_loop_ends_with_silence_and_another_begins() {
    let mut world = world();
    for round in 0..2 {
        for iteration in 0..20 {
            let second = f64::from(round) * 600.0 + f64::from(iteration);
            world.line(second, "연결 시간 초과");
            world.line(second + 0.1, &format!("재연결 {iteration}회 재시도"));
        }
    }
    let closed = world.of_state("closed");
    assert_eq!(closed.len(), 1, "by log time: {closed:#?}");
    assert_eq!(
        (closed[0]["closed_by"].as_str(), closed[0]["iterations"].as_u64()),
        (Some("quiet"), Some(20))
    );
    world.finish(ClosedBy::Shutdown);
    let closed = world.of_state("closed");
    assert_eq!(closed[1]["closed_by"], "shutdown");
    assert_eq!(closed[0]["loop"], closed[1]["loop"], "the same members, the same name");
    assert_eq!(world.engine.ledger().loops, 2);
}

#[test]
fn a_loop_is_told_less_and_less_often() {
    let mut world = world();
    for iteration in 0..1_200 {
        let second = f64::from(iteration);
        world.line(second, "connection timeout");
        world.line(second + 0.3, "reconnecting");
    }
    // At once, then after 10 s, 30 s, 60 s, and every 5 minutes.
    assert_eq!(world.of_state("open").len(), 1 + 3 + 3, "{:#?}", world.loops().len());
}

#[test]
fn deadlines_follow_the_arrival_clock() {
    let mut world = world();
    for _ in 0..20 {
        world.arrival = Monotonic(world.arrival.0 + 1_000_000_000);
        // The log's clock stands still, so nothing is known of its intervals, but there is a loop.
        world.line(5.0, "connection timeout");
        world.line(5.0, "reconnecting");
    }
    assert!(world.of_state("open").len() >= 2, "{:#?}", world.loops());
    world.wait(31);
    let closed = world.of_state("closed");
    assert_eq!((closed.len(), &closed[0]["verdict"]), (1, &Value::from("unknown")));
    assert_eq!(world.engine.loops().count(), 0);
}

#[test]
fn streams_that_are_never_folded_have_loops_too() {
    let mut world = World::new(Collapse::Never, Limits::default());
    for iteration in 0..20 {
        world.line(f64::from(iteration), "connection timeout");
        world.line(f64::from(iteration) + 0.1, "reconnecting");
    }
    assert_eq!(world.verbatim(), 40);
    let only = world.only_loop();
    assert_eq!(only["verdict"], "constant");
}

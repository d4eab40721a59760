//! Everything at once: squall killed, stopped and frozen, the broker killed, restarted and frozen, the network bad.
//!
//! Environment: `SQUALL_MIX_SECONDS` (20) is how long, `SQUALL_SEED` (1) decides what happens and when.

use std::thread;
use std::time::Duration;

use rustix::process::Signal;
use squall::daemon::clock;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::sidecar::Sidecar;
use super::stage::Stage;
use crate::rig::generator::Plan;
use crate::support::broker::{Broker, Setup};
use crate::support::process::setting;
use crate::support::proxy::{Mode, Proxy};

/// What can happen.
#[derive(Clone, Copy, Debug)]
enum Event {
    SquallKilled,
    SquallStopped,
    SquallFrozen,
    BrokerKilled,
    BrokerStopped,
    BrokerFrozen,
    Network(Mode),
    Cut,
}

const EVENTS: [Event; 14] = [
    Event::SquallKilled,
    Event::SquallKilled,
    Event::SquallKilled,
    Event::SquallStopped,
    Event::SquallFrozen,
    Event::BrokerKilled,
    Event::BrokerStopped,
    Event::BrokerFrozen,
    Event::Cut,
    Event::Network(Mode::Blackhole),
    Event::Network(Mode::HalfOpen),
    Event::Network(Mode::Trickle),
    Event::Network(Mode::Refuse),
    Event::Network(Mode::Delay(Duration::from_millis(100))),
];

/// All who take part.
struct World {
    proxy: Proxy,
    broker: Broker,
    stage: Stage,
    /// There is always one, except within an event.
    sidecar: Option<Sidecar>,
}

impl World {
    fn start(plan: Plan) -> World {
        let proxy = Proxy::start();
        let broker = Broker::start_as(&Setup::default().behind("PROXIED", &proxy));
        proxy.forward_to(broker.address_of("PROXIED"));
        let stage = Stage::open(&broker, "mix", plan);
        let mut world = World { proxy, broker, stage, sidecar: None };
        world.start_squall();
        world
    }

    fn start_squall(&mut self) {
        // The windows live long enough to meet what happens.
        let sidecar = self.stage.start_to(
            self.proxy.address(),
            &["--set", "storm.summary_every=10m", "--set", "storm.summary_every_max=10m"],
        );
        self.sidecar = Some(sidecar);
    }

    fn squall(&mut self) -> Sidecar {
        self.sidecar.take().expect("squall runs")
    }

    fn happen(&mut self, event: Event, lasting: Duration) {
        match event {
            Event::SquallKilled => {
                self.squall().kill();
                self.start_squall();
            }
            Event::SquallStopped => {
                let sidecar = self.squall();
                sidecar.terminate();
                let ended = sidecar.end();
                // Whatever waits is safe, whatever the network does.
                assert_eq!(ended.code, Some(0), "{ended:#?}");
                self.start_squall();
            }
            Event::SquallFrozen => {
                let sidecar = self.sidecar.as_ref().expect("squall runs");
                sidecar.signal(Signal::STOP);
                thread::sleep(lasting);
                sidecar.signal(Signal::CONT);
            }
            Event::BrokerKilled => {
                self.broker.kill();
                self.broker.start_again();
            }
            Event::BrokerStopped => {
                self.broker.stop();
                self.broker.start_again();
            }
            Event::BrokerFrozen => {
                self.broker.pause();
                thread::sleep(lasting);
                self.broker.resume();
            }
            Event::Cut => self.proxy.cut(),
            Event::Network(mode) => {
                self.proxy.set(mode);
                thread::sleep(lasting);
                self.proxy.set(Mode::Pass);
                self.proxy.cut();
            }
        }
    }
}

#[test]
#[ignore = "needs a broker"]
fn everything_at_once() {
    let (seed, seconds) = (setting("SQUALL_SEED", 1), setting("SQUALL_MIX_SECONDS", 20));
    let plan = Plan { seed, rate: 5_000_000, max_size: 5_000_000, max_file: 200, ahead_max: Some(1_000_000) };
    let mut world = World::start(plan);
    let until = clock::now().arrival + Duration::from_secs(seconds);
    let mut happened = Vec::new();
    while clock::now().arrival < until {
        let draw = |what: u64| xxh3_64_with_seed(&(happened.len() as u64).to_le_bytes(), seed ^ (what << 32));
        let event = EVENTS[usize::try_from(draw(1) % EVENTS.len() as u64).expect("few")];
        let calm = Duration::from_millis(draw(2) % 1_500);
        let lasting = Duration::from_millis(100 + draw(3) % 2_000);
        world.stage.watch(calm);
        world.happen(event, lasting);
        happened.push(event);
    }
    let sidecar = world.squall();
    let outcome = world.stage.finish(sidecar);
    println!("mix: {} events in {seconds} s, seed {seed}: {}", happened.len(), outcome.report);
    println!("mix: {happened:?}");
    outcome.expect_exact();
    assert_eq!(outcome.report.lanes, 1, "{}", outcome.report);
}

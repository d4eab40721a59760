//! What the threads pin to the status board, in its own words.

use std::sync::Arc;

use super::ship::Ship;
use crate::engine::alert::Episode;
use crate::engine::cycle::LoopView;
use crate::engine::ledger::Ledger;
use crate::engine::storm::throttle::LimitOrder;
use crate::engine::{Engine, StormView};
use crate::output::Standing;
use crate::status::view::{
    Active, Alert, Books, DeliveryView, Details, EngineView, LimitView, Loop, Order, OutboxView,
    ReceiverView, SHOWN_MAX, Storm,
};
use crate::units::{Lines, Now};

/// How the engine stands, with lists as they are.
pub(super) fn engine(engine: &Engine, ledger: &Ledger, details: Arc<Details>, now: Now) -> EngineView {
    let activity = engine.activity();
    let active = Active {
        streams: activity.streams,
        templates: activity.templates,
        storms: activity.storms,
        episodes: activity.episodes,
        loops: activity.loops,
        alerts: activity.alerts,
    };
    let limit = engine.limit(now).map(|limit| LimitView {
        ordered: limit.order.per_second,
        burst: limit.order.burst,
        per_second: limit.per_second,
        is_returning: limit.is_returning,
        left: limit.left,
        held: limit.held,
    });
    EngineView { at: now, books: books(ledger), active, limit, details, orders: 0 }
}

/// Does what somebody wants of the emergency limit.
pub(super) fn carry_out(order: Order, engine: &mut Engine, now: Now) {
    match order {
        Order::Limit { per_second, burst, span } => {
            engine.set_limit(LimitOrder { per_second, burst, span }, now)
        }
        Order::Lift => {
            // Where there is none, that is what was wanted.
            engine.lift_limit(now);
        }
    }
}

/// The lists, anew.
pub(super) fn details(engine: &Engine, now: Now) -> Details {
    let mut loops: Vec<(&str, LoopView)> = engine.loops().collect();
    loops.sort_by_key(|(_, view)| std::cmp::Reverse(view.iterations));
    let mut alerts: Vec<Episode> = engine.alerts().collect();
    // Those that fire first, and the newest of each kind first.
    alerts.sort_by_key(|episode| (episode.resolved.is_some(), std::cmp::Reverse(episode.view.at)));
    Details {
        at: now,
        storms: engine.storms(SHOWN_MAX).into_iter().map(storm).collect(),
        loops: loops.iter().take(SHOWN_MAX).map(|(stream, view)| cycle(stream, view)).collect(),
        alerts: alerts.iter().take(SHOWN_MAX).map(alert).collect(),
    }
}

fn books(ledger: &Ledger) -> Books {
    let noticed = &ledger.noticed;
    let known = [
        ("novelty_flood", noticed.novelty_flood),
        ("shed", noticed.shed),
        ("store_damaged", noticed.store_damaged),
    ];
    // Counted by a version that did not keep reasons.
    let unknown = ledger.lines_noticed.0.saturating_sub(noticed.sum().0);
    let unknown = (unknown > 0).then_some(("unknown", Lines(unknown)));
    Books {
        bytes_in: ledger.bytes_in,
        received: ledger.lines_in,
        verbatim: ledger.lines_verbatim,
        summarised: ledger.lines_summarised,
        dropped: known.into_iter().chain(unknown).collect(),
        open: ledger.lines_open,
        partial: ledger.lines_partial,
        conservation_error: Lines(ledger.conservation_error),
        records: ledger.records_out,
        bytes_out: ledger.bytes_out,
        summaries: ledger.summaries,
        notices: ledger.notices,
        templates: ledger.templates,
        loops: ledger.loops,
        alerts: ledger.alerts,
        limited: ledger.lines_limited,
    }
}

fn storm(view: StormView) -> Storm {
    Storm {
        stream: view.stream,
        template: view.template.to_string(),
        text: view.text,
        kind: view.storm,
        began: view.began,
        last: view.last,
        total: view.total,
        open: view.open,
        per_second: view.per_second,
    }
}

fn cycle(stream: &str, view: &LoopView) -> Loop {
    Loop {
        id: view.id.to_string(),
        stream: stream.to_owned(),
        text: view.message(),
        verdict: view.judgement.verdict.as_str(),
        jitter: view.judgement.jitter,
        endpoint: view.endpoint.clone(),
        iterations: view.iterations,
        period: view.period.p50,
        began: view.started,
        last: view.seen,
        advice: view.advice(),
    }
}

fn alert(Episode { view, resolved, peak }: &Episode) -> Alert {
    Alert {
        name: view.name.to_string(),
        group: view.group.to_string(),
        text: view.message(),
        severity: view.severity.as_ref().map(|severity| severity.to_string()),
        stream: view.stream.as_ref().map(|stream| stream.to_string()),
        since: view.since,
        fired: view.at,
        resolved: *resolved,
        value: view.shown(view.value),
        peak: view.shown(*peak),
    }
}

/// How delivery stands. `standing` says more than the output's own where the outbox is in trouble, too.
pub(super) fn delivery(ship: &mut Ship, standing: &Standing, receivers: Vec<ReceiverView>) -> DeliveryView {
    DeliveryView {
        outbox: ship.outbox().map(|(used, most, waiting)| OutboxView {
            used,
            most,
            records: waiting.records,
            lines: waiting.lines,
        }),
        ..delivered(standing, receivers)
    }
}

/// The same where the outbox is closed already, or there is none.
pub(super) fn delivered(standing: &Standing, receivers: Vec<ReceiverView>) -> DeliveryView {
    DeliveryView {
        delivered_records: standing.acked_records,
        in_flight_records: standing.in_flight_records,
        in_flight_bytes: standing.in_flight_bytes,
        refused_records: standing.refused.records,
        refused_lines: standing.refused.lines,
        bytes_out: standing.bytes_out,
        bytes_wire: standing.bytes_wire,
        trouble: standing.trouble.clone(),
        trouble_since: standing.trouble_since,
        outbox: None,
        receivers,
    }
}

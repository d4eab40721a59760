//! What is on the board as JSON.

use serde_json::{Map, Value, json};

use super::board::{Board, Stage};
use super::health::{Remark, Stuck, readiness, stuck};
use super::view::{Alert, Books, DeliveryView, EngineView, LimitView, Loop, ReceiverView, Storm};
use crate::units::{Now, Timestamp};

/// `/health`: one thread's name at most.
pub(super) fn health(stuck: Option<Stuck>) -> Value {
    match stuck {
        None => json!({"status": "ok"}),
        Some(Stuck { thread, span }) => {
            json!({"status": "stuck", "thread": thread, "seconds": span.as_secs()})
        }
    }
}

/// `/ready`.
pub(super) fn ready(board: &Board, now: Now) -> Value {
    let readiness = readiness(board, now.arrival);
    let list = |remarks: &[Remark], name: &str| -> Vec<Value> {
        remarks.iter().map(|remark| json!({name: remark.code, "message": remark.text})).collect()
    };
    json!({
        "ready": readiness.reasons.is_empty(),
        "reasons": list(&readiness.reasons, "reason"),
        "notes": list(&readiness.notes, "note"),
    })
}

/// `/api/v1/status`: everything but the lists.
pub(super) fn status(board: &Board, now: Now) -> Value {
    let (about, engine) = (board.about(), board.engine());
    let stage = match board.stage() {
        Stage::Starting => "starting",
        Stage::Running => "running",
        Stage::Stopping => "stopping",
    };
    let (active, delivered) = (&engine.active, board.delivery());
    json!({
        "version": about.version,
        "instance": about.instance,
        "node": about.node,
        "service": about.service,
        "started": time(about.started.wall),
        "uptime_seconds": seconds(now, about.started),
        "stage": stage,
        "health": health(stuck(board, now.arrival)),
        "readiness": ready(board, now),
        "active": {
            "streams": active.streams,
            "templates": active.templates,
            "storms": active.storms,
            "episodes": active.episodes,
            "loops": active.loops,
            "alerts": active.alerts,
        },
        "limit": limit(engine.limit.as_ref()),
        "delivery": delivery(&delivered, now),
        "notifications": delivered.receivers.iter().map(notifications).collect::<Vec<_>>(),
        "ledger": books(&engine.books),
        "age_seconds": seconds(now, engine.at),
    })
}

/// The emergency limit; `null` where there is none.
pub(super) fn limit(limit: Option<&LimitView>) -> Value {
    let Some(limit) = limit else { return Value::Null };
    json!({
        "lines_per_second": limit.ordered,
        "burst": limit.burst,
        "state": if limit.is_returning { "returning" } else { "limiting" },
        "lines_per_second_now": limit.per_second,
        "next_in_seconds": limit.left.as_secs(),
        "lines_held_back": limit.held.0,
    })
}

/// `/api/v1/ledger`.
pub(super) fn ledger(board: &Board, now: Now) -> Value {
    let engine = board.engine();
    json!({"ledger": books(&engine.books), "age_seconds": seconds(now, engine.at)})
}

/// `/api/v1/storms`.
pub(super) fn storms(view: &EngineView, now: Now) -> Value {
    let storm = |storm: &Storm| {
        json!({
            "stream": storm.stream,
            "template": storm.template,
            "message": storm.text,
            "storm": storm.kind,
            "since": time(storm.began),
            "last": time(storm.last),
            "lines": storm.total.0,
            "lines_open": storm.open.0,
            "per_second": storm.per_second,
        })
    };
    let storms: Vec<Value> = view.details.storms.iter().map(storm).collect();
    list("storms", storms, view.active.episodes, view, now)
}

/// `/api/v1/loops`.
pub(super) fn loops(view: &EngineView, now: Now) -> Value {
    let one = |cycle: &Loop| {
        json!({
            "id": cycle.id,
            "stream": cycle.stream,
            "message": cycle.text,
            "verdict": cycle.verdict,
            "jitter": cycle.jitter,
            "endpoint": cycle.endpoint,
            "iterations": cycle.iterations,
            "period_seconds": cycle.period,
            "since": time(cycle.began),
            "last": time(cycle.last),
            "advice": cycle.advice,
        })
    };
    let loops: Vec<Value> = view.details.loops.iter().map(one).collect();
    list("loops", loops, view.active.loops, view, now)
}

/// `/api/v1/alerts`.
pub(super) fn alerts(view: &EngineView, now: Now) -> Value {
    let alert = |alert: &Alert| {
        json!({
            "alert": alert.name,
            "group": alert.group,
            "message": alert.text,
            "severity": alert.severity,
            "stream": alert.stream,
            "state": if alert.resolved.is_some() { "resolved" } else { "firing" },
            "since": time(alert.since),
            "fired": time(alert.fired),
            "resolved": alert.resolved.map(time),
            "value": alert.value,
            "peak": alert.peak,
        })
    };
    let alerts: Vec<Value> = view.details.alerts.iter().map(alert).collect();
    list("alerts", alerts, view.active.alerts, view, now)
}

/// A list, how many there are in all (of alerts: that fire), and how old the list is; `null` where none was ever made.
fn list(name: &str, items: Vec<Value>, active: u64, view: &EngineView, now: Now) -> Value {
    let made = view.details.at;
    let age = (made != Now::default()).then(|| seconds(now, made));
    json!({name: items, "active": active, "age_seconds": age})
}

fn books(books: &Books) -> Value {
    let dropped: Map<String, Value> =
        books.dropped.iter().map(|(reason, lines)| ((*reason).to_owned(), lines.0.into())).collect();
    json!({
        "lines_in": books.received.0,
        "bytes_in": books.bytes_in.0,
        "lines_verbatim": books.verbatim.0,
        "lines_summarised": books.summarised.0,
        "lines_noticed": dropped.values().filter_map(Value::as_u64).sum::<u64>(),
        "lines_noticed_by_reason": dropped,
        "lines_limited": books.limited.0,
        "lines_open": books.open.0,
        "lines_partial": books.partial.0,
        "records_out": books.records,
        "bytes_out": books.bytes_out.0,
        "summaries": books.summaries,
        "notices": books.notices,
        "templates": books.templates,
        "loops": books.loops,
        "alerts": books.alerts,
        "conservation_error": books.conservation_error.0,
    })
}

fn delivery(delivery: &DeliveryView, now: Now) -> Value {
    let outbox = delivery.outbox.map(|outbox| {
        json!({
            "bytes": outbox.used.0,
            "size_max_bytes": outbox.most.0,
            "records": outbox.records,
            "lines": outbox.lines.0,
        })
    });
    json!({
        "records_delivered": delivery.delivered_records,
        "records_in_flight": delivery.in_flight_records,
        "records_refused": delivery.refused_records,
        "lines_refused": delivery.refused_lines.0,
        "bytes_out": delivery.bytes_out.0,
        "bytes_wire": delivery.bytes_wire.map(|bytes| bytes.0),
        "trouble": delivery.trouble,
        "trouble_seconds": delivery.troubled_for(now.arrival).map(|span| span.as_secs()),
        "outbox": outbox,
    })
}

fn notifications(receiver: &ReceiverView) -> Value {
    json!({
        "receiver": receiver.name,
        "sent": receiver.sent,
        "failed": receiver.failed,
        "superseded": receiver.superseded,
        "dropped": receiver.dropped,
        "waiting": receiver.waiting,
        "circuit": if receiver.is_open { "open" } else { "closed" },
    })
}

/// A time as RFC 3339, to the millisecond.
pub(super) fn time(time: Timestamp) -> String {
    let time = jiff::Timestamp::from_nanosecond(i128::from(time.0));
    time.map(|time| format!("{time:.3}")).unwrap_or_default()
}

fn seconds(now: Now, then: Now) -> f64 {
    (now.arrival.since(then.arrival).as_secs_f64() * 1000.0).round() / 1000.0
}

//! `/metrics`: one snapshot as Prometheus reads it.
//!
//! Invariant, in each single scrape: `squall_lines_received_total` = `squall_lines_verbatim_total` +
//! `squall_lines_summarised_total` + `squall_lines_dropped_total` (all reasons) + `squall_lines_pending`.
//! Limit: label sets are bounded, and no label holds text of a log.

mod containers;
mod process;
mod text;

pub use self::text::Format;
use self::text::Page;
use super::board::Board;
use super::health::{readiness, stuck};
use super::view::{Active, Books, DeliveryView, EngineView, ReceiverView};
use crate::units::{Lines, Now};

/// All metrics at `now`.
pub fn metrics(board: &Board, format: Format, now: Now) -> String {
    let mut page = Page::new(format);
    let engine = board.engine();
    lines(&mut page, &engine.books);
    records(&mut page, &engine.books);
    active(&mut page, &engine.active);
    limit(&mut page, &engine);
    let age = now.arrival.since(engine.at.arrival).as_secs_f64();
    page.gauge("squall_snapshot_age_seconds", "How old the numbers of lines are in this scrape.", age);
    let delivered = board.delivery();
    delivery(&mut page, &delivered, now);
    notifications(&mut page, &delivered.receivers);
    standing(&mut page, board, now);
    containers::write(&mut page, &board.containers());
    process::write(&mut page, board.about());
    page.finish()
}

fn lines(page: &mut Page, books: &Books) {
    let Books { received, verbatim, summarised, dropped, .. } = books;
    page.counter("squall_lines_received_total", "Lines that were accepted.", received);
    page.counter("squall_lines_verbatim_total", "Lines that were sent word for word.", verbatim);
    page.counter(
        "squall_lines_summarised_total",
        "Lines that were told by the count of a summary.",
        summarised,
    );
    let dropped: Vec<_> = dropped.iter().map(|(reason, lines)| ([("reason", *reason)], lines)).collect();
    let help = "Lines whose text was given up and that were told by the count of a notice.";
    let samples = dropped.iter().map(|(labels, lines)| (labels.as_slice(), *lines));
    page.counters("squall_lines_dropped_total", help, samples);
    page.gauge(
        "squall_lines_pending",
        "Lines in open windows and unfinished lines, not told yet.",
        books.pending(),
    );
    let help = "Received lines that are counted nowhere: other than 0 is a bug in squall.";
    page.gauge("squall_conservation_error_lines", help, books.conservation_error);
    page.counter("squall_input_bytes_total", "Bytes read from the inputs.", books.bytes_in);
}

fn records(page: &mut Page, books: &Books) {
    page.counter(
        "squall_records_total",
        "Records made: lines, summaries, loops, alerts and notices.",
        books.records,
    );
    page.counter("squall_record_bytes_total", "Their bytes, before Kafka's compression.", books.bytes_out);
    page.counter("squall_summaries_total", "Summaries made.", books.summaries);
    page.counter("squall_notices_total", "Notices made.", books.notices);
    page.counter("squall_templates_met_total", "Templates met, each counted once a stream.", books.templates);
    page.counter("squall_loops_opened_total", "Loops that were found.", books.loops);
    page.counter("squall_alerts_fired_total", "Alerts that have fired.", books.alerts);
}

fn active(page: &mut Page, active: &Active) {
    page.gauge("squall_streams", "Streams that are open.", active.streams);
    page.gauge(
        "squall_templates",
        "Templates that are tracked, each counted once a stream.",
        active.templates,
    );
    page.gauge("squall_storms", "Templates that are storming.", active.storms);
    let help = "Templates whose lines are being folded, storming or repeating.";
    page.gauge("squall_episodes", help, active.episodes);
    page.gauge("squall_loops", "Loops that go on.", active.loops);
    page.gauge("squall_alerts", "Alerts that fire.", active.alerts);
}

fn limit(page: &mut Page, engine: &EngineView) {
    let help =
        "Lines that emergency limits have held back; they are among the summarised and the pending ones.";
    page.counter("squall_lines_limited_total", help, engine.books.limited);
    page.gauge(
        "squall_limit_active",
        "1 while an emergency limit is set or returns.",
        u8::from(engine.limit.is_some()),
    );
    if let Some(limit) = &engine.limit {
        let help = "Lines a second that the emergency limit lets pass now.";
        page.gauge("squall_limit_lines_per_second", help, limit.per_second);
    }
}

fn delivery(page: &mut Page, delivery: &DeliveryView, now: Now) {
    let help = "Records whose arrival is confirmed.";
    page.counter("squall_output_records_total", help, delivery.delivered_records);
    page.counter("squall_output_bytes_total", "The size of the confirmed messages.", delivery.bytes_out);
    if let Some(wire) = delivery.bytes_wire {
        page.counter("squall_output_wire_bytes_total", "What went over the network, without TLS.", wire);
    }
    let help = "Records that the destination refused for good; they are in the dead-letter file.";
    page.counter("squall_output_refused_records_total", help, delivery.refused_records);
    let help = "The lines that refused records stood for.";
    page.counter("squall_output_refused_lines_total", help, delivery.refused_lines);
    let help = "Records that are sent and not confirmed yet.";
    page.gauge("squall_output_in_flight_records", help, delivery.in_flight_records);
    page.gauge("squall_output_in_flight_bytes", "Their size.", delivery.in_flight_bytes);
    let troubled = delivery.troubled_for(now.arrival);
    page.gauge(
        "squall_output_trouble",
        "1 while something is wrong with the destination.",
        u8::from(troubled.is_some()),
    );
    let help = "For how long nothing new could be sent; 0 while all is well.";
    page.gauge("squall_output_trouble_seconds", help, troubled.unwrap_or_default().as_secs_f64());
    let Some(outbox) = delivery.outbox else { return };
    page.gauge("squall_outbox_bytes", "Bytes in use in the outbox.", outbox.used);
    page.gauge(
        "squall_outbox_size_max_bytes",
        "Bytes at which the outbox takes no more records.",
        outbox.most,
    );
    page.gauge("squall_outbox_records", "Records that wait for their confirmation.", outbox.records);
    page.gauge("squall_outbox_lines", "The lines that they stand for.", outbox.lines);
}

/// The receivers are the config's own, so there are few of them.
fn notifications(page: &mut Page, receivers: &[ReceiverView]) {
    let fates = |receiver: &ReceiverView| {
        let &ReceiverView { sent, failed, superseded, dropped, .. } = receiver;
        [("sent", sent), ("failed", failed), ("superseded", superseded), ("dropped", dropped)]
    };
    let turns: Vec<_> = receivers
        .iter()
        .flat_map(|of| {
            let labels = |result| [("receiver", of.name.as_str()), ("result", result)];
            fates(of).map(|(result, turns)| (labels(result), turns))
        })
        .collect();
    let help = "Alerts that a receiver was told to fire or to have resolved, or was not.";
    let samples = turns.iter().map(|(labels, turns)| (labels.as_slice(), *turns));
    page.counters("squall_notifications_total", help, samples);
    let labels: Vec<_> = receivers.iter().map(|of| [("receiver", of.name.as_str())]).collect();
    let waiting = labels.iter().zip(receivers).map(|(labels, of)| (labels.as_slice(), of.waiting));
    page.gauges("squall_notifications_waiting", "Those that a receiver is still to be told.", waiting);
    let open = labels.iter().zip(receivers).map(|(labels, of)| (labels.as_slice(), u8::from(of.is_open)));
    let help = "1 while the last message to a receiver did not arrive: it is asked ever less often.";
    page.gauges("squall_notifications_circuit_open", help, open);
}

fn standing(page: &mut Page, board: &Board, now: Now) {
    let is_ready = readiness(board, now.arrival).reasons.is_empty();
    page.gauge("squall_ready", "1 while /ready answers 200.", u8::from(is_ready));
    let is_healthy = stuck(board, now.arrival).is_none();
    page.gauge("squall_healthy", "1 while /health answers 200.", u8::from(is_healthy));
}

/// Whether the identity holds; for tests and assertions.
pub fn balances(books: &Books) -> bool {
    let dropped: Lines = books.dropped.iter().map(|(_, lines)| *lines).sum();
    books.received == books.verbatim + books.summarised + dropped + books.pending()
}

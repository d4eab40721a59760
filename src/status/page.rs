//! `/`: what is going on now, for people. One page without a script and with nothing from elsewhere; it loads itself anew.
//!
//! Every text goes through one escape: what a log says can never become markup (`faults.md` 81).

use std::fmt::{self, Display, Formatter};

use super::board::Board;
use super::health::{Remark, readiness};
use super::view::{Alert, Books, DeliveryView, EngineView, Loop, Storm};
use crate::terminal::Escaped;
use crate::units::{Lines, Now, Timestamp, grouped};

/// Nothing but our own style may act, and nobody may frame the page.
pub(super) const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The page.
pub(super) struct Page<'a> {
    pub(super) board: &'a Board,
    pub(super) view: &'a EngineView,
    pub(super) now: Now,
}

impl Display for Page<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.head(f)?;
        self.standing(f)?;
        self.alerts(f)?;
        self.loops(f)?;
        self.storms(f)?;
        self.delivery(f)?;
        self.books(f)?;
        f.write_str("</main></body></html>\n")
    }
}

impl Page<'_> {
    fn head(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let about = self.board.about();
        let css = include_str!("page.css");
        let up = span(self.now.arrival.since(about.started.arrival).as_secs());
        let (name, node) = (Escaped(&about.instance), Escaped(&about.node));
        write!(
            f,
            "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
             <meta http-equiv=\"refresh\" content=\"5\"><title>squall: {name}</title><style>{css}</style></head><body><main>\
             <h1>{name} <small>on {node}, squall {}, up {up}</small></h1>",
            about.version
        )?;
        let links =
            ["api/v1/status", "api/v1/storms", "api/v1/loops", "api/v1/alerts", "api/v1/ledger", "metrics"];
        f.write_str("<nav class=\"soft\">")?;
        for link in links {
            write!(f, "<a href=\"/{link}\">{}</a>", link.rsplit('/').next().unwrap_or(link))?;
        }
        f.write_str("</nav>")
    }

    fn standing(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if let Some(limit) = &self.view.limit {
            let (rate, held) = (limit.per_second, grouped(limit.held.0));
            let state = if limit.is_returning { "returning" } else { "emergency limit" };
            let left = span(limit.left.as_secs());
            write!(
                f,
                "<p><span class=\"warn\">{state}</span> {rate} lines a second, {left} left, {held} lines held back</p>"
            )?;
        }
        let readiness = readiness(self.board, self.now.arrival);
        if readiness.reasons.is_empty() && readiness.notes.is_empty() {
            return f.write_str("<p><span class=\"good\">ready</span></p>");
        }
        let mut told = |class: &str, word: &str, remarks: &[Remark]| {
            remarks.iter().try_for_each(|remark| {
                write!(f, "<p><span class=\"{class}\">{word}</span> {}</p>", Escaped(&remark.text))
            })
        };
        told("bad", "not ready", &readiness.reasons)?;
        told("warn", "note", &readiness.notes)
    }

    fn alerts(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let alerts = &self.view.details.alerts;
        write!(f, "<h2>Alerts <small>{} firing</small></h2>", self.view.active.alerts)?;
        if alerts.is_empty() {
            return f.write_str("<p class=\"soft\">None has fired.</p>");
        }
        table(f, &["state", "alert", "", "since (UTC)"])?;
        for Alert { name, text, severity, fired, resolved, .. } in alerts {
            let (class, state) = if resolved.is_some() { ("good", "resolved") } else { ("bad", "firing") };
            let severity = severity.as_deref().unwrap_or_default();
            write!(
                f,
                "<tr><td class=\"{class}\">{state}</td><td>{} {}</td><td><code>{}</code></td><td>{}</td></tr>",
                Escaped(severity),
                Escaped(name),
                Escaped(text),
                time(*fired)
            )?;
        }
        f.write_str(TABLE_END)
    }

    fn loops(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let loops = &self.view.details.loops;
        write!(f, "<h2>Loops <small>{} going on</small></h2>", self.view.active.loops)?;
        if loops.is_empty() {
            return f.write_str("<p class=\"soft\">None.</p>");
        }
        table(f, &["back-off", "endpoint", "what", "rounds", "since (UTC)"])?;
        for Loop { text, verdict, endpoint, iterations, began, advice, stream, .. } in loops {
            let class = if advice.is_some() { "bad" } else { "soft" };
            write!(
                f,
                "<tr><td class=\"{class}\">{verdict}</td><td><code>{}</code></td>\
                 <td><code>{}</code><br><span class=\"soft\">{} {}</span></td><td class=\"n\">{}</td><td>{}</td></tr>",
                Escaped(endpoint.as_deref().unwrap_or("not known")),
                Escaped(text),
                Escaped(stream),
                advice.map_or_else(String::new, |advice| format!("· should {advice}")),
                grouped(*iterations),
                time(*began)
            )?;
        }
        f.write_str(TABLE_END)
    }

    fn storms(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let active = &self.view.active;
        let repeats = active.episodes.saturating_sub(active.storms);
        write!(f, "<h2>Storms <small>{}, and {repeats} that only repeat</small></h2>", active.storms)?;
        if self.view.details.storms.is_empty() {
            return f.write_str("<p class=\"soft\">Nothing is folded.</p>");
        }
        table(f, &["", "what", "lines", "a second", "since (UTC)"])?;
        for Storm { stream, text, kind, began, total, per_second, .. } in &self.view.details.storms {
            let word = kind.map_or("repeats", |_| "storm");
            let class = if kind.is_some() { "bad" } else { "soft" };
            write!(
                f,
                "<tr><td class=\"{class}\">{word}</td><td><code>{}</code><br><span class=\"soft\">{}</span></td>\
                 <td class=\"n\">{}</td><td class=\"n\">{per_second:.1}</td><td>{}</td></tr>",
                Escaped(text),
                Escaped(stream),
                grouped(total.0),
                time(*began)
            )?;
        }
        f.write_str(TABLE_END)
    }

    fn delivery(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let delivery = self.board.delivery();
        let DeliveryView { delivered_records, in_flight_records, refused_records, trouble, outbox, .. } =
            &*delivery;
        f.write_str("<h2>Delivery</h2>")?;
        if let Some((trouble, span_of)) = trouble.as_ref().zip(delivery.troubled_for(self.now.arrival)) {
            let span = span(span_of.as_secs());
            write!(f, "<p><span class=\"bad\">trouble</span> for {span}: {}</p>", Escaped(trouble))?;
        }
        table(f, &["", ""])?;
        row(f, "records delivered", *delivered_records)?;
        row(f, "on their way", *in_flight_records)?;
        row(f, "refused by the destination", *refused_records)?;
        if let Some(outbox) = outbox {
            row(f, "waiting in the outbox", outbox.records)?;
            let percent = outbox.fill() * 100.0;
            write!(f, "<tr><td>outbox in use</td><td class=\"n\">{percent:.0} %</td></tr>")?;
        }
        f.write_str(TABLE_END)
    }

    fn books(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let books = &self.view.books;
        let Books { received, verbatim, summarised, dropped, conservation_error, .. } = books;
        f.write_str("<h2>The books</h2>")?;
        table(f, &["", "lines"])?;
        row(f, "received", received.0)?;
        row(f, "sent word for word", verbatim.0)?;
        row(f, "told by summaries", summarised.0)?;
        row(f, "told by notices", dropped.iter().map(|(_, lines)| *lines).sum::<Lines>().0)?;
        row(f, "held", books.pending().0)?;
        row(f, "unaccounted for", conservation_error.0)?;
        f.write_str(TABLE_END)
    }
}

const TABLE_END: &str = "</table></div>";

fn table(f: &mut Formatter<'_>, names: &[&str]) -> fmt::Result {
    f.write_str("<div class=\"wide\"><table><tr>")?;
    for name in names {
        let class = if matches!(*name, "lines" | "a second" | "rounds") { " class=\"n\"" } else { "" };
        write!(f, "<th{class}>{name}</th>")?;
    }
    f.write_str("</tr>")
}

fn row(f: &mut Formatter<'_>, name: &str, number: u64) -> fmt::Result {
    write!(f, "<tr><td>{name}</td><td class=\"n\">{}</td></tr>", grouped(number))
}

fn time(time: Timestamp) -> String {
    let time = jiff::Timestamp::from_nanosecond(i128::from(time.0));
    time.map(|time| time.strftime("%F %T").to_string()).unwrap_or_default()
}

/// `3 d 4 h`, `12 min`, `40 s`.
fn span(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3_600 => format!("{} min", seconds / 60),
        3_600..86_400 => format!("{} h {} min", seconds / 3_600, seconds / 60 % 60),
        _ => format!("{} d {} h", seconds / 86_400, seconds / 3_600 % 24),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::status::board::About;
    use crate::status::view::Details;

    #[test]
    fn fault_081_text_of_logs_is_no_markup() {
        let evil = "<script>alert(1)</script>\"'&\u{202e}".to_owned();
        let now = Now::default();
        let storm = Storm {
            stream: evil.clone(),
            template: String::new(),
            text: evil.clone(),
            kind: Some("rate"),
            began: Timestamp(0),
            last: Timestamp(0),
            total: Lines(7),
            open: Lines(1),
            per_second: 0.5,
        };
        let cycle = Loop {
            id: String::new(),
            stream: evil.clone(),
            text: evil.clone(),
            verdict: "none",
            jitter: false,
            endpoint: Some(evil.clone()),
            iterations: 9,
            period: 0.1,
            began: Timestamp(0),
            last: Timestamp(0),
            advice: Some("wait"),
        };
        let alert = Alert {
            name: evil.clone(),
            group: evil.clone(),
            text: evil.clone(),
            severity: Some(evil.clone()),
            stream: Some(evil.clone()),
            since: Timestamp(0),
            fired: Timestamp(0),
            resolved: None,
            value: evil.clone(),
            peak: evil.clone(),
        };
        let details = Details { at: now, storms: vec![storm], loops: vec![cycle], alerts: vec![alert] };
        let view = EngineView { details: Arc::new(details), ..EngineView::default() };
        let about =
            About { instance: evil.clone(), node: evil.clone(), service: evil.clone(), ..About::default() };
        let board = Board::new(about, || ());
        board.publish_delivery(DeliveryView { trouble: Some(evil), ..DeliveryView::default() });
        let page = Page { board: &board, view: &view, now }.to_string();
        assert!(!page.contains("<script") && !page.contains('\u{202e}'), "{page}");
        assert_eq!(page.matches("&lt;script&gt;").count(), 13, "{page}");
        assert!(page.contains("1970-01-01 00:00:00"));
    }

    #[test]
    fn spans() {
        assert_eq!(span(59), "59 s");
        assert_eq!(span(3_599), "59 min");
        assert_eq!(span(3_660), "1 h 1 min");
        assert_eq!(span(2 * 86_400 + 3_600), "2 d 1 h");
    }
}

//! How metrics are written: Prometheus's text format, and OpenMetrics, which differs in a few words.
//!
//! Our own and not a registry's, because there is nothing to register: each scrape writes down one snapshot.

use std::fmt::{Display, Write as _};

/// In which format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Prometheus's text format 0.0.4.
    Prometheus,
    /// OpenMetrics 1.0.
    OpenMetrics,
}

impl Format {
    /// The best of what a client takes, by its `Accept`.
    pub fn wanted(accept: Option<&str>) -> Format {
        let takes = |media: &str| media.split(';').next().is_some_and(|kind| kind.trim() == OPEN);
        let open = accept.is_some_and(|accept| accept.split(',').any(takes));
        if open { Format::OpenMetrics } else { Format::Prometheus }
    }

    /// What to call it.
    pub fn content_type(self) -> &'static str {
        match self {
            Format::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
            Format::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

const OPEN: &str = "application/openmetrics-text";

/// A page of metrics that is being written.
#[derive(Debug)]
pub(super) struct Page {
    format: Format,
    text: String,
}

/// A label's name and its value.
pub(super) type Label<'a> = (&'static str, &'a str);

impl Page {
    /// An empty page.
    pub(super) fn new(format: Format) -> Page {
        Page { format, text: String::with_capacity(8 << 10) }
    }

    /// Something that only rises. `name` ends in `_total`.
    pub(super) fn counter(&mut self, name: &str, help: &str, value: impl Display) {
        self.counters(name, help, [([].as_slice(), value)]);
    }

    /// The same by label.
    pub(super) fn counters<'a, V: Display>(
        &mut self,
        name: &str,
        help: &str,
        samples: impl IntoIterator<Item = (&'a [Label<'a>], V)>,
    ) {
        debug_assert!(name.ends_with("_total"), "{name}");
        // OpenMetrics names the family without the suffix that its samples have.
        let family = match self.format {
            Format::Prometheus => name,
            Format::OpenMetrics => name.trim_end_matches("_total"),
        };
        self.head(family, "counter", help);
        samples.into_iter().for_each(|(labels, value)| self.sample(name, labels, value));
    }

    /// Something that rises and falls.
    pub(super) fn gauge(&mut self, name: &str, help: &str, value: impl Display) {
        self.gauges(name, help, [([].as_slice(), value)]);
    }

    /// The same by label.
    pub(super) fn gauges<'a, V: Display>(
        &mut self,
        name: &str,
        help: &str,
        samples: impl IntoIterator<Item = (&'a [Label<'a>], V)>,
    ) {
        self.head(name, "gauge", help);
        samples.into_iter().for_each(|(labels, value)| self.sample(name, labels, value));
    }

    /// Texts that hardly change, as labels of a 1. `name` ends in `_info`.
    pub(super) fn info(&mut self, name: &str, help: &str, labels: &[Label<'_>]) {
        debug_assert!(name.ends_with("_info"), "{name}");
        match self.format {
            Format::Prometheus => self.head(name, "gauge", help),
            Format::OpenMetrics => self.head(name.trim_end_matches("_info"), "info", help),
        }
        self.sample(name, labels, 1);
    }

    /// The page, whole.
    pub(super) fn finish(mut self) -> String {
        if self.format == Format::OpenMetrics {
            self.text.push_str("# EOF\n");
        }
        self.text
    }

    // A String takes every write, so nothing that these return is lost.

    fn head(&mut self, family: &str, kind: &str, help: &str) {
        let _ = writeln!(self.text, "# HELP {family} {help}\n# TYPE {family} {kind}");
    }

    fn sample(&mut self, name: &str, labels: &[Label<'_>], value: impl Display) {
        self.text.push_str(name);
        for (index, (label, text)) in labels.iter().enumerate() {
            let _ = write!(self.text, "{}{label}=\"", if index == 0 { '{' } else { ',' });
            for letter in text.chars() {
                match letter {
                    '\\' => self.text.push_str("\\\\"),
                    '"' => self.text.push_str("\\\""),
                    '\n' => self.text.push_str("\\n"),
                    letter => self.text.push(letter),
                }
            }
            self.text.push('"');
        }
        let _ = writeln!(self.text, "{} {value}", if labels.is_empty() { "" } else { "}" });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_formats() {
        let page = |format| {
            let mut page = Page::new(format);
            page.counters("x_lines_total", "Lines.", [([("reason", "a\"b\\c\nd")].as_slice(), 5)]);
            page.gauge("x_bytes", "Bytes.", 0.5);
            page.info("x_build_info", "Build.", &[("version", "1"), ("os", "2")]);
            page.finish()
        };
        let prometheus = "\
# HELP x_lines_total Lines.
# TYPE x_lines_total counter
x_lines_total{reason=\"a\\\"b\\\\c\\nd\"} 5
# HELP x_bytes Bytes.
# TYPE x_bytes gauge
x_bytes 0.5
# HELP x_build_info Build.
# TYPE x_build_info gauge
x_build_info{version=\"1\",os=\"2\"} 1
";
        assert_eq!(page(Format::Prometheus), prometheus);
        let open = prometheus
            .replace("HELP x_lines_total", "HELP x_lines")
            .replace("TYPE x_lines_total", "TYPE x_lines")
            .replace("HELP x_build_info", "HELP x_build")
            .replace("TYPE x_build_info gauge", "TYPE x_build info");
        assert_eq!(page(Format::OpenMetrics), open + "# EOF\n");
    }

    #[test]
    fn the_client_chooses() {
        #[track_caller]
        fn check(accept: Option<&str>, want: Format) {
            assert_eq!(Format::wanted(accept), want);
        }
        check(None, Format::Prometheus);
        check(Some("*/*"), Format::Prometheus);
        check(Some("text/plain;version=0.0.4"), Format::Prometheus);
        // As Prometheus 2.42 asks.
        let asked = "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
        check(Some(asked), Format::OpenMetrics);
    }
}

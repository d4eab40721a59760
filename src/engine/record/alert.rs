//! Alert records.
//!
//! Names and labels are from the config; what annotations took from a log is bounded where it is taken, and escaped here.
//! Limit: annotations are cut so that a record stays within `record_max`.

use super::Kind;
use super::encode::{EXAMPLE_ROOM, Encoder};
use super::envelope::Envelope;
use super::json;
use crate::engine::alert::{AlertView, span};
use crate::units::Lines;

impl Encoder {
    /// How an alert stands. The record stands for no lines.
    pub fn alert(&mut self, envelope: &Envelope, view: &AlertView) {
        let start = self.begin(view.at);
        self.message(view.message().as_bytes(), EXAMPLE_ROOM);
        self.log(envelope, None, 0);
        self.identity(envelope, Kind::Alert);
        self.raw(&envelope.instance);
        self.text(",\"alert\":", &view.name);
        self.text(",\"group\":", &view.group);
        if let Some(severity) = &view.severity {
            self.text(",\"severity\":", severity);
        }
        self.word(",\"state\":\"", if view.is_resolved { "resolved" } else { "firing" });
        self.number(",\"value\":", view.value);
        if let Some(threshold) = view.threshold {
            self.number(",\"threshold\":", threshold);
        }
        if let Some(window) = view.window {
            self.word(",\"window\":\"", &span(window));
        }
        self.time(",\"since\":\"", view.since);
        if view.is_resolved {
            self.number(",\"peak\":", view.peak);
        }
        self.mark(",\"episode\":\"", b'a', view.episode);
        self.texts(",\"labels\":{", view.labels.iter().map(|(name, value)| (&**name, &**value)));
        self.texts(
            ",\"annotations\":{",
            view.annotations.iter().map(|(name, value)| (&**name, value.as_str())),
        );
        self.end(start, envelope, Kind::Alert, Lines(0), view.at);
    }

    fn text(&mut self, name: &str, text: &str) {
        self.raw(name.as_bytes());
        json::string(&mut self.batch.bytes, text.as_bytes());
    }

    fn number(&mut self, name: &str, number: f64) {
        self.raw(name.as_bytes());
        json::float(&mut self.batch.bytes, (number * 1e6).round() / 1e6);
    }

    /// The members of an object that `name` has opened, as many as there is room for.
    fn texts<'a>(&mut self, name: &str, texts: impl Iterator<Item = (&'a str, &'a str)>) {
        self.raw(name.as_bytes());
        let (begin, mut separator) = (self.batch.bytes.len(), "");
        for (name, value) in texts {
            // At worst each byte becomes six.
            if self.batch.bytes.len() - begin + 6 * (name.len() + value.len()) > self.texts_max() {
                continue;
            }
            self.raw(separator.as_bytes());
            json::string(&mut self.batch.bytes, name.as_bytes());
            self.raw(b":");
            json::string(&mut self.batch.bytes, value.as_bytes());
            separator = ",";
        }
        self.raw(b"}");
    }
}

//! The parts of a record that are the same for every line of a stream, encoded once.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::identity::Identity;
use super::json;
use crate::engine::frame::IoStream;

/// The container that a stream belongs to, as far as it is known.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Container {
    /// The full id, 64 hex digits with Docker.
    pub id: String,
    /// The name that people gave it; empty when unknown.
    pub name: String,
    /// The name of its image; empty when unknown. Not kept over a restart: whoever opens the source again says it again.
    #[serde(skip)]
    pub image: String,
}

/// Where the lines of one stream come from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// The followed file, for people: bytes that are not UTF-8 are shown as U+FFFD. Absent for a pipe.
    pub path: Option<String>,
    /// The container, where the path or the runtime tells.
    pub container: Option<Container>,
    /// Labels of the input, over those of the identity.
    pub labels: Vec<(String, String)>,
    /// Lines may be missing that nobody can count, so summaries are not exact. Not kept over a restart, as the image.
    #[serde(skip)]
    pub lossy: bool,
    /// The Kafka topic of its records, where it is not the one of the config.
    #[serde(skip)]
    pub topic: Option<Arc<str>>,
}

/// A stream's constant JSON, in the pieces between what varies.
#[derive(Clone, Debug)]
pub struct Envelope {
    /// The stream's name: Kafka key and `squall.stream`.
    pub key: Arc<str>,
    /// The Kafka topic of its records, where it is not the one of the config.
    pub topic: Option<Arc<str>>,
    /// `"iostream":"stderr","file":{"path":"…"},"offset":`
    pub(super) log: Vec<u8>,
    /// `},"container":{…},"host":{…},"service":{…},"labels":{…},`
    pub(super) origin: Vec<u8>,
    /// `","stream":"…"`
    pub(super) stream: Vec<u8>,
    /// `,"instance":"…"`
    pub(super) instance: Vec<u8>,
    /// Whether the counts of summaries are those of all lines.
    pub(super) exact: bool,
}

impl Envelope {
    /// The same stream's, for this Kafka topic.
    pub fn to(&self, topic: &Arc<str>) -> Envelope {
        Envelope { topic: Some(Arc::clone(topic)), ..self.clone() }
    }

    /// Encodes what never changes for the stream `key`.
    pub fn new(key: &str, iostream: IoStream, place: &Place, identity: &Identity) -> Envelope {
        Envelope {
            key: Arc::from(key),
            topic: place.topic.clone(),
            log: log_piece(iostream, place),
            origin: origin_piece(place, identity),
            stream: [b"\",\"stream\":".as_slice(), &quoted(key)].concat(),
            instance: match identity.instance.as_str() {
                "" => Vec::new(),
                instance => [b",\"instance\":".as_slice(), &quoted(instance)].concat(),
            },
            exact: !place.lossy,
        }
    }

    /// Bytes of memory behind this envelope.
    pub fn size(&self) -> usize {
        self.key.len() + self.log.len() + self.origin.len() + self.stream.len() + self.instance.len()
    }
}

fn log_piece(iostream: IoStream, place: &Place) -> Vec<u8> {
    let mut piece = Vec::new();
    match iostream {
        IoStream::Unknown => {}
        IoStream::Stdout => piece.extend_from_slice(b"\"iostream\":\"stdout\","),
        IoStream::Stderr => piece.extend_from_slice(b"\"iostream\":\"stderr\","),
    }
    if let Some(path) = &place.path {
        piece.extend_from_slice(b"\"file\":{\"path\":");
        json::string(&mut piece, path.as_bytes());
        piece.extend_from_slice(b"},");
    }
    piece.extend_from_slice(b"\"offset\":");
    piece
}

fn origin_piece(place: &Place, identity: &Identity) -> Vec<u8> {
    let mut piece = b"},".to_vec();
    if let Some(container) = &place.container {
        let fields = [("id", container.id.as_str()), ("name", &container.name)];
        object(&mut piece, "container", fields.into_iter().filter(|(_, value)| !value.is_empty()));
        if !container.image.is_empty() {
            // Inside of what was just closed: `}` and `,`.
            piece.truncate(piece.len() - 2);
            piece.extend_from_slice(if piece.ends_with(b"{") { b"" } else { b"," });
            object(&mut piece, "image", [("name", container.image.as_str())]);
            piece.truncate(piece.len() - 1);
            piece.extend_from_slice(b"},");
        }
    }
    object(&mut piece, "host", [("name", identity.node.as_str())]);
    if !identity.service.is_empty() {
        object(&mut piece, "service", [("name", identity.service.as_str())]);
    }
    let overridden = |name: &String| place.labels.iter().any(|(own, _)| own == name);
    let inherited = identity.labels.iter().filter(|(name, _)| !overridden(name));
    let labels = inherited.chain(&place.labels).map(|(name, value)| (name.as_str(), value.as_str()));
    object(&mut piece, "labels", labels);
    piece
}

/// Appends `"name":{"field":"value",…},`.
fn object<'a>(out: &mut Vec<u8>, name: &str, fields: impl IntoIterator<Item = (&'a str, &'a str)>) {
    json::string(out, name.as_bytes());
    out.extend_from_slice(b":{");
    for (index, (field, value)) in fields.into_iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        json::string(out, field.as_bytes());
        out.push(b':');
        json::string(out, value.as_bytes());
    }
    out.extend_from_slice(b"},");
}

fn quoted(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    json::string(&mut out, text.as_bytes());
    out
}

//! The text of an annotation, with places: `{{ value }} time-outs of {{ loop.endpoint }} in {{ window }}`.

/// A text in which some places are filled in when the alert is told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Template {
    /// Text and places in their order.
    pub pieces: Box<[Piece]>,
}

/// A part of a [`Template`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// As it is.
    Text(Box<str>),
    /// Filled in.
    Place(Place),
}

/// What can be filled in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// `value`: what was measured, with its unit.
    Value,
    /// `threshold`: what it was held against.
    Threshold,
    /// `window`.
    Window,
    /// `alert`: the rule's name.
    Alert,
    /// `since`: since when it is true.
    Since,
    /// `stream`: whose lines they are; empty where all are judged together.
    Stream,
    /// `message`: the last line that counted, as people may see it.
    Message,
    /// `labels.NAME`.
    Label(Box<str>),
    /// `loop.endpoint`, `loop.verdict`, `loop.iterations`, `loop.period`: of the newest open loop that this can be about.
    Loop(Box<str>),
}

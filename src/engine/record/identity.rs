//! Who sends: the same on every record.

/// The names that go onto every record (`instance` in the config).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// This instance of squall (`squall.instance`).
    pub instance: String,
    /// The machine (`host.name`).
    pub node: String,
    /// The service that logs (`service.name`); empty when unknown.
    pub service: String,
    /// Free labels (`labels`), in the order they were given.
    pub labels: Vec<(String, String)>,
}

//! The masked fingerprint.

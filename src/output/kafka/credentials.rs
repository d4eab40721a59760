//! The files that hold secrets and certificates: whether they are still those that the producer was made with.
//!
//! A file is known by its inode, size and time of change, so that looking costs a `stat(2)` each and no secret is read
//! for it.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;

use super::options::Options;

/// The files of a producer, as they were before they were read.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Credentials {
    files: Vec<(PathBuf, Option<Stamp>)>,
}

/// Differs when a file was replaced or written to. (Two writes of the same size within the file system's tick cannot
/// be told apart; ticks are a few milliseconds.)
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    inode: u64,
    size: u64,
    seconds: i64,
    nanoseconds: i64,
}

impl Credentials {
    /// Looks at the files that `options` name.
    pub(super) fn of(options: &Options) -> Credentials {
        let tls = options.tls.iter().flat_map(|tls| {
            [&tls.ca_file, &tls.cert_file, &tls.key_file, &tls.key_password_file].into_iter().flatten()
        });
        let sasl = options.sasl.iter().map(|sasl| &sasl.password_file);
        let files = tls.chain(sasl).map(|path| (path.clone(), Stamp::of(path))).collect();
        Credentials { files }
    }

    /// Whether a file was replaced, changed, removed or added since.
    pub(super) fn have_changed(&self) -> bool {
        self.files.iter().any(|(path, stamp)| Stamp::of(path) != *stamp)
    }
}

impl Stamp {
    /// `None` when there is no such file, or none that we may look at.
    fn of(path: &PathBuf) -> Option<Stamp> {
        let metadata = fs::metadata(path).ok()?;
        let (seconds, nanoseconds) = (metadata.mtime(), metadata.mtime_nsec());
        Some(Stamp { inode: metadata.ino(), size: metadata.len(), seconds, nanoseconds })
    }
}

#[cfg(test)]
mod tests {
    use super::super::options::{Sasl, Tls};
    use super::*;

    #[test]
    fn each_change_is_seen() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = |name: &str| folder.path().join(name);
        for name in ["ca", "cert", "key", "key-password", "password"] {
            fs::write(path(name), "1").expect("a file");
        }
        let options = Options {
            tls: Some(Tls {
                ca_file: Some(path("ca")),
                cert_file: Some(path("cert")),
                key_file: Some(path("key")),
                key_password_file: Some(path("key-password")),
                ..Tls::default()
            }),
            sasl: Some(Sasl { password_file: path("password"), ..Sasl::default() }),
            ..Options::default()
        };
        #[track_caller]
        fn check(options: &Options, change: impl FnOnce()) {
            let before = Credentials::of(options);
            assert!(!before.have_changed());
            change();
            assert!(before.have_changed());
            assert!(!Credentials::of(options).have_changed());
        }
        for name in ["ca", "cert", "key", "key-password", "password"] {
            check(&options, || fs::write(path(name), "12").expect("written"));
        }
        check(&options, || {
            // As Kubernetes and careful people do it, and of the same size.
            fs::write(path("new"), "21").expect("written");
            fs::rename(path("new"), path("password")).expect("renamed");
        });
        check(&options, || fs::remove_file(path("password")).expect("removed"));
        check(&options, || fs::write(path("password"), "21").expect("written"));
        assert!(!Credentials::of(&Options::default()).have_changed()); // nothing to look at
    }
}

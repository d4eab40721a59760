//! Files that hold secrets: who else on this machine may read them.
//!
//! A warning and no fault: whoever cannot change the mode at once shall still have logs. As for ssh and PostgreSQL it is about
//! the mode, but a group may read, since that is how secrets are given to services.
//! Nothing is said of a file that others cannot reach, nor of one in memory that is mounted read-only: that is how Kubernetes
//! and swarm hand secrets to one container, with the mode 0644 or 0444, and nobody else is there.
//! Not here: reading them, which each part does when it needs them.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{StatVfsMountFlags, statfs, statvfs};

use super::keys::Keys;
use crate::config::faults::Findings;
use crate::config::source::shown;

/// The path of a file that holds a secret. A file that is not there, or that we may not look at, is not judged.
pub(super) fn path(keys: &Keys<'_>, name: &str, findings: &mut Findings) -> Option<PathBuf> {
    let path = keys.path(name, findings)?;
    let entry = keys.entry(name)?;
    if let Some(mode) = exposed(&path) {
        let (key, file) = (keys.full(name), path.to_string_lossy());
        let message = format!(
            "`{key}` may be read by everybody on this machine: {} has the mode {mode:04o}",
            shown(&file)
        );
        findings.warn(entry.node.place.clone(), message).note("chmod 600, or 640 with squall's own group");
    }
    Some(path)
}

/// Its mode, where others may read it.
fn exposed(path: &Path) -> Option<u32> {
    let path = fs::canonicalize(path).ok()?;
    let mode = fs::metadata(&path).ok()?.permissions().mode() & 0o7777;
    let is_open =
        |folder: &Path| fs::metadata(folder).is_ok_and(|known| known.permissions().mode() & 0o001 != 0);
    let is_exposed = mode & 0o004 != 0 && path.ancestors().skip(1).all(is_open) && !is_handed_over(&path);
    is_exposed.then_some(mode)
}

/// Whether it is in a file system in memory that was mounted for it.
fn is_handed_over(path: &Path) -> bool {
    /// `TMPFS_MAGIC` and `RAMFS_MAGIC` of Linux.
    const IN_MEMORY: [u64; 2] = [0x0102_1994, 0x8584_58f6];
    let in_memory = statfs(path).is_ok_and(|known| IN_MEMORY.contains(&(known.f_type as u64 & 0xffff_ffff)));
    in_memory && statvfs(path).is_ok_and(|known| known.f_flag.contains(StatVfsMountFlags::RDONLY))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tests::load_text;

    #[test]
    fn whoever_else_may_read_a_secret_is_told() {
        #[track_caller]
        fn check(folder: u32, file: u32, want: Option<u32>) {
            let dir = tempfile::tempdir().expect("a folder");
            let path = dir.path().join("secret");
            fs::write(&path, "hunter2").expect("a file");
            fs::set_permissions(&path, fs::Permissions::from_mode(file)).expect("it is ours");
            fs::set_permissions(dir.path(), fs::Permissions::from_mode(folder)).expect("it is ours");
            assert_eq!(exposed(&path), want, "{folder:o} {file:o}");
        }
        check(0o755, 0o644, Some(0o644));
        check(0o711, 0o604, Some(0o604)); // who knows the name needs no list
        check(0o755, 0o640, None);
        check(0o755, 0o600, None);
        check(0o750, 0o644, None); // others do not get there
        check(0o700, 0o666, None);
        assert_eq!(exposed(Path::new("/nowhere/secret")), None);
    }

    /// All keys that name secrets, and none that names something else.
    #[test]
    fn each_secret_is_looked_at() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("secret");
        fs::write(&path, "hunter2").expect("a file");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).expect("it is ours");
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).expect("it is ours");
        let text = "
status: { token_file: FILE }
notify:
  ca_file: FILE
  slack: { url_file: FILE }
  webhook: { url_file: FILE, secret_file: FILE, token_file: FILE }
  alertmanager: { urls: ['https://am'], token_file: FILE }
outputs:
  kafka:
    brokers: [a:1]
    topic: t
    tls: { ca_file: FILE, cert_file: FILE, key_file: FILE, key_password_file: FILE }
    sasl: { mechanism: PLAIN, username: u, password_file: FILE }
";
        let loaded = load_text(&text.replace("FILE", &path.to_string_lossy()));
        let (_, warnings) = loaded.unwrap_or_else(|faults| panic!("{faults}"));
        let keys: Vec<&str> = warnings
            .iter()
            .map(|warning| {
                let message = warning.message();
                assert!(
                    message.ends_with("/secret has the mode 0644") && !message.contains("hunter2"),
                    "{message}"
                );
                message.split('`').nth(1).unwrap_or_default()
            })
            .collect();
        let want = [
            "status.token_file",
            "notify.slack.url_file",
            "notify.webhook.url_file",
            "notify.webhook.secret_file",
            "notify.webhook.token_file",
            "notify.alertmanager.token_file",
            "outputs.kafka.tls.key_file",
            "outputs.kafka.tls.key_password_file",
            "outputs.kafka.sasl.password_file",
        ];
        assert_eq!(keys, want);
    }
}

//! dockerd, played: it makes FIFOs, announces them over the plugin socket byte for byte as dockerd 20.10 does, and writes
//! frames whose time grows.

use std::io::{Read as _, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{CWD, FileType, Mode, OFlags, mknodat, open};
use rustix::io::Errno;
use serde_json::{Value, json};

/// How long dockerd waits for an answer, and this test for a writer that stands still.
const PATIENCE: Duration = Duration::from_secs(30);

/// Asks the plugin, as dockerd does; gives what it answers.
#[track_caller]
pub(super) fn ask(socket: &Path, path: &str, body: &str) -> Value {
    let mut connection = UnixStream::connect(socket).expect("it listens");
    connection.set_read_timeout(Some(PATIENCE)).expect("a socket");
    let request = format!(
        "POST {path} HTTP/1.1\r\nHost: \r\nUser-Agent: Go-http-client/1.1\r\nContent-Length: {}\r\n\
         Accept: application/vnd.docker.plugins.v1.2+json\r\nAccept-Encoding: gzip\r\n\r\n{body}",
        body.len()
    );
    connection.write_all(request.as_bytes()).expect("it listens");
    // The connection stays open, so the answer ends where its length says.
    let mut answer = Vec::new();
    loop {
        let mut more = [0; 4096];
        let read = connection.read(&mut more).expect("an answer in time");
        assert!(read > 0, "no whole answer: {}", String::from_utf8_lossy(&answer));
        answer.extend_from_slice(&more[..read]);
        let text = String::from_utf8_lossy(&answer);
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length = head
            .lines()
            .find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
        let length: usize = length.unwrap_or_else(|| panic!("no length: {head}"));
        if body.len() >= length {
            assert!(head.starts_with("HTTP/1.1 200 OK"), "{text}");
            return serde_json::from_str(body).expect("JSON");
        }
    }
}

/// The clock of all frames: it only grows, for identity rests on that.
static CLOCK: AtomicU64 = AtomicU64::new(1_770_336_600_000_000_000);

/// One container's logging, as dockerd has it.
pub(super) struct Logging {
    file: PathBuf,
    /// dockerd holds both ends.
    fifo: Option<OwnedFd>,
    /// Bytes written so far.
    pub(super) written: u64,
}

impl Logging {
    /// Makes the FIFO and announces it; fails where the plugin refuses.
    #[track_caller]
    pub(super) fn start(
        socket: &Path,
        folder: &Path,
        name: &str,
        container: &str,
        options: Value,
    ) -> Logging {
        let (logging, answer) = Logging::try_start(socket, folder, name, container, options);
        assert_eq!(answer, json!({ "Err": "" }));
        logging
    }

    /// The same, with what the plugin answers.
    pub(super) fn try_start(
        socket: &Path,
        folder: &Path,
        name: &str,
        container: &str,
        options: Value,
    ) -> (Logging, Value) {
        let file = folder.join(format!("{name:0>64}"));
        mknodat(CWD, &file, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).expect("a FIFO");
        let flags = OFlags::RDWR | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let fifo = open(&file, flags, Mode::empty()).expect("a FIFO");
        let info = json!({
            "Config": options, "ContainerID": container, "ContainerName": format!("/{container}-name"),
            "ContainerEntrypoint": "sh", "ContainerArgs": ["-c", "true"],
            "ContainerImageID": format!("sha256:{}", "ab".repeat(32)), "ContainerImageName": "acme/api:1",
            "ContainerCreated": "2026-02-06T00:10:00Z", "ContainerEnv": ["PASSWORD=hunter2"],
            "ContainerLabels": { "com.docker.compose.service": "api", "team": "pay" },
            "LogPath": "", "DaemonName": "docker",
        });
        let body = json!({ "File": file, "Info": info }).to_string();
        let answer = ask(socket, "/LogDriver.StartLogging", &body);
        (Logging { file, fifo: Some(fifo), written: 0 }, answer)
    }

    /// A whole line.
    pub(super) fn line(&mut self, stream: &str, text: &[u8]) {
        let frame = frame(stream, text, None);
        self.write(&frame);
    }

    /// A piece of a line: its id, its number, whether it is the last.
    pub(super) fn piece(&mut self, stream: &str, text: &[u8], piece: (&str, u64, bool)) {
        let frame = frame(stream, text, Some(piece));
        self.write(&frame);
    }

    /// Any bytes. Waits while the FIFO is full, but not for ever.
    #[track_caller]
    pub(super) fn write(&mut self, mut bytes: &[u8]) {
        let fifo = self.fifo.as_ref().expect("it is open");
        self.written += bytes.len() as u64;
        while !bytes.is_empty() {
            match rustix::io::write(fifo, bytes) {
                Ok(written) => bytes = &bytes[written..],
                Err(Errno::AGAIN) => {
                    let mut waiting = [PollFd::from_borrowed_fd(fifo.as_fd(), PollFlags::OUT)];
                    let patience = Timespec { tv_sec: PATIENCE.as_secs() as i64, tv_nsec: 0 };
                    assert_eq!(poll(&mut waiting, Some(&patience)), Ok(1), "the container stands still");
                }
                Err(error) => panic!("{error}"),
            }
        }
    }

    /// The container has ended: says so, closes and unlinks.
    #[track_caller]
    pub(super) fn stop(mut self, socket: &Path) {
        let answer = ask(socket, "/LogDriver.StopLogging", &json!({ "File": self.file }).to_string());
        assert_eq!(answer, json!({ "Err": "" }));
        self.fifo = None;
        std::fs::remove_file(&self.file).expect("the FIFO");
    }

    /// dockerd was killed: nobody says a word.
    pub(super) fn abandon(mut self) {
        self.fifo = None;
    }
}

/// A frame as dockerd makes it.
pub(super) fn frame(stream: &str, text: &[u8], piece: Option<(&str, u64, bool)>) -> Vec<u8> {
    let time = CLOCK.fetch_add(1_000_000, Ordering::Relaxed);
    let mut body = field(1, stream.as_bytes());
    body.push(0x10);
    body.extend(varint(time));
    body.extend(field(3, text));
    if let Some((id, ordinal, last)) = piece {
        let last: &[u8] = if last { b"\x08\x01" } else { b"" };
        body.extend(b"\x20\x01");
        body.extend(field(5, &[last, &field(2, id.as_bytes()), b"\x18", &varint(ordinal)].concat()));
    }
    [&(body.len() as u32).to_be_bytes()[..], &body].concat()
}

fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    [&[number << 3 | 2][..], &varint(bytes.len() as u64), bytes].concat()
}

fn varint(mut number: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
    bytes
}

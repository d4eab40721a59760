//! HTTP by hand: one request, one answer, so that a test may also send what no client would.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::time::Duration;

use serde_json::Value;

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// Status line and header fields, their names in lower case.
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Answer {
    /// The body as JSON.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("no JSON: {self:?}"))
    }

    fn parse(bytes: &[u8]) -> Option<Answer> {
        let text = String::from_utf8_lossy(bytes);
        let (head, body) = text.split_once("\r\n\r\n")?;
        let status = head.split(' ').nth(1)?.parse().ok()?;
        Some(Answer { status, head: head.to_lowercase(), body: body.to_owned() })
    }
}

/// Asks for a path.
#[track_caller]
pub(crate) fn get(address: &str, path: &str) -> Answer {
    ask(address, &format!("GET {path} HTTP/1.1\r\nHost: {address}\r\n\r\n"))
}

/// Sends these very bytes, and reads the answer to its end.
#[track_caller]
pub(crate) fn ask(address: &str, request: &str) -> Answer {
    let stream = connect(address);
    exchange(stream, request).unwrap_or_else(|error| panic!("{error}: {request}"))
}

/// A connection whose reads do not last for ever.
#[track_caller]
pub(crate) fn connect(address: &str) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap_or_else(|error| panic!("{address}: {error}"));
    stream.set_read_timeout(Some(WAIT_MAX)).expect("a socket");
    stream
}

/// The same over whatever stream. The server closes it when it has answered.
pub(crate) fn exchange(mut stream: impl Read + Write, request: &str) -> io::Result<Answer> {
    stream.write_all(request.as_bytes())?;
    let mut bytes = Vec::new();
    // A server that refuses a request before it has read all of it resets the connection behind its answer.
    let ended = stream.read_to_end(&mut bytes);
    Answer::parse(&bytes).ok_or_else(|| ended.err().unwrap_or_else(|| io::Error::other("no answer")))
}

/// Where squall says that it serves its status.
pub(crate) fn served_at(messages: &str) -> Option<String> {
    let (_, rest) = messages.split_once("the status is served at http://")?;
    rest.split_once('/').map(|(address, _)| address.to_owned())
}

/// An address on loopback where nobody listens now.
pub(crate) fn free_address() -> String {
    let free = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr());
    free.expect("loopback").to_string()
}

/// An address of this machine that is not loopback; `None` where it has no network.
pub(crate) fn outer_address() -> Option<std::net::IpAddr> {
    let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
    // Nothing is sent: it only finds the way.
    socket.connect("192.0.2.1:9").ok()?;
    Some(socket.local_addr().ok()?.ip()).filter(|address| !address.is_loopback() && !address.is_unspecified())
}

const WAIT_MAX: Duration = Duration::from_secs(60);

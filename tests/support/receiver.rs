//! A receiver of webhooks on loopback that answers as it is told, and keeps what came. And a request, to ask others.

use std::io::{BufRead as _, BufReader, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use openssl::pkey::PKey;
use openssl::ssl::{SslAcceptor, SslMethod};
use openssl::x509::X509;
use serde_json::Value;

use super::certificates::Certificate;

/// How it answers.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    /// With this status.
    Status(u16),
    /// With this status and one header.
    Header(u16, String),
    /// It reads and says nothing.
    Hang,
}

/// What came.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    /// Method and path.
    pub(crate) line: String,
    /// Names in lower case.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Request {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).expect("JSON")
    }
}

/// A receiver; gone when it is dropped.
pub(crate) struct Receiver {
    address: String,
    state: Arc<Mutex<State>>,
    stopped: Arc<AtomicBool>,
    acceptor: Option<JoinHandle<()>>,
}

struct State {
    answer: Answer,
    requests: Vec<Request>,
}

impl Receiver {
    /// Listens on a free port.
    pub(crate) fn start(answer: Answer) -> Receiver {
        Receiver::with(answer, None)
    }

    /// The same behind TLS.
    pub(crate) fn start_tls(answer: Answer, certificate: &Certificate) -> Receiver {
        let pem = certificate.key_and_chain();
        let mut tls = SslAcceptor::mozilla_intermediate_v5(SslMethod::tls()).expect("TLS");
        tls.set_private_key(&*PKey::private_key_from_pem(pem).expect("a key")).expect("a key that fits");
        tls.set_certificate(&X509::from_pem(pem).expect("a certificate")).expect("a certificate that fits");
        Receiver::with(answer, Some(tls.build()))
    }

    fn with(answer: Answer, tls: Option<SslAcceptor>) -> Receiver {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let address = listener.local_addr().expect("a bound port").to_string();
        // The acceptor has to look around for the end now and then.
        listener.set_nonblocking(true).expect("a socket");
        let state = Arc::new(Mutex::new(State { answer, requests: Vec::new() }));
        let stopped = Arc::new(AtomicBool::new(false));
        let (shared, is_over) = (Arc::clone(&state), Arc::clone(&stopped));
        let tls = tls.map(Arc::new);
        let acceptor = thread::spawn(move || {
            while !is_over.load(Ordering::Acquire) {
                match listener.accept() {
                    Ok((stream, _)) => {
                        let (shared, is_over, tls) = (Arc::clone(&shared), Arc::clone(&is_over), tls.clone());
                        thread::spawn(move || serve(stream, tls.as_deref(), &shared, &is_over));
                    }
                    Err(error) if error.kind() == ErrorKind::WouldBlock => thread::sleep(LOOK_EVERY),
                    Err(error) => panic!("{error}"),
                }
            }
        });
        Receiver { address, state, stopped, acceptor: Some(acceptor) }
    }

    /// `http://127.0.0.1:port` and `path`.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(crate) fn set(&self, answer: Answer) {
        lock(&self.state).answer = answer;
    }

    /// What came so far.
    pub(crate) fn requests(&self) -> Vec<Request> {
        lock(&self.state).requests.clone()
    }

    /// The alerts of all bodies that a webhook or Alertmanager gets: the id and the status that was told, in order.
    pub(crate) fn told(&self) -> Vec<String> {
        let bodies = self.requests().iter().map(Request::json).collect::<Vec<_>>();
        let alerts =
            bodies.iter().flat_map(|body| body.as_array().or(body["alerts"].as_array()).expect("alerts"));
        alerts.map(|alert| alert["annotations"]["squall_id"].as_str().expect("an id").to_owned()).collect()
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::Release);
        if let Some(acceptor) = self.acceptor.take() {
            // Its panic has been shown already.
            let _ = acceptor.join();
        }
    }
}

fn serve(stream: TcpStream, tls: Option<&SslAcceptor>, state: &Mutex<State>, is_over: &AtomicBool) {
    stream.set_nonblocking(false).expect("a socket");
    match tls {
        None => answer(stream, state, is_over),
        // Who does not trust us ends here.
        Some(tls) => tls.accept(stream).map_or((), |stream| answer(stream, state, is_over)),
    }
}

fn answer(stream: impl Read + Write, state: &Mutex<State>, is_over: &AtomicBool) {
    let mut reader = BufReader::new(stream);
    let Some(request) = read(&mut reader) else { return };
    let answer = {
        let mut state = lock(state);
        state.requests.push(request);
        state.answer.clone()
    };
    let (status, header) = match answer {
        Answer::Status(status) => (status, String::new()),
        Answer::Header(status, header) => (status, format!("{header}\r\n")),
        Answer::Hang => {
            while !is_over.load(Ordering::Acquire) {
                thread::sleep(LOOK_EVERY);
            }
            return;
        }
    };
    let text =
        format!("HTTP/1.1 {status} As told\r\n{header}content-length: 2\r\nconnection: close\r\n\r\nok");
    // Who asked may be gone, which is its affair.
    let _ = reader.get_mut().write_all(text.as_bytes());
}

/// A request; `None` when the connection ends before its end.
fn read(reader: &mut BufReader<impl Read>) -> Option<Request> {
    let mut next = || {
        let mut line = String::new();
        reader.read_line(&mut line).ok().filter(|length| *length > 0)?;
        Some(line.trim_end().to_owned())
    };
    let line = next()?;
    let mut headers = Vec::new();
    loop {
        let header = next()?;
        if header.is_empty() {
            break;
        }
        let (name, value) = header.split_once(':')?;
        headers.push((name.to_lowercase(), value.trim().to_owned()));
    }
    let length = headers.iter().find(|(name, _)| name == "content-length")?.1.parse().ok()?;
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some(Request { line, headers, body: String::from_utf8(body).ok()? })
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The answer of `address` to `GET path`; `None` where nobody answers.
pub(crate) fn get(address: &str, path: &str) -> Option<String> {
    let mut stream = TcpStream::connect(address).ok()?;
    // In the old version nobody answers in pieces.
    write!(stream, "GET {path} HTTP/1.0\r\nhost: {address}\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    head.split(' ').nth(1).filter(|status| *status == "200")?;
    Some(body.to_owned())
}

const LOOK_EVERY: Duration = Duration::from_millis(2);

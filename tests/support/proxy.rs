//! A TCP proxy between squall and a broker, whose network goes bad on command.
//!
//! All in user space, on loopback: no `netem`, no firewall. Two threads a connection; all end when it is dropped.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustix::net::sockopt::set_socket_linger;

/// How the network is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Mode {
    /// As it should be.
    #[default]
    Pass,
    /// Every piece arrives so much later.
    Delay(Duration),
    /// Connections stand and can be made, but nothing comes through.
    Blackhole,
    /// The broker's side is gone and nobody told the client.
    HalfOpen,
    /// One byte a second.
    Trickle,
    /// Nobody listens any more: new connections are reset.
    Refuse,
}

/// The proxy. Made before its broker, which must advertise its address.
pub(crate) struct Proxy {
    address: String,
    state: Arc<Mutex<State>>,
    acceptor: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct State {
    mode: Mode,
    /// Where connections lead; until it is known, they are reset.
    upstream: Option<String>,
    /// Connections that began before this number was reached are cut.
    cut_before: u64,
    /// Connections so far.
    connections: u64,
    stopped: bool,
}

impl Proxy {
    /// Listens on a free port of loopback, without a broker behind it yet.
    pub(crate) fn start() -> Proxy {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let address = listener.local_addr().expect("a bound port").to_string();
        // The acceptor has to look around for the end now and then.
        listener.set_nonblocking(true).expect("a socket");
        let state = Arc::new(Mutex::new(State::default()));
        let shared = Arc::clone(&state);
        let acceptor = thread::spawn(move || accept(&listener, &shared));
        Proxy { address, state, acceptor: Some(acceptor) }
    }

    /// `host:port` for clients.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    pub(crate) fn forward_to(&self, upstream: &str) {
        lock(&self.state).upstream = Some(upstream.to_owned());
    }

    pub(crate) fn set(&self, mode: Mode) {
        lock(&self.state).mode = mode;
    }

    /// Resets all connections that there are now.
    pub(crate) fn cut(&self) {
        let mut state = lock(&self.state);
        state.cut_before = state.connections;
    }

    /// How many connections have been made.
    pub(crate) fn connections(&self) -> u64 {
        lock(&self.state).connections
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        lock(&self.state).stopped = true;
        if let Some(acceptor) = self.acceptor.take() {
            // It has nothing left to do that could fail.
            let _ = acceptor.join();
        }
    }
}

fn lock(state: &Mutex<State>) -> std::sync::MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

fn accept(listener: &TcpListener, shared: &Arc<Mutex<State>>) {
    let mut pumps = Vec::new();
    loop {
        let (mode, upstream) = {
            let state = lock(shared);
            if state.stopped {
                break;
            }
            (state.mode, state.upstream.clone())
        };
        match listener.accept() {
            Ok((client, _)) => {
                let upstream = upstream.filter(|_| mode != Mode::Refuse);
                let server = upstream.and_then(|upstream| TcpStream::connect(upstream).ok());
                match server {
                    Some(server) => pumps.extend(connect(&client, &server, shared)),
                    None => reset(&client),
                }
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => thread::sleep(LOOK_EVERY),
            // The client was gone before we looked.
            Err(_) => {}
        }
        pumps.retain(|pump: &JoinHandle<()>| !pump.is_finished());
    }
    for pump in pumps {
        // They end because the state says so.
        let _ = pump.join();
    }
}

/// Both directions of a connection.
fn connect(client: &TcpStream, server: &TcpStream, shared: &Arc<Mutex<State>>) -> Vec<JoinHandle<()>> {
    let number = {
        let mut state = lock(shared);
        state.connections += 1;
        state.connections
    };
    let pump = |from: &TcpStream, to: &TcpStream, server: &TcpStream| {
        let (from, to, server) = (from.try_clone()?, to.try_clone()?, server.try_clone()?);
        from.set_nonblocking(false)?;
        from.set_read_timeout(Some(LOOK_EVERY))?;
        to.set_write_timeout(Some(WRITE_MAX))?;
        let pump = Pump { from, to, server, number, shared: Arc::clone(shared) };
        Ok::<_, std::io::Error>(thread::spawn(move || pump.run()))
    };
    // A socket that cannot be set up is gone already.
    [pump(client, server, server), pump(server, client, server)].into_iter().flatten().collect()
}

/// One direction of a connection.
struct Pump {
    from: TcpStream,
    to: TcpStream,
    /// The broker's side, which `HalfOpen` ends.
    server: TcpStream,
    number: u64,
    shared: Arc<Mutex<State>>,
}

impl Pump {
    fn run(mut self) {
        let mut buffer = vec![0; 64 * 1024];
        loop {
            let wanted = if lock(&self.shared).mode == Mode::Trickle { 1 } else { buffer.len() };
            let read = self.from.read(&mut buffer[..wanted]);
            // The network may have gone bad while we waited: what was read then does not come through either.
            match (self.wait_for_passage(), read) {
                (Passage::Cut, _) => {
                    reset(&self.from);
                    reset(&self.to);
                    return;
                }
                (_, Ok(0)) => break,
                (Passage::Open(mode), Ok(length)) => {
                    match mode {
                        Mode::Delay(by) => thread::sleep(by),
                        Mode::Trickle => thread::sleep(TRICKLE),
                        _ => {}
                    }
                    if self.to.write_all(&buffer[..length]).is_err() {
                        break;
                    }
                }
                (_, Err(error)) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                (_, Err(_)) => break,
            }
        }
        // The other direction meets the end by itself.
        let _ = self.to.shutdown(Shutdown::Both);
        let _ = self.from.shutdown(Shutdown::Both);
    }

    /// Waits while nothing comes through; for ever, as far as the client can tell, once the broker's side is gone.
    fn wait_for_passage(&mut self) -> Passage {
        let mut gone = false;
        loop {
            let (mode, cut) = {
                let state = lock(&self.shared);
                (state.mode, state.stopped || self.number <= state.cut_before)
            };
            if cut {
                return Passage::Cut;
            }
            if mode == Mode::HalfOpen && !gone {
                gone = true;
                // The broker may have hung up before.
                let _ = self.server.shutdown(Shutdown::Both);
            }
            if !gone && mode != Mode::Blackhole {
                return Passage::Open(mode);
            }
            thread::sleep(LOOK_EVERY);
        }
    }
}

/// Whether something comes through.
enum Passage {
    Open(Mode),
    Cut,
}

/// Ends a connection with a reset instead of a goodbye, once its last handle is closed.
fn reset(stream: &TcpStream) {
    // A socket that has ended needs no reset.
    let _ = set_socket_linger(stream, Some(Duration::ZERO));
}

const LOOK_EVERY: Duration = Duration::from_millis(5);
const TRICKLE: Duration = Duration::from_secs(1);
const WRITE_MAX: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;

    /// A server that answers each byte with its successor.
    fn server() -> String {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let address = listener.local_addr().expect("a bound port").to_string();
        thread::spawn(move || {
            for mut stream in listener.incoming().map_while(Result::ok) {
                thread::spawn(move || {
                    let mut byte = [0];
                    while let Ok(1) = stream.read(&mut byte) {
                        if stream.write_all(&[byte[0] + 1]).is_err() {
                            break;
                        }
                    }
                });
            }
        });
        address
    }

    fn ask(stream: &mut TcpStream, byte: u8) -> Result<u8, ErrorKind> {
        stream.set_read_timeout(Some(Duration::from_millis(100))).expect("a socket");
        let mut answer = [0];
        stream.write_all(&[byte]).map_err(|error| error.kind())?;
        match stream.read(&mut answer) {
            Ok(0) => Err(ErrorKind::UnexpectedEof),
            Ok(_) => Ok(answer[0]),
            Err(error) => Err(error.kind()),
        }
    }

    #[test]
    fn the_network_goes_bad_and_well_again() {
        let proxy = Proxy::start();
        let mut early = TcpStream::connect(proxy.address()).expect("it listens");
        assert!(ask(&mut early, 1).is_err(), "there is nobody behind it yet");
        proxy.forward_to(&server());
        let mut stream = TcpStream::connect(proxy.address()).expect("it listens");
        assert_eq!(ask(&mut stream, 1), Ok(2));
        proxy.set(Mode::Blackhole);
        assert_eq!(ask(&mut stream, 3), Err(ErrorKind::WouldBlock));
        proxy.set(Mode::Delay(Duration::from_millis(1)));
        stream.set_read_timeout(Some(WRITE_MAX)).expect("a socket");
        let mut late = [0];
        stream.read_exact(&mut late).expect("what was held back comes now");
        assert_eq!(late, [4]);
        assert_eq!(proxy.connections(), 1);
        proxy.cut();
        let mut answer = ask(&mut stream, 5);
        for _ in 0..100 {
            if answer != Err(ErrorKind::WouldBlock) {
                break;
            }
            answer = ask(&mut stream, 5);
        }
        assert!(matches!(answer, Err(ErrorKind::ConnectionReset | ErrorKind::BrokenPipe)), "{answer:?}");
    }

    #[test]
    fn a_half_open_connection_says_nothing() {
        let proxy = Proxy::start();
        proxy.forward_to(&server());
        let mut stream = TcpStream::connect(proxy.address()).expect("it listens");
        assert_eq!(ask(&mut stream, 1), Ok(2));
        proxy.set(Mode::HalfOpen);
        assert_eq!(ask(&mut stream, 3), Err(ErrorKind::WouldBlock));
        proxy.set(Mode::Pass);
        assert_eq!(ask(&mut stream, 5), Err(ErrorKind::WouldBlock), "the broker's side does not come back");
        let mut fresh = TcpStream::connect(proxy.address()).expect("it listens");
        assert_eq!(ask(&mut fresh, 7), Ok(8));
        proxy.set(Mode::Refuse);
        let mut refused = TcpStream::connect(proxy.address()).expect("the kernel accepts");
        assert!(ask(&mut refused, 9).is_err());
    }
}

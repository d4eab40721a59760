//! The server: a thread, a listener, and connections that cannot hurt.
//!
//! Each connection is for one request. [`CONNECTIONS_MAX`] are open at once; one more closes the one that has been open for
//! longest, so whoever hangs makes room for whoever comes, and a probe is answered while a thousand others hang.
//! Limits: [`HEAD_TIME_MAX`] to send the head of a request, [`TIME_MAX`] for all of it; a head of [`HEAD_MAX`] bytes and
//! [`HEADERS_MAX`] fields.

use std::collections::VecDeque;
use std::io;
use std::net::{SocketAddr, TcpListener as StdTcpListener};
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::os::unix::net::{UnixListener as StdUnixListener, UnixStream as StdUnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use axum::{Extension, Router};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::oneshot;
use tokio::task::{AbortHandle, JoinSet};

use super::board::Board;
use super::guard::{Peer, TokenFile};
use super::routes::{Context, routes};
use super::{DEFAULT, Listen, Options, Tools};

/// Connections that are open at once.
pub const CONNECTIONS_MAX: usize = 100;
/// The longest head of a request, in bytes.
pub const HEAD_MAX: usize = 16 << 10;
/// The most header fields.
pub const HEADERS_MAX: usize = 64;
/// The longest time until the head of a request is here.
pub const HEAD_TIME_MAX: Duration = Duration::from_secs(5);
/// The longest time for a request and its answer.
pub const TIME_MAX: Duration = Duration::from_secs(10);
/// The pause after a connection that could not be taken: there are no descriptors left, say.
const PAUSE: Duration = Duration::from_millis(100);

/// Why nothing can be served.
#[derive(Debug, thiserror::Error)]
pub enum StatusError {
    /// The place cannot be used.
    #[error("cannot serve the status at {listen} (status.listen): choose another place, or off")]
    Listen {
        /// Where.
        listen: Listen,
        /// Why.
        source: io::Error,
    },
    /// The token cannot be used.
    #[error("cannot use the token in {path} (status.token_file)", path = path.display())]
    Token {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The system has no threads left.
    #[error("cannot start the status server")]
    System(#[source] io::Error),
}

/// A server at work. It ends when this is dropped.
#[derive(Debug)]
pub struct Server {
    /// Dropped to end it.
    end: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Serves what is on the board, from now on. `None` where nothing is to be served, or the default place is taken.
    ///
    /// # Errors
    /// When the place that was asked for cannot be used, or the token.
    pub fn start(options: &Options, board: &Arc<Board>, tools: Tools) -> Result<Option<Server>, StatusError> {
        let token = match &options.token_file {
            None => None,
            Some(path) => {
                let token = TokenFile::open(path);
                Some(token.map_err(|source| StatusError::Token { path: path.clone(), source })?)
            }
        };
        let Some(listener) = listen(&options.listen)? else { return Ok(None) };
        let router = routes(Context {
            board: Arc::clone(board),
            clock: tools.clock,
            token,
            parse_time: tools.parse_time,
        });
        let (end, ended) = oneshot::channel();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(StatusError::System)?;
        let thread = thread::Builder::new()
            .name("squall-status".to_owned())
            .spawn(move || runtime.block_on(serve(listener, router, ended)))
            .map_err(StatusError::System)?;
        Ok(Some(Server { end: Some(end), thread: Some(thread) }))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.end = None;
        if let Some(thread) = self.thread.take() {
            // With `panic = "abort"` a thread that panicked takes the process along.
            let _ = thread.join();
        }
    }
}

enum Listener {
    Tcp(StdTcpListener),
    Unix(StdUnixListener),
}

/// Binds the place.
fn listen(place: &Listen) -> Result<Option<Listener>, StatusError> {
    let (listener, place) = match place {
        Listen::Off => return Ok(None),
        Listen::Default => match tcp(DEFAULT) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                tracing::warn!(
                    "the status is not served: {DEFAULT} is taken; name another place in status.listen, or off"
                );
                return Ok(None);
            }
            other => (other, place),
        },
        Listen::Tcp(address) => (tcp(*address), place),
        Listen::Unix(path) => (unix(path), place),
    };
    listener.map(Some).map_err(|source| StatusError::Listen { listen: place.clone(), source })
}

fn tcp(address: SocketAddr) -> io::Result<Listener> {
    let listener = StdTcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    tracing::info!("the status is served at http://{}/", listener.local_addr()?);
    Ok(Listener::Tcp(listener))
}

/// A socket that a dead process left behind is replaced; one that is served, or a file, is not.
fn unix(path: &Path) -> io::Result<Listener> {
    let is_left = |path: &Path| {
        let is_socket = path.symlink_metadata().is_ok_and(|metadata| metadata.file_type().is_socket());
        is_socket
            && StdUnixStream::connect(path)
                .is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
    };
    if is_left(path) {
        std::fs::remove_file(path)?;
    }
    let listener = StdUnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o660))?;
    listener.set_nonblocking(true)?;
    tracing::info!("the status is served at unix:{}", path.display());
    Ok(Listener::Unix(listener))
}

async fn serve(listener: Listener, router: Router, ended: oneshot::Receiver<()>) {
    let served = async {
        match listener {
            Listener::Tcp(listener) => {
                let listener = TcpListener::from_std(listener)?;
                let accept = async || {
                    let (stream, from) = listener.accept().await?;
                    Ok((stream, Peer::of(from.ip())))
                };
                accept_all(accept, router).await
            }
            Listener::Unix(listener) => {
                let listener = UnixListener::from_std(listener)?;
                accept_all(async || Ok((listener.accept().await?.0, Peer::Here)), router).await
            }
        }
    };
    tokio::select! {
        result = served => {
            let result: io::Result<()> = result;
            if let Err(error) = result {
                tracing::error!("the status is not served any more: {error}");
            }
        }
        // Told, or dropped: it is over either way.
        _ = ended => {}
    }
}

async fn accept_all<S>(accept: impl AsyncFn() -> io::Result<(S, Peer)>, router: Router) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut open = Open::default();
    loop {
        tokio::select! {
            accepted = accept() => match accepted {
                Ok((stream, peer)) => open.take(attend(stream, router.clone().layer(Extension(peer)))).await,
                Err(error) => {
                    tracing::warn!("a connection to the status server could not be taken: {error}");
                    tokio::time::sleep(PAUSE).await;
                }
            },
            () = open.forget_one(), if !open.ages.is_empty() => {}
        }
    }
}

/// The connections that are open.
#[derive(Default)]
struct Open {
    tasks: JoinSet<()>,
    /// The oldest first.
    ages: VecDeque<AbortHandle>,
}

impl Open {
    /// Serves one more, and closes the oldest where there are too many.
    async fn take(&mut self, connection: impl Future<Output = ()> + Send + 'static) {
        while self.tasks.len() >= CONNECTIONS_MAX {
            if let Some(oldest) = self.ages.front() {
                oldest.abort();
            }
            self.forget_one().await;
        }
        let task = self.tasks.spawn(connection);
        self.ages.push_back(task);
    }

    /// Waits for the end of one.
    async fn forget_one(&mut self) {
        // Aborted ones end with an error, and are as much over as others.
        let _ = self.tasks.join_next().await;
        self.ages.retain(|task| !task.is_finished());
    }
}

/// One connection, from its request to its end.
async fn attend(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, router: Router) {
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME_MAX)
        .max_buf_size(HEAD_MAX)
        .max_headers(HEADERS_MAX)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    // Whoever is too slow, breaks off or sends no HTTP has had its chance; there is nobody to be told.
    let _ = tokio::time::timeout(TIME_MAX, connection).await;
}

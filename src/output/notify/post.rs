//! One request to a receiver: who may be asked, for how long, and what an answer means.
//!
//! Nothing is followed: a redirect is a failure like any other. The environment's proxies are not used. An answer is read
//! up to [`ANSWER_MAX`], the whole takes [`PATIENCE`] at most, and each request has a connection of its own, so that its
//! name is resolved and judged (`guard`) each time.
//! No message of ours holds an address's path, a token or a secret.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use ring::hmac;
use ureq::Agent;
use ureq::http::HeaderValue;
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem};
use ureq::unversioned::transport::DefaultConnector;

use super::guard::Guarded;
use super::options::{Http, Place, Receiver};
use super::url::{Url, UrlError};
use crate::terminal::visible;

/// The longest time for one request.
const PATIENCE: Duration = Duration::from_secs(5);
/// The most that is read of an answer, in bytes.
const ANSWER_MAX: u64 = 64 << 10;
/// The largest file with a secret, in bytes.
const SECRET_MAX: u64 = 64 << 10;
/// The most of an answer that is shown, in letters.
const SHOWN_MAX: usize = 200;

/// What cannot be used to reach receivers.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// A file could not be read.
    #[error("cannot read {path}", path = path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// There is no certificate in it.
    #[error("{path} holds no certificate in PEM", path = path.display())]
    Authorities {
        /// The file.
        path: PathBuf,
    },
    /// The proxy's address.
    #[error("the proxy {0} cannot be used")]
    Proxy(Url),
}

/// Why a receiver was not told.
#[derive(Debug)]
pub(super) struct Failure {
    /// One sentence, without secrets.
    pub(super) reason: String,
    /// Whether it may work later.
    pub(super) lasts: Lasts,
}

/// Whether trying again may help.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lasts {
    /// It may, and not before so long, if the receiver says.
    ForNow(Option<Duration>),
    /// The receiver has understood, and does not want this message.
    ForEver,
}

impl Failure {
    fn for_now(reason: impl Into<String>) -> Failure {
        Failure { reason: reason.into(), lasts: Lasts::ForNow(None) }
    }
}

/// Sends requests to one receiver.
pub(super) struct Post {
    agent: Agent,
    http_hosts: Vec<String>,
}

impl Post {
    /// Ready to send.
    pub(super) fn new(http: &Http) -> Result<Post, HttpError> {
        let mut tls = TlsConfig::builder();
        if let Some(path) = &http.ca_file {
            tls = tls.root_certs(authorities(path)?);
        }
        let proxy = match &http.proxy {
            Some(url) => {
                let proxy = ureq::Proxy::new(&url.uri().to_string());
                Some(proxy.map_err(|_| HttpError::Proxy(url.clone()))?)
            }
            None => None,
        };
        let config = Agent::config_builder()
            .tls_config(tls.build())
            .proxy(proxy)
            .max_redirects(0)
            .http_status_as_error(false)
            .max_idle_connections(0)
            .timeout_global(Some(PATIENCE))
            .user_agent(concat!("squall/", env!("CARGO_PKG_VERSION")))
            .build();
        let agent = Agent::with_parts(config, DefaultConnector::default(), Guarded::default());
        Ok(Post { agent, http_hosts: http.http_hosts.clone() })
    }

    /// Sends `body`, which is JSON, and waits for the answer. `path` is added to the receiver's address.
    pub(super) fn send(
        &self,
        receiver: &Receiver,
        path: &str,
        secret: Option<&Path>,
        body: &str,
    ) -> Result<(), Failure> {
        let url = self.address(&receiver.place)?.join(path);
        let mut request = self.agent.post(url.uri()).header("content-type", "application/json");
        if let Some(file) = secret {
            let key = hmac::Key::new(hmac::HMAC_SHA256, read_secret(file)?.as_bytes());
            request = request.header(SIGNATURE, signature(&key, body));
        }
        if let Some(file) = &receiver.token_file {
            let text = format!("Bearer {}", read_secret(file)?);
            let mut token = HeaderValue::try_from(text)
                .map_err(|_| Failure::for_now(format!("{} holds no token", file.display())))?;
            token.set_sensitive(true);
            request = request.header("authorization", token);
        }
        let mut response =
            request.send(body).map_err(|error| Failure::for_now(format!("{url}: {}", told(&error))))?;
        let status = response.status().as_u16();
        if (200..300).contains(&status) {
            return Ok(());
        }
        let asked =
            response.headers().get("retry-after").and_then(|wait| wait.to_str().ok()?.trim().parse().ok());
        let mut answer = Vec::new();
        // What it says is only shown, so it does not matter how much of it comes.
        let _ = response.body_mut().as_reader().take(ANSWER_MAX).read_to_end(&mut answer);
        let answer = String::from_utf8_lossy(&answer);
        let said: String = visible(answer.trim()).chars().take(SHOWN_MAX).collect();
        let separator = if said.is_empty() { "" } else { ": " };
        let lasts = meaning(status, asked.map(Duration::from_secs));
        Err(Failure { reason: format!("{url} answers {status}{separator}{said}"), lasts })
    }

    /// Where the receiver is now.
    fn address(&self, place: &Place) -> Result<Url, Failure> {
        let file = match place {
            Place::Url(url) => return Ok(url.clone()),
            Place::File(file) => file,
        };
        let wrong = |error: UrlError| Failure::for_now(format!("{}: {error}", file.display()));
        let url = Url::parse(read_secret(file)?.trim()).map_err(wrong)?;
        if url.is_plain() && !self.http_hosts.iter().any(|host| host.eq_ignore_ascii_case(url.host())) {
            let reason =
                format!("{}: it is not https, and its host is not in notify.http_hosts", file.display());
            return Err(Failure::for_now(reason));
        }
        Ok(url)
    }
}

/// The header that proves who sent a message: `sha256=` and the HMAC-SHA-256 of its body, in hexadecimal digits.
const SIGNATURE: &str = "squall-signature";

fn signature(key: &hmac::Key, body: &str) -> String {
    let tag = hmac::sign(key, body.as_bytes());
    let digits: String = tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256={digits}")
}

/// What is wrong with the message itself is wrong for ever; everything else, a wrong address or token included, may be put
/// right while we wait.
fn meaning(status: u16, asked: Option<Duration>) -> Lasts {
    if matches!(status, 400 | 413 | 422) { Lasts::ForEver } else { Lasts::ForNow(asked) }
}

/// What an error says, without the address, which some of them repeat.
fn told(error: &ureq::Error) -> String {
    match error {
        ureq::Error::BadUri(_) => "the address cannot be used".to_owned(),
        ureq::Error::Timeout(_) => format!("no answer within {} s", PATIENCE.as_secs()),
        ureq::Error::HostNotFound => "the host is not found".to_owned(),
        other => visible(&other.to_string()).into_owned(),
    }
}

fn authorities(path: &Path) -> Result<RootCerts, HttpError> {
    let pem = read(path).map_err(|source| HttpError::File { path: path.to_owned(), source })?;
    let certificates: Vec<Certificate<'static>> = parse_pem(&pem)
        .filter_map(|item| match item {
            Ok(PemItem::Certificate(certificate)) => Some(certificate),
            _ => None,
        })
        .collect();
    if certificates.is_empty() {
        return Err(HttpError::Authorities { path: path.to_owned() });
    }
    Ok(RootCerts::new_with_certs(&certificates))
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(SECRET_MAX).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The secret in a file, without the newline that editors put at its end. Read each time, so that one that was corrected
/// needs no restart.
fn read_secret(path: &Path) -> Result<String, Failure> {
    let failed = |error: io::Error| Failure::for_now(format!("cannot read {}: {error}", path.display()));
    let bytes = read(path).map_err(failed)?;
    let text = String::from_utf8(bytes)
        .map_err(|_| Failure::for_now(format!("{} holds no text", path.display())))?;
    let text = text.trim_end_matches(['\r', '\n']);
    if text.is_empty() {
        return Err(Failure::for_now(format!("{} is empty", path.display())));
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_signed() {
        // RFC 4231, test case 2.
        let key = hmac::Key::new(hmac::HMAC_SHA256, b"Jefe");
        let want = "sha256=5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
        assert_eq!(signature(&key, "what do ya want for nothing?"), want);
    }

    #[test]
    fn answers_mean_something() {
        let minute = Some(Duration::from_secs(60));
        for status in [400, 413, 422] {
            assert_eq!(meaning(status, minute), Lasts::ForEver, "{status}");
        }
        for status in [301, 302, 307, 401, 403, 404, 408, 429, 500, 503] {
            assert_eq!(meaning(status, minute), Lasts::ForNow(minute), "{status}");
        }
    }

    #[test]
    fn fault_085_an_address_from_a_file_is_https() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("url");
        let post = Post::new(&Http { http_hosts: vec!["am".to_owned()], ..Http::default() }).expect("ready");
        #[track_caller]
        fn check(post: &Post, file: &Path, text: &str, want: Result<&str, &str>) {
            std::fs::write(file, text).expect("a file");
            let address = post.address(&Place::File(file.to_owned()));
            match (address, want) {
                (Ok(url), Ok(want)) => assert_eq!(url.uri().to_string(), want),
                (Err(failure), Err(want)) => {
                    assert!(failure.reason.ends_with(want), "{}", failure.reason);
                    assert!(!failure.reason.contains("secret"), "{}", failure.reason);
                }
                (got, want) => panic!("{got:?}, not {want:?}"),
            }
        }
        check(&post, &file, "https://host/secret\n", Ok("https://host/secret"));
        check(&post, &file, "http://AM:9093/secret\n", Ok("http://AM:9093/secret"));
        check(&post, &file, "http://host/secret", Err("its host is not in notify.http_hosts"));
        check(&post, &file, "http://169.254.169.254/secret", Err("those are never asked"));
        check(&post, &file, "secret", Err("it must begin with https:// or http://"));
        check(&post, &file, "\n", Err("is empty"));
    }

    #[test]
    fn authorities_are_certificates() {
        let folder = tempfile::tempdir().expect("a folder");
        let ca_file = Some(folder.path().join("ca.pem"));
        let http = Http { ca_file, ..Http::default() };
        assert!(matches!(Post::new(&http), Err(HttpError::File { .. })));
        std::fs::write(folder.path().join("ca.pem"), "no certificate").expect("a file");
        assert!(matches!(Post::new(&http), Err(HttpError::Authorities { .. })));
    }
}

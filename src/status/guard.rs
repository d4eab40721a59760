//! Who may see text of logs: this machine, and whoever has the token.
//!
//! A page of another site must not read ours through a browser on this machine. Such a browser sends the other site's name
//! in `Host` (DNS rebinding), so from this machine only names of this machine are taken.

use std::fs::File;
use std::io::{self, Read as _};
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use axum::http::HeaderMap;
use axum::http::header::{AUTHORIZATION, HOST};

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// Somebody on this machine, over loopback or a socket.
    Here,
    /// Somebody else.
    Elsewhere,
}

impl Peer {
    /// Who asks from this address.
    pub fn of(address: IpAddr) -> Peer {
        if address.to_canonical().is_loopback() { Peer::Here } else { Peer::Elsewhere }
    }
}

/// The token, which is read anew each time: whoever changes the file has changed the token.
#[derive(Clone, Debug)]
pub struct TokenFile(PathBuf);

/// Whether a request comes with the token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claim {
    /// It does.
    Right,
    /// It comes with none, or with another one.
    Wrong,
    /// There is no token now: the file cannot be read.
    Unknown,
}

impl TokenFile {
    /// Takes a file that holds a token.
    ///
    /// # Errors
    /// When it cannot be read, or what it holds is too short to be one.
    pub fn open(path: &Path) -> io::Result<TokenFile> {
        read(path)?;
        Ok(TokenFile(path.to_owned()))
    }

    /// What a request's headers say.
    pub fn claim(&self, headers: &HeaderMap) -> Claim {
        let Ok(token) = read(&self.0) else { return Claim::Unknown };
        let given =
            headers.get(AUTHORIZATION).and_then(|header| header.as_bytes().split_at_checked(BEARER.len()));
        match given {
            Some((scheme, given)) if scheme.eq_ignore_ascii_case(BEARER) && is_same(given, &token) => {
                Claim::Right
            }
            _ => Claim::Wrong,
        }
    }
}

const BEARER: &[u8] = b"Bearer ";
/// The fewest bytes of a token: nobody guesses sixteen of them.
const TOKEN_MIN: usize = 16;
/// The most bytes that are read of its file.
const TOKEN_MAX: u64 = 4 << 10;

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(TOKEN_MAX).read_to_end(&mut bytes)?;
    let token = bytes.trim_ascii();
    if token.len() < TOKEN_MIN {
        return Err(io::Error::other(format!("a token has at least {TOKEN_MIN} bytes")));
    }
    Ok(token.to_vec())
}

/// Compares all bytes, so that the time it takes tells nothing but the length.
fn is_same(given: &[u8], token: &[u8]) -> bool {
    let differing = given.iter().zip(token).fold(0, |all, (a, b)| all | (a ^ b));
    std::hint::black_box(differing) == 0 && given.len() == token.len()
}

/// Whether text of logs may be shown.
pub fn may_see_logs(peer: Peer, headers: &HeaderMap, token: Option<&TokenFile>) -> bool {
    let has_token = || token.is_some_and(|token| token.claim(headers) == Claim::Right);
    (peer == Peer::Here && is_addressed_here(headers)) || has_token()
}

/// Whether the request was meant for this machine: by number, as `localhost`, or by nothing.
fn is_addressed_here(headers: &HeaderMap) -> bool {
    let Some(host) = headers.get(HOST) else { return true };
    let Ok(host) = host.to_str() else { return false };
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    name.is_empty() || name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "0123456789abcdef";

    fn headers(pairs: &[(axum::http::HeaderName, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.clone(), value.parse().expect("a value"))).collect()
    }

    #[test]
    fn a_token_is_right_or_wrong() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("token");
        assert!(TokenFile::open(&path).is_err(), "there is none");
        std::fs::write(&path, "short\n").expect("a file");
        assert!(TokenFile::open(&path).is_err());
        std::fs::write(&path, format!("{TOKEN}\n")).expect("a file");
        let token = TokenFile::open(&path).expect("a token");
        #[track_caller]
        fn check(token: &TokenFile, given: &str, want: Claim) {
            assert_eq!(token.claim(&headers(&[(AUTHORIZATION, given)])), want, "{given}");
        }
        check(&token, "Bearer 0123456789abcdef", Claim::Right);
        check(&token, "bearer 0123456789abcdef", Claim::Right);
        for wrong in [
            "",
            "Bearer",
            "Bearer ",
            "Basic 0123456789abcdef",
            "Bearer 0123456789abcde",
            "Bearer 0123456789abcdef0",
        ] {
            check(&token, wrong, Claim::Wrong);
        }
        assert_eq!(token.claim(&HeaderMap::new()), Claim::Wrong);
        std::fs::remove_file(&path).expect("our own file");
        check(&token, "Bearer 0123456789abcdef", Claim::Unknown);
    }

    #[test]
    fn text_of_logs_stays_on_this_machine() {
        #[track_caller]
        fn check(peer: Peer, host: &str, want: bool) {
            assert_eq!(may_see_logs(peer, &headers(&[(HOST, host)]), None), want, "{peer:?} {host}");
        }
        for host in ["127.0.0.1:9599", "localhost", "LOCALHOST:9599", "[::1]:9599", "10.0.0.1", ""] {
            check(Peer::Here, host, true);
            check(Peer::Elsewhere, host, false);
        }
        check(Peer::Here, "evil.example", false);
        check(Peer::Here, "evil.example:9599", false);
        assert_eq!(Peer::of("::ffff:127.0.0.1".parse().expect("an address")), Peer::Here);
        assert_eq!(Peer::of("10.1.2.3".parse().expect("an address")), Peer::Elsewhere);
    }
}

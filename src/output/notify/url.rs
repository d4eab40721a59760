//! Where a receiver is: an address that is checked when it is read, and never printed whole.
//!
//! The path of a webhook is its password (Slack's is), so messages show scheme and host only.

use std::fmt;
use std::net::IpAddr;

use ureq::http::Uri;

use super::guard;

/// An `https` or `http` address without user info.
#[derive(Clone, PartialEq, Eq)]
pub struct Url(Uri);

/// Why a text is no address for a receiver. Holds nothing of the text: it may be a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    /// It cannot be understood.
    #[error("it is not an address like https://host/path")]
    Form,
    /// Neither `https` nor `http`.
    #[error("it must begin with https:// or http://")]
    Scheme,
    /// It holds a name and perhaps a password.
    #[error("it holds a user name or password, and those are read from files only")]
    UserInfo,
    /// It is longer than any that is meant.
    #[error("it has more than 2,048 bytes")]
    TooLong,
    /// Where clouds hand out credentials to whoever asks.
    #[error("it names a link-local or metadata address, and those are never asked")]
    Forbidden,
}

impl Url {
    /// Reads an address.
    ///
    /// # Errors
    /// See [`UrlError`].
    pub fn parse(text: &str) -> Result<Url, UrlError> {
        if text.len() > LENGTH_MAX {
            return Err(UrlError::TooLong);
        }
        let uri: Uri = text.parse().map_err(|_| UrlError::Form)?;
        let authority = uri.authority().ok_or(UrlError::Form)?;
        match uri.scheme_str() {
            Some("https" | "http") => {}
            _ => return Err(UrlError::Scheme),
        }
        if authority.as_str().contains('@') {
            return Err(UrlError::UserInfo);
        }
        let url = Url(uri);
        if url.host().is_empty()
            || url.0.authority().is_some_and(|authority| has_bad_port(authority.as_str()))
        {
            return Err(UrlError::Form);
        }
        if url.host().parse::<IpAddr>().is_ok_and(guard::is_forbidden) {
            return Err(UrlError::Forbidden);
        }
        Ok(url)
    }

    /// The host's name or address, without the brackets of IPv6.
    pub fn host(&self) -> &str {
        let host = self.0.host().unwrap_or_default();
        host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
    }

    /// Whether what is sent there can be read on the way.
    pub fn is_plain(&self) -> bool {
        self.0.scheme_str() == Some("http")
    }

    /// The whole of it, for the request.
    pub(super) fn uri(&self) -> &Uri {
        &self.0
    }

    /// The same host, `path` behind what the address says.
    pub(super) fn join(&self, path: &str) -> Url {
        let base = self.0.path().trim_end_matches('/');
        if base.ends_with(path) {
            return self.clone();
        }
        let mut parts = self.0.clone().into_parts();
        // What was a path stays one; if it were not, the address as it is would be told by its receiver.
        parts.path_and_query = format!("{base}{path}").parse().ok().or(parts.path_and_query);
        Uri::from_parts(parts).map_or_else(|_| self.clone(), Url)
    }
}

/// `https://host:port/…`: what may be shown.
impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let authority = self.0.authority().map_or("", |authority| authority.as_str());
        write!(f, "{}://{authority}", self.0.scheme_str().unwrap_or_default())?;
        if self.0.path().len() > 1 || self.0.query().is_some() { f.write_str("/…") } else { Ok(()) }
    }
}

impl fmt::Debug for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The longest address that is read, in bytes.
const LENGTH_MAX: usize = 2_048;

/// The parser takes any digits, and none, for a port.
fn has_bad_port(authority: &str) -> bool {
    let behind_host = authority.rsplit_once(']').map_or(authority, |(_, rest)| rest);
    behind_host.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().map_or(true, |port| port == 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fault_085_addresses() {
        #[track_caller]
        fn check(text: &str, want: Result<&str, UrlError>) {
            let shown = Url::parse(text).map(|url| url.to_string());
            assert_eq!(shown, want.map(str::to_owned), "{text}");
        }
        check("https://hooks.slack.com/services/T0/B0/secret", Ok("https://hooks.slack.com/…"));
        check("http://alertmanager:9093", Ok("http://alertmanager:9093"));
        check("http://[::1]:9093/", Ok("http://[::1]:9093"));
        check("https://host/?token=secret", Ok("https://host/…"));
        check("https://user:secret@host/", Err(UrlError::UserInfo));
        check("https://user@host/", Err(UrlError::UserInfo));
        check("ftp://host/", Err(UrlError::Scheme));
        check("host:9093", Err(UrlError::Scheme));
        check("alertmanager", Err(UrlError::Scheme));
        check("/path", Err(UrlError::Form));
        check("https://", Err(UrlError::Form));
        check("https://host:/", Err(UrlError::Form));
        check("https://host:99999/", Err(UrlError::Form));
        check("https://host:0/", Err(UrlError::Form));
        check("https://ho st/", Err(UrlError::Form));
        check("https://host/\nX: y", Err(UrlError::Form));
        check("http://169.254.169.254/latest/meta-data", Err(UrlError::Forbidden));
        check("http://[fe80::1]/", Err(UrlError::Forbidden));
        check("http://[::ffff:169.254.169.254]/", Err(UrlError::Forbidden));
        check(&format!("https://host/{}", "x".repeat(2_048)), Err(UrlError::TooLong));
    }

    #[test]
    fn nothing_prints_a_secret() {
        let url = Url::parse("https://hooks.slack.com/services/T0/B0/secret?key=secret").expect("an address");
        assert!(!format!("{url} {url:?}").contains("secret"));
        assert_eq!(url.uri().path(), "/services/T0/B0/secret");
    }

    #[test]
    fn paths_are_joined() {
        #[track_caller]
        fn check(text: &str, want: &str) {
            let url = Url::parse(text).expect("an address").join("/api/v2/alerts");
            assert_eq!(url.uri().to_string(), want);
        }
        check("http://am:9093", "http://am:9093/api/v2/alerts");
        check("http://am:9093/", "http://am:9093/api/v2/alerts");
        check("https://host/am/", "https://host/am/api/v2/alerts");
        check("https://host/api/v2/alerts", "https://host/api/v2/alerts");
    }
}

//! What is wrong, as one plain sentence: librdkafka's errors in words for the person who has to act.

use super::context::Place;

/// Where the fault lies, in the order in which one hides another: a wrong password also looks like a broker
/// that cannot be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Cause {
    /// What broke the producer before this one. Anything newer says more.
    Past,
    /// No broker answers.
    Reach,
    /// Brokers answer, but the oldest open record is not confirmed.
    Stalled,
    /// TLS or SASL.
    Secure,
    /// A broker sent records back.
    Write,
    /// The topic is not there, or not ours to see.
    Topic,
    /// The producer can do no more.
    Broken,
}

/// One trouble.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Trouble {
    pub(super) cause: Cause,
    pub(super) text: String,
}

impl Trouble {
    /// No broker can be reached; `detail` is what the last attempt met.
    pub(super) fn unreachable(place: &Place, detail: Option<&Detail>) -> Trouble {
        let why = detail.map_or_else(|| "no answer".to_owned(), |detail| detail.text.clone());
        Trouble { cause: Cause::Reach, text: format!("cannot reach any broker of {}: {why}", place.brokers) }
    }

    /// Nothing moves although nobody complains.
    pub(super) fn stalled(place: &Place, detail: Option<&Detail>) -> Trouble {
        let text = match detail {
            Some(Detail { broker, text }) => format!("cannot reach broker {broker}: {text}"),
            None => format!("{} does not confirm what was sent", place.brokers),
        };
        Trouble { cause: Cause::Stalled, text }
    }

    pub(super) fn tls(detail: &Detail) -> Trouble {
        Trouble { cause: Cause::Secure, text: format!("TLS: {} (broker {})", detail.text, detail.broker) }
    }

    pub(super) fn sasl(place: &Place, detail: &Detail) -> Trouble {
        let Detail { broker, text } = detail;
        let user = place.user.as_deref().unwrap_or_default();
        let text = format!("SASL authentication failed for user {user:?} (broker {broker}): {text}");
        Trouble { cause: Cause::Secure, text }
    }

    pub(super) fn topic_missing(place: &Place) -> Trouble {
        let text = format!("topic {:?} does not exist on {}", place.topic, place.brokers);
        Trouble { cause: Cause::Topic, text }
    }

    /// The brokers say something else about the topic.
    pub(super) fn topic(place: &Place, says: &str) -> Trouble {
        let text = format!("topic {:?} on {} cannot be used: {says}", place.topic, place.brokers);
        Trouble { cause: Cause::Topic, text }
    }

    /// The brokers sent records back, which will be sent again.
    pub(super) fn write(place: &Place, says: &str) -> Trouble {
        let text = format!("{} does not take records for topic {:?} now: {says}", place.brokers, place.topic);
        Trouble { cause: Cause::Write, text }
    }

    pub(super) fn broken(reason: &str) -> Trouble {
        Trouble { cause: Cause::Broken, text: format!("the Kafka producer is broken: {reason}") }
    }
}

/// What a connection met.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Detail {
    /// `host:port`.
    pub(super) broker: String,
    /// What happened, beginning in lower case unless it is a name.
    pub(super) text: String,
}

impl Detail {
    /// Reads librdkafka's `scheme://host:port/id: Something failed: What happened (after 0ms in state
    /// CONNECT)`.
    pub(super) fn parse(reason: &str) -> Detail {
        let (name, rest) = reason.split_once(": ").unwrap_or(("", reason));
        let name = name.split_once("://").map_or(name, |(_, name)| name);
        let broker = name.split_once('/').map_or(name, |(broker, _)| broker);
        let (rest, state) = rest.rfind(" (after ").map_or((rest, ""), |end| rest.split_at(end));
        let rest = OPENINGS.iter().find_map(|opening| after(rest, opening)).unwrap_or(rest);
        // OpenSSL: `error:0A000086:SSL routines::certificate verify failed`.
        let rest = if rest.starts_with("error:") {
            rest.split_once("::").map_or(rest, |(_, rest)| rest)
        } else {
            rest
        };
        let mut text = lower_first(rest.trim());
        // A broker that hangs up on our TLS shows as one of several plain disconnects, depending on which packet
        // comes first. Only the state tells, and whoever reads this must know that it is hardly the network.
        if text.starts_with("disconnected") && state.contains("in state SSL_HANDSHAKE") {
            HUNG_UP.clone_into(&mut text);
        }
        Detail { broker: broker.to_owned(), text }
    }
}

/// A broker does this when it speaks no TLS on this port.
const HUNG_UP: &str = "disconnected during the TLS handshake: connecting to a PLAINTEXT broker listener?";

/// What librdkafka says before it says what happened; the address in between is named already.
const OPENINGS: &[&str] = &["Connect to ", "SSL handshake failed: ", "SASL authentication error: "];

fn after<'a>(text: &'a str, opening: &str) -> Option<&'a str> {
    let rest = text.strip_prefix(opening)?;
    if opening.ends_with(": ") { Some(rest) } else { rest.split_once(" failed: ").map(|(_, rest)| rest) }
}

/// Lower case for a first letter that only begins a sentence: `Connection refused`, not `SASL …`.
fn lower_first(text: &str) -> String {
    let mut chars = text.chars();
    match (chars.next(), chars.next()) {
        (Some(first), Some(second)) if second.is_lowercase() => {
            first.to_lowercase().chain(text[first.len_utf8()..].chars()).collect()
        }
        _ => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn details_in_plain_words() {
        #[track_caller]
        fn check(reason: &str, broker: &str, text: &str) {
            assert_eq!(Detail::parse(reason), Detail { broker: broker.into(), text: text.into() });
        }
        check(
            "localhost:1/bootstrap: Connect to ipv4#127.0.0.1:1 failed: Connection refused (after 0ms in state CONNECT)",
            "localhost:1",
            "connection refused",
        );
        check("127.0.0.1:9092/1: Disconnected (after 12ms in state UP)", "127.0.0.1:9092", "disconnected");
        check(
            "nowhere:9092/bootstrap: Failed to resolve 'nowhere:9092': Name or service not known (after 3ms in state CONNECT)",
            "nowhere:9092",
            "failed to resolve 'nowhere:9092': Name or service not known",
        );
        check(
            "ssl://[::1]:9093/bootstrap: SSL handshake failed: error:0A000086:SSL routines::certificate verify failed: broker \
             certificate could not be verified (after 4ms in state SSL_HANDSHAKE)",
            "[::1]:9093",
            "certificate verify failed: broker certificate could not be verified",
        );
        check(
            "sasl_ssl://k:9093/bootstrap: SASL authentication error: Authentication failed (after 310ms in state AUTH_REQ)",
            "k:9093",
            "authentication failed",
        );
        // Whichever way the broker hangs up, it is one trouble and has one sentence.
        for reason in [
            "Disconnected: connection reset by peer",
            "Disconnected: SSL connection closed by peer",
            "SSL handshake failed: Disconnected: connecting to a PLAINTEXT broker listener?",
        ] {
            check(
                &format!("ssl://k:9093/bootstrap: {reason} (after 1ms in state SSL_HANDSHAKE)"),
                "k:9093",
                "disconnected during the TLS handshake: connecting to a PLAINTEXT broker listener?",
            );
        }
        check("SASL is odd", "", "SASL is odd");
        check("", "", "");
    }

    #[test]
    fn sentences() {
        #[track_caller]
        fn check(trouble: &Trouble, want: &str) {
            assert_eq!(trouble.text, want);
        }
        let place = Place { brokers: "localhost:1".into(), topic: "nope".into(), user: Some("x".into()) };
        let detail = Detail { broker: "localhost:1".into(), text: "connection refused".into() };
        check(
            &Trouble::unreachable(&place, Some(&detail)),
            "cannot reach any broker of localhost:1: connection refused",
        );
        check(&Trouble::unreachable(&place, None), "cannot reach any broker of localhost:1: no answer");
        check(&Trouble::topic_missing(&place), "topic \"nope\" does not exist on localhost:1");
        let denied = Detail { text: "authentication failed".into(), ..detail.clone() };
        check(
            &Trouble::sasl(&place, &denied),
            "SASL authentication failed for user \"x\" (broker localhost:1): authentication failed",
        );
        let untrusted = Detail { text: "certificate verify failed".into(), ..detail };
        check(&Trouble::tls(&untrusted), "TLS: certificate verify failed (broker localhost:1)");
        check(&Trouble::stalled(&place, None), "localhost:1 does not confirm what was sent");
    }
}

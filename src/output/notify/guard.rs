//! Which addresses are never asked, whatever name leads to them (`faults.md` 85).
//!
//! A name is resolved once for each request, the answers are judged here, and the connection goes to one of them: a
//! name that changes its mind in between (DNS rebinding) changes nothing. Private and loopback addresses are allowed:
//! receivers are named by the operator's own config, and those in a cluster are private.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::NextTimeout;

/// Whether the address is link-local, or one at which clouds hand out credentials; in whatever way it is written.
pub(super) fn is_forbidden(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_forbidden_v4(address),
        IpAddr::V6(address) => {
            address.is_unicast_link_local()
                || address.is_multicast()
                || address.is_unspecified()
                || METADATA_V6.contains(&address)
                || inner(address).is_some_and(is_forbidden_v4)
        }
    }
}

/// Not "this network" either: the kernel takes 0.0.0.0 for loopback, and nobody means it.
fn is_forbidden_v4(address: Ipv4Addr) -> bool {
    address.is_link_local()
        || address.is_multicast()
        || address.is_broadcast()
        || address.octets()[0] == 0
        || METADATA_V4.contains(&address)
}

/// Alibaba's; that of the others is link-local.
const METADATA_V4: [Ipv4Addr; 1] = [Ipv4Addr::new(100, 100, 100, 200)];
/// Amazon's.
const METADATA_V6: [Ipv6Addr; 1] = [Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)];

/// The IPv4 address that an IPv6 address leads to: mapped, compatible, through NAT64 or 6to4.
fn inner(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let parts = address.segments();
    let of = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        Some(Ipv4Addr::new(a, b, c, d))
    };
    match parts {
        [0, 0, 0, 0, 0, 0xffff, high, low] => of(high, low),
        // `::1` is no IPv4 address.
        [0, 0, 0, 0, 0, 0, high, low] if high != 0 => of(high, low),
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => of(high, low),
        [0x2002, high, low, ..] => of(high, low),
        _ => None,
    }
}

/// The system's resolver without the answers that are never asked.
#[derive(Default)]
pub(super) struct Guarded(DefaultResolver);

impl Resolver for Guarded {
    fn resolve(
        &self,
        uri: &Uri,
        config: &Config,
        timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let found = self.0.resolve(uri, config, timeout)?;
        let mut allowed = self.empty();
        // As many as were found, so there is room for all of them.
        found.iter().filter(|found| !is_forbidden(found.ip())).for_each(|found| allowed.push(*found));
        if allowed.is_empty() { Err(ureq::Error::Other(Box::new(Forbidden))) } else { Ok(allowed) }
    }
}

impl fmt::Debug for Guarded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Guarded")
    }
}

/// Every address of a name is one that is never asked.
#[derive(Debug, thiserror::Error)]
#[error("the name leads to a link-local or metadata address, and those are never asked")]
pub(super) struct Forbidden;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fault_085_metadata_addresses_are_never_asked() {
        #[track_caller]
        fn check(text: &str, want: bool) {
            assert_eq!(is_forbidden(text.parse().expect("an address")), want, "{text}");
        }
        for forbidden in [
            "169.254.169.254",
            "169.254.0.1",
            "100.100.100.200",
            "0.0.0.0",
            "224.0.0.1",
            "255.255.255.255",
            "fe80::1",
            "febf::1",
            "fd00:ec2::254",
            "::",
            "ff02::1",
            "::ffff:169.254.169.254",
            "::169.254.169.254",
            "64:ff9b::a9fe:a9fe",
            "2002:a9fe:a9fe::1",
        ] {
            check(forbidden, true);
        }
        for allowed in
            ["127.0.0.1", "10.0.0.1", "192.168.1.1", "100.64.0.1", "8.8.8.8", "::1", "fd00::1", "2001:db8::1"]
        {
            check(allowed, false);
        }
    }

    #[test]
    fn fault_085_a_name_is_judged_by_where_it_leads() {
        let resolve = |url: &str| {
            let timeout = NextTimeout {
                after: ureq::unversioned::transport::time::Duration::NotHappening,
                reason: ureq::Timeout::Global,
                ..NextTimeout::default()
            };
            Guarded::default().resolve(&url.parse().expect("an address"), &Config::default(), timeout)
        };
        assert!(
            resolve("http://169.254.169.254/").is_err_and(|error| error.to_string().contains("never asked"))
        );
        assert_eq!(resolve("http://127.0.0.1:9093/").expect("loopback").len(), 1);
    }
}

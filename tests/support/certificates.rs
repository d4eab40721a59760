//! Certificates for brokers, good and bad, made anew for each test run.

use std::path::Path;

use openssl::asn1::{Asn1Integer, Asn1Time};
use openssl::bn::{BigNum, MsbOption};
use openssl::ec::{EcGroup, EcKey};
use openssl::error::ErrorStack;
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::x509::extension::{BasicConstraints, SubjectAlternativeName};
use openssl::x509::{X509, X509Name};

use squall::daemon::clock;
use squall::units::Timestamp;

/// Somebody who signs certificates.
pub(crate) struct Authority {
    certificate: X509,
    key: PKey<Private>,
}

/// A certificate with its key, in PEM.
#[derive(Clone)]
pub(crate) struct Certificate {
    pem: Vec<u8>,
}

/// For whom and for how long a certificate is.
#[derive(Clone, Copy)]
pub(crate) struct Wish<'a> {
    /// The one name or address in it.
    pub(crate) host: &'a str,
    /// When it becomes and ceases to be valid, in days from now.
    pub(crate) days: (i64, i64),
}

impl Authority {
    pub(crate) fn new(name: &str) -> Authority {
        let key = key().expect("a key");
        let certificate = build(name, None, (-1, 2), &key, None).expect("a certificate");
        Authority { certificate, key }
    }

    /// Writes what clients have to trust.
    pub(crate) fn write_to(&self, file: &Path) {
        std::fs::write(file, self.certificate.to_pem().expect("PEM")).expect("the authority's certificate");
    }

    pub(crate) fn sign(&self, wish: Wish<'_>) -> Certificate {
        let key = key().expect("a key");
        let signed = build("broker", Some(wish.host), wish.days, &key, Some(self)).expect("a certificate");
        let mut pem = key.private_key_to_pem_pkcs8().expect("PEM");
        pem.extend(signed.to_pem().expect("PEM"));
        Certificate { pem }
    }
}

impl Certificate {
    /// As Kafka reads it: the key, then the chain.
    pub(crate) fn key_and_chain(&self) -> &[u8] {
        &self.pem
    }
}

fn key() -> Result<PKey<Private>, ErrorStack> {
    PKey::from_ec_key(EcKey::generate(&*EcGroup::from_curve_name(Nid::X9_62_PRIME256V1)?)?)
}

/// Signed by `issuer`, or by itself where there is none: then it is an authority's.
fn build(
    name: &str,
    host: Option<&str>,
    days: (i64, i64),
    key: &PKey<Private>,
    issuer: Option<&Authority>,
) -> Result<X509, ErrorStack> {
    let mut subject = X509Name::builder()?;
    subject.append_entry_by_text("CN", name)?;
    let subject = subject.build();
    let mut serial = BigNum::new()?;
    serial.rand(64, MsbOption::MAYBE_ZERO, false)?;
    let today = clock::now().wall.0 / Timestamp::SECOND;
    let day = |days: i64| Asn1Time::from_unix(today + days * 86_400);

    let mut builder = X509::builder()?;
    builder.set_version(2)?;
    builder.set_serial_number(&*Asn1Integer::from_bn(&serial)?)?;
    builder.set_subject_name(&subject)?;
    builder.set_issuer_name(issuer.map_or(&subject, |issuer| issuer.certificate.subject_name()))?;
    builder.set_not_before(&*day(days.0)?)?;
    builder.set_not_after(&*day(days.1)?)?;
    builder.set_pubkey(key)?;
    if issuer.is_none() {
        builder.append_extension(BasicConstraints::new().critical().ca().build()?)?;
    }
    if let Some(host) = host {
        let mut names = SubjectAlternativeName::new();
        let is_address = host.parse::<std::net::IpAddr>().is_ok();
        let names = if is_address { names.ip(host) } else { names.dns(host) };
        let extension = names.build(&builder.x509v3_context(None, None))?;
        builder.append_extension(extension)?;
    }
    builder.sign(issuer.map_or(key, |issuer| &issuer.key), MessageDigest::sha256())?;
    Ok(builder.build())
}

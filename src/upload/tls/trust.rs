//! Whom to trust, and what time it is for that purpose.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature,
};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::time_provider::TimeProvider;
use rustls::{
    CertificateError, DigitallySignedStruct, Error, OtherError, RootCertStore, SignatureScheme,
};
use sha2::{Digest, Sha256};
use webpki::EndEntityCert;

use crate::sys::{Clock, Wall};

/// Decides about a server's certificate; the signatures that prove its key are
/// checked the same way, whoever is trusted.
#[derive(Debug)]
pub(super) struct Verifier {
    trust: Trust,
    algorithms: WebPkiSupportedAlgorithms,
}

#[derive(Debug)]
enum Trust {
    /// What chains to a root, with the right name and dates.
    Roots(Arc<WebPkiServerVerifier>),
    /// These certificates or keys by their SHA-256, whatever name and dates they
    /// carry: who pins has met the server.
    Pins(Vec<[u8; 32]>),
}

impl Verifier {
    /// Trusts what chains to `extra`, to the system's roots, or (where the system
    /// has none) to the built-in ones, which the feature `roots` brings.
    pub(super) fn with_roots(
        extra: Vec<CertificateDer<'static>>,
        provider: &Arc<CryptoProvider>,
    ) -> Result<Verifier, String> {
        let roots = Arc::new(root_store(extra)?);
        let verifier = WebPkiServerVerifier::builder_with_provider(roots, provider.clone())
            .build()
            .map_err(|error| error.to_string())?;
        Ok(Verifier {
            trust: Trust::Roots(verifier),
            algorithms: provider.signature_verification_algorithms,
        })
    }

    /// Trusts exactly those pins.
    pub(super) fn with_pins(pins: Vec<[u8; 32]>, provider: &CryptoProvider) -> Verifier {
        Verifier {
            trust: Trust::Pins(pins),
            algorithms: provider.signature_verification_algorithms,
        }
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let seen = || digest(end_entity);
        match &self.trust {
            Trust::Roots(roots) => {
                match roots.verify_server_cert(end_entity, intermediates, name, ocsp, now) {
                    // Somebody who can look at the server compares it, and pins it.
                    Err(Error::InvalidCertificate(CertificateError::UnknownIssuer)) => {
                        Err(refused(Untrusted::Issuer { seen: seen() }))
                    }
                    verified => verified,
                }
            }
            Trust::Pins(pins) => match is_pinned(pins, end_entity)? {
                true => Ok(ServerCertVerified::assertion()),
                false => Err(refused(Untrusted::Pin { seen: seen() })),
            },
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

fn root_store(extra: Vec<CertificateDer<'static>>) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    let native = rustls_native_certs::load_native_certs();
    for error in &native.errors {
        log::debug!("system roots: {error}");
    }
    let (found, _unusable) = roots.add_parsable_certificates(native.certs);
    if found == 0 {
        #[cfg(feature = "roots")]
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        #[cfg(not(feature = "roots"))]
        if extra.is_empty() {
            return Err(
                "this system has no root certificates, and none are built in: give a \
                        ca_file or pin_sha256"
                    .to_owned(),
            );
        }
    }
    for certificate in extra {
        roots
            .add(certificate)
            .map_err(|error| format!("ca_file: {error}"))?;
    }
    Ok(roots)
}

/// Whether one of the pins is of this certificate, or of its key.
fn is_pinned(pins: &[[u8; 32]], certificate: &CertificateDer<'_>) -> Result<bool, Error> {
    if pins.contains(&digest(certificate)) {
        return Ok(true);
    }
    let parsed = EndEntityCert::try_from(certificate)
        .map_err(|_| Error::InvalidCertificate(CertificateError::BadEncoding))?;
    Ok(pins.contains(&digest(&parsed.subject_public_key_info())))
}

fn digest(der: &[u8]) -> [u8; 32] {
    Sha256::digest(der).into()
}

fn refused(why: Untrusted) -> Error {
    Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(why))))
}

/// Why a certificate is not trusted, with its SHA-256.
#[derive(Debug)]
pub(in crate::upload) enum Untrusted {
    /// No root is above it.
    Issuer { seen: [u8; 32] },
    /// It is none of those that are pinned.
    Pin { seen: [u8; 32] },
}

impl fmt::Display for Untrusted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (before, seen) = match self {
            Untrusted::Issuer { seen } => ("nobody trusted has issued", seen),
            Untrusted::Pin { seen } => ("no pin matches", seen),
        };
        write!(f, "{before} the certificate with SHA-256 ")?;
        seen.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl std::error::Error for Untrusted {}

/// The time that certificates are checked against: the latest of the clock,
/// the build date and the last time known to have passed. A device without a
/// battery-backed clock starts in 1970, where no certificate is valid yet.
pub(super) struct FloorClock {
    clock: Arc<dyn Clock>,
    floor: Wall,
}

impl FloorClock {
    pub(super) fn new(clock: Arc<dyn Clock>, floor: Wall) -> FloorClock {
        FloorClock {
            clock,
            floor: floor.max(Wall::from_secs(BUILT)),
        }
    }

    fn now(&self) -> Wall {
        self.clock.wall().max(self.floor)
    }
}

impl fmt::Debug for FloorClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FloorClock")
            .field("floor", &self.floor)
            .finish_non_exhaustive()
    }
}

impl TimeProvider for FloorClock {
    fn current_time(&self) -> Option<UnixTime> {
        let secs = u64::try_from(self.now().secs()).ok()?;
        Some(UnixTime::since_unix_epoch(Duration::from_secs(secs)))
    }
}

/// The build date as reproducible builds name it, else the date of the release.
const BUILT: i64 = match option_env!("SOURCE_DATE_EPOCH") {
    Some(text) => seconds(text.as_bytes()),
    None => 1_795_219_200,
};

/// Digits to a number; anything else counts as no date.
const fn seconds(text: &[u8]) -> i64 {
    let (mut rest, mut value) = (text, 0_i64);
    while let [digit, tail @ ..] = rest {
        if !digit.is_ascii_digit() || value > i64::MAX / 20 {
            return 0;
        }
        value = value * 10 + (*digit - b'0') as i64;
        rest = tail;
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::os::OsClock;
    use crate::sys::{LocalFuture, Mono};

    struct In1970;
    impl Clock for In1970 {
        fn mono(&self) -> Mono {
            Mono::default()
        }
        fn wall(&self) -> Wall {
            Wall(0)
        }
        fn sleep_until(&self, _deadline: Mono) -> LocalFuture<'static, ()> {
            Box::pin(std::future::pending())
        }
    }

    fn now(clock: Arc<dyn Clock>, floor: Wall) -> u64 {
        FloorClock::new(clock, floor)
            .current_time()
            .unwrap()
            .as_secs()
    }

    #[test]
    fn certificates_are_never_checked_against_1970() {
        assert_eq!(
            now(Arc::new(In1970), Wall(0)),
            u64::try_from(BUILT).unwrap()
        );
        assert_eq!(
            now(Arc::new(In1970), Wall::from_secs(2_000_000_000)),
            2_000_000_000
        );
        assert!(now(Arc::new(OsClock), Wall(0)) >= u64::try_from(BUILT).unwrap());
    }

    #[test]
    fn a_pin_accepts_its_certificate_or_key_and_no_other() {
        let key = rcgen::KeyPair::generate().unwrap();
        let params = rcgen::CertificateParams::new(vec!["camera".to_owned()]).unwrap();
        let cert = params.self_signed(&key).unwrap();
        let spki = EndEntityCert::try_from(cert.der())
            .unwrap()
            .subject_public_key_info();
        let provider = rustls::crypto::ring::default_provider();
        let name = ServerName::try_from("another.name").unwrap();
        let check = |pin: [u8; 32]| {
            Verifier::with_pins(vec![[0; 32], pin], &provider).verify_server_cert(
                cert.der(),
                &[],
                &name,
                &[],
                UnixTime::since_unix_epoch(Duration::ZERO),
            )
        };
        check(digest(cert.der())).unwrap();
        check(digest(&spki)).unwrap();
        let Err(Error::InvalidCertificate(CertificateError::Other(refusal))) = check([1; 32])
        else {
            panic!("another pin was enough");
        };
        assert!(refusal.to_string().contains("no pin matches"), "{refusal}");
    }
}

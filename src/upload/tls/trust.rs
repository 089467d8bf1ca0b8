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

/// Trusts what chains to `extra`, to the system's roots, or (where the system
/// has none) to the built-in ones, which the feature `roots` brings.
pub(super) fn roots_verifier(
    extra: Vec<CertificateDer<'static>>,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ServerCertVerifier>, String> {
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
    let verifier = WebPkiServerVerifier::builder_with_provider(roots.into(), provider.clone())
        .build()
        .map_err(|error| error.to_string())?;
    Ok(Arc::new(RootsVerifier(verifier)))
}

/// Trusts by roots, and says which certificate it was when it does not: somebody
/// who can look at the server compares the two, and pins it.
#[derive(Debug)]
struct RootsVerifier(Arc<WebPkiServerVerifier>);

impl ServerCertVerifier for RootsVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let verified =
            self.0
                .verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
        match verified {
            Err(Error::InvalidCertificate(CertificateError::UnknownIssuer)) => {
                let seen = Sha256::digest(end_entity.as_ref()).into();
                Err(refused(Untrusted::Issuer { seen }))
            }
            verified => verified,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}

/// Trusts exactly the pinned certificates or keys, whatever name and dates
/// they carry: who pins has met the server.
#[derive(Debug)]
pub(super) struct PinVerifier {
    pins: Vec<[u8; 32]>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl PinVerifier {
    pub(super) fn new(pins: Vec<[u8; 32]>, provider: &CryptoProvider) -> PinVerifier {
        PinVerifier {
            pins,
            algorithms: provider.signature_verification_algorithms,
        }
    }

    fn holds(&self, der: &[u8]) -> bool {
        let digest: [u8; 32] = Sha256::digest(der).into();
        self.pins.contains(&digest)
    }
}

impl ServerCertVerifier for PinVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if self.holds(end_entity) {
            return Ok(ServerCertVerified::assertion());
        }
        let parsed = EndEntityCert::try_from(end_entity)
            .map_err(|_| Error::InvalidCertificate(CertificateError::BadEncoding))?;
        if self.holds(&parsed.subject_public_key_info()) {
            return Ok(ServerCertVerified::assertion());
        }
        let seen = Sha256::digest(end_entity.as_ref()).into();
        Err(refused(Untrusted::Pin { seen }))
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
            PinVerifier::new(vec![[0; 32], pin], &provider).verify_server_cert(
                cert.der(),
                &[],
                &name,
                &[],
                UnixTime::since_unix_epoch(Duration::ZERO),
            )
        };
        check(Sha256::digest(cert.der().as_ref()).into()).unwrap();
        check(Sha256::digest(&*spki).into()).unwrap();
        let Err(Error::InvalidCertificate(CertificateError::Other(refusal))) = check([1; 32])
        else {
            panic!("another pin was enough");
        };
        assert!(refusal.to_string().contains("no pin matches"), "{refusal}");
    }
}

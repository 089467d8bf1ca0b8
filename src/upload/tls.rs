//! TLS: whom to trust, and one session store per control connection.
//!
//! Servers that guard their data connections demand that each of them resumes
//! the TLS session of its own control connection; a store shared by several
//! control connections mixes those up, so each has its own, and it knows how
//! many TLS 1.3 tickets are left: rustls spends one at each use.

mod store;
mod trust;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_rustls::TlsConnector;
use async_rustls::client::TlsStream;
use rustls::client::Resumption;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, SupportedProtocolVersion, version};

use super::failure::{Class, Failure, Step};
use super::options::{MinTls, ServerOptions};
use crate::sys::{Fs, Sys, Wall, read_all};
use store::Tickets;
pub(super) use trust::Untrusted;
use trust::{FloorClock, Verifier};

pub(super) use super::wire::Tcp;

/// What is the same for all of a server's connections: trust and identity.
/// Built once, because the system's roots take time to read.
pub(super) struct TlsSetup {
    provider: Arc<CryptoProvider>,
    verifier: Arc<Verifier>,
    identity: Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>,
    clock: Arc<FloorClock>,
    min: MinTls,
    name: ServerName<'static>,
}

impl TlsSetup {
    /// Reads roots, certificates and keys. `floor` is the latest time that the
    /// spool knows to have passed.
    pub(super) async fn load(
        sys: &Sys,
        options: &ServerOptions,
        floor: Wall,
    ) -> Result<TlsSetup, Failure> {
        let fail =
            |message: String| Failure::new(Class::Tls, Step::Prepare, &options.name, message);
        let name = ServerName::try_from(options.host.clone()).map_err(|_| {
            fail(format!(
                "{:?} is no host name that TLS can check",
                options.host
            ))
        })?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let wanted = Wanted {
            ca_file: options.ca_file.clone(),
            client_cert: options.client_cert.clone(),
            pins: options.pins.clone(),
        };
        let (fs, for_work) = (sys.fs.clone(), provider.clone());
        let loaded = sys
            .pool
            .run(move || load_blocking(&*fs, &wanted, &for_work))
            .await;
        let (verifier, identity) = loaded.map_err(fail)?;
        Ok(TlsSetup {
            provider,
            verifier: Arc::new(verifier),
            identity,
            clock: Arc::new(FloorClock::new(sys.clock.clone(), floor)),
            min: options.min_tls,
            name,
        })
    }

    /// A connector for one control connection and its data connections.
    /// `only_tls12` is for servers whose TLS 1.3 tickets run out.
    pub(super) fn connector(&self, only_tls12: bool) -> Result<Connector, rustls::Error> {
        let versions: &[&SupportedProtocolVersion] = match (self.min, only_tls12) {
            (MinTls::V1_3, _) => &[&version::TLS13],
            (MinTls::V1_2, true) => &[&version::TLS12],
            (MinTls::V1_2, false) => &[&version::TLS13, &version::TLS12],
        };
        let builder = ClientConfig::builder_with_details(self.provider.clone(), self.clock.clone())
            .with_protocol_versions(versions)?
            .dangerous()
            .with_custom_certificate_verifier(self.verifier.clone());
        let mut config = match &self.identity {
            Some((chain, key)) => builder.with_client_auth_cert(chain.clone(), key.clone_key())?,
            None => builder.with_no_client_auth(),
        };
        let tickets = Arc::new(Tickets::default());
        config.resumption = Resumption::store(tickets.clone());
        // A session that was taken out of the store must not be sent twice by
        // a hidden retry; FTP has no early data either.
        config.enable_early_data = false;
        Ok(Connector {
            inner: TlsConnector::from(Arc::new(config)),
            tickets,
            name: self.name.clone(),
        })
    }

    /// Whether TLS 1.2 may be used.
    pub(super) fn allows_tls12(&self) -> bool {
        self.min == MinTls::V1_2
    }
}

/// Makes TLS of TCP, for one control connection and its data connections.
#[derive(Clone)]
pub(super) struct Connector {
    inner: TlsConnector,
    tickets: Arc<Tickets>,
    name: ServerName<'static>,
}

impl Connector {
    /// The handshake.
    pub(super) async fn connect(&self, tcp: Tcp) -> std::io::Result<TlsStream<Tcp>> {
        self.inner.connect(self.name.clone(), tcp).await
    }

    /// Whether the server gave TLS 1.3 tickets and all of them are spent.
    pub(super) fn tickets_are_spent(&self) -> bool {
        self.tickets.are_spent()
    }

    /// Whether it gives new ones for those that are spent.
    pub(super) fn tickets_are_renewed(&self) -> bool {
        self.tickets.are_renewed()
    }
}

struct Wanted {
    ca_file: Option<PathBuf>,
    client_cert: Option<(PathBuf, PathBuf)>,
    pins: Vec<[u8; 32]>,
}

type Identity = Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>;

fn load_blocking(
    fs: &dyn Fs,
    wanted: &Wanted,
    provider: &Arc<CryptoProvider>,
) -> Result<(Verifier, Identity), String> {
    let identity = match &wanted.client_cert {
        Some((chain, key)) => Some((read_certificates(fs, chain)?, read_key(fs, key)?)),
        None => None,
    };
    if !wanted.pins.is_empty() {
        let verifier = Verifier::with_pins(wanted.pins.clone(), provider);
        return Ok((verifier, identity));
    }
    let extra = match &wanted.ca_file {
        Some(path) => read_certificates(fs, path)?,
        None => Vec::new(),
    };
    Ok((Verifier::with_roots(extra, provider)?, identity))
}

fn read_certificates(fs: &dyn Fs, path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let pem = read_pem(fs, path)?;
    let found: Vec<_> = CertificateDer::pem_slice_iter(&pem)
        .collect::<Result<_, _>>()
        .map_err(|error| format!("{}: {error}", path.display()))?;
    if found.is_empty() {
        return Err(format!("{}: no certificate in it", path.display()));
    }
    Ok(found)
}

fn read_key(fs: &dyn Fs, path: &Path) -> Result<PrivateKeyDer<'static>, String> {
    let pem = zeroize::Zeroizing::new(read_pem(fs, path)?);
    PrivateKeyDer::from_pem_slice(&pem).map_err(|error| format!("{}: {error}", path.display()))
}

fn read_pem(fs: &dyn Fs, path: &Path) -> Result<Vec<u8>, String> {
    read_all(fs, path, PEM_MAX).map_err(|error| format!("{}: {error}", path.display()))
}

/// A whole system bundle is 220 kB.
const PEM_MAX: usize = 1 << 20;

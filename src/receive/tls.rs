//! TLS of the server: its certificate, and sessions that data connections
//! resume.
//!
//! Without a certificate of the user's own, one is made at the first start,
//! signed by itself (ECDSA P-256), and kept beside its key, so that clients can
//! pin its fingerprint.

use std::fmt::Write as _;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_rustls::TlsAcceptor;
use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose, KeyPair, KeyUsagePurpose};
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ServerSessionMemoryCache, StoresServerSessions};
use sha2::{Digest as _, Sha256};

use super::error::ReceiveError;
use super::options::ReceiveOptions;
use crate::sys::{Sys, Tcp, Wire, read_all, write_whole};

/// The server's side of TLS.
pub(super) struct ServerTls {
    control: TlsAcceptor,
    /// Data connections that we receive on, and those that we send on.
    incoming: TlsAcceptor,
    outgoing: TlsAcceptor,
    fingerprint: String,
}

impl ServerTls {
    /// Reads the certificate, making it if need be. Blocks.
    ///
    /// `state_dir` is where it is kept; without one it lives as long as the
    /// process.
    pub(super) fn load(
        sys: &Sys,
        options: &ReceiveOptions,
        state_dir: Option<&Path>,
    ) -> Result<ServerTls, ReceiveError> {
        let (chain, key) = match (&options.certificate, state_dir) {
            (Some((chain, key)), _) => read(sys, chain, key)?,
            (None, Some(dir)) => kept(sys, options, dir)?,
            (None, None) => {
                let (chain, key) = make(options)?;
                parse(chain.as_bytes(), key.as_bytes()).map_err(ReceiveError::Tls)?
            }
        };
        let fingerprint = fingerprint(chain.first().map_or(&[][..], |leaf| leaf));
        let config = config(chain, key).map_err(|e| ReceiveError::Tls(e.to_string()))?;
        let with_tickets = |count| {
            let mut config = config.clone();
            config.send_tls13_tickets = count;
            Arc::new(config).into()
        };
        Ok(ServerTls {
            control: with_tickets(CONTROL_TICKETS),
            incoming: with_tickets(INCOMING_TICKETS),
            outgoing: with_tickets(OUTGOING_TICKETS),
            fingerprint,
        })
    }

    /// The SHA-256 of the certificate in hexadecimal digits, pairs divided by
    /// colons.
    pub(super) fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// TLS on a control connection.
    pub(super) async fn control(&self, tcp: Tcp) -> io::Result<Wire> {
        Ok(Wire::Tls(Box::new(self.control.accept(tcp).await?.into())))
    }

    /// TLS on a data connection.
    pub(super) async fn data(&self, tcp: Tcp, way: Way) -> io::Result<Wire> {
        let acceptor = match way {
            Way::In => &self.incoming,
            Way::Out => &self.outgoing,
        };
        Ok(Wire::Tls(Box::new(acceptor.accept(tcp).await?.into())))
    }
}

/// Which way the data goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// From the client to us.
    In,
    /// From us to the client.
    Out,
}

type Identity = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

/// The user's own.
fn read(sys: &Sys, chain: &Path, key: &Path) -> Result<Identity, ReceiveError> {
    let content = |path: &Path| {
        read_all(&*sys.fs, path, PEM_BYTES_MAX)
            .map_err(|e| ReceiveError::Certificate(path.to_owned(), e.to_string()))
    };
    parse(&content(chain)?, &content(key)?)
        .map_err(|why| ReceiveError::Certificate(chain.to_owned(), why))
}

fn parse(chain: &[u8], key: &[u8]) -> Result<Identity, String> {
    let chain: Vec<_> = CertificateDer::pem_slice_iter(chain)
        .collect::<Result<_, _>>()
        .map_err(|e| e.to_string())?;
    if chain.is_empty() {
        return Err("there is no certificate in it".to_owned());
    }
    let key = PrivateKeyDer::from_pem_slice(key).map_err(|e| format!("the private key: {e}"))?;
    Ok((chain, key))
}

/// The one that is kept, made if it is not there.
fn kept(sys: &Sys, options: &ReceiveOptions, dir: &Path) -> Result<Identity, ReceiveError> {
    let (chain, key) = (dir.join("receive.crt"), dir.join("receive.key"));
    let is_there = |path: &PathBuf| sys.fs.meta(path).is_ok();
    if !is_there(&chain) || !is_there(&key) {
        let (chain_pem, key_pem) = make(options)?;
        // The certificate comes last: where it is, there is a key for it.
        for (path, pem) in [(&key, key_pem), (&chain, chain_pem)] {
            write_whole(&*sys.fs, path, pem.as_bytes())
                .map_err(|e| ReceiveError::Certificate(path.clone(), e.to_string()))?;
        }
        log::info!("made a certificate for the receiver: {}", chain.display());
    }
    read(sys, &chain, &key)
}

/// A new certificate and key, in PEM.
fn make(options: &ReceiveOptions) -> Result<(String, String), ReceiveError> {
    let fail = |e: rcgen::Error| ReceiveError::Tls(e.to_string());
    let listens = options.listen.iter().chain(&options.listen_implicit);
    let chosen = listens
        .map(SocketAddr::ip)
        .filter(|ip| !ip.is_unspecified());
    let mut names = vec![
        "localhost".to_owned(),
        "127.0.0.1".to_owned(),
        "::1".to_owned(),
    ];
    names.extend(chosen.map(|ip: IpAddr| ip.to_string()));
    names.sort_unstable();
    names.dedup();
    let mut params = CertificateParams::new(names).map_err(fail)?;
    params
        .distinguished_name
        .push(DnType::CommonName, "edgespool receiver");
    // A device without a clock begins in 1970 or 2000, and nobody renews it.
    params.not_before = rcgen::date_time_ymd(2000, 1, 1);
    params.not_after = rcgen::date_time_ymd(2099, 12, 31);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let key = KeyPair::generate().map_err(fail)?;
    let certificate = params.self_signed(&key).map_err(fail)?;
    Ok((certificate.pem(), key.serialize_pem()))
}

/// TLS 1.2 and 1.3. Sessions resume by tickets; a client of TLS 1.2 without
/// tickets resumes by the session's number.
fn config(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<ServerConfig, rustls::Error> {
    let provider = Arc::new(ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(rustls::ALL_VERSIONS)?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    config.ticketer = ring::Ticketer::new()?;
    let cache: Arc<dyn StoresServerSessions> = ServerSessionMemoryCache::new(SESSIONS_KEPT);
    config.session_storage = cache;
    Ok(config)
}

fn fingerprint(certificate: &[u8]) -> String {
    let mut text = String::new();
    for (at, byte) in Sha256::digest(certificate).iter().enumerate() {
        let colon = if at == 0 { "" } else { ":" };
        // Writing to a string never fails.
        let _written = write!(text, "{colon}{byte:02X}");
    }
    text
}

/// Some clients spend each TLS 1.3 ticket: these are for the first few uploads.
const CONTROL_TICKETS: usize = 8;
/// A client that uploads need not read, and many close without it: tickets that
/// arrive then make its system reset the connection, and the end of the file is
/// lost on its way.
const INCOMING_TICKETS: usize = 0;
/// A client that reads gets back the ticket that it spent, and one more.
const OUTGOING_TICKETS: usize = 2;
/// Sessions of TLS 1.2 clients without tickets that can be resumed; the oldest
/// go first.
const SESSIONS_KEPT: usize = 256;
/// More than any chain or key has.
const PEM_BYTES_MAX: usize = 256 << 10;

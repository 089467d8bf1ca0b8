//! Certificates for one server, made when it starts: an authority, what the
//! server shows, and one for a client.

use std::fs;
use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};

/// What is wrong with the certificate that a server shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Certificate {
    /// Nothing.
    Good,
    /// Signed by itself.
    SelfSigned,
    /// Its time ended in 2020.
    Expired,
    /// It is for another host.
    WrongHost,
}

/// The files that a server needs, and what a test needs to know of them.
pub(super) struct Identity {
    /// The authority, in PEM.
    pub(super) ca: PathBuf,
    /// A client's certificate and key, in PEM, by the same authority.
    pub(super) client: (PathBuf, PathBuf),
    /// The server's certificate.
    pub(super) der: Vec<u8>,
}

/// Where a server finds its certificate.
pub(super) fn certificate_file(dir: &Path) -> PathBuf {
    dir.join("server.crt")
}

/// Where a server finds its private key.
pub(super) fn key_file(dir: &Path) -> PathBuf {
    dir.join("server.key")
}

/// Where a server finds the authority that signs its clients.
pub(super) fn ca_file(dir: &Path) -> PathBuf {
    dir.join("ca.crt")
}

impl Identity {
    pub(super) fn make(kind: Certificate, dir: &Path) -> Self {
        let ca_key = KeyPair::generate().unwrap();
        let ca_params = authority();
        let ca_cert = ca_params.self_signed(&ca_key).unwrap();
        let issuer = Issuer::new(ca_params, ca_key);
        let ca = ca_file(dir);
        fs::write(&ca, ca_cert.pem()).unwrap();

        let key = KeyPair::generate().unwrap();
        let params = leaf(kind);
        let cert = match kind {
            Certificate::SelfSigned => params.self_signed(&key).unwrap(),
            _ => params.signed_by(&key, &issuer).unwrap(),
        };
        fs::write(certificate_file(dir), cert.pem()).unwrap();
        fs::write(key_file(dir), key.serialize_pem()).unwrap();

        let client_key = KeyPair::generate().unwrap();
        let mut client = valid(vec!["client".to_owned()]);
        client.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let client = client.signed_by(&client_key, &issuer).unwrap();
        let client_files = (dir.join("client.crt"), dir.join("client.key"));
        fs::write(&client_files.0, client.pem()).unwrap();
        fs::write(&client_files.1, client_key.serialize_pem()).unwrap();
        Self {
            ca,
            client: client_files,
            der: cert.der().to_vec(),
        }
    }
}

fn authority() -> CertificateParams {
    let mut params = valid(Vec::new());
    params
        .distinguished_name
        .push(DnType::CommonName, "FTP test authority");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

fn leaf(kind: Certificate) -> CertificateParams {
    let mut names = vec!["localhost".to_owned(), "::1".to_owned()];
    // A proxy listens on a neighbouring address and shows the same certificate.
    names.extend((1..=32).map(|n| format!("127.0.0.{n}")));
    // The far end of the benchmarks' slow link.
    names.push("198.18.0.2".to_owned());
    if kind == Certificate::WrongHost {
        names = vec!["other.invalid".to_owned()];
    }
    let mut params = valid(names);
    params
        .distinguished_name
        .push(DnType::CommonName, "FTP test server");
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    if kind == Certificate::Expired {
        params.not_after = date_time_ymd(2020, 2, 1);
    }
    params
}

fn valid(names: Vec<String>) -> CertificateParams {
    let mut params = CertificateParams::new(names).unwrap();
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(2045, 1, 1);
    params.distinguished_name = rcgen::DistinguishedName::new();
    params
}

//! Certificates, keys and pins, of servers and of our own.

use std::path::{Path, PathBuf};

use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use zeroize::Zeroizing;

use super::env::Env;
use super::files;
use super::section::Section;
use super::types::{ClientCert, Roots};
use crate::base::Secret;
use crate::sys::Meta;

/// The certificates of `ca_file`.
pub(super) fn roots(section: &mut Section<'_>, env: &Env<'_>) -> Option<Roots> {
    let file = section.path("ca_file")?;
    let certs = chain(section, env, "ca_file", &file)?;
    Some(Roots { file, certs })
}

/// The certificate and key for mutual TLS.
pub(super) fn client(section: &mut Section<'_>, env: &Env<'_>) -> Option<ClientCert> {
    let cert = section.path("client_cert");
    let key = section.path("client_key");
    for (one, other) in [("client_cert", "client_key"), ("client_key", "client_cert")] {
        if section.has(one) && !section.has(other) {
            section.mistake(one, &format!("needs {other} (write both, or none)"));
        }
    }
    let cert = cert.map(|path| (chain(section, env, "client_cert", &path), path));
    let key = key.map(|path| (private_key(section, env, "client_key", &path), path));
    let ((chain, cert_file), (key_pem, key_file)) = (cert?, key?);
    Some(ClientCert {
        cert_file,
        key_file,
        chain: chain?,
        key_pem: key_pem?,
    })
}

/// Our certificate and key as a server: checked, and where they really are.
pub(super) fn server(section: &mut Section<'_>, env: &Env<'_>) -> Option<(PathBuf, PathBuf)> {
    let cert = section.path("cert_file");
    let key = section.path("key_file");
    for (one, other) in [("cert_file", "key_file"), ("key_file", "cert_file")] {
        if section.has(one) && !section.has(other) {
            section.mistake(one, &format!("needs {other} (write both, or none)"));
        }
    }
    let (cert, key) = (cert?, key?);
    chain(section, env, "cert_file", &cert)?;
    private_key(section, env, "key_file", &key)?;
    let follow = |path: PathBuf| files::follow(env.fs, &path).unwrap_or(path);
    Some((follow(cert), follow(key)))
}

/// The fingerprints of `pin_sha256`.
pub(super) fn pins(section: &mut Section<'_>) -> Vec<[u8; 32]> {
    let written: Vec<String> = section.get("pin_sha256").unwrap_or_default();
    let mut pins = Vec::with_capacity(written.len());
    for text in written {
        match parse_pin(&text) {
            Some(pin) => pins.push(pin),
            None => section.bad(
                "pin_sha256",
                &text,
                "is not a SHA-256 value (write 64 hex digits, or base64)",
            ),
        }
    }
    pins
}

fn chain(
    section: &Section<'_>,
    env: &Env<'_>,
    key: &str,
    path: &Path,
) -> Option<Vec<CertificateDer<'static>>> {
    let (pem, _) = pem(section, env, key, path)?;
    let certs: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    match certs {
        Ok(certs) if !certs.is_empty() => return Some(certs),
        Ok(_) => section.mistake(
            key,
            &format!("{path:?} holds no certificate (it must be a PEM file)"),
        ),
        Err(e) => section.mistake(key, &format!("{path:?} is damaged: {e}")),
    }
    None
}

fn private_key(section: &Section<'_>, env: &Env<'_>, name: &str, path: &Path) -> Option<Secret> {
    let (mut pem, meta) = pem(section, env, name, path)?;
    // The error of a key is not shown: it may quote the file.
    if PrivateKeyDer::from_pem_slice(&pem).is_err() {
        section.mistake(
            name,
            &format!("{path:?} holds no private key (it must be an unencrypted PEM file)"),
        );
        return None;
    }
    if files::is_public(&meta) {
        let warning = format!("{path:?} can be read by everyone (chmod 600 the file)");
        section.warning(name, &warning);
    }
    Some(Secret::new(std::mem::take(&mut *pem)))
}

fn pem(
    section: &Section<'_>,
    env: &Env<'_>,
    key: &str,
    path: &Path,
) -> Option<(Zeroizing<Vec<u8>>, Meta)> {
    match files::read(env.fs, path, PEM_MAX) {
        Ok(found) => Some(found),
        Err(e) => {
            section.mistake(key, &format!("{path:?} cannot be read: {e}"));
            None
        }
    }
}

/// Hex as `openssl x509 -fingerprint -sha256` prints it, with or without
/// colons, or the base64 that pins of public keys usually come in.
pub(crate) fn parse_pin(text: &str) -> Option<[u8; 32]> {
    let hex: Vec<u8> = text.bytes().filter(|b| *b != b':').collect();
    if hex.len() == 64 {
        let mut pin = [0; 32];
        for (byte, pair) in pin.iter_mut().zip(hex.chunks_exact(2)) {
            *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
        }
        return hex.iter().all(u8::is_ascii_hexdigit).then_some(pin);
    }
    parse_base64(text.strip_prefix("sha256//").unwrap_or(text))
}

/// Base64 of exactly 32 bytes: 43 characters and one `=`.
fn parse_base64(text: &str) -> Option<[u8; 32]> {
    let digits = text.strip_suffix('=').filter(|digits| digits.len() == 43)?;
    let mut bytes = Vec::with_capacity(33);
    let (mut bits, mut count) = (0u32, 0);
    for digit in digits.bytes() {
        let value = match digit {
            b'A'..=b'Z' => digit - b'A',
            b'a'..=b'z' => digit - b'a' + 26,
            b'0'..=b'9' => digit - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = (bits << 6 | u32::from(value)) & 0xffff;
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push(u8::try_from(bits >> count & 0xff).ok()?);
        }
    }
    bytes.try_into().ok()
}

/// The bundle of a whole operating system is 200 KiB.
const PEM_MAX: usize = 4 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pins_are_read_as_tools_print_them() {
        let mut expected = [0u8; 32];
        for (n, byte) in (0..).zip(&mut expected) {
            *byte = n;
        }
        let hex: Vec<String> = expected.iter().map(|b| format!("{b:02X}")).collect();
        assert_eq!(parse_pin(&hex.join(":")), Some(expected));
        assert_eq!(parse_pin(&hex.concat().to_lowercase()), Some(expected));
        let base64 = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
        assert_eq!(parse_pin(base64), Some(expected));
        assert_eq!(parse_pin(&format!("sha256//{base64}")), Some(expected));
    }

    #[test]
    fn what_is_not_a_pin_is_refused() {
        for text in [
            "",
            "abc",
            &"g".repeat(64),
            &"+0".repeat(32),
            &"é".repeat(32),
        ] {
            assert_eq!(parse_pin(text), None, "{text}");
        }
    }
}

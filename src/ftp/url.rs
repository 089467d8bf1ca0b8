//! URLs of servers: `ftp://` plain, `ftpes://` TLS after `AUTH TLS`, `ftps://`
//! TLS from the first byte, then `[user[:password]@]host[:port]/path`.

use std::fmt;

use percent_encoding::percent_decode_str;

use crate::ftp::secret::Secret;

/// How the connection is protected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// `ftp`: not at all.
    Plain,
    /// `ftpes`: TLS, asked for with `AUTH TLS` (RFC 4217).
    Explicit,
    /// `ftps`: TLS at once.
    Implicit,
}

impl Scheme {
    /// The port when the URL names none: 21, or 990 for implicit TLS.
    pub const fn default_port(self) -> u16 {
        match self {
            Self::Plain | Self::Explicit => 21,
            Self::Implicit => 990,
        }
    }

    /// The word before `://`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Plain => "ftp",
            Self::Explicit => "ftpes",
            Self::Implicit => "ftps",
        }
    }
}

/// A parsed URL. `Display` leaves the password out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FtpUrl {
    /// The protection.
    pub scheme: Scheme,
    /// The user, decoded.
    pub user: Option<String>,
    /// The password, decoded.
    pub password: Option<Secret>,
    /// Host name or address, an IPv6 address without its brackets.
    pub host: String,
    /// The port, the scheme's if none was given.
    pub port: u16,
    /// The path, decoded, from the server's root: always with a leading slash;
    /// a slash at the end is kept, it names a directory.
    pub path: Vec<u8>,
}

/// Why a text is not such a URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UrlError {
    /// It begins with none of the three schemes.
    Scheme,
    /// There is no host, or it holds characters no host has.
    Host,
    /// The port is not a number from 1 to 65535.
    Port,
    /// User or password is not UTF-8, or holds a line break or a zero byte.
    Login,
    /// The path holds a line break or a zero byte.
    Path,
}

impl fmt::Display for UrlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Scheme => "not an FTP URL (write ftp://, ftpes:// or ftps://)",
            Self::Host => "the URL names no valid host",
            Self::Port => "the port in the URL is not a number from 1 to 65535",
            Self::Login => "the user or password in the URL is not valid text",
            Self::Path => "the path in the URL contains a line break or a zero byte",
        })
    }
}

impl std::error::Error for UrlError {}

impl FtpUrl {
    /// Reads a URL. The last `@` before the path ends the login, so that a
    /// password with a bare `@` is understood.
    ///
    /// # Errors
    /// See [`UrlError`].
    pub fn parse(text: &str) -> Result<Self, UrlError> {
        let (scheme, rest) = text.split_once("://").ok_or(UrlError::Scheme)?;
        let scheme = match scheme.to_ascii_lowercase().as_str() {
            "ftp" => Scheme::Plain,
            "ftpes" => Scheme::Explicit,
            "ftps" => Scheme::Implicit,
            _ => return Err(UrlError::Scheme),
        };
        let slash = rest.find('/').unwrap_or(rest.len());
        let (authority, path) = rest.split_at(slash);
        let (login, place) = match authority.rsplit_once('@') {
            Some((login, place)) => (Some(login), place),
            None => (None, authority),
        };
        let (user, password) = login.map_or(Ok((None, None)), parse_login)?;
        let (host, port) = parse_place(place)?;
        let path = decode(path).ok_or(UrlError::Path)?;
        Ok(Self {
            scheme,
            user,
            password,
            host,
            port: port.unwrap_or(scheme.default_port()),
            path: if path.is_empty() { b"/".to_vec() } else { path },
        })
    }
}

impl fmt::Display for FtpUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use crate::ftp::text::printable;
        write!(f, "{}://", self.scheme.as_str())?;
        if let Some(user) = &self.user {
            write!(f, "{}@", printable(user.as_bytes(), 100))?;
        }
        match self.host.contains(':') {
            // RFC 6874: the percent sign before a zone is written as %25.
            true => write!(f, "[{}]", self.host.replace('%', "%25"))?,
            false => f.write_str(&self.host.replace('%', "%25"))?,
        }
        if self.port != self.scheme.default_port() {
            write!(f, ":{}", self.port)?;
        }
        f.write_str(&printable(&self.path, 300))
    }
}

fn parse_login(login: &str) -> Result<(Option<String>, Option<Secret>), UrlError> {
    let (user, password) = match login.split_once(':') {
        Some((user, password)) => (user, Some(password)),
        None => (login, None),
    };
    let user = decode(user).and_then(|bytes| String::from_utf8(bytes).ok());
    let user = user.ok_or(UrlError::Login)?;
    let password = match password {
        Some(text) => Some(Secret::new(decode(text).ok_or(UrlError::Login)?)),
        None => None,
    };
    Ok(((!user.is_empty()).then_some(user), password))
}

fn parse_place(place: &str) -> Result<(String, Option<u16>), UrlError> {
    let (host, port) = match place.strip_prefix('[') {
        Some(rest) => rest.split_once(']').ok_or(UrlError::Host)?,
        None => place.split_at(place.find(':').unwrap_or(place.len())),
    };
    let host = decode(host).and_then(|bytes| String::from_utf8(bytes).ok());
    let host = host.ok_or(UrlError::Host)?;
    let valid = |c: char| c.is_alphanumeric() || matches!(c, '.' | '-' | '_' | ':' | '%');
    if host.is_empty() || !host.chars().all(valid) {
        return Err(UrlError::Host);
    }
    let port = match port {
        "" | ":" => None,
        text => Some(parse_port(text).ok_or(UrlError::Port)?),
    };
    Ok((host, port))
}

fn parse_port(text: &str) -> Option<u16> {
    let digits = text.strip_prefix(':')?;
    let digits_only = digits.bytes().all(|b| b.is_ascii_digit());
    let port = digits_only.then(|| digits.parse().ok()).flatten();
    port.filter(|port| *port != 0)
}

fn decode(text: &str) -> Option<Vec<u8>> {
    let bytes: Vec<u8> = percent_decode_str(text).collect();
    let clean = !bytes.iter().any(|b| matches!(b, b'\r' | b'\n' | 0));
    clean.then_some(bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_full_url_is_read() {
        let url = FtpUrl::parse("ftpes://me:p%40ss@word@host.example:2121/a%20b/%fc/").unwrap();
        assert_eq!(url.scheme, Scheme::Explicit);
        assert_eq!(url.user.as_deref(), Some("me"));
        assert_eq!(url.password.as_ref().unwrap().expose(), b"p@ss@word");
        assert_eq!((url.host.as_str(), url.port), ("host.example", 2121));
        assert_eq!(url.path, b"/a b/\xfc/");
        assert_eq!(
            url.to_string(),
            "ftpes://me@host.example:2121/a b/\u{fffd}/"
        );
        assert!(!format!("{url:?}").contains("ss@word"));
    }

    #[test]
    fn what_is_left_out_has_a_default() {
        let url = FtpUrl::parse("FTPS://host").unwrap();
        assert_eq!(
            (url.port, url.path.as_slice(), url.user),
            (990, &b"/"[..], None)
        );
        let url = FtpUrl::parse("ftp://[fe80::1%25eth0]:21/x").unwrap();
        assert_eq!(url.host, "fe80::1%eth0");
        assert_eq!(url.to_string(), "ftp://[fe80::1%25eth0]/x");
        assert_eq!(FtpUrl::parse("ftp://@h:/").unwrap().port, 21);
    }

    #[test]
    fn other_texts_are_refused() {
        for (text, error) in [
            ("http://host/", UrlError::Scheme),
            ("host/path", UrlError::Scheme),
            ("ftp:///path", UrlError::Host),
            ("ftp://[::1/path", UrlError::Host),
            ("ftp://a b/", UrlError::Host),
            ("ftp://host:0/", UrlError::Port),
            ("ftp://host:65536/", UrlError::Port),
            ("ftp://host:+1/", UrlError::Port),
            ("ftp://[::1]x/", UrlError::Port),
            ("ftp://a%0ab@host/", UrlError::Login),
            ("ftp://host/a%0d%0aDELE%20b", UrlError::Path),
        ] {
            assert_eq!(FtpUrl::parse(text), Err(error), "{text}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(96))]

        #[test]
        fn any_text_is_read_or_refused(text in "(ftp://)?[ -~äx%@:/\\[\\]]{0,30}") {
            let _ = FtpUrl::parse(&text);
        }
    }
}

//! Addresses of data connections: PASV and PORT (RFC 959), EPSV and EPRT (RFC 2428).
//!
//! A server's word is taken for the port only: [`data_address`] joins it with
//! the address that the control connection already has. Servers behind NAT
//! advertise addresses nobody can reach, and hostile ones would have us
//! connect to somebody else.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4};

use crate::ftp::command::decimal;
use crate::ftp::reply::Reply;

/// Where to open the data connection: the advertised port at the peer of the
/// control connection.
pub fn data_address(control_peer: SocketAddr, advertised_port: u16) -> SocketAddr {
    let mut address = control_peer; // keeps the scope of a link-local IPv6 address
    address.set_port(advertised_port);
    address
}

/// The port in a 229 reply: `Entering Extended Passive Mode (|||6446|)`.
pub fn parse_epsv(reply: &Reply) -> Option<u16> {
    if reply.code() != 229 {
        return None;
    }
    let openings = reply.last_line().split(|b| *b == b'(').skip(1);
    let mut ports = openings.filter_map(|inner| parse_data_port(delimited(inner)?.2));
    ports.next()
}

/// The address in a 227 reply, which has no fixed place: the first six numbers
/// with commas between them count, with or without parentheses (RFC 1123 §4.1.2.6).
pub fn parse_pasv(reply: &Reply) -> Option<SocketAddrV4> {
    if reply.code() != 227 {
        return None;
    }
    let text = reply.last_line();
    let mut inside_number = false;
    for (at, byte) in text.iter().enumerate() {
        let starts_number = byte.is_ascii_digit() && !inside_number;
        inside_number = byte.is_ascii_digit();
        if starts_number && let Some(address) = text.get(at..).and_then(six_numbers) {
            return Some(address);
        }
    }
    None
}

/// The argument of PORT: `132,235,1,2,24,131`.
pub fn format_port(address: SocketAddrV4) -> String {
    let [a, b, c, d] = address.ip().octets();
    let [high, low] = address.port().to_be_bytes();
    format!("{a},{b},{c},{d},{high},{low}")
}

/// The argument of EPRT: `|1|132.235.1.2|6275|`. An IPv4 address that the
/// system shows in its IPv6 form goes out as IPv4: the server sees no other.
pub fn format_eprt(address: SocketAddr) -> String {
    let ip = address.ip().to_canonical();
    let family = if ip.is_ipv4() { 1 } else { 2 };
    format!("|{family}|{ip}|{}|", address.port())
}

/// Reads the argument of PORT.
pub fn parse_port(text: &[u8]) -> Option<SocketAddrV4> {
    let only_numbers = text.iter().all(|b| b.is_ascii_digit() || *b == b',');
    only_numbers.then(|| six_numbers(text)).flatten()
}

/// Reads the argument of EPRT, with any delimiter.
///
/// # Errors
/// Why it is no address.
pub fn parse_eprt(text: &[u8]) -> Result<SocketAddr, EprtError> {
    let malformed = EprtError::Malformed;
    let (family, address, port) = delimited(text).ok_or(malformed)?;
    let address = std::str::from_utf8(address).map_err(|_| malformed)?;
    let ip = match decimal(family).ok_or(malformed)? {
        1 => address.parse().map(IpAddr::V4),
        2 => address.parse().map(IpAddr::V6),
        _ => return Err(EprtError::UnknownProtocol),
    };
    let ip = ip.map_err(|_| malformed)?;
    let port = parse_data_port(port).ok_or(malformed)?;
    Ok(SocketAddr::new(ip, port))
}

/// Why the argument of EPRT is no address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EprtError {
    /// It has not the form of RFC 2428 §2.
    Malformed,
    /// Neither IPv4 (1) nor IPv6 (2).
    UnknownProtocol,
}

/// Divides `<d>a<d>b<d>c<d>…` into a, b and c.
fn delimited(text: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let (&delimiter, rest) = text.split_first()?;
    if !delimiter.is_ascii_graphic() || delimiter.is_ascii_digit() {
        return None;
    }
    // Four parts: the last one holds what follows the closing delimiter.
    let mut fields = rest.splitn(4, |b| *b == delimiter);
    let parts = (fields.next()?, fields.next()?, fields.next()?);
    fields.next().map(|_| parts)
}

fn parse_data_port(digits: &[u8]) -> Option<u16> {
    decimal(digits)
        .and_then(|n| u16::try_from(n).ok())
        .filter(|port| *port != 0)
}

/// Reads `h1,h2,h3,h4,p1,p2` at the start of `text`.
fn six_numbers(text: &[u8]) -> Option<SocketAddrV4> {
    let mut numbers = [0_u8; 6];
    let mut rest = text;
    for (at, number) in numbers.iter_mut().enumerate() {
        if at > 0 {
            rest = rest.strip_prefix(b",")?.trim_ascii_start();
        }
        let digits = rest
            .iter()
            .position(|b| !b.is_ascii_digit())
            .unwrap_or(rest.len());
        let (value, tail) = rest.split_at(digits);
        *number = decimal(value).and_then(|n| u8::try_from(n).ok())?;
        rest = tail;
    }
    let [a, b, c, d, high, low] = numbers;
    let port = u16::from_be_bytes([high, low]);
    (port != 0).then(|| SocketAddrV4::new(Ipv4Addr::new(a, b, c, d), port))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pasv(text: &str) -> Option<String> {
        parse_pasv(&Reply::new(227, text.as_bytes())).map(|address| address.to_string())
    }

    fn epsv(text: &str) -> Option<u16> {
        parse_epsv(&Reply::new(229, text.as_bytes()))
    }

    #[test]
    fn pasv_replies_of_all_shapes_are_read() {
        let expected = Some("127.0.0.1:20002".to_owned());
        for text in [
            "Entering Passive Mode (127,0,0,1,78,34).",
            "Entering passive mode 127,0,0,1,78,34",
            "=127,0,0,1,78,34",
            "Mode 2 is on, 99 (127, 0, 0, 1, 78, 34)",
        ] {
            assert_eq!(pasv(text), expected, "{text}");
        }
    }

    #[test]
    fn pasv_replies_without_an_address_are_refused() {
        for text in [
            "",
            "(1,2,3,4,5)",
            "(256,0,0,1,78,34)",
            "(1,2,3,4,0,0)",
            "(1,,2,3,4,5,6)",
        ] {
            assert_eq!(pasv(text), None, "{text}");
        }
        assert_eq!(parse_pasv(&Reply::new(200, b"(127,0,0,1,78,34)")), None);
    }

    #[test]
    fn epsv_replies_are_read() {
        assert_eq!(
            epsv("Entering Extended Passive Mode (|||6446|)"),
            Some(6446)
        );
        assert_eq!(epsv("Extended Passive mode OK (|||6446|)"), Some(6446));
        assert_eq!(epsv("(!!!6446!)."), Some(6446));
        assert_eq!(epsv("Mode (extended) on (|||6446|) (really)"), Some(6446));
        assert_eq!(epsv("(|1|132.235.1.2|6446|)"), Some(6446));
        for text in [
            "",
            "(",
            "()",
            "(|||)",
            "(|||0|)",
            "(|||65536|)",
            "(|||-1|)",
            "(|||6446)",
            "(1116446 1)",
        ] {
            assert_eq!(epsv(text), None, "{text}");
        }
    }

    #[test]
    fn only_the_port_is_taken_from_the_server() {
        let peer = "[fe80::1%3]:21".parse().unwrap();
        assert_eq!(
            data_address(peer, 6446),
            "[fe80::1%3]:6446".parse().unwrap()
        );
    }

    #[test]
    fn mapped_addresses_go_out_as_ipv4() {
        assert_eq!(
            format_eprt("[::ffff:10.0.0.1]:99".parse().unwrap()),
            "|1|10.0.0.1|99|"
        );
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(96))]

        #[test]
        fn random_replies_never_panic(text: Vec<u8>) {
            let _ = parse_pasv(&Reply::new(227, &text));
            let _ = parse_epsv(&Reply::new(229, &text));
            let _ = (parse_port(&text), parse_eprt(&text));
        }
    }
}

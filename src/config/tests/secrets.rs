//! Secrets, certificates, the template, and files that cannot be read.

use super::*;

#[test]
fn clear_text_is_a_warning_and_refuses_what_needs_tls() {
    assert_lines(
        &with("tls = \"none\"", ""),
        &[
            "edgespool.toml:8: warning: server \"central\": tls \"none\": the password and the files travel in clear text",
        ],
    );
    let lines = Place::new().lines(&with(
        "tls = \"none\"\nca_file = \"ca.pem\"\nmin_tls = \"1.3\"",
        "",
    ));
    let needs = lines
        .iter()
        .filter(|line| line.contains("needs TLS, but tls is \"none\""));
    assert_eq!(needs.count(), 2, "{lines:#?}");
}

#[test]
fn a_host_is_a_host_and_a_url_in_it_is_not_repeated() {
    let lines = Place::new().lines(&with("", "").replace("\"h\"", "\"ftp://u:hunter2@h/\""));
    assert_eq!(lines.len(), 1);
    assert!(lines[0].contains("must be the name or address alone"));
    assert!(!lines[0].contains("hunter2"));
    assert_lines(
        &with("", "").replace("\"h\"", "\"h.example:2121\""),
        &[
            "edgespool.toml:5: server \"central\": host \"h.example:2121\" names a port (write port = 2121)",
        ],
    );
}

#[test]
fn a_password_comes_from_one_of_four_places() {
    let mut place = Place::new();
    place.vars.insert("FTP_PASSWORD", "from-env".to_owned());
    let dir = place.path().display().to_string();
    place.vars.insert("CREDENTIALS_DIRECTORY", dir);
    for (key, expected) in [
        ("password = \"inline\"", "inline"),
        ("password_file = \"pw\"", "s3cret"),
        ("password_env = \"FTP_PASSWORD\"", "from-env"),
        ("password_credential = \"pw\"", "s3cret"),
    ] {
        let text = with("", "").replace("password_file = \"pw\"", key);
        let loaded = place.load(&text).unwrap();
        let server = loaded.config.server("central").unwrap();
        assert_eq!(server.password, Some(Secret::from(expected)), "{key}");
        assert!(!format!("{loaded:?}").contains(expected));
    }
}

#[test]
fn a_password_that_is_not_there_says_what_to_do() {
    let place = Place::new();
    place.write("empty", "\n", 0o600);
    for (key, expected) in [
        (
            "",
            "3: server \"central\": password is missing (write one of password_file, password_env, password_credential, password)",
        ),
        (
            "password = 123456",
            "7: server \"central\": password must be a string (write it in quotes)",
        ),
        (
            "password_file = \"empty\"",
            "7: server \"central\": password_file gives an empty password (write the password there)",
        ),
        (
            "password_env = \"NONE\"",
            "7: server \"central\": password_env \"NONE\": this environment variable is not set (set it before the start)",
        ),
        (
            "password_credential = \"pw\"",
            "7: server \"central\": password_credential \"pw\": $CREDENTIALS_DIRECTORY is not set (start with systemd and LoadCredential=pw:FILE)",
        ),
    ] {
        let lines = place.lines(&with("", "").replace("password_file = \"pw\"", key));
        assert_eq!(lines, [format!("edgespool.toml:{expected}")]);
    }
}

#[test]
fn a_password_that_everyone_can_read_is_a_warning() {
    let place = Place::new();
    let text = with("", "").replace("password_file = \"pw\"", "password = \"x\"");
    let warnings = place.load_as(&text, 0o644).unwrap().warnings;
    assert_eq!(warnings.len(), 1);
    assert_eq!(warnings[0].line, Some(7));
    assert!(warnings[0].text.contains("can be read by everyone"));
    assert_eq!(place.load_as(&text, 0o640).unwrap().warnings, []);
    place.write("pw", "x", 0o644);
    let warnings = place.load_as(&with("", ""), 0o644).unwrap().warnings;
    assert!(
        warnings[0].text.contains("\"pw\" can be read by everyone")
            || warnings[0].text.contains("pw\" can be read")
    );
}

#[test]
fn certificates_and_keys_are_read_with_the_file() {
    let place = Place::new();
    let made = rcgen::generate_simple_self_signed(vec!["h".to_owned()]).unwrap();
    place.write("cert.pem", &made.cert.pem(), 0o644);
    place.write("key.pem", &made.signing_key.serialize_pem(), 0o600);
    let keys = "ca_file = \"cert.pem\"\nclient_cert = \"cert.pem\"\nclient_key = \"key.pem\"";
    let loaded = place.load(&with(keys, "")).unwrap();
    let server = loaded.config.server("central").unwrap();
    assert_eq!(
        server.roots.as_ref().unwrap().certs,
        [made.cert.der().clone()]
    );
    assert!(server.client_cert.is_some());
    let lines = place.lines(&with(
        "client_cert = \"cert.pem\"\nclient_key = \"cert.pem\"",
        "",
    ));
    assert_eq!(
        lines,
        [
            "edgespool.toml:9: server \"central\": client_key \"cert.pem\" holds no private key (it must be an unencrypted PEM file)"
        ]
    );
}

#[test]
fn a_file_that_is_not_there_or_not_text_is_said_so() {
    let place = Place::new();
    let env = Env {
        fs: &OsFs,
        var: &|_| None,
        host_name: String::new(),
        current_dir: place.path(),
    };
    let invalid = load(&place.path().join("none.toml"), &env).unwrap_err();
    assert!(invalid.to_string().contains("none.toml: cannot be read: "));
    std::fs::write(place.path().join("bin.toml"), b"a = 1\n\xff").unwrap();
    let invalid = load(&place.path().join("bin.toml"), &env).unwrap_err();
    assert!(
        invalid
            .to_string()
            .ends_with("bin.toml:2: is not UTF-8 text")
    );
}

/// Uncomments the keys of the template that show a default.
fn uncommented() -> String {
    let is_key = |line: &str| {
        let key = line.split(" =").next().unwrap_or_default();
        !key.is_empty() && key.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')
    };
    template::TEMPLATE
        .lines()
        .map(|line| match line.strip_prefix('#') {
            Some(rest) if rest.starts_with('[') => rest,
            Some(rest) if rest.contains(" = ") && is_key(rest) => rest,
            _ => line,
        })
        .collect::<Vec<_>>()
        .join("\n")
}

#[test]
fn the_template_shows_every_key_with_a_value_that_fits() {
    let place = Place::new();
    std::fs::create_dir(place.path().join("outbox")).unwrap();
    place.write("password", "x", 0o600);
    place.load(template::TEMPLATE).unwrap();
    let lines = place.lines(&uncommented());
    // Examples that name files, pins or contradict a default are refused for
    // just that; no key is unknown and no other value is wrong.
    for line in &lines {
        let expected = [
            "ca_file",
            "cron and every are both set",
            "and password are both set",
            "and watch are both set",
            "pin_sha256",
            "client_cert",
            "client_key",
            "archive",
            "marker has no effect",
            "listen has no effect: this version",
            "cert_file",
            "key_file",
            "password_hash",
            "on_received",
            "folders.logs",
            "built without the receiver",
        ];
        assert!(expected.iter().any(|known| line.contains(known)), "{line}");
    }
}

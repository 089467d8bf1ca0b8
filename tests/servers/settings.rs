//! Each server's settings: files written into its directory, and the command
//! line that runs it in the foreground.

use std::fs;
use std::process::Command;

use super::certificates::{ca_file, certificate_file, key_file};
use super::install::Programs;
use super::{Kind, Server, Variant};

/// The command line of this server.
pub(super) fn command(server: &Server, programs: &Programs) -> Vec<String> {
    match server.kind {
        Kind::Vsftpd => vsftpd(server, programs),
        Kind::Proftpd => proftpd(server, programs),
        Kind::PureFtpd => pure_ftpd(server, programs),
        Kind::Pyftpdlib => pyftpdlib(server, programs),
    }
}

fn vsftpd(server: &Server, programs: &Programs) -> Vec<String> {
    let v6 = server.host.is_ipv6();
    let dir = server.dir().display();
    fs::create_dir_all(server.dir().join("empty")).unwrap();
    let (listen, address) = if v6 {
        ("listen=NO\nlisten_ipv6=YES", "listen_address6")
    } else {
        ("listen=YES\nlisten_ipv6=NO", "listen_address")
    };
    // The sandboxes need more privileges than some containers grant.
    let mut conf = format!(
        "background=NO\n{listen}\n{address}={}\nlisten_port={}\npasv_min_port={}\n\
         pasv_max_port={}\nanonymous_enable=NO\nlocal_enable=YES\npam_service_name=ftp\n\
         chroot_local_user=YES\nallow_writeable_chroot=YES\nlocal_umask=022\nwrite_enable={}\n\
         secure_chroot_dir={dir}/empty\nisolate=NO\nisolate_network=NO\nseccomp_sandbox=NO\n\
         xferlog_enable=YES\nlog_ftp_protocol=YES\nxferlog_std_format=NO\n\
         vsftpd_log_file={dir}/log\n",
        server.host,
        server.port,
        server.passive.start(),
        server.passive.end(),
        yes(server.variant != Variant::Readonly),
    );
    if server.variant.is_tls() {
        conf += &vsftpd_tls(server);
    }
    conf += match server.variant {
        Variant::NoEpsv => "cmds_denied=EPSV\n",
        Variant::NoRename => "cmds_denied=RNFR,RNTO\n",
        Variant::NoAppend => "cmds_denied=APPE\n",
        Variant::NoResume => "cmds_denied=REST\n",
        Variant::DeleteFailed => "delete_failed_uploads=YES\n",
        Variant::MaxClients => "max_clients=2\n",
        Variant::ShortIdle => "idle_session_timeout=3\n",
        _ => "",
    };
    vec![programs.sbin("vsftpd"), write(server, "conf", &conf)]
}

fn vsftpd_tls(server: &Server) -> String {
    // The names say RSA, but any kind of key will do.
    let mut conf = format!(
        "ssl_enable=YES\nrsa_cert_file={}\nrsa_private_key_file={}\nssl_ciphers=HIGH\n\
         force_local_logins_ssl=YES\nforce_local_data_ssl=YES\nrequire_ssl_reuse={}\n\
         strict_ssl_read_eof={}\nimplicit_ssl={}\n",
        certificate_file(server.dir()).display(),
        key_file(server.dir()).display(),
        yes(server.variant == Variant::ExplicitReuse),
        yes(server.variant == Variant::ExplicitStrict),
        yes(server.variant == Variant::Implicit),
    );
    if server.variant == Variant::ExplicitClientCertificate {
        let ca = ca_file(server.dir());
        conf += &format!(
            "require_cert=YES\nvalidate_cert=YES\nca_certs_file={}\n",
            ca.display()
        );
    }
    conf
}

fn yes(on: bool) -> &'static str {
    if on { "YES" } else { "NO" }
}

fn proftpd(server: &Server, programs: &Programs) -> Vec<String> {
    let v = server.variant;
    let on = |on: bool| if on { "on" } else { "off" };
    let dir = server.dir().display();
    let mut conf = format!(
        "ModulePath {}\nLoadModule mod_digest.c\nServerName test\nServerType standalone\n\
         DefaultServer on\nSocketBindTight on\nUseIPv6 {}\nDefaultAddress {}\nPort {}\nPassivePorts {} {}\n\
         User {user}\nGroup {user}\nPidFile {dir}/pid\nScoreboardFile {dir}/scoreboard\n\
         SystemLog {dir}/log\nExtendedLog {dir}/log ALL\nTransferLog none\nWtmpLog off\n\
         DelayEngine off\nUseReverseDNS off\nAuthPAM off\nAuthOrder mod_auth_unix.c\n\
         RequireValidShell off\nDefaultRoot ~\nUmask 022\nAllowOverwrite {}\n\
         AllowStoreRestart {}\nAllowRetrieveRestart on\n",
        programs.under("usr/lib/proftpd"),
        on(server.host.is_ipv6()),
        server.host,
        server.port,
        server.passive.start(),
        server.passive.end(),
        on(v != Variant::KeepFiles),
        on(!matches!(v, Variant::NoResume | Variant::TempUpload)),
        user = server.user,
    );
    if v.is_tls() {
        conf += &proftpd_tls(server);
    }
    if v == Variant::Quota {
        conf += &proftpd_quota(server, programs);
    }
    let deny = |commands: &str| format!("<Limit {commands}>\nDenyAll\n</Limit>\n");
    conf += &match v {
        Variant::Readonly => deny("WRITE"),
        Variant::NoEpsv => deny("EPSV"),
        Variant::NoRename => deny("RNFR RNTO"),
        Variant::NoAppend => deny("APPE"),
        Variant::KeepFiles => deny("DELE"),
        Variant::DeleteFailed => "DeleteAbortedStores on\n".into(),
        Variant::TempUpload => "HiddenStores on\n".into(),
        Variant::MaxClients => "MaxClients 2\n".into(),
        Variant::ShortIdle => "TimeoutIdle 3\n".into(),
        _ => String::new(),
    };
    let conf = write(server, "conf", &conf);
    vec![
        programs.sbin("proftpd"),
        "-n".into(),
        "-q".into(),
        "-c".into(),
        conf,
    ]
}

fn proftpd_tls(server: &Server) -> String {
    let options = match server.variant {
        Variant::ExplicitReuse => "",
        Variant::Implicit => "TLSOptions UseImplicitSSL NoSessionReuseRequired\n",
        _ => "TLSOptions NoSessionReuseRequired\n",
    };
    let protocol = match server.variant {
        Variant::ExplicitTls12 => "TLSv1.2",
        _ => "TLSv1.2 TLSv1.3",
    };
    format!(
        "LoadModule mod_tls.c\nTLSEngine on\nTLSRequired on\nTLSProtocol {protocol}\n\
         TLSECCertificateFile {}\nTLSECCertificateKeyFile {}\nTLSLog {}/log\n{options}",
        certificate_file(server.dir()).display(),
        key_file(server.dir()).display(),
        server.dir().display(),
    )
}

fn proftpd_quota(server: &Server, programs: &Programs) -> String {
    let record = format!(
        "--add-record --name {} --quota-type user --limit-type hard --bytes-upload 1000000",
        server.user
    );
    for (table, record) in [("limit", record.as_str()), ("tally", "")] {
        let path = server.dir().join(format!("{table}tab"));
        let done = Command::new("perl")
            .arg(programs.sbin("ftpquota"))
            .args(["--create-table", "--type", table, "--table-path"])
            .arg(path)
            .args(record.split_whitespace())
            .output()
            .unwrap_or_else(|e| panic!("proftpd's quota needs perl: {e}"));
        assert!(
            done.status.success(),
            "ftpquota: {}",
            String::from_utf8_lossy(&done.stderr)
        );
    }
    let dir = server.dir().display();
    format!(
        "LoadModule mod_quotatab.c\nLoadModule mod_quotatab_file.c\nQuotaEngine on\n\
         QuotaLimitTable file:{dir}/limittab\nQuotaTallyTable file:{dir}/tallytab\n"
    )
}

fn pure_ftpd(server: &Server, programs: &Programs) -> Vec<String> {
    let dir = server.dir().display();
    let mut args = format!(
        "-S {},{} -p {}:{} -l unix -u 1 -A -E -H -f none -g {dir}/pid {}",
        server.host,
        server.port,
        server.passive.start(),
        server.passive.end(),
        if server.host.is_ipv6() { "-6" } else { "-4" },
    );
    if server.variant.is_tls() {
        let (cert, key) = (certificate_file(server.dir()), key_file(server.dir()));
        args += &format!(" -Y 3 -2 {},{}", cert.display(), key.display());
    }
    args += match server.variant {
        Variant::Quota => " -n 1000:1",
        Variant::NoRename => " -G",
        Variant::KeepFiles => " -K",
        Variant::AutoRename => " -r",
        Variant::TempUpload => " -0",
        Variant::MaxClients => " -c 2",
        _ => "",
    };
    let program = programs.sbin("pure-ftpd");
    std::iter::once(program)
        .chain(args.split_whitespace().map(str::to_owned))
        .collect()
}

fn pyftpdlib(server: &Server, programs: &Programs) -> Vec<String> {
    let v = server.variant;
    let settings = serde_json::json!({
        "host": server.host,
        "port": server.port,
        "passive": [server.passive.start(), server.passive.end()],
        "root": server.root,
        "user": server.user,
        "password": server.password,
        "tls": v.is_tls(),
        "implicit": v == Variant::Implicit,
        "tls12_only": v == Variant::ExplicitTls12,
        "certificate": certificate_file(server.dir()),
        "key": key_file(server.dir()),
        // Of its letters a: append, d: delete, f: rename, w: store.
        "permissions": match v {
            Variant::Readonly => "elr",
            Variant::NoRename => "elradmwMT",
            Variant::NoAppend => "elrdfmwMT",
            _ => "elradfmwMT",
        },
        "without": if v == Variant::NoEpsv { vec!["EPSV"] } else { vec![] },
        "idle_s": if v == Variant::ShortIdle { 3 } else { 300 },
        "clients_max": if v == Variant::MaxClients { 2 } else { 0 },
    });
    let script = write(server, "server.py", include_str!("pyftpdlib_server.py"));
    vec![programs.python(), script, settings.to_string()]
}

/// Writes a file into the server's directory and returns its path.
fn write(server: &Server, name: &str, text: &str) -> String {
    let path = server.dir().join(name);
    fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

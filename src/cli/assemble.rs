//! The configuration, turned into what the agent's parts want.

use std::rc::Rc;

use jiff::tz::TimeZone;

use crate::agent::setup::{ArchiveSetup, LaneSetup, Namer, Naming, ServerSetup, Setup};
use crate::config::{self, Config, remote::Facts};
use crate::ftp::secret::Secret;
use crate::schedule::{Pace, RetryOptions, ScheduleOptions};
use crate::spool::{self, LedgerLimits, WhenFull};
use crate::sys::Pool;
use crate::upload::{
    DataChoice, DataMode, IfExists, IfGone, MinTls, Publish, ServerOptions, TlsMode, VerifyMode,
};
use crate::watch::{Inotify, ReadyWhen, Take, WatchOptions};

/// What `PASS` says for `anonymous` (RFC 1635).
const ANONYMOUS_PASSWORD: &[u8] = b"edgespool@";

/// Everything for [`crate::agent::Agent::open`].
pub(crate) fn setup(config: &Config, pool: &Pool) -> Setup {
    let server_place = |name: &str| config.servers.iter().position(|s| s.name == name);
    let servers = config.servers.iter().map(|server| ServerSetup {
        options: server_options(server),
        connections: server.connections,
        fallback: server
            .fallback
            .iter()
            .filter_map(|name| server_place(name))
            .collect(),
    });
    let lanes = config.watches.iter().map(|watch| LaneSetup {
        watch: watch_options(watch),
        watched: watch.dir.is_some(),
        server: server_place(&watch.server).unwrap_or_default(),
        namer: namer(config, watch),
        priority: watch.priority,
        newest_first: watch.order == config::Order::Newest,
        schedule: watch.schedule.as_ref().and_then(|name| {
            config
                .schedules
                .iter()
                .position(|schedule| schedule.name == *name)
        }),
        archive: watch.archive.as_ref().map(|archive| ArchiveSetup {
            dir: archive.dir.clone(),
            max_size: archive.max_size.map(|size| size.0),
            max_age_s: archive.max_age.map(|age| age.as_secs()),
        }),
    });
    Setup {
        device: config.device.clone(),
        spool_dir: config.spool.dir.clone(),
        spool: spool_options(&config.spool),
        servers: servers.collect(),
        lanes: lanes.collect(),
        receive: config.receive.clone(),
        schedules: config.schedules.iter().map(schedule_options).collect(),
        retry: RetryOptions {
            first: config.retry.first,
            max: config.retry.max,
        },
        file_attempts: config.retry.file_attempts,
        memory: None,
        hints: Rc::new(Inotify::new(pool.clone())),
    }
}

/// How the spool is kept.
pub(crate) fn spool_options(spool: &config::Spool) -> spool::Options {
    spool::Options {
        max_size: spool.max_size.0,
        min_free: spool.min_free.0,
        when_full: match spool.when_full {
            config::WhenFull::Pause => WhenFull::Pause,
            config::WhenFull::DropOldest => WhenFull::DropOldest,
            config::WhenFull::DropNewest => WhenFull::DropNewest,
        },
        ledger: LedgerLimits::default(),
    }
}

/// How to deal with a server.
pub(crate) fn server_options(server: &config::Server) -> ServerOptions {
    ServerOptions {
        name: server.name.clone(),
        host: server.host.clone(),
        port: server.port,
        tls: match server.tls {
            config::Tls::Explicit => TlsMode::Explicit,
            config::Tls::Implicit => TlsMode::Implicit,
            config::Tls::None => TlsMode::None,
        },
        user: server.user.clone().into_bytes(),
        password: Secret::new(
            server
                .password
                .as_ref()
                .map_or(ANONYMOUS_PASSWORD, |password| password.expose())
                .to_vec(),
        ),
        ca_file: server.roots.as_ref().map(|roots| roots.file.clone()),
        pins: server.pins.clone(),
        client_cert: server
            .client_cert
            .as_ref()
            .map(|cert| (cert.cert_file.clone(), cert.key_file.clone())),
        min_tls: match server.min_tls {
            config::MinTls::V12 => MinTls::V1_2,
            config::MinTls::V13 => MinTls::V1_3,
        },
        data: match server.data {
            config::DataMode::Auto => DataChoice::Auto,
            config::DataMode::Epsv => DataChoice::Only(DataMode::Epsv),
            config::DataMode::Pasv => DataChoice::Only(DataMode::Pasv),
            config::DataMode::Eprt => DataChoice::Only(DataMode::Eprt),
            config::DataMode::Port => DataChoice::Only(DataMode::Port),
        },
        publish: match server.publish {
            config::Publish::Rename => Publish::Rename,
            config::Publish::Direct => Publish::Direct,
        },
        verify: match server.verify {
            config::Verify::Auto => VerifyMode::Auto,
            config::Verify::Hash => VerifyMode::Hash,
            config::Verify::Size => VerifyMode::Size,
            config::Verify::None => VerifyMode::None,
        },
        if_exists: match server.if_exists {
            config::IfExists::Overwrite => IfExists::Overwrite,
            config::IfExists::KeepBoth => IfExists::KeepBoth,
            config::IfExists::Skip => IfExists::Skip,
        },
        if_gone: match server.if_gone {
            config::IfGone::Resend => IfGone::Resend,
            config::IfGone::Delivered => IfGone::Delivered,
        },
        mtime: server.mtime,
        connect_timeout: server.connect_timeout,
        stall_timeout: server.stall_timeout,
    }
}

fn watch_options(watch: &config::Watch) -> WatchOptions {
    WatchOptions {
        name: watch.name.clone(),
        dir: watch.dir.clone().unwrap_or_default(),
        include: watch.include.clone(),
        exclude: watch.exclude.clone(),
        recursive: watch.recursive,
        ready: match watch.ready {
            config::Ready::Close => ReadyWhen::Close,
            config::Ready::Quiet => ReadyWhen::Quiet,
            config::Ready::Marker => ReadyWhen::Marker,
        },
        quiet: watch.quiet,
        marker: watch.marker.clone(),
        take: match watch.take {
            config::Take::Move => Take::Move,
            config::Take::Copy => Take::Copy,
        },
    }
}

fn schedule_options(schedule: &config::Schedule) -> ScheduleOptions {
    ScheduleOptions {
        name: schedule.name.clone(),
        windows: schedule.windows.clone(),
        pace: match (&schedule.cron, schedule.every) {
            (Some(cron), _) => Pace::Cron(*cron),
            (None, Some(every)) => Pace::Every(every),
            (None, None) => Pace::WheneverQueued,
        },
        splay: schedule.splay,
        rate: schedule.rate,
        daily_budget: schedule.daily_budget,
    }
}

fn namer(config: &Config, watch: &config::Watch) -> Namer {
    let (device, name) = (config.device.clone(), watch.name.clone());
    let remote = watch.remote.clone();
    let zone = TimeZone::system();
    Rc::new(move |naming: &Naming<'_>| {
        let facts = Facts {
            device: &device,
            watch: &name,
            path: naming.path,
            mtime_ns: naming.mtime_ns,
            zone: &zone,
        };
        remote.expand(&facts).map_err(|e| e.to_string())
    })
}

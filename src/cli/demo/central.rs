//! TEMPORARY.
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::rc::Rc;

use smol::LocalExecutor;

use super::Trouble;
use super::compare::Arrival;
use super::world::{Destination, World};
use crate::ftp::secret::Secret;
use crate::sys::Sys;

pub(super) struct Central {
    child: RefCell<std::process::Child>,
    root: PathBuf,
    partial: Rc<RefCell<BTreeMap<String, (u64, u64, bool)>>>,
}

impl Central {
    pub(super) async fn start(
        _sys: &Sys,
        world: &World,
        _tasks: &Rc<LocalExecutor<'static>>,
    ) -> Result<(Central, Destination), Trouble> {
        let conf = format!(
            r#"{{"implicit":false,"tls":true,"user":"gateway","password":"pw","root":"{}","permissions":"elradfmwMT","idle_s":300,"passive":[42000,42999],"without":[],"certificate":"/tmp/cli-tmpcert/cert.pem","key":"/tmp/cli-tmpcert/key.pem","tls12_only":false,"host":"127.0.0.1","port":42121,"clients_max":10}}"#,
            world.server().display()
        );
        let child = std::process::Command::new("/root/.cache/edgespool-tests/python/bin/python")
            .arg("/work/wt/cli/tests/servers/pyftpdlib_server.py")
            .arg(conf)
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        smol::Timer::after(std::time::Duration::from_secs(1)).await;
        let pin = std::env::var("TMPPIN").unwrap();
        let fingerprint = crate::config::parse_pin(&pin).unwrap();
        Ok((
            Central {
                child: RefCell::new(child),
                root: world.server(),
                partial: Rc::default(),
            },
            Destination {
                addr: SocketAddr::from(([127, 0, 0, 1], 42121)),
                fingerprint,
                password: Secret::new(b"pw".to_vec()),
            },
        ))
    }

    pub(super) fn arrivals(&self) -> Vec<Arrival> {
        let mut all = Vec::new();
        let mut partial = self.partial.borrow_mut();
        for watch in ["camera", "sensor"] {
            let Ok(dir) = std::fs::read_dir(self.root.join("demo").join(watch)) else {
                continue;
            };
            for e in dir.flatten() {
                let name = e.file_name().to_string_lossy().into_owned();
                let size = e.metadata().map_or(0, |m| m.len());
                if let Some(rest) = name.strip_prefix('.') {
                    let name = rest.strip_suffix(".part").unwrap().rsplit_once('.').unwrap().0;
                    let was = partial.entry(format!("{watch}/{name}")).or_default();
                    was.0 = was.0.max(if was.2 {was.0} else {was.1});
                    was.2 = false;
                    if was.1 == size { was.0 = size; }
                    was.1 = size;
                    continue;
                }
                let path = format!("{watch}/{name}");
                let from = partial.get(&path).map_or(0, |p| p.0.min(size - 1));
                let age = e.metadata().unwrap().created().unwrap();
                all.push((age, Arrival { path, size, from }));
            }
        }
        all.sort_by_key(|a| a.0);
        all.into_iter().map(|a| a.1).collect()
    }

    pub(super) async fn stop(self) {
        let _ = self.child.borrow_mut().kill();
        let _ = self.child.borrow_mut().wait();
    }
}

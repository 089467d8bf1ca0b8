# For a layer of yours, as recipes-connectivity/edgespool/edgespool_0.1.bb. The
# crates are listed by `bitbake -c update_crates edgespool`, which writes
# edgespool-crates.inc from Cargo.lock.
SUMMARY = "Uploads finished files over FTP and FTPS through a crash-safe spool"
LICENSE = "MIT | Apache-2.0"
LIC_FILES_CHKSUM = "file://LICENSE-MIT;beginline=1;endline=1;md5=${EDGESPOOL_LICENSE_MD5}"

# Of the release that is built; bitbake says the right one when it is missing.
SRC_URI = "crate://crates.io/edgespool/${PV}"
SRC_URI[edgespool-0.1.0.sha256sum] = "${EDGESPOOL_SHA256}"
PV = "0.1.0"
S = "${CARGO_VENDORING_DIRECTORY}/edgespool-${PV}"

inherit cargo cargo-update-recipe-crates systemd useradd

require ${BPN}-crates.inc

USERADD_PACKAGES = "${PN}"
USERADD_PARAM:${PN} = "--system --home-dir /var/lib/edgespool --no-create-home \
    --shell /sbin/nologin --user-group edgespool"

SYSTEMD_SERVICE:${PN} = "edgespool.service"
# The unit itself waits for a config.
SYSTEMD_AUTO_ENABLE = "enable"

do_install:append() {
    install -d ${D}${systemd_system_unitdir}
    for unit in edgespool.service edgespool@.service edgespool-once.service edgespool-once.timer; do
        install -m 0644 ${S}/systemd/$unit ${D}${systemd_system_unitdir}/
    done
    install -D -m 0644 ${S}/systemd/tmpfiles.conf ${D}${nonarch_libdir}/tmpfiles.d/edgespool.conf
    install -d -m 0750 ${D}${sysconfdir}/edgespool
}

FILES:${PN} += "${systemd_system_unitdir} ${nonarch_libdir}/tmpfiles.d"
RRECOMMENDS:${PN} = "ca-certificates"

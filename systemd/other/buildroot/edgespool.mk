################################################################################
#
# edgespool
#
# For an external tree: package/edgespool/{Config.in,edgespool.mk}; add the
# hash of the release to edgespool.hash.
#
################################################################################

EDGESPOOL_VERSION = 0.1.0
EDGESPOOL_SITE = https://static.crates.io/crates/edgespool
EDGESPOOL_SOURCE = edgespool-$(EDGESPOOL_VERSION).crate
EDGESPOOL_EXTRACT_CMDS = \
	$(TAR) --strip-components=1 -C $(@D) $(TAR_OPTIONS) - < $(EDGESPOOL_DL_DIR)/$(EDGESPOOL_SOURCE)
EDGESPOOL_LICENSE = MIT or Apache-2.0
EDGESPOOL_LICENSE_FILES = LICENSE-MIT LICENSE-APACHE

define EDGESPOOL_USERS
	edgespool -1 edgespool -1 * /var/lib/edgespool - - edgespool
endef

define EDGESPOOL_PERMISSIONS
	/etc/edgespool d 750 0 edgespool - - - - -
	/var/lib/edgespool d 700 edgespool edgespool - - - - -
endef

define EDGESPOOL_INSTALL_DIRS
	mkdir -p $(TARGET_DIR)/etc/edgespool $(TARGET_DIR)/var/lib/edgespool
endef
EDGESPOOL_POST_INSTALL_TARGET_HOOKS += EDGESPOOL_INSTALL_DIRS

define EDGESPOOL_INSTALL_INIT_SYSTEMD
	$(INSTALL) -D -m 0644 $(@D)/systemd/edgespool.service \
		$(TARGET_DIR)/usr/lib/systemd/system/edgespool.service
	$(INSTALL) -D -m 0644 $(@D)/systemd/tmpfiles.conf \
		$(TARGET_DIR)/usr/lib/tmpfiles.d/edgespool.conf
endef

define EDGESPOOL_INSTALL_INIT_SYSV
	$(INSTALL) -D -m 0755 $(@D)/systemd/other/busybox/S60edgespool \
		$(TARGET_DIR)/etc/init.d/S60edgespool
	$(INSTALL) -D -m 0755 $(@D)/systemd/other/busybox/edgespool-run \
		$(TARGET_DIR)/usr/sbin/edgespool-run
endef

$(eval $(cargo-package))

// SPDX-License-Identifier: MIT OR Apache-2.0

//! The codes of the program: settings, decisions, hooks, reports and reboots.

use flipside_image::code::Code;

pub(crate) use flipside_core::codes::shared::{
    DIGEST_FAILED, DIGEST_ROLLED_BACK, ESP_DAMAGED, IO_FAILED, LOCKED, RESOURCES_EXHAUSTED, STOPPED,
};
pub(crate) use flipside_image::codes::shared::{POLICY_DOCUMENT_INVALID, REFERENCE_INVALID};
#[cfg(feature = "publish")]
pub(crate) use flipside_publish::codes::shared::{ARGUMENT_INVALID, TOOL_FAILED};
pub(crate) use flipside_source::codes::shared::{REGISTRY_RATE_LIMITED, REGISTRY_UNREACHABLE};

// Of this crate: rustc reports no unused constant that another crate's macro declares.
macro_rules! constant {
    ($(#[$doc:meta])+ $name:ident = $code:expr) => {
        $(#[$doc])+
        pub(crate) const $name: Code = $code;
    };
}

flipside_image::codes! {
    constant;

    Running {
        /// A settings file is not TOML, a setting has a value of the wrong type or outside its
        /// limits, or two settings contradict each other. Or a reference contains a password, or
        /// the file is not allowed to set that key.
        ///
        /// Correct the line that the message names. `docs/configuration.md` lists every key.
        /// Passwords belong in an auth file.
        CONFIG_INVALID: Error = "config-invalid";
        /// A settings file contains a key that does not exist, usually a typing error. `promote`,
        /// `rollback`, `health` and `trial-deadline` only warn about it
        /// ([two versions](reliability.md#two-versions-of-flipside)).
        ///
        /// Use the nearest valid key, which the message names.
        CONFIG_UNKNOWN_KEY: Error = "config-unknown-key";
        /// A drop-in that `hold`, `unhold` or `switch` writes cannot be written.
        ///
        /// Run the command as root. Check `/etc/flipside/flipside.toml.d` and
        /// `/var/lib/flipside/settings.d`.
        CONFIG_UNWRITABLE: Error = "config-unwritable";
        /// `dbus-service` is not allowed to own `org.flipside.Updater1`.
        ///
        /// Run it as user `flipside`. Check
        /// `/usr/share/dbus-1/system.d/org.flipside.Updater1.conf`.
        DBUS_NAME_REFUSED: Error = "dbus-name-refused";
        /// Another `dbus-service` is already running.
        ///
        /// Use that one.
        DBUS_NAME_TAKEN: Error = "dbus-name-taken";
        /// The system bus cannot be reached, or has closed the connection.
        ///
        /// Check `dbus.service`.
        DBUS_UNAVAILABLE: Error = "dbus-unavailable";
        /// A settings file, or a directory of settings, keys, hooks or health checks, exists but
        /// cannot be read. Or a file or a dangling link is in the directory's place.
        ///
        /// Check its owner and mode, and the disk that it is on. Remove what is in its place.
        FILE_UNREADABLE: Error = "file-unreadable";
        /// Users other than root and the caller could change a settings file, a directory of
        /// settings, keys, hooks or health checks, or a file of certificates or credentials.
        ///
        /// Run `chown root` or `chmod go-w`, as the message says. Find out who changed it.
        FILE_UNTRUSTED: Error = "file-untrusted";
        /// A required health check failed. The boot does not count as successful, and a trial ends.
        ///
        /// See the reason in the message, which comes from the check.
        HEALTH_FAILED: Error = "health-failed";
        /// `hold --until` was given a time in the past.
        ///
        /// Give a later time.
        HOLD_OVER: Error = "hold-over";
        /// The name of an image, such as that in `flipside retry 2.0`, is neither a version nor the
        /// beginning of a digest that `flipside status` shows. Or it names several images.
        ///
        /// Give a version, or at least the first 8 digits of a digest.
        IMAGE_UNKNOWN: Error = "image-unknown";
        /// An error has no code of its own.
        ///
        /// Report it with the whole message.
        INTERNAL: Error = "internal";
        /// `labels` found a partition label that the kernel does not show unchanged.
        ///
        /// Give the partition a label of printable ASCII: `sgdisk --change-name`.
        LABEL_UNSUITABLE: Error = "label-unsuitable";
        /// The command changes the host, or reads what only root may read, such as the journal of
        /// a failed trial.
        ///
        /// Run it as root. `flipside status` and `flipside history` need no root.
        NEEDS_ROOT: Error = "needs-root";
        /// `track.image` is not set.
        ///
        /// Set it.
        NOTHING_TRACKED: Block = "nothing-tracked";
        /// Nothing can be written to stdout.
        ///
        /// Check whether a disk is full.
        OUTPUT_FAILED: Error = "output-failed";
        /// The status file or the history cannot be read.
        ///
        /// Check its owner and mode.
        REPORT_UNREADABLE: Error = "report-unreadable";
        /// The status file or the history cannot be written. No run ends because of this.
        ///
        /// Check `/run` and `/var/lib/flipside`.
        REPORT_UNWRITABLE: Error = "report-unwritable";
        /// `hold`, `unhold` or `switch` wrote a setting that has no effect, because another file
        /// sets the same key.
        ///
        /// Change it in the file that the message names.
        SETTING_OVERRIDDEN: Error = "setting-overridden";
        /// The host or the tag changed between the decision and its execution.
        ///
        /// Do nothing. The next run decides anew.
        SITUATION_CHANGED: Defer = "situation-changed";
        /// `/run/flipside/status.json` is not a status document, or has a later version.
        ///
        /// Remove it. The next run writes it.
        STATUS_MALFORMED: Error = "status-malformed";
        /// `history --log` found no log of a failed trial, or not that of the requested trial.
        ///
        /// See `flipside history`. A trial leaves no log if `/var/log/journal` is not persistent
        /// and its kernel did not start.
        TRIAL_LOG_ABSENT: Error = "trial-log-absent";
    }

    Decision {
        /// An annotation `org.flipside.*` of the image's manifest has no valid value, or
        /// `org.flipside.via` names another repository.
        ///
        /// Build the image with a valid annotation ([policy.md](policy.md)).
        ANNOTATION_INVALID: Block = "annotation-invalid";
        /// Something depends on the date, but the clock was not synchronised since the boot.
        ///
        /// Check with `timedatectl` that time synchronisation runs. To trust the host's own clock,
        /// set `policy.clock`.
        CLOCK_UNSET: Defer = "clock-unset";
        /// `policy.hooks.container.image` names an image that its registry does not have.
        ///
        /// Push the image, or correct the setting.
        CONTAINER_HOOK_MISSING: Block = "container-hook-missing";
        /// `policy.hooks.container` is set, but this host has no podman.
        ///
        /// Install podman, or remove the setting.
        CONTAINER_HOOK_NO_PODMAN: Block = "container-hook-no-podman";
        /// The container hook cannot be fetched now.
        ///
        /// Do nothing if its registry comes back. Otherwise see the message.
        CONTAINER_HOOK_UNAVAILABLE: Defer = "container-hook-unavailable";
        /// The running release is a dead end: its publisher ends updates there. Or the path to an
        /// image leads through a dead end.
        ///
        /// See the reason in the message. Usually install anew, or run `flipside switch` to follow
        /// another tag.
        DEAD_END: Block = "dead-end";
        /// The update graph does not list the running release.
        ///
        /// Do nothing if the release is new. Otherwise its publisher adds it, or you follow the tag
        /// instead: unset `track.graph`.
        GRAPH_NODE_UNKNOWN: Defer = "graph-node-unknown";
        /// A hook does not allow the update.
        ///
        /// See the reason in the message, which comes from the hook.
        HOOK_BLOCKED: Block = "hook-blocked";
        /// A hook asks for the update to be made later.
        ///
        /// Do nothing. The hook is asked again.
        HOOK_DEFERRED: Defer = "hook-deferred";
        /// A hook could not be run, or was ended by a signal. It may be empty or not executable, or
        /// other users could change it.
        ///
        /// Repair the hook, or mask it with a link to `/dev/null`. In doubt, no update is made.
        HOOK_FAILED: Block = "hook-failed";
        /// A hook started an update, or asked the hooks itself.
        ///
        /// Do nothing. If that was not intended, repair the hook.
        HOOK_NESTED: Defer = "hook-nested";
        /// A hook did not answer in time.
        ///
        /// Repair the hook, or raise `policy.hooks.timeout`. `policy.hooks.on_timeout` decides
        /// whether the update is deferred or blocked.
        HOOK_TIMEOUT: Block | Defer = "hook-timeout";
        /// The program that the image brings as `pre-upgrade` is larger than 16 MiB.
        ///
        /// Publish an image with a smaller program.
        IMAGE_HOOK_TOO_LARGE: Block = "image-hook-too-large";
        /// The release has a rollout, but this host has another machine ID at each boot. Its place
        /// in the rollout cannot be determined, so it comes last.
        ///
        /// Let the initrd part keep the machine ID ([boot.md](boot.md#the-machine-id)), or set
        /// `policy.wariness`.
        MACHINE_ID_UNSTABLE: Defer = "machine-id-unstable";
        /// The image is for other hosts than this one.
        ///
        /// Follow an image for this host. `host.compatible` says what kind of host it is.
        NOT_COMPATIBLE: Block = "not-compatible";
        /// The policy document has expired. Either its publisher has not renewed it, or somebody
        /// keeps the new one from this host.
        ///
        /// Compare it with what was published. `flipside policy build --from FILE` renews it.
        POLICY_DOCUMENT_EXPIRED: Defer = "policy-document-expired";
        /// The policy document is about another tag. Or it does not say which tag it is about,
        /// although signatures are required.
        ///
        /// Push it with `flipside policy push` to the tag that it is about.
        POLICY_DOCUMENT_FOREIGN: Defer = "policy-document-foreign";
        /// There is no policy document, although `policy.document` requires one or there was one
        /// before.
        ///
        /// Push it again. `policy.document = "off"` does without one.
        POLICY_DOCUMENT_MISSING: Defer = "policy-document-missing";
        /// The issue date of the policy document is in the future.
        ///
        /// Check the clocks of this host and of the publisher.
        POLICY_DOCUMENT_NOT_YET_VALID: Defer = "policy-document-not-yet-valid";
        /// The policy document is older than the last one that this host saw.
        ///
        /// Look for a mirror that is behind. Otherwise somebody shows this host an old document.
        POLICY_DOCUMENT_REPLAYED: Defer = "policy-document-replayed";
        /// The policy document has no valid signature, although signatures are required.
        ///
        /// Sign it: `flipside image sign`.
        POLICY_DOCUMENT_UNSIGNED: Defer = "policy-document-unsigned";
        /// The policy document does not list the release that the tag names, or a release before
        /// it.
        ///
        /// Do nothing if the tag was pushed just before its document. Otherwise its publisher adds
        /// the release.
        RELEASE_NOT_LISTED: Defer = "release-not-listed";
        /// The path of an image leads through a release that is not between the running release and
        /// the target release, or that is beyond a barrier. Or a barrier was added while a release
        /// was being written.
        ///
        /// Find out who moved the tag that `org.flipside.via` names, and move it back.
        RELEASE_OUT_OF_RANGE: Block = "release-out-of-range";
        /// The release that this host could install was withdrawn.
        ///
        /// See the reason in the message. The next release is installed as usual.
        RELEASE_WITHDRAWN: Block = "release-withdrawn";
        /// The image cannot be installed from the running version, and it names no image to pass
        /// through.
        ///
        /// Publish the image with `org.flipside.via`, or install a version in between.
        REQUIRES_NEWER: Block = "requires-newer";
        /// The rollout of the release has not reached this host.
        ///
        /// Do nothing. The message says when it will.
        ROLLOUT_NOT_REACHED: Defer = "rollout-not-reached";
        /// There are signatures, but none of them is valid. Each is by another key, for another
        /// image or repository, of another kind, or malformed.
        ///
        /// See the reasons in the message. Sign the image with a key of this host. If it was signed
        /// under another name, set `policy.signature.identity`.
        SIGNATURE_INVALID: Block = "signature-invalid";
        /// A file in `/etc/flipside/keys` or `/usr/lib/flipside/keys` is not a public key that can
        /// be used. Its name does not end in `.pub`, it is damaged, or other users could change it.
        ///
        /// Correct the file or remove it. To mask it, link its name in `/etc` to `/dev/null`.
        SIGNATURE_KEY_UNUSABLE: Error = "signature-key-unusable";
        /// `policy.signature.mode` is `require`, but this host has no key.
        ///
        /// `flipside image key` makes a pair. Put the public key into `/etc/flipside/keys`.
        SIGNATURE_KEYS_MISSING: Error = "signature-keys-missing";
        /// Nobody signed the image, but this host requires a signature.
        ///
        /// Run `flipside image sign`, or push the signatures with the image.
        SIGNATURE_MISSING: Block = "signature-missing";
        /// The image is signed only by a bundle, which names no repository, and the image is of
        /// another product than this host.
        ///
        /// Follow the right tag. If os-release says something else, set `policy.signature.product`.
        SIGNATURE_PRODUCT: Block = "signature-product";
        /// Not every place that may have a signature answered.
        ///
        /// Check the registry. It is asked again.
        SIGNATURE_UNAVAILABLE: Defer = "signature-unavailable";
        /// The timer may install only in `update.windows`, and no window is open.
        ///
        /// Do nothing. The message names the next window. `flipside update` does not wait.
        UPDATE_WINDOW_CLOSED: Defer = "update-window-closed";
        /// Somebody paused automatic updates.
        ///
        /// Run `flipside unhold` to resume them. `flipside update` does not wait.
        UPDATES_HELD: Defer = "updates-held";
        /// The image's version is lower than the running version, or lower than
        /// `policy.min_version`.
        ///
        /// Publish a higher version. `update.allow_downgrade` allows a version lower than the
        /// running one, but never on the way to another image.
        VERSION_TOO_OLD: Block = "version-too-old";
        /// The images that `org.flipside.via` leads through lead back to one of them, or to the
        /// running one.
        ///
        /// Publish an image in between whose version is as high as `org.flipside.requires` asks.
        VIA_CIRCULAR: Block = "via-circular";
        /// `org.flipside.via` leads through more than 8 images.
        ///
        /// Publish an image that can be installed from an older version.
        VIA_TOO_LONG: Block = "via-too-long";
    }

    Firmware {
        /// Secure Boot is on, and the firmware would not start the image's `kernel.efi`. Neither who
        /// signed it nor its hash is in `db`, or one of them is in `dbx`. Nothing was changed. The
        /// message names who signed it, and what the firmware knows.
        ///
        /// Sign the boot file with a key whose certificate is in `db`, and publish the image again. Or
        /// enrol the certificate in the firmware ([boot.md](boot.md#secure-boot)).
        BOOT_FILE_UNTRUSTED: Block = "boot-file-untrusted";
        /// The firmware undid a promotion. The other slot was promoted last, but `BootOrder` does
        /// not put it first any more.
        ///
        /// Do nothing. That slot boots before the running one again from the next boot on. If it happens again,
        /// switch off the boot order lock in the firmware's setup.
        PROMOTION_LOST = "promotion-lost";
    }

    Reboot {
        /// The target's boot file is not a unified kernel image. The machine reboots through its
        /// firmware.
        ///
        /// Look for `.linux` in it with `objdump -h`, or do without kexec.
        KEXEC_NO_KERNEL: Error = "kexec-no-kernel";
        /// The running kernel does not load the new one, usually because Secure Boot or lockdown
        /// requires another signature. The machine reboots through its firmware.
        ///
        /// Check the kernel's log. Sign `.linux` itself, or do without kexec.
        KEXEC_REFUSED: Error = "kexec-refused";
        /// There is no logind that can be asked for a reboot. The system bus is missing, or
        /// flipside was built without D-Bus.
        ///
        /// Check `systemctl status dbus systemd-logind`. Reboot by hand.
        LOGIND_UNAVAILABLE: Error = "logind-unavailable";
        /// systemd, logind or the kernel refused the reboot. A trial that failed goes on until the
        /// reboot.
        ///
        /// See the answer in the message. Reboot by hand. After a failed trial, the other slot
        /// boots.
        REBOOT_FAILED: Error = "reboot-failed";
        /// Somebody blocks shutdowns. The message says who and why.
        ///
        /// Do nothing. flipside tries again after 15 minutes, but only inside a window.
        /// `systemd-inhibit --list` shows who blocks.
        REBOOT_INHIBITED: Defer = "reboot-inhibited";
    }
}

/// The tables of all crates. Without the features `publish` and `sim`, theirs are missing.
pub fn tables() -> Vec<Code> {
    [
        flipside_image::codes::TABLE,
        flipside_core::codes::TABLE,
        flipside_source::codes::TABLE,
        #[cfg(feature = "publish")]
        flipside_publish::codes::TABLE,
        #[cfg(feature = "sim")]
        flipside_sim::codes::TABLE,
        TABLE,
    ]
    .concat()
}

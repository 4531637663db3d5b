// SPDX-License-Identifier: MIT OR Apache-2.0

//! The codes of what can be wrong with a host and its slots.

pub(crate) use flipside_image::codes::shared::{
    PARTITION_IDENTITY_INVALID, PARTITION_UUID_DUPLICATE, PAYLOAD_EMPTY,
};

// Of this crate: rustc reports no unused constant that another crate's macro declares.
macro_rules! constant {
    ($(#[$doc:meta])+ $name:ident = $code:expr) => {
        $(#[$doc])+
        pub(crate) const $name: flipside_image::code::Code = $code;
    };
}

flipside_image::codes! {
    constant;

    Running {
        /// `/run/flipside/lock` cannot be created, is not a regular file, or is in a directory that
        /// other users can write to.
        ///
        /// Run the command as root. Run `chmod go-w /run/flipside`.
        LOCK_UNUSABLE: Error = "lock-unusable";
        /// Another flipside is running on this host. The message names its PID.
        ///
        /// Do nothing. `flipside status` shows what it does.
        pub LOCKED: Defer = "locked";
        /// `rollback` or `retry` was run on a machine that is not a flipside host.
        ///
        /// Check the partition labels and `host.slots`.
        NOT_A_HOST: Block = "not-a-host";
        /// The kernel gave no thread, no event queue, no signal handler, or no watch on the status
        /// file.
        ///
        /// Check the limits of the service (`TasksMax`, `LimitNOFILE`), and the sysctl settings
        /// `fs.inotify.max_user_instances` and `fs.inotify.max_user_watches`.
        pub RESOURCES_EXHAUSTED: Error = "resources-exhausted";
        /// SIGTERM, SIGINT or a shutdown ended the run.
        ///
        /// Do nothing. The next run continues where this one ended.
        pub STOPPED: Defer | Error = "stopped";
    }

    Image {
        /// The image has no payload `system`, no payload `kernel.efi`, or lacks a payload that
        /// `host.payloads` maps.
        ///
        /// Build the image with that payload.
        pub PAYLOAD_MISSING: Block | Error = "payload-missing";
    }

    Decision {
        /// The slot was armed before this boot, but the firmware did not follow `BootNext`. With
        /// `boot.backend = "systemd-boot"`, the firmware did not start systemd-boot.
        ///
        /// Boot the slot from the firmware's menu, or look for newer firmware. Set `boot.backend`
        /// to what boots this host ([boot.md](boot.md)).
        BOOTNEXT_IGNORED: Defer = "bootnext-ignored";
        /// `BootNext` names an entry that is not flipside's. Somebody else has reserved the next
        /// boot.
        ///
        /// Reboot, or clear it with `efibootmgr --delete-bootnext`.
        BOOTNEXT_TAKEN: Defer = "bootnext-taken";
        /// This image failed its trials on this host.
        ///
        /// Publish a better image. To have this one tried again, run `flipside retry DIGEST`.
        pub DIGEST_FAILED: Block = "digest-failed";
        /// A rollback left this image.
        ///
        /// Publish another image. To allow this one again, run `flipside retry DIGEST`.
        pub DIGEST_ROLLED_BACK: Block = "digest-rolled-back";
        /// An update is overwriting the slot that a rollback would return to.
        ///
        /// There is nothing to return to until the new version has booted successfully.
        ROLLBACK_OVERWRITTEN: Block = "rollback-overwritten";
        /// A rollback takes effect at the next reboot.
        ///
        /// Reboot.
        ROLLBACK_PENDING: Defer = "rollback-pending";
        /// The slot that a rollback would return to does not contain what was recorded.
        ///
        /// Install again. The next update writes that slot.
        SLOT_DAMAGED: Block = "slot-damaged";
        /// The slot that a rollback would return to is empty, or never booted successfully.
        ///
        /// There is nothing to return to.
        SLOT_NOT_PROVEN: Block = "slot-not-proven";
        /// The chunk hashes of the slot that a rollback would return to are not stored any more.
        ///
        /// Install again. The next update writes that slot.
        SLOT_UNVERIFIABLE: Block = "slot-unverifiable";
        /// The running system has not proved itself yet.
        ///
        /// Wait until the boot has succeeded, or find out what prevents it.
        TRIAL_RUNNING: Defer = "trial-running";
    }

    Disk {
        /// This machine, or an image, is neither x86_64 nor aarch64.
        ///
        /// Use another machine or image. flipside does not support UEFI on other architectures.
        pub ARCHITECTURE_UNKNOWN: Block | Error = "architecture-unknown";
        /// A slot, the partition table, or a disk that is being built could not be read, written,
        /// or made durable.
        ///
        /// See the reason in the message. Check the disk's health. If the disk is built in a file,
        /// make room.
        DISK_FAILED: Error = "disk-failed";
        /// Another program holds the disk's lock.
        ///
        /// Wait for that program: a partitioning tool, or udev.
        DISK_LOCKED: Error = "disk-locked";
        /// The host's directory contains no disk image with an ESP.
        ///
        /// Check `--root` and `host.disk`.
        DISK_MISSING: Error = "disk-missing";
        /// One copy of the partition table is damaged, or both are. flipside repairs neither.
        ///
        /// Run the command that the message names: it restores the damaged copy from the sound one
        /// (`sgdisk -e DISK`), or shows what is left (`sgdisk --verify DISK`).
        GPT_DAMAGED: Error = "gpt-damaged";
        /// The disk has no GUID partition table. On a host that flipside installed, both copies are
        /// gone.
        ///
        /// Check `host.disk`. If the table is lost, write it again with the partitions where they
        /// were.
        GPT_MISSING: Error = "gpt-missing";
        /// The partition table was changed after the kernel read it, or while it was edited.
        ///
        /// Run `partprobe DISK`, or reboot.
        GPT_STALE: Error = "gpt-stale";
        /// flipside and the `gpt` crate read a copy of the partition table differently. Nothing was
        /// written.
        ///
        /// Report it, with the first and the last 40 KiB of the disk. `sgdisk --verify DISK` is a
        /// third reader.
        GPT_UNCLEAR: Error = "gpt-unclear";
        /// A file or device of this machine gave an error.
        ///
        /// The message names the file and the reason.
        pub IO_FAILED: Error = "io-failed";
        /// Two partitions have the same label.
        ///
        /// Give one of them another label: `sgdisk --change-name`.
        LABEL_AMBIGUOUS: Error = "label-ambiguous";
        /// A slot, the partition table, a file on the ESP, or a disk that was built does not
        /// contain what was written to it.
        ///
        /// The disk is failing. Replace it.
        pub READ_BACK_MISMATCH: Error = "read-back-mismatch";
        /// The boot file of the running slot is missing, is no longer an EFI program, or is not
        /// what was installed. The other slot may be the only one that still boots, so it is not
        /// written. `flipside check` and `flipside status` report this before any hook runs.
        ///
        /// `flipside verify` shows the damage. If the other slot is proven, run `flipside rollback`
        /// and reboot. The next update then writes the damaged slot. Otherwise restore the boot
        /// file: `flipside image extract` takes `kernel.efi` out of the image.
        RUNNING_SLOT_DAMAGED: Block = "running-slot-damaged";
        /// Two facts name different slots.
        ///
        /// The message says which facts contradict each other. Usually a boot entry or a command
        /// line was made by hand.
        RUNNING_SLOT_UNCLEAR: Error = "running-slot-unclear";
        /// No fact names the running slot.
        ///
        /// Check `root=`, `/proc/self/mountinfo` and the loader's variables.
        RUNNING_SLOT_UNKNOWN: Error = "running-slot-unknown";
        /// No partition of the disk has the label of a slot. Upper and lower case count. The
        /// message names the nearest labels. If neither slot is found, it also says why this
        /// machine is a flipside host ([which machines are](install.md#which-machines-are-hosts)).
        ///
        /// Label the partition with `sgdisk --change-name`, or correct `host.disk`, `host.slots` or
        /// `host.payloads`.
        SLOT_MISSING: Error = "slot-missing";
        /// A payload has more bytes than its partition.
        ///
        /// Use larger partitions or a smaller image.
        pub SLOT_TOO_SMALL: Block | Error = "slot-too-small";
        /// Two slots are the same partition.
        ///
        /// Correct `host.slots` or `host.payloads`.
        SLOTS_IDENTICAL: Error = "slots-identical";
        /// The slot to be written, or the device on which a disk is to be built, is mounted or
        /// claimed by device mapper.
        ///
        /// Unmount it. Nothing else may use it.
        pub TARGET_IN_USE: Error = "target-in-use";
        /// The slot to be written is part of the running system.
        ///
        /// Report it. This is the last of several checks.
        TARGET_IS_RUNNING: Error = "target-is-running";
    }

    Esp {
        /// The image's `kernel.efi` is not an EFI application for this machine, or is cut short.
        /// Nothing was changed. As an error: the boot file was incomplete when it was to be
        /// finished.
        ///
        /// Build the image with a UKI for this machine as `kernel.efi`.
        pub BOOT_FILE_INVALID: Block | Error = "boot-file-invalid";
        /// Another disk or partition has the ESP's GUID, or there are several ESPs in a directory.
        ///
        /// Remove the clone, or give it another GUID: `sgdisk --partition-guid`.
        ESP_AMBIGUOUS: Error = "esp-ambiguous";
        /// The ESP's FAT is damaged, or was not cleanly unmounted.
        ///
        /// Unmount it, run `fsck.vfat -a`, and mount it again.
        pub ESP_DAMAGED: Error = "esp-damaged";
        /// The ESP has no room for a file, usually the other slot's boot file.
        ///
        /// Remove what other tools left there, or build a smaller UKI. flipside removes remnants of
        /// `fsck.vfat` (`FSCK0000.REC`) before it writes the first file, if it needs their room and
        /// that is enough.
        ESP_FULL: Error = "esp-full";
        /// The mounted ESP is not the one from which this system was booted.
        ///
        /// Mount that one, or set `host.esp`.
        ESP_MISMATCH: Error = "esp-mismatch";
        /// No ESP is mounted where flipside looks for it, on
        /// [a machine that is a flipside host](install.md#which-machines-are-hosts).
        ///
        /// Mount it at `/efi`, `/boot/efi` or `/boot`, or set `host.esp`.
        ESP_NOT_MOUNTED: Error = "esp-not-mounted";
        /// What is mounted as the ESP is not a partition of a disk.
        ///
        /// Put the ESP on a partition that the firmware sees.
        ESP_NOT_ON_DISK: Error = "esp-not-on-disk";
        /// The ESP is mounted read-only.
        ///
        /// Run `mount -o remount,rw`. The kernel makes a damaged FAT read-only.
        ESP_READ_ONLY: Error = "esp-read-only";
    }

    Firmware {
        /// The firmware, or systemd-boot, has no usable boot entry for a slot that needs one.
        ///
        /// Do nothing at first, since the next run makes the entry. If it is missing again, check
        /// whether the firmware deletes entries.
        BOOT_ENTRY_MISSING: Error = "boot-entry-missing";
        /// The machine was not booted by UEFI, the firmware has no variables at run time, or
        /// efivarfs is not mounted.
        ///
        /// Boot by UEFI. Mount efivarfs.
        EFI_VARIABLES_MISSING: Block = "efi-variables-missing";
        /// efivarfs is mounted read-only.
        ///
        /// Mount it for writing.
        EFI_VARIABLES_READ_ONLY: Block = "efi-variables-read-only";
        /// `boot.backend` is `systemd-boot`, but one of its entries is chosen whatever their order
        /// is. `default` or `preferred` in `loader/loader.conf` does that, or the variable
        /// `LoaderEntryDefault` or `LoaderEntryPreferred`.
        ///
        /// The message says which. Remove the line, or run `bootctl set-default ""` or
        /// `bootctl set-preferred ""`.
        LOADER_DEFAULT_SET: Block = "loader-default-set";
        /// `boot.backend` is `systemd-boot`, but the removable-media loader is missing or is
        /// another program.
        ///
        /// Install systemd-boot there, or set `boot.backend = "uefi"`.
        LOADER_NOT_SYSTEMD_BOOT: Block = "loader-not-systemd-boot";
        /// `boot.backend` is `systemd-boot`, but the loader is older than version 252.
        ///
        /// Install a newer one ([boot.md](boot.md)).
        LOADER_TOO_OLD: Block = "loader-too-old";
        /// NVRAM has no room for boot entries, or no number for one is free.
        ///
        /// Remove crash dumps (`dump-type0-*`) and other systems' entries:
        /// `efibootmgr -b NNNN -B`.
        NVRAM_FULL: Block | Error = "nvram-full";
        /// The firmware forgets its variables. It lost an armed trial `trial.attempts` times. Or it
        /// keeps them in a file on the ESP (`RTStorageVolatile`, `VarToFile`) that cannot be used.
        ///
        /// Set `boot.backend = "systemd-boot"`, which needs no variables, or repair the file
        /// ([boot.md](boot.md#variables-in-a-file-u-boot)). If trials were lost for another reason,
        /// `flipside retry DIGEST` allows one more try.
        NVRAM_NOT_KEPT: Block = "nvram-not-kept";
        /// A firmware variable cannot be read.
        ///
        /// See the reason in the message. Look for a firmware update.
        NVRAM_READ_FAILED: Error = "nvram-read-failed";
        /// A firmware variable cannot be written.
        ///
        /// See the reason in the message. Run the command as root.
        NVRAM_WRITE_FAILED: Error = "nvram-write-failed";
        /// The firmware accepted a value but did not keep it.
        ///
        /// Switch off the boot order lock in the firmware's setup.
        NVRAM_WRITE_LOST: Error = "nvram-write-lost";
    }

    State {
        /// The state directory has no room.
        ///
        /// Make room on the file system of `/var/lib/flipside`.
        STATE_FULL: Error = "state-full";
        /// The state directory is on a partition that updates write.
        ///
        /// Put `/var/lib/flipside` on another file system.
        STATE_INSIDE_SLOT: Error = "state-inside-slot";
        /// The state directory cannot be written.
        ///
        /// Mount its file system for writing. Run the command as root.
        STATE_UNWRITABLE: Error = "state-unwritable";
    }

    Reboot {
        /// A kernel that was loaded for kexec would start with a slot that is half written, and it
        /// cannot be unloaded. An update that systemd started may not unload it. No slot was
        /// written.
        ///
        /// Wait for the reboot for which the kernel was loaded. If that reboot was cancelled,
        /// `flipside-reboot-window.service` unloads the kernel after this run.
        KEXEC_LOADED: Defer = "kexec-loaded";
    }
}

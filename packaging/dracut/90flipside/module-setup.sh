#!/bin/bash
# SPDX-License-Identifier: MIT OR Apache-2.0
#
# Takes along what finds the booted slot's partitions, with their labels from the settings of the
# system that the initrd is for. Needs no firmware: images are built in containers.

check() {
    require_binaries od blkid flipside || return 1
    return 0
}

depends() {
    echo base fs-lib rootfs-block udev-rules
}

installkernel() {
    # Variables, the ESP with the character sets that a kernel may ask for, and the file systems of
    # read-only images and of data partitions.
    hostonly='' instmods efivarfs vfat nls_cp437 nls_iso8859-1 nls_ascii nls_utf8 erofs squashfs overlay
    hostonly='' instmods ext4 xfs btrfs f2fs
}

# shellcheck disable=SC2154
install() {
    local directory=/usr/lib/flipside

    inst_multiple od blkid mkdir mv rm mount umount modprobe udevadm readlink sleep
    inst_simple "$directory/initrd"
    inst_simple "$directory/slot.sh"
    # Settings that cannot be read end here: with other labels the initrd finds another root, or
    # none.
    if ! flipside --root "${dracutsysrootdir:-/}" labels >"$initdir$directory/labels"; then
        dfatal 'flipside: the labels of the slots cannot be told'
        exit 1
    fi
    inst_rules 62-flipside.rules

    # Before rootfs-block asks what root= is.
    inst_hook cmdline 20 "$moddir/parse-flipside.sh"
    inst_hook initqueue/settled 20 "$moddir/flipside-settle.sh"
    inst_hook pre-mount 05 "$moddir/flipside-check.sh"
    inst_hook pre-pivot 50 "$moddir/flipside-machine-id.sh"
    if dracut_module_included systemd; then
        inst_script "$moddir/flipside-generator.sh" "$systemdutildir/system-generators/flipside-generator"
    fi
    dracut_need_initqueue
}

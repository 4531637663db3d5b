#!/bin/sh
# SPDX-License-Identifier: MIT OR Apache-2.0
#
# Sourced before udev starts: which slot was booted; what root=flipside:PAYLOAD is; and that this
# boot ends in a reboot, not in a shell, where it finds no root: the firmware then boots the other
# slot, or this one again.

/usr/lib/flipside/initrd decide
if /usr/lib/flipside/initrd is-boot; then
    # Whatever the root stands on. Only who waits is asked again (flipside-settle.sh).
    wait_for_dev /dev/flipside/system
fi
if /usr/lib/flipside/initrd reboots; then
    # The kernel's command line comes after this, and may say otherwise.
    echo 'rd.shell=0 rd.emergency=reboot' >/etc/cmdline.d/90-flipside.conf
fi
case ${root-} in
flipside:*/*) ;;
flipside:?*)
    # rootfs-block, or systemd, takes it from here.
    root=block:/dev/flipside/${root#flipside:}
    # shellcheck disable=SC2034
    rootok=1
    ;;
esac

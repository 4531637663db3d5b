#!/bin/sh
# SPDX-License-Identifier: MIT OR Apache-2.0
#
# root=flipside:PAYLOAD for systemd in an initrd, which reads any other root= by itself; and
# emergency mode that reboots, as parse-flipside.sh has it for dracut's own.

# The early directory: systemd-fstab-generator writes a sysroot.mount for the same root= to the first.
into=${2:-$1}
set -f
root='' flags='' type='' access=
# shellcheck disable=SC2013
for word in $(cat /proc/cmdline); do
    case $word in
    root=*) root=${word#root=} ;;
    rootflags=*) flags=${word#rootflags=} ;;
    rootfstype=*) type=${word#rootfstype=} ;;
    ro | rw) access=$word ;;
    esac
done

case $root in
flipside:*[!0-9A-Za-z._-]*) ;;
flipside:?*)
    device=/dev/flipside/${root#flipside:}
    mkdir -p "$into/initrd-root-fs.target.requires"
    cat >"$into/sysroot.mount" <<UNIT
[Unit]
SourcePath=/proc/cmdline
Before=initrd-root-fs.target

[Mount]
What=$device
Where=/sysroot
${type:+Type=$type}
Options=${access:-ro}${flags:+,$flags}
UNIT
    ln -sf ../sysroot.mount "$into/initrd-root-fs.target.requires/sysroot.mount"
    ;;
esac

if /usr/lib/flipside/initrd reboots; then
    mkdir -p "$into/emergency.service.d"
    cat >"$into/emergency.service.d/90-flipside.conf" <<UNIT
[Service]
ExecStartPre=
ExecStart=
ExecStart=/bin/sh -c 'echo flipside: this boot failed, the next one follows >/dev/console; sleep 10; systemctl reboot --force'
UNIT
fi
exit 0

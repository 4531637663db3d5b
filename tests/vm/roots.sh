#!/bin/sh
# SPDX-License-Identifier: MIT OR Apache-2.0
#
# Which slot `flipside status` finds on roots of every kind, on a real kernel: put into an initrd of
# initramfs-tools in place of scripts/local-premount/flipside, with the modules below. Slot B was
# booted; both slots' systems are an EROFS with busybox, flipside, dmsetup, /images/root.erofs (the
# same without /images) and the directories that are mounted on; /verity.table is the line for
# dmsetup over vda3 and vda5. Prints `ROOT name`, then the status on one line, and ROOTS-END.

/usr/lib/flipside/initrd check
echo "CHECK $?"
modprobe -a erofs overlay dm_verity loop vfat nls_cp437 nls_ascii nls_iso8859-1
mkdir -p /low /new /low2 /top
mount -t erofs -o ro /dev/vda3 /low
scenario() {
    sleep 1
    name=$1
    echo "ROOT $name"
    unshare -m sh -c "mount --make-rprivate /; . /roots.sh.functions; $name" 2>&1 | tr -d '\n' | sed 's/  */ /g'
    echo
}
cat > /roots.sh.functions <<'F'
enter() {
    for d in proc sys dev; do mount --rbind /$d /new/$d; done
    [ -n "$has_run" ] || mount -t tmpfs tmpfs /new/run
    mount -t vfat -o ro /dev/vda1 /new/efi
    mount -t tmpfs tmpfs /new/var
    cd /new && mount --move . / && exec chroot . /usr/bin/flipside status --json
}
plain() { mount -t erofs -o ro /dev/vda3 /new; enter; }
over() { mkdir -p /run/rootfsbase; mount -t erofs -o ro /dev/vda3 /run/rootfsbase; mount -t tmpfs t /top; mkdir /top/u /top/w; mount -t overlay -o lowerdir=/run/rootfsbase,upperdir=/top/u,workdir=/top/w overlay /new; mount --rbind /run /new/run; has_run=y; enter; }
hidden() { mount -t tmpfs t /top; mkdir /top/u /top/w; mount -t erofs -o ro /dev/vda3 /new;  mount -t overlay -o lowerdir=/new,upperdir=/top/u,workdir=/top/w overlay /new; enter; }
volatile() { mount -t tmpfs t /new; for d in usr proc sys dev run efi var etc; do mkdir /new/$d; done; ln -s usr/lib /new/lib; ln -s usr/lib64 /new/lib64; ln -s usr/bin /new/bin; cp -r /low/etc/* /new/etc/; mount --bind /low/usr /new/usr; enter; }
loop() { losetup -r /dev/loop0 /low/images/root.erofs; mount -t erofs -o ro /dev/loop0 /new; mount -t tmpfs t /new/run; mkdir /new/run/medium; mount --move /low /new/run/medium; has_run=y; enter; }
F
for s in plain over hidden volatile loop; do scenario $s; done
losetup -d /dev/loop0
umount /low
chroot_dm() { mount -t erofs -o ro /dev/vda2 /low2; mount --rbind /dev /low2/dev; mount --rbind /proc /low2/proc; mount --rbind /sys /low2/sys;  mkdir -p /dev/mapper; chroot /low2 /usr/sbin/dmsetup --noudevsync create root --readonly --table "$(cat /verity.table)"; }
chroot_dm
cat >> /roots.sh.functions <<'F'
verity() { mount -t erofs -o ro /dev/dm-0 /new; enter; }
F
scenario verity
echo ROOTS-END
poweroff -f

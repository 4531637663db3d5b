// SPDX-License-Identifier: MIT OR Apache-2.0

//! Others who write the same payload from the same server to the same kind of slot: a person with
//! pipes, RAUC, SWUpdate. None of them reads back what it wrote.

use std::path::Path;

use crate::bed::{Bed, Image};
use crate::measure::{Command, Contestant};
use crate::medium::Slot;

/// Pipes, with a program that makes the SHA-256.
pub fn by_hand<'a>(
    name: &'a str,
    bed: &Bed,
    image: &Image,
    slot: &'a Slot,
    hash: &str,
) -> Contestant<'a> {
    let (url, target) = (bed.url(&image.layer), slot.path().display());
    // A slot keeps its size; on a block device `notrunc` means nothing.
    let command = Command::shell(&format!(
        "curl -fsS {url} | tee >({hash} >&2) | zstd -dc | dd of={target} bs=1M \
         conv=fsync,notrunc status=none"
    ));
    contestant(name, slot, command)
}

/// RAUC with a plain bundle, its service on a bus of its own.
pub fn rauc<'a>(bed: &Bed, payload: &Path, slot: &'a Slot) -> Result<Contestant<'a>, String> {
    let directory = prepare(bed, "rauc", "rauc --version && mksquashfs -version", payload)?;
    let make = "
        mkdir bundle mount && ln $payload bundle/system.img && touch booted
        printf '[update]\\ncompatible=bench\\nversion=2\\n\\n[image.system]\\nfilename=system.img\\n' \
            >bundle/manifest.raucm
        openssl req -x509 -newkey rsa:2048 -nodes -keyout key -out cert -subj /CN=bench -days 36500
        rauc --cert=cert --key=key --mksquashfs-args='-comp zstd -Xcompression-level 3 -b 1M' \
            bundle bundle new.raucb
        rm -r bundle
        cat >system.conf <<END
[system]
compatible=bench
bootloader=noop
activate-installed=false
bundle-formats=plain
max-bundle-download-size=4294967296
mountprefix=$PWD/mount
statusfile=$PWD/status
[keyring]
path=$PWD/cert
use-bundle-signing-time=true
[slot.system.0]
device=$PWD/booted
type=raw
bootname=A
[slot.system.1]
device=$slot
type=raw
bootname=B
END
        cat >install <<'END'
rauc -c system.conf --override-boot-slot=A service & service=$!
until gdbus introspect --session -d de.pengutronix.rauc -o / >/dev/null 2>&1; do
    sleep 0.01
done
rauc install $1 && kill $service && wait $service
END";
    run_in(&directory, payload, slot, make)?;
    let url = upload(bed, &directory.join("new.raucb"))?;
    // Bundles are told by their names.
    let url = format!("{url}?file=new.raucb");
    let install = format!(
        "cd {}; timeout 300 dbus-run-session -- env DBUS_STARTER_BUS_TYPE=session \
             bash install '{url}'",
        directory.display()
    );
    tried("RAUC 1.8, plain bundle", slot, Command::shell(&install))
}

/// `SWUpdate`, which streams a compressed image into the slot.
pub fn swupdate<'a>(bed: &Bed, payload: &Path, slot: &'a Slot) -> Result<Contestant<'a>, String> {
    let directory = prepare(bed, "swupdate", "swupdate --version && cpio --version", payload)?;
    let make = "
        zstd -q -3 $payload -o system.zst
        openssl req -x509 -newkey rsa:2048 -nodes -keyout key -out cert -subj /CN=bench \
            -days 36500 -addext extendedKeyUsage=emailProtection
        cat >sw-description <<END
software = {
  version = \"2\";
  hardware-compatibility = [ \"#RE:.*\" ];
  images: ({
    filename = \"system.zst\"; type = \"raw\"; compressed = \"zstd\"; device = \"$slot\";
    installed-directly = true; sha256 = \"$(sha256sum <system.zst | cut -c -64)\";
  });
}
END
        openssl cms -sign -in sw-description -out sw-description.sig -signer cert -inkey key \
            -outform DER -nosmimecap -binary
        printf '%s\\n' sw-description sw-description.sig system.zst | cpio -o -H crc >new.swu
        rm system.zst";
    run_in(&directory, payload, slot, make)?;
    let url = upload(bed, &directory.join("new.swu"))?;
    let certificate = directory.join("cert");
    let install = format!("swupdate -l 1 -k {} -H bench:1 -d '-u {url}'", certificate.display());
    tried("SWUpdate 2022.12", slot, Command::shell(&install))
}

/// An empty directory, if the programs are there.
fn prepare(
    bed: &Bed,
    name: &str,
    probe: &str,
    payload: &Path,
) -> Result<std::path::PathBuf, String> {
    Command::shell(probe).try_output().map_err(|_| "it is not installed".to_owned())?;
    let directory = bed.directory.join(name);
    let _ = std::fs::remove_dir_all(&directory);
    std::fs::create_dir_all(&directory).unwrap();
    match payload.exists() {
        true => Ok(directory),
        false => Err(format!("{} is gone", payload.display())),
    }
}

fn run_in(directory: &Path, payload: &Path, slot: &Slot, script: &str) -> Result<(), String> {
    let (directory, payload, slot) =
        (directory.display(), payload.display(), slot.path().display());
    let script = format!("set -e; cd {directory}; payload={payload} slot={slot}\n{script}");
    Command::shell(&script).try_output().map(|_| ())
}

/// Puts it into the registry, and removes it here.
fn upload(bed: &Bed, file: &Path) -> Result<String, String> {
    let url = bed.upload(file)?;
    std::fs::remove_file(file).unwrap();
    Ok(url)
}

/// A contestant, if it works.
fn tried<'a>(name: &'a str, slot: &'a Slot, command: Command) -> Result<Contestant<'a>, String> {
    command.try_output()?;
    Ok(contestant(name, slot, command))
}

fn contestant<'a>(name: &'a str, slot: &'a Slot, command: Command) -> Contestant<'a> {
    Contestant::new(name, move || {
        slot.spoil();
        command.measure()
    })
}

// SPDX-License-Identifier: MIT OR Apache-2.0

//! Two Debian root file systems a month or more apart: version 1 as the release was last published,
//! version 2 with all updates since. DESIGN.md, section 9.

use std::path::{Path, PathBuf};

use crate::measure::Command;

const SUITE: &str = "bookworm";
const PACKAGES: &str = "systemd,systemd-sysv,dbus,udev,linux-image-cloud-amd64,python3,\
    openssh-server,podman,crun,curl,git,vim,nginx-light,postgresql-client,zstd,efibootmgr,polkitd";
/// What both images have, so that only their content tells them apart.
const UUID: &str = "5b0c1f6e-7d2a-4c7e-9a53-0f1d2c3b4a59";
/// When everything in them was changed last.
const EPOCH: u32 = 1_700_000_000;
/// One kind of image, of both versions.
#[derive(Debug, Clone)]
pub struct Pair {
    pub name: &'static str,
    pub old: PathBuf,
    pub new: PathBuf,
}

/// The kinds that are measured. What /boot, /var, /run and /tmp hold is in the boot file already, or is
/// the machine's own.
const KINDS: [(&str, &str); 3] = [
    ("uncompressed", "--exclude-regex='^(boot|var|run|tmp)/.'"),
    ("lz4hc", "-zlz4hc --exclude-regex='^(boot|var|run|tmp)/.'"),
    ("uncompressed, with /boot", ""),
];

/// The pairs, uncompressed first. What an earlier run made is used again.
pub fn debian(directory: &Path) -> Result<Vec<Pair>, String> {
    let directory = directory.join("pair");
    std::fs::create_dir_all(&directory).unwrap();
    let file = |kind: usize, version: u32| directory.join(format!("{version}-{kind}.img"));
    let pairs: Vec<Pair> = KINDS
        .iter()
        .enumerate()
        .map(|(kind, (name, _))| Pair { name, old: file(kind, 1), new: file(kind, 2) })
        .collect();
    if pairs.iter().all(|pair| pair.old.exists() && pair.new.exists()) {
        return Ok(pairs);
    }
    if !nix::unistd::geteuid().is_root() {
        return Err("only root can unpack a root file system".to_owned());
    }
    let sources = sources()?;
    for (version, suites) in [(1, &[""][..]), (2, &["", "-updates", "-security"])] {
        let is_one = |source: &&(String, String)| {
            suites.iter().any(|suite| source.1 == format!("{SUITE}{suite}"))
        };
        let lines: String = sources
            .iter()
            .filter(is_one)
            .map(|(mirror, suite)| format!(" 'deb {mirror} {suite} main'"))
            .collect();
        make(&directory, version, &lines)?;
    }
    Ok(pairs)
}

/// The mirrors and suites that this machine's apt uses.
fn sources() -> Result<Vec<(String, String)>, String> {
    let format = "$(REPO_URI) $(CODENAME) $(COMPONENT)";
    let listed = Command::new(
        "apt-get",
        ["indextargets", "--format", format, "Identifier: Packages", "Component: main"],
    );
    let text = listed.try_output()?;
    let sources: Vec<(String, String)> = text
        .lines()
        .filter_map(|line| {
            let mut words = line.split(' ').map(str::to_owned);
            Some((words.next()?, words.next()?))
        })
        .filter(|(_, suite)| suite.starts_with(SUITE))
        .collect();
    match sources.iter().any(|(_, suite)| suite == SUITE) {
        true => Ok(sources),
        false => Err(format!("this machine's apt has no source for {SUITE}")),
    }
}

/// Makes the images of one version.
fn make(directory: &Path, version: u32, lines: &str) -> Result<(), String> {
    let (archive, tree) = (format!("{version}.tar"), format!("{version}.tree"));
    let images: String = KINDS
        .iter()
        .enumerate()
        .map(|(kind, (_, options))| {
            format!(
                "mkfs.erofs --quiet -T0 -U{UUID} {options} new.img {tree}
                 mv new.img {version}-{kind}.img\n"
            )
        })
        .collect();
    let clear = r#"rm -rf "$1"/var/cache/apt/* "$1"/var/lib/apt/lists/*"#;
    // As an archive first: mmdebstrap may leave mounts in a directory.
    let script = format!(
        "set -e; cd {directory}; export SOURCE_DATE_EPOCH={EPOCH}; rm -rf {tree}
         [ -e {archive} ] || {{
             mmdebstrap --quiet --variant=minbase --include={packages} --customize-hook='{clear}' \
                 {SUITE} new.tar {lines}
             mv new.tar {archive}
         }}
         mkdir {tree}; tar -C {tree} -xpf {archive} --exclude='./dev/*'
         {images}
         rm -rf {tree} {archive}",
        directory = directory.display(),
        packages = PACKAGES.replace(char::is_whitespace, ""),
    );
    Command::shell(&script).try_output().map(|_| ())
}

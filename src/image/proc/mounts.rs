// SPDX-License-Identifier: MIT OR Apache-2.0

//! What is mounted where: `/proc/self/mountinfo` (proc_pid_mountinfo(5)).

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};

use super::DeviceNumber;

/// One mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// Its number.
    pub id: u64,
    /// The number of the mount it is mounted on.
    pub parent: u64,
    /// The file system's device, anonymous for btrfs, overlay and the like.
    pub device: DeviceNumber,
    /// Which directory of the file system is mounted; `/` for all of it.
    pub root: PathBuf,
    /// Where.
    pub point: PathBuf,
    /// `vfat`, `ext4`, ...
    pub kind: String,
    /// What was mounted, as told: often a device node.
    pub source: PathBuf,
    /// Whether this mount was asked to be read-only.
    pub is_read_only: bool,
    /// Whether the file system is, which errors may make it too.
    pub is_file_system_read_only: bool,
    /// The file system's own options, still escaped.
    pub options: Vec<Vec<u8>>,
}

impl Mount {
    /// Whether the file system itself has its files in memory.
    pub fn is_in_memory(&self) -> bool {
        matches!(self.kind.as_str(), "tmpfs" | "ramfs")
    }

    /// The paths in an option such as `lowerdir=/a:/b`, unescaped.
    pub fn paths_of(&self, option: &str) -> Vec<PathBuf> {
        let mut paths = Vec::new();
        for set in &self.options {
            let Some(value) = set.strip_prefix(option.as_bytes()) else { continue };
            // Kernels since 6.8 may show each lower directory as `lowerdir+=`.
            let Some(value) = value.strip_prefix(b"=").or_else(|| value.strip_prefix(b"+=")) else {
                continue;
            };
            paths.extend(split_paths(&unescape(value)));
        }
        paths
    }
}

/// overlayfs puts colons between paths and a backslash before a colon in one.
fn split_paths(value: &[u8]) -> Vec<PathBuf> {
    let mut paths = vec![Vec::new()];
    let mut bytes = value.iter().copied();
    while let Some(byte) = bytes.next() {
        let byte = match byte {
            b':' => {
                paths.push(Vec::new());
                continue;
            }
            b'\\' => match bytes.next() {
                Some(escaped) => escaped,
                None => break,
            },
            other => other,
        };
        if let Some(path) = paths.last_mut() {
            path.push(byte);
        }
    }
    paths.into_iter().filter(|path| !path.is_empty()).map(path_of).collect()
}

/// Every mount that this process sees.
#[derive(Debug, Clone, Default)]
pub struct Mounts(Vec<Mount>);

impl Mounts {
    /// Reads the file's text. Lines that are of another form are passed over.
    pub fn parse(text: &[u8]) -> Self {
        Self(text.split(|byte| *byte == b'\n').filter_map(parse_line).collect())
    }

    /// Every mount, in the file's order.
    pub fn all(&self) -> &[Mount] {
        &self.0
    }

    /// What is mounted and seen at `point`, an absolute path without symbolic links.
    pub fn at(&self, point: &Path) -> Option<&Mount> {
        self.holding(point).filter(|mount| mount.point == point)
    }

    /// The mount that holds `path`, an absolute path without symbolic links. Followed from
    /// the root on, as the kernel does: a mount that another one hides holds nothing.
    pub fn holding(&self, path: &Path) -> Option<&Mount> {
        self.follow(path, None)
    }

    /// The mount that held `path` before `cover` was mounted, and what is mounted on that.
    pub fn holding_below(&self, path: &Path, cover: &Mount) -> Option<&Mount> {
        self.follow(path, Some(cover.id)).filter(|mount| mount.id != cover.id)
    }

    fn follow(&self, path: &Path, without: Option<u64>) -> Option<&Mount> {
        let root = Path::new("/");
        let is_below_another = |mount: &Mount| {
            self.0.iter().any(|o| o.id == mount.parent && o.id != mount.id && o.point == root)
        };
        let bottom = self.0.iter().find(|mount| mount.point == root && !is_below_another(mount));
        let mut points: Vec<&Path> = path.ancestors().collect();
        points.reverse();
        points.into_iter().fold(bottom, |found, point| self.topmost(found?, point, without))
    }

    /// The last of what is mounted at `point` on `mount`, one over the other.
    fn topmost<'a>(
        &'a self,
        mount: &'a Mount,
        point: &Path,
        without: Option<u64>,
    ) -> Option<&'a Mount> {
        let over = |below: &Mount| {
            self.0.iter().rfind(|m| {
                m.point == point
                    && m.parent == below.id
                    && m.id != below.id
                    && Some(m.id) != without
            })
        };
        // No more steps than mounts, whatever the numbers say.
        std::iter::successors(Some(mount), |below| over(below)).take(self.0.len() + 1).last()
    }
}

fn parse_line(line: &[u8]) -> Option<Mount> {
    let mut fields = line.split(|byte| *byte == b' ');
    let mut next = || fields.next();
    let id = number(next()?)?;
    let parent = number(next()?)?;
    let device = std::str::from_utf8(next()?).ok()?.parse().ok()?;
    let root = path_of(unescape(next()?));
    let point = path_of(unescape(next()?));
    let is_read_only = has_option(next()?, b"ro");
    // Optional fields, then a lone hyphen.
    fields.find(|field| *field == b"-")?;
    let kind = String::from_utf8_lossy(fields.next()?).into_owned();
    let source = path_of(unescape(fields.next()?));
    let options = fields.next().unwrap_or_default();
    Some(Mount {
        id,
        parent,
        device,
        root,
        point,
        kind,
        source,
        is_read_only,
        is_file_system_read_only: has_option(options, b"ro"),
        options: options.split(|byte| *byte == b',').map(<[u8]>::to_vec).collect(),
    })
}

fn number(text: &[u8]) -> Option<u64> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

fn path_of(bytes: Vec<u8>) -> PathBuf {
    PathBuf::from(OsString::from_vec(bytes))
}

/// Whole options are compared: `ro` is no part of `errors=remount-ro`.
fn has_option(options: &[u8], wanted: &[u8]) -> bool {
    options.split(|byte| *byte == b',').any(|option| option == wanted)
}

/// The kernel writes space, tab, line feed and backslash as `\` and three octal digits.
fn unescape(text: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((first, after)) = rest.split_first() {
        let escaped = match (first, after) {
            (b'\\', [a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', after @ ..]) => {
                Some((((a - b'0') << 6) | ((b - b'0') << 3) | (c - b'0'), after))
            }
            _ => None,
        };
        let (byte, after) = escaped.unwrap_or((*first, after));
        plain.push(byte);
        rest = after;
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn mounts(text: &str) -> Mounts {
        Mounts::parse(text.as_bytes())
    }

    #[test]
    fn lines_with_and_without_optional_fields_are_read() {
        let mounts = mounts(
            "25 1 259:2 / / rw,relatime shared:1 - ext4 /dev/nvme0n1p2 rw,errors=remount-ro\n\
             40 25 259:1 / /efi rw - vfat /dev/nvme0n1p1 ro,fmask=0022,errors=remount-ro\n\
             41 25 0:31 / /a\\040b\\134 rw master:1 propagate_from:2 - tmpfs tmpfs rw\n",
        );
        let root = mounts.at(Path::new("/")).unwrap();
        assert_eq!(root.device.to_string(), "259:2");
        assert_eq!((root.is_read_only, root.is_file_system_read_only), (false, false));
        let esp = mounts.at(Path::new("/efi")).unwrap();
        assert_eq!((esp.kind.as_str(), esp.source.to_str()), ("vfat", Some("/dev/nvme0n1p1")));
        assert_eq!((esp.is_read_only, esp.is_file_system_read_only), (false, true));
        assert_eq!(mounts.at(Path::new("/a b\\")).unwrap().kind, "tmpfs");
        assert_eq!(mounts.at(Path::new("/nowhere")), None);
    }

    #[test]
    fn the_topmost_mount_counts() {
        let mounts = mounts(
            "1 1 0:2 / / rw - rootfs rootfs rw\n\
             25 1 259:2 / / rw - ext4 /dev/vda2 rw\n\
             41 39 259:1 / /efi rw - vfat /dev/vda1 rw\n\
             39 25 0:30 / /efi rw - autofs systemd-1 rw,fd=52\n",
        );
        assert_eq!(mounts.at(Path::new("/efi")).unwrap().id, 41);
        assert_eq!(mounts.at(Path::new("/")).unwrap().id, 25);
    }

    #[test]
    fn a_mount_that_another_hides_is_not_seen() {
        let mounts = mounts(
            "25 1 259:2 / / rw - ext4 /dev/vda2 rw\n\
             30 25 259:1 / /boot/efi rw - vfat /dev/vda1 rw\n\
             31 25 259:3 / /boot rw - ext4 /dev/vda3 rw\n",
        );
        assert_eq!(mounts.at(Path::new("/boot/efi")), None);
        assert_eq!(mounts.holding(Path::new("/boot/efi/EFI")).unwrap().id, 31);
    }

    #[test]
    fn numbers_in_a_circle_end() {
        let mounts = mounts(
            "1 3 0:2 / / rw - x x rw\n2 1 0:2 / / rw - x x rw\n3 2 0:2 / / rw - x x rw\n\
             9 9 0:2 / / rw - x x rw\n10 9 0:2 / /a rw - x x rw\n11 10 0:2 / /a rw - x x rw\n\
             10 11 0:2 / /a rw - x x rw\n",
        );
        assert!(mounts.at(Path::new("/a")).is_some());
    }

    #[test]
    fn the_deepest_mount_holds_a_path() {
        let mounts = mounts(
            "25 1 259:2 / / rw - ext4 /dev/vda2 rw\n\
             50 25 259:4 / /var rw - ext4 /dev/vda4 rw\n\
             51 25 259:5 / /var-old rw - ext4 /dev/vda5 rw\n",
        );
        for (path, id) in
            [("/var/lib/flipside", 50), ("/var", 50), ("/variable", 25), ("/var-old/x", 51)]
        {
            assert_eq!(mounts.holding(Path::new(path)).unwrap().id, id, "{path}");
        }
    }

    #[test]
    fn the_directories_of_an_overlay_are_found() {
        let mounts = mounts(
            "25 1 0:40 / / rw - overlay overlay rw,lowerdir=/ro:/a\\134:b:/c\\040d,upperdir=/rw/up\n\
             26 25 0:41 / /x rw - overlay overlay rw,lowerdir+=/one,lowerdir+=/two\n",
        );
        let root = mounts.at(Path::new("/")).unwrap();
        assert_eq!(root.paths_of("lowerdir"), ["/ro", "/a:b", "/c d"].map(PathBuf::from));
        assert_eq!(root.paths_of("upperdir"), [PathBuf::from("/rw/up")]);
        assert_eq!(root.paths_of("workdir"), Vec::<PathBuf>::new());
        let newer = mounts.at(Path::new("/x")).unwrap();
        assert_eq!(newer.paths_of("lowerdir"), ["/one", "/two"].map(PathBuf::from));
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(text in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = Mounts::parse(&text).at(Path::new("/"));
        }

        #[test]
        fn escaping_as_the_kernel_does_is_undone(path in proptest::collection::vec(any::<u8>(), 0..60)) {
            let mut escaped = Vec::new();
            for byte in &path {
                match byte {
                    b' ' | b'\t' | b'\n' | b'\\' => escaped.extend(format!("\\{byte:03o}").bytes()),
                    other => escaped.push(*other),
                }
            }
            prop_assert_eq!(unescape(&escaped), path);
        }
    }
}

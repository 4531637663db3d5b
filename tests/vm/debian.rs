// SPDX-License-Identifier: MIT OR Apache-2.0

//! The Debian system that the guests run: made once, flipside installed into it, and varied from
//! version to version.

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};

use anyhow::{Context as _, Result, anyhow};
use flipside_image::Digest;

use crate::lab::Lab;
use crate::os_image::OsImage;
use crate::uki::{self, Parts};
use crate::{flipside_files, programs};

/// What every version's kernel is told, besides its root. A panic ends in a reboot: the firmware's
/// turn. The check of the timer fails now and then where the processor is emulated and the machine busy.
const COMMAND_LINE: &str = "ro console=ttyS0 quiet panic=5 no_timer_check";
const ROOT: &str = "/dev/flipside/system";
/// What is in the running system only, or on the data partition.
const LEFT_OUT: &str = "^(var|boot|dev|proc|sys|run|tmp)/.*";

/// The system, and the versions made of it.
pub struct Debian {
    /// Without flipside.
    base: PathBuf,
    /// With flipside installed.
    tree: PathBuf,
    /// Files that a version may ask for, once one has: podman, and dracut.
    podman: PathBuf,
    dracut: PathBuf,
    /// flipside's part for dracut, a package.
    dracut_part: PathBuf,
    images: PathBuf,
    packages: Vec<PathBuf>,
    built: Mutex<HashMap<String, Arc<OsImage>>>,
}

/// How a version differs from the others.
#[derive(Debug, Clone)]
pub struct Recipe {
    version: String,
    /// What stands there; nothing where it is taken away.
    files: Vec<(String, Option<String>)>,
    /// In place of the kernel itself.
    kernel: Option<String>,
    is_without_flipside: bool,
    has_podman: bool,
    /// Made by dracut without these of its modules, in place of initramfs-tools.
    dracut: Option<String>,
    /// In place of the root that it has.
    root: Option<String>,
    /// The program that it brings to be asked before it is installed.
    hook: Option<String>,
    /// What its manifest says besides, `KEY=VALUE` in each line.
    annotations: String,
}

impl Recipe {
    /// One that is as it should be.
    pub fn new(version: &str) -> Self {
        Self {
            version: version.to_owned(),
            files: Vec::new(),
            kernel: None,
            is_without_flipside: false,
            has_podman: false,
            dracut: None,
            root: None,
            hook: None,
            annotations: String::new(),
        }
    }

    /// With an initrd made by dracut without these of its modules.
    pub fn dracut(mut self, omitted: &str) -> Self {
        self.dracut = Some(omitted.to_owned());
        self
    }

    /// With another `root=` on its command line.
    pub fn root(mut self, root: &str) -> Self {
        self.root = Some(root.to_owned());
        self
    }

    /// With podman.
    pub fn with_podman(mut self) -> Self {
        self.has_podman = true;
        self
    }

    /// With an annotation of its manifest.
    pub fn annotation(mut self, annotation: &str) -> Self {
        self.annotations.push_str(&format!("{annotation}\n"));
        self
    }

    /// With this as the image's own hook.
    pub fn hook(mut self, script: &str) -> Self {
        self.hook = Some(script.to_owned());
        self
    }

    /// Without the packages; what they put into the initrd is there.
    pub fn without_flipside(mut self) -> Self {
        self.is_without_flipside = true;
        self
    }

    /// With this file; `-> TARGET` makes a symbolic link.
    pub fn file(mut self, path: &str, content: &str) -> Self {
        self.files.push((path.to_owned(), Some(content.to_owned())));
        self
    }

    /// Without this file.
    pub fn without(mut self, path: &str) -> Self {
        self.files.push((path.to_owned(), None));
        self
    }

    /// With a unit that `wanted_by` starts.
    pub fn unit(self, name: &str, content: &str, wanted_by: &str) -> Self {
        let path = format!("etc/systemd/system/{name}");
        let link = format!("etc/systemd/system/{wanted_by}.wants/{name}");
        self.file(&path, content).file(&link, &format!("-> /{path}"))
    }

    /// With this where the kernel should be.
    pub fn kernel(mut self, bytes: &str) -> Self {
        self.kernel = Some(bytes.to_owned());
        self
    }
}

impl Debian {
    /// The system in `directory`, made anew where what it is made of has changed.
    ///
    /// # Errors
    /// Those of the programs that make it.
    pub fn new(directory: &Path, target: &Path) -> Result<Self> {
        let packages = flipside_files::packages(target)?;
        let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vm");
        let source = here.join("debian");
        let base_key = hash_of(&[source.join("make"), source.join("files")], "")?;
        let base = directory.join(format!("debian-{base_key}"));
        let host_key = hash_of(&packages, &base_key)?;
        let tree = directory.join(format!("host-{host_key}"));
        let fetched = |name: &str| -> Result<PathBuf> {
            let key = hash_of(&[source.join(name)], "")?;
            Ok(directory.join(format!("{name}-{key}")))
        };
        let (podman, dracut) = (fetched("podman")?, fetched("dracut")?);
        let dracut_part = flipside_files::dracut_part(target)?;
        // How images are made is in this very program, and in what it takes from here.
        let this = std::env::current_exe()?;
        let images_key = hash_of(&[here.join("minimal"), this, dracut_part.clone()], &host_key)?;
        let images = directory.join(format!("images-{images_key}"));
        remove_others(directory, &[&base, &tree, &podman, &dracut, &images])?;
        if !base.exists() {
            println!("vm: making a Debian system, a few minutes");
            make(&base, |new| programs::run(Command::new(source.join("make")).arg(new)))?;
        }
        if !tree.exists() {
            println!("vm: installing flipside into it");
            make(&tree, |new| {
                programs::copy_tree(&base, new)?;
                flipside_files::install(&packages, new)?;
                // What the package manager made is not on a host that was made from an image.
                remove_tree(&new.join("var/lib/systemd/catalog"))?;
                let mut initrd = Command::new("chroot");
                programs::run(initrd.arg(new).args(["update-initramfs", "-c", "-k", "all"]))
            })?;
        }
        fs::create_dir_all(&images)?;
        let built = Mutex::default();
        Ok(Self { base, tree, podman, dracut, dracut_part, images, packages, built })
    }

    /// What a new host has in `/var`.
    pub fn var(&self) -> PathBuf {
        self.tree.join("var")
    }

    /// flipside's packages, which are in it.
    pub fn packages(&self) -> &[PathBuf] {
        &self.packages
    }

    /// The whole system before flipside is installed.
    pub fn base(&self) -> &Path {
        &self.base
    }

    /// The whole system, as it is installed.
    pub fn tree(&self) -> &Path {
        &self.tree
    }

    /// A file `prefix…` of its `/boot`: the kernel, the initrd.
    ///
    /// # Errors
    /// There is none.
    pub fn boot(&self, prefix: &str) -> Result<PathBuf> {
        for entry in fs::read_dir(self.tree.join("boot"))? {
            let entry = entry?;
            if entry.file_name().to_string_lossy().starts_with(prefix) {
                return Ok(entry.path());
            }
        }
        Err(anyhow!("there is no {prefix} in {}", self.tree.display()))
    }

    /// The version that `recipe` describes.
    ///
    /// # Errors
    /// Those of the programs that make it.
    pub fn version(&self, lab: &Lab, recipe: &Recipe) -> Result<Arc<OsImage>> {
        let key = short_hash(format!("{recipe:?}").as_bytes());
        self.keep(lab, &key, &recipe.version, |new| self.make_version(new, recipe))
    }

    /// The image that is kept as `key`, or is made there: `payloads` makes its directory and
    /// what [`OsImage::build`] asks for.
    ///
    /// # Errors
    /// Those of the programs that make it.
    pub fn keep(
        &self,
        lab: &Lab,
        key: &str,
        version: &str,
        payloads: impl FnOnce(&Path) -> Result<()>,
    ) -> Result<Arc<OsImage>> {
        // Held while one is made: two at a time would not be done earlier.
        let mut built = self.built.lock().map_err(|_| anyhow!("a version could not be made"))?;
        if let Some(image) = built.get(key) {
            return Ok(image.clone());
        }
        let directory = self.images.join(key);
        if !directory.exists() {
            make(&directory, |new| {
                payloads(new)?;
                OsImage::build(lab, new)
            })
            .with_context(|| format!("cannot make version {version}"))?;
        }
        let image = Arc::new(OsImage::open(&directory, version)?);
        built.insert(key.to_owned(), image.clone());
        Ok(image)
    }

    fn make_version(&self, directory: &Path, recipe: &Recipe) -> Result<()> {
        fs::create_dir(directory)?;
        let tree = directory.join("tree");
        let from = if recipe.is_without_flipside { &self.base } else { &self.tree };
        programs::link_tree(from, &tree)?;
        let os_release = format!(
            "ID=vm-os\nNAME=\"VM OS\"\nVERSION_ID={0}\nPRETTY_NAME=\"VM OS {0}\"\n",
            recipe.version
        );
        put(&tree, "usr/lib/os-release", &os_release)?;
        for (path, content) in &recipe.files {
            match content {
                Some(content) => put(&tree, path, content)?,
                None => fs::remove_file(tree.join(path)).with_context(|| path.clone())?,
            }
        }
        if recipe.has_podman {
            lay(&self.podman, &tree)?;
        }
        if let Some(hook) = &recipe.hook {
            fs::write(directory.join("pre-upgrade"), hook)?;
        }
        fs::write(directory.join("annotations"), &recipe.annotations)?;
        fs::write(directory.join("os-release"), os_release)?;
        let system = directory.join("system.img");
        let mut pack = Command::new("mkfs.erofs");
        pack.args(["--quiet", "-zlz4", "-T0"]).arg(format!("--exclude-regex={LEFT_OUT}"));
        programs::run(pack.arg(&system).arg(&tree))?;
        remove_tree(&tree)?;

        let kernel = match &recipe.kernel {
            None => self.boot("vmlinuz")?,
            Some(bytes) => {
                let path = directory.join("kernel");
                fs::write(&path, bytes)?;
                path
            }
        };
        let parts = Parts {
            os_release: &directory.join("os-release"),
            command_line: &format!(
                "root={} {COMMAND_LINE}",
                recipe.root.as_deref().unwrap_or(ROOT)
            ),
            kernel: &kernel,
            initrd: &match &recipe.dracut {
                None => self.boot("initrd.img")?,
                Some(omitted) => self.initrd_by_dracut(directory, omitted)?,
            },
        };
        uki::build(&parts, &directory.join("kernel.efi"))
    }

    fn initrd_by_dracut(&self, directory: &Path, omitted: &str) -> Result<PathBuf> {
        let tree = directory.join("tree");
        programs::link_tree(&self.tree, &tree)?;
        lay(&self.dracut, &tree)?;
        let part = "dpkg-deb --fsys-tarfile \"$0\" | tar -x --keep-directory-symlink -C \"$1\"";
        let mut unpack = Command::new("sh");
        programs::run(unpack.args(["-c", part]).arg(&self.dracut_part).arg(&tree))?;
        let version = programs::output(Command::new("ls").arg(tree.join("usr/lib/modules")))?;
        let mut dracut = Command::new("chroot");
        dracut.arg(&tree).args(["dracut", "--quiet", "--no-hostonly", "--zstd", "--force"]);
        dracut.args(["--omit", omitted, "--kver", version.trim(), "/boot/initrd-by-dracut"]);
        programs::run(&mut dracut)?;
        let initrd = directory.join("initrd");
        fs::copy(tree.join("boot/initrd-by-dracut"), &initrd)?;
        remove_tree(&tree)?;
        Ok(initrd)
    }
}

/// Lays what the script of the name that `files` begins with fetches over `tree`; what both have stays
/// the tree's.
fn lay(files: &Path, tree: &Path) -> Result<()> {
    if !files.exists() {
        let name = files.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let name = name.split('-').next().unwrap_or_default();
        println!("vm: fetching {name}");
        let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vm/debian");
        make(files, |new| programs::run(Command::new(scripts.join(name)).arg(new)))?;
    }
    let lay = "tar -c . | tar -x --skip-old-files -C \"$0\"";
    programs::run(Command::new("sh").args(["-c", lay]).arg(tree).current_dir(files))
}

/// Puts a file into a tree that shares its files with another one.
fn put(tree: &Path, path: &str, content: &str) -> Result<()> {
    let path = tree.join(path.trim_start_matches('/'));
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory)?;
    }
    if path.symlink_metadata().is_ok() {
        fs::remove_file(&path)?;
    }
    if let Some(target) = content.strip_prefix("-> ") {
        return Ok(std::os::unix::fs::symlink(target, path)?);
    }
    fs::write(&path, content)?;
    let mode = if content.starts_with("#!") { 0o755 } else { 0o644 };
    Ok(fs::set_permissions(&path, fs::Permissions::from_mode(mode))?)
}

/// Makes `path` whole or not at all.
fn make(path: &Path, how: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    let new = path.with_extension("new");
    remove_tree(&new)?;
    how(&new)?;
    Ok(fs::rename(&new, path)?)
}

/// Removes a tree, and nothing that may be mounted in it.
fn remove_tree(path: &Path) -> Result<()> {
    programs::run(Command::new("rm").args(["-rf", "--one-file-system"]).arg(path))
}

/// What former runs have left and this one cannot use.
fn remove_others(directory: &Path, wanted: &[&Path]) -> Result<()> {
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let is_ours = ["debian-", "host-", "podman-", "dracut-", "images-"]
            .iter()
            .any(|p| name.starts_with(p));
        if is_ours && !wanted.contains(&path.as_path()) {
            remove_tree(&path)?;
        }
    }
    Ok(())
}

/// Names and contents of files and trees, and a word besides.
fn hash_of(paths: &[PathBuf], word: &str) -> Result<String> {
    let mut pending: Vec<PathBuf> = paths.to_vec();
    let mut seen = format!("{word}\n");
    pending.sort();
    while let Some(path) = pending.pop() {
        let kind = path.symlink_metadata().with_context(|| path.display().to_string())?;
        let inside = path.file_name().unwrap_or_default().to_string_lossy();
        if kind.is_dir() {
            let mut entries: Vec<PathBuf> =
                fs::read_dir(&path)?.map(|e| Ok(e?.path())).collect::<std::io::Result<_>>()?;
            entries.sort();
            pending.extend(entries);
        } else if kind.is_symlink() {
            seen.push_str(&format!("{inside} -> {}\n", fs::read_link(&path)?.display()));
        } else {
            seen.push_str(&format!("{inside} {}\n", short_hash(&fs::read(&path)?)));
        }
    }
    Ok(short_hash(seen.as_bytes()))
}

fn short_hash(bytes: &[u8]) -> String {
    Digest::of(bytes).hex().chars().take(16).collect()
}

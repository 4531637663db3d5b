// SPDX-License-Identifier: MIT OR Apache-2.0

use super::*;
use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};

fn host() -> (tempfile::TempDir, Root) {
    let directory = tempfile::tempdir().unwrap();
    let root = Root::new(directory.path());
    fs::create_dir_all(root.path("/run/flipside")).unwrap();
    for path in ["/", "/run", "/run/flipside"] {
        fs::set_permissions(root.path(path), Permissions::from_mode(0o755)).unwrap();
    }
    (directory, root)
}

fn put_lock(root: &Root, mode: u32) -> File {
    let path = root.path(LOCK);
    fs::write(&path, "").unwrap();
    fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
    File::open(path).unwrap()
}

fn mode(root: &Root) -> u32 {
    fs::metadata(root.path(LOCK)).unwrap().mode() & 0o7777
}

#[test]
fn a_second_lock_is_refused_until_the_first_is_gone() {
    let (_directory, root) = host();
    let first = Lock::take(&root).unwrap();
    let own = Some(std::process::id());
    assert!(matches!(Lock::take(&root), Err(Error::Locked { holder }) if holder == own));
    let stop = Cancel::new();
    let impatient = Lock::wait(&root, Duration::ZERO, &stop);
    assert!(matches!(impatient, Err(Error::Locked { .. })));
    let patient = std::thread::spawn({
        let root = root.clone();
        move || Lock::wait(&root, Duration::from_secs(60), &stop).is_ok()
    });
    drop(first);
    assert!(patient.join().unwrap());
    Lock::take(&root).unwrap();
}

#[test]
fn the_lock_file_is_its_owners_alone_and_an_old_one_is_replaced() {
    let (_directory, root) = host();
    drop(Lock::take(&root).unwrap());
    assert_eq!(mode(&root), 0o600);
    for loose in [0o644, 0o640, 0o666, 0o604] {
        let before = put_lock(&root, loose);
        let lock = Lock::take(&root).unwrap();
        assert_eq!(mode(&root), 0o600);
        // Whoever opened it before cannot keep anybody out, and is kept out himself meanwhile.
        assert!(before.try_lock().is_err());
        assert!(matches!(Lock::take(&root), Err(Error::Locked { .. })));
        drop(lock);
        before.lock().unwrap();
        drop(Lock::take(&root).unwrap());
        assert!(!root.path("/run/flipside/lock.new").exists());
    }
}

#[test]
fn a_loose_lock_that_an_older_flipside_holds_stays_held() {
    let (_directory, root) = host();
    let older = put_lock(&root, 0o644);
    older.lock().unwrap();
    let own = Some(std::process::id());
    assert!(matches!(Lock::take(&root), Err(Error::Locked { holder }) if holder == own));
    assert_eq!(mode(&root), 0o644);
    drop(older);
    Lock::take(&root).unwrap();
}

/// `flock` as another user, until its stdin ends. Only root becomes another user.
fn held_by_another_user(root: &Root) -> Option<Child> {
    if !nix::unistd::geteuid().is_root() {
        println!("skipped: only root can become another user");
        return None;
    }
    let mut command = Command::new("flock");
    command.arg("--nonblock").arg(root.path(LOCK)).args(["sh", "-c", "echo held; read x"]);
    command.uid(65534).gid(65534).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut said = [0; 5];
    io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut said).unwrap();
    assert_eq!(&said, b"held\n");
    Some(child)
}

#[test]
fn a_lock_that_another_user_holds_keeps_nobody_out() {
    let (_directory, root) = host();
    put_lock(&root, 0o644);
    let Some(mut other) = held_by_another_user(&root) else { return };
    let lock = Lock::take(&root).unwrap();
    assert_eq!(mode(&root), 0o600);
    assert!(matches!(Lock::take(&root), Err(Error::Locked { .. })));
    drop(lock);
    Lock::take(&root).unwrap();
    drop(other.stdin.take());
    other.wait().unwrap();
}

/// Many at once find a loose file, and never do two of them hold the lock.
#[test]
fn of_many_that_replace_a_loose_lock_one_holds_it() {
    use std::sync::atomic::{AtomicUsize, Ordering};
    let (_directory, root) = host();
    let (inside, entered) = (AtomicUsize::new(0), AtomicUsize::new(0));
    for _ in 0..50 {
        put_lock(&root, 0o644);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let stop = Cancel::new();
                    let lock = Lock::wait(&root, Duration::from_secs(60), &stop).unwrap();
                    assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0);
                    entered.fetch_add(1, Ordering::SeqCst);
                    assert_eq!(inside.fetch_sub(1, Ordering::SeqCst), 1);
                    drop(lock);
                });
            }
        });
    }
    assert_eq!(entered.load(Ordering::SeqCst), 200);
}

#[test]
fn a_directory_that_others_can_write_is_refused() {
    let (_directory, root) = host();
    let directory = root.path("/run/flipside");
    for loose in [0o777, 0o775, 0o1777] {
        fs::set_permissions(&directory, Permissions::from_mode(loose)).unwrap();
        let error = Lock::take(&root).unwrap_err();
        assert!(matches!(error, Error::LockPlace { .. }), "{error}");
        assert!(error.to_string().contains("chmod go-w"), "{error}");
    }
    fs::set_permissions(&directory, Permissions::from_mode(0o755)).unwrap();
    Lock::take(&root).unwrap();
}

#[test]
fn what_is_no_file_is_no_lock_and_holds_nobody_up() {
    let (_directory, root) = host();
    let path = root.path(LOCK);
    symlink("elsewhere", &path).unwrap();
    assert!(matches!(Lock::take(&root), Err(Error::LockFile { .. })));
    assert!(!root.path("/run/flipside/elsewhere").exists());
    fs::remove_file(&path).unwrap();
    let made = Command::new("mkfifo").arg(&path).status().unwrap();
    assert!(made.success());
    assert!(matches!(Lock::take(&root), Err(Error::LockPlace { .. })));
}

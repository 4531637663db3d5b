// SPDX-License-Identifier: MIT OR Apache-2.0

//! A hook of hooks/examples, run for a host in a directory.

use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// All of them.
pub fn examples() -> Vec<PathBuf> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("hooks/examples");
    let mut found: Vec<_> =
        std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    found.sort();
    assert!(found.len() >= 9);
    found
}

/// One, its host, and the programs that it finds besides the shell's.
pub struct Example {
    name: &'static str,
    path: PathBuf,
    directory: tempfile::TempDir,
    variables: Vec<(&'static str, String)>,
}

impl Example {
    pub fn new(name: &str) -> Self {
        let is = |path: &&PathBuf| path.file_name().is_some_and(|file| file == name);
        let path = examples().iter().find(is).unwrap().clone();
        let name = Box::leak(name.to_owned().into_boxed_str());
        let directory = tempfile::tempdir().unwrap();
        for place in ["bin", "root", "busybox"] {
            std::fs::create_dir(directory.path().join(place)).unwrap();
        }
        Self { name, path, directory, variables: Vec::new() }
    }

    pub fn is_executable(&self) -> bool {
        std::fs::metadata(&self.path).unwrap().permissions().mode() & 0o111 == 0o111
    }

    /// Puts a file below the host's root.
    pub fn file(self, path: &str, text: &str) -> Self {
        put(&self.directory.path().join("root").join(path), text);
        self
    }

    /// Its settings; empty text is no file.
    pub fn settings(self, text: &str) -> Self {
        if text.is_empty() {
            return self;
        }
        let path = format!("etc/flipside/hooks/{}.conf", self.name);
        self.file(&path, text)
    }

    pub fn variable(mut self, name: &'static str, value: &str) -> Self {
        self.variables.push((name, value.to_owned()));
        self
    }

    /// Lets it find the machine's `program`, also where it otherwise has busybox only.
    pub fn with(self, program: &str) -> Self {
        let path = std::env::var_os("PATH").unwrap();
        let mut places = std::env::split_paths(&path).map(|directory| directory.join(program));
        let found = places.find(|path| path.exists()).unwrap();
        symlink(found, self.directory.path().join("bin").join(program)).unwrap();
        self
    }

    /// Lets it find `script` as `program`.
    pub fn program(self, program: &str, script: &str) -> Self {
        let path = self.directory.path().join("bin").join(program);
        put(&path, &format!("#!/bin/sh\n{script}\n"));
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        self
    }

    /// Expects this exit status and last line of stdout, from every shell.
    #[track_caller]
    pub fn says(&self, status: i32, said: &str) {
        assert_eq!(self.last_line_with(status), said);
    }

    /// Expects this exit status and the same last line from every shell, which it returns.
    #[track_caller]
    pub fn last_line_with(&self, status: i32) -> String {
        let [by_dash, by_busybox] = self.last_lines_with(status);
        assert_eq!(by_dash, by_busybox);
        by_dash
    }

    /// The last line from each shell, where it need not be the same.
    #[track_caller]
    pub fn last_lines_with(&self, status: i32) -> [String; 2] {
        [self.by_dash(), self.by_busybox()].map(|output| {
            assert_eq!(output.status.code(), Some(status), "{}: {output:?}", self.name);
            let text = String::from_utf8(output.stdout).unwrap();
            text.lines().last().unwrap_or_default().to_owned()
        })
    }

    fn by_dash(&self) -> Output {
        let path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
        self.run(Command::new("/bin/dash").arg(&self.path), path)
    }

    fn by_busybox(&self) -> Output {
        let applets = self.directory.path().join("busybox");
        if std::fs::read_dir(&applets).unwrap().next().is_none() {
            let status = Command::new("busybox").args(["--install", "-s"]).arg(&applets).status();
            assert!(status.unwrap().success());
        }
        self.run(Command::new("busybox").arg("sh").arg(&self.path), applets.to_str().unwrap())
    }

    fn run(&self, command: &mut Command, path: &str) -> Output {
        let root = self.directory.path().join("root");
        let own = self.directory.path().join("bin");
        let busybox = std::env::var("PATH").unwrap();
        // The machine's busybox is found before PATH is the example's.
        let program = command.get_program().to_owned();
        let arguments: Vec<_> = command.get_args().map(ToOwned::to_owned).collect();
        let found = std::env::split_paths(&busybox)
            .map(|directory| directory.join(&program))
            .find(|path| path.exists())
            .unwrap();
        Command::new(found)
            .args(arguments)
            .env_clear()
            .env("PATH", format!("{}:{path}", own.display()))
            .env("LANG", "C.UTF-8")
            .env("FLIPSIDE_ROOT", &root)
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .current_dir(&root)
            .output()
            .unwrap()
    }
}

fn put(path: &Path, text: &str) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}

// SPDX-License-Identifier: MIT OR Apache-2.0

//! A real registry: Debian's `docker-registry` on a free loopback port, with its
//! storage in a temporary directory, ended with this value.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, Weak, mpsc};
use std::time::Duration;

use flipside_core::cancel::Cancel;
use flipside_core::host::Root;
use flipside_core::progress::Silent;
use flipside_image::Digest;
use flipside_publish::push::push;
use flipside_source::{Location, Options, Reference, Source, Timing, open};

const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures");

/// Who may use a registry with [`Registry::start_with_password`].
pub const USER: &str = "flipside";
/// With this.
pub const PASSWORD: &str = "correct horse";
/// `htpasswd -Bbn -C 4 flipside 'correct horse'`.
const HTPASSWD: &str = "flipside:$2b$04$abcdefghijklmnopqrstuujydOTSfIH/d5oUHpsygqV5X9xJLQc6e\n";

/// A running registry.
pub struct Registry {
    child: Child,
    address: String,
    /// Storage, config, and the root for credentials.
    directory: tempfile::TempDir,
    /// What was pushed last to each name: the layout's index, and the image. docker-registry writes its
    /// files in place: who asks for a tag that is pushed again is answered 500, and who pushes the same
    /// blobs to the same repository `MANIFEST_BLOB_UNKNOWN`.
    pushed: Mutex<BTreeMap<String, (Digest, Digest)>>,
}

impl Registry {
    /// One that tests which run at the same time share; the last one ends it. For tests that
    /// push under names of their own, or what others push as well.
    pub fn shared() -> Arc<Self> {
        static SHARED: Mutex<Weak<Registry>> = Mutex::new(Weak::new());
        let mut shared = SHARED.lock().unwrap();
        shared.upgrade().unwrap_or_else(|| {
            let registry = Arc::new(Self::start());
            *shared = Arc::downgrade(&registry);
            registry
        })
    }

    /// Anybody may pull and push.
    pub fn start() -> Self {
        Self::with(None, "", "")
    }

    /// The same content, behind TLS with this certificate and key, in PEM.
    #[allow(dead_code)] // For the benchmarks.
    pub fn behind_tls(&self, chain: &str, key: &str) -> Self {
        let at = |name: &str| self.directory.path().join(name).display().to_string();
        std::fs::write(at("chain.pem"), chain).unwrap();
        std::fs::write(at("key.pem"), key).unwrap();
        let tls =
            format!(", tls: {{certificate: {:?}, key: {:?}}}", at("chain.pem"), at("key.pem"));
        Self::with(Some(&at("storage")), &tls, "")
    }

    /// Basic authentication; [`Registry::options`] holds the credentials.
    pub fn start_with_password() -> Self {
        let registry = Self::with(None, "", "auth: {htpasswd: {realm: test, path: HTPASSWD}}\n");
        let auth = login_file(&registry.address, USER, PASSWORD);
        std::fs::write(registry.directory.path().join("auth.json"), auth).unwrap();
        registry
    }

    fn with(storage: Option<&str>, http: &str, more: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name).display().to_string();
        std::fs::write(at("htpasswd"), HTPASSWD).unwrap();
        let config = format!(
            "version: 0.1\nlog: {{level: info, accesslog: {{disabled: true}}}}\n\
             storage: {{filesystem: {{rootdirectory: {:?}}}, delete: {{enabled: true}}}}\n\
             http: {{addr: \"127.0.0.1:0\", secret: test{http}}}\n{}",
            storage.map_or_else(|| at("storage"), str::to_owned),
            more.replace("HTPASSWD", &format!("{:?}", at("htpasswd"))),
        );
        std::fs::write(at("config.yml"), config).unwrap();
        let spawned = Command::new("docker-registry")
            .args(["serve", &at("config.yml")])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn();
        let mut child = spawned.unwrap_or_else(|error| {
            panic!(
                "cannot start docker-registry ({error}): \
                 install it with `apt-get install docker-registry`, as `make test` does"
            )
        });
        let log = BufReader::new(child.stderr.take().unwrap());
        let (sender, receiver) = mpsc::channel();
        std::thread::spawn(move || {
            for line in log.lines().map_while(Result::ok) {
                // The kernel chose the port; the registry says which.
                if let Some((_, rest)) = line.split_once("listening on ") {
                    let address = rest.split(['"', ',']).next().unwrap_or_default();
                    let _ = sender.send(address.to_owned());
                } else if line.contains("level=fatal") {
                    eprintln!("docker-registry: {line}");
                }
            }
        });
        let address = receiver
            .recv_timeout(Duration::from_secs(120))
            .expect("docker-registry says on which port it listens");
        Self { child, address, directory, pushed: Mutex::default() }
    }

    /// `127.0.0.1:PORT`.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The reference for `repository:tag` here.
    pub fn reference(&self, name: &str) -> Reference {
        format!("{}/{name}", self.address).parse().unwrap()
    }

    /// What `track.image` and the command line take.
    pub fn image(&self, name: &str) -> String {
        format!("{}/{name}", self.address)
    }

    /// Options with short waits, and with this registry's credentials where it asks for some.
    pub fn options(&self) -> Options {
        let mut options = options(self.directory.path());
        if self.directory.path().join("auth.json").exists() {
            options.auth_file = Some("/auth.json".into());
        }
        options
    }

    /// Pushes the only image of an OCI layout directory to `repository:tag`, one push after the other.
    /// What is there already is not pushed again.
    pub fn push(&self, layout: &Path, name: &str) -> Digest {
        let index = Digest::of(&std::fs::read(layout.join("index.json")).unwrap());
        let mut pushed = self.pushed.lock().unwrap();
        match pushed.get(name) {
            Some((last, image)) if *last == index => *image,
            _ => {
                let (reference, options) = (self.reference(name), self.options());
                let image = push(layout, None, &reference, &options, &Silent).unwrap();
                pushed.insert(name.to_owned(), (index, image));
                image
            }
        }
    }

    /// The source for `repository:tag`.
    pub fn source(&self, name: &str) -> Box<dyn Source> {
        open(&Location::Registry(self.reference(name)), &self.options()).unwrap()
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Options below `root` with waits of milliseconds.
pub fn options(root: &Path) -> Options {
    let mut options = Options::new(Root::new(root), Cancel::new());
    options.timing = Timing {
        connect: Duration::from_secs(5),
        stall: Duration::from_secs(5),
        answer: Duration::from_secs(5),
        total: Duration::from_secs(60),
        tries: 4,
        base: Duration::from_millis(2),
        cap: Duration::from_millis(20),
        rate_window: Duration::from_secs(5),
        retry_after: Duration::from_secs(5),
    };
    options
}

/// The content of an `auth.json` with one user.
pub fn login_file(host: &str, user: &str, password: &str) -> String {
    use base64::Engine;
    let auth = base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"));
    format!(r#"{{"auths":{{"{host}":{{"auth":"{auth}"}}}}}}"#)
}

/// One of the images in `tests/fixtures`.
pub fn fixture(name: &str) -> std::path::PathBuf {
    Path::new(FIXTURES).join(name)
}

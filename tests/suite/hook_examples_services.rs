// SPDX-License-Identifier: MIT OR Apache-2.0

//! The examples that ask services: logind, systemd, NetworkManager, a Kubernetes cluster.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::process::Command;
use std::sync::{Arc, Mutex};

use crate::support::example::Example;

/// What loginctl of systemd 252 prints: a person at the console, one over ssh, a display
/// manager's greeter, and the service manager of a user.
const LOGINCTL: &str = r#"case $* in
'list-sessions --no-legend')
    printf '%s\n' '      1    0 root  seat0 tty1' '     c1  115 gdm   seat0 tty2' '      7 1000 ada         ' ;;
'show-session 1 -p Name -p Class -p State') printf 'Name=root\nState=closing\nClass=user\n' ;;
'show-session c1 -p Name -p Class -p State') printf 'Name=gdm\nState=online\nClass=greeter\n' ;;
'show-session 7 -p Name -p Class -p State') ADA ;;
*) exit 1 ;;
esac"#;

fn loginctl(ada: &str) -> String {
    LOGINCTL.replace("ADA", ada)
}

#[test]
fn nobody_logged_in_counts_people_and_not_greeters() {
    let new = || Example::new("nobody-logged-in").file("run/systemd/system/x", "");
    let active = r"printf 'Name=ada\nState=active\nClass=user\n'";
    let early = r"printf 'Name=ada\nState=online\nClass=user-early\n'";
    let manager = r"printf 'Name=ada\nState=active\nClass=manager\n'";
    let gone = "exit 1";
    for (ada, settings, status, said) in [
        (active, "", 75, "ada is logged in"),
        (early, "", 75, "ada is logged in"),
        (active, "IGNORE='kiosk ada'", 0, ""),
        (manager, "", 0, ""),
        (gone, "", 0, ""),
    ] {
        new().program("loginctl", &loginctl(ada)).settings(settings).says(status, said);
    }
    new().program("loginctl", "exit 0").says(0, "");
    new().program("loginctl", "exit 1").says(75, "cannot find out who is logged in");
    // Without systemd, what utmp says.
    let without = || Example::new("nobody-logged-in").program("loginctl", "exit 1");
    without()
        .program("who", "echo 'ada      pts/0        2026-11-21 15:00 (::1)'")
        .says(75, "ada is logged in");
    without().program("who", "exit 0").says(0, "");
}

#[test]
fn unit_inactive_takes_a_oneshot_service_at_work_for_active() {
    let systemctl = r#"case $2 in
        backup.service) echo activating; exit 3 ;;
        web.service) echo active ;;
        broken.service) echo failed; exit 3 ;;
        idle.service) echo inactive; exit 3 ;;
        gone.service) echo unknown; exit 4 ;;
        *) exit 1 ;;
        esac"#;
    for (units, status, said) in [
        ("", 0, ""),
        ("idle.service broken.service gone.service", 0, ""),
        ("idle.service backup.service", 75, "backup.service is activating"),
        ("web.service", 75, "web.service is active"),
        ("x.service", 75, "systemd does not say whether x.service is active"),
    ] {
        Example::new("unit-inactive")
            .program("systemctl", systemctl)
            .settings(&format!("UNITS='{units}'"))
            .says(status, said);
    }
}

/// By the machine's own busctl, and NetworkManager played.
#[cfg(feature = "dbus")]
#[test]
fn metered_asks_network_manager() {
    use crate::support::bus::Bus;

    struct NetworkManager(u32);
    #[zbus::interface(name = "org.freedesktop.NetworkManager")]
    impl NetworkManager {
        #[zbus(property)]
        fn metered(&self) -> u32 {
            self.0
        }
    }
    if Command::new("busctl").arg("--version").output().is_err() {
        println!("skipped: busctl is not there");
        return;
    }
    let (yes, maybe) =
        ("the network connection is metered", "the network connection seems to be metered");
    let unknown = "it is not known whether the network connection is metered";
    let name = "org.freedesktop.NetworkManager";
    for (metered, settings, status, said) in [
        (Some(1), "", 75, yes),
        (Some(2), "", 0, ""),
        (Some(3), "", 75, maybe),
        (Some(3), "GUESS=allow", 0, maybe),
        (Some(4), "", 0, ""),
        (Some(0), "", 0, unknown),
        (Some(0), "UNKNOWN=defer", 75, unknown),
        (None, "", 0, unknown),
        (None, "UNKNOWN=defer", 75, unknown),
    ] {
        let bus = Bus::start();
        let _served = metered
            .map(|value| bus.serve(name, "/org/freedesktop/NetworkManager", NetworkManager(value)));
        Example::new("metered")
            .with("busctl")
            .settings(settings)
            .variable("DBUS_SYSTEM_BUS_ADDRESS", bus.address())
            .says(status, said);
    }
}

/// What an API server answers about node n1 and its pods.
struct Cluster {
    unschedulable: bool,
    /// Name, phase, kind of the owner, whether it is static.
    pods: Vec<[&'static str; 4]>,
}

impl Cluster {
    fn node(&self) -> serde_json::Value {
        let mut node = serde_json::json!({
            "kind": "Node", "apiVersion": "v1", "metadata": {"name": "n1"}, "spec": {},
        });
        if self.unschedulable {
            node["spec"]["unschedulable"] = true.into();
        }
        node
    }

    fn pods(&self) -> serde_json::Value {
        let pod = |[name, phase, owner, mirror]: &[&str; 4]| {
            let mut metadata = serde_json::json!({"namespace": "default", "name": name});
            if !owner.is_empty() {
                let owner = serde_json::json!({"kind": owner, "name": "x", "controller": true});
                metadata["ownerReferences"] = serde_json::json!([owner]);
            }
            if !mirror.is_empty() {
                metadata["annotations"] =
                    serde_json::json!({"kubernetes.io/config.mirror": mirror});
            }
            serde_json::json!({"metadata": metadata, "spec": {"nodeName": "n1"}, "status": {"phase": phase}})
        };
        let items: Vec<_> = self.pods.iter().map(pod).collect();
        serde_json::json!({"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": items})
    }
}

/// A played API server: its address, and the paths that it was asked for.
fn serve(cluster: Cluster) -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let asked = Arc::new(Mutex::new(Vec::new()));
    let paths = asked.clone();
    // It ends with the test's process.
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
            let first = lines.next().and_then(Result::ok).unwrap_or_default();
            while lines.next().is_some_and(|line| line.is_ok_and(|line| !line.is_empty())) {}
            let path = first.split(' ').nth(1).unwrap_or_default().to_owned();
            let body = match path.split('?').next().unwrap_or_default() {
                "/api" => serde_json::json!({"kind": "APIVersions", "versions": ["v1"]}),
                "/apis" => {
                    serde_json::json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": []})
                }
                "/api/v1" => serde_json::json!({
                    "kind": "APIResourceList", "groupVersion": "v1", "resources": [
                        {"name": "nodes", "singularName": "node", "namespaced": false, "kind": "Node", "verbs": ["get", "list"]},
                        {"name": "pods", "singularName": "pod", "namespaced": true, "kind": "Pod", "verbs": ["get", "list"]},
                    ],
                }),
                "/api/v1/nodes/n1" => cluster.node(),
                "/api/v1/pods" => cluster.pods(),
                _ => {
                    serde_json::json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "NotFound", "code": 404})
                }
            };
            let status = if body["code"] == 404 { "404 Not Found" } else { "200 OK" };
            paths.lock().unwrap().push(path);
            let body = body.to_string();
            let _ = write!(
                stream,
                "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\
                 Connection: close\r\n\r\n{body}",
                body.len(),
            );
        }
    });
    (address, asked)
}

/// By the machine's own kubectl where it has one.
#[test]
fn kubernetes_drained_wants_a_node_that_takes_no_pods_and_has_none() {
    if Command::new("kubectl").arg("--help").output().is_err() {
        println!("skipped: kubectl is not there");
        return;
    }
    let (daemon, static_pod) =
        (["log", "Running", "DaemonSet", ""], ["api", "Running", "Node", "x"]);
    let mirror = ["old", "Running", "", "x"];
    let done = ["job", "Succeeded", "Job", ""];
    let left = ["web", "Running", "ReplicaSet", ""];
    let alone = ["alone", "Pending", "", ""];
    let two = "node n1 is not drained: 2 pods are left, such as default/web";
    for (unschedulable, pods, status, said) in [
        (true, vec![], 0, ""),
        (true, vec![daemon, static_pod, mirror, done], 0, ""),
        (false, vec![daemon], 75, "node n1 is not drained: it takes new pods"),
        (true, vec![daemon, left, alone], 75, two),
        (true, vec![alone], 75, "node n1 is not drained: 1 pods are left, such as default/alone"),
    ] {
        let (server, asked) = serve(Cluster { unschedulable, pods });
        kubernetes(&server).with("kubectl").says(status, said);
        let asked = asked.lock().unwrap().join("\n");
        assert_eq!(
            asked.contains("/api/v1/pods?fieldSelector=spec.nodeName%3Dn1"),
            unschedulable,
            "{asked}"
        );
    }
    let unsaid = "the cluster does not say whether node n1 is drained";
    kubernetes("http://127.0.0.1:9").with("kubectl").says(75, unsaid);
}

/// The same with kubectl played, on every machine.
#[test]
fn kubernetes_drained_reads_what_kubectl_prints() {
    let kubectl = |takes: &str, pods: &str| {
        format!(
            "case \"$*\" in *' node n1 '*) {takes} ;; *spec.nodeName=n1*) printf '{pods}' ;; *) exit 1 ;; esac"
        )
    };
    for (takes, pods, status, said) in [
        ("printf true", "kube-system/log Running of=DaemonSet mirror=\\n", 0, ""),
        (
            "printf true",
            "a/b Failed of= mirror=\\nkube-system/etcd-n1 Running of=Node mirror=1f\\n",
            0,
            "",
        ),
        (
            "printf true",
            "a/b Running of= mirror=\\n",
            75,
            "node n1 is not drained: 1 pods are left, such as a/b",
        ),
        (":", "", 75, "node n1 is not drained: it takes new pods"),
        ("exit 1", "", 75, "the cluster does not say whether node n1 is drained"),
    ] {
        kubernetes("http://127.0.0.1:9")
            .program("kubectl", &kubectl(takes, pods))
            .says(status, said);
    }
}

fn kubernetes(server: &str) -> Example {
    let config = serde_json::json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "c",
        "clusters": [{"name": "c", "cluster": {"server": server}}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        "users": [{"name": "u", "user": {}}],
    });
    Example::new("kubernetes-drained")
        .file("etc/kubernetes/kubelet.conf", &config.to_string())
        .settings("NODE=n1\nKUBECONFIG=$root/etc/kubernetes/kubelet.conf")
}

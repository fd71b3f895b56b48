//! Experiments of other tools, written as fatebooks by their meaning (`tests/experiments`), and run: against a stand-in for a cluster and
//! a cloud, and a host over SSH.

use std::fs;
use std::path::{Path, PathBuf};

use libtest_mimic::Trial;

use crate::common::{Ran, Scratch, Sshd, program, test};

pub fn tests() -> Vec<Trial> {
    vec![
        test("experiments::chaos_toolkit", chaos_toolkit),
        test("experiments::litmus", litmus),
        test("experiments::chaos_mesh", chaos_mesh),
        test("experiments::krkn", krkn),
    ]
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/experiments")
}

/// Runs a book: each of these cases passes, the world is as it was, and this is what was done to it.
fn check(book: &str, cases: &[&str], done: &[&str]) {
    let (scratch, sshd) = (Scratch::new(), Sshd::start());
    for name in ["kubectl", "cloud"] {
        scratch
            .write(&format!("bin/{name}"), fs::read(folder().join("world").join(name)).expect("a program"));
    }
    for name in ["answers.sh", "serves.sh"] {
        let text = fs::read(folder().join("world").join(name)).expect("a script");
        scratch.write(&format!("fatebooks/shop/{name}"), text);
    }
    let text = fs::read_to_string(folder().join(book)).expect("a book");
    let manifest = scratch.join("policy.yaml").display().to_string();
    fs::copy(folder().join("policy.manifest"), scratch.join("policy.yaml")).expect("a manifest");
    let text = text.replace("policy.yaml]", &format!("'{manifest}']"));
    let host = format!("127.0.0.1:{}", sshd.port);
    let login = format!(
        "ssh: {{identity_file: '{0}/identity', known_hosts: '{0}/known_hosts'}}\n",
        sshd.path().display()
    );
    let text = match text.contains("HOST") {
        true => format!("hosts: ['{host}']\n{login}{}", text.replace("HOST", &format!("'{host}'"))),
        false => text,
    };
    scratch.write("fatebooks/shop/fatebook.yaml", text);
    let world = scratch.join("world");
    for path in
        ["pods/cart-1", "pods/cart-2", "pods/cart-3", "instances/i-1", "instances/i-2", "instances/i-3"]
    {
        scratch.write(&format!("world/{path}"), "");
    }
    for (name, count) in [("wanted", "3\n"), ("capacity", "3\n")] {
        scratch.write(&format!("world/{name}"), count);
    }
    let state = || {
        let names = |folder: &str| {
            let entries = fs::read_dir(world.join(folder)).expect("a folder").flatten();
            let mut names: Vec<String> =
                entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
            names.sort();
            names
        };
        let files = ["wanted", "capacity", "delay", "policy"]
            .map(|name| fs::read_to_string(world.join(name)).unwrap_or_default());
        (names("pods"), names("instances"), files)
    };
    let before = state();
    let path = format!("{}:{}", scratch.join("bin").display(), std::env::var("PATH").expect("a path"));
    let ran =
        Ran::of(scratch.command(&program()).arg("run").env("PATH", path).env("WORLD", &world), &scratch);
    assert_eq!(ran.code, Some(0), "{}{}", ran.stdout, ran.stderr);
    for case in cases {
        assert_eq!(ran.line(&format!("shop::{case}")), "ok", "{}", ran.stdout);
    }
    let log = scratch.read("world/log").replace(&scratch.path().display().to_string(), "DIR");
    let mut changes: Vec<&str> = log.lines().filter(|line| !line.contains(" get pods")).collect();
    let mut done = done.to_vec();
    if book == "krkn.yaml" {
        // Several at once come in any order.
        changes.sort_unstable();
        done.sort_unstable();
    }
    assert_eq!(changes, done, "{}", ran.stdout);
    assert_eq!(state(), before);
}

fn chaos_toolkit() {
    check(
        "chaos-toolkit.yaml",
        &["a pod is terminated@controller", "a zone is lost@controller"],
        &[
            "kubectl -n shop delete pod cart-2",
            "cloud capacity 2",
            "cloud stop i-1",
            "cloud start i-1",
            "cloud capacity 3",
        ],
    );
}

fn litmus() {
    let tc = "kubectl -n shop exec deploy/cart -- tc qdisc";
    let add = |delay: &str| format!("{tc} add dev eth0 root netem delay {delay}");
    let (delete, slow, slower, slowest) =
        (format!("{tc} del dev eth0 root"), add("100ms"), add("900ms"), add("3s"));
    check(
        "litmus.yaml",
        &[
            "the network of a pod is slow[delay=100ms]@127.0.0.1",
            "the network of a pod is slow[delay=900ms]@127.0.0.1",
            "the network of a pod is too slow@127.0.0.1",
            "the processor of a node is busy@127.0.0.1:PORT",
        ],
        &[&slow, &delete, &slower, &delete, &slowest, &delete],
    );
}

fn chaos_mesh() {
    let kill = "kubectl -n shop delete pod -l app=cart --wait=false";
    check(
        "chaos-mesh.yaml",
        &["the cart is cut off from its database@controller", "pods are killed again and again@controller"],
        &["kubectl apply -f DIR/policy.yaml", "kubectl delete -f DIR/policy.yaml", kill, kill, kill],
    );
}

fn krkn() {
    check(
        "krkn.yaml",
        &["two nodes are stopped@i-1+i-2"],
        &[
            "cloud stop i-2",
            "cloud start i-2",
            "cloud stop i-1",
            "cloud stop i-2",
            "cloud start i-1",
            "cloud start i-2",
        ],
    );
}

//! The Rust types of Mesos' messages are made from `proto/` when that changes, and kept, so that nobody needs `protoc` nor
//! waits for a generator. `PISAURA_GENERATE=1 cargo test --test it messages` makes them anew.

use libtest_mimic::Trial;

use crate::common::test;

pub fn tests() -> Vec<Trial> {
    vec![test("messages::are_those_of_the_proto_files", up_to_date)]
}

const HEAD: &str =
    "//! Made from `proto/` by a test, `messages::are_those_of_the_proto_files`: changes belong there.\n\n";

fn up_to_date() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let files =
        protox::compile(["scheduler.proto", "executor.proto"], [root.join("proto")]).expect("proto files");
    let folder = tempfile::tempdir().expect("a folder");
    prost_build::Config::new().out_dir(folder.path()).compile_fds(files).expect("Rust code");
    let read = |name: &str| std::fs::read_to_string(folder.path().join(name)).expect("generated code");
    let indented = |text: String| {
        text.lines()
            .map(|line| if line.is_empty() { "\n".to_owned() } else { format!("    {line}\n") })
            .collect::<String>()
    };
    let module =
        |name: &str, text: String| format!("/// The {name} API.\npub mod {name} {{\n{}}}\n", indented(text));
    let whole = format!(
        "{HEAD}{}{}{}",
        read("mesos.v1.rs"),
        module("scheduler", read("mesos.v1.scheduler.rs")),
        module("executor", read("mesos.v1.executor.rs"))
    );
    let kept = root.join("src/mesos/messages.rs");
    if std::env::var_os("PISAURA_GENERATE").is_some() {
        std::fs::write(&kept, &whole).expect("the file");
    }
    let kept = std::fs::read_to_string(kept).unwrap_or_default();
    assert!(
        kept == whole,
        "src/mesos/messages.rs is not what proto/ says: run this test with PISAURA_GENERATE=1"
    );
}

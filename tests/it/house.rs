//! The house: imports point down the list of rooms in `src/lib.rs`, each file says in its first line what it is for, and
//! the pure rooms never touch the world.

use std::fs;
use std::path::{Path, PathBuf};

use libtest_mimic::Trial;

use crate::common::test;

pub fn tests() -> Vec<Trial> {
    vec![
        test("house::imports_point_down", imports_point_down),
        test("house::each_file_says_what_it_is_for", first_lines),
        test("house::pure_rooms_touch_nothing", pure_rooms),
        test("house::what_the_program_pulls_in", dependencies),
        test("house::what_the_program_needs", libraries),
    ]
}

fn sources() -> Vec<(PathBuf, String)> {
    fn walk(folder: &Path, found: &mut Vec<(PathBuf, String)>) {
        for entry in fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                walk(&path, found);
            } else if path.extension().is_some_and(|ending| ending == "rs") {
                let text = fs::read_to_string(&path).expect("a file");
                found.push((path, text));
            }
        }
    }
    let mut found = Vec::new();
    walk(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/src")), &mut found);
    assert!(found.len() > 30);
    found
}

/// The rooms, from the top of the house down, as `src/lib.rs` lists them.
fn rooms() -> Vec<String> {
    let map = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/src/lib.rs")).expect("the map");
    map.lines()
        .filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';'))
        .map(str::to_owned)
        .collect()
}

fn room_of(path: &Path) -> String {
    let inside = path.strip_prefix(concat!(env!("CARGO_MANIFEST_DIR"), "/src")).expect("a source");
    let first = inside.components().next().expect("a room").as_os_str().to_string_lossy().into_owned();
    first.trim_end_matches(".rs").to_owned()
}

fn imports_point_down() {
    let rooms = rooms();
    let floor = |room: &str| rooms.iter().position(|other| other == room);
    for (path, text) in sources() {
        let Some(own) = floor(&room_of(&path)) else { continue };
        for (number, line) in text.lines().enumerate() {
            for (at, _) in line.match_indices("crate::") {
                let target: String =
                    line[at + 7..].chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
                let target_floor = floor(&target)
                    .unwrap_or_else(|| panic!("{}:{}: {target} is no room", path.display(), number + 1));
                assert!(
                    target_floor >= own,
                    "{}:{}: {} must not know of {target}",
                    path.display(),
                    number + 1,
                    room_of(&path)
                );
            }
        }
    }
}

fn first_lines() {
    for (path, text) in sources() {
        let first = text.lines().next().unwrap_or_default();
        assert!(first.starts_with("//! ") && first.len() > 20, "{}: {first}", path.display());
    }
}

fn pure_rooms() {
    for (path, text) in sources() {
        let room = room_of(&path);
        let file = path.file_name().expect("a name").to_string_lossy().into_owned();
        let is_test = file.ends_with("tests.rs");
        let pure = room == "machine" || (room == "fatebook" && file != "discover.rs");
        if !pure || is_test {
            continue;
        }
        for word in [
            "std::fs",
            "std::io",
            "std::net",
            "std::process",
            "std::env",
            "std::thread",
            "Instant",
            "SystemTime",
            "tokio",
            "async ",
            "getrandom",
            "ssh2",
            "rustix",
        ] {
            assert!(!text.contains(word), "{}: {word} in a room that touches nothing", path.display());
        }
    }
}

/// Demo hosts are for who asks for them; no crate comes in two versions without a reason that is known.
fn dependencies() {
    let tree = |features: &[&str]| {
        let mut command = std::process::Command::new(env!("CARGO"));
        command
            .args(["tree", "--edges", "normal,no-proc-macro", "--prefix", "none", "--locked", "--offline"])
            .args(features);
        let output = command.current_dir(env!("CARGO_MANIFEST_DIR")).output().expect("cargo runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let mut crates: Vec<String> = String::from_utf8_lossy(&output.stdout)
            .lines()
            .filter_map(|line| Some(line.split(" (").next()?.to_owned()))
            .collect();
        crates.sort();
        crates.dedup();
        crates
    };
    let plain = tree(&[]);
    assert!(plain.iter().any(|line| line.starts_with("ssh2 ")));
    assert!(!plain.iter().any(|line| line.starts_with("russh")), "{plain:?}");
    let demo = tree(&["--features", "demo"]);
    assert!(demo.iter().any(|line| line.starts_with("russh ")));
    let names: Vec<&str> = plain.iter().filter_map(|line| line.split(' ').next()).collect();
    let doubled: Vec<&str> = names.windows(2).filter(|pair| pair[0] == pair[1]).map(|pair| pair[0]).collect();
    assert!(doubled.is_empty(), "in two versions: {doubled:?}");
}

/// Agents run a copy of the program, so it needs nothing but what every glibc system has.
fn libraries() {
    let output = std::process::Command::new("ldd").arg(crate::common::program()).output().expect("ldd runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut names: Vec<&str> = text
        .split_whitespace()
        .filter(|word| word.contains(".so"))
        .filter(|word| !word.starts_with("/lib/"))
        .collect();
    names.sort_unstable();
    names.dedup();
    let system =
        ["/lib64/ld-linux-x86-64.so.2", "libc.so.6", "libgcc_s.so.1", "libm.so.6", "linux-vdso.so.1"];
    assert!(names.contains(&"libc.so.6"), "{text}");
    assert!(names.iter().all(|name| system.contains(name)), "{names:?}");
}

//! A corpus of broken books, each with the exact message that it gets: `tests/bad_books/NAME.yaml` and `NAME.txt`.

use std::fs;
use std::path::Path;

use libtest_mimic::Trial;
use pisaura::fatebook::{Reading, find_books};

use crate::common::{Scratch, test};

pub fn tests() -> Vec<Trial> {
    vec![
        test("bad_books::each_gets_its_message", each_gets_its_message),
        test("bad_books::a_broken_book_is_one_failing_case", one_failing_case),
        test("bad_books::names_that_cannot_be", names_that_cannot_be),
        test("bad_books::what_is_too_large_is_no_book", too_large),
        test("bad_books::what_cannot_be_read", unreadable),
        test("bad_books::an_alias_bomb_stays_small", alias_bomb),
        test("bad_books::bytes_of_any_kind_break_nothing", any_bytes),
    ]
}

/// With UPDATE=1 in the environment the messages are written as they are now: to be read in the difference.
fn each_gets_its_message() {
    let updates = std::env::var_os("UPDATE").is_some();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/bad_books");
    let mut count = 0;
    for entry in fs::read_dir(&folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if !path.extension().is_some_and(|ending| ending == "yaml" || ending == "json") {
            continue;
        }
        let mut books = find_books(&path).expect("a book");
        let book = books.remove(0);
        // As it is shown where the file is named without a folder.
        let got = match book.read(&|_| None, Reading { thorough: true, ..Reading::default() }) {
            Err(mut broken) => {
                broken.path = Path::new(path.file_name().expect("a name")).to_owned();
                broken.report()
            }
            Ok(_) => "nothing is wrong with it".to_owned(),
        };
        if updates {
            fs::write(path.with_extension("txt"), format!("{got}\n")).expect("its message");
        }
        let wanted = fs::read_to_string(path.with_extension("txt")).expect("its message");
        assert_eq!(got, wanted.trim_end(), "{}", path.display());
        count += 1;
    }
    assert!(count >= 80, "only {count} books");
}

fn one_failing_case() {
    let scratch = Scratch::new();
    scratch.write("fatebooks/kafka/mirror.yaml", "service: s\nhosts: [a]\nfailures: 7\n");
    scratch.write("fatebooks/other/fatebook.yaml", "service: s\nhosts: [a]\nfailures:\n  - {name: f, inducer: ['true'], reverter: ['true'], healthcheck: ['true']}\n");
    let list = scratch.harness(&["--list", "--format", "terse"]);
    assert_eq!(list.stdout, "kafka::mirror::mirror.yaml: test\nother::f@a: test\n");
    let told = "botched: this fatebook has 1 problem:\nfatebooks/kafka/mirror.yaml:3:11: `failures` is a list, not a number\n 3 | failures: 7\n   |           ^";
    // By its book's name, by its own, and by the name of a case that it may hold.
    for arguments in [
        &["kafka::"][..],
        &["--exact", "kafka::mirror::mirror.yaml"],
        &["--exact", "kafka::mirror::leader is killed@a"],
    ] {
        let ran = scratch.harness(arguments);
        assert_eq!(ran.code, Some(101), "{arguments:?}");
        let failure = ran.failure("kafka::mirror::mirror.yaml");
        assert!(failure.starts_with(told), "{arguments:?}: {failure}");
    }
    assert_eq!(scratch.pisaura(&["run", "kafka::"]).code, Some(2));
    let checked = scratch.pisaura(&["check"]);
    assert_eq!(checked.code, Some(2));
    assert!(
        checked.stderr.contains("mirror.yaml:3:11: `failures` is a list, not a number"),
        "{}",
        checked.stderr
    );
    assert!(checked.stdout.ends_with("2 fatebooks, 1 case, 1 broken\n"), "{}", checked.stdout);
}

fn names_that_cannot_be() {
    let scratch = Scratch::new();
    let book = "service: s\nhosts: [a]\nfailures:\n  - {name: f, inducer: ['true'], reverter: ['true'], healthcheck: ['true']}\n";
    for path in ["-x/fatebook.yaml", "a::b.yaml", "c\td.yaml", "e.yaml", "e/fatebook.json", " blank.yaml"] {
        scratch.write(&format!("fatebooks/{path}"), book);
    }
    let checked = scratch.pisaura(&["check"]);
    let mut lines: Vec<&str> = checked.stderr.lines().filter(|line| line.starts_with("fatebooks/")).collect();
    lines.sort_unstable();
    let refused = |why: &str| {
        format!(
            "the name of this file or of its folder {why}, so its cases cannot be named after it: rename it"
        )
    };
    assert_eq!(
        lines,
        [
            format!("fatebooks/ blank.yaml:1:1: {}", refused("begins or ends with a blank")),
            format!("fatebooks/-x/fatebook.yaml:1:1: {}", refused("begins with `-`, like an option")),
            format!("fatebooks/a::b.yaml:1:1: {}", refused("has `::` in it, which separates the parts of a name")),
            format!("fatebooks/c d.yaml:1:1: {}", refused("has a control character in it")),
            "fatebooks/e.yaml:1:1: the name `e` is also that of fatebooks/e/fatebook.json: rename one of them".to_owned(),
            "fatebooks/e/fatebook.json:1:1: the name `e` is also that of fatebooks/e.yaml: rename one of them".to_owned(),
        ]
    );
    // A listing has lines of one form only.
    for line in scratch.harness(&["--list", "--format", "terse"]).stdout.lines() {
        assert!(line.ends_with(": test") && !line.starts_with('-') && !line.contains('\t'), "{line}");
    }
}

fn too_large() {
    let scratch = Scratch::new();
    scratch.write("fatebooks/data.json", format!("[{}]", "1,".repeat(800_000)));
    let checked = scratch.pisaura(&["check"]);
    assert!(
        checked.stderr.starts_with("fatebooks/data.json:1:1: this file has more than 1024 KiB, which a fatebook has at most: if it is none, keep it out of this folder"),
        "{}",
        &checked.stderr[..200]
    );
}

fn unreadable() {
    let scratch = Scratch::new();
    // A folder of that name is no file, and a link that leads nowhere is no book.
    fs::create_dir(scratch.join("fatebooks/x.yaml")).expect("a folder");
    std::os::unix::fs::symlink("/nowhere", scratch.join("fatebooks/y.yaml")).expect("a link");
    let ran = scratch.pisaura(&["check"]);
    assert_eq!(ran.code, Some(2));
    assert_eq!(
        ran.stderr,
        "error: there are no fatebooks in `fatebooks`: a fatebook is a file that ends in .json, .yaml or .yml\n"
    );
    let ran = scratch.pisaura(&["run", "--fatebooks", "/nowhere"]);
    assert_eq!(
        ran.stderr,
        "error: cannot read the fatebooks in `/nowhere`: No such file or directory (os error 2). `--fatebooks` or PISAURA_FATEBOOKS names another place\n"
    );
}

fn alias_bomb() {
    let scratch = Scratch::new();
    let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..9 {
        let before = vec![format!("*a{}", level - 1); 10].join(", ");
        bomb.push_str(&format!("a{level}: &a{level} [{before}]\n"));
    }
    scratch.write("fatebooks/bomb.yaml", bomb);
    let checked = scratch.pisaura(&["check"]);
    assert!(
        checked.stderr.contains("the aliases make more than 100000 values of this book"),
        "{}",
        checked.stderr
    );
}

/// A book cut at every byte, and with every byte changed, is either read or told what is wrong with it.
fn any_bytes() {
    let scratch = Scratch::new();
    let book = "{'service': \"s\", hosts: ['a:1', \"b\"], ssh: {port: 22}, 'failures': [{'name': 'f', \"inducer\": [\"true\", '${X:-y}'],\n 'reverter': [\"true\"], healthcheck: [\"true\"], grace: 1m}]}\n";
    let path = scratch.join("fatebooks/b.yaml");
    let read = |bytes: &[u8]| {
        fs::write(&path, bytes).expect("a file");
        let book = find_books(&path).expect("a book").remove(0);
        match book.read(&|_| None, Reading { thorough: true, ..Reading::default() }) {
            Ok(read) => assert!(!read.book.fates.is_empty()),
            Err(broken) => assert!(broken.report().starts_with(&path.display().to_string())),
        }
    };
    for cut in 0..book.len() {
        read(&book.as_bytes()[..cut]);
    }
    for at in 0..book.len() {
        for byte in [0, b'\t', b'\n', b'"', b'#', b'&', b'*', b'-', b':', b'[', b'}', 0xff] {
            let mut bytes = book.as_bytes().to_vec();
            bytes[at] = byte;
            read(&bytes);
        }
    }
}

//! What is written is what runs: shell texts made by chance have the same status, output and effects through Pisaura as when
//! `sh FILE` runs them, or `sh -e FILE` if they have several lines.

use std::process::{Command, Stdio};

use libtest_mimic::Trial;
use pisaura::fatebook::ShellText;

use crate::common::{Scratch, Sshd, test};

pub fn tests() -> Vec<Trial> {
    vec![
        test("shell::texts_made_by_chance", by_chance),
        test("shell::texts_made_by_chance_on_a_host", by_chance_on_a_host),
        test("shell::where_arguments_go", where_arguments_go),
        test("shell::blocks_on_a_host", blocks_on_a_host),
    ]
}

/// The shells that a `/bin/sh` may be.
const SHELLS: [&[&str]; 3] = [&["dash"], &["bash", "--posix"], &["busybox", "sh"]];

/// Numbers that look like chance, the same in every run (xorshift).
struct Chance(u64);

impl Chance {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % limit as u64) as usize
    }

    fn of<'a>(&mut self, choices: &[&'a str]) -> &'a str {
        choices[self.below(choices.len())]
    }
}

/// A text, whether its last command is a simple one on one line, and whether it uses its parameters.
struct Made {
    text: String,
    is_simple: bool,
    uses_parameters: bool,
}

const SIMPLE: [&str; 16] = [
    "echo one",
    "echo 'two  words' >>log",
    "printf '%s\\n' \"a;b\" x\\ y",
    "true",
    "false",
    "test -e log",
    "A=1 sh -c 'echo $A'",
    ">>log echo moved",
    "echo \"$(echo inner; false)\"",
    "echo `echo back`",
    "echo ${HOME:+set} a#b",
    "! false",
    "cat </dev/null",
    "sh -c 'exit 3' 2>&1",
    "awk 'BEGIN {print \"$1\"; exit 2}'",
    "echo done",
];
/// Behind these no argument is put: an error would be their status, or its opposite.
const TAKE_NONE: [&str; 2] = ["test -e log", "! false"];
const COMPOUND: [&str; 8] = [
    "for f in a b; do echo $f; done",
    "if false; then echo no; else echo else; fi",
    "{ echo brace; false; }",
    "(echo sub; exit 4)",
    "case x in (x) echo case;; esac",
    "while read -r l; do echo \"$l\"; done </dev/null",
    "until true; do :; done >>log",
    "f() { echo function; return 5; }",
];
const OWN: [&str; 4] =
    ["echo \"$1\"", "echo \"$#\" ${2:-none}", "shift; echo rest", "for a in \"$@\"; do echo $a; done"];
const HERE: [&str; 2] = ["cat <<END\nhere $HOME_NOT_SET\nEND", "cat <<'END' >>log\nkept $1\nEND"];

fn make(chance: &mut Chance) -> Made {
    let mut text = String::new();
    let (mut is_simple, mut uses_parameters, mut lines) = (false, false, false);
    let count = 1 + chance.below(4);
    for index in 0..count {
        let is_here = match chance.below(10) {
            0..=4 => {
                let command = chance.of(&SIMPLE);
                text.push_str(command);
                is_simple = !TAKE_NONE.contains(&command);
                false
            }
            5..=7 => {
                text.push_str(chance.of(&COMPOUND));
                is_simple = false;
                false
            }
            8 => {
                text.push_str(chance.of(&OWN));
                (is_simple, uses_parameters) = (false, true);
                false
            }
            _ => {
                text.push_str(chance.of(&HERE));
                (is_simple, lines) = (false, true);
                true
            }
        };
        if index + 1 == count {
            break;
        }
        let joint = if is_here {
            "\n"
        } else {
            chance.of(&["; ", " && ", " || ", " | ", "\n", " &&\n", " # note\n", " \\\n; "])
        };
        lines |= joint.contains('\n');
        text.push_str(joint);
    }
    let end = chance.of(&["", "", "", "", "\n", "  ", " ;", " # the end", " & wait"]);
    text.push_str(end);
    is_simple &= end.trim().is_empty();
    if end == " & wait" {
        is_simple = false;
    }
    if chance.below(4) == 0 {
        text = format!("\n {text}\n\n");
    }
    Made { is_simple: is_simple && !lines && !uses_parameters, uses_parameters, text }
}

/// Runs words in a folder of their own: the status, what was printed, and the log that was left.
fn outcome(words: &[String]) -> (Option<i32>, String, String) {
    let folder = tempfile::tempdir().expect("a folder");
    let output = Command::new(&words[0])
        .args(&words[1..])
        .current_dir(folder.path())
        .env("HOME", "/")
        .env_remove("A")
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .expect("it runs");
    (
        output.status.code(),
        String::from_utf8_lossy(&output.stdout).into_owned(),
        std::fs::read_to_string(folder.path().join("log")).unwrap_or_default(),
    )
}

fn by_chance() {
    let mut chance = Chance(0x5eed_0001);
    let arguments = ["--step=1".to_owned(), "two words".to_owned()];
    let file = tempfile::NamedTempFile::new().expect("a file");
    let mut appended = 0;
    for round in 0..400 {
        let made = make(&mut chance);
        let shell = SHELLS[round % SHELLS.len()];
        let given = &arguments[..round / 3 % 3];
        let several = made.text.trim_matches([' ', '\t', '\n']).contains('\n');
        let text = match made.is_simple && !given.is_empty() {
            // Behind a simple command they are words like those that are written there.
            true => format!("{} \"$@\"", made.text.trim_matches([' ', '\t', '\n'])),
            false => made.text.clone(),
        };
        appended += usize::from(text != made.text);
        std::fs::write(file.path(), &text).expect("a file");
        let mut wanted: Vec<String> = shell.iter().map(|word| (*word).to_owned()).collect();
        let mut got = wanted.clone();
        wanted.extend(several.then(|| "-e".to_owned()));
        wanted.push(file.path().display().to_string());
        got.extend(ShellText::of(&made.text, !given.is_empty()).words().into_iter().skip(1));
        for words in [&mut wanted, &mut got] {
            words.extend_from_slice(given);
        }
        // The commands of a pipe run at once: which of them writes first is not told.
        let seen = |words: &[String]| {
            let (status, printed, log) = outcome(words);
            let mut lines: Vec<String> = log.lines().map(str::to_owned).collect();
            if made.text.contains('|') {
                lines.sort_unstable();
            }
            (status, printed, lines)
        };
        assert_eq!(seen(&got), seen(&wanted), "{shell:?} {given:?} {}\n{}", made.uses_parameters, made.text);
    }
    assert!(appended > 20, "only {appended} texts took arguments");
}

/// The same texts as inducers: what the host ran, and how it ended.
fn by_chance_on_a_host() {
    let (scratch, sshd) = (Scratch::new(), Sshd::start());
    let mut chance = Chance(0x5eed_0002);
    // The texts share the host's home, so those that look at what others have left are not for here.
    let texts = std::iter::repeat_with(|| make(&mut chance).text).filter(|text| !text.contains("log"));
    let texts: Vec<String> = texts.take(24).collect();
    let failures: Vec<String> = texts
        .iter()
        .enumerate()
        .map(|(number, text)| {
            let text = serde_json::to_string(&format!("{text}\n").replace("${", "$${")).expect("a text");
            format!(
                "  - {{name: f{number:02}, inducer: [{text}], reverter: ['true'], healthcheck: ['true']}}"
            )
        })
        .collect();
    scratch.write("fatebooks/b/fatebook.yaml", sshd.book("", &failures.join("\n")));
    let ran = scratch.pisaura(&["run"]);
    assert!(ran.stdout.contains("running 24 tests"), "{}{}", ran.stdout, ran.stderr);
    let journal = scratch.read("target/pisaura/journal.jsonl");
    let ended: Vec<String> = journal
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .filter(|record| record["step"] == "inducer")
        .map(|record| record["end"].as_str().unwrap_or_default().to_owned())
        .collect();
    let wanted: Vec<String> = texts
        .iter()
        .map(|text| {
            let words = ShellText::of(text, false).words();
            match outcome(&words).0 {
                Some(0) => "ok".to_owned(),
                status => format!("exit status {}", status.expect("a status")),
            }
        })
        .collect();
    assert_eq!(ended, wanted);
}

fn where_arguments_go() {
    let check = |written: &str, wanted: &str| {
        assert_eq!(ShellText::of(written, true).text, wanted);
        assert_eq!(ShellText::of(written, false).text, written, "without arguments nothing is added");
    };
    for simple in [
        "PYTHONPATH=lib.zip python healthcheck.py",
        "cd x && python check.py",
        "a | b c",
        "a >log 2>&1",
        "f() { echo x; }; f y",
        "awk '{print $1}' file",
        "echo \\$1 \"\\$2\" x",
        "set -e; python check.py",
        "set -o pipefail; a | b c",
        "echo done",
        "echo \"${#HOME}\" x",
        "! grep x file && a",
        "a 2>&1",
    ] {
        check(simple, &format!("{simple} \"$@\""));
        check(&format!("{simple} \n"), &format!("{simple} \"$@\" \n"));
    }
    for other in [
        "for f in a; do rm $f; done",
        "if a; then b; fi",
        "{ a; b; }",
        "(a; b)",
        "case $x in a) b;; esac",
        "rm x;",
        "rm x &",
        "rm x # or not",
        "rm x\nrm y",
        "rm x \\\n  y",
        "cat <<E\nx\nE",
        "while read x; do y; done <file",
        "f() { echo x; }",
        "echo $1",
        "echo ${1:-x} y",
        "echo \"$(echo $@)\"",
        "echo `echo $*` y",
        "echo ${#} y",
        "set -- a b; run it",
        "shift; run it",
        "A=1 B=2",
        "! grep x file",
        "a && ! b | c",
        "[ -e x ]",
        "a && test -e x",
        "a || exit 3",
        "a & wait",
        "echo 'unclosed",
        "echo x \\",
        "echo \"${x",
    ] {
        check(other, other);
    }
    assert_eq!(ShellText::of("rm x\nrm y", false).words(), ["/bin/sh", "-ec", "rm x\nrm y", "sh"]);
    assert_eq!(ShellText::of("\nrm x\n ", false).words(), ["/bin/sh", "-c", "\nrm x\n ", "sh"]);
    assert_eq!(ShellText::of("-x y", false).words(), ["/bin/sh", "-c", "--", "-x y", "sh"]);
}

/// A step that fails in a block, or in a text to which nothing can be added, has failed.
fn blocks_on_a_host() {
    let sshd = Sshd::start();
    let check = |keys: &str, code: i32, said: &str| {
        let scratch = Scratch::new();
        let _ = std::fs::remove_file(sshd.home().join("broken"));
        let _ = std::fs::remove_dir_all(sshd.home().join(".pisaura"));
        let key = |name: &str, value: &str| match keys.contains(&format!("{name}:")) {
            true => String::new(),
            false => format!("    {name}: {value}\n"),
        };
        let failure = [
            "  - name: f\n".to_owned(),
            key("inducer", "[': >$HOME/broken']"),
            key("reverter", "['rm $HOME/broken']"),
            key("healthcheck", "['true']"),
            format!("    timeout: 1s\n    deadman: 'off'\n{keys}"),
        ];
        scratch.write("fatebooks/b/fatebook.yaml", sshd.book("", &failure.concat()));
        let ran = scratch.pisaura(&["run"]);
        assert_eq!(ran.code, Some(code), "{keys}{}{}", ran.stdout, ran.stderr);
        assert!(ran.stdout.contains(said), "{keys}{}", ran.stdout);
        assert_eq!(sshd.home().join("broken").exists(), code == 4, "{keys}");
    };
    check("    reverter:\n      - |\n        rm brokn\n", 4, "the reverter did not succeed");
    check("    reverter:\n      - |\n        rm brokn\n        true\n", 4, "the reverter did not succeed");
    check("    reverter:\n      - |\n        rm $HOME/broken\n", 0, "... ok");
    check("    reverter: ['for f in $HOME/broken; do rm -f $f; done']\n", 0, "... ok");
    check("    reverter: ['{ rm brokn; }']\n", 4, "the reverter did not succeed");
    check("    reverter: ['rm brokn;']\n", 4, "the reverter did not succeed");
    check(
        "    inducer:\n      - |\n        : >$HOME/broken\n        exit 3\n",
        3,
        "the inducer failed: exit status 3",
    );
    check("    verify:\n      - |\n        test -e brokn\n", 3, "the failure did not take hold");
    check("    only_if:\n      - |\n        test -e brokn\n", 0, "ignored");
    check("    healthcheck:\n      - |\n        false\n", 1, "unhealthy before");
    check("    pass_step: false\n    healthcheck:\n      - |\n        false\n", 1, "unhealthy before");
    check("    only_if:\n      - |\n        exit 2\n", 3, "only_if gave no answer");
    check("    only_if: ['kill -SEGV $$ x']\n", 3, "only_if gave no answer");
    check("    only_if: ['if true']\n", 3, "the only_if cannot be run: ");
}

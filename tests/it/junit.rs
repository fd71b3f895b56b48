//! JUnit XML: valid against the schema that Jenkins goes by, well-formed whatever a script prints, there when a build is
//! aborted, read by GitLab.

use std::fs;
use std::process::Command;

use libtest_mimic::Trial;

use crate::common::{Scratch, Sshd, harness, needing, test, wait_for, write_scripts};

pub fn tests() -> Vec<Trial> {
    let xmllint = Command::new("xmllint").arg("--version").output().is_ok();
    vec![
        needing(
            "junit::valid_and_well_formed_whatever_is_printed",
            xmllint,
            "needs xmllint (libxml2-utils)",
            whatever,
        ),
        test("junit::gitlab_gets_the_file", gitlab),
        test("junit::an_aborted_build_still_has_it", aborted),
        test("junit::suites_are_books", suites),
    ]
}

const COMMANDS: &str = "inducer: [break.sh], reverter: [heal.sh], healthcheck: [check.sh]";

/// What xmllint says of a file, without a schema or with the one of Jenkins' xunit plugin.
fn xmllint(scratch: &Scratch, arguments: &[&str]) -> String {
    let output = Command::new("xmllint")
        .args(arguments)
        .arg(scratch.join("target/pisaura/junit.xml"))
        .output()
        .expect("xmllint runs");
    String::from_utf8_lossy(&if output.status.success() { output.stdout } else { output.stderr }).into_owned()
}

fn whatever() {
    let (scratch, sshd) = (Scratch::new(), Sshd::start());
    write_scripts(&scratch);
    let names = ["]]> & <tag> \\\"quoted\\\" 'single'", "ünï ✓ \\u{fffe}😀", "--", "a::b@c"];
    // All bytes there are, alone and in every order with the end of CDATA; in out and err, of a case that passes and of
    // one that does not.
    let mut bytes: Vec<u8> = (0..=255).collect();
    bytes.extend(b"]]>\x1b[31mred\x1b[0m\x1b]0;title\x07]]\x00>]]]]>>\r\n\xef\xbf\xbe\xef\xbf\xbf\xed\xa0\x80<![CDATA[ &amp; &#0;\n");
    scratch.write("fatebooks/b/bytes", &bytes);
    scratch.write(
        "fatebooks/b/check.sh",
        "#!/bin/sh\ncat bytes; cat bytes >&2; [ \"$PISAURA_FAILURE$1\" != 'a::b@c--step=2' ]\n",
    );
    let failures: Vec<String> = names
        .iter()
        .map(|name| format!("  - {{name: \"{}\", {COMMANDS}}}", name.replace("\\u{fffe}", "\\ufffe")))
        .collect();
    let skipped = format!("  - {{name: skipped, {COMMANDS}, skip: \"]]> & <reason>\"}}");
    let book = sshd
        .book("", &format!("{}\n{skipped}", failures.join("\n")))
        .replace("service: s", "service: \"<s> & ]]>\"");
    scratch.write("fatebooks/b/fatebook.yaml", book);
    let ran = scratch.harness(&[]);
    assert!(ran.stdout.contains("3 passed; 1 failed; 1 ignored"), "{}", ran.stdout);
    let schema = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/junit-10.xsd");
    let valid = xmllint(&scratch, &["--noout", "--schema", schema]);
    assert!(!valid.contains("error"), "{valid}");
    let count = |path: &str| xmllint(&scratch, &["--xpath", path]).trim().to_owned();
    assert_eq!(count("count(//testcase)"), "5");
    assert_eq!(count("count(//failure)"), "1");
    assert_eq!(count("count(//skipped)"), "1");
    assert_eq!(count("count(//testcase/system-out)"), "4");
    // What was text before is the same text after.
    assert_eq!(
        count("string(//testcase[1]/@name)"),
        format!("]]> & <tag> \"quoted\" 'single'@127.0.0.1:{}", sshd.port)
    );
    assert_eq!(count("string(//skipped)"), "]]> & <reason>");
    let out = count("string(//failure)");
    assert!(
        out.contains("]]>red]]") && out.contains("<![CDATA[ &amp; &#0;") && !out.contains("title"),
        "{out}"
    );
    // Two of the readers show one of both, so both begin alike.
    let message = "succumbed: unhealthy during the failure (exit status 1)";
    assert_eq!(count("string(//failure/@message)"), message);
    assert!(out.starts_with(message), "{out}");
    // Nothing of it colours or moves a terminal.
    assert!(!ran.stdout.contains('\u{1b}') && !ran.stderr.contains('\u{1b}') && !ran.stdout.contains('\0'));
}

fn gitlab() {
    let (scratch, sshd) = (Scratch::new(), Sshd::start());
    write_scripts(&scratch);
    scratch.write("fatebooks/b/fatebook.yaml", sshd.book("", &format!("  - {{name: f, {COMMANDS}}}")));
    let report = |name: &str, value: &str| {
        let status = scratch.command(&harness()).env(name, value).output().expect("it runs").status;
        assert!(status.success());
        scratch.read("target/pisaura/junit.xml")
    };
    assert!(report("GITLAB_CI", "true").contains(" file=\"fatebooks/b/fatebook.yaml\""));
    assert!(!report("NOTHING", "true").contains(" file="));
    assert!(report("PISAURA_JUNIT_FOR", "gitlab").contains(" file=\"fatebooks/b/fatebook.yaml\""));
}

fn aborted() {
    let (scratch, sshd) = (Scratch::new(), Sshd::start());
    write_scripts(&scratch);
    scratch.write(
        "fatebooks/b/check.sh",
        "#!/bin/sh\n[ \"$PISAURA_FAILURE$1\" = g--step=2 ] && { echo $$ >\"$OUT\"; exec sleep 300; }\nexit 0\n",
    );
    let failures = ["f", "g", "h"].map(|name| format!("  - {{name: {name}, {COMMANDS}}}"));
    let top = format!("env: {{OUT: '{}'}}", scratch.join("pid").display());
    scratch.write("fatebooks/b/fatebook.yaml", sshd.book(&top, &failures.join("\n")));
    let mut run = scratch
        .command(&harness())
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .expect("it runs");
    wait_for("the second inducer", || sshd.read("log").matches("break.sh").count() == 2);
    wait_for("its report", || scratch.read("target/pisaura/junit.xml").contains("g@127"));
    wait_for("its healthcheck", || !scratch.read("pid").is_empty());
    run.kill().expect("a kill");
    run.wait().expect("an end");
    // The healthcheck that was waited for is nobody's child now.
    let _ = Command::new("kill").args(["-KILL", scratch.read("pid").trim()]).status();
    let xml = scratch.read("target/pisaura/junit.xml");
    assert!(xml.ends_with("</testsuites>\n"));
    assert_eq!(xml.matches("<testcase ").count(), 2, "{xml}");
    assert!(xml.contains("<error type=\"Interrupted\" message=\"interrupted, may be dirty: the run ended while this failure was tried\">"), "{xml}");
    let left: Vec<_> = fs::read_dir(scratch.join("target/pisaura"))
        .expect("a folder")
        .map(|entry| entry.expect("an entry").file_name())
        .filter(|name| name != ".alive")
        .collect();
    assert_eq!(left.len(), 3, "the report, the journal and the logs: {left:?}");
    // The journal says what is dirty, and a run that comes after it does not wipe that away.
    let dirty = "\"event\":\"may be dirty\",\"case\":\"b::g@127.0.0.1:";
    assert!(scratch.read("target/pisaura/journal.jsonl").contains(dirty));
    scratch.harness(&["--exact", "b::f"]);
    assert!(scratch.read("target/pisaura/journal.jsonl").contains(dirty));
    // One that ended well is not kept.
    scratch.harness(&["--exact", "b::f"]);
    let journal = scratch.read("target/pisaura/journal.jsonl");
    assert!(!journal.contains(dirty) && journal.lines().count() == 14, "{journal}");
}

fn suites() {
    let (scratch, sshd) = (Scratch::new(), Sshd::start());
    for book in ["etcd/fatebook.yaml", "kafka/mirror.yaml"] {
        scratch.write(
            &format!("fatebooks/{book}"),
            sshd.book("", "  - {name: f, inducer: ['true'], reverter: ['true'], healthcheck: ['true']}"),
        );
    }
    scratch.harness(&[]);
    let xml = scratch.read("target/pisaura/junit.xml");
    let (host, shown) = (format!("127_0_0_1:{}", sshd.port), format!("f@127.0.0.1:{}", sshd.port));
    for (id, suite, class) in [(0, "etcd", "etcd"), (1, "kafka::mirror", "kafka.mirror")] {
        assert!(
            xml.contains(&format!(
                "<testsuite id=\"{id}\" name=\"{suite}\" package=\"\" tests=\"1\" errors=\"0\" failures=\"0\""
            )),
            "{xml}"
        );
        assert!(xml.contains(&format!("classname=\"pisaura.{class}.{host}\"")), "{xml}");
    }
    assert_eq!(xml.matches(&format!("<testcase name=\"{shown}\"")).count(), 2, "{xml}");
    // A second run writes it anew, so that a reader who asks for a fresh one gets it.
    scratch.harness(&["nothing"]);
    assert_eq!(
        scratch.read("target/pisaura/junit.xml"),
        "<?xml version=\"1.0\" encoding=\"utf-8\"?><testsuites/>\n"
    );
}

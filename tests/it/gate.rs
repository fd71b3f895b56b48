//! What goes when: failfast, one case of a service and one on a host at a time, in this process and between processes.

use libtest_mimic::Trial;

use crate::common::{Ran, Scratch, Sshd, begin, harness, test};
use crate::harness::{books, succumb_to};

pub fn tests() -> Vec<Trial> {
    vec![
        test("gate::failfast", failfast),
        test("gate::fail_fast_of_the_run", fail_fast_of_the_run),
        test("gate::services_at_once", services_at_once),
        test("gate::locks_between_processes", locks_between_processes),
        test("gate::four_runs_of_twenty_threads_at_once", four_at_once),
    ]
}

fn failfast() {
    let (scratch, sshd) = books();
    succumb_to(&scratch, "b", "leader is killed");
    let book = scratch.read("fatebooks/b/fatebook.yaml");
    let results = |ran: &Ran| -> Vec<String> {
        ran.stdout
            .lines()
            .filter_map(|line| line.strip_prefix("test b::")?.split_once(" ... "))
            .map(|(_, result)| result.replace(&format!(":{}", sshd.port), "").replace(":PORT", ""))
            .collect()
    };
    let ran = scratch.harness(&["b::"]);
    assert_eq!(results(&ran), ["FAILED", "FAILED", "ok", "ok"]);
    scratch.write("fatebooks/b/fatebook.yaml", format!("failfast: True\n{book}"));
    let ran = scratch.harness(&["b::"]);
    let reason = "ignored (failfast: `b::leader is killed@127.0.0.1` did not pass (succumbed))";
    assert_eq!(results(&ran), ["FAILED", reason, reason, reason]);
    assert_eq!(ran.code, Some(101));
    let xml = scratch.read("target/pisaura/junit.xml");
    assert_eq!(
        xml.matches("<skipped type=\"Skipped\" message=\"failfast: `b::leader is killed@127.0.0.1:").count(),
        3,
        "{xml}"
    );
    // The book that comes after it is not touched by that.
    let ran = scratch.harness(&["--include-ignored"]);
    assert_eq!(ran.line("c::d::z@127.0.0.1:PORT"), "ok");
}

fn fail_fast_of_the_run() {
    let (scratch, _sshd) = books();
    succumb_to(&scratch, "b", "leader is killed");
    let ran = scratch.harness(&["--fail-fast", "--include-ignored"]);
    {
        assert!(ran.stdout.contains("0 passed; 1 failed; 4 ignored"), "{}", ran.stdout);
        assert!(
            ran.line("c::d::z@127.0.0.1:PORT")
                .starts_with("ignored (--fail-fast: `b::leader is killed@127.0.0.1:"),
            "{}",
            ran.stdout
        );
    }
}

/// A book whose cases say when they begin and end, in a file of the test's.
fn timed_book(scratch: &Scratch, sshd: &Sshd, name: &str, service: &str, hosts: &str) {
    let out = scratch.join("times").display().to_string();
    scratch.write(&format!("fatebooks/{name}/check.sh"), "#!/bin/sh\ncase $1 in --step=1) echo \"$PISAURA_SERVICE$RUN begins\";; --step=2) sleep 0.3;; --step=3) echo \"$PISAURA_SERVICE$RUN ends\";; esac >>\"$OUT\"\n");
    let failures = ["f", "g"].map(|failure| format!("  - {{name: {failure}, inducer: ['true'], reverter: ['true'], healthcheck: [check.sh], env: {{OUT: '{out}'}}}}"));
    let book = sshd.book("", &failures.join("\n")).replace("service: s", &format!("service: {service}"));
    scratch.write(
        &format!("fatebooks/{name}/fatebook.yaml"),
        book.replace("hosts: ['127.0.0.1:", &format!("hosts: ['{hosts}:")),
    );
}

fn services_at_once() {
    let scratch = Scratch::new();
    // Two names of one machine would be one host, so these are two.
    let [sshd, other] = [Sshd::start(), Sshd::start()];
    for sshd in [&sshd, &other] {
        let known = std::fs::read_to_string(sshd.join("known_hosts")).expect("keys");
        std::fs::write(sshd.join("known_hosts"), known.replace("[127.0.0.1]:", "[*]:")).expect("keys");
    }
    timed_book(&scratch, &sshd, "a", "one", "127.0.0.1");
    timed_book(&scratch, &other, "b", "two", "localhost");
    timed_book(&scratch, &sshd, "c", "two", "127.0.0.2");
    // Whatever is at once, no service overlaps with itself.
    let overlaps = |service: &str| {
        let mut inside = 0;
        scratch.read("times").lines().filter(|line| line.starts_with(service)).any(|line| {
            inside += if line.ends_with("begins") { 1 } else { -1 };
            inside > 1
        })
    };
    let ran = scratch.harness(&["a::", "b::"]);
    assert_eq!(ran.code, Some(0), "{}", ran.stdout);
    assert_eq!(
        scratch.read("times"),
        "one begins\none ends\n".repeat(2) + &"two begins\ntwo ends\n".repeat(2),
        "one after the other"
    );
    scratch.write("times", "");
    let ran = scratch.harness(&["a::", "b::", "--test-threads", "3"]);
    assert_eq!(ran.code, Some(0), "{}", ran.stdout);
    let times = scratch.read("times");
    let first_end = times.find("ends").expect("an end");
    assert!(
        times[..first_end].contains("one begins") && times[..first_end].contains("two begins"),
        "both at once: {times}"
    );
    assert!(!overlaps("one") && !overlaps("two"), "{times}");
}

fn locks_between_processes() {
    let (scratch, sshd) = (Scratch::new(), Sshd::start());
    timed_book(&scratch, &sshd, "a", "one", "127.0.0.1");
    timed_book(&scratch, &sshd, "b", "two", "127.0.0.1");
    let mut runs: Vec<_> = [("a::", " first"), ("b::", " second"), ("a::", " third")]
        .into_iter()
        .map(|(filter, run)| {
            scratch
                .command(&harness())
                .env("RUN", run)
                .args([filter, "--output", &format!("out-{}", filter.replace(':', ""))])
                .stdout(std::process::Stdio::null())
                .stderr(std::process::Stdio::piped())
                .spawn()
                .expect("it runs")
        })
        .collect();
    let mut said = String::new();
    for run in &mut runs {
        std::io::Read::read_to_string(run.stderr.as_mut().expect("a pipe"), &mut said).expect("a text");
        assert!(run.wait().expect("an end").success());
    }
    let (mut inside, mut ends) = (None, 0);
    for line in scratch.read("times").lines() {
        match line.split_once(" begins") {
            // A case that had to wait long asks its service anew: it begins twice.
            Some((case, _)) => assert!(
                inside.replace(case).is_none_or(|other| other == case),
                "two on one host at once: {}",
                scratch.read("times")
            ),
            None => ends += usize::from(inside.take().is_some_and(|case| line == format!("{case} ends"))),
        }
    }
    assert_eq!(ends, 6, "{}", scratch.read("times"));
    // A folder of one's own is one's own.
    for lock in std::fs::read_dir(scratch.join("locks")).expect("locks").flatten() {
        let mode = std::os::unix::fs::PermissionsExt::mode(&lock.metadata().expect("a lock").permissions());
        assert_eq!(mode & 0o777, 0o600, "{:?}", lock.path());
    }
    assert!(said.contains("waiting for the ") && said.contains(", which process "), "{said}");
}

/// Working folders and scripts are made, run and removed by many at once: no file is busy, no folder is taken away under its owner.
fn four_at_once() {
    let scratch = Scratch::new();
    for book in 0..20 {
        for script in ["break.sh", "heal.sh", "check.sh"] {
            scratch.write(&format!("fatebooks/b{book:02}/{script}"), "#!/bin/sh\nexit 0\n");
        }
        let failure = |number: usize| {
            format!(
                "  - {{name: f{number}, inducer: [break.sh], reverter: [heal.sh], healthcheck: [check.sh]}}\n"
            )
        };
        let failures: String = (0..3).map(failure).collect();
        scratch.write(
            &format!("fatebooks/b{book:02}/fatebook.yaml"),
            format!("service: s{book}\nhosts: ['sandbox:h{book}']\nfailures:\n{failures}"),
        );
    }
    let runs: Vec<_> = (0..4)
        .map(|run| {
            begin(
                scratch
                    .command(&harness())
                    .args(["--test-threads", "20", "--output", &format!("out-{run}")])
                    .env("PISAURA_LOCKS", scratch.join(&format!("locks-{run}"))),
            )
        })
        .collect();
    for run in runs {
        let ran = Ran::from_output(&run.wait_with_output().expect("an end"), &scratch);
        assert_eq!(ran.code, Some(0), "{}{}", ran.stdout, ran.stderr);
        assert!(ran.stdout.contains("test result: ok. 60 passed; 0 failed; 0 ignored"), "{}", ran.stdout);
    }
}

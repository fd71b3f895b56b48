//! Other users of a host and of this machine: what they put in our way neither hurts anybody, nor stops or misleads a run. And books
//! and servers that would make a run wait, grow, or show what it must not.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use libtest_mimic::Trial;

use crate::case::{Case, stop, walk};
use crate::common::{Ran, Scratch, harness, is_root, needing, program, test, wait_for};
use crate::healed::lives;

pub fn tests() -> Vec<Trial> {
    let root =
        |name: &'static str, run: fn()| needing(name, is_root(), "needs to be root, to be another user", run);
    vec![
        root("neighbors::a_forged_mark_names_nobody_who_is_ended", forged_mark),
        root("neighbors::a_journal_cannot_be_locked", locked_journal),
        test("neighbors::a_lease_behind_a_link_or_in_a_folder_for_all", leases),
        test("neighbors::names_that_are_left_for_all_to_see", names_for_all),
        test("neighbors::a_lock_with_another_name", other_name),
        test("neighbors::a_second_signal_ends_a_run_that_hangs", hung_run),
        test("neighbors::gates_are_their_users_alone", gates),
        test("neighbors::a_url_that_does_not_end", slow_url),
        test("neighbors::a_server_that_floods", floods),
        test("neighbors::what_a_book_has_beside_itself", beside),
        test("neighbors::escapes_in_books_and_logs", escapes),
        test("neighbors::what_stays_here", stays_here),
        test("neighbors::a_books_variables_are_not_shown", variables),
    ]
}

/// A process of another user's.
fn as_nobody(arguments: &[&str]) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups"]).args(arguments);
    command.current_dir("/").stdin(Stdio::null()).stdout(Stdio::null());
    command
}

/// When a process was started, as its host tells.
fn started(process: u32) -> String {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).expect("a process");
    let rest = stat.rsplit_once(") ").expect("a name").1;
    rest.split(' ').nth(19).expect("a time").to_owned()
}

fn end(mut process: Child) {
    process.kill().expect("a signal");
    process.wait().expect("an end");
}

/// Who may be told that what he waits for is ended is only a shell of ours: anybody can name another.
fn forged_mark() {
    let case = Case::new("");
    case.waits_at("--step=2").book("timeout: 20s", "");
    let victim = Command::new("sleep").arg("300").spawn().expect("a process");
    let run = case.begin();
    let name = case.case_folder().file_name().expect("a name").to_string_lossy().into_owned();
    let mark = name.trim_start_matches(".case-").to_owned();
    let (mark, by) =
        (format!("PISAURA_MARK={mark}"), format!("PISAURA_BY={}:{}", victim.id(), started(victim.id())));
    let mut forged = as_nobody(&["env", "-i", &mark, &by, "sleep", "300"]).spawn().expect("a process");
    case.go();
    let ran = case.end(run);
    assert_eq!(ran.code, Some(0), "{}{}", ran.stdout, ran.stderr);
    assert!(lives(victim.id().into()), "{}", ran.stderr);
    // What bears the mark is ended, as it said of itself.
    wait_for("the forger's end", || forged.try_wait().expect("a process").is_some());
    end(victim);
}

/// Whoever may read a report's folder may not lock what runs wait for.
fn locked_journal() {
    let case = Case::new("");
    let output = tempfile::Builder::new().prefix("pisaura-output-").tempdir().expect("a folder");
    fs::set_permissions(output.path(), fs::Permissions::from_mode(0o755)).expect("a mode");
    let output_path = output.path().display().to_string();
    let run = || case.pisaura(&["run", "--output", &output_path]);
    assert_eq!(run().code, Some(0));
    let lock = |path: &Path| {
        let locking = as_nobody(&["flock", "-x", &path.display().to_string(), "sleep", "300"])
            .stderr(Stdio::piped())
            .spawn();
        let mut locking = locking.expect("flock runs");
        // It has the lock once it has become something else, or has said why not.
        wait_for("the lock", || {
            let children =
                fs::read_to_string(format!("/proc/{0}/task/{0}/children", locking.id())).unwrap_or_default();
            !children.is_empty() || locking.try_wait().expect("a process").is_some()
        });
        locking
    };
    let locking = lock(&output.path().join("journal.jsonl"));
    let ran = run();
    assert_eq!(ran.code, Some(0), "{}{}", ran.stdout, ran.stderr);
    end(locking);
    // Nor make a run that is dead look alive.
    case.waits_at("--step=2").book("timeout: 20s, deadman: 'off'", "");
    let mut command = case.command(&["run", "--output", &output_path]);
    let mut killed = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it runs");
    wait_for("the healthcheck", || case.scratch.join("at").exists());
    killed.kill().expect("a signal");
    killed.wait().expect("an end");
    let alive = output.path().join(".alive");
    assert_eq!(fs::metadata(&alive).expect("a folder").permissions().mode() & 0o777, 0o700);
    let locking: Vec<Child> = walk(&alive).iter().map(|path| lock(path)).collect();
    let ran = case.pisaura(&["revert", "--output", &output_path]);
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(0), "1 reverted\n"), "{}", ran.stderr);
    assert!(!case.is_broken());
    for mut locking in locking {
        let _ = locking.kill();
        let _ = locking.wait();
    }
}

/// A word in a folder for all is ours only if nobody else can have put it there.
fn leases() {
    let case = Case::new("");
    case.waits_at("--step=2").book("deadman: 'off'", "").begin_and_kill();
    let root = case.sshd.home().join(".pisaura");
    let lease =
        walk(&root).into_iter().find(|path| path.display().to_string().contains("/lease-")).expect("a lease");
    let lease = lease.file_name().expect("a name").to_owned();
    assert_eq!(case.pisaura(&["revert"]).stdout, "1 reverted\n");
    let mark = "0123456789abcdef";
    let evil = |folder: &Path| {
        let at = folder.join(format!("f/.case-{mark}"));
        fs::create_dir_all(&at).expect("a folder");
        let heal = format!("echo ran >>'{}/log'; echo healed\n", case.sshd.home().display());
        fs::write(at.join("heal"), heal).expect("a file");
        format!("{mark} -:1:1:x:y 1 1 {}\n", folder.join("f").display())
    };
    let made = || tempfile::Builder::new().prefix(".pisaura-").tempdir_in("/var/tmp").expect("a folder");
    let elsewhere = tempfile::tempdir().expect("a folder");
    // In a folder that others may write to; behind a link to one; and as a link itself.
    let (open, linked, private) = (made(), made(), made());
    fs::write(open.path().join(&lease), evil(open.path())).expect("a file");
    fs::set_permissions(open.path(), fs::Permissions::from_mode(0o777)).expect("a mode");
    fs::write(elsewhere.path().join(&lease), evil(elsewhere.path())).expect("a file");
    let link = linked.path().with_extension("l");
    symlink(elsewhere.path(), &link).expect("a link");
    fs::write(private.path().join("word"), evil(private.path())).expect("a file");
    symlink(private.path().join("word"), private.path().join(&lease)).expect("a link");
    let ran = case.pisaura(&["run"]);
    fs::remove_file(link).expect("a link");
    assert_eq!(ran.code, Some(0), "{}{}", ran.stdout, ran.stderr);
    assert_eq!(case.log(), "break\nheal\nbreak\nheal\n");
}

/// Of what bears a lease's name in `/var/tmp` only our own plain files with a mark behind it go.
fn names_for_all() {
    let folder = tempfile::tempdir().expect("a folder");
    let home = folder.path().join("home");
    fs::create_dir(&home).expect("a folder");
    fs::write(home.join("precious"), "").expect("a file");
    let lease = format!("lease-{:016x}", std::process::id());
    let beside = |end: &str| Path::new("/var/tmp").join(format!(".pisaura-{lease}.{end}"));
    let text = |file: &str| {
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/remote/host").join(file))
            .expect("a text")
    };
    let script = format!(
        "_pisaura_mark() {{ :; }}\n_pisaura_J=1 _pisaura_I='m b n 1 h' _pisaura_L='{}/{lease}'\n{}{}{}",
        folder.path().display(),
        text("own.sh"),
        text("common.sh"),
        text("look.sh")
    );
    for shell in ["dash", "busybox sh", "bash --posix"] {
        for end in ["0a", "x *", "1/../../etc"] {
            let _ = fs::write(beside(end), "");
        }
        symlink("/etc/hostname", beside("y *")).expect("a link");
        symlink("/etc/hostname", beside("0b")).expect("a link");
        let mut words = shell.split(' ');
        let mut command = Command::new(words.next().unwrap_or_default());
        command.args(words).args(["-euc", &script]).current_dir(&home).env("HOME", &home);
        let output = command.output().expect("a shell");
        assert!(home.join("precious").exists(), "{shell}");
        let left: Vec<bool> =
            ["0a", "x *", "y *", "0b"].map(|end| beside(end).symlink_metadata().is_ok()).into();
        for end in ["x *", "y *", "0b"] {
            let _ = fs::remove_file(beside(end));
        }
        assert_eq!(left, [false, true, true, true], "{shell}: {output:?}");
        assert_eq!(String::from_utf8_lossy(&output.stdout), "host free\n", "{shell}: {output:?}");
    }
}

/// A file that is no lock is not made one for all.
fn other_name() {
    let case = Case::new("");
    let locks = case.scratch.join("for all");
    fs::create_dir(&locks).expect("a folder");
    fs::set_permissions(&locks, fs::Permissions::from_mode(0o1777)).expect("a mode");
    let run = || Ran::of(case.command(&["run"]).env("PISAURA_LOCKS", &locks), &case.scratch);
    assert_eq!(run().code, Some(0));
    let precious = case.scratch.join("precious");
    fs::write(&precious, "precious").expect("a file");
    fs::set_permissions(&precious, fs::Permissions::from_mode(0o600)).expect("a mode");
    for lock in fs::read_dir(&locks).expect("locks").flatten() {
        fs::remove_file(lock.path()).expect("a file");
        fs::hard_link(&precious, lock.path()).expect("a link");
    }
    assert_eq!(run().code, Some(3));
    assert_eq!(fs::metadata(&precious).expect("a file").permissions().mode() & 0o777, 0o600);
}

/// The one thread that decides may hang in a system call: here for a lock that somebody of this user's has.
fn hung_run() {
    let case = Case::new("");
    assert_eq!(case.pisaura(&["run"]).code, Some(0));
    let alive = case.scratch.join("target/pisaura/.alive");
    let mut command = Command::new("flock");
    command.args(["--no-fork", "-x"]).arg(alive.join(".lock")).args([
        "sh",
        "-c",
        ": >\"$0\"; exec sleep 300",
    ]);
    let locking = command.arg(case.path("locked")).spawn().expect("flock runs");
    wait_for("the lock", || case.scratch.join("locked").exists());
    let mut command = case.command(&["run"]);
    let mut run = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("it runs");
    wait_for("its mark", || walk(&alive).len() > 1);
    stop(run.id(), "INT");
    // A second one that comes with the first says nothing.
    wait_for("its end", || {
        let is_over = run.try_wait().expect("a process").is_some();
        if !is_over {
            std::thread::sleep(Duration::from_millis(900));
            stop(run.id(), "INT");
        }
        is_over
    });
    let mut said = String::new();
    run.stderr.take().expect("a pipe").read_to_string(&mut said).expect("a text");
    assert_eq!(run.wait().expect("an end").code(), Some(4), "{said}");
    assert!(said.contains("SIGINT again: the run hangs, and is left at once"), "{said}");
    end(locking);
}

/// Under nextest a failfast is a file, by which others could close it.
fn gates() {
    let case = Case::new("");
    case.scratch.write("fatebooks/b/check.sh", "#!/bin/sh\nexit 1\n");
    let script = format!("umask 000; exec '{}'", harness().display());
    let mut command = case.scratch.command(Path::new("sh"));
    command
        .args(["-c", &script])
        .env("NEXTEST_EXECUTION_MODE", "process-per-test")
        .env("NEXTEST_RUN_ID", "r");
    let ran = Ran::of(command.env("PISAURA_FAIL_FAST", "1"), &case.scratch);
    assert_eq!(ran.code, Some(101), "{}{}", ran.stdout, ran.stderr);
    let all = walk(&case.scratch.join("target/pisaura/nextest"));
    assert!(all.len() >= 2, "{all:?}");
    for path in all {
        assert_eq!(
            fs::metadata(&path).expect("a file").permissions().mode() & 0o077,
            0,
            "{}",
            path.display()
        );
    }
}

/// A server that goes on sending a little: how often it was asked, and where.
fn slow_server() -> (u16, Arc<AtomicUsize>) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    let (port, asked) = (listener.local_addr().expect("an address").port(), Arc::new(AtomicUsize::new(0)));
    let count = Arc::clone(&asked);
    std::thread::spawn(move || {
        for stream in listener.incoming().take(10) {
            let Ok(mut stream) = stream else { return };
            count.fetch_add(1, Ordering::SeqCst);
            std::thread::spawn(move || {
                let _ = stream.read(&mut [0; 4096]);
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n");
                for _ in 0..600 {
                    if stream.write_all(b"x").is_err() {
                        return;
                    }
                    std::thread::sleep(Duration::from_millis(100));
                }
            });
        }
    });
    (port, asked)
}

/// It is fetched within the book's time limit, and not at all to heal; an interrupt ends it.
fn slow_url() {
    let (port, asked) = slow_server();
    let case = Case::new("");
    let with_url = |timeout: &str| {
        let failure = "  - {name: f, inducer: [break.sh], reverter: [heal.sh], healthcheck: [check.sh], deadman: 'off'}\n";
        let top = format!("timeout: {timeout}\nresources: ['http://127.0.0.1:{port}/data.bin']");
        case.scratch.write("fatebooks/b/fatebook.yaml", case.sshd.book(&top, failure));
    };
    with_url("2s");
    let began = Instant::now();
    let ran = case.pisaura(&["run"]);
    assert_eq!(ran.code, Some(3), "{}{}", ran.stdout, ran.stderr);
    assert!(ran.stdout.contains("data.bin: it took longer than the time limit"), "{}", ran.stdout);
    assert!(began.elapsed() < Duration::from_secs(20));
    with_url("60s");
    let mut command = case.command(&["run"]);
    let run = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it runs");
    wait_for("the second question", || asked.load(Ordering::SeqCst) == 2);
    stop(run.id(), "INT");
    let ran = case.end(run);
    assert_eq!(ran.code, Some(130), "{}{}", ran.stdout, ran.stderr);
    assert!(began.elapsed() < Duration::from_secs(40));
    assert_eq!(case.log_or_none(), "");
    // A book that has one by now is healed without it.
    case.waits_at("--step=2").book("timeout: 30s, deadman: 'off'", "").begin_and_kill();
    with_url("60s");
    let ran = case.pisaura(&["revert"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(0), "1 reverted\n"), "{}", ran.stderr);
    assert_eq!(asked.load(Ordering::SeqCst), 2);
}

/// Pipes, links in circles, and texts that are nothing but brackets are found out soon.
fn beside() {
    let check = |prepare: &dyn Fn(&Scratch), code: i32, said: &str| {
        let scratch = Scratch::new();
        for name in ["break.sh", "heal.sh", "check.sh"] {
            scratch.write(&format!("fatebooks/b/{name}"), "#!/bin/sh\nexit 0\n");
        }
        let book = "service: s\nhosts: [h]\nfailures:\n  - {name: f, inducer: [break.sh], reverter: [heal.sh], healthcheck: [check.sh]}\n";
        scratch.write("fatebooks/b/fatebook.yaml", book);
        prepare(&scratch);
        for arguments in [&["check"][..], &["run", "--dry-run"]] {
            let began = Instant::now();
            let ran = Ran::of(
                scratch.command(Path::new("timeout")).arg("60").arg(program()).args(arguments),
                &scratch,
            );
            let all = format!("{}{}", ran.stdout, ran.stderr);
            assert_eq!(ran.code, Some(code), "{arguments:?}: {all}");
            assert!(all.contains(said), "{arguments:?}: {all}");
            assert!(began.elapsed() < Duration::from_secs(30), "{arguments:?}: {said}");
        }
    };
    let fifo = |scratch: &Scratch| {
        assert!(
            Command::new("mkfifo").arg(scratch.join("fatebooks/b/pipe")).status().expect("it runs").success()
        );
    };
    check(&fifo, 0, "ship with it: break.sh, check.sh, heal.sh");
    // Each folder leads to the next by two names.
    let circles = |scratch: &Scratch| {
        for number in 0..16 {
            let folder = scratch.join(&format!("fatebooks/b/d{number}"));
            fs::create_dir(&folder).expect("a folder");
            for name in ["one", "two"] {
                symlink(format!("../d{}", number + 1), folder.join(name)).expect("a link");
            }
        }
        fs::create_dir(scratch.join("fatebooks/b/d16")).expect("a folder");
    };
    check(&circles, 2, "more than 10000 folders");
    let brackets = |scratch: &Scratch| {
        let text = format!("echo {}", "$(".repeat(20_000));
        let book = scratch.read("fatebooks/b/fatebook.yaml").replace("[check.sh]", &format!("['{text}']"));
        scratch.write("fatebooks/b/fatebook.yaml", book);
    };
    let scratch = Scratch::new();
    for name in ["break.sh", "heal.sh", "check.sh"] {
        scratch.write(&format!("fatebooks/b/{name}"), "#!/bin/sh\nexit 0\n");
    }
    scratch.write("fatebooks/b/fatebook.yaml", "service: s\nhosts: [h]\nfailures:\n  - {name: f, inducer: [break.sh], reverter: [heal.sh], healthcheck: [check.sh]}\n");
    brackets(&scratch);
    let ran = scratch.pisaura(&["list"]);
    assert_eq!(ran.code, Some(0), "{}{}", ran.stdout, ran.stderr);
}

/// What a book or a script prints moves no cursor and hides no line, wherever a person reads it.
fn escapes() {
    let plain =
        |text: &str| text.chars().all(|c| c == '\n' || c == '\u{fffd}' || !c.is_control() && c != '\u{202e}');
    let case = Case::new("");
    case.book("skip: \"why \\e[8m\\u009d not \\u202e\"", "");
    case.scratch.write("fatebooks/b/a\u{1b}[8m.txt", "");
    for arguments in [&["check"][..], &["run", "--dry-run"], &["run"]] {
        let ran = case.pisaura(arguments);
        assert!(plain(&ran.stdout) && plain(&ran.stderr), "{arguments:?}: {:?}{:?}", ran.stdout, ran.stderr);
    }
    case.book("", "");
    case.scratch.write(
        "fatebooks/b/break.sh",
        "#!/bin/sh\nprintf 'one\\rtwo\\b\\033[8m\\302\\235x\\342\\200\\256\\n'\n",
    );
    let ran = case.pisaura(&["run"]);
    assert_eq!(ran.code, Some(0), "{}{}", ran.stdout, ran.stderr);
    let logs = walk(&case.scratch.join("target/pisaura/logs"));
    let log = fs::read_to_string(&logs[0]).expect("a log");
    assert!(log.contains("one") && plain(&log), "{log:?}");
    let hidden =
        case.scratch.read("fatebooks/b/fatebook.yaml").replace("127.0.0.1:", "\"db\\u202e1\", '127.0.0.1:");
    case.scratch.write("fatebooks/b/fatebook.yaml", hidden.replace("['\"db", "[\"db"));
    let ran = case.pisaura(&["check"]);
    assert_eq!(ran.code, Some(2), "{}{}", ran.stdout, ran.stderr);
    assert!(ran.stderr.contains("a host's name has an invisible character in it"), "{}", ran.stderr);
}

/// Copies that an editor keeps of a book, and keys in other coats, do not travel; nor what nobody means of a folder that is named.
fn stays_here() {
    let case = Case::new("");
    let pem = "-----BEGIN PRIVATE KEY-----\nx\n";
    for (name, text) in [
        ("fatebook.yaml~", "x"),
        ("other.yml.bak", "x"),
        ("k.ppk", "PuTTY-User-Key-File-3: ssh-ed25519\n"),
        ("late", &format!("\n{pem}")),
        ("bag", &format!("Bag Attributes\n    localKeyID: 01\n{pem}")),
        ("data/.env", "TOKEN=1\n"),
        ("data/kept", "x"),
        ("notes", "how to begin a PRIVATE KEY\n"),
    ] {
        case.scratch.write(&format!("fatebooks/b/{name}"), text);
    }
    let failure = "  - {name: f, inducer: [break.sh], reverter: [heal.sh], healthcheck: [check.sh]}\n";
    case.scratch.write("fatebooks/b/fatebook.yaml", case.sshd.book("resources: [data]", failure));
    let ran = case.pisaura(&["run", "--dry-run"]);
    let line = ran.stdout.lines().next().unwrap_or_default();
    let (_, names) = line.split_once("ship with it: ").expect("a list");
    assert_eq!(names, "break.sh, check.sh, data/kept, heal.sh, notes");
}

/// Somebody else's book may name any variable of the environment.
fn variables() {
    const VALUE: &str = "glpat-Leak/M3now";
    let case = Case::new("");
    let run = |top: &str, keys: &str, arguments: &[&str]| {
        let failure =
            format!("  - {{name: f, inducer: [break.sh, '${{TOKEN}}'], reverter: [heal.sh], {keys}}}\n");
        case.scratch.write("fatebooks/b/fatebook.yaml", case.sshd.book(top, &failure));
        let ran = Ran::of(case.command(arguments).env("TOKEN", VALUE), &case.scratch);
        format!("{}{}", ran.stdout, ran.stderr)
    };
    let dry = run(
        "",
        "healthcheck: {http: 'http://h/${TOKEN}', within: 1s}, expect_output: {contains: '${TOKEN}'}",
        &["run", "--dry-run"],
    );
    assert!(dry.contains("break.sh ${TOKEN}") && dry.contains("http://h/${TOKEN}"), "{dry}");
    let skipped = run("", "skip: 'w ${TOKEN}', healthcheck: [check.sh]", &["check"]);
    assert!(skipped.contains("1 ignored: w ${TOKEN}\n"), "{skipped}");
    let broken =
        run("tags: ['${TOKEN}']\ncpu: '${TOKEN}'", "healthcheck: [check.sh], hosts: '${TOKEN}'", &["check"]);
    for said in [dry, skipped, broken] {
        for part in ["Leak", "M3now", "glpat"] {
            assert!(!said.contains(part), "{part}: {said}");
        }
    }
}

/// A packet of SSH's, without encryption (RFC 4253, 6): its length, that of its padding, what is in it, and the padding.
fn packet(payload: &[u8]) -> Vec<u8> {
    let padding = 8 - (payload.len() + 5) % 8 + 4;
    let mut bytes = u32::try_from(payload.len() + 1 + padding).expect("a length").to_be_bytes().to_vec();
    bytes.push(u8::try_from(padding).expect("a length"));
    bytes.extend(payload);
    bytes.extend(vec![0; padding]);
    bytes
}

/// What nobody has asked for is kept by libssh2, whoever sends it: here before the server has shown its key.
fn floods() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    let port = listener.local_addr().expect("an address").port();
    std::thread::spawn(move || {
        for stream in listener.incoming().take(20).flatten() {
            std::thread::spawn(move || {
                let mut stream = stream;
                let mut hello = b"SSH-2.0-flood\r\n".to_vec();
                let names = [
                    "curve25519-sha256",
                    "ssh-ed25519",
                    "aes128-ctr",
                    "aes128-ctr",
                    "hmac-sha2-256",
                    "hmac-sha2-256",
                    "none",
                    "none",
                    "",
                    "",
                ];
                let mut kexinit = vec![20; 17];
                for name in names {
                    kexinit.extend(u32::try_from(name.len()).expect("a length").to_be_bytes());
                    kexinit.extend(name.as_bytes());
                }
                kexinit.extend([0; 5]);
                hello.extend(packet(&kexinit));
                let flood = packet(&[100; 30_000]).repeat(20);
                let _ = stream.write_all(&hello);
                // Bounded: 4 GB at the most.
                for _ in 0..7000 {
                    if stream.write_all(&flood).is_err() {
                        return;
                    }
                }
            });
        }
    });
    let case = Case::new("");
    case.book("timeout: 15s", "");
    let path = "fatebooks/b/fatebook.yaml";
    let book = case
        .scratch
        .read(path)
        .replace(&format!("127.0.0.1:{}", case.sshd.port), &format!("127.0.0.1:{port}"));
    case.scratch.write(path, book);
    let mut command = case.command(&["run"]);
    let mut run = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("it runs");
    let mut most_kib = 0;
    wait_for("its end", || {
        let status = fs::read_to_string(format!("/proc/{}/status", run.id())).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or_default();
        most_kib = line.trim().trim_end_matches("kB").trim().parse().unwrap_or(most_kib);
        run.try_wait().expect("a process").is_some()
    });
    let ran = case.end(run);
    assert_eq!(ran.code, Some(3), "{}", ran.stdout);
    assert!(
        ran.stdout.contains("the server sends without an end before anybody has logged in"),
        "{}",
        ran.stdout
    );
    assert!(most_kib > 0 && most_kib < 600_000, "{most_kib} KiB");
}

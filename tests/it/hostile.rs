//! A hostile host, a curious neighbor, a careless book: nobody is held up, misled, or told what is not theirs.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use libtest_mimic::Trial;

use crate::case::{BREAK, Case, known};
use crate::common::{Ran, Scratch, Sshd, begin, program, test, wait_for, write_scripts};
use crate::relay::Relay;

pub fn tests() -> Vec<Trial> {
    vec![
        test("hostile::what_is_offered", offered),
        test("hostile::a_banner_without_an_end", endless_banner),
        test("hostile::an_agent_that_does_not_sign", silent_signer),
        test("hostile::pipes_in_the_place_of_files", pipes),
        test("hostile::folders_of_locks", lock_folders),
        test("hostile::check_tells_no_values", no_values),
        test("hostile::what_travels_with_a_book", what_travels),
        test("hostile::large_books_are_refused_soon", large_books),
        test("hostile::what_only_looks_starts_and_writes_nothing", only_looks),
        test("hostile::modes_do_not_hang_on_the_umask", modes),
        test("hostile::a_home_whose_name_ends_a_paste", odd_home),
        test("hostile::a_subsystem_that_says_nothing", silent_sftp),
        test("hostile::a_login_that_says_nothing", silent_login),
        test("hostile::a_server_that_falls_silent", falls_silent),
        test("hostile::a_key_that_is_everybodys", open_key),
    ]
}

/// A server that is nobody's: what it does with each connection; it ends with the test.
fn server(serve: impl Fn(std::net::TcpStream) + Send + Sync + 'static) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let serve = Arc::new(serve);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let serve = Arc::clone(&serve);
            std::thread::spawn(move || serve(stream));
        }
    });
    port
}

/// A book whose one host is at this port; keys of `ssh` are added.
fn book_at(scratch: &Scratch, port: u16, ssh: &str) {
    write_scripts(scratch);
    scratch.write(
        "fatebooks/b/fatebook.yaml",
        format!(
            "service: s\nhosts: ['127.0.0.1:{port}']\nssh: {{host_key_check: 'off'{ssh}}}\nfailures:\n  - {{name: f, inducer: [break.sh], reverter: [heal.sh], healthcheck: [check.sh], timeout: 2s}}\n"
        ),
    );
}

/// What an OpenSSH of today does not offer any more is not offered: the lists of our KEXINIT (RFC 4253, 7.1), as a server sees them.
fn offered() {
    let (sender, seen) = std::sync::mpsc::channel();
    let sender = std::sync::Mutex::new(sender);
    let port = server(move |mut stream| {
        let _ = stream.write_all(b"SSH-2.0-looks\r\n");
        let mut all = Vec::new();
        let mut buffer = [0; 4096];
        let _ = stream.set_read_timeout(Some(Duration::from_secs(2)));
        while let Ok(count) = stream.read(&mut buffer) {
            all.extend_from_slice(&buffer[..count]);
            let banner = all.iter().position(|byte| *byte == b'\n').map_or(usize::MAX, |at| at + 1);
            let length = all
                .get(banner..banner.saturating_add(4))
                .map(|bytes| u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]));
            if count == 0 || length.is_some_and(|length| all.len() >= banner + 4 + length as usize) {
                break;
            }
        }
        let _ = sender.lock().expect("a sender").send(all);
    });
    let scratch = Scratch::new();
    book_at(&scratch, port, "");
    let ran = scratch.pisaura(&["run"]);
    assert_eq!(ran.code, Some(3), "{}{}", ran.stdout, ran.stderr);
    let all = seen.recv_timeout(Duration::from_secs(10)).expect("a packet");
    let at = all.iter().position(|byte| *byte == b'\n').expect("a banner") + 1;
    // Length, padding, message number and cookie come first.
    let mut rest = &all[at + 4 + 1 + 1 + 16..];
    let mut lists = Vec::new();
    for _ in 0..8 {
        let length = u32::from_be_bytes(rest[..4].try_into().expect("four bytes")) as usize;
        lists.push(String::from_utf8_lossy(&rest[4..4 + length]).into_owned());
        rest = &rest[4 + length..];
    }
    let [kex, host_key, to_server, to_client, mac_to_server, mac_to_client, ..] = &lists[..] else {
        panic!("{lists:?}")
    };
    for ciphers in [to_server, to_client] {
        assert!(ciphers.contains("aes256-ctr"), "{ciphers}");
        for cipher in ciphers.split(',') {
            let is_good = ["-ctr", "-gcm@openssh.com", "chacha20-poly1305@openssh.com"]
                .iter()
                .any(|end| cipher.ends_with(end));
            assert!(is_good, "{cipher}");
        }
    }
    for list in [kex, host_key, mac_to_server, mac_to_client] {
        for name in list.split(',') {
            for weak in ["sha1", "md5", "dss", "group1-", "ripemd"] {
                assert!(!name.contains(weak), "{name}");
            }
            assert_ne!(name, "ssh-rsa");
        }
    }
}

/// How long a command may go on that should end within its own limits of two seconds.
const SOON: Duration = Duration::from_secs(30);

fn endless_banner() {
    let met = Arc::new(AtomicUsize::new(0));
    let meets = Arc::clone(&met);
    let port = server(move |mut stream| {
        meets.fetch_add(1, Ordering::Relaxed);
        while stream.write_all(&[b'x'; 4096]).is_ok() && stream.write_all(b"\r\n").is_ok() {}
    });
    let scratch = Scratch::new();
    book_at(&scratch, port, ", connect_timeout: 1s");
    let began = Instant::now();
    let ran = scratch.pisaura(&["run"]);
    assert_eq!(ran.code, Some(3), "{}{}", ran.stdout, ran.stderr);
    assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
    // An interrupt does not wait for the limit.
    book_at(&scratch, port, ", connect_timeout: 10m");
    let book = scratch.read("fatebooks/b/fatebook.yaml").replace("timeout: 2s}", "timeout: 10m}");
    scratch.write("fatebooks/b/fatebook.yaml", book);
    let before = met.load(Ordering::Relaxed);
    let run = begin(scratch.command(&program()).arg("run"));
    wait_for("a connection", || met.load(Ordering::Relaxed) > before);
    assert!(
        Command::new("kill").args(["-INT", &run.id().to_string()]).status().expect("kill runs").success()
    );
    let began = Instant::now();
    let ran = Ran::from_output(&run.wait_with_output().expect("an end"), &scratch);
    assert_eq!(ran.code, Some(130), "{}{}", ran.stdout, ran.stderr);
    assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
}

/// It tells which keys it has, and then waits for its user.
fn silent_signer() {
    let (scratch, sshd) = (Scratch::new(), Sshd::start());
    write_scripts(&scratch);
    let blob = {
        use std::process::Command;
        let public = fs::read_to_string(sshd.join("identity.pub")).expect("a key");
        let encoded = public.split(' ').nth(1).expect("a key").to_owned();
        let mut decode = Command::new("base64")
            .arg("-d")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("it runs");
        decode.stdin.take().expect("a pipe").write_all(encoded.as_bytes()).expect("a text");
        decode.wait_with_output().expect("an end").stdout
    };
    let socket = scratch.join("agent");
    let listener = std::os::unix::net::UnixListener::bind(&socket).expect("a socket");
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let blob = blob.clone();
            std::thread::spawn(move || {
                let mut header = [0; 5];
                while stream.read_exact(&mut header).is_ok() {
                    let length = u32::from_be_bytes([header[0], header[1], header[2], header[3]]) as usize;
                    let mut rest = vec![0; length - 1];
                    let _ = stream.read_exact(&mut rest);
                    if header[4] != 11 {
                        // A request to sign: it never answers.
                        std::thread::sleep(Duration::from_secs(600));
                    }
                    let mut answer = vec![12, 0, 0, 0, 1];
                    answer.extend((blob.len() as u32).to_be_bytes());
                    answer.extend(&blob);
                    answer.extend([0, 0, 0, 1, b'k']);
                    let mut whole = (answer.len() as u32).to_be_bytes().to_vec();
                    whole.extend(answer);
                    let _ = stream.write_all(&whole);
                }
            });
        }
    });
    let known = sshd.path().join("known_hosts").display().to_string();
    let book = |limit: &str| {
        format!(
            "service: s\nhosts: ['127.0.0.1:{}']\nssh: {{known_hosts: '{known}', connect_timeout: {limit}}}\nfailures:\n  - {{name: f, inducer: [break.sh], reverter: [heal.sh], healthcheck: [check.sh], timeout: {limit}}}\n",
            sshd.port
        )
    };
    scratch.write("fatebooks/b/fatebook.yaml", book("2s"));
    let mut command = scratch.command(&program());
    command.arg("run").env("SSH_AUTH_SOCK", &socket);
    let began = Instant::now();
    let ran = Ran::of(&mut command, &scratch);
    assert_eq!(ran.code, Some(3), "{}{}", ran.stdout, ran.stderr);
    assert!(
        ran.stdout.contains("the ssh-agent (it did not sign in time: does it wait for its user?)"),
        "{}",
        ran.stdout
    );
    assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
}

fn fifo(path: &std::path::Path) {
    assert!(Command::new("mkfifo").arg(path).status().expect("mkfifo runs").success());
}

/// Nobody opens the other end, so whoever waits for that waits for ever.
fn pipes() {
    let case = Case::new("");
    let soon = |ran: &Ran, began: Instant| {
        assert!(began.elapsed() < SOON, "{:?}: {}{}", began.elapsed(), ran.stdout, ran.stderr);
    };
    // What others leave in the folder for temporary files.
    let temporary = case.scratch.join("temporary");
    fs::create_dir(&temporary).expect("a folder");
    let left = temporary.join("pisaura-folder-x");
    fs::create_dir(&left).expect("a folder");
    fifo(&left.join(".pisaura-owner"));
    let began = Instant::now();
    let mut command = case.command(&["run"]);
    let ran = Ran::of(command.env("TMPDIR", &temporary), &case.scratch);
    assert_eq!(ran.code, Some(0), "{}{}", ran.stdout, ran.stderr);
    soon(&ran, began);
    for file in ["known_hosts", "identity"] {
        let case = Case::new("");
        let path = case.sshd.join(file);
        fs::remove_file(&path).expect("a file");
        fifo(&path);
        let began = Instant::now();
        let ran = case.pisaura(&["run"]);
        assert_eq!(ran.code, Some(3), "{file}: {}{}", ran.stdout, ran.stderr);
        assert!(ran.stdout.contains("it is no file"), "{file}: {}", ran.stdout);
        soon(&ran, began);
    }
    // A book, and a lock.
    let scratch = Scratch::new();
    scratch.write("fatebooks/x", "");
    fifo(&scratch.join("fatebooks/pipe.yaml"));
    let began = Instant::now();
    let ran = scratch.pisaura(&["check"]);
    soon(&ran, began);
    let case = Case::new("");
    assert_eq!(case.pisaura(&["run"]).code, Some(0));
    let locks = case.scratch.join("locks");
    for lock in fs::read_dir(&locks).expect("locks").flatten() {
        fs::remove_file(lock.path()).expect("a file");
        fifo(&lock.path());
    }
    let began = Instant::now();
    let ran = case.pisaura(&["run"]);
    assert_eq!(ran.code, Some(3), "{}{}", ran.stdout, ran.stderr);
    assert!(ran.stdout.contains("is no plain file"), "{}", ran.stdout);
    soon(&ran, began);
}

fn lock_folders() {
    let case = Case::new("");
    let check = |locks: &std::path::Path, said: &str| {
        let mut command = case.command(&["run"]);
        let ran = Ran::of(command.env("PISAURA_LOCKS", locks), &case.scratch);
        assert_eq!(ran.code, Some(3), "{said}: {}{}", ran.stdout, ran.stderr);
        assert!(
            ran.stderr.contains(said) && ran.stderr.contains("PISAURA_LOCKS names another folder"),
            "{}",
            ran.stderr
        );
    };
    let file = case.scratch.join("a file");
    fs::write(&file, "").expect("a file");
    check(&file, "it is no folder");
    let link = case.scratch.join("link");
    symlink("nowhere", &link).expect("a link");
    check(&link, "No such file or directory");
    // A hard link to a file of this user's is not written over.
    assert_eq!(case.pisaura(&["run"]).code, Some(0));
    let precious = case.scratch.join("precious");
    fs::write(&precious, "precious").expect("a file");
    for lock in fs::read_dir(case.scratch.join("locks")).expect("locks").flatten() {
        fs::remove_file(lock.path()).expect("a file");
        fs::hard_link(&precious, lock.path()).expect("a link");
    }
    assert_eq!(case.pisaura(&["run"]).code, Some(3));
    assert_eq!(fs::read_to_string(&precious).expect("a file"), "precious");
}

/// What a variable holds, and what is secret in a book, is shown by no message about it.
fn no_values() {
    const VALUE: &str = "glpat-LEAKME";
    let check = |text: &str, leaked: &str| {
        let scratch = Scratch::new();
        write_scripts(&scratch);
        let rest =
            "failures:\n  - {name: f, inducer: [break.sh], reverter: [heal.sh], healthcheck: [check.sh]}\n";
        let hosts = if text.contains("hosts:") { "" } else { "hosts: [h]\n" };
        let failures = if text.contains("failures:") { "" } else { rest };
        scratch.write("fatebooks/b/fatebook.yaml", format!("service: s\n{hosts}{text}\n{failures}"));
        let mut command = scratch.command(&program());
        let ran = Ran::of(command.arg("check").env("TOKEN", VALUE), &scratch);
        assert_eq!(ran.code, Some(2), "{text}: {}{}", ran.stdout, ran.stderr);
        assert!(!format!("{}{}", ran.stdout, ran.stderr).contains(leaked), "{text}: {}", ran.stderr);
    };
    let failure = |keys: &str| {
        format!(
            "failures:\n  - {{name: f, inducer: [break.sh], reverter: [heal.sh], healthcheck: [check.sh], {keys}}}"
        )
    };
    for keys in [
        "timeout: '${TOKEN}'",
        "deadman: '${TOKEN}'",
        "expect: '${TOKEN}'",
        "hosts: ['${TOKEN}']",
        "grace: '${TOKEN}'",
    ] {
        check(&failure(keys), VALUE);
    }
    for text in [
        "failfast: '${TOKEN}'",
        "cpu: '${TOKEN}'",
        "mem: '${TOKEN}'",
        "resources: ['${TOKEN}']",
        "loglevel: '${TOKEN}'",
    ] {
        check(text, VALUE);
    }
    check(
        "failures:\n  - {name: f, inducer: ['${TOKEN}.sh'], reverter: [heal.sh], healthcheck: ['./${TOKEN}']}",
        VALUE,
    );
    for text in [
        "ssh: {Password: hunter2secret}",
        "ssh: {pass: hunter2secret}",
        "ssh:\n  password:\n    - hunter2secret",
        "ssh:\n  password: [hunter2secret]",
        "secrets: ['hunter2secret!']",
        "secrets:\n  - hunter2secret!",
    ] {
        check(text, "hunter2secret");
    }
    // A book that is no book, reached by a link.
    let scratch = Scratch::new();
    scratch.write("fatebooks/b/x", "");
    symlink("/proc/self/environ", scratch.join("fatebooks/b/x.json")).expect("a link");
    let ran = Ran::of(scratch.command(&program()).arg("check").env("AAA_TOKEN", VALUE), &scratch);
    assert_eq!(ran.code, Some(2));
    assert!(ran.stderr.contains("reached by a link that leads out of the folder of books"), "{}", ran.stderr);
    assert!(!format!("{}{}", ran.stdout, ran.stderr).contains(VALUE));
}

fn what_travels() {
    let (scratch, sshd) = (Scratch::new(), Sshd::start());
    write_scripts(&scratch);
    scratch.write("fatebooks/b/.env", "SECRET=1\n");
    scratch.write("fatebooks/b/.git/config", "x\n");
    scratch.write("fatebooks/b/data/x", "data\n");
    scratch.write("fatebooks/b/other.yaml", "{password: p}\n");
    scratch.write("fatebooks/b/deep/fatebook.json", "{}\n");
    scratch.write("fatebooks/b/id_other", "-----BEGIN OPENSSH PRIVATE KEY-----\nx\n");
    scratch.write("elsewhere/y", "y\n");
    scratch.write(
        "fatebooks/b/check.sh",
        format!("#!/bin/sh\nfind . -type f | sort >'{}'\n", scratch.join("seen").display()),
    );
    let book = |keys: &str| {
        scratch.write(
            "fatebooks/b/fatebook.yaml",
            sshd.book(
                keys,
                "  - {name: f, inducer: [break.sh], reverter: [heal.sh], healthcheck: [check.sh]}\n",
            ),
        );
    };
    book("");
    let run = || {
        scratch.pisaura(&[
            "run",
            "--exact",
            "b::f@127.0.0.1:PORT".replace("PORT", &sshd.port.to_string()).as_str(),
        ])
    };
    let ran = run();
    assert_eq!(ran.code, Some(0), "{}{}", ran.stdout, ran.stderr);
    let seen = scratch.read("seen");
    for file in [".env", ".git", "other.yaml", "fatebook", "id_other"] {
        assert!(!seen.contains(file), "{seen}");
    }
    assert!(seen.contains("./data/x\n") && seen.contains("./break.sh\n"), "{seen}");
    let dry = scratch.pisaura(&["run", "--dry-run", "f@"]);
    assert!(
        dry.stdout.starts_with("b: ")
            && dry.stdout.contains("ship with it: ")
            && dry.stdout.contains("data/x"),
        "{}",
        dry.stdout
    );
    // What leads out is told by name, and travels only if the book says so.
    symlink("../../elsewhere", scratch.join("fatebooks/b/out")).expect("a link");
    let ran = run();
    assert_eq!(ran.code, Some(3), "{}", ran.stdout);
    assert!(
        ran.stdout.contains("this link leads out of the book's folder, to ../../elsewhere"),
        "{}",
        ran.stdout
    );
    book("resources: [out]");
    assert_eq!(run().code, Some(0));
    assert!(scratch.read("seen").contains("./out/y\n"), "{}", scratch.read("seen"));
    let ran = scratch.pisaura(&["run", "--ship-max", "1KiB", "--dry-run", "f@"]);
    assert_eq!(ran.code, Some(0), "{}{}", ran.stdout, ran.stderr);
    scratch.write("fatebooks/b/data/x", "x".repeat(2000));
    let ran = scratch.pisaura(&["run", "--ship-max", "1KiB", "--dry-run", "f@"]);
    assert_eq!(ran.code, Some(2), "{}{}", ran.stdout, ran.stderr);
    assert!(ran.stdout.contains("data/x: with this file more than"), "{}", ran.stdout);
}

/// The cost of a book is bounded by its size.
fn large_books() {
    let check = |text: &str, said: &str| {
        let scratch = Scratch::new();
        scratch.write("fatebooks/b.yaml", text);
        let began = Instant::now();
        let ran = scratch.pisaura(&["check"]);
        assert_eq!(ran.code, Some(2), "{said}");
        assert!(ran.stderr.contains(said), "{said}: {}", ran.stderr.chars().take(400).collect::<String>());
        assert!(began.elapsed() < SOON, "{said}: {:?}", began.elapsed());
    };
    let aliases: String = (0..2000).map(|_| "  - *a\n").collect();
    check(
        &format!("service: &a '{}'\nhosts:\n{aliases}", "x".repeat(200_000)),
        "the aliases make more than 4 MiB",
    );
    let keys: String = (0..40_000).map(|key| format!("key{key}: 1\n")).collect();
    check(&keys, "key");
    // Each of many failures would have all of it.
    let (values, long) = ((0..100).map(|value| format!("{value},")).collect::<String>(), "x".repeat(400_000));
    check(
        &format!(
            "service: s\nhosts: [h]\nfailures:\n  - {{name: f, with: {{a: [{values}], b: [{values}]}}, inducer: ['true', '${{a}}${{b}}', '{long}'], reverter: ['true'], healthcheck: ['true']}}\n"
        ),
        "more than 256 MiB with all their values",
    );
    let many: String = (0..4000)
        .map(|number| {
            format!("  - {{name: f{number}, inducer: ['true'], reverter: ['true'], healthcheck: ['true']}}\n")
        })
        .collect();
    check(
        &format!("service: s\nhosts: [h]\nenv: {{A: '{long}'}}\nfailures:\n{many}"),
        "more than 256 MiB with all their values",
    );
    let hosts: String = (0..40_000).map(|host| format!("h{host},")).collect();
    let failures: String = (0..5)
        .map(|number| {
            format!("  - {{name: f{number}, inducer: ['true'], reverter: ['true'], healthcheck: ['true']}}\n")
        })
        .collect();
    check(
        &format!("service: s\nhosts: '{}'\nfailures:\n{failures}", hosts.trim_end_matches(',')),
        "this book makes more than 100000 cases",
    );
    let name = "n".repeat(10_000);
    check(
        &format!(
            "service: s\nhosts: [h]\nfailures:\n  - {{name: {name}, inducer: ['true'], reverter: ['true'], healthcheck: ['true']}}\n"
        ),
        "`name` is longer than 200 characters",
    );
    check(
        "service: s\nhosts: [h]\nfailures:\n  - {name: \"a\\u202eb\", inducer: ['true'], reverter: ['true'], healthcheck: ['true']}\n",
        "`name` has an invisible character in it",
    );
    // One that has no end that matters.
    let scratch = Scratch::new();
    scratch.write("fatebooks/b.yaml", "");
    let file = fs::OpenOptions::new().write(true).open(scratch.join("fatebooks/b.yaml")).expect("a file");
    file.set_len(3 << 30).expect("a long file");
    let began = Instant::now();
    let ran = scratch.pisaura(&["check"]);
    assert!(ran.stderr.contains("this file has more than 1024 KiB"), "{}", ran.stderr);
    assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
}

/// `check`, `list`, `--dry-run` and `schema` under strace: at most `/bin/sh -n` is started, nothing is written, nobody is called.
fn only_looks() {
    let scratch = Scratch::new();
    write_scripts(&scratch);
    scratch.write(
        "fatebooks/b/fatebook.yaml",
        "service: s\nhosts: [a.invalid, b.invalid]\nfailures:\n  - {name: f, inducer: ['true && echo x'], reverter: [heal.sh], healthcheck: [check.sh]}\n",
    );
    for (arguments, started) in [
        (&["check"][..], &["/bin/sh"][..]),
        (&["list"], &[]),
        (&["run", "--dry-run"], &[]),
        (&["schema"], &[]),
    ] {
        let log = scratch.join("strace");
        let mut command = scratch.command(std::path::Path::new("strace"));
        command.args(["-f", "-qq", "-e", "trace=execve,connect,openat,open,creat,mkdir,mkdirat,unlink,unlinkat,rename,renameat,renameat2,bind", "-o"]);
        command.arg(&log).arg(program()).args(arguments);
        let ran = Ran::of(&mut command, &scratch);
        assert_eq!(ran.code, Some(0), "{arguments:?}: {}{}", ran.stdout, ran.stderr);
        let text = fs::read_to_string(&log).expect("a log");
        let programs: Vec<&str> = text
            .lines()
            .filter(|line| line.contains("execve(") && line.contains(" = 0"))
            .filter_map(|line| line.split('"').nth(1))
            .skip(1)
            .collect();
        assert!(programs.iter().all(|program| started.contains(program)), "{arguments:?}: {programs:?}");
        let is_change = |line: &&str| {
            let writes =
                ["O_WRONLY", "O_RDWR", "O_CREAT", "creat(", "mkdir", "unlink", "rename", "connect(", "bind("];
            writes.iter().any(|word| line.contains(word))
                && !line.contains("/dev/null")
                && !line.contains("/dev/tty")
        };
        let changes: Vec<&str> = text.lines().filter(is_change).collect();
        assert!(changes.is_empty(), "{arguments:?}: {changes:#?}");
    }
}

/// Whatever the umask, what is private is its user's alone, and others write to nothing of ours.
fn modes() {
    for umask in ["000", "077"] {
        let case = Case::new("");
        case.waits_at("--step=2").book("deadman: 200s", "");
        let mut command = case.scratch.command(std::path::Path::new("sh"));
        command.args(["-c", &format!("umask {umask}; exec \"$0\" run"), &program().display().to_string()]);
        command.env("TMPDIR", case.scratch.join("temporary"));
        fs::create_dir(case.scratch.join("temporary")).expect("a folder");
        let run = begin(&mut command);
        wait_for("the stop", || case.scratch.join("at").exists());
        let private = [
            case.scratch.join("locks"),
            case.scratch.join("home/.local/state/pisaura"),
            case.scratch.join("temporary"),
        ];
        for folder in &private {
            for path in fs::read_dir(folder).expect("a folder").flatten().map(|entry| entry.path()) {
                let mode = fs::symlink_metadata(&path).expect("a file").permissions().mode();
                assert_eq!(mode & 0o077, 0, "umask {umask}: {}", path.display());
            }
        }
        for folder in ["target/pisaura", "target/pisaura/logs"] {
            let all = fs::read_dir(case.scratch.join(folder))
                .expect("a folder")
                .flatten()
                .map(|entry| entry.path());
            for path in all.chain([case.scratch.join(folder)]) {
                let mode = fs::symlink_metadata(&path).expect("a file").permissions().mode();
                assert_eq!(mode & 0o022, 0, "umask {umask}: {}", path.display());
            }
        }
        let case_folder = case.case_folder();
        for path in fs::read_dir(&case_folder)
            .expect("a folder")
            .flatten()
            .map(|entry| entry.path())
            .chain([case_folder.clone()])
        {
            // The watcher's copy of the reverter loses its name at once.
            let Ok(file) = fs::symlink_metadata(&path) else { continue };
            assert_eq!(file.permissions().mode() & 0o077, 0, "on the host: {}", path.display());
        }
        case.go();
        assert_eq!(case.end(run).code, Some(0));
    }
}

/// What a host answers is shown, and pasted: it has to be what it looks like.
fn odd_home() {
    let case = Case::new("");
    let odd = case.sshd.path().join("home\u{1b}[201~; touch PASTED; x");
    fs::create_dir(&odd).expect("a folder");
    case.scratch.write("fatebooks/b/heal.sh", "#!/bin/sh\nexit 9\n");
    let shell = case.sshd.join("login");
    fs::write(
        &shell,
        format!(
            "#!/bin/sh\nexport HOME='{}'\ncd \"$HOME\"\nexec sh -c \"$SSH_ORIGINAL_COMMAND\"\n",
            odd.display()
        ),
    )
    .expect("a file");
    fs::set_permissions(&shell, fs::Permissions::from_mode(0o755)).expect("a mode");
    let key = fs::read_to_string(case.sshd.join("identity.pub")).expect("keys");
    fs::write(case.sshd.join("identity.pub"), format!("command=\"{}\" {key}", shell.display()))
        .expect("keys");
    let ran = case.pisaura(&["run"]);
    assert_eq!(ran.code, Some(3), "{}{}", ran.stdout, ran.stderr);
    assert!(
        ran.stdout.contains("characters in its name that no terminal shows as they are"),
        "{}",
        ran.stdout
    );
    assert!(!format!("{}{}", ran.stdout, ran.stderr).contains('\u{1b}'));
}

/// It is called SFTP, and is none.
fn silent_sftp() {
    let case = Case::new("Subsystem sftp /bin/sleep 600");
    case.book("timeout: 20s", "");
    let ran = case.pisaura(&["run"]);
    assert_eq!(ran.code, Some(0), "{}{}", ran.stdout, ran.stderr);
    assert_eq!(case.log(), "break\nheal\n");
    // What it has left running is the server's.
    let case = Case::new("Subsystem sftp /bin/cat");
    case.book("timeout: 20s", "");
    assert_eq!(case.pisaura(&["run"]).code, Some(0));
}

/// A server that says nothing any more, though what is sent to it is acknowledged, is noticed long before the step's time is up.
fn falls_silent() {
    let case = Case::new("");
    let relay = Relay::to(case.sshd.port);
    let wall = case.scratch.join("wall");
    relay.walled_by(wall.clone());
    case.scratch.write(
        "fatebooks/b/break.sh",
        format!("{BREAK}: >'{0}'\nsleep 12\nrm '{0}'\nsleep 100\n", wall.display()),
    );
    case.book("timeout: 2m", "").through(relay.port, &known(relay.port, &[&case.sshd]));
    let book = case.scratch.read("fatebooks/b/fatebook.yaml");
    let book = book.replace("ssh: {", "ssh: {keepalive: 1s, connect_timeout: 1s, ");
    case.scratch.write("fatebooks/b/fatebook.yaml", book);
    case.says_all(3, &["botched: inducer: 127.0.0.1:PORT: nothing answers any more on the connection"]);
    assert_eq!(case.log(), "break\nheal\n");
    case.check_left_clean();
}

fn silent_login() {
    let case = Case::new("ForceCommand sleep 5");
    case.book("timeout: 1s", "");
    let ran = case.pisaura(&["run"]);
    assert_eq!(ran.code, Some(3), "{}{}", ran.stdout, ran.stderr);
    let told = "the login there has not run our command (/bin/sh) in time: does it wait for something, or run something else (ForceCommand";
    assert!(ran.stdout.contains(told), "{}", ran.stdout);
}

fn open_key() {
    let case = Case::new("");
    fs::set_permissions(case.sshd.join("identity"), fs::Permissions::from_mode(0o644)).expect("a mode");
    let ran = case.pisaura(&["run"]);
    assert_eq!(ran.code, Some(0), "{}{}", ran.stdout, ran.stderr);
    assert!(ran.stderr.contains("others may read or change the private key"), "{}", ran.stderr);
    assert_eq!(ran.stderr.matches("others may read").count(), 1, "{}", ran.stderr);
}

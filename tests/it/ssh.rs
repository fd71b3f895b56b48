//! Hands on a host: logging in, host keys, files, commands and their output, lost connections; against real OpenSSH servers.

use std::fs;
use std::io::{Read, Write};
use std::process::{Command, Stdio};

use libtest_mimic::Trial;

use crate::common::{Ran, Scratch, Sshd, is_root, keygen, needing, test, wait_for, write_scripts};

pub fn tests() -> Vec<Trial> {
    vec![
        test("ssh::keys_of_all_kinds", keys_of_all_kinds),
        test("ssh::passphrases", passphrases),
        test("ssh::agent", agent),
        test("ssh::own_keys_are_tried", own_keys_are_tried),
        test("ssh::user_from_the_host_entry", user_from_the_host_entry),
        needing("ssh::password", is_root(), "needs to be root, to make a user with a password", password),
        test("ssh::nothing_to_log_in_with", nothing_to_log_in_with),
        test("ssh::arguments_arrive_byte_for_byte", arguments_arrive),
        test("ssh::shell_text", shell_text),
        test("ssh::scripts_of_one_name_are_told_apart", scripts_of_one_name),
        test("ssh::a_failed_install_is_not_forgotten", failed_install),
        test("ssh::a_program_that_heals_has_to_be_there", program_that_heals),
        test("ssh::the_heal_command_works_as_it_is_printed", heal_command),
        test("ssh::silent_agent", silent_agent),
        test("ssh::files_arrive_whole", files_arrive_whole),
        test("ssh::files_without_sftp", files_without_sftp),
        test("ssh::absolute_paths_are_put_back", absolute_paths),
        test("ssh::output_of_any_amount", output_of_any_amount),
        test("ssh::child_that_holds_the_channel", child_that_holds_the_channel),
        test("ssh::ended_by_a_signal", ended_by_a_signal),
        test("ssh::lost_connection_is_opened_anew", lost_connection),
        test("ssh::one_connection_for_a_book", one_connection),
        test("ssh::no_answer_in_time", no_answer_in_time),
        test("ssh::another_protocol", another_protocol),
        test("ssh::another_try_before_anything_is_induced", another_try),
    ]
}

const FAILURE: &str =
    "  - {name: f, inducer: [break.sh], reverter: [heal.sh], healthcheck: [check.sh], timeout: 20s}";

pub fn setup() -> (Scratch, Sshd) {
    setup_with("")
}

fn setup_with(config: &str) -> (Scratch, Sshd) {
    let scratch = Scratch::new();
    write_scripts(&scratch);
    (scratch, Sshd::with(config))
}

/// Runs a case with these keys of `ssh`, and says how it went, in a line.
pub fn run_with(scratch: &Scratch, sshd: &Sshd, ssh: &str, host: &str) -> String {
    let book = format!("service: s\nhosts: ['{host}:{}']\nssh: {ssh}\nfailures:\n{FAILURE}\n", sshd.port);
    scratch.write("fatebooks/b/fatebook.yaml", book);
    outcome(&scratch.pisaura(&["run"]))
}

fn run_case(scratch: &Scratch, sshd: &Sshd, failures: &str) -> Ran {
    scratch.write("fatebooks/b/fatebook.yaml", sshd.book("", failures));
    scratch.pisaura(&["run", "--nocapture"])
}

fn outcome(ran: &Ran) -> String {
    let failed =
        ran.stdout.lines().find(|line| line.starts_with("botched: ") || line.starts_with("unreverted: "));
    failed.map_or_else(|| format!("exit {}", ran.code.unwrap_or(-1)), str::to_owned)
}

fn ssh_keys(sshd: &Sshd, more: &str) -> String {
    format!("{{known_hosts: '{}/known_hosts', {more}}}", sshd.path().display())
}

fn authorize(sshd: &Sshd, key: &str) {
    let public = fs::read_to_string(sshd.join(&format!("{key}.pub"))).expect("a public key");
    let known = fs::read_to_string(sshd.join("authorized_keys")).unwrap_or_default();
    fs::write(sshd.join("authorized_keys"), known + &public).expect("authorized keys");
}

fn keys_of_all_kinds() {
    let (scratch, sshd) = setup();
    for kind in ["ed25519", "ecdsa", "rsa"] {
        keygen(kind, &sshd.join(kind), "");
        authorize(&sshd, kind);
        let ssh = ssh_keys(&sshd, &format!("identity_file: '{}/{kind}'", sshd.path().display()));
        assert_eq!(run_with(&scratch, &sshd, &ssh, "127.0.0.1"), "exit 0", "with {kind}");
    }
    // As books of old say it; and a relative one lies beside the book.
    scratch.write("fatebooks/b/key", fs::read_to_string(sshd.join("ed25519")).expect("a key"));
    let ssh = ssh_keys(&sshd, "key_filename: key");
    assert_eq!(run_with(&scratch, &sshd, &ssh, "127.0.0.1"), "exit 0");
}

fn passphrases() {
    let (scratch, sshd) = setup();
    for kind in ["ed25519", "ecdsa", "rsa"] {
        let file = format!("locked-{kind}");
        keygen(kind, &sshd.join(&file), "open sesame");
        authorize(&sshd, &file);
        let path = sshd.join(&file).display().to_string();
        let with = |more: &str| ssh_keys(&sshd, &format!("identity_file: '{path}'{more}"));
        assert_eq!(
            run_with(&scratch, &sshd, &with(", passphrase: open sesame"), "127.0.0.1"),
            "exit 0",
            "{kind}"
        );
        let user = std::env::var("USER").unwrap_or_else(|_| "root".into());
        let refused = |why: &str| {
            format!(
                "botched: prepare: 127.0.0.1:PORT does not let `{user}` in: tried the key {path} ({why}). It takes publickey"
            )
        };
        assert_eq!(
            run_with(&scratch, &sshd, &with(", passphrase: wrong"), "127.0.0.1"),
            refused("the `passphrase` does not open it")
        );
        assert_eq!(
            run_with(&scratch, &sshd, &with(""), "127.0.0.1"),
            refused("it is encrypted: give its `passphrase`, or add it to an ssh-agent")
        );
    }
}

/// Runs a case with nothing to log in with but an ssh-agent.
fn run_with_agent(scratch: &Scratch, sshd: &Sshd, socket: &std::path::Path) -> Ran {
    let ssh = ssh_keys(sshd, "username: ''");
    let book = format!("service: s\nhosts: ['127.0.0.1:{}']\nssh: {ssh}\nfailures:\n{FAILURE}\n", sshd.port);
    scratch.write("fatebooks/b/fatebook.yaml", book);
    let program = crate::common::program();
    Ran::of(scratch.command(&program).arg("run").env("SSH_AUTH_SOCK", socket), scratch)
}

fn agent() {
    let (scratch, sshd) = setup();
    let socket = sshd.join("agent");
    let mut agent = Command::new("ssh-agent")
        .args(["-D", "-a"])
        .arg(&socket)
        .stdout(Stdio::null())
        .spawn()
        .expect("ssh-agent runs");
    wait_for("the agent's socket", || socket.exists());
    keygen("ed25519", &sshd.join("other"), "");
    // The one that is let in is not the first of them.
    for key in ["other", "identity"] {
        let status =
            Command::new("ssh-add").arg("-q").arg(sshd.join(key)).env("SSH_AUTH_SOCK", &socket).status();
        assert!(status.expect("ssh-add runs").success());
    }
    let ran = run_with_agent(&scratch, &sshd, &socket);
    let _ = agent.kill();
    let _ = agent.wait();
    assert_eq!(outcome(&ran), "exit 0", "{}", ran.stdout);
}

fn own_keys_are_tried() {
    let (scratch, sshd) = setup();
    scratch.write("home/.ssh/id_ed25519", fs::read_to_string(sshd.join("identity")).expect("a key"));
    scratch
        .write("home/.ssh/known_hosts", fs::read_to_string(sshd.join("known_hosts")).expect("known hosts"));
    assert_eq!(run_with(&scratch, &sshd, "{}", "127.0.0.1"), "exit 0");
}

fn user_from_the_host_entry() {
    let (scratch, sshd) = setup();
    let ssh = ssh_keys(
        &sshd,
        &format!("username: nobody-of-this-name, identity_file: '{}/identity'", sshd.path().display()),
    );
    let user = std::env::var("USER").unwrap_or_else(|_| "root".into());
    assert_eq!(run_with(&scratch, &sshd, &ssh, &format!("{user}@127.0.0.1")), "exit 0");
    assert_eq!(
        run_with(&scratch, &sshd, &ssh, "127.0.0.1"),
        format!(
            "botched: prepare: 127.0.0.1:PORT does not let `nobody-of-this-name` in: tried the key {}/identity (refused). It takes publickey",
            sshd.path().display()
        )
    );
}

/// A user of this machine with a password; goes with the test.
struct User {
    name: String,
}

impl User {
    fn new(password: &str) -> Self {
        let name = format!("pisaura{}", std::process::id());
        let made = Command::new("useradd").args(["-M", "-d", "/", "-s", "/bin/sh", &name]).status();
        assert!(made.expect("useradd runs").success());
        let mut chpasswd = Command::new("chpasswd").stdin(Stdio::piped()).spawn().expect("chpasswd runs");
        let mut input = chpasswd.stdin.take().expect("a pipe");
        input.write_all(format!("{name}:{password}\n").as_bytes()).expect("a password");
        drop(input);
        assert!(chpasswd.wait().expect("chpasswd ends").success());
        Self { name }
    }
}

impl Drop for User {
    fn drop(&mut self) {
        let _ = Command::new("userdel").arg(&self.name).stderr(Stdio::null()).status();
    }
}

fn password() {
    let user = User::new("a b'c\"$HOME");
    for (config, method) in [
        ("PasswordAuthentication yes", "password"),
        ("UsePAM yes\nKbdInteractiveAuthentication yes\nPasswordAuthentication no", "keyboard-interactive"),
    ] {
        let (scratch, sshd) = setup_with(config);
        // It is not root who logs in.
        fs::set_permissions(sshd.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755))
            .expect("a mode");
        fs::set_permissions(sshd.home(), std::os::unix::fs::PermissionsExt::from_mode(0o777))
            .expect("a mode");
        let with =
            |password: &str| ssh_keys(&sshd, &format!("username: {}, password: {password}", user.name));
        assert_eq!(
            run_with(&scratch, &sshd, &with("\"a b'c\\\"$HOME\""), "127.0.0.1"),
            "exit 0",
            "by {method}"
        );
        let refused = run_with(&scratch, &sshd, &with("wrong"), "127.0.0.1");
        let shown = if method == "password" { "the password" } else { "the password (keyboard-interactive)" };
        assert_eq!(
            refused,
            format!(
                "botched: prepare: 127.0.0.1:PORT does not let `{}` in: tried {shown} (refused). It takes publickey, {method}",
                user.name
            )
        );
    }
}

fn nothing_to_log_in_with() {
    let (scratch, sshd) = setup();
    let user = std::env::var("USER").unwrap_or_else(|_| "root".into());
    assert_eq!(
        run_with(&scratch, &sshd, &ssh_keys(&sshd, "port: 22"), "127.0.0.1"),
        format!(
            "botched: prepare: 127.0.0.1:PORT does not let `{user}` in: there was nothing to try: no ssh-agent with a key in it, no `identity_file`, no `password`. It takes publickey"
        )
    );
    assert_eq!(
        run_with(&scratch, &sshd, &ssh_keys(&sshd, "password: x"), "127.0.0.1"),
        format!(
            "botched: prepare: 127.0.0.1:PORT does not let `{user}` in: tried the password (the host takes none). It takes publickey"
        )
    );
}

fn arguments_arrive() {
    let (scratch, sshd) = setup();
    let arguments = [
        "plain",
        "two words",
        " lead",
        "it's",
        "''",
        "\"quoted\"",
        "$HOME",
        "${HOME:-x}",
        "`id`",
        "$(id)",
        "*",
        "?",
        "[a]",
        "~",
        "a;b",
        "a&b",
        "a|b",
        "<>",
        "(x)",
        "new\nline",
        "trailing\n",
        "\ttab",
        "\\",
        "\\n",
        "%s",
        "!",
        "#",
        "=",
        "ünï ✓ 雪",
        "-n",
        "--flag",
        "-",
        "",
        "a\u{1}b\u{7f}",
    ];
    // What was given is written, each argument ended by a NUL, on the host and where the healthcheck runs.
    scratch.write("fatebooks/b/break.sh", "#!/bin/sh\nprintf '%s\\0' \"$@\" >\"$HOME/arguments\"\n");
    scratch.write("fatebooks/b/check.sh", "#!/bin/sh\nprintf '%s\\0' \"$@\" >\"$OUT\"\n");
    let escaped: Vec<String> = arguments
        .iter()
        .map(|argument| serde_json::to_string(&argument.replace("${", "$${")).expect("JSON"))
        .collect();
    let escaped = escaped.join(", ");
    let out = scratch.join("arguments").display().to_string();
    let failure = format!(
        "  - {{name: f, inducer: [break.sh, {escaped}], reverter: [heal.sh], healthcheck: [check.sh, {escaped}], env: {{OUT: '{out}'}}, pass_step: false}}"
    );
    let ran = run_case(&scratch, &sshd, &failure);
    assert_eq!(outcome(&ran), "exit 0", "{}", ran.stdout);
    let wanted: String = arguments.iter().map(|argument| format!("{argument}\0")).collect();
    assert_eq!(sshd.read("arguments"), wanted, "on the host");
    assert_eq!(scratch.read("arguments"), wanted, "in the healthcheck");
}

fn shell_text() {
    let (scratch, sshd) = setup();
    let check = |inducer: &str, wanted: &str| {
        let _ = fs::remove_file(sshd.home().join("log"));
        let failure =
            format!("  - {{name: f, inducer: {inducer}, reverter: ['true'], healthcheck: ['true']}}");
        let ran = run_case(&scratch, &sshd, &failure);
        assert_eq!(outcome(&ran), "exit 0", "{}{}", ran.stdout, ran.stderr);
        assert_eq!(sshd.read("log"), wanted, "{inducer}");
    };
    // A script of the book behind assignments is copied; what follows the text are its arguments.
    check("['A=1 B=2 break.sh one', 'two words']", "break.sh one two words\n");
    check("['A=1 ./break.sh']", "break.sh\n");
    check("['echo \"$1-$#\" >>\"$HOME/log\"', 'two words', x]", "two words-2\n");
    check("[\"echo 'a  b' >>$HOME/log;\"]", "a  b\n");
    check("[sh, -c, 'echo $0 >>$HOME/log', zero]", "zero\n");
    // A healthcheck as books of old have it.
    scratch.write(
        "fatebooks/b/health.py",
        "import os,sys; open(os.environ['OUT'],'a').write(os.environ['X']+' '.join(sys.argv[1:])+'\\n')\n",
    );
    let out = scratch.join("out").display().to_string();
    let failure = format!(
        "  - {{name: f, inducer: [break.sh], reverter: [heal.sh], healthcheck: ['X=lib.zip: python3 health.py', '--broker=a:31250'], env: {{OUT: '{out}'}}}}"
    );
    let ran = run_case(&scratch, &sshd, &failure);
    assert_eq!(outcome(&ran), "exit 0", "{}{}", ran.stdout, ran.stderr);
    assert_eq!(
        scratch.read("out"),
        "lib.zip:--broker=a:31250 --step=1\nlib.zip:--broker=a:31250 --step=2\nlib.zip:--broker=a:31250 --step=3\n"
    );
}

/// A script with bytes of all kinds behind its text, and of some size.
fn heavy_script() -> Vec<u8> {
    let mut script =
        b"#!/bin/sh\ncp \"$0\" \"$HOME/copy\"; ls -l \"$0\" | cut -c1-10 >>\"$HOME/log\"; exit 0\n".to_vec();
    script.extend((0..700_000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8));
    script
}

fn files_arrive_whole() {
    let (scratch, sshd) = setup();
    scratch.write("fatebooks/b/break.sh", heavy_script());
    let ran = run_case(&scratch, &sshd, FAILURE);
    assert_eq!(outcome(&ran), "exit 0", "{}", ran.stdout);
    assert!(fs::read(sshd.home().join("copy")).expect("a copy") == heavy_script());
    assert_eq!(sshd.read("log"), "-rwxr-xr-x\nheal.sh\n");
}

fn files_without_sftp() {
    // The first line of a configuration counts, so this subsystem is all there is.
    let (scratch, sshd) = setup_with("Subsystem sftp /bin/false");
    let config = fs::read_to_string(sshd.join("config")).expect("a configuration");
    assert!(config.contains("Subsystem sftp /bin/false"));
    scratch.write("fatebooks/b/break.sh", heavy_script());
    let ran = run_case(&scratch, &sshd, FAILURE);
    assert_eq!(outcome(&ran), "exit 0", "{}", ran.stdout);
    assert!(fs::read(sshd.home().join("copy")).expect("a copy") == heavy_script());
    assert_eq!(sshd.read("log"), "-rwxr-xr-x\nheal.sh\n");
}

fn absolute_paths() {
    let (scratch, sshd) = setup();
    let there = sshd.join("opt");
    let (old, new, same) = (there.join("break.sh"), there.join("a/b c/heal.sh"), there.join("verify.sh"));
    fs::create_dir(&there).expect("a folder");
    fs::write(&old, "was here before").expect("a file");
    scratch.write(
        "fatebooks/b/verify.sh",
        "#!/bin/sh\n[ -x \"$0\" ] && [ \"$(cat \"$OLD\")\" != 'was here before' ]\n",
    );
    fs::copy(scratch.join("fatebooks/b/verify.sh"), &same).expect("a copy");
    let failure = format!(
        "  - {{name: f, inducer: ['{}'], verify: ['{}'], reverter: ['{}', x], healthcheck: [check.sh], env: {{OLD: '{0}'}}}}",
        old.display(),
        same.display(),
        new.display()
    );
    // A blank makes shell text of it, so this one is named by its quoted path.
    let failure = failure.replace("a/b c/", "a/b-c/");
    let ran = run_case(&scratch, &sshd, &failure);
    assert_eq!(outcome(&ran), "exit 0", "{}", ran.stdout);
    assert_eq!(sshd.read("log"), "break.sh\nheal.sh x\n");
    assert_eq!(fs::read_to_string(&old).expect("a file"), "was here before");
    assert!(same.exists() && !there.join("a").exists());
}

fn output_of_any_amount() {
    let (scratch, sshd) = setup();
    let script = "#!/bin/sh\n\
        n=0; while [ $n -lt 40 ]; do head -c 262144 /dev/zero | tr '\\0' e >&2; head -c 262144 /dev/zero | tr '\\0' o; n=$((n+1)); done\n\
        printf 'end\\000\\377 of out'; printf 'end of err' >&2; exit 5\n";
    scratch.write("fatebooks/b/break.sh", script);
    scratch.write("fatebooks/b/fatebook.yaml", sshd.book("", FAILURE));
    let ran = scratch.pisaura(&["run"]);
    assert_eq!(outcome(&ran), "botched: the inducer failed: exit status 5");
    let log = fs::read_dir(scratch.join("target/pisaura/logs"))
        .expect("logs")
        .next()
        .expect("a log")
        .expect("a log");
    let log = fs::read_to_string(log.path()).expect("a log");
    let left_out = |length: usize| format!("[… {length} bytes left out …]");
    let whole = 40 * 262_144;
    assert!(log.contains(&left_out(whole + 12 - 2 * 32 * 1024)), "{}", log.len());
    assert!(log.contains(&left_out(whole + 10 - 2 * 32 * 1024)));
    let lines = |stream: &str, letter: char| -> Vec<usize> {
        let marked = format!(" inducer {stream} | ");
        let of_stream = log.lines().filter_map(|line| line.split_once(&marked).map(|(_, text)| text));
        of_stream.map(|line| line.matches(letter).count()).filter(|&count| count > 100).collect()
    };
    assert_eq!(
        lines("stdout", 'o'),
        [32 * 1024, 32 * 1024 - 14 + 2],
        "its end is shown in 14 bytes and has two o"
    );
    assert_eq!(lines("stderr", 'e'), [32 * 1024, 32 * 1024 - 10 + 2]);
    assert!(log.contains("end\u{fffd}\u{fffd} of out") && log.contains("end of err"));
}

fn child_that_holds_the_channel() {
    let (scratch, sshd) = setup();
    scratch.write(
        "fatebooks/b/break.sh",
        "#!/bin/sh\nsleep 60 &\necho $! >\"$HOME/child\"\necho started; exit 4\n",
    );
    scratch.write(
        "fatebooks/b/heal.sh",
        "#!/bin/sh\nkill \"$(cat \"$HOME/child\")\" && echo killed >>\"$HOME/log\"\n",
    );
    let ran = run_case(&scratch, &sshd, FAILURE);
    assert_eq!(outcome(&ran), "botched: the inducer failed: exit status 4");
    // It was not ended with its parent, for a script may well start a service.
    assert_eq!(sshd.read("log"), "killed\n");
}

fn ended_by_a_signal() {
    let (scratch, sshd) = setup();
    scratch.write("fatebooks/b/break.sh", "#!/bin/sh\nkill -SEGV $$\n");
    assert_eq!(
        outcome(&run_case(&scratch, &sshd, FAILURE)),
        "botched: the inducer failed: exit status 139 (SIGSEGV)"
    );
    // The whole group of processes, the shell that waits for the script among them.
    scratch.write("fatebooks/b/break.sh", "#!/bin/sh\nkill -TERM 0\nsleep 60\n");
    assert_eq!(outcome(&run_case(&scratch, &sshd, FAILURE)), "botched: the inducer failed: ended by SIGTERM");
    scratch.write("fatebooks/b/break.sh", "#!/bin/sh\n");
    scratch.write("fatebooks/b/check.sh", "#!/bin/sh\nkill -KILL $$\n");
    assert_eq!(
        outcome(&run_case(&scratch, &sshd, FAILURE)),
        "botched: the healthcheck before gave no answer: ended by SIGKILL"
    );
}

fn lost_connection() {
    let (scratch, sshd) = setup();
    // The inducer ends the server's process that serves its own connection; the script's shell is a child of it.
    scratch.write(
        "fatebooks/b/break.sh",
        "#!/bin/sh\necho break.sh >>\"$HOME/log\"\nshell=$PPID\nset -- $(cat /proc/$shell/stat | sed 's/.*) //')\nkill -KILL $2\nsleep 60\n",
    );
    let ran = run_case(&scratch, &sshd, FAILURE);
    let told = outcome(&ran);
    assert!(
        told.starts_with("botched: inducer: 127.0.0.1:PORT: the connection was lost"),
        "{told}\n{}",
        ran.stdout
    );
    assert_eq!(sshd.read("log"), "break.sh\nheal.sh\n");
    let log = fs::read_to_string(sshd.join("log")).expect("the server's log");
    assert_eq!(log.matches("Accepted publickey").count(), 2, "{log}");
}

fn one_connection() {
    let (scratch, sshd) = setup();
    let failures =
        ["f", "g", "h"].map(|name| FAILURE.replace("name: f", &format!("name: {name}"))).join("\n");
    assert_eq!(outcome(&run_case(&scratch, &sshd, &failures)), "exit 0");
    assert_eq!(sshd.read("log"), "break.sh\nheal.sh\n".repeat(3));
    let log = fs::read_to_string(sshd.join("log")).expect("the server's log");
    assert_eq!(log.matches("Accepted publickey").count(), 1, "{log}");
}

fn no_answer_in_time() {
    let (scratch, sshd) = setup();
    // A server that takes connections and says nothing.
    let silent = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    let port = silent.local_addr().expect("an address").port();
    let book = sshd.book("", FAILURE).replace(&format!(":{}'", sshd.port), &format!(":{port}'"));
    let book = book.replace("ssh: {", "ssh: {connect_timeout: 300ms, ");
    scratch.write("fatebooks/b/fatebook.yaml", book);
    let told = outcome(&scratch.pisaura(&["run"]));
    assert!(
        told.starts_with(
            "botched: prepare: 127.0.0.1:PORT: no SSH server has answered in time: what listens there may speak something else, tried 4 times in "
        ),
        "{told}"
    );
}

/// What speaks something else, or in other algorithms, is called what it is.
fn another_protocol() {
    let (scratch, sshd) = setup();
    let old = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    let port = old.local_addr().expect("an address").port();
    std::thread::spawn(move || {
        for client in old.incoming() {
            let Ok(mut client) = client else { return };
            let _ = client.write_all(b"SSH-1.5-OpenSSH_3.0\n");
            let _ = client.read(&mut [0; 1024]);
        }
    });
    let book = sshd.book("", FAILURE).replace(&format!(":{}'", sshd.port), &format!(":{port}'"));
    scratch.write("fatebooks/b/fatebook.yaml", book);
    assert_eq!(
        outcome(&scratch.pisaura(&["run"])),
        "botched: prepare: 127.0.0.1:PORT: the server speaks SSH 1 only (SSH-1.5-OpenSSH_3.0), which is not supported"
    );
    let (scratch, sshd) = setup_with("KexAlgorithms sntrup761x25519-sha512@openssh.com");
    let told = outcome(&run_case(&scratch, &sshd, FAILURE));
    assert!(
        told.starts_with(
            "botched: prepare: 127.0.0.1:PORT: cannot begin to speak SSH: the connection was closed, or no key exchange, cipher or \
             MAC of the server's is supported here (`ssh -vv` shows what it offers), tried 4 times in "
        ),
        "{told}"
    );
}

fn another_try() {
    let (scratch, sshd) = setup();
    // The first two connections are closed at once, as a server does that has too many; the others are passed on.
    let front = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    let port = front.local_addr().expect("an address").port();
    let behind = sshd.port;
    std::thread::spawn(move || {
        for (number, client) in front.incoming().enumerate() {
            let Ok(client) = client else { return };
            if number < 2 {
                continue;
            }
            let Ok(server) = std::net::TcpStream::connect(("127.0.0.1", behind)) else {
                return;
            };
            for (mut from, mut to) in [
                (client.try_clone().expect("a socket"), server.try_clone().expect("a socket")),
                (server, client),
            ] {
                std::thread::spawn(move || {
                    let _ = std::io::copy(&mut from, &mut to);
                    let _ = to.shutdown(std::net::Shutdown::Write);
                });
            }
        }
    });
    let known = fs::read_to_string(sshd.join("known_hosts")).expect("known hosts");
    fs::write(sshd.join("known_hosts"), known.replace(&behind.to_string(), &port.to_string()))
        .expect("known hosts");
    let book = sshd.book("", FAILURE).replace(&format!(":{behind}'"), &format!(":{port}'"));
    scratch.write("fatebooks/b/fatebook.yaml", book);
    let ran = scratch.pisaura(&["run"]);
    assert_eq!(outcome(&ran), "exit 0", "{}", ran.stdout);
    assert!(
        ran.stderr.contains("cannot begin to speak SSH") && ran.stderr.contains("try 2"),
        "{}",
        ran.stderr
    );
    assert_eq!(sshd.read("log"), "break.sh\nheal.sh\n");
}

fn scripts_of_one_name() {
    let (scratch, sshd) = setup();
    scratch.write("fatebooks/b/act.sh", "#!/bin/sh\necho breaks >>\"$HOME/log\"\n");
    scratch.write("fatebooks/act.sh", "#!/bin/sh\necho heals >>\"$HOME/log\"\n");
    let failure = "  - {name: f, inducer: [act.sh], reverter: [../act.sh], healthcheck: [check.sh]}";
    assert_eq!(outcome(&run_case(&scratch, &sshd, failure)), "exit 0");
    assert_eq!(sshd.read("log"), "breaks\nheals\n");
    // Where the folder above is none of the fatebooks', no other file of that name is taken in its place.
    let checked = scratch.pisaura(&["check", "--fatebooks", "fatebooks/b/fatebook.yaml"]);
    assert!(checked.stderr.contains("there is no `../act.sh` in the book's folder"), "{}", checked.stderr);
}

fn failed_install() {
    let (scratch, sshd) = setup();
    let there = sshd.join("opt");
    // What stands where the reverter should go is a folder; and an older inducer is there.
    fs::create_dir_all(there.join("heal.sh")).expect("a folder");
    scratch.write("old.sh", "#!/bin/sh\necho old inducer >>\"$HOME/log\"\n");
    fs::copy(scratch.join("old.sh"), there.join("break.sh")).expect("a copy");
    let failures = ["f", "g"].map(|name| {
        format!("  - {{name: {name}, inducer: ['{0}/break.sh'], reverter: ['{0}/heal.sh'], healthcheck: [check.sh]}}", there.display())
    });
    let ran = run_case(&scratch, &sshd, &failures.join("\n"));
    assert_eq!(ran.code, Some(3), "{}", ran.stdout);
    assert_eq!(ran.stdout.matches("/opt/heal.sh is a folder").count(), 2, "{}", ran.stdout);
    assert_eq!(sshd.read("log"), "", "nothing was broken");
}

fn program_that_heals() {
    let (scratch, sshd) = setup();
    let failure = "  - {name: f, inducer: [break.sh], reverter: [no-such-program], healthcheck: [check.sh], timeout: 1s, deadman: 4s}";
    let ran = run_case(&scratch, &sshd, failure);
    assert_eq!(
        outcome(&ran),
        "botched: prepare: 127.0.0.1:PORT: nothing was broken: the reverter cannot be run: the host has no program `no-such-program`"
    );
    // So nobody is told of a host that may be broken, and nothing is tried again.
    assert!(ran.code == Some(3) && !ran.stderr.contains("UNREVERTED"), "{}", ran.stderr);
    assert!(!ran.stdout.contains("4 reverter"), "{}", ran.stdout);
    assert_eq!(sshd.read("log"), "");
}

fn heal_command() {
    let (scratch, sshd) = setup();
    scratch.write(
        "fatebooks/b/heal.sh",
        "#!/bin/sh\n[ -e \"$HOME/may-heal\" ] && echo \"healed $1\" >>\"$HOME/log\"\n",
    );
    let failure = "  - {name: f, inducer: [break.sh], reverter: [heal.sh, 'by hand'], healthcheck: [check.sh], timeout: 500ms, deadman: 'off'}";
    scratch.write("fatebooks/b/fatebook.yaml", sshd.book("", failure));
    let output = scratch.command(&crate::common::program()).arg("run").output().expect("it runs");
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    let command =
        stderr.lines().find_map(|line| line.strip_prefix("!!!     to heal it: ")).expect("a command");
    fs::write(sshd.home().join("may-heal"), "").expect("a file");
    let healed = scratch.command(std::path::Path::new("sh")).args(["-c", command]).output().expect("it runs");
    assert!(healed.status.success(), "{command}: {}", String::from_utf8_lossy(&healed.stderr));
    assert_eq!(sshd.read("log"), "break.sh\nhealed by hand\n");
    // It says so until the run's own memory of it is settled.
    let reverted = scratch.pisaura(&["revert"]);
    assert_eq!((reverted.code, reverted.stdout.as_str()), (Some(0), "1 reverted\n"), "{}", reverted.stderr);
    assert_eq!(sshd.read("log"), "break.sh\nhealed by hand\n", "once");
    assert!(!sshd.home().join(".pisaura").exists(), "nothing is left there");
}

fn silent_agent() {
    let (scratch, sshd) = setup();
    let socket = scratch.join("agent");
    let _listener = std::os::unix::net::UnixListener::bind(&socket).expect("a socket");
    let ran = run_with_agent(&scratch, &sshd, &socket);
    assert!(outcome(&ran).contains("tried the ssh-agent (it does not answer: "), "{}", ran.stdout);
}

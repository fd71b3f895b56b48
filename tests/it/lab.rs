//! The fatebooks for real systems, on the real ones: `ci/lab` makes hosts with an address, an sshd and the service of each.
//! Every failure of a book has to be survived there and leave nothing behind, and each healthcheck has to say no when the
//! system is really broken.
//!
//! `ci/lab test` runs all of it; the ordinary tests leave out what takes long.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use libtest_mimic::Trial;

use crate::cluster::{Cluster, can_run};
use crate::common::{Ran, Scratch, on_master, program, run_if, wait_for};

/// The test of a system's healthcheck, in a lab that is broken on purpose.
type Sabotage = fn(&Lab, &Health<'_>);

/// Each system, whether it is always tried, and how its healthcheck is put to the test.
const SYSTEMS: [(&str, bool, Sabotage); 5] = [
    ("etcd", true, sabotage_etcd),
    ("nginx", true, sabotage_nginx),
    ("redis", true, sabotage_redis),
    ("postgresql", true, sabotage_postgresql),
    ("zookeeper", false, sabotage_zookeeper),
];

pub fn tests() -> Vec<Trial> {
    let all = std::env::var_os("PISAURA_LAB_ALL").is_some();
    let mut trials = Vec::new();
    let mut add = |name: String, on_mesos: bool, run: Box<dyn FnOnce() + Send>| {
        trials.push(Trial::ignorable_test(name, move || {
            let (met, reason) = if on_mesos { can_run_on_mesos() } else { can_lab() };
            run_if(met, reason, run)
        }));
    };
    for (system, _, sabotage) in SYSTEMS.into_iter().filter(|(_, always, _)| all || *always) {
        add(format!("lab::{system}::each_failure"), false, Box::new(move || each_failure(&Lab::up(system))));
        add(
            format!("lab::{system}::sabotage"),
            false,
            Box::new(move || {
                let lab = Lab::up(system);
                sabotage(&lab, &Health::new(&lab, "1234567890123456"));
            }),
        );
    }
    add("lab::etcd::on_mesos".to_owned(), true, Box::new(on_mesos));
    add("lab::leaves_nothing".to_owned(), false, Box::new(leaves_nothing));
    add("lab::interrupted".to_owned(), false, Box::new(interrupted));
    add("lab::a_switch_out_of_the_logins_reach".to_owned(), false, Box::new(out_of_reach));
    add("lab::a_logind_that_ends_what_is_left".to_owned(), false, Box::new(logind));
    add("lab::at_once".to_owned(), false, Box::new(at_once));
    trials.push(Trial::test("lab::kafka::health", || run_if(true, "", kafka).map(drop)));
    trials.push(Trial::test("lab::each_book_is_whole", || run_if(true, "", books).map(drop)));
    trials
}

/// Whether this machine can have the lab's hosts.
pub fn can_lab() -> (bool, &'static str) {
    static WHY_NOT: OnceLock<String> = OnceLock::new();
    let why_not =
        WHY_NOT.get_or_init(|| match Command::new(repository().join("ci/lab")).arg("check").output() {
            Ok(output) if output.status.success() => String::new(),
            Ok(output) => String::from_utf8_lossy(&output.stderr).trim().to_owned(),
            Err(error) => error.to_string(),
        });
    (why_not.is_empty(), why_not)
}

fn can_run_on_mesos() -> (bool, &'static str) {
    match can_lab() {
        (true, _) => can_run(),
        no => no,
    }
}

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The hosts of a system, for one test.
pub struct Lab {
    scratch: Scratch,
    system: &'static str,
    variables: BTreeMap<String, String>,
}

impl Lab {
    pub fn up(system: &'static str) -> Self {
        let mut lab = Self { scratch: Scratch::new(), system, variables: BTreeMap::new() };
        let output = lab.command("up").arg(system).output().expect("ci/lab runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let told = String::from_utf8_lossy(&output.stdout).into_owned();
        for line in told.lines() {
            let (name, value) =
                line.strip_prefix("export ").and_then(|line| line.split_once('=')).expect("a variable");
            lab.variables.insert(name.to_owned(), value.trim_matches('\'').to_owned());
        }
        lab
    }

    fn command(&self, verb: &str) -> Command {
        let mut command = Command::new(repository().join("ci/lab"));
        command.arg(verb).arg("--state").arg(self.scratch.join("lab")).stdin(Stdio::null());
        command
    }

    /// The addresses of the book's hosts.
    pub fn hosts(&self) -> Vec<String> {
        let name = format!("{}_HOSTS", self.system.to_uppercase());
        self.variables[&name]
            .split(',')
            .map(|host| host.strip_prefix("root@").expect("an account").to_owned())
            .collect()
    }

    /// The address of nginx' balancer.
    pub fn balancer(&self) -> String {
        self.variables["NGINX_URL"].trim_start_matches("http://").trim_end_matches('/').to_owned()
    }

    /// An ssh client that runs shell text on a host.
    pub fn ssh(&self, login: &str, script: &str) -> Command {
        let known = self.variables["PISAURA_SSH_KNOWN_HOSTS"].replace(' ', "\\ ");
        let mut command = Command::new("ssh");
        command
            .args(["-F", "none", "-o", "BatchMode=yes", "-o", &format!("UserKnownHostsFile={known}")])
            .args(["-i", &self.variables["PISAURA_SSH_IDENTITY"], login, script])
            .stdin(Stdio::null());
        command
    }

    /// Runs shell text on a host as root, and gives what it printed.
    #[track_caller]
    pub fn on(&self, host: &str, script: &str) -> String {
        let output = self.ssh(&format!("root@{host}"), script).output().expect("ssh runs");
        let told = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{host}: {told}{}", String::from_utf8_lossy(&output.stderr));
        told
    }

    /// Copies a folder of this machine to a host, to a folder that everybody there may read.
    pub fn copy(&self, login: &str, from: &Path, to: &str) {
        let host = login.rsplit('@').next().expect("a host");
        let mut tar = Command::new("tar")
            .args(["-c", "-C"])
            .arg(from)
            .arg(".")
            .stdout(Stdio::piped())
            .spawn()
            .expect("tar runs");
        let taken = self
            .ssh(&format!("root@{host}"), &format!("mkdir -p {to} && tar -x -C {to} && chmod -R a+rX {to}"))
            .stdin(tar.stdout.take().expect("its output"))
            .status();
        assert!(taken.expect("ssh runs").success() && tar.wait().expect("an end").success());
    }

    #[track_caller]
    fn on_each(&self, hosts: &[String], script: &str) {
        for host in hosts {
            self.on(host, script);
        }
    }

    /// Runs a script of the library on a host, as a case would.
    #[track_caller]
    fn library(&self, host: &str, script: &str) {
        self.copy(host, &repository().join("fatebooks/lib"), "/opt/library");
        let hosts = self.hosts().join(",");
        self.on(
            host,
            &format!(
                "export PISAURA_CASE=1 PISAURA_HOST={host} PISAURA_HOSTS={hosts}; /opt/library/{script}"
            ),
        );
    }

    /// Runs the system's book.
    fn run(&self, arguments: &[&str]) -> Ran {
        let mut command = self.scratch.command(&crate::common::harness());
        command.arg("--fatebooks").arg(repository().join("fatebooks")).args(arguments).envs(&self.variables);
        // Sentinels decide nothing for 30 s after each time that a busy machine lets them wait for two.
        command.env("REDIS_GRACE", "170s");
        Ran::of(&mut command, &self.scratch)
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        let down = self.command("down").output();
        assert!(
            std::thread::panicking() || down.is_ok_and(|output| output.status.success()),
            "the lab cannot be taken down"
        );
    }
}

/// A system's healthcheck, asked by hand.
struct Health<'a> {
    lab: &'a Lab,
    case: &'a str,
}

impl<'a> Health<'a> {
    fn new(lab: &'a Lab, case: &'a str) -> Self {
        Self { lab, case }
    }

    /// Whether it says yes at this step, and what it prints.
    fn ask(&self, step: u8, arguments: &[&str]) -> (bool, String) {
        let hosts = self.lab.hosts();
        let script = repository().join("fatebooks").join(self.lab.system).join("health.sh");
        let mut command = self.lab.scratch.command(&script);
        command
            .args(arguments)
            .arg(format!("--step={step}"))
            .env("PISAURA_CASE", self.case)
            .env("PISAURA_HOST", &hosts[0])
            .env("PISAURA_HOSTS", hosts.join(","))
            .env("PGUSER", "pisaura")
            .env("PGPASSWORD", self.lab.variables.get("POSTGRESQL_PASSWORD").map_or("", String::as_str))
            .env("PGDATABASE", "pisaura")
            .envs(&self.lab.variables);
        let output = command.output().expect("the healthcheck runs");
        assert!(
            matches!(output.status.code(), Some(0 | 1)),
            "{}: {}",
            output.status,
            String::from_utf8_lossy(&output.stderr)
        );
        (output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// It says yes, sooner or later.
    #[track_caller]
    fn says_yes(&self, step: u8) {
        wait_for("a healthy system", || self.ask(step, &[]).0);
    }

    /// It says no, sooner or later, and why.
    #[track_caller]
    fn says_no(&self, step: u8, arguments: &[&str], why: &str) {
        let mut told = String::new();
        wait_for("a no", || {
            let (yes, said) = self.ask(step, arguments);
            told = said;
            !yes
        });
        assert!(told.contains(why), "{told}");
    }
}

/// How long a step of a case took, by the case's name, as the report says it.
fn times(junit: &str, step: &str) -> BTreeMap<String, f64> {
    let mut times = BTreeMap::new();
    for case in junit.split("<testcase ").skip(1) {
        let name = case.split('"').nth(1).expect("a name").to_owned();
        let row = case.lines().find(|line| line.starts_with("  ") && line.contains(step));
        let time =
            row.and_then(|row| row.split_once(step)).and_then(|(_, rest)| rest.split_whitespace().next());
        if let Some(time) = time {
            times.insert(name, time.parse().expect("seconds"));
        }
    }
    times
}

/// What cases may leave on a host, and must not: rules, disciplines, drop-ins, marks, scripts, and processes that stand still.
const LEFT: &str = "iptables -S | grep pisaura; ip6tables -S | grep pisaura; tc qdisc show | grep htb; ls -lAR ~/.pisaura 2>/dev/null; \
    find /run /tmp /var/tmp /var/lib /srv -xdev -name '*pisaura*' -not -path '*/pisaura-[0-9]*/*' 2>/dev/null; \
    ps -eo stat,args | grep '^T'; systemctl --failed --no-legend --plain; true";

/// Runs the whole book, and looks whether every failure was tried and survived, and nothing was left.
fn each_failure(lab: &Lab) {
    let listed = lab.run(&["--list", &format!("{}::", lab.system)]);
    let names: Vec<&str> = listed.stdout.lines().filter_map(|line| line.strip_suffix(": test")).collect();
    assert!(!names.is_empty(), "{}{}", listed.stdout, listed.stderr);
    let ran = lab.run(&[&format!("{}::", lab.system)]);
    assert_eq!(ran.code, Some(0), "{}{}", ran.stdout, ran.stderr);
    let mut survived = BTreeSet::new();
    for name in &names {
        let line = ran.line(name);
        let failure = name.split("::").nth(1).and_then(|rest| rest.split('@').next()).expect("a failure");
        if line == "ok" {
            survived.insert(failure);
        } else {
            assert!(line.starts_with("ignored (not for this host as it is now: "), "{name}: {line}");
        }
    }
    let all: BTreeSet<&str> =
        names.iter().filter_map(|name| name.split("::").nth(1)?.split('@').next()).collect();
    assert_eq!(survived, all, "{}", ran.stdout);
    let junit = std::fs::read_to_string(lab.scratch.join("target/pisaura/junit.xml")).expect("a report");
    let during = times(&junit, "3 healthcheck during");
    assert!(during.values().all(|time| *time < 170.0), "{during:?}");
    // A system that has to find out that somebody is missing, and to choose another one, needs its time for it.
    if lab.system != "postgresql" {
        assert!(during.values().any(|time| *time > 0.3), "nothing took any time: {during:?}");
    }
    for host in lab.hosts() {
        assert_eq!(lab.on(&host, LEFT), "", "{host}: {}", ran.stderr);
    }
}

fn on_mesos() {
    let (lab, cluster) = (Lab::up("etcd"), Cluster::start(&["--agents", "2"]));
    on_master(&cluster.master, || each_failure(&lab));
    let journal = lab.scratch.read("target/pisaura/junit.xml");
    assert!(journal.contains("on agent "), "{journal}");
}

/// A store of three: it stands the loss of one, and not of two; what was accepted must not vanish.
fn sabotage_three(lab: &Lab, health: &Health<'_>, unit: &str, none: &str) {
    let hosts = lab.hosts();
    health.says_yes(1);
    lab.on(&hosts[2], &format!("systemctl stop {unit}"));
    health.says_yes(2);
    lab.on(&hosts[1], &format!("systemctl stop {unit}"));
    health.says_no(2, &[], none);
    lab.on(&hosts[0], &format!("systemctl stop {unit}"));
    health.says_no(2, &[], none);
    // The first of them becomes ready only when another one is.
    lab.on_each(&hosts, &format!("systemctl start --no-block {unit}"));
    health.says_yes(3);
    // Of three that cannot reach each other none is the majority.
    health.says_yes(1);
    for host in &hosts[1..] {
        lab.library(host, "cut-off.sh");
    }
    health.says_no(2, &[], none);
    for host in &hosts[1..] {
        lab.library(host, "unblock.sh");
    }
    health.says_yes(2);
    // One that is cut off must not be taken for the store.
    lab.library(&hosts[0], "cut-off.sh");
    health.says_yes(2);
    health.says_no(2, &[&hosts[0]], none);
    lab.library(&hosts[0], "unblock.sh");
    health.says_yes(2);
}

fn sabotage_etcd(lab: &Lab, health: &Health<'_>) {
    sabotage_three(lab, health, "etcd", "no member could be written to");
    // The one that was cut off may not be back yet.
    let delete = format!("ETCDCTL_API=3 etcdctl del --prefix pisaura/{}/1 2>/dev/null || true", health.case);
    lab.on_each(&lab.hosts(), &delete);
    health.says_no(2, &[], "was accepted, and is lost");
}

fn sabotage_zookeeper(lab: &Lab, health: &Health<'_>) {
    sabotage_three(lab, health, "zookeeper", "no server could be written to");
    let delete = format!("deleteall /pisaura-{}", health.case);
    let client = "/usr/share/zookeeper/bin/zkCli.sh -server 127.0.0.1:2181";
    // The one that was cut off may not be back yet.
    lab.on_each(&lab.hosts(), &format!("timeout 10 {client} {delete} >/dev/null 2>&1 || true"));
    health.says_no(2, &[], "was accepted, and is lost");
}

fn sabotage_redis(lab: &Lab, health: &Health<'_>) {
    let hosts = lab.hosts();
    health.says_yes(1);
    lab.on(&hosts[2], "systemctl stop redis-server");
    // During a failure one replica has to confirm, otherwise both.
    health.says_yes(2);
    health.says_no(1, &[], "not confirmed by 2");
    health.says_yes(2);
    lab.on(&hosts[1], "systemctl stop redis-server");
    health.says_no(2, &[], "not confirmed by 1");
    lab.on(&hosts[0], "systemctl stop redis-server");
    health.says_no(2, &[], "not confirmed by 1");
    lab.on_each(&hosts, "systemctl start redis-server");
    health.says_yes(1);
    let lost = "for host in 0 1 2; do redis-cli flushall >/dev/null 2>&1; done";
    lab.on_each(&hosts, lost);
    health.says_no(2, &[], "was confirmed, and is lost");
    lab.on_each(&hosts, "systemctl stop redis-server redis-sentinel");
    health.says_no(2, &[], "no sentinel answers");
}

fn sabotage_nginx(lab: &Lab, health: &Health<'_>) {
    let hosts = lab.hosts();
    let balancer = lab.balancer();
    health.says_yes(1);
    lab.on(&hosts[0], "systemctl stop nginx");
    health.says_yes(2);
    health.says_no(3, &[], "only 1 of 2 backends answer");
    lab.on(&hosts[1], "systemctl stop nginx");
    health.says_no(2, &[], "request 1 of 10 failed");
    lab.on_each(&hosts, "systemctl start nginx");
    health.says_yes(3);
    lab.on(&hosts[0], "echo another >/var/www/html/index.html");
    health.says_no(2, &[], "is another one");
    lab.on(&hosts[0], ": >/var/www/html/index.html");
    health.says_no(2, &[], "is empty");
    lab.on(&balancer, "systemctl stop haproxy");
    health.says_no(2, &[], "request 1 of 10 failed");
}

fn sabotage_postgresql(lab: &Lab, health: &Health<'_>) {
    let hosts = lab.hosts();
    let unit = &lab.variables["POSTGRESQL_UNIT"];
    let table = format!("pisaura_{}", health.case);
    let query = |text: &str| {
        lab.on(&hosts[0], &format!("cd /; runuser -u postgres -- psql -XqtA -d pisaura -c \"{text}\""));
    };
    health.says_yes(1);
    lab.on(&hosts[1], &format!("systemctl stop {unit}"));
    health.says_yes(2);
    health.says_no(3, &[], &hosts[1]);
    lab.on(&hosts[1], &format!("systemctl start {unit}"));
    health.says_yes(2);
    query(&format!("insert into {table}_seen values (4711)"));
    health.says_no(2, &[], "1 of 1 rows that were committed before the crash are lost");
    query(&format!("delete from {table} where id = 1"));
    health.says_no(2, &[], "rows that were committed are there");
    lab.on(&hosts[0], &format!("systemctl stop {unit}"));
    health.says_no(2, &[], "primary of ");
}

/// librdkafka's mock brokers, which live as long as the client that has them.
struct MockKafka {
    client: Child,
    brokers: String,
}

impl MockKafka {
    fn start() -> Self {
        let mut client = Command::new("kcat")
            .args(["-P", "-b", "localhost", "-t", "pisaura", "-X", "test.mock.num.brokers=3", "-d", "mock"])
            .stdin(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("kcat runs");
        let mut lines = BufReader::new(client.stderr.take().expect("its log")).lines();
        let brokers = lines.by_ref().map_while(Result::ok).find_map(|line| {
            line.split_once("bootstrap.servers=").map(|(_, brokers)| brokers.trim().to_owned())
        });
        // Nobody may be held up because the log is not read.
        std::thread::spawn(move || lines.for_each(drop));
        Self { client, brokers: brokers.expect("addresses") }
    }
}

impl Drop for MockKafka {
    fn drop(&mut self) {
        let _ = self.client.kill();
        let _ = self.client.wait();
    }
}

fn kafka() {
    let (scratch, kafka) = (Scratch::new(), MockKafka::start());
    let ask = |step: u8| {
        let mut command = scratch.command(&repository().join("fatebooks/kafka/health.sh"));
        command.arg(format!("--step={step}")).env("PISAURA_CASE", "1234567890123456");
        command.env("PISAURA_HOSTS", "unused").env("KAFKA_BROKERS", &kafka.brokers);
        let output = command.output().expect("the healthcheck runs");
        (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
    };
    for step in [1, 2, 3] {
        // One for each of the topic's partitions, of which mock brokers make four.
        let told = format!("produced and consumed; all {} accepted messages are there\n", 4 * step);
        assert_eq!(ask(step), (Some(0), told));
    }
    let accepted = scratch.read(".kafka-1234567890123456");
    scratch.write(".kafka-1234567890123456", format!("{accepted}never sent\n"));
    assert_eq!(ask(2), (Some(1), "never sent was accepted, and is lost\n".to_owned()));
    drop(kafka);
    let (code, told) = {
        let mut command = scratch.command(&repository().join("fatebooks/kafka/health.sh"));
        command
            .arg("--step=1")
            .env("PISAURA_CASE", "1")
            .env("PISAURA_HOSTS", "127.0.0.1")
            .env("KAFKA_PORT", "1");
        let output = command.output().expect("the healthcheck runs");
        (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
    };
    assert!(code == Some(1) && told.starts_with("no broker answers: "), "{code:?} {told}");
}

/// Each folder of a book has a README; without its variable each case is ignored, and says which.
fn books() {
    let scratch = Scratch::new();
    let books = ["etcd", "kafka", "nginx", "postgresql", "redis", "zookeeper"];
    for book in books {
        let folder = repository().join("fatebooks").join(book);
        let readme = std::fs::read_to_string(folder.join("README.md")).expect("a README");
        assert!(
            readme.starts_with("# ") && readme.contains(&format!("ci/lab up {book}")) != (book == "kafka"),
            "{book}"
        );
        for entry in std::fs::read_dir(&folder).expect("a folder").flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let Some(stem) = name.strip_suffix(".sh") else { continue };
            let text = std::fs::read_to_string(entry.path()).expect("a script");
            assert!(text.starts_with(&format!("#!/bin/sh\n# {stem}.sh")), "{book}/{name}");
        }
        let mut command = scratch.command(&crate::common::harness());
        command.arg("--fatebooks").arg(repository().join("fatebooks")).arg(format!("{book}::"));
        let ran = Ran::of(&mut command, &scratch);
        let reason = format!("{}_HOSTS", book.to_uppercase());
        let lines: Vec<&str> = ran.stdout.lines().filter(|line| line.starts_with("test ")).collect();
        assert!(lines.len() > 1 && ran.code == Some(0), "{}{}", ran.stdout, ran.stderr);
        for line in lines.iter().filter(|line| !line.starts_with("test result")) {
            assert!(line.contains("ignored") && line.contains(&reason), "{line}");
        }
    }
}

/// What there is of the lab with this state: processes, its entry in the registry, its folder.
fn there(state: &Path) -> Vec<String> {
    let shown = state.display().to_string();
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").expect("processes").flatten() {
        let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        if line.contains(&shown) && !line.contains("ci/lab ") {
            found.push(line);
        }
    }
    for entry in std::fs::read_dir("/run/pisaura-lab").into_iter().flatten().flatten() {
        if std::fs::read_to_string(entry.path()).is_ok_and(|text| text.trim_end() == shown) {
            found.push(entry.path().display().to_string());
        }
    }
    found.extend(state.exists().then_some(shown));
    found
}

/// A network namespace, which may get the name of another one.
fn networks(number: &str) -> Vec<u64> {
    use std::os::unix::fs::MetadataExt;
    let own = format!("pisaura-lab-{number}");
    let entries = std::fs::read_dir("/run/netns").into_iter().flatten().flatten();
    let ours = entries.filter(|entry| {
        let name = entry.file_name().to_string_lossy().into_owned();
        name == own || name.starts_with(&format!("{own}-"))
    });
    ours.filter_map(|entry| entry.metadata().ok()).map(|metadata| metadata.ino()).collect()
}

/// What is there before a lab is there after it, and nothing else.
fn leaves_nothing() {
    let lab = Lab::up("nginx");
    let state = lab.scratch.join("lab");
    let number = lab.hosts()[0].split('.').nth(2).expect("a number").to_owned();
    let (seen, before) = (there(&state), networks(&number));
    assert!(seen.len() >= 5 && before.len() == 4, "{seen:?} {before:?}");
    let again = lab.command("up").arg("nginx").output().expect("ci/lab runs");
    assert!(!again.status.success() && String::from_utf8_lossy(&again.stderr).contains("is there already"));
    assert_eq!(there(&state).len(), seen.len(), "the second one has harmed the first");
    drop(lab);
    wait_for("that nothing is left", || there(&state).is_empty());
    assert!(networks(&number).iter().all(|network| !before.contains(network)));
}

/// Ended at any moment of its start, it leaves nothing; killed, it leaves what `down` takes away.
fn interrupted() {
    for (signal, step) in [("TERM", 7), ("KILL", 5)] {
        for moment in 0..step {
            let scratch = Scratch::new();
            let state = scratch.join("lab");
            let command = |verb: &str| {
                let mut command = Command::new(repository().join("ci/lab"));
                command.arg(verb).arg("--state").arg(&state).stdin(Stdio::null());
                command.stdout(Stdio::null()).stderr(Stdio::null());
                command
            };
            let mut up = command("up").arg("nginx").spawn().expect("ci/lab runs");
            // When is not told by anything that could be waited for: it is meant to be any moment.
            std::thread::sleep(Duration::from_millis(150 * moment + 40));
            let pid = up.id().to_string();
            let _ = Command::new("kill").args([&format!("-{signal}"), &pid]).stderr(Stdio::null()).status();
            let _ = Command::new("kill").args([&format!("-{signal}"), &pid]).stderr(Stdio::null()).status();
            let came_up = up.wait().expect("an end").success();
            let by_itself = !came_up && signal == "TERM";
            if !by_itself {
                let down = command("down").stderr(Stdio::piped()).output().expect("ci/lab runs");
                assert!(
                    down.status.success(),
                    "{signal} {moment}: {}",
                    String::from_utf8_lossy(&down.stderr)
                );
            }
            wait_for(&format!("that nothing is left after {signal} at moment {moment}"), || {
                there(&state).is_empty()
            });
        }
    }
}

/// A real logind that ends whatever a session leaves behind: a switch outlives its login by leaving the session's control group (as
/// root) or by the user's own manager (with lingering), else nothing is broken.
fn logind() {
    let lab = Lab::up("nginx");
    let host = lab.hosts()[0].clone();
    lab.on(
        &host,
        "useradd -m -u 71235 -s /bin/sh plain && usermod -p '*' plain; mkdir -p /etc/systemd/logind.conf.d; \
         printf '[Login]\\nKillUserProcesses=yes\\n' >/etc/systemd/logind.conf.d/kill.conf; sed -i 's/UsePAM no/UsePAM yes/' /etc/ssh/sshd_config; \
         rm -f /run/nologin; systemctl start systemd-logind; systemctl restart ssh",
    );
    let plain = format!("plain@{host}");
    wait_for("a session of logind's", || {
        let seen = lab.ssh(&plain, "grep -c session- /proc/self/cgroup").output();
        seen.is_ok_and(|output| output.status.success())
    });
    // It does what it is asked to.
    lab.ssh(&plain, "setsid sleep 777 >/dev/null 2>&1 </dev/null & sleep 0.2").output().expect("ssh runs");
    wait_for("that logind ends what is left", || lab.on(&host, "pgrep -x sleep || true").trim().is_empty());
    let at = lab.scratch.join("at");
    let run = |user: &str, passes: bool| {
        lab.scratch.write(
            "books/b/fatebook.yaml",
            format!(
                "service: s\nhosts: ['{user}@{host}']\nssh: {{identity_file: '{}', known_hosts: '{}'}}\nfailures:\n  - name: f\n    inducer: ['touch /tmp/broken']\n    reverter: ['rm -f /tmp/broken']\n    healthcheck: ['[ \"$1\" != --step=2 ] || [ -n \"$PISAURA_TEST_PASSES\" ] || {{ : >\"{}\"; sleep 30; }}']\n    timeout: 6s\n    deadman: 20s\n",
                lab.variables["PISAURA_SSH_IDENTITY"],
                lab.variables["PISAURA_SSH_KNOWN_HOSTS"],
                at.display()
            ),
        );
        let mut command = lab.scratch.command(&program());
        command.args(["run", "--fatebooks", "books"]);
        if passes {
            command.env("PISAURA_TEST_PASSES", "1");
        }
        command
    };
    let heals_itself = |user: &str| {
        let _ = std::fs::remove_file(&at);
        let mut killed =
            run(user, false).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it runs");
        wait_for("the healthcheck", || at.exists());
        killed.kill().expect("a signal");
        killed.wait().expect("an end");
        lab.on(&host, "test -e /tmp/broken");
        wait_for("that the host heals", || {
            let output = lab.ssh(&format!("root@{host}"), "test ! -e /tmp/broken").output();
            output.is_ok_and(|output| output.status.success())
        });
        let healed = Ran::of(lab.scratch.command(&program()).arg("revert"), &lab.scratch);
        assert_eq!(healed.stdout, "1 reverted\n", "{user}: {}", healed.stderr);
    };
    heals_itself("root");
    let ran = Ran::of(&mut run("plain", true), &lab.scratch);
    assert_eq!(ran.code, Some(3), "{}{}", ran.stdout, ran.stderr);
    assert!(
        ran.stdout.contains("the dead man's switch would end with this login (/user.slice/"),
        "{}",
        ran.stdout
    );
    lab.on(&host, "test ! -e /tmp/broken; loginctl enable-linger plain");
    heals_itself("plain");
    let ran = Ran::of(&mut run("plain", true), &lab.scratch);
    assert_eq!(ran.code, Some(0), "{}{}", ran.stdout, ran.stderr);
}

/// Whatever ends what a login has begun, by a real systemd: the switch is out of its reach, or nothing is broken.
fn out_of_reach() {
    let lab = Lab::up("nginx");
    let host = lab.hosts()[0].clone();
    lab.on(&host, "useradd -m -u 71234 -s /bin/sh plain && usermod -p '*' plain");
    let at = lab.scratch.join("at");
    let book = |user: &str, keys: &str| {
        format!(
            "service: s\nhosts: ['{user}@{host}']\nssh: {{identity_file: '{}', known_hosts: '{}'}}\nfailures:\n  - name: f\n    inducer: ['touch /tmp/broken']\n    reverter: ['rm -f /tmp/broken']\n    healthcheck: ['[ \"$1\" != --step=2 ] || [ -n \"$PISAURA_TEST_PASSES\" ] || {{ : >\"{}\"; sleep 30; }}']\n    timeout: 2s\n    {keys}\n",
            lab.variables["PISAURA_SSH_IDENTITY"],
            lab.variables["PISAURA_SSH_KNOWN_HOSTS"],
            at.display()
        )
    };
    let run = |user: &str, keys: &str| {
        lab.scratch.write("books/b/fatebook.yaml", book(user, keys));
        let mut command = lab.scratch.command(&program());
        command.args(["run", "--fatebooks", "books"]);
        command
    };
    // The run dies, and then the server with all that its logins have begun.
    let mut killed =
        run("root", "deadman: 8s").stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it runs");
    wait_for("the healthcheck", || at.exists());
    killed.kill().expect("a signal");
    killed.wait().expect("an end");
    lab.on(
        &host,
        "test -e /tmp/broken && ! grep -q ssh /proc/$(pgrep -f '/.case-[0-9a-f]*/watch' | head -1)/cgroup",
    );
    let _ = lab.ssh(&format!("root@{host}"), "systemctl kill --signal=KILL ssh").output();
    wait_for("that the host heals", || {
        let output = lab.ssh(&format!("root@{host}"), "test ! -e /tmp/broken").output();
        output.is_ok_and(|output| output.status.success())
    });
    assert_eq!(Ran::of(lab.scratch.command(&program()).arg("revert"), &lab.scratch).stdout, "1 reverted\n");
    // Nobody takes an ordinary user's out of it here.
    let ran = Ran::of(run("plain", "deadman: 8s").env("PISAURA_TEST_PASSES", "1"), &lab.scratch);
    assert_eq!(ran.code, Some(3), "{}{}", ran.stdout, ran.stderr);
    assert!(ran.stdout.contains("the dead man's switch would end with this login (/"), "{}", ran.stdout);
    // The same is said beforehand.
    let connected = |user: &str, keys: &str, code: i32, want: &str| {
        lab.scratch.write("books/b/fatebook.yaml", book(user, keys));
        let mut command = lab.scratch.command(&program());
        let ran = Ran::of(command.args(["check", "--connect", "--fatebooks", "books"]), &lab.scratch);
        assert_eq!(ran.code, Some(code), "{}{}", ran.stdout, ran.stderr);
        assert!(ran.stdout.contains(want), "{}{}", ran.stdout, ran.stderr);
    };
    connected("plain", "deadman: 8s", 3, "its dead man's switch would end with the login");
    let accepts = "deadman: {after: 8s, may_die_with: session}";
    connected("plain", accepts, 0, "its dead man's switch: ends with its login, as the book accepts");
    connected("root", "deadman: 8s", 0, "its dead man's switch: leaves the control group of its login");
    lab.on(&host, "test ! -e /tmp/broken");
    let accepted = "deadman: {after: 8s, may_die_with: session}";
    let ran = Ran::of(run("plain", accepted).env("PISAURA_TEST_PASSES", "1"), &lab.scratch);
    assert_eq!(ran.code, Some(0), "{}{}", ran.stdout, ran.stderr);
    assert_eq!(lab.on(&host, "ls -A ~plain | grep pisaura; ls -d /sys/fs/cgroup/pisaura /sys/fs/cgroup/*/pisaura 2>/dev/null; true"), "");
}

/// Of several that want the same place one gets it.
fn at_once() {
    let scratch = Scratch::new();
    let command = |verb: &str| {
        let mut command = Command::new(repository().join("ci/lab"));
        command.arg(verb).arg("--state").arg(scratch.join("lab")).stdin(Stdio::null());
        command.stdout(Stdio::null()).stderr(Stdio::null());
        command
    };
    let all: Vec<Child> = (0..3).map(|_| command("up").arg("nginx").spawn().expect("ci/lab runs")).collect();
    let up = all
        .into_iter()
        .filter_map(|mut child| child.wait().ok())
        .filter(std::process::ExitStatus::success)
        .count();
    assert_eq!(up, 1);
    assert!(there(&scratch.join("lab")).len() >= 5);
    assert!(command("down").status().expect("ci/lab runs").success());
    wait_for("that nothing is left", || there(&scratch.join("lab")).is_empty());
}

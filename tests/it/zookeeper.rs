//! The leader, as a real ZooKeeper knows it; a real Mesos stands where it says. The masters' nodes are written by the test,
//! in the form in which masters write them.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use libtest_mimic::Trial;
use pisaura::mesos::{Leader, MasterAddress, Next};
use tempfile::TempDir;
use tokio_zookeeper::{Acl, CreateMode, ZooKeeper};

use crate::cluster::{Stage, can_run};
use crate::common::{self, PATIENCE, Ran, free_port, needing, wait_for_line};

pub fn tests() -> Vec<Trial> {
    let (met, reason) = can_run();
    [
        ("zookeeper::cases_run_at_the_leader", cases as fn()),
        ("zookeeper::the_lowest_number_leads", lowest),
        ("zookeeper::a_change_of_leader_is_told", change),
        ("zookeeper::a_session_that_is_lost", lost_session),
        ("zookeeper::no_leader_at_first", no_leader),
        ("zookeeper::servers_that_are_not_there", servers),
        ("zookeeper::the_leader_changes_mid_case", change_mid_case),
    ]
    .into_iter()
    .map(|(name, run)| needing(name, met, reason, run))
    .collect()
}

/// A server of this test's own.
struct Server {
    folder: TempDir,
    address: String,
}

impl Server {
    fn start() -> Self {
        let folder = tempfile::Builder::new().prefix("pisaura-zookeeper-").tempdir().expect("a folder");
        let mut server = Self { folder, address: String::new() };
        server.up(&[]);
        server
    }

    fn command(&self, verb: &str) -> Command {
        let mut command = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/ci/zookeeper"));
        command.arg(verb).arg("--state").arg(self.folder.path().join("state"));
        command
    }

    fn up(&mut self, arguments: &[&str]) {
        let output = self.command("up").args(arguments).output().expect("ci/zookeeper runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        self.address = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    }

    fn crash(&self) {
        assert!(
            self.command("down").arg("--crash").stderr(Stdio::null()).status().expect("it runs").success()
        );
    }

    fn master(&self) -> String {
        format!("zk://{}/mesos", self.address)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.command("down").stderr(Stdio::null()).status();
    }
}

/// Within the time that any one thing may take.
fn block_on<T>(future: impl Future<Output = T>) -> T {
    common::block_on(async { tokio::time::timeout(PATIENCE, future).await.expect("in time") })
}

/// A client that writes masters' nodes.
async fn writer(server: &Server) -> ZooKeeper {
    let (zookeeper, _watcher) =
        ZooKeeper::connect(&server.address.parse().expect("an address")).await.expect("a session");
    let _ = zookeeper
        .create("/mesos", &b""[..], Acl::open_unsafe(), CreateMode::Persistent)
        .await
        .expect("an answer");
    zookeeper
}

/// A master of this number stands at this address.
async fn stand(zookeeper: &ZooKeeper, number: u32, address: &str) {
    let (ip, port) = address.split_once(':').expect("a port");
    let info = format!(
        r#"{{"address":{{"hostname":"localhost","ip":"{ip}","port":{port}}},"hostname":"localhost","id":"m{number}","ip":16777343,"pid":"master@{address}","port":{port},"version":"1.11.0"}}"#
    );
    let path = format!("/mesos/json.info_{number:010}");
    zookeeper
        .create(&path, info.into_bytes(), Acl::open_unsafe(), CreateMode::Persistent)
        .await
        .expect("an answer")
        .expect("a node");
}

async fn fall(zookeeper: &ZooKeeper, number: u32) {
    zookeeper
        .delete(&format!("/mesos/json.info_{number:010}"), None)
        .await
        .expect("an answer")
        .expect("a node");
}

fn leader(server: &Server) -> Leader {
    Leader::new(MasterAddress::parse(&server.master(), false).expect("an address"))
}

fn cases() {
    let (server, stage) = (Server::start(), Stage::new("", &[]));
    block_on(async { stand(&writer(&server).await, 3, &stage.cluster.master).await });
    let ran = stage.go_on(stage.begin_at(&server.master(), &[]));
    stage.check_survived(&ran, "");
}

fn lowest() {
    let server = Server::start();
    block_on(async {
        let zookeeper = writer(&server).await;
        stand(&zookeeper, 12, "127.0.0.1:12").await;
        stand(&zookeeper, 7, "127.0.0.1:7").await;
        // Other nodes stand there as well: the masters' own log, and infos in another form.
        for other in ["info_0000000001", "log_replicas", "json.info_x"] {
            let path = format!("/mesos/{other}");
            let _ = zookeeper
                .create(&path, &b"?"[..], Acl::open_unsafe(), CreateMode::Persistent)
                .await
                .expect("an answer");
        }
        assert_eq!(leader(&server).find().await, Ok("http://127.0.0.1:7".to_owned()));
        let secure = MasterAddress::parse(&server.master(), true).expect("an address");
        assert_eq!(Leader::new(secure).find().await, Ok("https://127.0.0.1:7".to_owned()));
    });
}

fn change() {
    let server = Server::start();
    block_on(async {
        let zookeeper = writer(&server).await;
        stand(&zookeeper, 1, "127.0.0.1:1").await;
        let mut leader = leader(&server);
        assert_eq!(leader.find().await, Ok("http://127.0.0.1:1".to_owned()));
        for number in 2..5 {
            stand(&zookeeper, number, &format!("127.0.0.1:{number}")).await;
            leader.changed().await;
            assert_eq!(
                leader.find().await,
                Ok(format!("http://127.0.0.1:{}", number - 1)),
                "it only stands by"
            );
            fall(&zookeeper, number - 1).await;
            leader.changed().await;
            assert_eq!(leader.find().await, Ok(format!("http://127.0.0.1:{number}")));
        }
    });
}

fn lost_session() {
    let mut server = Server::start();
    block_on(async {
        stand(&writer(&server).await, 1, "127.0.0.1:1").await;
        let mut leader = leader(&server);
        leader.find().await.expect("a leader");
        server.crash();
        leader.changed().await;
        let error = leader.find().await.expect_err("nobody is there");
        assert_eq!(error.next, Next::Later);
        assert!(error.message.starts_with(&format!("ZooKeeper at {}: ", server.address)), "{error}");
        server.up(&["--keep"]);
        assert_eq!(leader.find().await, Ok("http://127.0.0.1:1".to_owned()));
    });
}

fn no_leader() {
    let (server, stage) = (Server::start(), Stage::new("", &[]));
    let mut run: Child = stage.begin_at(&server.master(), &[]);
    let mut stderr = BufReader::new(run.stderr.take().expect("a pipe"));
    let said = wait_for_line(&mut stderr, "waiting for the Mesos master");
    assert!(said.contains(&format!("{}: there is no /mesos\n", server.address)), "{said}");
    let thread = std::thread::spawn(move || stderr.lines().map_while(Result::ok).collect::<Vec<_>>());
    block_on(async {
        let zookeeper = writer(&server).await;
        stand(&zookeeper, 1, &stage.cluster.master).await;
    });
    let ran = stage.go_on(run);
    stage.check_survived(&ran, "");
    thread.join().expect("its lines");
}

fn servers() {
    let server = Server::start();
    block_on(async {
        stand(&writer(&server).await, 1, "127.0.0.1:1").await;
        let nobody = format!("127.0.0.1:{}", free_port());
        let address = MasterAddress::parse(&format!("zk://{nobody},{}/mesos", server.address), false)
            .expect("an address");
        assert_eq!(
            Leader::new(address).find().await,
            Ok("http://127.0.0.1:1".to_owned()),
            "the next one is asked"
        );
        let address = MasterAddress::parse(&format!("zk://{nobody}/mesos"), false).expect("an address");
        let error = Leader::new(address).find().await.expect_err("nobody is there");
        assert!(error.message.starts_with(&format!("ZooKeeper at {nobody}: connect failed")), "{error}");
        let address =
            MasterAddress::parse(&format!("zk://{}/other", server.address), false).expect("an address");
        let error = Leader::new(address).find().await.expect_err("no masters");
        assert_eq!(error.message, format!("ZooKeeper at {}: there is no /other", server.address));
    });
}

/// A leader is named that is not there, then the first one again; the case goes on.
fn change_mid_case() {
    let server = Server::start();
    let stage = Stage::new("--step=2", &["--set", "MESOS_EXECUTOR_REREGISTRATION_TIMEOUT=1secs"]);
    block_on(async { stand(&writer(&server).await, 1, &stage.cluster.master).await });
    let run = stage.begin_at(&server.master(), &[]);
    stage.wait_for("--step=2");
    let nobody = format!("127.0.0.1:{}", free_port());
    block_on(async {
        let zookeeper = writer(&server).await;
        stand(&zookeeper, 2, &nobody).await;
        fall(&zookeeper, 1).await;
        tokio::time::sleep(Duration::from_millis(200)).await;
        stand(&zookeeper, 3, &stage.cluster.master).await;
        fall(&zookeeper, 2).await;
    });
    let ran: Ran = stage.go_on(run);
    stage.check_survived(&ran, "");
    assert_eq!(stage.cluster.ended_tasks(), ["TASK_FINISHED"]);
}

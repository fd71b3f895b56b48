//! What operators get wrong: systems of the lab that are broken on purpose before a book is run, and while it is. None of it may be
//! green.

use crate::common::wait_for;
use crate::lab::Lab;

/// Breaks a lab on purpose, and runs its book.
type Sabotage = fn(&Lab);

/// What is broken on purpose before a book is run, and while it is: each in a lab of its own; and whether it is always tried.
pub const SABOTAGE: [(&str, &str, bool, Sabotage); 12] = [
    ("etcd", "members", true, etcd_members),
    ("etcd", "settings", false, etcd_settings),
    ("nginx", "mistakes", false, nginx_mistakes),
    ("redis", "servers", false, redis_servers),
    ("redis", "settings", false, redis_settings),
    ("postgresql", "servers", false, postgresql_servers),
    ("postgresql", "settings", false, postgresql_settings),
    ("zookeeper", "mistakes", false, zookeeper_mistakes),
    ("kafka", "topics", false, kafka_topics),
    ("kafka", "servers", false, kafka_servers),
    ("kafka", "clients", false, kafka_clients),
    ("kafka", "accidents", false, kafka_accidents),
];

/// Members that are missing, or are of another cluster: none of them may pass.
fn etcd_members(lab: &Lab) {
    let hosts = lab.hosts();
    let last = &hosts[2];
    let blocked = format!("etcd::the peer port is blocked@{}", hosts[0]);
    let unfit = |why: &str| {
        format!("unfit: check `noticed`: unhealthy before anything was broken (exit status 1): {why}")
    };
    lab.on(last, "systemctl stop etcd");
    let dead = format!(
        "unfit: unhealthy before anything was broken (exit status 1): {last}: this member does not answer"
    );
    lab.is_red(&blocked, &[], &dead);
    lab.on(last, &format!("systemctl start etcd; {ETCD_IS_UP}"));
    // One that was not started yet.
    lab.on(&hosts[0], &until(&format!("{ETCDCTL} member add another --peer-urls=http://127.0.0.1:1")));
    lab.is_red(
        &blocked,
        &[],
        &unfit(&format!("{}: not all members are started, or one is a learner", hosts[0])),
    );
    lab.on(
        &hosts[0],
        &until(&format!("{ETCDCTL} member remove $({ETCDCTL} member list | sed -n 's/, unstarted,.*//p')")),
    );
    // One that is not there any more, and one that is of another cluster.
    lab.on(
        &hosts[0],
        &until(&format!(
            "{ETCDCTL} member remove $({ETCDCTL} member list | sed -n 's/, started, etcd-3,.*//p')"
        )),
    );
    lab.is_red(&blocked, &[], &format!("{last}: this member does not answer"));
    lab.on(
        last,
        &format!(
            "systemctl stop etcd; rm -rf /var/lib/etcd/*; sed -i 's|^ETCD_INITIAL_CLUSTER=.*|ETCD_INITIAL_CLUSTER=etcd-3=http://{last}:2380|' /etc/default/etcd; systemctl start etcd; {ETCD_IS_UP}"
        ),
    );
    lab.is_red(&blocked, &[], ": ");
    // Of two none can be spared.
    lab.on(last, "systemctl stop etcd");
    let two = format!("root@{},root@{}", hosts[0], hosts[1]);
    lab.is_red(
        &blocked,
        &[("ETCD_HOSTS", &two)],
        "there is no minority of 2 hosts: this failure needs at least 3",
    );
}

/// Settings and accidents that etcd does not stand, and one that it does.
fn etcd_settings(lab: &Lab) {
    let hosts = lab.hosts();
    let set = |lines: &str| {
        for host in &hosts {
            lab.on(host, &format!("printf '{lines}' >>/etc/default/etcd; systemctl restart --no-block etcd"));
        }
        lab.on_each(&hosts, ETCD_IS_UP);
    };
    let leader = "etcd::the leader is killed";
    // Who takes a quarter of a minute, or twice that, to miss the leader.
    set("ETCD_HEARTBEAT_INTERVAL=1500\nETCD_ELECTION_TIMEOUT=15000\n");
    lab.is_red(leader, &[], "succumbed: unhealthy for at least ");
    lab.is_red("etcd::the leader is paused", &[], "succumbed: unhealthy for at least ");
    lab.is_red("etcd::the peer port is blocked", &[], "check `noticed`: unhealthy for at least ");
    // Too short for anybody to notice: that tests nothing, whatever the healthcheck says.
    let short = [("ETCD_HOLD", "3s"), ("ETCD_MAX_OUTAGE", "2s")];
    lab.is_red(&format!("etcd::a minority is cut off@{}", hosts[0]), &short, "check `noticed`: unhealthy ");
    // Others are right.
    set("ETCD_HEARTBEAT_INTERVAL=50\nETCD_ELECTION_TIMEOUT=500\n");
    lab.is_green(leader);
    // Somebody cleans up behind the client's back.
    lab.is_red_while("etcd::a follower is killed", &format!("{ETCDCTL} del --prefix pisaura/"), " lost of ");
    // Room for some keys only: the first alarm is before the failure, or at the latest after it.
    set("ETCD_QUOTA_BACKEND_BYTES=1000000\n");
    lab.on(&hosts[0], &format!("i=0; while [ $i -lt 40 ] && head -c 65536 /dev/zero | tr '\\0' x | {ETCDCTL} put room/$i >/dev/null 2>&1; do i=$((i + 1)); done; [ $i -lt 40 ]"));
    lab.is_red(leader, &[], "unfit: ");
}

/// Shell text that tries something again until it succeeds.
fn until(done: &str) -> String {
    format!("i=0; until {done}; do i=$((i + 1)); [ $i -lt 30 ] || exit 1; sleep 1; done")
}

/// How etcd is asked on a host of its own.
const ETCDCTL: &str = "ETCDCTL_API=3 etcdctl --endpoints=127.0.0.1:2379";
const ETCD_IS_UP: &str = "i=0; until ETCDCTL_API=3 etcdctl --endpoints=127.0.0.1:2379 endpoint health >/dev/null 2>&1; do i=$((i + 1)); [ $i -lt 60 ] || exit 1; sleep 0.5; done";

/// Servers that are missing, settings and accidents that ZooKeeper does not stand.
fn zookeeper_mistakes(lab: &Lab) {
    let hosts = lab.hosts();
    let last = &hosts[2];
    let blocked = format!("zookeeper::the peer ports are blocked@{}", hosts[0]);
    lab.on(last, "systemctl stop zookeeper");
    lab.is_red(&blocked, &[], "unfit: unhealthy before anything was broken (exit status 1): ");
    lab.on(last, "systemctl start zookeeper");
    // Somebody cleans up behind the client's back.
    let client = "/usr/share/zookeeper/bin/zkCli.sh -server 127.0.0.1:2181";
    let delete = format!(
        "found=; for node in $({client} ls / 2>/dev/null | grep '^\\[.*zookeeper.*\\]$' | tr -d '[],'); do case $node in pisaura*) {client} deleteall /$node >/dev/null 2>&1 && found=yes;; esac; done; [ -n \"$found\" ]"
    );
    wait_for("a whole cluster", || {
        hosts.iter().all(|host| {
            lab.ssh(&format!("root@{host}"), &format!("{client} ls / 2>/dev/null | grep -q zookeeper"))
                .status()
                .is_ok_and(|status| status.success())
        })
    });
    lab.is_red_while("zookeeper::a follower is killed", &delete, "was accepted, and is lost");
    // Who takes a quarter of a minute to miss the leader, or anybody: no failure is held for so long here.
    for host in &hosts {
        lab.on(host, "sed -i 's/^syncLimit=.*/syncLimit=60/' /etc/zookeeper/conf/zoo.cfg; systemctl restart --no-block zookeeper");
    }
    wait_for("a whole cluster", || {
        hosts.iter().all(|host| {
            lab.ssh(&format!("root@{host}"), &format!("{client} ls / 2>/dev/null | grep -q zookeeper"))
                .status()
                .is_ok_and(|status| status.success())
        })
    });
    lab.is_red("zookeeper::the leader is paused", &[], "succumbed: ");
}

/// Servers and sentinels that are not what they have to be before the failure.
fn redis_servers(lab: &Lab) {
    let hosts = lab.hosts();
    let last = &hosts[2];
    let killed = "redis::the majority is killed";
    let unfit = |why: &str| format!("unfit: unhealthy before anything was broken (exit status 1): {why}");
    let is_whole =
        until(&format!("[ $(redis-cli -h {} info replication | grep -c state=online) = 2 ]", hosts[0]));
    lab.on(last, "systemctl stop redis-server");
    lab.is_red(killed, &[], &unfit(""));
    lab.on(last, &format!("systemctl start redis-server; {is_whole}"));
    // Whoever is not asked is not missed.
    lab.on(last, "systemctl stop redis-sentinel");
    lab.is_red(killed, &[], &unfit(""));
    lab.on(last, "systemctl start redis-sentinel");
    lab.on(last, &until("redis-cli -p 26379 sentinel ckquorum main | grep -q '^OK 3 usable'"));
    // Sentinels that could never agree.
    lab.on_each(&hosts, "redis-cli -p 26379 sentinel set main quorum 4");
    lab.is_red(killed, &[], &unfit(""));
    lab.on_each(&hosts, "redis-cli -p 26379 sentinel set main quorum 2");
    // One that follows nobody.
    lab.on(last, "redis-cli replicaof no one");
    lab.is_red(killed, &[], &unfit(""));
}

/// Settings and accidents that Redis does not stand, and one that it does.
fn redis_settings(lab: &Lab) {
    let hosts = lab.hosts();
    let set = |line: &str| lab.on_each(&hosts, &format!("redis-cli config set {line}"));
    let misses_after = |milliseconds: u32| {
        lab.on_each(
            &hosts,
            &format!("redis-cli -p 26379 sentinel set main down-after-milliseconds {milliseconds}"),
        );
    };
    // A primary that goes on taking what will be lost.
    set("min-replicas-to-write 0");
    let cut_off = format!("redis::the primary is cut off@{}", hosts[0]);
    lab.is_red(&cut_off, &[], "check `answers alone`: healthy, and expected to be unhealthy,");
    set("min-replicas-to-write 1");
    // Nobody misses the primary, or a replica, for as long as the failure lasts.
    misses_after(60_000);
    lab.is_red("redis::the primary is killed", &[], "succumbed: unhealthy for at least ");
    lab.is_red("redis::a replica is lost", &[], "check `noticed`: unhealthy for at least ");
    misses_after(3_000);
    lab.is_green("redis::the primary is killed");
    misses_after(1_500);
    lab.is_red_while(
        "redis::a replica is lost",
        "redis-cli role | grep -q master && redis-cli flushall",
        " lost of ",
    );
}

/// Pages and balancers that are not what they have to be.
fn nginx_mistakes(lab: &Lab) {
    let (hosts, balancer) = (lab.hosts(), lab.balancer());
    let killed = format!("nginx::a backend is killed@{}", hosts[0]);
    let unfit = |why: &str| format!("unfit: unhealthy before anything was broken (exit status 1): {why}");
    lab.on(&hosts[1], "systemctl stop nginx");
    lab.is_red(&killed, &[], &unfit(""));
    lab.on(&hosts[1], "systemctl start nginx");
    lab.on(&hosts[1], "cp /var/www/html/index.html /root/page; echo another >/var/www/html/index.html");
    lab.is_red(&killed, &[], &unfit(""));
    lab.on(&hosts[1], "cp /root/page /var/www/html/index.html");
    // Who does not ask its backends goes on sending visitors there.
    let config = "/etc/haproxy/haproxy.cfg";
    let set =
        |change: &str| lab.on(&balancer, &format!("sed -i '{change}' {config}; systemctl restart haproxy"));
    let hangs = format!("nginx::a backend hangs@{}", hosts[0]);
    set("s/default-server check/default-server no-check/");
    lab.is_red(&hangs, &[], "succumbed: ");
    set("s/default-server no-check/default-server check/");
    lab.is_green(&hangs);
    // Who asks too seldom does so for as long as the failure lasts.
    set("s/inter 300ms/inter 60s/; s/option redispatch 1//; s/^    retry-on.*//; s/retries 3/retries 0/");
    lab.is_red(&killed, &[], "succumbed: ");
    set("s/inter 60s/inter 300ms/");
    lab.on(&balancer, "systemctl stop haproxy");
    lab.is_red(&killed, &[], &unfit("request 1 of 10 failed"));
}

/// Servers that are not what they have to be, before the failure and during it.
fn postgresql_servers(lab: &Lab) {
    let (hosts, unit) = (lab.hosts(), lab.variables["POSTGRESQL_UNIT"].clone());
    let (primary, standby) = (&hosts[0], &hosts[1]);
    let down = format!("postgresql::the primary is down@{primary}");
    let cut_off = format!("postgresql::the standby is cut off@{standby}");
    let unfit = |why: &str| format!("unfit: unhealthy before anything was broken (exit status 1): {why}");
    lab.on(standby, &format!("systemctl stop {unit}"));
    lab.is_red(&down, &[], &unfit(&format!("{standby}: this server does not answer")));
    lab.on(standby, &format!("systemctl start {unit}"));
    // One that does not follow any more.
    let follow = |whom: &str| {
        lab.on(
            standby,
            &psql(&format!(
                "alter system set primary_conninfo = 'host={whom} user=pisaura password=of-the-lab'"
            )),
        );
        lab.on(standby, &psql("select pg_reload_conf()"));
    };
    follow("127.0.0.1");
    lab.is_red(&down, &[], &unfit(""));
    follow(primary);
    lab.on(primary, &until(STREAMS));
    lab.is_green(&down);
    // Nobody notices in time, or at all.
    let short = [("POSTGRESQL_CUT_OFF", "5s"), ("POSTGRESQL_NOTICED", "3s"), ("POSTGRESQL_MAX_OUTAGE", "4s")];
    let waits = |time: &str| {
        lab.on(primary, &psql(&format!("alter system set wal_sender_timeout = '{time}'")));
        lab.on(primary, &format!("systemctl restart {unit}"));
        lab.on(primary, &until(STREAMS));
    };
    waits("30s");
    lab.is_red(&cut_off, &short, "check `noticed`: unhealthy ");
    waits("0");
    lab.is_red(&cut_off, &[], "check `noticed`: unhealthy ");
    waits("3s");
    // Made a second primary by somebody who takes a cut for a loss.
    let promote = psql("select pg_promote()");
    lab.is_red_while(
        &cut_off,
        &format!("[ $(hostname -I | cut -d' ' -f1) = {standby} ] && {promote}"),
        "there is more than one primary: ",
    );
    lab.is_red(&down, &[], &unfit("there is more than one primary: "));
}

/// Settings and accidents that PostgreSQL does not stand.
fn postgresql_settings(lab: &Lab) {
    let (hosts, unit) = (lab.hosts(), lab.variables["POSTGRESQL_UNIT"].clone());
    let (primary, standby) = (&hosts[0], &hosts[1]);
    let set = |line: &str| {
        lab.on(primary, &psql(&format!("alter system set {line}")));
        lab.on(primary, &format!("systemctl restart {unit}"));
        lab.on(primary, &until(STREAMS));
    };
    let killed = format!("postgresql::the server is killed under writes@{primary}");
    let cut_off = format!("postgresql::the standby is cut off@{standby}");
    // What is said to be committed is not on the disk yet.
    set("wal_writer_delay = '1s'");
    set("synchronous_commit = off");
    lab.is_red(&killed, &[], " that were committed before the crash are lost");
    set("synchronous_commit = on");
    lab.is_green(&killed);
    // Every commit waits for a standby that is not there.
    set("synchronous_standby_names = '*'");
    lab.is_red(&cut_off, &[], "succumbed: unhealthy for at least ");
    set("synchronous_standby_names = ''");
    // Somebody cleans up behind the client's back.
    let delete = psql(
        "do $$ declare t text; begin for t in select tablename from pg_tables where tablename like 'pisaura%writes' loop execute 'delete from ' || t; end loop; end $$",
    );
    lab.is_red_while(&cut_off, &delete, " lost of ");
    // No room from the first.
    lab.library(primary, "fill-disk.sh /var/lib/postgresql");
    lab.is_red(&killed, &[], "");
}

/// Whether a standby streams from this primary.
const STREAMS: &str = "[ \"$(cd /; runuser -u postgres -- psql -XqtAc \"select count(*) from pg_stat_replication where state = 'streaming'\")\" = 1 ]";

/// A command of PostgreSQL's own user on its host.
fn psql(command: &str) -> String {
    format!("cd /; runuser -u postgres -- psql -XqtA -d pisaura -c \"{}\"", command.replace('$', "\\$"))
}

/// The failure that is tried while a Kafka is not as it has to be.
const KAFKA_KILLED: &str = "kafka::a leader is killed";

/// One of Kafka's own tools.
fn kafka_tool(host: &str, main: &str, arguments: &str) -> String {
    format!(
        "java -Xmx96m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -cp '/opt/kafka/*:/etc/kafka' {main} --bootstrap-server {host}:9092 {arguments}"
    )
}

/// The case is told unfit, for this reason.
fn is_unfit(lab: &Lab, variables: &[(&str, &str)], why: &str) {
    lab.is_red(
        KAFKA_KILLED,
        variables,
        &format!("unhealthy before anything was broken (exit status 1): {why}"),
    );
}

/// Waits until a client sees all three brokers.
fn wait_for_brokers(lab: &Lab) {
    let hosts = lab.hosts();
    wait_for("three brokers", || {
        lab.ssh(
            &format!("root@{}", hosts[0]),
            &format!("kcat -L -b {}:9092 -m 3 | grep -q ' 3 brokers:'", hosts[0]),
        )
        .status()
        .is_ok_and(|status| status.success())
    });
}

/// Topics whose settings do not stand the loss of a broker, or lose what they have accepted.
fn kafka_topics(lab: &Lab) {
    let host = &lab.hosts()[0];
    let topic = |arguments: &str| {
        lab.on(
            host,
            &kafka_tool(host, "org.apache.kafka.tools.TopicCommand", &format!("--topic pisaura {arguments}")),
        )
    };
    let set = |setting: &str| {
        let arguments = format!("--entity-type topics --entity-name pisaura --alter {setting}");
        lab.on(host, &kafka_tool(host, "kafka.admin.ConfigCommand", &arguments));
    };
    let reassign = |topic: &str, replicas: &str| {
        let partitions: Vec<String> = (0..3)
            .map(|number| {
                format!("{{\"topic\": \"{topic}\", \"partition\": {number}, \"replicas\": [{replicas}]}}")
            })
            .collect();
        let json = format!("{{\"version\": 1, \"partitions\": [{}]}}", partitions.join(", "));
        let tool = kafka_tool(
            host,
            "org.apache.kafka.tools.reassign.ReassignPartitionsCommand",
            "--reassignment-json-file /tmp/plan.json --execute",
        );
        lab.on(host, &format!("echo '{json}' >/tmp/plan.json; {tool}"));
    };
    lab.is_green(KAFKA_KILLED);
    for (setting, why) in [
        ("min.insync.replicas=3", "pisaura has min.insync.replicas=3 of 3 replicas: it can spare none"),
        (
            "min.insync.replicas=1",
            "pisaura has min.insync.replicas=1: what one broker alone has accepted is lost with it",
        ),
        (
            "unclean.leader.election.enable=true",
            "pisaura has unclean.leader.election.enable=true: a replica that lags may lead",
        ),
    ] {
        set(&format!("--add-config {setting}"));
        is_unfit(lab, &[], why);
        set(&format!("--delete-config {}", setting.split('=').next().expect("a name")));
    }
    reassign("pisaura", "1, 2, 3");
    is_unfit(lab, &[], "all partitions of pisaura prefer broker 1 for a leader");
    reassign("pisaura", "1");
    lab.is_red("kafka::a follower is killed", &[], "nobody follows the leader of pisaura/0 in sync");
    is_unfit(lab, &[], &format!("{host}: pisaura/0 has 1 replicas, wanted are 3 (KAFKA_REPLICAS)"));
    topic("--delete");
    lab.is_red(KAFKA_KILLED, &[], "the topic pisaura is not there");
    topic("--create --partitions 6 --replication-factor 3");
    // Other numbers of partitions are as good.
    lab.is_green(KAFKA_KILLED);
    reassign("__consumer_offsets", "2");
    is_unfit(
        lab,
        &[],
        &format!("{host}: __consumer_offsets/0 has 1 replicas, wanted are 3 (KAFKA_REPLICAS)"),
    );
}

/// Brokers and controllers that are missing, or do not find each other.
fn kafka_servers(lab: &Lab) {
    let hosts = lab.hosts();
    let last = &hosts[2];
    let writes = format!(
        "for n in $(seq 40); do echo x | kcat -P -b {}:9092 -t pisaura -p $((n % 3)) -X acks=1 || exit 1; sleep 0.2; done",
        hosts[0]
    );
    // A broker, and a controller, that do not run.
    lab.on(last, "systemctl stop kafka");
    is_unfit(lab, &[], "");
    lab.on(last, &format!("systemctl start kafka; {}", until("grep -q :2384 /proc/net/tcp /proc/net/tcp6")));
    lab.on(last, "systemctl stop kafka-controller; sleep 6");
    is_unfit(lab, &[], "controller 103 has not kept up for ");
    lab.on(last, "systemctl start kafka-controller");
    wait_for("a whole cluster", || lab.green(KAFKA_KILLED));
    // One that cannot fetch from the others.
    lab.on(last, &format!("iptables -I OUTPUT -p tcp --dport 9092 -d {} -j DROP; iptables -I OUTPUT -p tcp --dport 9092 -d {} -j DROP", hosts[0], hosts[1]));
    lab.on(&hosts[0], &writes);
    is_unfit(lab, &[], &format!("{}: pisaura/0: out of sync: 3", hosts[0]));
    lab.on(last, "iptables -F OUTPUT");
    // One that is advertised by an address that nobody can use; and too few to be clients' first.
    lab.on(last, "echo advertised.listeners=PLAINTEXT://127.0.0.1:9092 >>/etc/kafka/kafka.properties; systemctl restart kafka");
    lab.on(&hosts[0], &until(&format!("kcat -L -b {}:9092 -m 3 | grep -q 'at 127.0.0.1:9092'", hosts[0])));
    lab.is_red(
        KAFKA_KILLED,
        &[],
        &format!(
            "this broker knows of none at {last}, but of 1 {}:9092, 2 {}:9092, 3 127.0.0.1:",
            hosts[0], hosts[1]
        ),
    );
    lab.on(last, "sed -i /^advertised/d /etc/kafka/kafka.properties; systemctl restart kafka");
    wait_for("a whole cluster", || lab.green(KAFKA_KILLED));
    is_unfit(
        lab,
        &[("KAFKA_BROKERS", &format!("{}:9092", hosts[0]))],
        &format!("clients begin at {}:9092 alone (KAFKA_BROKERS)", hosts[0]),
    );
    let two = format!("root@{},root@{}", hosts[0], hosts[1]);
    is_unfit(lab, &[("KAFKA_HOSTS", &two)], "a Kafka of 2 brokers can spare none");
    // Two controllers, of which none can be spared.
    let voters = format!("controller.quorum.voters=101@{}:9093,102@{}:9093", hosts[0], hosts[1]);
    for host in &hosts {
        lab.on(host, &format!("sed -i 's/^controller.quorum.voters=.*/{voters}/' /etc/kafka/*.properties; systemctl stop kafka kafka-controller"));
    }
    for host in &hosts[..2] {
        lab.on(host, "systemctl start kafka-controller kafka");
    }
    lab.on(last, "systemctl start kafka");
    wait_for_brokers(lab);
    is_unfit(lab, &[], "there are 2 controllers that vote: they have to be an odd number, of three or more");
}

/// Settings of the services' own clients.
fn kafka_clients(lab: &Lab) {
    // What a leader alone has accepted that is cut off from its peers is gone, and no client is told.
    lab.is_red(
        "kafka::a leader is cut off from its peers",
        &[("KAFKA_ACKS", "1"), ("KAFKA_IDEMPOTENCE", "false")],
        " lost of ",
    );
    // Kafka's own time limit of clients is longer than anybody wants to wait.
    lab.is_red(
        "kafka::a leader is paused",
        &[("KAFKA_REQUEST_TIMEOUT_MS", "30000")],
        "succumbed: nothing was accepted by `0` for ",
    );
    // A failure that nobody is given the time to notice.
    let brief = [("KAFKA_HOLD", "2s"), ("KAFKA_NOTICED", "9s")];
    lab.is_red("kafka::a leader is killed", &brief, "");
    // There is no ZooKeeper whose port could be blocked.
    let hosts = lab.variables["KAFKA_HOSTS"].clone();
    lab.is_red(
        "kafka::zookeeper::ZooKeeper's port is blocked",
        &[("KAFKA_ZOOKEEPER_HOSTS", &hosts)],
        "nobody here is connected to port 2181 of another host",
    );
}

/// What happens while a failure is there, and servers that take too long to notice.
fn kafka_accidents(lab: &Lab) {
    let hosts = lab.hosts();
    // Somebody cleans up behind the client's back.
    let delete = kafka_tool(
        &hosts[0],
        "org.apache.kafka.tools.DeleteRecordsCommand",
        "--offset-json-file /tmp/offsets.json",
    );
    let offsets: Vec<String> = (0..3)
        .map(|number| format!("{{\"topic\": \"pisaura\", \"partition\": {number}, \"offset\": -1}}"))
        .collect();
    let delete = format!(
        "echo '{{\"version\": 1, \"partitions\": [{}]}}' >/tmp/offsets.json; {delete}",
        offsets.join(", ")
    );
    lab.is_red_while("kafka::the active controller is killed", &delete, " lost of ");
    // Nobody misses a broker for a whole minute.
    for host in &hosts {
        lab.on(host, "sed -i 's/^broker.session.timeout.ms=.*/broker.session.timeout.ms=60000/; s/^replica.lag.time.max.ms=.*/replica.lag.time.max.ms=60000/' /etc/kafka/*.properties; systemctl restart kafka-controller kafka");
    }
    wait_for_brokers(lab);
    lab.is_red("kafka::a leader is paused", &[], "succumbed: ");
    for host in &hosts {
        lab.on(host, "sed -i 's/^broker.session.timeout.ms=.*/broker.session.timeout.ms=3000/; s/^replica.lag.time.max.ms=.*/replica.lag.time.max.ms=3000/' /etc/kafka/*.properties; systemctl restart kafka-controller kafka");
    }
    wait_for("a whole cluster", || lab.green(KAFKA_KILLED));
    // A broker that will not start again.
    lab.is_red_while(
        "kafka::a leader is killed",
        "! systemctl is-active --quiet kafka && sed -i 's/^node.id=/node.id=x/' /etc/kafka/kafka.properties",
        "not recovered",
    );
}

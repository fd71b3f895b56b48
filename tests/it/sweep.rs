//! What becomes of a case, and of its healing, if its connection is harmed at any byte, in either direction: it is cut, stalls, is late,
//! or a bit of it is another one. Whatever is said of the host is true.
//!
//! In CI a few points of the sweep; with `PISAURA_SWEEP_ALL` places round each border of what passes, and 200 more by chance
//! (`ci/kill --sweep`).

use std::fs;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use libtest_mimic::Trial;

use crate::case::{Case, known, walk};
use crate::common::{Ran, test, wait_for, wait_for_none};
use crate::relay::{Fault, Point, Relay, Way};

const FAULTS: [Fault; 4] = [Fault::Cut, Fault::Stall, Fault::Flip, Fault::Delay(Duration::from_millis(300))];
/// Where bytes round a border are tried, counted from it.
const ROUND: [i64; 7] = [-32, -16, -1, 0, 1, 16, 31];
/// How many points of each sweep CI tries.
const SAMPLE: usize = 12;
const BY_CHANCE: usize = 200;
const WITHOUT_SFTP: &str = "Subsystem none /bin/true";

pub fn tests() -> Vec<Trial> {
    vec![
        test("sweep::a_case", || sweep("", Swept::breaking)),
        test("sweep::a_case_without_sftp", || sweep(WITHOUT_SFTP, Swept::breaking)),
        test("sweep::a_healing", || sweep("", Swept::healing)),
        test("sweep::a_healing_without_sftp", || sweep(WITHOUT_SFTP, Swept::healing)),
    ]
}

/// A case that is reached through a relay.
struct Swept {
    case: Case,
    relay: Relay,
}

impl Swept {
    fn new(config: &str) -> Self {
        let case = Case::new(config);
        let relay = Relay::to(case.sshd.port);
        case.book("timeout: 1s, deadman: 8s", "");
        case.through(relay.port, &known(relay.port, &[&case.sshd]));
        Self { case, relay }
    }

    /// A case from its beginning to its end, harmed at a point of its first connection.
    fn breaking(&self, point: Option<Point>) {
        let case = &self.case;
        case.waits_at("never");
        let _ = fs::remove_file(case.sshd.home().join("log"));
        if let Some(point) = point {
            self.relay.harm_next(point);
        }
        let ran = case.pisaura(&["run", "--no-heal"]);
        self.relay.harm_nobody();
        let log = case.log_or_none();
        let told = format!("{point:?}: {:?}\n{}{}\n{log}", ran.code, ran.stdout, ran.stderr);
        assert!(log.matches("break").count() <= 1, "{told}");
        match ran.code {
            Some(0) => {
                assert!(log.starts_with("break\nheal\n") && !case.is_broken(), "{told}");
            }
            Some(3) => assert!((log.is_empty() || log.ends_with("heal\n")) && !case.is_broken(), "{told}"),
            Some(4) => self.comes_back(&told),
            _ => panic!("{told}"),
        }
        self.leaves_nothing(&told);
    }

    /// The healing of a host whose run was killed, harmed at a point of its first connection.
    fn healing(&self, point: Option<Point>) {
        let case = &self.case;
        case.waits_at("--step=2");
        for file in ["at", "go"] {
            let _ = fs::remove_file(case.scratch.join(file));
        }
        let _ = fs::remove_file(case.sshd.home().join("log"));
        case.begin_and_kill();
        if let Some(point) = point {
            self.relay.harm_next(point);
        }
        let ran = case.pisaura(&["revert"]);
        self.relay.harm_nobody();
        let log = case.log();
        let told = format!("{point:?}: {:?}\n{}{}\n{log}", ran.code, ran.stdout, ran.stderr);
        match ran.code {
            Some(0) => assert!(log.starts_with("break\nheal\n") && !case.is_broken(), "{told}"),
            Some(4) => self.comes_back(&told),
            _ => panic!("{told}"),
        }
        self.leaves_nothing(&told);
    }

    #[track_caller]
    fn leaves_nothing(&self, told: &str) {
        let root = self.case.sshd.home().join(".pisaura");
        wait_for_none("there", || match root.exists() {
            true => format!("{:?}\n{told}", walk(&root)),
            false => String::new(),
        });
    }

    /// A host that may be broken is said to be so, and heals by itself; then it can be said.
    #[track_caller]
    fn comes_back(&self, told: &str) {
        let case = &self.case;
        wait_for("that the host heals", || !case.is_broken());
        let Ran { code, stdout, stderr } = case.pisaura(&["revert"]);
        assert!(code == Some(0) && !case.is_broken(), "{told}\nthen: {stdout}{stderr}");
    }
}

/// Harms this at many points, on several servers at once.
fn sweep(config: &str, harmed: fn(&Swept, Option<Point>)) {
    let is_whole = std::env::var_os("PISAURA_SWEEP_ALL").is_some();
    let first = Swept::new(config);
    harmed(&first, None);
    let borders = [Way::ToServer, Way::ToClient].map(|way| (way, first.relay.borders(way)));
    let points = if is_whole { all_points(&borders) } else { some_points(&borders, SAMPLE) };
    let next = AtomicUsize::new(0);
    let work = |swept: Swept| {
        while let Some(point) = points.get(next.fetch_add(1, Ordering::SeqCst)) {
            harmed(&swept, Some(*point));
        }
    };
    // What a thread has found is told by the test's own.
    let told = |panic: Box<dyn std::any::Any + Send>| {
        panic.downcast::<String>().map_or_else(|_| "a panic".to_owned(), |text| *text)
    };
    let found: Vec<String> = std::thread::scope(|scope| {
        let others: Vec<_> = (0..3).map(|_| scope.spawn(|| work(Swept::new(config)))).collect();
        work(first);
        others.into_iter().filter_map(|other| other.join().err()).map(told).collect()
    });
    assert!(found.is_empty(), "{}", found.join("\n\n"));
}

/// Points that follow from their number alone, so that a failing one comes again; each kind of fault at each end of the transfer.
fn some_points(borders: &[(Way, Vec<u64>); 2], count: usize) -> Vec<Point> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let points = (0..count).map(|number| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let (way, borders) = &borders[number % 2];
        let bytes = borders.last().copied().unwrap_or_default().max(1);
        Point { way: *way, after: 1 + (state >> 16) % bytes, fault: FAULTS[number / 2 % FAULTS.len()] }
    });
    points.collect()
}

fn all_points(borders: &[(Way, Vec<u64>); 2]) -> Vec<Point> {
    let mut points = some_points(borders, BY_CHANCE);
    for (way, borders) in borders {
        for (number, border) in borders.iter().enumerate() {
            for (place, offset) in ROUND.iter().enumerate() {
                let after = border.saturating_add_signed(*offset);
                points.push(Point { way: *way, after, fault: FAULTS[(number + place) % FAULTS.len()] });
            }
        }
    }
    points
}

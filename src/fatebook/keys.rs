//! The keys that a fatebook may have: names, shapes, defaults and meanings, in one table. The reader refuses what is not
//! in it, the JSON Schema is made from it, and the reference in fatebooks/README.md is compared with it. Pure data.

/// What may stand behind a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    Text,
    /// A number above zero.
    Number,
    /// A whole number.
    Count,
    Port,
    Truth,
    Duration,
    /// A percentage.
    Share,
    /// A command, or true.
    Still,
    /// A command, or steps that are reverted each by itself.
    Inducer,
    /// A command, or none.
    Reverter,
    /// Names, and lists of values.
    With,
    /// A number, a word, lists of hosts, or a map.
    On,
    Deadman,
    Texts,
    Hosts,
    Command,
    /// A command, or a map that is asked without a script.
    Check,
    /// What a healthcheck has to print.
    Output,
    /// More questions beside the healthcheck.
    Checks,
    /// Why a failure is known to fail, and until when.
    Known,
    Variables,
    OneOf(&'static [&'static str]),
    Ssh,
    Failures,
}

/// One key.
#[derive(Clone, Copy, Debug)]
pub(super) struct KeyRule {
    pub(super) name: &'static str,
    /// Another name that books in the wild use.
    pub(super) alias: Option<&'static str>,
    pub(super) shape: Shape,
    pub(super) required: bool,
    /// As it would be written, for the schema and the reference; empty if there is none.
    pub(super) default: &'static str,
    pub(super) meaning: &'static str,
}

const fn key(name: &'static str, shape: Shape, default: &'static str, meaning: &'static str) -> KeyRule {
    KeyRule { name, alias: None, shape, required: false, default, meaning }
}

const fn required(name: &'static str, shape: Shape, meaning: &'static str) -> KeyRule {
    KeyRule { required: true, ..key(name, shape, "", meaning) }
}

const fn also(alias: &'static str, rule: KeyRule) -> KeyRule {
    KeyRule { alias: Some(alias), ..rule }
}

pub(super) const LEVELS: &[&str] = &["debug", "info", "warning", "error", "critical"];
pub(super) const HOST_KEY_CHECKS: &[&str] = &["strict", "accept-new", "off"];
pub(super) const MAY_DIE_WITH: &[&str] = &["session"];
pub(super) const PLACES: &[&str] = &["host", "controller"];
pub(super) const EXPECTATIONS: &[&str] = &["healthy", "unhealthy"];

const ENV: KeyRule = key("env", Shape::Variables, "", "variables that all scripts get");
const TIMEOUT: KeyRule = key("timeout", Shape::Duration, "60s", "time limit of each step");
const GRACE: KeyRule =
    key("grace", Shape::Duration, "0s", "how long an unhealthy service is forgiven and asked again");
const HOLD: KeyRule = key(
    "hold",
    Shape::Duration,
    "",
    "how long the failure is held, with the service watched; without it one good answer is enough",
);
const EVERY: KeyRule =
    key("every", Shape::Duration, "1s", "how often the healthcheck is asked during a hold");
const ANSWER_WITHIN: KeyRule = key(
    "answer_within",
    Shape::Duration,
    "",
    "time limit of one healthcheck during a hold, after which the service counts as unhealthy; `every`, but at least 5s, at most `timeout`, and shorter than `max_outage`, unless said",
);
const MAX_OUTAGE: KeyRule = key(
    "max_outage",
    Shape::Duration,
    "0s",
    "the longest time in a row that the service may be unhealthy during a hold, after `grace`",
);
const MIN_AVAILABILITY: KeyRule = key(
    "min_availability",
    Shape::Share,
    "",
    "the least part of a hold, after `grace`, in which the service must be healthy: 95%",
);
const FULL_HOLD: KeyRule = key(
    "full_hold",
    Shape::Truth,
    "false",
    "hold the failure to the end even when the case can no longer pass, to measure how long the service is down",
);
const MAX_RECOVERY: KeyRule = key(
    "max_recovery",
    Shape::Duration,
    "",
    "how long the service may take to be healthy again after the revert; `grace`, unless said",
);
const WATCH_AFTER: KeyRule = key(
    "watch_after",
    Shape::Duration,
    "0s",
    "how long the service must then stay healthy, asked `every` so often",
);
const DEADMAN: KeyRule = key(
    "deadman",
    Shape::Deadman,
    "",
    "time after which the host heals by itself; the sum of the case's time limits and a margin, unless said; \"off\" to do without; or a map",
);
const TAGS: KeyRule = key("tags", Shape::Texts, "", "labels to select cases by");
const PASS_STEP: KeyRule =
    key("pass_step", Shape::Truth, "true", "the healthcheck gets --step=N as its last argument");

const INDUCER: KeyRule = key(
    "inducer",
    Shape::Inducer,
    "",
    "breaks the host: copied there, run there; or steps, each with `run` and `revert`, in place of a reverter",
);
const REVERTER: KeyRule = key(
    "reverter",
    Shape::Reverter,
    "",
    "heals the host: copied there, run there; none, with `because`, if nothing has to",
);
const BECAUSE: KeyRule =
    key("because", Shape::Text, "", "why nothing has to heal the host, where `reverter` is none");
const HEALTHCHECK: KeyRule = key(
    "healthcheck",
    Shape::Check,
    "",
    "asks whether the service works: not copied, run where the executor runs; or a map, without a script",
);
const EXPECT_OUTPUT: KeyRule = key(
    "expect_output",
    Shape::Output,
    "",
    "what the healthcheck has to print, for the service to be healthy",
);
const CHECKS: KeyRule = key(
    "checks",
    Shape::Checks,
    "",
    "more questions to the service beside the healthcheck, asked whenever it is, each with a name, limits and a finding of its own",
);
const WORKLOAD: KeyRule = key(
    "workload",
    Shape::Command,
    "",
    "run where the executor runs, beside the case: writes to the service, and says which writes were accepted, refused, or lost",
);
const MAX_LOST: KeyRule =
    key("max_lost", Shape::Count, "0", "how many writes of the workload that were accepted may be lost");
const MAX_STALL: KeyRule = key(
    "max_stall",
    Shape::Duration,
    "",
    "the longest time from the failure on in which none of the workload's writes is accepted",
);
const ONLY_IF: KeyRule = key(
    "only_if",
    Shape::Command,
    "",
    "run on the host before all else; if it says no, the failure does not apply to this host now: skipped",
);
const VERIFY: KeyRule = key(
    "verify",
    Shape::Command,
    "",
    "run on the host after the inducer; not 0 means that the failure did not take hold",
);
const STILL: KeyRule = key(
    "still",
    Shape::Still,
    "",
    "run on the host just before the revert; not 0 means that the failure ended by itself; true asks `verify` once more",
);

const WHERE: KeyRule = key(
    "where",
    Shape::OneOf(PLACES),
    "host",
    "where the inducer, the reverter and what is asked between them run: on the host over SSH, or where the case runs, as for an API",
);

const STOP_IF: KeyRule = key(
    "stop_if",
    Shape::Command,
    "",
    "run where the executor runs, during a hold, before each healthcheck; exit 0 stops the case: the host is reverted at once",
);

/// The keys of a book.
pub(super) const BOOK: &[KeyRule] = &[
    required("service", Shape::Text, "title of the tested service"),
    also("cpus", key("cpu", Shape::Number, "0.1", "cpus the task needs")),
    key("mem", Shape::Number, "64", "memory the task needs, in MiB"),
    key(
        "hosts",
        Shape::Hosts,
        "",
        "the service's hosts: [user@]host[:port]; required, unless all failures are made from the controller",
    ),
    key("ssh", Shape::Ssh, "", "how to log in"),
    key("loglevel", Shape::OneOf(LEVELS), "info", "of the executor's own log"),
    key(
        "failfast",
        Shape::Truth,
        "false",
        "after the first case that does not pass, the rest of the book is skipped",
    ),
    required("failures", Shape::Failures, "the failures to try"),
    key(
        "before_all",
        Shape::Command,
        "",
        "run where the run was started, once before the first case; if it fails, none is tried",
    ),
    key("after_all", Shape::Command, "", "the same after the last case, also after an interrupt"),
    WHERE,
    INDUCER,
    REVERTER,
    BECAUSE,
    HEALTHCHECK,
    EXPECT_OUTPUT,
    CHECKS,
    WORKLOAD,
    MAX_LOST,
    MAX_STALL,
    ONLY_IF,
    VERIFY,
    STILL,
    STOP_IF,
    ENV,
    TIMEOUT,
    GRACE,
    HOLD,
    EVERY,
    ANSWER_WITHIN,
    MAX_OUTAGE,
    MIN_AVAILABILITY,
    FULL_HOLD,
    MAX_RECOVERY,
    WATCH_AFTER,
    DEADMAN,
    TAGS,
    PASS_STEP,
    key("resources", Shape::Texts, "", "more files to ship to where the case runs"),
    key("secrets", Shape::Texts, "", "names of variables whose values are shown nowhere"),
];

/// The keys of a `deadman` that is a map.
pub(super) const DEADMAN_KEYS: &[KeyRule] = &[
    key("after", Shape::Duration, "", "time after which the host heals by itself"),
    key(
        "may_die_with",
        Shape::OneOf(MAY_DIE_WITH),
        "",
        "accept a switch that ends with the login that has armed it, where the host offers nothing better",
    ),
];

/// The keys of a healthcheck that is a map.
pub(super) const PROBE_KEYS: &[KeyRule] = &[
    key("http", Shape::Text, "", "the URL to get, such as http://${host}:8080/health"),
    key("tcp", Shape::Text, "", "the host and the port to connect to, such as ${host}:5432"),
    key("status", Shape::Text, "2xx", "the status that a healthy service answers with over HTTP"),
    key(
        "within",
        Shape::Duration,
        "5s",
        "how long a healthy service may take to answer; shorter than `timeout`",
    ),
];

/// The keys of a step of an inducer.
pub(super) const STEP_KEYS: &[KeyRule] = &[
    required(
        "run",
        Shape::Command,
        "breaks the host: copied there, run there, within the inducer's time limit",
    ),
    required("revert", Shape::Command, "heals what the step has broken, once it was begun"),
];

/// The keys of one of the `checks`.
pub(super) const CHECK_KEYS: &[KeyRule] = &[
    required("name", Shape::Text, "what it is called in reports; unique in the failure"),
    required(
        "run",
        Shape::Check,
        "asks the service: a command that runs where the executor runs, or a map, as `healthcheck`",
    ),
    key("expect_output", Shape::Output, "", "what it has to print, for its answer to be healthy"),
    key("expect", Shape::OneOf(EXPECTATIONS), "healthy", "what it must say during the failure"),
    key("every", Shape::Duration, "", "how often it is asked during a hold; as the failure, unless said"),
    key(
        "answer_within",
        Shape::Duration,
        "",
        "time limit of one answer during a hold; as the failure, unless said",
    ),
    key(
        "max_outage",
        Shape::Duration,
        "",
        "the longest time in a row that it may be unhealthy during a hold; as the failure, unless said",
    ),
    key(
        "min_availability",
        Shape::Share,
        "",
        "the least part of a hold in which it must be healthy; as the failure, unless said",
    ),
];

/// The keys of `known`.
pub(super) const KNOWN_KEYS: &[KeyRule] = &[
    required("reason", Shape::Text, "why the service does not stand it yet"),
    required("until", Shape::Text, "the last day on which it may fail"),
];

/// The keys of `expect_output`.
pub(super) const EXPECT_OUTPUT_KEYS: &[KeyRule] = &[
    key(
        "json",
        Shape::Text,
        "",
        "compare the value at this JSON pointer, not the whole output; of a list its length",
    ),
    key("contains", Shape::Text, "", "a text that has to stand in it"),
    key("matches", Shape::Text, "", "a regular expression that has to match a part of it"),
    key(
        "equals",
        Shape::Text,
        "",
        "the text that it has to be, but for white space around it, or the number",
    ),
    key("at_least", Shape::Text, "", "the smallest number that it may be"),
    key("at_most", Shape::Text, "", "the largest number that it may be"),
    key("between", Shape::Texts, "", "the smallest and the largest number that it may be, a list"),
];

/// The keys of `ssh`.
pub(super) const SSH: &[KeyRule] = &[
    key("username", Shape::Text, "", "the user to log in as"),
    key("password", Shape::Text, "", "the user's password"),
    also("key_filename", key("identity_file", Shape::Text, "", "the private key")),
    key("passphrase", Shape::Text, "", "of the private key"),
    key(
        "become",
        Shape::Truth,
        "false",
        "run everything on the host as root, by `sudo -n`: the user who logs in may run /bin/sh so without a password",
    ),
    key("port", Shape::Port, "22", "the port of the SSH server"),
    key("known_hosts", Shape::Text, "~/.ssh/known_hosts", "the file of known host keys"),
    key(
        "host_key_check",
        Shape::OneOf(HOST_KEY_CHECKS),
        "strict",
        "what to do about a host key that is not known",
    ),
    key("connect_timeout", Shape::Duration, "10s", "time limit of connecting and logging in"),
    key(
        "keepalive",
        Shape::Duration,
        "15s",
        "how often a server that says nothing is asked whether it is there, while a command runs; after four times without an answer the connection counts as lost",
    ),
];

/// The keys of a failure.
pub(super) const FAILURE: &[KeyRule] = &[
    required("name", Shape::Text, "the name of the test; unique in the book"),
    WHERE,
    required("inducer", INDUCER.shape, INDUCER.meaning),
    required("reverter", REVERTER.shape, REVERTER.meaning),
    BECAUSE,
    required("healthcheck", HEALTHCHECK.shape, HEALTHCHECK.meaning),
    EXPECT_OUTPUT,
    CHECKS,
    WORKLOAD,
    MAX_LOST,
    MAX_STALL,
    ONLY_IF,
    VERIFY,
    STILL,
    STOP_IF,
    key(
        "with",
        Shape::With,
        "",
        "values to try, {delay: [100ms, 2s]}: a case for each, or for each combination, with `${delay}` filled in",
    ),
    key(
        "cuts_off",
        Shape::Truth,
        "false",
        "the inducer may cut the host off from us: a lost connection is no error then, if the host has written down that it was begun",
    ),
    key("expect", Shape::OneOf(EXPECTATIONS), "healthy", "what the healthcheck must say during the failure"),
    key(
        "cycles",
        Shape::Count,
        "1",
        "how often the host is broken and healed within one case; the first time that is not survived is the last",
    ),
    TIMEOUT,
    GRACE,
    HOLD,
    EVERY,
    ANSWER_WITHIN,
    MAX_OUTAGE,
    MIN_AVAILABILITY,
    FULL_HOLD,
    MAX_RECOVERY,
    WATCH_AFTER,
    DEADMAN,
    PASS_STEP,
    key("hosts", Shape::Hosts, "", "those of the book's hosts that this failure is tried on"),
    key(
        "on",
        Shape::On,
        "each",
        "how many of them a case breaks at once: a number, each, minority, majority, all, {random: 2}, or lists of hosts; `failure@a+b` is the case then",
    ),
    ENV,
    TAGS,
    key("skip", Shape::Text, "", "a reason not to run it"),
    key(
        "known",
        Shape::Known,
        "",
        "the service is known not to stand it, {reason: TEXT, until: 2027-01-31}: run, and ignored if it fails, until the end of that day",
    ),
];

//! The records of a journal, as types: what a line says, what is remembered of a case whose host may be broken, and how a line is read
//! that was written by another version. Pure.

use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::executor::{Access, Assignment};
use crate::fatebook::Redactor;
use crate::machine::{HostMark, WorkloadSeen};

/// A line of the journal.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Line {
    /// When it was written, in seconds since 1970.
    #[serde(default)]
    pub at: f64,
    /// The name of the run that wrote it.
    pub run: String,
    /// The process that wrote it.
    #[serde(default)]
    pub process: u32,
    #[serde(flatten)]
    pub record: Record,
}

/// What a line says.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "event", rename_all_fields = "snake_case")]
pub(super) enum Record {
    #[serde(rename = "run began")]
    RunBegan {
        version: String,
        /// The larger run that it is a part of.
        within: Option<String>,
    },
    /// A run that ended by itself.
    #[serde(rename = "run ended")]
    RunEnded,
    #[serde(rename = "framework")]
    Framework { id: String, master: String },
    #[serde(rename = "host used")]
    HostUsed { access: Box<UsedHost> },
    /// Nothing of ours lies in this folder any more.
    #[serde(rename = "host left")]
    HostLeft {
        folder: String,
        #[serde(default, skip_serializing_if = "is_false")]
        afterwards: bool,
    },
    #[serde(rename = "case began")]
    CaseBegan { case: String },
    #[serde(rename = "may be dirty")]
    MayBeDirty(Box<Debt>),
    #[serde(rename = "reverted")]
    Reverted {
        case: String,
        /// Of the attempt; journals of old know none.
        #[serde(default)]
        mark: Option<String>,
        /// By a later run.
        #[serde(default, skip_serializing_if = "is_false")]
        afterwards: bool,
    },
    #[serde(rename = "step ended")]
    StepEnded {
        case: String,
        step: String,
        /// On which of several hosts.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        host: Option<String>,
        /// Which of the checks beside a healthcheck, if it is not the healthcheck's end.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        check: Option<String>,
        attempt: u32,
        took_seconds: f64,
        end: String,
    },
    /// What a book has done once, around its cases.
    #[serde(rename = "went around")]
    WentAround { book: String, step: String, took_seconds: f64, end: String },
    #[serde(rename = "settled")]
    Settled {
        case: String,
        verdict: String,
        findings: Vec<String>,
        watched: Option<Value>,
        /// What the workload has said.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        workload: Option<Box<WorkloadSeen>>,
    },
    #[serde(rename = "interrupted")]
    Interrupted { by: String },
    #[serde(rename = "warning")]
    Warning { message: String },
    /// A record of another version, which says nothing of hosts.
    #[serde(other)]
    Other,
}

fn is_false(value: &bool) -> bool {
    !value
}

/// Why a line says nothing.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unreadable;

/// Reads a line. One of another version that says other things of the same events is passed over, but for one: what cannot be read of
/// a host that may be broken is never passed over.
pub(super) fn read_line(line: &str) -> Result<Line, Unreadable> {
    #[derive(Deserialize)]
    struct Head {
        run: String,
        #[serde(default)]
        event: String,
    }
    if let Ok(line) = serde_json::from_str(line) {
        return Ok(line);
    }
    match serde_json::from_str(line) {
        Ok(Head { run, event }) if event != "may be dirty" => {
            Ok(Line { at: 0.0, run, process: 0, record: Record::Other })
        }
        _ => Err(Unreadable),
    }
}

/// A case whose host may be broken, and what heals it: a debt.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Debt {
    /// The case's name.
    pub case: String,
    /// The command that heals the host by hand; may be empty.
    #[serde(default)]
    pub heal: String,
    /// What proves that a machine is the one that was broken. Journals of old know none.
    #[serde(default)]
    pub mark: Option<HostMark>,
    /// How it is healed; `None` if that is not known.
    #[serde(default)]
    pub plan: Option<Plan>,
    /// When it was written down, in seconds since 1970, if that is known.
    #[serde(skip)]
    pub at: Option<f64>,
    /// What the run called itself that broke the host; `None` if only its journal tells.
    #[serde(skip)]
    pub controller: Option<String>,
    /// The journal of that run, if it was told beside it.
    #[serde(skip)]
    pub journal: Option<PathBuf>,
}

impl Debt {
    /// What is random in the name of the case's folder on its host, if it is known.
    pub fn mark(&self) -> Option<&str> {
        self.mark.as_ref().map(|mark| mark.mark.as_str()).filter(|mark| !mark.is_empty())
    }

    /// Whether what names this case and this mark is of the same attempt. Without both marks the case alone has to tell.
    pub(super) fn is_of(&self, case: &str, mark: Option<&str>) -> bool {
        match (self.mark(), mark.filter(|mark| !mark.is_empty())) {
            (Some(own), Some(other)) => own == other,
            _ => self.case == case,
        }
    }

    /// The host that may be broken.
    pub fn host(&self) -> UsedHost {
        self.plan.as_ref().map(Plan::used_host).unwrap_or_default()
    }

    /// The name of our folder on its host; empty if it is not known.
    pub fn folder(&self) -> &str {
        let assignment = self.plan.as_ref().and_then(|plan| plan.assignment.known());
        assignment.map_or("", |assignment| &assignment.hosts.first().access.folder)
    }

    /// What no other run may have while somebody is at its host.
    pub fn locks(&self) -> &[String] {
        self.plan.as_ref().map_or(&[], |plan| &plan.locks)
    }
}

/// What is kept of a case so that it can be reverted: without secrets, which the book and the environment have.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Plan {
    /// The book's file.
    pub book: PathBuf,
    /// The failure's name.
    pub failure: String,
    /// The host, as the book names it.
    pub host: String,
    /// What no other run may have while this one is at the host.
    pub locks: Vec<String>,
    /// Whether the host is still there when the run is over.
    pub lasting: bool,
    /// Whether the reverter has a secret among its variables, which is not kept. Journals of old do not say.
    pub needs_secret: Option<bool>,
    /// All of the case.
    pub assignment: Kept<Assignment>,
}

impl Plan {
    /// Whether the reverter has a secret among its variables.
    pub fn needs_secret(&self) -> bool {
        let has_mask = || {
            let kept = self
                .assignment
                .known()
                .and_then(|kept| serde_json::to_string(&kept.hosts.first().reverter).ok());
            kept.is_some_and(|kept| kept.contains(Redactor::MASK))
        };
        self.needs_secret.unwrap_or_else(has_mask)
    }

    /// The host, and the book that knows how to log in to it.
    pub fn used_host(&self) -> UsedHost {
        let access = match &self.assignment {
            Kept::Known(assignment) => Kept::Known(Box::new(assignment.hosts.first().access.clone())),
            Kept::Unknown(value) => Kept::Unknown(value["access"].clone()),
        };
        UsedHost { access, book: self.book.clone() }
    }
}

/// A host on which something of ours may lie, and the book that knows how to log in to it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct UsedHost {
    /// How to get there, without secrets.
    #[serde(flatten)]
    pub access: Kept<Access>,
    /// The book's file.
    #[serde(default)]
    pub book: PathBuf,
}

impl UsedHost {
    /// The name of our folder there; empty if it is not known.
    pub fn folder(&self) -> &str {
        self.access.known().map_or("", |access| &access.folder)
    }

    /// The book's file, if it is known.
    pub fn book(&self) -> Option<&Path> {
        Some(self.book.as_path()).filter(|book| !book.as_os_str().is_empty())
    }
}

/// Something that was kept, unless another version wrote it in a way that this one does not know.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Kept<T> {
    /// It can be read.
    Known(Box<T>),
    /// What was written instead.
    Unknown(Value),
}

impl<T> Default for Kept<T> {
    fn default() -> Self {
        Self::Unknown(Value::Null)
    }
}

impl<T: DeserializeOwned> Kept<T> {
    /// It, if it can be read.
    pub fn known(&self) -> Option<&T> {
        match self {
            Self::Known(kept) => Some(kept),
            Self::Unknown(_) => None,
        }
    }

    /// It, or why it cannot be read.
    pub fn read(&self) -> Result<&T, String> {
        match self {
            Self::Known(kept) => Ok(kept),
            Self::Unknown(value) => match serde_json::from_value::<T>(value.clone()) {
                Err(error) => Err(error.to_string()),
                Ok(_) => Err("another version wrote it".to_owned()),
            },
        }
    }
}

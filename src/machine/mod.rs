//! The machines: what is decided, without the world. No async, clock, randomness or I/O in here.
//!
//! A machine is told what happened and when, and answers with what is to be done. The rooms above do it. Time is an
//! argument, a [`std::time::Duration`] since a beginning that the room above chose.

mod case;
mod event;
mod executor;
mod gate;
mod lease;
mod names;
mod offers;
mod output;
mod scheduler;
mod verdict;
mod watch;
mod workload;

pub use case::{
    CaseEvent, CaseMachine, CaseNext, CasePlan, CaseTurn, HostEnds, KNOWN, NOT_FOR_THIS_HOST, SEEN_WITHIN,
    worst_end, worst_record,
};
pub use event::{
    Around, AroundRecord, CaseId, CaseOutcome, CaseReport, CycleReport, DirtyHost, DirtyHosts, HostMark,
    Placement, RunEvent, StepRecord,
};
pub use executor::{ExecutorAction, ExecutorEvent, ExecutorMachine, Report, Update};
pub use gate::{Gate, GateCase, Skipped};
pub use lease::{Lease, LeaseAdvice, LeaseState, Whose, described};
pub use names::{digits_of, file_name, is_plain};
pub use offers::{
    Launch, Offer, REFUSE_FOR, Retry, Room, SchedulerAction, SchedulerEvent, SchedulerOptions, TaskNews,
    TaskUpdate, Want,
};
pub use output::{Captured, Recorder, SHOWN_BYTES, Stream};
pub use scheduler::{Scheduler, question_number};
pub use verdict::{
    Exit, Finding, HealedBy, HostRecord, Induced, Step, StepEnd, Trouble, TroubleKind, Verdict, signal_name,
    worst,
};
pub use watch::{Answers, CheckPlan, CheckWatch, Outage, Watched};
pub use workload::{Phase, WorkloadCounter, WorkloadPlan, WorkloadSeen, Writes};

//! Pisaura: does a service fail successfully?

pub mod harness;

pub mod run;

pub mod report;

pub mod cluster;

pub mod executor;

pub mod remote;

#[cfg(feature = "demo")]
pub mod sandbox;

pub mod machine;

pub mod fatebook;

//! Events of masters and agents: whatever the bytes are, they mean something or are refused.

#![no_main]

use libfuzzer_sys::fuzz_target;
use pisaura::mesos::translate::{agent_event, scheduler_event};

fuzz_target!(|data: &[u8]| {
    let _ = scheduler_event(data);
    let _ = agent_event(data);
});

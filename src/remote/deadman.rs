//! The dead man's switch: what is left on a host before it is broken, so that it heals by itself when nobody else does. Owns
//! the protocol between the watcher there and whoever reverts over SSH. Pure: it only makes shell text.
//!
//! Each case has a folder of its own in our folder on the host:
//!
//! - `armed/` is the token: whoever removes it has the say. It is made beforehand, for removing needs no room on a disk
//!   that a failure has filled.
//! - `revert` is the reverter with its variables; `heal` the same, for a person or a later run, with this protocol around it.
//! - `watch` is the watcher, `watcher` its process; it sleeps until the deadline, in a session of its own.
//! - `inducing` is the process group of an inducer that is at work: it is ended before anything is reverted, for one that has
//!   lost its connection goes on, and would break the host once more.
//! - `reverting` is the process of a reverter that is at work over SSH: the watcher lets it finish.
//! - Beside it, `.over-CASE` says that somebody has begun to revert the case: it is not begun any more.
//! - `word` is the status of the reverter that the watcher ran: its word of what it did.
//!
//! It needs `/bin/sh`, `sleep` and the like, and no clock: a sleep is not shortened by a clock that jumps.

use super::quote::quote;
use super::script::{Arming, HostScript};

/// The case's folder.
fn case_folder(folder: &str, case: &str) -> String {
    format!("{folder}/.case-{case}")
}

/// The file that says that somebody has begun to revert the case.
fn over_path(folder: &str, case: &str) -> String {
    format!("{folder}/.over-{case}")
}

/// The file that heals the host when a shell runs it.
pub(super) fn heal_path(folder: &str, case: &str) -> String {
    format!("{}/heal", case_folder(folder, case))
}

/// Text that leaves all of it on the host and arms the switch, or ends the shell with status 125.
pub(super) fn arm(arming: &Arming, folder: &str, setsid: bool) -> String {
    let case = case_folder(folder, &arming.case);
    let watch = match arming.deadline {
        Some(deadline) => watcher(&case, deadline.as_secs() + 1, arming.patience.as_secs() + 1),
        None => String::new(),
    };
    let quoted = quote(&case);
    let start = match (arming.deadline, setsid) {
        (None, _) => String::new(),
        (Some(_), true) => {
            format!("setsid /bin/sh {quoted}/watch </dev/null >/dev/null 2>&1 & echo $! >{quoted}/watcher\n")
        }
        // The shell that does this has a session of its own, in which nothing else will be ended.
        (Some(_), false) => format!(
            "(trap '' HUP; exec /bin/sh {quoted}/watch) </dev/null >/dev/null 2>&1 & echo $! >{quoted}/watcher\n"
        ),
    };
    let there = match arming.reverter.host_program() {
        Some(program) => format!(
            "command -v {} >/dev/null 2>&1 || {{ printf '%s\\n' {} >&2; exit 125; }}\n",
            quote(program),
            quote(&format!("the host has no program `{program}`, which is to heal it")),
        ),
        None => String::new(),
    };
    // No subshell and one `mkdir`, for each process costs a millisecond. Our folder is its user's alone, so nobody else can
    // read what is in it, whatever the umask there says.
    format!(
        "{there}mkdir {quoted} {quoted}/armed && printf %s {} >{quoted}/revert && printf %s {} >{quoted}/heal && printf %s {} >{quoted}/watch || {{ rm -rf {quoted}; exit 125; }}\n{start}",
        quote(&arming.reverter.text(folder)),
        quote(&heal(&arming.reverter, folder, &arming.case)),
        quote(&watch),
    )
}

/// What a person or a later run runs to heal the host.
fn heal(reverter: &HostScript, folder: &str, case: &str) -> String {
    let mut heal = String::new();
    for (name, value) in &reverter.env {
        heal.push_str(&format!("export {name}={}\n", quote(value)));
    }
    let revert = format!("{}/revert", case_folder(folder, case));
    heal.push_str(&guarded(&format!("/bin/sh {}", quote(&revert)), ":", folder, case));
    heal.push_str("wait\n");
    // Whoever heals by hand is the last one here: what no other case needs goes as well.
    let ours = quote(folder);
    heal.push_str(&format!(
        "for rest in {ours}/.case-*; do [ -e \"$rest\" ] && exit $_pisaura_s; done\n\
         [ $_pisaura_s != 0 ] || [ -e {ours}/.made ] || ls {ours}/.put-* >/dev/null 2>&1 || {{ cd / && rm -rf {ours}; rmdir {} 2>/dev/null; }}\n\
         exit $_pisaura_s\n",
        quote(folder.rsplit_once('/').map_or(folder, |(parent, _)| parent)),
    ));
    heal
}

/// Text that leaves what a person needs to heal the host, should the failure have taken it away.
pub(super) fn leave_again(reverter: &HostScript, folder: &str, case: &str) -> String {
    let case_folder = quote(&case_folder(folder, case));
    format!(
        "[ -d {case_folder} ] || (umask 077; mkdir -p {case_folder} && printf %s {} >{case_folder}/revert && printf %s {} >{case_folder}/heal) 2>/dev/null\n",
        quote(&reverter.text(folder)),
        quote(&heal(reverter, folder, case)),
    )
}

/// Text that ends an inducer of the case in `$_pisaura_c` that is still at work.
fn end_inducer() -> &'static str {
    "if [ -s \"$_pisaura_c/inducing\" ]; then\n\
     _pisaura_p=$(cat \"$_pisaura_c/inducing\")\n\
     kill -TERM -$_pisaura_p 2>/dev/null\n\
     _pisaura_n=0\n\
     while kill -0 -$_pisaura_p 2>/dev/null && [ $_pisaura_n -lt 20 ]; do sleep 0.1 2>/dev/null || sleep 1; _pisaura_n=$((_pisaura_n+1)); done\n\
     kill -KILL -$_pisaura_p 2>/dev/null\n\
     { printf '' >\"$_pisaura_c/inducing\"; } 2>/dev/null\n\
     fi\n"
}

/// Text around an inducer's command, by which others know that it is at work, and it knows whether others have been at work:
/// it says so before it looks, as they do, so one of both sees the other. A shell that has lost its connection is not to begin
/// what was reverted since.
pub(super) fn inducing(command: &str, folder: &str, case: &str) -> String {
    let over = quote(&over_path(folder, case));
    let case = quote(&case_folder(folder, case));
    format!(
        "{{ echo $$ >{case}/inducing; }} 2>/dev/null\n\
         if [ ! -s {case}/inducing ] || [ -e {over} ]; then\n\
         echo 'the case was reverted before it was begun' >&2\n\
         kill \"$(cat {case}/watcher 2>/dev/null)\" 2>/dev/null; rm -rf {case}; exit 125\n\
         fi\n\
         {command} </dev/null\n_pisaura_s=$?\n{{ printf '' >{case}/inducing; }} 2>/dev/null\n"
    )
}

/// The watcher: fires once, at its deadline, unless the token is gone. On a full disk the room that the token leaves is the
/// reverter's, for what it prints.
fn watcher(case: &str, deadline_seconds: u64, patience_seconds: u64) -> String {
    let case = quote(case);
    let end = end_inducer();
    format!(
        "cd {case} || exit 0\n\
         trap '' HUP\ntrap 'kill $z 2>/dev/null; exit 0' TERM INT\n\
         busy() {{ [ $n -lt {patience_seconds} ] && [ -s reverting ] && kill -0 \"$(cat reverting)\" 2>/dev/null; }}\n\
         sleep {deadline_seconds} & z=$!\nwait $z\n\
         {{ printf '' >\"../.over-${{PWD##*/.case-}}\"; }} 2>/dev/null\n\
         n=0\n\
         while :; do\n\
         while busy; do sleep 1; n=$((n+1)); done\n\
         rmdir armed 2>/dev/null || exit 0\n\
         busy && mkdir armed 2>/dev/null && continue\n\
         break\n\
         done\n\
         trap '' TERM INT\n\
         _pisaura_c=.\n{end}\
         (cd \"$HOME\" 2>/dev/null; exec /bin/sh {case}/revert) </dev/null >out 2>&1\n\
         echo $? >word.new && mv -f word.new word\n"
    )
}

/// A reverter's command with the protocol around it. If the watcher has fired, its word is waited for; if that is good, there
/// is nothing left to do but to run `watched`. While `reverting` names this shell the watcher does not fire, so after a
/// success it is enough to end it; only where that file could not be written, the token is taken first. The status is in
/// `_pisaura_s`; after a success the case's folder goes, which nobody has to wait for.
pub(super) fn guarded(command: &str, watched: &str, folder: &str, case: &str) -> String {
    let over = quote(&over_path(folder, case));
    let case = quote(&case_folder(folder, case));
    let end = end_inducer();
    format!(
        "_pisaura_c={case}\n_pisaura_s=\n\
         _pisaura_begin() {{ {{ echo $$ >\"$_pisaura_c/reverting\"; }} 2>/dev/null; }}\n\
         {{ printf '' >{over}; }} 2>/dev/null\n\
         _pisaura_begin\n{end}\
         while [ -d \"$_pisaura_c\" ] && [ ! -d \"$_pisaura_c/armed\" ] && [ -z \"$_pisaura_s\" ]; do\n\
         rm -f \"$_pisaura_c/reverting\"\n\
         if [ -e \"$_pisaura_c/word\" ]; then\n\
         if [ \"$(cat \"$_pisaura_c/word\")\" = 0 ]; then _pisaura_s=0; {watched}; else break; fi\n\
         elif [ -s \"$_pisaura_c/watcher\" ] && kill -0 \"$(cat \"$_pisaura_c/watcher\")\" 2>/dev/null; then sleep 1; _pisaura_begin\n\
         else break; fi\n\
         done\n\
         if [ -z \"$_pisaura_s\" ]; then\n\
         {command} </dev/null\n\
         _pisaura_s=$?\n\
         fi\n\
         if [ $_pisaura_s = 0 ]; then\n\
         [ -s \"$_pisaura_c/reverting\" ] || rmdir \"$_pisaura_c/armed\" 2>/dev/null\n\
         {{ read -r _pisaura_w <\"$_pisaura_c/watcher\" || [ -n \"$_pisaura_w\" ]; }} 2>/dev/null && kill \"$_pisaura_w\" 2>/dev/null\n\
         rm -rf \"$_pisaura_c\" </dev/null >/dev/null 2>&1 &\n\
         else\n\
         rm -f \"$_pisaura_c/reverting\"\n\
         fi\n"
    )
}

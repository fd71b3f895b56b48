//! The text that heals a host over SSH.

use super::*;

/// What a reverter needs to know beside where it is.
#[derive(Clone, Debug)]
pub(in crate::remote) struct Reverting<'a> {
    /// The case's folder, which may lie elsewhere than what is run now.
    pub(in crate::remote) case_folder: &'a str,
    /// The identity of the machine that was broken.
    pub(in crate::remote) identity: &'a str,
    /// Whether the host heals by itself.
    pub(in crate::remote) watched: bool,
    /// How many seconds a reverter of somebody else's that is at work is let finish.
    pub(in crate::remote) patience_seconds: u64,
    /// What it needs was brought anew, for the case's folder is gone.
    pub(in crate::remote) brought_anew: bool,
    /// A file that heals was brought anew, and is this: what was armed takes it for whole.
    pub(in crate::remote) brought_file: Option<FileFacts>,
    /// Runs what was left on the host, if it is there, rather than the command.
    pub(in crate::remote) as_armed: bool,
    /// Whether the command is all that heals the host; else what it needs is not kept.
    pub(in crate::remote) is_known: bool,
    /// Whether it may be that nothing was armed: nobody has heard of the inducer.
    pub(in crate::remote) may_be_unarmed: bool,
    /// Whether the inducer is over where nothing there says any more whether it is.
    pub(in crate::remote) is_inducer_over: bool,
}

/// Heals the host.
pub(in crate::remote) fn revert(
    token: &str,
    script: &HostScript,
    reverting: &Reverting<'_>,
    site: &Site<'_>,
) -> Whole {
    let flag = |flag: bool| if flag { "1" } else { "0" };
    let mut text = Text::new(token, Marked::Stderr);
    text.add_who();
    site.set(&mut text, reverting.case_folder);
    text.set("P", &reverting.patience_seconds.to_string())
        .set("D", flag(reverting.watched))
        .set("G", flag(reverting.brought_anew))
        .set("N", flag(reverting.may_be_unarmed))
        .set("over", flag(reverting.is_inducer_over))
        .set("O", reverting.identity);
    if let Some(facts) = &reverting.brought_file {
        let sum = facts
            .checksum
            .map_or_else(|| format!("{} ", facts.bytes), |sum| format!("{sum} {}", facts.bytes));
        text.add_as_it_is(&format!("export PISAURA_WHOLE={}\n", quote(&sum)));
    }
    text.add_at_work().add(OVER_SSH);
    // What an older run has armed is not known here to be whole.
    let is_provable = script.own_file().is_none() || !site.files_of(script).is_empty();
    match reverting.is_known && is_provable {
        true => text.add_as_it_is(&script.function("_p_recorded", site.folder, site.mark, &site.whole(script))),
        false => text.add("_pisaura_recorded() { echo 'what was left on the host to heal it is gone, and nothing else is known to be the same' >&2; return 125; }\n"),
    };
    text.add(match reverting.as_armed {
        true => {
            "_pisaura_command() {\n_pisaura_x=$(cat \"$_pisaura_C/revert\" 2>/dev/null) || _pisaura_x=\ncase $_pisaura_x in\n'{'*'}') _pisaura_mark h 1; printf '%s\\n' \"$_pisaura_x\" | _pisaura_run ;;\n*) _pisaura_mark h 2; _pisaura_recorded ;;\nesac\n}\n"
        }
        false => "_pisaura_command() { _pisaura_recorded; }\n",
    });
    text.add(REVERT).end("$_pisaura_s")
}

//! What a book has done once before its first case, and once after its last one: run where the run was started, in a working folder of
//! its own. Starts processes.

use super::*;
use crate::fatebook::{CaseValues, Fatebook};
use crate::machine::{Around, AroundRecord};

/// Runs the book's `before_all` or `after_all`, within the book's time limit. Whatever keeps it from being run is its end.
pub fn run_around(
    book: &Fatebook,
    around: Around,
    ship_bytes_max: u64,
    interrupt: Option<&Interrupt>,
) -> AroundRecord {
    let began = time_since_boot();
    let redactor = Redactor::new(&book.secret_values);
    let limit = Limit::within(book.timeout, interrupt);
    let command = match around {
        Around::BeforeAll => &book.before_all,
        Around::AfterAll => &book.after_all,
    };
    let ran = match (command, Workplace::open(book, ship_bytes_max, Some(limit))) {
        (None, _) => Ran::silent(StepEnd::Exited(Exit::Status(0))),
        (Some(command), Ok(workplace)) => {
            let values = CaseValues { host: "", service: &book.service, failure: "" };
            let mut command = LocalCommand::new(command, &values).command(workplace.path(), &[]);
            let hosts: Vec<&str> = book.hosts.iter().map(|host| host.host.as_str()).collect();
            command
                .current_dir(workplace.path())
                .envs(book.env.iter().map(|(name, value)| (name, value.fill(&values))))
                .env("PISAURA_SERVICE", &book.service)
                .env("PISAURA_HOSTS", hosts.join(","))
                .env("PISAURA_STEP", around.to_string());
            child::run(command, limit, &redactor, &mut |_, _| ())
        }
        (Some(_), Err(error)) => {
            let message = redactor.clean(&format!("cannot make a working folder for the book: {error}"));
            Ran::silent(StepEnd::Failed(Trouble { kind: TroubleKind::Start, message }))
        }
    };
    AroundRecord {
        book: book.name.clone(),
        around,
        end: ran.end,
        took: time_since_boot().saturating_sub(began),
        stdout: ran.stdout,
        stderr: ran.stderr,
    }
}

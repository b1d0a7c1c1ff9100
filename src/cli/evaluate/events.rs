//! A model measured on events, with the preparation that it carries.

use super::EvaluateArguments;
use crate::cli::events::{Setting, failed, files, tell};
use crate::cli::model::prepared;
use crate::cli::surroundings::Surroundings;
use crate::cli::terminal::{Failure, Terminal, shown};
use crate::exit_code::ExitCode;
use crate::model::Model;
use crate::model::evaluation::Assessment;
use crate::predict::{Detail, MeasureError, assess, measure};
use crate::stages::InputFile;
use crate::stages::ingest::blocks::Blocks;
use crate::stages::ingest::fault::at;

/// Measures `model`, whose file has the digest `digest`; or gives the code to end with, if events are invalid and that was told.
pub(super) fn measure_events(
    arguments: &EvaluateArguments,
    model: &Model,
    digest: String,
    surroundings: &Surroundings,
    terminal: &mut Terminal,
) -> Result<Result<Assessment, ExitCode>, Failure> {
    let preparation = prepared(model)?;
    let setting = Setting::of(&arguments.events_are, surroundings)?;
    let predictor = setting.predictor(model, &preparation, Detail::Measured);
    let events = files(&arguments.events, surroundings);
    let measured = measure(Blocks::new(&events), &predictor, arguments.events_are.threads());
    let (measured, report) = measured.map_err(|error| refusal(&error, &events))?;
    let counts = report.counts;
    if report.faults.is_empty() && counts.scored < counts.events {
        terminal.say(counts.summary());
    }
    match tell(&report, &events, predictor.on_reject, "nothing was measured", terminal) {
        ExitCode::Success => Ok(Ok(assess(
            &measured,
            &report,
            (model, digest),
            &arguments.group,
            arguments.request(),
        ))),
        code => Ok(Err(code)),
    }
}

fn refusal(error: &MeasureError, events: &[InputFile]) -> Failure {
    let named = match events {
        [event] => format!("`{}`", shown(event.name.as_str())),
        _ => format!("{} files of events", events.len()),
    };
    let mut message = format!("cannot evaluate on {named}: {error}");
    let help = match error {
        MeasureError::Stage(error) => return failed(error),
        MeasureError::Label { .. } => "a model is measured on events of its own two labels",
        MeasureError::Unlabelled { .. } => "`madmall predict` scores events without labels",
        MeasureError::Repeated { places } => {
            for [first, second] in places {
                let line = format!("\n  {}: has the id of {}", at(events, *second), at(events, *first));
                message.push_str(&line);
            }
            "run the events through `ingest`, which tells which of them count"
        }
    };
    Failure::new(ExitCode::Refused, message, Some(help))
}

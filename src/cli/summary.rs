//! What is said at the end of a run, and the code that it ends with.

use std::time::Instant;

use super::terminal::{DIM, Terminal};
use crate::exec::Run;
use crate::exec::event::{FailureKind, StageOutcome};
use crate::exec::interrupt::Interrupts;
use crate::exit_code::ExitCode;
use crate::receipt::key::SigningKey;

/// How a run ends: by the worst that happened to a stage.
pub(super) fn exit_code(run: &Run, interrupts: &Interrupts) -> ExitCode {
    if interrupts.is_requested() {
        return interrupts.exit_code();
    }
    let any = |wanted: fn(&StageOutcome) -> bool| run.stages.iter().any(|stage| wanted(&stage.report.outcome));
    let is_refusal = |outcome: &StageOutcome| matches!(outcome, StageOutcome::Failed(failure) if matches!(failure.kind, FailureKind::Refused(_)));
    if any(|outcome| matches!(outcome, StageOutcome::Broken(_))) {
        ExitCode::Environment
    } else if run
        .stages
        .iter()
        .any(|stage| matches!(stage.report.outcome, StageOutcome::Failed(_)) && !is_refusal(&stage.report.outcome))
    {
        ExitCode::StageFailed
    } else if any(|outcome| matches!(outcome, StageOutcome::Failed(_))) {
        ExitCode::Refused
    } else {
        ExitCode::Success
    }
}

fn summary_line(total: usize, parts: &str, began: Instant) -> String {
    let noun = if total == 1 { "stage" } else { "stages" };
    format!("{total} {noun}: {parts} in {:.2} s", began.elapsed().as_secs_f64())
}

/// The last line of a run that found nothing to do.
pub(super) fn up_to_date_summary(total: usize, began: Instant) -> String {
    summary_line(total, &format!("{total} up to date"), began)
}

/// Tells how it ended.
pub(super) fn summarize(run: &Run, key: &SigningKey, began: Instant, code: ExitCode, terminal: &mut Terminal) {
    let count = |wanted: fn(&StageOutcome) -> bool| run.stages.iter().filter(|s| wanted(&s.report.outcome)).count();
    let parts = [
        (count(|o| matches!(o, StageOutcome::Ran { .. })), "ran"),
        (
            count(|o| matches!(o, StageOutcome::UpToDate { restored, .. } if !restored.is_empty())),
            "restored",
        ),
        (
            count(|o| matches!(o, StageOutcome::UpToDate { restored, .. } if restored.is_empty())),
            "up to date",
        ),
        (
            count(|o| matches!(o, StageOutcome::Failed(_) | StageOutcome::Broken(_))),
            "failed",
        ),
        (count(|o| matches!(o, StageOutcome::Blocked { .. })), "blocked"),
        (
            count(|o| matches!(o, StageOutcome::NotStarted | StageOutcome::Interrupted)),
            "not done",
        ),
    ];
    let parts: Vec<_> = parts
        .iter()
        .filter(|(n, _)| *n > 0)
        .map(|(n, what)| format!("{n} {what}"))
        .collect();
    terminal.result(summary_line(run.stages.len(), &parts.join(", "), began));
    if let Some(path) = &run.receipts {
        let keyid = key.public().keyid().short();
        terminal.result(format_args!(
            "{DIM}receipts: {path} (signed by your key {keyid}){DIM:#}"
        ));
    }
    if matches!(code, ExitCode::HungUp | ExitCode::Interrupted | ExitCode::Terminated) {
        terminal.say("interrupted; the same command goes on from here");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exec::event::StageReport;
    use crate::exec::scheduler::Finished;
    use crate::stages::Refusal;

    fn run_of(outcomes: Vec<StageOutcome>) -> Run {
        let stages = outcomes.into_iter().map(|outcome| Finished {
            stage: crate::plan::StageId::new(0),
            report: StageReport {
                outcome,
                elapsed: std::time::Duration::ZERO,
                why: Vec::new(),
            },
            given: None,
        });
        Run {
            id: "r".into(),
            stages: stages.collect(),
            receipts: None,
        }
    }

    fn failed(kind: FailureKind) -> StageOutcome {
        let receipt = crate::digest::Sha256::of(b"");
        StageOutcome::Failed(crate::exec::event::Failure {
            receipt,
            kind,
            log: "log".into(),
            advice: crate::exec::event::Advice::default(),
        })
    }

    #[test]
    fn the_exit_code_is_2_only_if_every_failure_is_a_refusal() {
        let refused = || failed(FailureKind::Refused(Refusal::default()));
        let ended = || failed(FailureKind::Ended(crate::exec::process::Ended::Exited(2)));
        let code = |outcomes| exit_code(&run_of(outcomes), &Interrupts::default());
        assert_eq!(code(vec![]), ExitCode::Success);
        assert_eq!(code(vec![refused()]), ExitCode::Refused);
        assert_eq!(code(vec![refused(), ended()]), ExitCode::StageFailed);
        assert_eq!(
            code(vec![ended(), StageOutcome::Broken("x".into())]),
            ExitCode::Environment
        );
    }
}

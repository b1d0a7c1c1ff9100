//! What happens in a run, told as NDJSON.

use serde_json::{Value, json};

use super::terminal::{Terminal, with_causes};
use crate::exec::event::{Event, FailureKind, Note, Observer, StageOutcome, StageReport};
use crate::plan::{Plan, StageId, stale::Stale};

/// Prints events as NDJSON.
pub(super) struct Json<'a> {
    /// Where to.
    pub(super) terminal: &'a mut Terminal,
    /// What they are about.
    pub(super) plan: &'a Plan,
}

impl Observer for Json<'_> {
    fn event(&mut self, event: Event<'_>) {
        let name = |stage: StageId| self.plan.stages[stage.index()].name.as_str();
        let reasons = |why: &[Stale]| why.iter().map(ToString::to_string).collect::<Vec<_>>();
        let mut object = match &event {
            Event::Started { stage, why } => {
                json!({ "event": "stageStarted", "stage": name(*stage), "why": reasons(why) })
            }
            Event::Finished { stage, report } => {
                let mut object = finished(report, self.plan);
                object["event"] = "stageFinished".into();
                object["stage"] = name(*stage).into();
                object["why"] = reasons(&report.why).into();
                object["milliseconds"] = u64::try_from(report.elapsed.as_millis()).unwrap_or(u64::MAX).into();
                object
            }
            Event::Note(note) => note_object(note, self.plan),
            Event::Progress { .. } | Event::Tick => return,
        };
        object["version"] = 1.into();
        self.terminal.result(object);
    }
}

fn finished(report: &StageReport, plan: &Plan) -> Value {
    match &report.outcome {
        StageOutcome::UpToDate { receipt, restored } => {
            json!({ "outcome": "upToDate", "receipt": receipt.to_string(), "restored": restored })
        }
        StageOutcome::Ran { receipt, changed } => {
            json!({ "outcome": "ran", "receipt": receipt.to_string(), "changed": changed })
        }
        StageOutcome::Failed(failure) => {
            let (mut unlisted, mut help) = (0, None);
            let (kind, details) = match &failure.kind {
                kind @ (FailureKind::Ended(_) | FailureKind::TimedOut { .. }) => (kind.to_string(), Vec::new()),
                FailureKind::Refused(refusal) => {
                    (unlisted, help) = (refusal.unlisted, refusal.help.as_deref());
                    (format!("refused: {}", refusal.summary), refusal.details.clone())
                }
                FailureKind::Breaches(breaches) => (
                    "broke its declaration".to_owned(),
                    breaches.iter().map(ToString::to_string).collect(),
                ),
                FailureKind::InputChanged(path) => (format!("input `{path}` changed"), Vec::new()),
            };
            json!({
                "outcome": "failed", "receipt": failure.receipt.to_string(), "how": kind, "details": details,
                "unlisted": unlisted, "help": help, "log": failure.log,
                "readable": failure.advice.readable, "wanted": failure.advice.wanted,
            })
        }
        StageOutcome::Blocked { by } => json!({ "outcome": "blocked", "by": plan.stages[by.index()].name }),
        StageOutcome::NotStarted => json!({ "outcome": "notStarted" }),
        StageOutcome::Interrupted => json!({ "outcome": "interrupted" }),
        StageOutcome::Broken(error) => json!({ "outcome": "broken", "error": with_causes(&**error) }),
    }
}

fn note_object(note: &Note, plan: &Plan) -> Value {
    let name = |stage: &StageId| plan.stages[stage.index()].name.clone();
    match note {
        Note::Waiting { holder } => json!({ "event": "waiting", "holder": holder }),
        Note::Recovered { run } => json!({ "event": "recovered", "run": run }),
        Note::PutAside { path } => json!({ "event": "putAside", "path": path }),
        Note::Displaced { path, to } => json!({ "event": "displaced", "path": path, "to": to }),
        Note::Confirmed { stage, count, keyid } => {
            json!({ "event": "confirmed", "stage": name(stage), "stages": count, "keyid": keyid })
        }
        Note::Diverged { stage, keyid, path } => {
            json!({ "event": "diverged", "code": "W-DIVERGED", "stage": name(stage), "keyid": keyid, "path": path })
        }
        Note::ToolChanged { tool, stage, count } => {
            json!({ "event": "toolChanged", "code": "W-TOOL", "tool": tool, "stage": name(stage), "stages": count })
        }
        Note::NotKept { why } => json!({ "event": "notKept", "why": why }),
        Note::Retrying { stage, why, retry, of } => {
            json!({ "event": "retrying", "stage": name(stage), "why": why, "retry": retry, "of": of })
        }
        Note::LogBegun { log, why } => json!({ "event": "logBegun", "log": log, "why": why }),
        Note::Interrupting => json!({ "event": "interrupting" }),
        Note::NotBelieved { keyid } => json!({ "event": "notBelieved", "keyid": keyid }),
        Note::NoCommit { why } => json!({ "event": "noCommit", "why": why }),
    }
}

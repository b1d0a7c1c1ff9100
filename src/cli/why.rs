//! `madmall why`: the chain from the first cause to a stage.

use std::collections::BTreeSet;

use serde_json::json;

use super::PipelineArgument;
use super::opened::{Opened, Surroundings, environment, open};
use super::plan::with_session;
use super::terminal::{BOLD, DIM, Failure, Terminal, shown};
use crate::exec::forecast::{Forecast, forecast};
use crate::exec::{CacheMode, Session};
use crate::exit_code::ExitCode;
use crate::plan::StageId;
use crate::plan::stale::{Snapshot, Stale};
use crate::receipt::statement::{Role, Statement};
use crate::store::believed::Claim;

/// Arguments of `why`.
#[derive(clap::Args)]
pub(super) struct WhyArguments {
    #[command(flatten)]
    pipeline: PipelineArgument,
    /// The stage
    #[arg(value_name = "STAGE")]
    stage: String,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// A stage of the chain, with its reasons.
struct Link {
    stage: String,
    reasons: Vec<Stale>,
}

/// Explains a stage.
pub(super) fn why(
    arguments: &WhyArguments,
    surroundings: &Surroundings,
    terminal: &mut Terminal,
) -> Result<ExitCode, Failure> {
    let opened = open(surroundings, &arguments.pipeline.pipeline, terminal)?;
    let id = opened.find(&arguments.stage)?;
    let selected = opened.select(std::slice::from_ref(&arguments.stage))?;
    let (state, chain) = with_session(surroundings, &opened, CacheMode::Use, |session| {
        let forecasts = forecast(session, &selected).map_err(|error| environment(&error))?;
        Ok(explain(&opened, session, id, &forecasts))
    })?;
    if arguments.json {
        let chain: Vec<_> = chain
            .iter()
            .map(|link| {
                let reasons: Vec<_> = link.reasons.iter().map(ToString::to_string).collect();
                json!({ "stage": link.stage, "why": reasons })
            })
            .collect();
        terminal.result(json!({ "version": 1, "stage": arguments.stage, "state": state, "chain": chain }));
        return Ok(ExitCode::Success);
    }
    terminal.result(format_args!("{BOLD}{}{BOLD:#}: {state}", arguments.stage));
    for (depth, link) in chain.iter().enumerate() {
        let indent = "  ".repeat(depth + 1);
        for reason in &link.reasons {
            let arrow = if depth == 0 { "" } else { "└ " };
            terminal.result(format_args!(
                "{indent}{arrow}{DIM}{}:{DIM:#} {}",
                link.stage,
                shown(&reason.to_string())
            ));
        }
    }
    Ok(ExitCode::Success)
}

/// What can be said of the stage, and the chain of causes, the first cause first.
fn explain(
    opened: &Opened,
    session: &Session<'_>,
    id: StageId,
    forecasts: &[(StageId, Forecast)],
) -> (String, Vec<Link>) {
    let forecast = forecasts
        .iter()
        .find(|(other, _)| *other == id)
        .map(|(_, forecast)| forecast);
    match forecast {
        Some(Forecast::Run { .. }) => ("would run".to_owned(), pending_chain(opened, id, forecasts)),
        Some(Forecast::Perhaps { .. }) => (
            "would run if what runs before it changes its inputs".to_owned(),
            pending_chain(opened, id, forecasts),
        ),
        Some(Forecast::UpToDate { receipt } | Forecast::Restore { receipt, .. }) => {
            let stage = &opened.plan.stages[id.index()];
            let state = match forecast {
                Some(Forecast::UpToDate { .. }) => "up to date",
                _ => "up to date; outputs would be put back from the store",
            };
            let claim = session
                .believed
                .of_stage(&opened.plan.pipeline, &stage.name)
                .find(|claim| claim.id == *receipt);
            match claim {
                Some(claim) => (
                    format!("{state}; it last ran in {}", claim.run),
                    history_chain(session, claim),
                ),
                None => (format!("{state}, by receipt {receipt}"), Vec::new()),
            }
        }
        None => ("not part of this plan".to_owned(), Vec::new()),
    }
}

/// The stages that would run, from the first cause down to `id`.
fn pending_chain(opened: &Opened, id: StageId, forecasts: &[(StageId, Forecast)]) -> Vec<Link> {
    let mut chain = Vec::new();
    let mut seen = BTreeSet::new();
    let mut next = Some(id);
    while let Some(id) = next.take() {
        if !seen.insert(id) {
            break;
        }
        let reasons = match forecasts.iter().find(|(other, _)| *other == id) {
            Some((_, Forecast::Run { why } | Forecast::Perhaps { why })) => why.clone(),
            _ => Vec::new(),
        };
        next = reasons.iter().find_map(|reason| match reason {
            Stale::AfterStage { stage } => opened
                .plan
                .stages
                .iter()
                .position(|s| s.name == *stage)
                .map(StageId::new),
            _ => None,
        });
        chain.push(Link {
            stage: opened.plan.stages[id.index()].name.clone(),
            reasons,
        });
    }
    chain.reverse();
    chain
}

/// Why a stage ran when it last ran: what its receipt has otherwise than the one before, and so on back along the
/// inputs that changed.
fn history_chain(session: &Session<'_>, claim: &Claim) -> Vec<Link> {
    let mut chain = Vec::new();
    let mut seen = BTreeSet::new();
    let mut next = Some(claim.clone());
    while let Some(claim) = next.take() {
        if !seen.insert(claim.id) {
            break;
        }
        let Some(now) = session.believed.statement(&claim) else {
            break;
        };
        let earlier = session.believed.of_stage(&claim.pipeline, &claim.stage).find(|other| {
            // Newest first: the first that is older than this one is the one before.
            (&other.run, other.line) < (&claim.run, claim.line)
        });
        let before = earlier.and_then(|earlier| session.believed.statement(earlier));
        let reasons = match (Snapshot::of(&now), before.as_ref().and_then(Snapshot::of)) {
            (Some(now), Some(before)) => now.differences(&before),
            _ => vec![Stale::NeverRun],
        };
        next = reasons.iter().find_map(|reason| match reason {
            Stale::InputChanged { input, .. } => maker(session, &now, input),
            _ => None,
        });
        let reasons = if reasons.is_empty() {
            vec![Stale::Forced]
        } else {
            reasons
        };
        chain.push(Link {
            stage: claim.stage,
            reasons,
        });
    }
    chain.reverse();
    chain
}

/// The claim of the receipt that made the input `name` of a stage.
fn maker(session: &Session<'_>, statement: &Statement, name: &str) -> Option<Claim> {
    let receipt = statement
        .dependencies()
        .iter()
        .find_map(|dependency| match dependency.role() {
            Role::Input { input, receipt } if input == name => receipt.clone(),
            _ => None,
        })?;
    session.believed.by_receipt(receipt.parse().ok()?).cloned()
}

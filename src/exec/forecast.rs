//! What a run would do, and why, without doing it.

use std::cell::LazyCell;
use std::collections::BTreeMap;

use camino::{Utf8Path, Utf8PathBuf};

use super::consent::Consents;
use super::state::InputState;
use super::{ExecError, Session};
use crate::digest::Digest;
use crate::plan::action::{Resolved, ResolvedInput, action_digest};
use crate::plan::snapshot::Snapshot;
use crate::plan::stale::Stale;
use crate::plan::{Input, InputSource, Output, Plan, Stage, StageId};
use crate::receipt::statement::ReceiptId;
use crate::store::believed::{Believed, Claim, ClaimedOutput};

/// What a run would do with a stage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Forecast {
    /// Nothing.
    UpToDate {
        /// The receipt that says so.
        receipt: ReceiptId,
    },
    /// Put outputs back from the store.
    Restore {
        /// The receipt that says what they are.
        receipt: ReceiptId,
        /// The outputs that are not in place.
        paths: Vec<Utf8PathBuf>,
    },
    /// Run it.
    Run {
        /// Why.
        why: Vec<Stale>,
    },
    /// Run it if what runs before it changes one of its inputs.
    Perhaps {
        /// The stages that run before.
        why: Vec<Stale>,
    },
}

impl Forecast {
    /// Whether a run would find nothing to do.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        matches!(self, Self::UpToDate { .. })
    }
}

/// What a run of the `selected` stages would do with each (in the plan's order).
///
/// # Errors
///
/// [`ExecError`] if an input cannot be read.
pub fn forecast(session: &Session<'_>, selected: &[StageId]) -> Result<Vec<(StageId, Forecast)>, ExecError> {
    // None for a stage that would run.
    let mut settled: Vec<Option<Settled>> = session.plan.stages.iter().map(|_| None).collect();
    let mut forecasts = Vec::new();
    for id in selected {
        let (own, forecast) = forecast_stage(session, *id, &settled)?;
        settled[id.index()] = own;
        forecasts.push((*id, forecast));
    }
    add_needed(session, &settled, &mut forecasts);
    Ok(forecasts)
}

/// A stage that is up to date.
struct Settled {
    /// What makes it so.
    claim: Claim,
    /// The consent that its outputs carry now, by their names.
    consents: Consents,
}

impl Settled {
    fn of(session: &Session<'_>, stage: &Stage, inputs: &[(&Input, InputState)], claim: Claim) -> Self {
        let carried = claim.outputs.iter().filter_map(|output| {
            let inputs = inputs.iter().map(|(_, state)| state);
            Some((output.name.clone(), session.narrowed(stage, inputs, output)?))
        });
        Self {
            consents: carried.collect(),
            claim,
        }
    }
}

/// A stage that runs needs what it reads: temporary outputs that are not here are put back, or made again.
fn add_needed(session: &Session<'_>, settled: &[Option<Settled>], forecasts: &mut [(StageId, Forecast)]) {
    let plan = session.plan;
    let places: BTreeMap<StageId, usize> = (0..).zip(&*forecasts).map(|(place, (id, _))| (*id, place)).collect();
    // Each stage stands after those that it reads from.
    for place in (0..forecasts.len()).rev() {
        let (reader, is_certain) = match &forecasts[place] {
            (id, Forecast::Run { .. }) => (*id, true),
            (id, Forecast::Perhaps { .. }) => (*id, false),
            _ => continue,
        };
        let reader = &plan.stages[reader.index()];
        for input in &reader.inputs {
            let InputSource::Output { stage: maker, output } = input.source else {
                continue;
            };
            let output = &plan.stages[maker.index()].outputs[output];
            let (Some(maker), Some(Settled { claim, .. }), true) =
                (places.get(&maker), &settled[maker.index()], output.is_temporary)
            else {
                continue;
            };
            let claimed = claim.outputs.iter().find(|claimed| claimed.name == output.name);
            let Some(claimed) = claimed.filter(|claimed| !is_in_place(session, claimed)) else {
                continue;
            };
            let needed = Stale::Needed {
                path: output.path.clone(),
                by: reader.name.clone(),
            };
            let forecast = &mut forecasts[*maker].1;
            *forecast = match std::mem::replace(forecast, Forecast::UpToDate { receipt: claim.id }) {
                Forecast::UpToDate { receipt } if is_certain && session.store.holds(&claimed.digests) => {
                    Forecast::Restore {
                        receipt,
                        paths: vec![output.path.clone()],
                    }
                }
                Forecast::Restore { receipt, mut paths } if is_certain && session.store.holds(&claimed.digests) => {
                    if !paths.contains(&output.path) {
                        paths.push(output.path.clone());
                    }
                    Forecast::Restore { receipt, paths }
                }
                Forecast::UpToDate { .. } | Forecast::Restore { .. } if is_certain => {
                    Forecast::Run { why: vec![needed] }
                }
                Forecast::UpToDate { .. } | Forecast::Restore { .. } => Forecast::Perhaps { why: vec![needed] },
                Forecast::Perhaps { mut why } if is_certain && matches!(why[..], [Stale::Needed { .. }, ..]) => {
                    why.push(needed);
                    Forecast::Run { why }
                }
                other => other,
            };
        }
    }
}

fn is_in_place(session: &Session<'_>, output: &ClaimedOutput) -> bool {
    let found = session
        .hashes
        .output_if_there(Utf8Path::new(&output.path), &output.digests);
    found.is_ok_and(|found| found.is_some_and(|found| found.is(output)))
}

fn forecast_stage(
    session: &Session<'_>,
    id: StageId,
    settled: &[Option<Settled>],
) -> Result<(Option<Settled>, Forecast), ExecError> {
    let (plan, stage) = (session.plan, &session.plan.stages[id.index()]);
    // Only of a stage that may run is it asked: its receipt is read again from its file.
    let last = LazyCell::new(|| last_snapshot(plan, stage, &session.believed));
    let mut before = Vec::new();
    let mut inputs = Vec::new();
    // What is known of what they hold, and of the consent that they carry.
    let mut states: Vec<(&Input, InputState)> = Vec::new();
    for input in &stage.inputs {
        inputs.push(match &input.source {
            InputSource::Output { stage: maker, output } => match &settled[maker.index()] {
                Some(Settled { claim, consents }) => {
                    let name = &plan.stages[maker.index()].outputs[*output].name;
                    let output = claim.outputs.iter().find(|output| output.name == *name);
                    output.map_or_else(unknown, |output| {
                        let (state, consent) = (InputState::gone(output), consents.get(name).cloned());
                        states.push((input, InputState { consent, ..state }));
                        ResolvedInput {
                            digest: output.digests.blake3(),
                            executable: output.executable,
                        }
                    })
                }
                None => {
                    before.push(Stale::AfterStage {
                        stage: plan.stages[maker.index()].name.clone(),
                    });
                    // Nobody knows yet what it will hold: taken as what it held, so that it is no reason by itself.
                    let digest = last.as_ref().and_then(|last| last.input_digest(&input.name));
                    digest.map_or_else(unknown, |digest| ResolvedInput {
                        digest,
                        executable: false,
                    })
                }
            },
            source => {
                // Without a secret, what is personal is taken for new.
                let state = session.as_input(input, session.hashes.source(source)?).ok();
                let state = state.map(|state| session.with_consent(stage, input, state));
                let resolved = state.as_ref().map_or_else(unknown, InputState::resolved);
                states.extend(state.map(|state| (input, state)));
                resolved
            }
        });
    }
    if let Some(refusal) = session.refusal(id, states.iter().map(|(input, state)| (*input, state))) {
        let why = vec![Stale::Refused { why: refusal.summary }];
        return Ok((None, Forecast::Run { why }));
    }
    let env = stage
        .env
        .iter()
        .map(|name| session.environment.get(name).cloned())
        .collect();
    let tools = session.pinned(stage);
    let resolved = Resolved {
        inputs,
        env,
        tools,
        personal: session.personal_secret(stage),
    };
    if session.options.cache == super::CacheMode::Bypass {
        return Ok((
            None,
            Forecast::Run {
                why: vec![Stale::Forced],
            },
        ));
    }
    if !before.is_empty() {
        let own = last
            .as_ref()
            .map_or_else(Vec::new, |last| Snapshot::now(plan, stage, &resolved).differences(last));
        let own: Vec<_> = own
            .into_iter()
            .filter(|reason| !matches!(reason, Stale::ModeChanged))
            .collect();
        before.dedup();
        return Ok((
            None,
            match own.is_empty() {
                true => Forecast::Perhaps { why: before },
                false => Forecast::Run {
                    why: own.into_iter().chain(before).collect(),
                },
            },
        ));
    }
    let action = action_digest(plan, stage, &resolved);
    let Some(claim) = session.believed.lookup(action) else {
        let why = reasons(plan, stage, &resolved, &session.believed);
        return Ok((None, Forecast::Run { why }));
    };
    let receipt = claim.id;
    Ok(match not_in_place(session, stage, &claim) {
        Ok(paths) => (
            Some(Settled::of(session, stage, &states, claim)),
            match paths.is_empty() {
                true => Forecast::UpToDate { receipt },
                false => Forecast::Restore { receipt, paths },
            },
        ),
        Err(path) => (
            None,
            Forecast::Run {
                why: vec![Stale::OutputMissing { path }],
            },
        ),
    })
}

/// The outputs of `claim` that are not in place but in the store; or the first that is in neither. Temporary ones need not be
/// anywhere.
fn not_in_place(session: &Session<'_>, stage: &Stage, claim: &Claim) -> Result<Vec<Utf8PathBuf>, Utf8PathBuf> {
    let mut paths = Vec::new();
    for output in &claim.outputs {
        let path = Utf8PathBuf::from(&output.path);
        let is_temporary = |own: &Output| own.is_temporary && own.name == output.name;
        if stage.outputs.iter().any(is_temporary) || is_in_place(session, output) {
            continue;
        }
        if !session.store.holds(&output.digests) {
            return Err(path);
        }
        paths.push(path);
    }
    Ok(paths)
}

/// Why a stage whose action has no believed success must run, by its last believed receipt.
#[must_use]
pub fn reasons(plan: &Plan, stage: &Stage, resolved: &Resolved, believed: &Believed) -> Vec<Stale> {
    match last_snapshot(plan, stage, believed) {
        Some(last) => Snapshot::now(plan, stage, resolved).differences(&last),
        None if believed
            .of_stage_by_anyone(&plan.pipeline, &stage.name)
            .next()
            .is_some() =>
        {
            vec![Stale::OnlyOthersRan]
        }
        None => vec![Stale::NeverRun],
    }
}

/// What the stage was when it last ran.
fn last_snapshot(plan: &Plan, stage: &Stage, believed: &Believed) -> Option<Snapshot> {
    let claim = believed.of_stage(&plan.pipeline, &stage.name).next()?;
    Snapshot::of(&believed.statement(&claim)?)
}

/// An input of which nothing is known.
fn unknown() -> ResolvedInput {
    ResolvedInput {
        digest: Digest::from_bytes([0; 32]),
        executable: false,
    }
}

//! What a run would do, and why, without doing it.

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
    /// Run it, unless what runs before it comes out as it has before.
    Perhaps {
        /// The stages that run before.
        why: Vec<Stale>,
    },
    /// Refuse it.
    Refuse {
        /// Why.
        why: Vec<Stale>,
    },
    /// Not begin it, for it reads from a stage that would be refused.
    Block {
        /// Which.
        why: Vec<Stale>,
    },
}

impl Forecast {
    /// Whether a run would find nothing to do.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        matches!(self, Self::UpToDate { .. })
    }

    /// Whether a run would leave it undone.
    #[must_use]
    pub fn is_refused(&self) -> bool {
        matches!(self, Self::Refuse { .. } | Self::Block { .. })
    }

    /// The word for it in what is printed for programs.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self::UpToDate { .. } => "upToDate",
            Self::Restore { .. } => "restore",
            Self::Run { .. } => "run",
            Self::Perhaps { .. } => "perhaps",
            Self::Refuse { .. } => "refused",
            Self::Block { .. } => "blocked",
        }
    }

    /// Why more than nothing would be done, or nothing of what should be.
    #[must_use]
    pub fn why(&self) -> &[Stale] {
        match self {
            Self::UpToDate { .. } | Self::Restore { .. } => &[],
            Self::Run { why } | Self::Perhaps { why } | Self::Refuse { why } | Self::Block { why } => why,
        }
    }

    /// The receipt that says what its outputs are, if that is known.
    #[must_use]
    pub const fn receipt(&self) -> Option<ReceiptId> {
        match self {
            Self::UpToDate { receipt } | Self::Restore { receipt, .. } => Some(*receipt),
            Self::Run { .. } | Self::Perhaps { .. } | Self::Refuse { .. } | Self::Block { .. } => None,
        }
    }
}

/// What a run of the `selected` stages would do with each (in the plan's order).
///
/// # Errors
///
/// [`ExecError`] if an input cannot be read.
pub fn forecast(session: &Session<'_>, selected: &[StageId]) -> Result<Vec<(StageId, Forecast)>, ExecError> {
    let mut given: Vec<Gives> = session.plan.stages.iter().map(|_| Gives::Unknown).collect();
    let mut forecasts = Vec::new();
    for id in selected {
        let (own, forecast) = forecast_stage(session, *id, &given)?;
        given[id.index()] = own;
        forecasts.push((*id, forecast));
    }
    add_needed(session, &given, &mut forecasts);
    Ok(forecasts)
}

/// What there is to know of what a stage would give to those that read from it.
enum Gives {
    /// Nothing yet: it would run.
    Unknown,
    /// What it gave.
    Settled(Box<Settled>),
    /// Nothing ever: this stage would be refused, which is itself or one that it reads from.
    Nothing(StageId),
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

    /// What its output `name` holds, and the consent that it carries.
    fn gave(&self, name: &str) -> (Option<ResolvedInput>, Option<InputState>) {
        let Some(output) = self.claim.outputs.iter().find(|output| output.name == *name) else {
            return (None, None);
        };
        let resolved = ResolvedInput {
            digest: output.digests.blake3(),
            executable: output.executable,
        };
        let consent = self.consents.get(name).cloned();
        let state = InputState::gone(output);
        (Some(resolved), Some(InputState { consent, ..state }))
    }
}

/// A stage that runs needs what it reads: temporary outputs that are not here are put back, or made again.
fn add_needed(session: &Session<'_>, given: &[Gives], forecasts: &mut [(StageId, Forecast)]) {
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
            let (Some(maker), Gives::Settled(settled), true) =
                (places.get(&maker), &given[maker.index()], output.is_temporary)
            else {
                continue;
            };
            let claim = &settled.claim;
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

fn forecast_stage(session: &Session<'_>, id: StageId, given: &[Gives]) -> Result<(Gives, Forecast), ExecError> {
    let (plan, stage) = (session.plan, &session.plan.stages[id.index()]);
    let mut makers = stage.reads_from().into_iter();
    if let Some(refused) = makers.find_map(|maker| match given[maker.index()] {
        Gives::Nothing(refused) => Some(refused),
        Gives::Unknown | Gives::Settled(_) => None,
    }) {
        let stage = plan.stages[refused.index()].name.clone();
        let why = vec![Stale::AfterRefused { stage }];
        return Ok((Gives::Nothing(refused), Forecast::Block { why }));
    }
    let Reads { inputs, states, before } = reads(session, stage, given)?;
    if let Some(refusal) = session.refusal(id, states.iter().map(|(input, state)| (*input, state))) {
        let why = vec![Stale::Refused { why: refusal.summary }];
        return Ok((Gives::Nothing(id), Forecast::Refuse { why }));
    }
    if session.options.cache == super::CacheMode::Bypass {
        let why = vec![Stale::Forced];
        return Ok((Gives::Unknown, Forecast::Run { why }));
    }
    let variables = stage.env.iter();
    let resolved = Resolved {
        inputs: inputs.iter().map(|input| input.unwrap_or_else(unknown)).collect(),
        env: variables.map(|name| session.environment.get(name).cloned()).collect(),
        tools: session.pinned(stage),
        personal: session.personal_secret(stage),
    };
    if !before.is_empty() {
        let forecast = after_others(session, stage, (&inputs, resolved), before);
        return Ok((Gives::Unknown, forecast));
    }
    let Some(claim) = session.believed.lookup(action_digest(plan, stage, &resolved)) else {
        let why = reasons(plan, stage, &resolved, &session.believed);
        return Ok((Gives::Unknown, Forecast::Run { why }));
    };
    let receipt = claim.id;
    let forecast = match not_in_place(session, stage, &claim) {
        Ok(paths) if paths.is_empty() => Forecast::UpToDate { receipt },
        Ok(paths) => Forecast::Restore { receipt, paths },
        Err(path) => {
            let why = vec![Stale::OutputMissing { path }];
            return Ok((Gives::Unknown, Forecast::Run { why }));
        }
    };
    Ok((
        Gives::Settled(Box::new(Settled::of(session, stage, &states, claim))),
        forecast,
    ))
}

/// What a run would do with a stage that reads from others which run `before` it: what its `inputs` hold is known of some.
fn after_others(
    session: &Session<'_>,
    stage: &Stage,
    (inputs, mut resolved): (&[Option<ResolvedInput>], Resolved),
    before: Vec<Stale>,
) -> Forecast {
    // Nobody knows yet what the others will hold: taken as what they held, so that they are no reason by themselves.
    let mut own_reasons = |was: &Snapshot| {
        for ((now, known), input) in resolved.inputs.iter_mut().zip(inputs).zip(&stage.inputs) {
            let digest = was.input_digest(&input.name).filter(|_| known.is_none());
            if let Some(digest) = digest {
                now.digest = digest;
            }
        }
        let mut reasons = Snapshot::now(session.plan, stage, &resolved).differences(was);
        reasons.retain(|reason| !matches!(reason, Stale::ModeChanged));
        reasons
    };
    let claims = session.believed.of_stage(&session.plan.pipeline, &stage.name);
    let mut ran = claims.filter_map(|claim| Snapshot::of(&session.believed.statement(&claim)?));
    let own = ran.next().map_or_else(Vec::new, |last| own_reasons(&last));
    // Of an earlier one the same may come out, and is then put back. Each is read from its run's file, so not all are asked.
    match own.is_empty() || ran.take(MOST_EARLIER).any(|earlier| own_reasons(&earlier).is_empty()) {
        true => Forecast::Perhaps { why: before },
        false => Forecast::Run {
            why: own.into_iter().chain(before).collect(),
        },
    }
}

/// So many results before the last are asked whether one of them may fit.
const MOST_EARLIER: usize = 3;

/// What is known of what a stage reads.
struct Reads<'s> {
    /// What its inputs hold, by their places; none where what makes it runs before.
    inputs: Vec<Option<ResolvedInput>>,
    /// Of those of which it is known, what they hold and the consent that they carry.
    states: Vec<(&'s Input, InputState)>,
    /// The stages that run before.
    before: Vec<Stale>,
}

/// What is known of what `stage` reads.
fn reads<'s>(session: &Session<'s>, stage: &'s Stage, given: &[Gives]) -> Result<Reads<'s>, ExecError> {
    let makers = &session.plan.stages;
    let mut reads = Reads {
        inputs: Vec::with_capacity(stage.inputs.len()),
        states: Vec::new(),
        before: Vec::new(),
    };
    for input in &stage.inputs {
        let (resolved, state) = match &input.source {
            InputSource::Output { stage: maker, output } => {
                let maker_stage = &makers[maker.index()];
                match &given[maker.index()] {
                    Gives::Settled(settled) => settled.gave(&maker_stage.outputs[*output].name),
                    Gives::Unknown | Gives::Nothing(_) => {
                        let stage = maker_stage.name.clone();
                        reads.before.push(Stale::AfterStage { stage });
                        reads.inputs.push(None);
                        continue;
                    }
                }
            }
            source => {
                // Without a secret, what is personal is taken for new.
                let state = session.as_input(input, session.hashes.source(source)?).ok();
                let state = state.map(|state| session.with_consent(stage, input, state));
                (state.as_ref().map(InputState::resolved), state)
            }
        };
        reads.inputs.push(Some(resolved.unwrap_or_else(unknown)));
        reads.states.extend(state.map(|state| (input, state)));
    }
    reads.before.dedup();
    Ok(reads)
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

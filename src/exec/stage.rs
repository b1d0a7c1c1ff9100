//! One stage, from its inputs to its receipt: what a worker does.

use std::time::Instant;

use camino::Utf8Path;

use super::event::{Note, StageOutcome, StageReport};
use super::place::Placed;
use super::state::{FileState, InputState};
use super::{CacheMode, ExecError, Session};
use crate::digest::Digest;
use crate::listing::ArtifactDigests;
use crate::plan::action::{Resolved, action_digest};
use crate::plan::stale::Stale;
use crate::plan::{Input, InputSource, Stage, StageId};
use crate::receipt::statement::{ReceiptId, Resource};
use crate::stages::Progress;
use crate::store::believed::ClaimedOutput;
use crate::store::known::KnownFile;

/// What the stages before have given: for each of [`Stage::inputs`] that is another stage's output, what it holds, and its receipt.
pub type Upstream = Vec<Option<InputState>>;

/// What stages have `given` to `stage`.
pub fn upstream<'g>(stage: &Stage, given: impl Fn(StageId) -> Option<&'g Given>) -> Upstream {
    let from = |input: &Input| match input.source {
        InputSource::Output { stage, output } => given(stage)?.outputs.get(output).cloned(),
        _ => None,
    };
    stage.inputs.iter().map(from).collect()
}

/// What a stage has given to those after it.
#[derive(Clone, Debug)]
pub struct Given {
    /// The receipt.
    pub receipt: ReceiptId,
    /// Its outputs in place, in the order of [`Stage::outputs`].
    pub outputs: Vec<InputState>,
    /// What its inputs hold that no stage makes, in their order; none if more than that decides whether it is up to date.
    pub sources: Option<Vec<KnownFile>>,
    /// The receipt's subject.
    pub subject: Subject,
}

/// The subject of a stage's receipt.
#[derive(Clone, Debug)]
pub enum Subject {
    /// Of a receipt that this run has signed.
    Own(Vec<Resource>),
    /// As the index of receipts has it.
    Claimed(Vec<ClaimedOutput>),
}

/// What a worker tells the owner while a stage goes on.
pub enum Said {
    /// It runs, for these reasons.
    Started(Vec<Stale>),
    /// It is this far.
    Progress(Progress),
    /// The user should know this.
    Note(Note),
}

/// What is wanted of a stage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// That it is up to date. A temporary output need not be here for that.
    Settled,
    /// That those of its temporary outputs are here too which these stages read, for they have to run.
    Outputs {
        /// Those stages.
        by: Vec<StageId>,
    },
}

/// What came of a stage.
pub enum Brought {
    /// It is done with.
    Done(Box<Done>),
    /// It has to run, and temporary outputs that it reads are not here: these stages make them.
    Needs(Vec<StageId>),
}

/// A stage that is done with.
pub struct Done {
    /// How it ended.
    pub report: StageReport,
    /// What it gives, if it is up to date now; or the receipt and log of its failure.
    pub given: Option<Given>,
}

/// Brings one stage up to date: from the store, or by running it.
pub fn bring_up_to_date(
    session: &Session<'_>,
    (id, wanted): (StageId, &Wanted),
    upstream: &Upstream,
    say: &dyn Fn(Said),
) -> Brought {
    let began = Instant::now();
    let mut why = Vec::new();
    let (outcome, given) = match attempt(session, (id, wanted), upstream, say, &mut why) {
        Ok(Ok(ended)) => ended,
        Ok(Err(makers)) => return Brought::Needs(makers),
        Err(ExecError::Interrupted) => (StageOutcome::Interrupted, None),
        Err(error) => (StageOutcome::Broken(Box::new(error)), None),
    };
    Brought::Done(Box::new(Done {
        report: StageReport {
            outcome,
            elapsed: began.elapsed(),
            why,
        },
        given,
    }))
}

/// What an attempt came to; or the stages that have to make something before.
type Tried = Result<(StageOutcome, Option<Given>), Vec<StageId>>;

/// A stage with all that its action is made of.
pub(super) struct Attempt<'a> {
    pub(super) session: &'a Session<'a>,
    pub(super) id: StageId,
    pub(super) stage: &'a Stage,
    pub(super) inputs: Vec<InputState>,
    pub(super) resolved: Resolved,
    pub(super) action: Digest,
    pub(super) say: &'a dyn Fn(Said),
}

fn attempt(
    session: &Session<'_>,
    (id, wanted): (StageId, &Wanted),
    upstream: &Upstream,
    say: &dyn Fn(Said),
    why: &mut Vec<Stale>,
) -> Result<Tried, ExecError> {
    let attempt = Attempt::new(session, id, upstream, say)?;
    // Before anything is looked up: what was made once for another purpose is not taken for this one.
    if let Some(refusal) = session.refusal(id, attempt.with_states()) {
        let makers = attempt.makers_of_gone();
        if !makers.is_empty() {
            return Ok(Err(makers));
        }
        say(Said::Started(Vec::new()));
        return attempt.refuse(refusal).map(Ok);
    }
    if session.options.cache == CacheMode::Use
        && let Some(claim) = session.believed.lookup(attempt.action)
    {
        match attempt.put_in_place(&claim, wanted)? {
            Placed::Whole { restored, given } => {
                let outcome = StageOutcome::UpToDate {
                    receipt: claim.id,
                    restored,
                };
                session.compare_tools(id, &claim.tools);
                return Ok(Ok((outcome, Some(given))));
            }
            Placed::Missing(path) => why.push(match attempt.waits_for(&path, wanted) {
                Some(by) if attempt.is_temporary(&path) => Stale::Needed {
                    path,
                    by: by.name.clone(),
                },
                _ => Stale::OutputMissing { path },
            }),
        }
    }
    let makers = attempt.makers_of_gone();
    if !makers.is_empty() {
        return Ok(Err(makers));
    }
    if why.is_empty() {
        *why = attempt.reasons();
    }
    say(Said::Started(why.clone()));
    attempt.run().map(Ok)
}

/// The stage, if it is up to date and that is known without reading a file: so quickly that no worker is asked.
pub fn known_up_to_date(session: &Session<'_>, id: StageId, upstream: &Upstream) -> Option<Done> {
    if session.options.cache == CacheMode::Bypass || !session.believed.knows_any() {
        return None;
    }
    let began = Instant::now();
    let stage = &session.plan.stages[id.index()];
    // A temporary output need not be there, and to look at the files of a folder is work for all cores.
    if stage
        .outputs
        .iter()
        .any(|output| output.is_temporary || output.is_folder)
    {
        return None;
    }
    let inputs = inputs_of(session, stage, upstream, |input| match &input.source {
        InputSource::File { path } => {
            let file = session.file_as_vouched(path).ok_or(())?;
            session.as_input(input, file.into()).map_err(drop)
        }
        _ => Err(()),
    });
    let attempt = Attempt::with(session, id, inputs.ok()?, &|_| {});
    if session.refusal(id, attempt.with_states()).is_some() {
        return None;
    }
    let claim = session.believed.lookup(attempt.action)?;
    let mut states = Vec::with_capacity(claim.outputs.len());
    for output in &claim.outputs {
        let state = InputState::from(session.file_as_vouched(Utf8Path::new(&output.path))?);
        let state = match output.digests {
            ArtifactDigests::Keyed(_) => session.hashes.keyed(state)?,
            ArtifactDigests::File(_) | ArtifactDigests::Folder(_) => state,
        };
        states.push(Some(state).filter(|state| state.is(output))?);
    }
    let receipt = claim.id;
    let given = attempt.given_by(receipt, claim.outputs, states).ok()?;
    session.compare_tools(id, &claim.tools);
    let outcome = StageOutcome::UpToDate {
        receipt,
        restored: Vec::new(),
    };
    Some(Done {
        report: StageReport {
            outcome,
            elapsed: began.elapsed(),
            why: Vec::new(),
        },
        given: Some(given),
    })
}

impl Session<'_> {
    /// The file at `path`, if it is known what it holds without reading it.
    pub(super) fn file_as_vouched(&self, path: &Utf8Path) -> Option<FileState> {
        let hashed = self.hashes.vouched(path)?;
        let path = path.to_owned();
        Some(FileState {
            path: path.into(),
            hashed,
        })
    }
}

/// What the stage reads: from the stages before, or by `look`.
fn inputs_of<E>(
    session: &Session<'_>,
    stage: &Stage,
    upstream: &Upstream,
    look: impl Fn(&Input) -> Result<InputState, E>,
) -> Result<Vec<InputState>, E> {
    let mut inputs = Vec::with_capacity(stage.inputs.len());
    for (input, made) in stage.inputs.iter().zip(upstream) {
        inputs.push(match made {
            Some(state) => state.clone(),
            None => session.with_consent(stage, input, look(input)?),
        });
    }
    Ok(inputs)
}

impl<'a> Attempt<'a> {
    fn new(
        session: &'a Session<'a>,
        id: StageId,
        upstream: &Upstream,
        say: &'a dyn Fn(Said),
    ) -> Result<Self, ExecError> {
        let stage = &session.plan.stages[id.index()];
        let inputs = inputs_of(session, stage, upstream, |input| {
            session.as_input(input, session.hashes.source(&input.source)?)
        })?;
        Ok(Self::with(session, id, inputs, say))
    }

    pub(super) fn with(session: &'a Session<'a>, id: StageId, inputs: Vec<InputState>, say: &'a dyn Fn(Said)) -> Self {
        let stage = &session.plan.stages[id.index()];
        let resolved = Resolved {
            inputs: inputs.iter().map(InputState::resolved).collect(),
            env: stage
                .env
                .iter()
                .map(|name| session.environment.get(name).cloned())
                .collect(),
            tools: session.pinned(stage),
            personal: session.personal_secret(stage),
        };
        let action = action_digest(session.plan, stage, &resolved);
        Self {
            session,
            id,
            stage,
            inputs,
            resolved,
            action,
            say,
        }
    }

    /// The stage's inputs, each with what it holds.
    fn with_states(&self) -> impl Iterator<Item = (&Input, &InputState)> + Clone {
        self.stage.inputs.iter().zip(&self.inputs)
    }

    /// Why the stage must run, by its last receipt.
    fn reasons(&self) -> Vec<Stale> {
        let session = self.session;
        if session.options.cache == CacheMode::Bypass {
            return vec![Stale::Forced];
        }
        super::forecast::reasons(session.plan, self.stage, &self.resolved, &session.believed)
    }

    /// The stages that make the temporary outputs which this one reads, and which are not here.
    fn makers_of_gone(&self) -> Vec<StageId> {
        let inputs = self.stage.inputs.iter().zip(&self.inputs);
        let mut makers: Vec<StageId> = inputs
            .filter(|(_, state)| state.is_gone())
            .filter_map(|(input, _)| match input.source {
                InputSource::Output { stage, .. } => Some(stage),
                _ => None,
            })
            .collect();
        makers.sort_unstable();
        makers.dedup();
        makers
    }

    pub(super) fn is_temporary(&self, path: &Utf8Path) -> bool {
        let mut outputs = self.stage.outputs.iter();
        outputs.any(|output| output.is_temporary && output.path == path)
    }

    /// The first of the stages that want something of this one which reads its output at `path`.
    pub(super) fn waits_for(&self, path: &Utf8Path, wanted: &Wanted) -> Option<&'a Stage> {
        let Wanted::Outputs { by } = wanted else { return None };
        let place = self.stage.outputs.iter().position(|output| output.path == path)?;
        let is_it = |input: &Input| matches!(input.source, InputSource::Output { stage, output } if (stage, output) == (self.id, place));
        let mut stages = by.iter().map(|id| &self.session.plan.stages[id.index()]);
        stages.find(|stage| stage.inputs.iter().any(is_it))
    }
}

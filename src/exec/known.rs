//! What the run before knew of stages: by it most are known to be up to date when a few files have changed.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use camino::Utf8Path;

use super::event::{StageOutcome, StageReport};
use super::inputs::JustLookedAt;
use super::scheduler::Finished;
use super::stage::{Attempt, Done, Given, Subject};
use super::state::{Content, FileState, InputState};
use super::{CacheMode, PlanKept, Record, Session};
use crate::digest::Digest;
use crate::plan::{Input, InputSource, Stage, StageId};
use crate::receipt::statement::ReceiptId;
use crate::store::known::{Known, KnownFile, KnownStage, Under};
use crate::store::looks::Rigour;
use crate::store::plans::{self, Resolved, Seal};
use crate::store::sealed::SealedFile;
use crate::store::stat_cache::Hashed;

/// What a session has of that.
#[derive(Default)]
pub(super) struct Remembered<'a> {
    /// How the plan was resolved, if it may be remembered.
    plan: Option<PlanKept<'a>>,
    /// What the run before knew.
    known: Option<Known>,
    /// Whether that counts in this run.
    counts: bool,
}

impl<'a> Session<'a> {
    /// Takes what the run before knew, if all that decides is as it was but for what files hold.
    pub(super) fn remember(&mut self, plan: Option<PlanKept<'a>>, known: Option<Known>) {
        let is_plain = self.options.rigour == Rigour::Stamps;
        let plan = plan.filter(|_| is_plain);
        let is_of_plan = |known: &Known| {
            let is_same =
                |plan: PlanKept<'_>| matches!(plan.resolved, Resolved::Before(seal) if *seal == known.under.plan);
            plan.is_some_and(is_same) && known.stages.len() == self.plan.stages.len()
        };
        let known = known.filter(is_of_plan);
        // What is said of all stages has to be read of all.
        let may_count = self.options.cache == CacheMode::Use && self.options.record == Record::WhenSomethingRan;
        let counts = may_count && known.as_ref().is_some_and(|known| self.is_under(&known.under));
        self.remembered = Remembered { plan, known, counts };
    }

    fn is_under(&self, under: &Under) -> bool {
        under.receipts == self.believed.state(None)
            && under.secret == self.secret_name()
            && under.variables == self.values_of(under.variables.keys())
            && under.tools == self.digests_of(under.tools.keys())
    }

    fn secret_name(&self) -> Option<String> {
        self.secret.as_ref().map(|secret| secret.id().to_hex())
    }

    fn values_of<'n>(&self, variables: impl Iterator<Item = &'n String>) -> BTreeMap<String, Option<Digest>> {
        let value = |name: &String| self.environment.get(name).map(|value| Digest::of(value.as_bytes()));
        variables.map(|name| (name.clone(), value(name))).collect()
    }

    fn digests_of<'n>(&self, tools: impl Iterator<Item = &'n String>) -> BTreeMap<String, Option<Digest>> {
        let digest = |name: &String| self.known_tool(name).map(|tool| tool.digests.blake3);
        tools.map(|name| (name.clone(), digest(name))).collect()
    }

    /// By their places, those of the stages `selected` (in the plan's order) that the run before knew to be up to date, whose files hold the same,
    /// and whose makers are among them.
    pub(super) fn as_known(&self, selected: &[StageId]) -> Vec<Option<Box<Done>>> {
        let known = self.remembered.known.as_ref().filter(|_| self.remembered.counts);
        let (Some(known), Some(mut files)) = (known, self.hashes.just_looked_at()) else {
            return Vec::new();
        };
        let mut done: Vec<Option<Box<Done>>> = self.plan.stages.iter().map(|_| None).collect();
        for id in selected {
            if let Some(was) = &known.stages[id.index()] {
                let is_known = |maker: StageId| done[maker.index()].is_some();
                done[id.index()] = still(&self.plan.stages[id.index()], was, is_known, &mut files).map(Box::new);
            }
        }
        done
    }

    /// The seal under which the plan is remembered, if it is; and the file of it, if it is to be written.
    pub(super) fn plan_to_remember(&self) -> (Option<Seal>, Option<SealedFile>) {
        let Some(PlanKept { asked, resolved }) = self.remembered.plan else {
            return (None, None);
        };
        match resolved {
            Resolved::Before(seal) => (Some(*seal), None),
            Resolved::ToKeep(looks) => {
                let (folder, key) = (self.store.plans_folder(), self.key.derive_seal_key());
                let file = plans::sealed(&folder, asked, &key, self.plan, looks);
                (file.as_ref().map(SealedFile::seal), file)
            }
            Resolved::Anew => (None, None),
        }
    }

    /// What this run knows of its stages, for the next, if it is anything new: under `plan_seal`, by which the plan is remembered; and whether
    /// the run has receipts that are `published`. `own` are those of them that will be believed.
    pub(super) fn to_remember(
        &self,
        plan_seal: Seal,
        stages: &[Finished],
        published: bool,
        own: &BTreeSet<ReceiptId>,
    ) -> Option<SealedFile> {
        let plan = self.remembered.plan?;
        let mut known: Vec<Option<KnownStage>> = self.plan.stages.iter().map(|_| None).collect();
        for finished in stages {
            let receipt = match &finished.report.outcome {
                StageOutcome::UpToDate { receipt, .. } => *receipt,
                StageOutcome::Ran { receipt, .. } if own.contains(receipt) => *receipt,
                _ => continue,
            };
            let stage = &self.plan.stages[finished.stage.index()];
            known[finished.stage.index()] = finished
                .given
                .as_ref()
                .and_then(|given| known_of(stage, receipt, given));
        }
        let (variables, tools) = match &self.remembered.known {
            // They are those of the plan, and it is the same.
            Some(known) => (
                self.values_of(known.under.variables.keys()),
                self.digests_of(known.under.tools.keys()),
            ),
            None => self.decisive(),
        };
        let under = Under {
            plan: plan_seal,
            receipts: self.believed.state(published.then(|| self.run_file()).as_deref()),
            secret: self.secret_name(),
            variables,
            tools,
        };
        let is_as_before = self
            .remembered
            .known
            .as_ref()
            .is_some_and(|before| before.under == under && before.stages == known);
        if is_as_before {
            return None;
        }
        let known = Known { under, stages: known };
        known.sealed(&self.store.known_folder(), plan.asked, &self.key.derive_seal_key())
    }

    /// The variables that are part of actions, or say where programs are, and the programs that stages call.
    fn decisive(&self) -> (BTreeMap<String, Option<Digest>>, BTreeMap<String, Option<Digest>>) {
        let (mut variables, mut tools) = (BTreeSet::from(["PATH".to_owned()]), BTreeSet::new());
        for stage in &self.plan.stages {
            variables.extend(stage.env.iter().cloned());
            tools.extend(stage.called_tools().into_values().map(str::to_owned));
        }
        (self.values_of(variables.iter()), self.digests_of(tools.iter()))
    }
}

impl Attempt<'_> {
    /// What its inputs hold that no stage makes; none if more than the bytes of files decides about it.
    pub(super) fn known_sources(&self) -> Option<Vec<KnownFile>> {
        let stage = self.stage;
        if stage.pin || stage.is_personal() || !stage.personal.is_empty() {
            return None;
        }
        let is_plain = |(_, state): &(&Input, &InputState)| state.consent.is_none() && state.commitment.is_none();
        let mut sources = Vec::new();
        for input in stage.inputs.iter().zip(&self.inputs) {
            match (&input.0.source, &input.1.content) {
                _ if !is_plain(&input) => return None,
                (InputSource::File { .. }, Content::File(file)) => sources.push(KnownFile::of(&file.hashed)),
                (InputSource::Output { .. }, Content::File(_)) => {}
                _ => return None,
            }
        }
        Some(sources)
    }
}

/// The stage as it `was`, if its files hold the same.
fn still<'p>(
    stage: &'p Stage,
    was: &KnownStage,
    is_known: impl Fn(StageId) -> bool,
    files: &mut JustLookedAt<'_, 'p>,
) -> Option<Done> {
    let mut same = |path: &'p Utf8Path, was: Option<&KnownFile>| {
        let hashed = files.vouched(path)?;
        (Some(&KnownFile::of(&hashed)) == was).then_some(hashed)
    };
    let mut sources = was.sources.iter();
    for input in &stage.inputs {
        match &input.source {
            InputSource::Output { stage, .. } => is_known(*stage).then_some(())?,
            InputSource::File { path } => {
                same(path, sources.next())?;
            }
            InputSource::Folder { .. } | InputSource::Glob { .. } => return None,
        }
    }
    let mut outputs = Vec::with_capacity(stage.outputs.len());
    for (output, was_file) in stage.outputs.iter().zip(&was.outputs) {
        let hashed = same(&output.path, Some(was_file))?;
        let path = output.path.clone();
        outputs.push(InputState {
            receipt: Some(was.receipt),
            ..FileState {
                path: path.into(),
                hashed,
            }
            .into()
        });
    }
    Some(Done {
        report: StageReport {
            outcome: StageOutcome::UpToDate {
                receipt: was.receipt,
                restored: Vec::new(),
            },
            elapsed: Duration::ZERO,
            why: Vec::new(),
        },
        given: Some(Given {
            receipt: was.receipt,
            outputs,
            sources: Some(was.sources.clone()),
            // Only what names the outputs of all stages would ask for it.
            subject: Subject::Claimed(Vec::new()),
        }),
    })
}

/// The stage as it can be known by its files alone; `None` if it cannot.
fn known_of(stage: &Stage, receipt: ReceiptId, given: &Given) -> Option<KnownStage> {
    let is_plain = |state: &InputState| state.consent.is_none() && state.commitment.is_none();
    let outputs = stage
        .outputs
        .iter()
        .zip(&given.outputs)
        .map(|(output, state)| match &state.content {
            Content::File(file) if !output.is_temporary && is_plain(state) => Some(KnownFile::of(&file.hashed)),
            _ => None,
        });
    let outputs: Vec<KnownFile> = outputs.collect::<Option<_>>()?;
    (outputs.len() == stage.outputs.len()).then_some(KnownStage {
        receipt,
        sources: given.sources.clone()?,
        outputs,
    })
}

impl KnownFile {
    fn of(file: &Hashed) -> Self {
        Self {
            blake3: file.digests.blake3,
            executable: file.stamp.is_executable(),
        }
    }
}

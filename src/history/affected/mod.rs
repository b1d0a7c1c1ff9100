//! Which runs, receipts and artifacts were made with events whose consent is withdrawn.
//!
//! ```text
//! runs/ ─ ledger ─▶ receipts of stages ─ what each ingest let in ─▶ states of ingests ─ spread ─▶ states of all
//! ```
//!
//! An ingest is judged by what it let in: by the tokens of these events that the store keeps, if there is the secret for them, else by its
//! output `events`, wherever its bytes still are. Everything else by what it was made of,
//! however far along the receipts, through programs, and through what a stage declassifies too: a model was made with an event
//! even if it holds nothing of a person.

mod judge;
mod ledger;

use std::collections::{BTreeMap, HashMap, HashSet};

use camino::{Utf8Path, Utf8PathBuf};

use self::judge::Judge;
use self::ledger::{Ledger, Made, Node};
use crate::consent::spread::{State, Steps};
use crate::consent::token::Tokens;
use crate::digest::Digest;
use crate::exec::inputs::FileHashes;
use crate::listing::ArtifactDigests;
use crate::receipt::statement::ReceiptId;
use crate::stages::ingest::revocations::Revocations;
use crate::stages::ingest::used::Told;
use crate::store::believed::Believed;
use crate::store::{Store, StoreError};
use crate::workspace::Workspace;

/// Where to look.
pub struct Places<'a> {
    /// The workspace.
    pub workspace: &'a Workspace,
    /// Its store.
    pub store: &'a Store,
    /// Which receipts are believed.
    pub believed: &'a Believed,
    /// What files in place hold.
    pub hashes: &'a FileHashes<'a>,
    /// By what the tokens of events are made, if there is a consent secret.
    pub tokens: Option<&'a Tokens>,
    /// On how many threads to read events.
    pub threads: usize,
}

/// What was made with something withdrawn.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Affected {
    /// Runs with at least one such stage, oldest first.
    pub runs: Vec<AffectedRun>,
    /// Receipts of such stages, in the order of their runs.
    pub receipts: Vec<AffectedReceipt>,
    /// What cannot be told.
    pub unknown: Vec<NotKnown>,
}

/// A run that used something withdrawn, or rests on a stage that did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AffectedRun {
    /// Its id.
    pub id: String,
    /// The pipeline.
    pub pipeline: String,
    /// When it ended.
    pub finished_on: String,
    /// The receipts of its stages that are affected: of its own, and of earlier runs where a stage was up to date.
    pub receipts: Vec<ReceiptId>,
}

/// The receipt of a stage that used something withdrawn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AffectedReceipt {
    /// Its id.
    pub id: ReceiptId,
    /// Its run.
    pub run: String,
    /// Its pipeline.
    pub pipeline: String,
    /// The pipeline's file, relative to the workspace.
    pub pipeline_file: Utf8PathBuf,
    /// The stage.
    pub stage: String,
    /// Of an ingest: how many of the events that it let in are withdrawn.
    pub events: Option<u64>,
    /// Its outputs, but for those that came out the same without what is withdrawn.
    pub artifacts: Vec<AffectedArtifact>,
}

/// An output that was made with something withdrawn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AffectedArtifact {
    /// Its path in the workspace.
    pub path: Utf8PathBuf,
    /// What it was.
    pub digests: ArtifactDigests,
    /// Whether it is a model.
    pub is_model: bool,
    /// Whether these bytes still lie in their place.
    pub is_in_place: bool,
    /// Whether the store has them.
    pub is_stored: bool,
}

/// A run of which it cannot be told, at least of one stage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotKnown {
    /// The run.
    pub run: String,
    /// The stage whose receipt cannot be judged; none if the file of the run cannot be read.
    pub stage: Option<String>,
    /// Why.
    pub why: String,
}

impl Affected {
    /// Every artifact with the receipt that it is of.
    pub fn artifacts(&self) -> impl Iterator<Item = (&AffectedReceipt, &AffectedArtifact)> {
        let of = |receipt| AffectedReceipt::artifacts_of(receipt);
        self.receipts.iter().flat_map(of)
    }
}

impl AffectedReceipt {
    fn artifacts_of(&self) -> impl Iterator<Item = (&Self, &AffectedArtifact)> {
        self.artifacts.iter().map(move |artifact| (self, artifact))
    }
}

/// Finds what was made with anything that `revocations` withdraw.
///
/// # Errors
///
/// [`StoreError`] if the folder of receipts is there and cannot be read. What cannot be read of a run is said in the answer.
pub fn find(places: &Places<'_>, revocations: &Revocations) -> Result<Affected, StoreError> {
    let ledger = Ledger::read(places)?;
    let mut judge = Judge::new(places, revocations, None);
    let mut ingests: HashMap<usize, State> = HashMap::new();
    let mut events: HashMap<usize, u64> = HashMap::new();
    let mut reasons: HashMap<usize, String> = HashMap::new();
    for (index, node) in ledger.nodes.iter().enumerate() {
        let state = match judge.judge(node) {
            None => continue,
            Some(Ok(0)) => State::Clean,
            Some(Ok(count)) => {
                events.insert(index, count);
                State::Affected
            }
            Some(Err(why)) => {
                reasons.insert(index, why);
                State::Unknown
            }
        };
        ingests.insert(index, state);
    }
    let steps = Steps::of(&ledger.steps, &ledger.by_id, places.store.key());
    let states = steps.spread(&ingests);
    let clean: HashSet<Digest> = digests_made(&ledger, &states, State::Clean);
    let receipt = |(index, node): (usize, &Node)| AffectedReceipt {
        id: node.id,
        run: node.run.clone(),
        pipeline: node.pipeline.clone(),
        pipeline_file: node.pipeline_file.clone(),
        stage: node.stage.clone(),
        events: events.get(&index).copied(),
        artifacts: node
            .made
            .iter()
            .filter(|made| !clean.contains(&made.digests.blake3()))
            .map(|made| artifact(places, made))
            .collect(),
    };
    let nodes = ledger.nodes.iter().enumerate();
    let affected = nodes.filter(|(index, _)| states[*index] == State::Affected);
    Ok(Affected {
        receipts: affected.map(receipt).collect(),
        runs: runs(&ledger, &states),
        unknown: unknown(&ledger, &states, &reasons),
    })
}

/// What is known of what the ingests under `runs/` let in.
pub struct LetIn {
    /// How many of the events that were asked for each of them let in, or why that is not known.
    pub ingests: HashMap<ReceiptId, Result<u64, String>>,
    /// Runs whose files cannot be read, and why.
    pub unread: Vec<(String, String)>,
}

/// Finds which ingests let in anything that `asked` names. An ingest that was not told where events name their person is judged as if it had been
/// told as `told` is; whether a consent can be withdrawn is as `told` says for all of them.
///
/// # Errors
///
/// [`StoreError`] if the folder of receipts is there and cannot be read.
pub fn let_in(places: &Places<'_>, asked: &Revocations, told: &Told) -> Result<LetIn, StoreError> {
    let ledger = Ledger::read(places)?;
    let mut judge = Judge::new(places, asked, Some(told));
    let nodes = ledger.nodes.iter();
    let ingests = nodes.filter_map(|node| Some((node.id, judge.judge(node)?))).collect();
    Ok(LetIn {
        ingests,
        unread: ledger.unread,
    })
}

/// What believed receipts in `state` have made.
fn digests_made(ledger: &Ledger, states: &[State], state: State) -> HashSet<Digest> {
    let steps = ledger.steps.iter().zip(states);
    let steps = steps.filter(|(step, found)| step.is_believed && **found == state);
    steps
        .flat_map(|(step, _)| step.made.iter().map(ArtifactDigests::blake3))
        .collect()
}

fn artifact(places: &Places<'_>, made: &Made) -> AffectedArtifact {
    let found = places.hashes.output(&made.path, &made.digests);
    AffectedArtifact {
        path: made.path.clone(),
        digests: made.digests,
        is_model: made.is_model,
        is_in_place: found.is_ok_and(|found| found.digests() == made.digests),
        is_stored: places.store.holds(&made.digests),
    }
}

fn runs(ledger: &Ledger, states: &[State]) -> Vec<AffectedRun> {
    let is_affected = |id: &&ReceiptId| {
        let index = ledger.by_id.get(*id);
        index.is_some_and(|index| states[*index] == State::Affected)
    };
    let of_run = |run: &ledger::Run| AffectedRun {
        id: run.id.clone(),
        pipeline: run.pipeline.clone(),
        finished_on: run.finished_on.clone(),
        receipts: run.receipts.iter().filter(is_affected).copied().collect(),
    };
    let runs = ledger.runs.iter().map(of_run);
    runs.filter(|run| !run.receipts.is_empty()).collect()
}

fn unknown(ledger: &Ledger, states: &[State], reasons: &HashMap<usize, String>) -> Vec<NotKnown> {
    let unread = ledger.unread.iter().map(|(run, why)| NotKnown {
        run: run.clone(),
        stage: None,
        why: format!("its file {why}"),
    });
    let nodes = ledger.nodes.iter().enumerate();
    let nodes = nodes.filter(|(index, _)| states[*index] == State::Unknown);
    let nodes = nodes.map(|(index, node)| NotKnown {
        run: node.run.clone(),
        stage: Some(node.stage.clone()),
        why: match reasons.get(&index) {
            Some(why) => why.clone(),
            None => "it rests on what is not known".to_owned(),
        },
    });
    // A receipt that is named and not here may be of anything.
    let missing = ledger.runs.iter().filter_map(|run| {
        let is_missing = run.receipts.iter().any(|id| !ledger.by_id.contains_key(id));
        is_missing.then(|| NotKnown {
            run: run.id.clone(),
            stage: None,
            why: "receipts of its stages are not here".to_owned(),
        })
    });
    unread.chain(nodes).chain(missing).collect()
}

/// The pipelines, by their files, some of whose outputs in place are among `affected`, each with the paths of these.
#[must_use]
pub fn pending(affected: &Affected) -> BTreeMap<&Utf8Path, Vec<&Utf8Path>> {
    let mut pending: BTreeMap<&Utf8Path, Vec<&Utf8Path>> = BTreeMap::new();
    for (receipt, artifact) in affected.artifacts().filter(|(_, artifact)| artifact.is_in_place) {
        let paths = pending.entry(&receipt.pipeline_file).or_default();
        if !paths.contains(&artifact.path.as_path()) {
            paths.push(&artifact.path);
        }
    }
    pending
}

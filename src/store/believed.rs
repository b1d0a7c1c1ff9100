//! The action cache: what the receipts under `runs/` say, each checked once.
//!
//! Receipts are the only word on what an action gave; this is an index of them that can be made again from `runs/` at
//! any time. It is sealed with a keyed BLAKE3 whose key derives from the signing key, so that nobody else can have
//! written it; one that does not open, or was made under another policy, is dropped, not repaired. A receipt is believed if the
//! user's own policy trusts its key for it (by default one's own key alone); those of others are kept only to compare with.

mod claim;
mod kept;
mod run_lines;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs;
use std::io;
use std::sync::{Mutex, OnceLock, PoisonError};

use camino::{Utf8Path, Utf8PathBuf};
use rayon::prelude::*;

pub use self::claim::{Claim, ClaimedOutput};
use self::kept::Files;
pub use self::kept::Kept;
use self::run_lines::RunLines;
use super::StoreError;
use super::ended::Ended;
use crate::consent::purposes::NONE;
use crate::digest::Digest;
use crate::listing::ArtifactDigests;
use crate::receipt::envelope::Envelope;
use crate::receipt::run_file::{MAX_RUN_FILE, RUN_FILE_SUFFIX, RunFileName};
use crate::receipt::statement::{ReceiptId, STAGE_BUILD_TYPE, Statement};
use crate::receipt::trust::Trust;
use crate::workspace::Workspace;

/// The folder of receipts, relative to the workspace.
const RUNS: &str = "runs";

/// The index of receipts.
pub struct Believed {
    runs: Utf8PathBuf,
    /// Of the policy that it was made under.
    context: Digest,
    files: Files,
    /// All claims, sorted by their action, those of one in their order.
    by_action: Vec<(Digest, Place)>,
    /// All claims, by the name of their stage; made when it is asked for.
    by_stage: OnceLock<Vec<Place>>,
    claimed: HashSet<Digest>,
    /// The keyed digests among them.
    personal: HashSet<Digest>,
    /// What carries consent, by its bytes: the claim, and the output, or none if it was read as raw events.
    with_consent: HashMap<Digest, Vec<(Place, Option<usize>)>>,
    /// The file that was read from last.
    last_read: Mutex<Option<RunLines>>,
    changed: bool,
}

impl Believed {
    /// Reads the index at `file` for whoever opens it in a moment; `None` if there is none that opens.
    #[must_use]
    pub fn read(file: &Utf8Path, workspace: &Workspace, trust: &Trust, seal_key: &[u8; 32]) -> Option<Kept> {
        Kept::read(file, seal_key, Ended::of(workspace, trust).context())
    }

    /// Opens the index at `file`, which may have been read before as `kept`, and brings it up to date with the receipts in the folder of
    /// runs of `workspace`.
    ///
    /// # Errors
    ///
    /// [`StoreError::Read`] if `runs` is there and cannot be read.
    pub fn open(
        (file, kept): (&Utf8Path, Option<Kept>),
        workspace: &Workspace,
        trust: &Trust,
        seal_key: &[u8; 32],
    ) -> Result<Self, StoreError> {
        let runs = workspace.absolute(Utf8Path::new(RUNS));
        let ended = Ended::of(workspace, trust);
        let context = ended.context();
        let kept = kept.and_then(|kept| kept.if_still(file, seal_key, context));
        let mut known: BTreeMap<String, Vec<Claim>> = kept
            .or_else(|| kept::load(file, seal_key, context))
            .unwrap_or_default()
            .into_iter()
            .collect();
        let names = run_files(&runs)?;
        let mut files = Files::with_capacity(names.len());
        let mut changed = false;
        for name in names {
            let claims = match known.remove(&name) {
                Some(claims) => claims,
                None => {
                    changed = true;
                    read_run_file(&runs.join(&name), &name, trust, &ended)?
                }
            };
            files.push((name, claims));
        }
        let changed = changed || !known.is_empty();
        let count = files.iter().map(|(_, claims)| claims.len()).sum();
        let mut index = Self {
            runs,
            context,
            files,
            by_action: Vec::with_capacity(count),
            by_stage: OnceLock::new(),
            claimed: HashSet::with_capacity(count),
            personal: HashSet::new(),
            with_consent: HashMap::new(),
            last_read: Mutex::default(),
            changed,
        };
        for (place, claim) in places(&index.files) {
            index.by_action.push((claim.action, place));
            if claim.believed && claim.succeeded {
                let digests = claim.outputs.iter().map(|output| output.digests.blake3());
                index.claimed.extend(digests);
                let outputs = claim.outputs.iter();
                let keyed = outputs.filter(|output| matches!(output.digests, ArtifactDigests::Keyed(_)));
                index.personal.extend(keyed.map(|output| output.digests.blake3()));
            }
            if claim.believed {
                for (digest, output) in claim.carriers() {
                    index.with_consent.entry(digest).or_default().push((place, output));
                }
            }
        }
        index.by_action.sort_unstable();
        Ok(index)
    }

    /// The index as its file holds it, if it has changed since it was opened; with the claims of a run that is `published` since,
    /// under the name of its file.
    #[must_use]
    pub fn sealed(&self, published: Option<&(String, Vec<Claim>)>, seal_key: &[u8; 32]) -> Option<Vec<u8>> {
        if !self.changed && published.is_none() {
            return None;
        }
        // A clock that was set back gives a name that stands before others.
        let is_before = |(other, _): &(String, Vec<Claim>)| published.is_some_and(|(name, _)| other < name);
        let (before, after) = self.files.split_at(self.files.partition_point(is_before));
        let files: Vec<_> = before.iter().chain(published).chain(after).collect();
        Some(kept::sealed(seal_key, self.context, &files))
    }

    fn at(&self, (file, line): Place) -> &Claim {
        &self.files[file].1[line]
    }

    /// The claims of `action`, oldest first.
    fn of_action(&self, action: Digest) -> impl DoubleEndedIterator<Item = &Claim> {
        let from = &self.by_action[self.by_action.partition_point(|(other, _)| *other < action)..];
        let known = &from[..from.partition_point(|(other, _)| *other == action)];
        known.iter().map(|(_, place)| self.at(*place))
    }

    /// The newest believed receipt of a success of `action`.
    #[must_use]
    pub fn lookup(&self, action: Digest) -> Option<&Claim> {
        let mut newest_first = self.of_action(action).rev();
        newest_first.find(|claim| claim.believed && claim.succeeded)
    }

    /// All successes of `action` that somebody else's key signed.
    pub fn by_others(&self, action: Digest) -> impl Iterator<Item = &Claim> {
        self.of_action(action)
            .filter(|claim| !claim.believed && claim.succeeded)
    }

    /// The believed receipts of a stage by its name, newest first.
    pub fn of_stage<'a>(&'a self, pipeline: &'a str, stage: &'a str) -> impl Iterator<Item = &'a Claim> {
        self.of_stage_by_anyone(pipeline, stage).filter(|claim| claim.believed)
    }

    /// The receipts of a stage by its name, newest first, whoever signed them.
    pub fn of_stage_by_anyone<'a>(&'a self, pipeline: &'a str, stage: &'a str) -> impl Iterator<Item = &'a Claim> {
        let name = |place: &Place| self.at(*place).stage.as_str();
        let by_stage = self.by_stage.get_or_init(|| {
            let mut by_stage: Vec<Place> = places(&self.files).map(|(place, _)| place).collect();
            // Those of one stage stay in their order.
            by_stage.sort_by(|a, b| name(a).cmp(name(b)));
            by_stage
        });
        let first = by_stage.partition_point(|place| name(place) < stage);
        let of_stage = by_stage[first..].partition_point(|place| name(place) == stage);
        by_stage[first..first + of_stage]
            .iter()
            .rev()
            .map(|place| self.at(*place))
            .filter(move |claim| claim.pipeline == pipeline)
    }

    /// What the receipt `id` says, if it is here and believed.
    #[must_use]
    pub fn by_receipt(&self, id: ReceiptId) -> Option<&Claim> {
        self.all().find(|claim| claim.id == id && claim.believed)
    }

    /// All receipts of stages, oldest first, whoever signed them.
    pub fn all(&self) -> impl DoubleEndedIterator<Item = &Claim> {
        self.files.iter().flat_map(|(_, claims)| claims)
    }

    /// Whether a believed receipt claims an output with these bytes.
    #[must_use]
    pub fn is_claimed(&self, digest: Digest) -> bool {
        self.claimed.contains(&digest)
    }

    /// Whether any believed receipt claims a personal output.
    #[must_use]
    pub fn knows_personal(&self) -> bool {
        !self.personal.is_empty()
    }

    /// Whether a believed receipt claims a personal output by this keyed digest.
    #[must_use]
    pub fn is_personal(&self, keyed: Digest) -> bool {
        self.personal.contains(&keyed)
    }

    /// Whether any believed receipt says anything of consent.
    #[must_use]
    pub fn knows_consent(&self) -> bool {
        !self.with_consent.is_empty()
    }

    /// The consents that believed receipts give these bytes: those of all that made them; [`NONE`] if they were only ever read as
    /// raw events. Bytes that an ingest has let through whole are no longer raw.
    #[must_use]
    pub fn consents_of(&self, digest: Digest) -> Vec<&str> {
        let known = self.with_consent.get(&digest).map_or(&[][..], Vec::as_slice);
        let of = |(place, output): &(Place, Option<usize>)| self.at(*place).outputs[(*output)?].consent.as_deref();
        let made: Vec<&str> = known.iter().filter_map(of).collect();
        match (made.is_empty(), known.is_empty()) {
            (true, false) => vec![NONE],
            _ => made,
        }
    }

    /// The claim that gives these bytes their consent.
    #[must_use]
    pub fn consent_giver(&self, digest: Digest) -> Option<&Claim> {
        let known = self.with_consent.get(&digest)?;
        let made = known.iter().rev().find(|(_, output)| output.is_some());
        made.or(known.last()).map(|(place, _)| self.at(*place))
    }

    /// The whole statement of a claim, read again from its file. `None` if it is no longer there as it was.
    #[must_use]
    pub fn statement(&self, claim: &Claim) -> Option<Statement> {
        let mut last_read = self.last_read.lock().unwrap_or_else(PoisonError::into_inner);
        // What is asked of many stages is mostly in one file.
        if last_read.as_ref().is_none_or(|read| !read.is_of(&claim.run)) {
            let path = self.runs.join(format!("{}{RUN_FILE_SUFFIX}", claim.run));
            *last_read = RunLines::open(&claim.run, &path);
        }
        let line = last_read.as_mut()?.line(claim.line as usize)?;
        let envelope = Envelope::parse(line).ok()?;
        // It was read strictly when it came into the index.
        (envelope.receipt_id() == claim.id).then(|| Statement::parse_known(envelope.payload()))?
    }
}

/// Where a claim stands: the file's place, and its own in the file.
type Place = (usize, usize);

fn places(files: &Files) -> impl Iterator<Item = (Place, &Claim)> {
    let files = files.iter().enumerate();
    files.flat_map(|(file, (_, claims))| {
        claims
            .iter()
            .enumerate()
            .map(move |(line, claim)| ((file, line), claim))
    })
}

/// The names of the files in `runs` that hold receipts, sorted. None if there is no such folder.
///
/// # Errors
///
/// [`StoreError::Read`] if the folder is there and cannot be read.
pub fn run_files(runs: &Utf8Path) -> Result<Vec<String>, StoreError> {
    let failed = |source| StoreError::Read {
        path: runs.to_owned(),
        source,
    };
    let entries = match runs.read_dir_utf8() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.map_err(failed)?,
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(failed)?;
        // A pipe of that name would be waited for without an end, a link could lead anywhere: `verify` says what they are.
        let is_file = entry.file_type().map_err(failed)?.is_file();
        if is_file && entry.file_name().ends_with(RUN_FILE_SUFFIX) {
            names.push(entry.file_name().to_owned());
        }
    }
    names.sort();
    Ok(names)
}

/// What the receipts of stages in a run's file say. A line that is no receipt, and one whose signature by a trusted key does not
/// hold, says nothing here; `verify` says what is wrong with it. Lines are read by all cores, files one after the other: no more than one
/// is held.
fn read_run_file(path: &Utf8Path, name: &str, trust: &Trust, ended: &Ended<'_>) -> Result<Vec<Claim>, StoreError> {
    let failed = |source| StoreError::Read {
        path: path.to_owned(),
        source,
    };
    if fs::metadata(path).map_err(failed)?.len() > MAX_RUN_FILE {
        return Ok(Vec::new());
    }
    let bytes = fs::read(path).map_err(failed)?;
    // A countersignature has the run's receipts as its own file has them.
    let run = RunFileName::parse(name).map_or(name, |name| name.run);
    let lines = bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    let lines: Vec<(u32, &[u8])> = (0..).zip(lines).collect();
    let read = |(number, line): (u32, &[u8])| read_claim(line, run, number, trust, ended);
    Ok(lines.into_par_iter().filter_map(read).collect())
}

fn read_claim(line: &[u8], run: &str, number: u32, trust: &Trust, ended: &Ended<'_>) -> Option<Claim> {
    let envelope = Envelope::parse(line).ok()?;
    let signer = trust.keys.iter().find(|key| key.keyid == envelope.keyid());
    if signer.is_some_and(|signer| envelope.verify_signature(&signer.key).is_err()) {
        return None;
    }
    let statement = Statement::parse(envelope.payload()).ok()?;
    let build = &statement.predicate.build_definition;
    if build.build_type != STAGE_BUILD_TYPE || statement.predicate.run_details.metadata.invocation_id != run {
        return None;
    }
    let believed = signer.is_some_and(|key| {
        key.refuses(&statement).is_none() && (key.end().is_none() || ended.was_logged(key, envelope.receipt_id()))
    });
    let claim = Claim::of(envelope.receipt_id(), envelope.keyid(), &statement, number)?;
    Some(Claim { believed, ..claim })
}

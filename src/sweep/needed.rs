//! Which runs are kept, and which objects of the store they need.
//!
//! Kept are, of each pipeline: the last few runs that are here and the newest that succeeded; and on each local branch and
//! tag the newest run, and the newest that succeeded. What the receipts of their stages name, outputs and inputs, is needed,
//! whichever run made them. A file of receipts that cannot be read keeps nothing, and is said. The tokens of events that an ingest let in are kept as long as any receipt
//! speaks of them: it is for old runs that somebody asks whether an event was used.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fs;

use camino::Utf8Path;

use crate::consent::map::Root;
use crate::digest::Digest;
use crate::git::{BlobId, CommitTree, GitError, Repository};
use crate::history::runs::{self, RunError, id_of_file, pipeline_of};
use crate::receipt::digests::artifact_digests;
use crate::receipt::run_file::{MAX_RUN_FILE, Receipt, RunFile};
use crate::receipt::statement::{Outcome, ReceiptId, Statement};
use crate::store::run_files::read_each;
use crate::store::{Store, StoreError};
use crate::tree::Tree as _;
use crate::workspace::Workspace;

/// Why it cannot be told what is needed.
#[derive(Debug, thiserror::Error)]
pub enum NeededError {
    /// The receipts, or those that are pending.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The repository.
    #[error(transparent)]
    Git(#[from] GitError),
}

/// What is needed, and by what.
#[derive(Clone, Debug, Default)]
pub struct Needed {
    /// Objects.
    pub objects: HashSet<Digest>,
    /// Sets of tokens.
    pub populations: HashSet<Root>,
    /// The ids of the runs that are kept.
    pub runs: BTreeSet<String>,
    /// How many branches and tags were looked at.
    pub tips: usize,
    /// Files of receipts that are here and cannot be read, each with why.
    pub broken: Vec<String>,
    /// Files of receipts on branches and tags that cannot be read, each with why.
    pub broken_elsewhere: Vec<String>,
}

/// What the receipt of a run says.
#[derive(Clone, Debug)]
struct Facts {
    pipeline: String,
    succeeded: bool,
    /// What it names itself.
    digests: Vec<Digest>,
    /// The receipts of its stages.
    stages: Vec<ReceiptId>,
    /// Whether it says itself what all of them made.
    is_whole: bool,
}

/// What each receipt of a stage names.
type Known = HashMap<ReceiptId, Vec<Digest>>;

/// Finds what is needed by the runs that are here (the last `keep_last` of each pipeline), by those of branches and tags, and
/// by receipts that wait for the next run.
///
/// # Errors
///
/// [`NeededError`] if the receipts that are here, or the repository, cannot be read.
pub fn needed(
    workspace: &Workspace,
    store: &Store,
    repository: Option<&Repository>,
    keep_last: usize,
) -> Result<Needed, NeededError> {
    let mut needed = Needed::default();
    let here: Vec<(String, String)> = runs::run_ids(workspace)?
        .into_iter()
        .map(|id| (id.clone(), id))
        .collect();
    let read = |id: &String| Ok(facts(&runs::read_own(workspace, id)?));
    let kept = keep(&here, keep_last, read, &mut needed.broken);
    let mut known = Known::new();
    let all = here.into_iter().map(|(id, _)| id).collect();
    for receipts in read_each(all, |id| {
        let receipts = runs::read(workspace, id);
        let receipts = receipts.map(|receipts| (populations(&receipts).collect::<Vec<_>>(), of_stages(&receipts)));
        receipts.map_err(|error| format!("`{}`: {error}", runs::file_of(id)))
    }) {
        match receipts {
            Ok((populations, of_stages)) => {
                needed.populations.extend(populations);
                known.extend(of_stages);
            }
            Err(why) => needed.broken.push(why),
        }
    }
    for (id, facts) in kept {
        let missing = add(&facts, &known, &mut needed.objects);
        needed
            .broken
            .extend(missing.map(|why| format!("`{}`: {why}", runs::file_of(&id))));
        needed.runs.insert(id);
    }
    needed.broken.sort();
    needed.broken.dedup();
    if let Some(repository) = repository {
        add_tips(repository, known, &mut needed)?;
    }
    add_pending(store, &mut needed)?;
    Ok(needed)
}

/// Of each pipeline the newest `most` runs, and the newest that succeeded. `ids` are sorted, oldest first, each with
/// what it is read by.
fn keep<K>(
    ids: &[(String, K)],
    most: usize,
    mut read: impl FnMut(&K) -> Result<Facts, RunError>,
    broken: &mut Vec<String>,
) -> Vec<(String, Facts)> {
    let mut kept: BTreeMap<String, (usize, bool)> = BTreeMap::new();
    let mut chosen = Vec::new();
    for (id, key) in ids.iter().rev() {
        let is_enough = |pipeline: &str| {
            kept.get(pipeline)
                .is_some_and(|(count, success)| *count >= most && *success)
        };
        if pipeline_of(id).is_some_and(is_enough) {
            continue;
        }
        let facts = match read(key) {
            Ok(facts) => facts,
            Err(error) => {
                broken.push(format!("`{}`: {error}", runs::file_of(id)));
                continue;
            }
        };
        let (count, success) = kept.entry(facts.pipeline.clone()).or_insert((0, false));
        let is_kept = *count < most || (facts.succeeded && !*success);
        *count += 1;
        *success |= facts.succeeded;
        if is_kept {
            chosen.push((id.clone(), facts));
        }
    }
    chosen
}

/// Adds what a run needs to `objects`. Says if it cannot be told, for a receipt that it names is not among those that are `known`.
fn add(run: &Facts, known: &Known, objects: &mut HashSet<Digest>) -> Option<String> {
    objects.extend(&run.digests);
    let mut missing = None;
    for id in &run.stages {
        match known.get(id) {
            Some(digests) => objects.extend(digests),
            None if run.is_whole => {}
            None => missing = missing.or_else(|| Some(format!("the receipt {id}, which it names, is not here"))),
        }
    }
    missing
}

fn add_tips(repository: &Repository, mut known: Known, needed: &mut Needed) -> Result<(), NeededError> {
    let runs = Utf8Path::new("runs");
    let mut folders = HashSet::new();
    let mut blobs = Blobs::default();
    for (name, commit) in repository.tips()? {
        needed.tips += usize::from(name != "HEAD");
        let tree = repository.tree(commit)?;
        let unreadable = |error: &crate::tree::TreeError| format!("{name}: {error}");
        let folder = match tree.folder_id(runs) {
            Ok(Some(folder)) => folder,
            Ok(None) => continue,
            Err(error) => {
                needed.broken_elsewhere.push(unreadable(&error));
                continue;
            }
        };
        if !folders.insert(folder) {
            continue;
        }
        let files = match tree.files_in(runs) {
            Ok(files) => files,
            Err(error) => {
                needed.broken_elsewhere.push(unreadable(&error));
                continue;
            }
        };
        let mut ids: Vec<(String, (String, BlobId))> = files
            .into_iter()
            .filter_map(|(file, blob)| Some((id_of_file(&file)?, (file, blob))))
            .collect();
        ids.sort_by(|a, b| a.0.cmp(&b.0));
        let mut broken = Vec::new();
        let kept = keep(&ids, 1, |file| blobs.own(&tree, file), &mut broken);
        blobs.find(
            &tree,
            &ids,
            kept.iter().flat_map(|(_, facts)| &facts.stages),
            &mut known,
        );
        for (id, facts) in kept {
            let missing = add(&facts, &known, &mut needed.objects);
            broken.extend(missing.map(|why| format!("`{}`: {why}", runs::file_of(&id))));
            needed.runs.insert(id);
        }
        needed
            .broken_elsewhere
            .extend(broken.into_iter().map(|why| format!("{name}: {why}")));
    }
    needed.broken_elsewhere.sort();
    needed.broken_elsewhere.dedup();
    Ok(())
}

/// The file of a run in a commit: its name under `runs/`, and what it is there.
type Committed = (String, BlobId);

/// Files of runs in commits, each read once: most are in many.
#[derive(Default)]
struct Blobs {
    own: HashMap<BlobId, Result<Facts, String>>,
    searched: HashSet<BlobId>,
}

impl Blobs {
    fn own(&mut self, tree: &CommitTree<'_>, (file, blob): &Committed) -> Result<Facts, RunError> {
        let read = || {
            let own = read_committed(tree, file)?.pop();
            own.as_ref().map(facts).ok_or_else(|| "it is empty".to_owned())
        };
        let facts = self.own.entry(*blob).or_insert_with(read);
        facts.clone().map_err(RunError::Committed)
    }

    /// Adds the receipts of stages that are `wanted` and not `known`, and those beside them, from the files of a commit (sorted, oldest first).
    fn find<'a>(
        &mut self,
        tree: &CommitTree<'_>,
        ids: &[(String, Committed)],
        wanted: impl Iterator<Item = &'a ReceiptId>,
        known: &mut Known,
    ) {
        let mut missing: HashSet<&ReceiptId> = wanted.filter(|id| !known.contains_key(id)).collect();
        for (_, (file, blob)) in ids.iter().rev() {
            if missing.is_empty() {
                break;
            }
            if self.searched.insert(*blob)
                && let Ok(receipts) = read_committed(tree, file)
            {
                known.extend(of_stages(&receipts));
                missing.retain(|id| !known.contains_key(id));
            }
        }
    }
}

fn read_committed(tree: &CommitTree<'_>, file: &str) -> Result<Vec<Receipt>, String> {
    let path = Utf8Path::new("runs").join(file);
    let bytes = tree.read(&path, MAX_RUN_FILE).map_err(|error| error.to_string())?;
    let run = RunFile::parse(&bytes).map_err(|error| error.to_string())?;
    Ok(run.into_receipts())
}

/// Receipts of a run that died: the next run publishes them, if their outputs are in the store.
fn add_pending(store: &Store, needed: &mut Needed) -> Result<(), StoreError> {
    let folder = store.pending_folder();
    let failed = |source| StoreError::Read {
        path: folder.clone(),
        source,
    };
    let entries = match folder.read_dir_utf8() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        other => other.map_err(failed)?,
    };
    for entry in entries {
        let path = entry.map_err(failed)?.into_path();
        if !path
            .symlink_metadata()
            .is_ok_and(|found| found.is_file() && found.len() <= MAX_RUN_FILE)
        {
            continue;
        }
        let bytes = fs::read(&path).map_err(failed)?;
        let receipts = bytes
            .split(|byte| *byte == b'\n')
            .filter_map(|line| Receipt::parse(line).ok());
        let receipts: Vec<Receipt> = receipts.collect();
        needed.populations.extend(populations(&receipts));
        needed
            .objects
            .extend(receipts.iter().flat_map(|receipt| digests(&receipt.statement)));
    }
    Ok(())
}

/// The sets of tokens that receipts speak of.
fn populations(receipts: &[Receipt]) -> impl Iterator<Item = Root> {
    receipts.iter().filter_map(|receipt| {
        let (_, stage) = receipt.statement.stage()?;
        Root::from_hex(&stage.population.as_ref()?.root).ok()
    })
}

fn facts(own: &Receipt) -> Facts {
    let own = &own.statement;
    Facts {
        pipeline: own.external().pipeline.clone(),
        succeeded: own.internal().outcome == Outcome::Succeeded,
        digests: digests(own).collect(),
        stages: own.receipts().map(|(_, id)| id).collect(),
        is_whole: own.names_all_outputs(),
    }
}

/// What those of stages name.
fn of_stages(receipts: &[Receipt]) -> Known {
    let of_stages = receipts.iter().filter(|receipt| receipt.statement.stage().is_some());
    of_stages
        .map(|receipt| (receipt.id, digests(&receipt.statement).collect()))
        .collect()
}

/// Everything that a receipt names by BLAKE3: what came out, and what went in.
fn digests(statement: &Statement) -> impl Iterator<Item = Digest> {
    let resources = statement.subject.iter().chain(statement.dependencies());
    resources.filter_map(|resource| artifact_digests(resource).map(|digests| digests.blake3()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Which runs are kept of `runs` (oldest first; an upper-case letter succeeded), named by their place.
    fn kept(runs: &str, most: usize) -> Vec<usize> {
        let ids: Vec<(String, (usize, char))> = runs
            .chars()
            .enumerate()
            .map(|(place, c)| (format!("{place}"), (place, c)))
            .collect();
        let read = |(place, c): &(usize, char)| {
            Ok(Facts {
                pipeline: c.to_ascii_lowercase().to_string(),
                succeeded: c.is_ascii_uppercase(),
                digests: vec![Digest::of(&[u8::try_from(*place).expect("few")])],
                stages: Vec::new(),
                is_whole: true,
            })
        };
        let mut broken = Vec::new();
        let kept = keep(&ids, most, read, &mut broken);
        assert_eq!(broken, [""; 0]);
        let mut places: Vec<usize> = kept.iter().map(|(id, _)| id.parse().expect("a place")).collect();
        places.sort_unstable();
        places
    }

    #[test]
    fn of_each_pipeline_the_newest_are_kept_and_the_newest_that_succeeded() {
        assert_eq!(kept("PPPQ", 1), [2, 3]);
        assert_eq!(kept("PPPQ", 2), [1, 2, 3]);
        assert_eq!(kept("PPpp", 1), [1, 3], "the last that succeeded holds what is in use");
        assert_eq!(kept("ppp", 1), [2]);
        assert_eq!(kept("PPp", 0), [1], "none is not less than what is in use");
    }
}

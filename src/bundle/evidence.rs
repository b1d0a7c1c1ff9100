//! Which receipts and which files of logs belong to a run.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use camino::{Utf8Path, Utf8PathBuf};

use super::gather::GatherError;
use super::manifest::LeftOut;
use crate::log::name::{FileName, parse_bundle};
use crate::log::{LOGS, LogId};
use crate::receipt::key::KeyId;
use crate::receipt::run_file::{MAX_RUN_FILE, Receipt, RunFile};
use crate::receipt::shared::Shared;
use crate::receipt::statement::{ReceiptId, Role, Statement};
use crate::store::run_files::{read_each, run_files};
use crate::tree::{EntryType, Site as _, Tree as _};
use crate::workspace::Workspace;

/// The folder of receipts, relative to the workspace.
const RUNS: &str = "runs";
/// The most files that the folder of logs may have.
const MAX_FILES: usize = 1 << 22;
/// No name of a log's file has more parts.
const MAX_DEPTH: usize = 12;

/// The receipts of a run, and of all runs that it rests on.
pub(super) struct Runs {
    /// Their files, relative to the workspace.
    pub(super) files: Vec<Utf8PathBuf>,
    /// Named, and not here.
    pub(super) missing: BTreeSet<String>,
    /// That of the run asked for first, then those that it names; then all others, the newest first.
    receipts: Vec<Gathered>,
}

/// A receipt, without its bytes.
pub(super) struct Gathered {
    pub(super) id: ReceiptId,
    pub(super) keyid: KeyId,
    pub(super) statement: Statement,
}

impl Runs {
    /// Follows the receipts of `run` back to raw inputs.
    pub(super) fn of(run: &str, workspace: &Workspace) -> Result<Self, GatherError> {
        let index = Index::read(workspace)?;
        let own = index
            .files
            .iter()
            .filter(|(_, file)| file.run == run)
            .map(|(name, _)| name);
        let mut waiting: Vec<&String> = own.collect();
        let mut chosen: BTreeSet<&String> = waiting.iter().copied().collect();
        let mut missing = BTreeSet::new();
        while let Some(name) = waiting.pop() {
            for id in &index.files[name].rests_on {
                match index.by_id.get(id) {
                    Some(names) => waiting.extend(names.iter().filter(|name| chosen.insert(name))),
                    None => drop(missing.insert(id.to_string())),
                }
            }
        }
        let shared = Shared::default();
        let names = chosen.iter().copied().cloned().collect();
        let read = read_each(names, |name| {
            let receipts = read(workspace, name).into_iter().flatten();
            receipts
                .map(|receipt| Gathered::of(receipt, &shared))
                .collect::<Vec<_>>()
        });
        let mut receipts: Vec<Gathered> = read.flatten().collect();
        let own = receipts.iter().find(|receipt| is_own(receipt, run));
        let own = own.into_iter().flat_map(|own| own.statement.receipts());
        let named: HashSet<ReceiptId> = own.map(|(_, id)| id).collect();
        receipts.sort_by_cached_key(|receipt| {
            let metadata = receipt.statement.metadata();
            (
                !is_own(receipt, run),
                !named.contains(&receipt.id),
                Reverse(metadata.finished_on.clone()),
                receipt.id,
            )
        });
        match receipts.first().is_some_and(|first| is_own(first, run)) {
            true => Ok(Self {
                files: chosen.into_iter().map(|name| Utf8Path::new(RUNS).join(name)).collect(),
                missing,
                receipts,
            }),
            false => Err(GatherError::NoRun(run.to_owned())),
        }
    }

    /// All of them.
    pub(super) fn receipts(&self) -> impl Iterator<Item = &Gathered> {
        self.receipts.iter()
    }

    /// Those of the stages of the run asked for.
    pub(super) fn of_stages(&self) -> impl Iterator<Item = &Gathered> {
        let named = self.receipts.iter().take(1).flat_map(|own| own.statement.receipts());
        let named: HashSet<ReceiptId> = named.map(|(_, id)| id).collect();
        self.receipts.iter().filter(move |receipt| named.contains(&receipt.id))
    }

    pub(super) fn ids(&self) -> BTreeSet<ReceiptId> {
        self.receipts.iter().map(|receipt| receipt.id).collect()
    }

    /// The logs whose heads they name.
    fn named_logs(&self) -> BTreeSet<LogId> {
        let heads = self
            .receipts
            .iter()
            .flat_map(|receipt| &receipt.statement.internal().logs);
        heads.filter_map(|head| LogId::of_origin(&head.origin)).collect()
    }
}

impl Gathered {
    fn of(receipt: Receipt, shared: &Shared) -> Self {
        let (keyid, mut statement) = (receipt.envelope.keyid(), receipt.statement);
        shared.share(&mut statement);
        Self {
            id: receipt.id,
            keyid,
            statement,
        }
    }
}

fn is_own(receipt: &Gathered, run: &str) -> bool {
    receipt.statement.is_run() && receipt.statement.metadata().invocation_id == run
}

/// What each run file has, without its receipts: there may be many.
struct Index {
    files: BTreeMap<String, Indexed>,
    /// A receipt and its countersignatures are in several files.
    by_id: HashMap<ReceiptId, Vec<String>>,
}

struct Indexed {
    run: String,
    rests_on: BTreeSet<ReceiptId>,
}

impl Index {
    fn read(workspace: &Workspace) -> Result<Self, GatherError> {
        let mut index = Self {
            files: BTreeMap::new(),
            by_id: HashMap::new(),
        };
        let names = run_files(&workspace.absolute(Utf8Path::new(RUNS)))?;
        let read = read_each(names, |name| Some((name.to_owned(), Indexed::read(workspace, name)?)));
        for (name, (indexed, ids)) in read.flatten() {
            for id in ids {
                index.by_id.entry(id).or_default().push(name.clone());
            }
            index.files.insert(name, indexed);
        }
        Ok(index)
    }
}

impl Indexed {
    /// What the file has, and the ids of its receipts. What cannot be read is no receipt; `verify` says what is wrong with it.
    fn read(workspace: &Workspace, name: &str) -> Option<(Self, Vec<ReceiptId>)> {
        let receipts = read(workspace, name)?;
        let indexed = Self {
            run: receipts.last()?.statement.metadata().invocation_id.clone(),
            rests_on: receipts
                .iter()
                .flat_map(|receipt| rests_on(&receipt.statement))
                .collect(),
        };
        Some((indexed, receipts.iter().map(|receipt| receipt.id).collect()))
    }
}

fn read(workspace: &Workspace, name: &str) -> Option<Vec<Receipt>> {
    let path = Utf8Path::new(RUNS).join(name);
    let is_file = workspace
        .absolute(&path)
        .symlink_metadata()
        .is_ok_and(|found| found.is_file());
    let bytes = is_file.then(|| workspace.read(&path, MAX_RUN_FILE).ok())??;
    Some(RunFile::parse(&bytes).ok()?.into_receipts())
}

/// The receipts that a statement names.
fn rests_on(statement: &Statement) -> impl Iterator<Item = ReceiptId> {
    statement
        .dependencies()
        .iter()
        .filter_map(|dependency| match dependency.role() {
            Role::Input { receipt: Some(id), .. } => id.parse().ok(),
            _ => dependency.as_receipt().map(|(_, id)| id),
        })
}

/// Every log that has one of the receipts, or that one of them names, with its files, relative to the workspace. Whether the log
/// holds is for `verify` to say.
pub(super) fn logs(
    workspace: &Workspace,
    runs: &Runs,
    left_out: &mut BTreeSet<LeftOut>,
) -> Result<BTreeMap<LogId, Vec<Utf8PathBuf>>, GatherError> {
    let folder = Utf8Path::new(RUNS).join(LOGS);
    let (ids, named) = (runs.ids(), runs.named_logs());
    let mut chosen = BTreeMap::new();
    for log in workspace.entries(&folder, 1, MAX_FILES)? {
        let Some(id) = log.path.file_name().and_then(LogId::parse) else {
            continue;
        };
        if log.kind != EntryType::Folder {
            continue;
        }
        let mut files = Vec::new();
        let mut has_one = named.contains(&id);
        for entry in workspace.entries(&log.path, MAX_DEPTH, MAX_FILES)? {
            let inside = entry.path.strip_prefix(&log.path).unwrap_or(&entry.path);
            // A name with a dot before it is what a crashed writer or a file manager left.
            if inside.components().any(|name| name.as_str().starts_with('.')) {
                continue;
            }
            match (entry.kind, FileName::parse(inside)) {
                (EntryType::File, Some(name)) => {
                    if let (FileName::Entries { .. }, false) = (name, has_one) {
                        let bytes = workspace.read(&entry.path, 1 << 20)?;
                        has_one = parse_bundle(&bytes).is_some_and(|listed| listed.iter().any(|id| ids.contains(id)));
                    }
                    files.push(entry.path);
                }
                (EntryType::Folder, _) => {}
                _ => drop(left_out.insert(LeftOut {
                    name: entry.path.to_string(),
                    why: "it is no file of a log".to_owned(),
                })),
            }
        }
        if has_one {
            chosen.insert(id, files);
        }
    }
    Ok(chosen)
}

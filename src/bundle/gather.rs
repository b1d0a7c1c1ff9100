//! What goes into a bundle: the receipts of a run and of all that it rests on, their logs, and the files that they name.

use std::collections::{BTreeMap, BTreeSet};

use camino::{Utf8Path, Utf8PathBuf};

use super::evidence::{self, Gathered, Runs};
use super::manifest::{Kind, LeftOut, Manifest, Member, VERSION, is_plain};
use super::write::{Planned, Source};
use super::{KEYS, WORKSPACE, proofs};
use crate::digest::{Digests, hash_file};
use crate::git::Repository;
use crate::listing::{ArtifactDigests, ListedFile, ListingDigests, listing_digests};
use crate::log::LogId;
use crate::plan::find_files;
use crate::receipt::digests::{artifact_digests, file_digests};
use crate::receipt::key::PublicKey;
use crate::receipt::statement::{Resource, Role};
use crate::store::{Store, StoreError};
use crate::tree::{EntryKind, Tree as _, TreeError};
use crate::workspace::Workspace;

/// A file that only git still has is taken if it has at most this many bytes: it goes through memory.
const MAX_BLOB: u64 = 256 << 20;

/// What a bundle is to hold beside receipts, logs, keys and definitions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// All outputs of the run.
    pub artifacts: bool,
    /// These outputs, or logs of failed stages, by their paths.
    pub named: Vec<Utf8PathBuf>,
    /// The raw inputs.
    pub inputs: bool,
}

/// Where things are looked for.
pub struct Place<'a> {
    /// Files as they are now.
    pub workspace: &'a Workspace,
    /// Bytes by digest.
    pub store: &'a Store,
    /// Files as commits have them.
    pub repository: Option<&'a Repository>,
    /// The public keys that are known.
    pub keys: &'a [PublicKey],
}

/// Why there is nothing to write.
#[derive(Debug, thiserror::Error)]
pub enum GatherError {
    /// The receipts could not be listed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A file of a log could not be read.
    #[error(transparent)]
    Tree(#[from] TreeError),
    /// No receipts of that run are here.
    #[error("no receipt of the run `{0}` can be read")]
    NoRun(String),
    /// An artifact that was asked for by name is nowhere.
    #[error("`{path}` cannot be put in the bundle: {why}")]
    Missing {
        /// As it was asked for.
        path: Utf8PathBuf,
        /// Why.
        why: String,
    },
}

/// Finds everything that the bundle of `run` is to hold.
///
/// # Errors
///
/// [`GatherError`]. What cannot be had, and was not asked for by name, is left out, and the bundle says so.
pub fn gather(run: &str, wanted: &Wanted, place: &Place<'_>) -> Result<Planned, GatherError> {
    let runs = Runs::of(run, place.workspace)?;
    let mut gathering = Gathering {
        place,
        members: BTreeMap::new(),
        left_out: runs
            .missing
            .iter()
            .map(|id| left_out(id, "this receipt is not here"))
            .collect(),
    };
    for file in &runs.files {
        gathering.file(file, Kind::Receipts)?;
    }
    let logs = evidence::logs(place.workspace, &runs, &mut gathering.left_out)?;
    for file in logs.values().flatten() {
        gathering.file(file, Kind::Log)?;
    }
    let logs: Vec<LogId> = logs.into_keys().collect();
    for (id, proof) in proofs::of(place.workspace, &logs, &runs.ids(), place.keys)? {
        gathering.bytes(proofs::path_of(&id), Kind::Proof, proof);
    }
    gathering.keys(&runs);
    gathering.definitions(&runs);
    gathering.artifacts(&runs, wanted)?;
    if wanted.inputs {
        gathering.inputs(&runs);
    }
    Ok(gathering.plan(run))
}

struct Gathering<'a> {
    place: &'a Place<'a>,
    /// By their names in the archive.
    members: BTreeMap<String, (Member, Source)>,
    left_out: BTreeSet<LeftOut>,
}

fn left_out(name: impl Into<String>, why: impl Into<String>) -> LeftOut {
    LeftOut {
        name: name.into(),
        why: why.into(),
    }
}

impl Gathering<'_> {
    fn add(&mut self, path: String, kind: Kind, executable: bool, (digests, size): (Digests, u64), source: Source) {
        let member = Member {
            blake3: digests.blake3,
            executable,
            kind,
            path: path.clone().into(),
            sha256: digests.sha256,
            size,
        };
        self.members.insert(path, (member, source));
    }

    /// Something of the bundle's own.
    fn bytes(&mut self, path: String, kind: Kind, bytes: Vec<u8>) {
        let hashed = (Digests::of(&bytes), bytes.len() as u64);
        self.add(path, kind, false, hashed, Source::Bytes(bytes));
    }

    /// A file as it is in the workspace.
    fn file(&mut self, path: &Utf8Path, kind: Kind) -> Result<(), GatherError> {
        let absolute = self.place.workspace.absolute(path);
        let hashed = hash_file(&absolute).map_err(|source| StoreError::Read {
            path: absolute.clone(),
            source,
        })?;
        self.add(
            format!("{WORKSPACE}/{path}"),
            kind,
            false,
            hashed,
            Source::File(absolute),
        );
        Ok(())
    }

    /// The public keys of whoever signed, as far as they are known.
    fn keys(&mut self, runs: &Runs) {
        let signers: BTreeSet<_> = runs.receipts().map(|receipt| receipt.keyid).collect();
        for keyid in signers {
            match self.place.keys.iter().find(|key| key.keyid() == keyid) {
                Some(key) => {
                    let pem = key.to_pem().into_bytes();
                    let hashed = (Digests::of(&pem), pem.len() as u64);
                    self.add(
                        format!("{KEYS}/{keyid}.pem"),
                        Kind::Key,
                        false,
                        hashed,
                        Source::Bytes(pem),
                    );
                }
                None => drop(self.left_out.insert(left_out(
                    keyid.to_string(),
                    "the public key of this signer is not known here",
                ))),
            }
        }
    }

    fn definitions(&mut self, runs: &Runs) {
        for receipt in runs.receipts() {
            for resource in dependencies(receipt, |role| matches!(role, Role::Definition {})) {
                self.optional(resource, Kind::Definition, receipt);
            }
        }
    }

    fn artifacts(&mut self, runs: &Runs, wanted: &Wanted) -> Result<(), GatherError> {
        for path in &wanted.named {
            let subjects = runs
                .receipts()
                .flat_map(|receipt| receipt.statement.subject.iter().map(move |subject| (receipt, subject)));
            let missing = |why: String| GatherError::Missing {
                path: path.clone(),
                why,
            };
            // Of one path the claim of the run, then those of its stages come first.
            let Some((receipt, subject)) = subjects.into_iter().find(|(_, subject)| subject.name == *path) else {
                return Err(missing(
                    "no receipt of the run, or that it rests on, names it as an output".to_owned(),
                ));
            };
            self.resource(subject, Kind::Artifact, receipt).map_err(missing)?;
        }
        if wanted.artifacts {
            for receipt in runs.of_stages() {
                for subject in &receipt.statement.subject {
                    if matches!(subject.role(), Role::Output { .. }) {
                        self.optional(subject, Kind::Artifact, receipt);
                    }
                }
            }
        }
        Ok(())
    }

    fn inputs(&mut self, runs: &Runs) {
        for receipt in runs.receipts() {
            let is_raw = |role: &Role| matches!(role, Role::Input { receipt: None, .. } | Role::Member { .. });
            let all: Vec<&Resource> = dependencies(receipt, is_raw).collect();
            for resource in &all {
                let is_listed = |other: &&Resource| match (resource.role(), other.role()) {
                    (Role::Input { input, .. }, Role::Member { input: of, .. }) => input == of,
                    _ => false,
                };
                let is_personal = matches!(artifact_digests(resource), Some(ArtifactDigests::Keyed(_)));
                if is_personal || file_digests(resource).is_some() {
                    self.optional(resource, Kind::Input, receipt);
                } else if !all.iter().any(is_listed) {
                    let why = "it is so many files that the receipt does not list them";
                    self.left_out.insert(left_out(&resource.name, why));
                }
            }
        }
    }

    /// What is left out if it cannot be had.
    fn optional(&mut self, resource: &Resource, kind: Kind, receipt: &Gathered) {
        if let Err(why) = self.resource(resource, kind, receipt) {
            self.left_out.insert(left_out(&resource.name, why));
        }
    }

    /// A file that a receipt names, with just the bytes that it names.
    fn resource(&mut self, resource: &Resource, kind: Kind, receipt: &Gathered) -> Result<(), String> {
        let executable = match resource.role() {
            Role::Output { executable, .. } | Role::Member { executable, .. } => *executable,
            _ => false,
        };
        match artifact_digests(resource) {
            Some(ArtifactDigests::File(digests)) => self.one((&resource.name, digests, executable), kind, receipt),
            Some(ArtifactDigests::Folder(listing)) => {
                for file in self.files_of(Utf8Path::new(&resource.name), &listing)? {
                    self.one((file.path.as_str(), file.digests, file.executable), kind, receipt)
                        .map_err(|why| format!("`{}`: {why}", file.path))?;
                }
                Ok(())
            }
            Some(ArtifactDigests::Keyed(_)) => Err("it is personal".to_owned()),
            None => Err("it is no file".to_owned()),
        }
    }

    /// The files of a folder that a stage made: by its listing in the store, else as it is in place.
    fn files_of(&self, path: &Utf8Path, listing: &ListingDigests) -> Result<Vec<ListedFile>, String> {
        if let Some(files) = self.place.store.folder(listing) {
            return Ok(files);
        }
        let workspace = self.place.workspace;
        let files = find_files(workspace, path).unwrap_or_default();
        let files = files.into_iter().map(|(path, executable)| {
            let (digests, _) = hash_file(&workspace.absolute(&path)).ok()?;
            Some(ListedFile {
                path,
                executable,
                digests,
            })
        });
        let files: Option<Vec<ListedFile>> = files.collect();
        files
            .filter(|files| listing_digests(files).is_ok_and(|found| found == *listing))
            .ok_or_else(|| "its files are neither in place as they were nor listed in the store".to_owned())
    }

    /// A file with just these bytes.
    fn one(
        &mut self,
        (path, digests, executable): (&str, Digests, bool),
        kind: Kind,
        receipt: &Gathered,
    ) -> Result<(), String> {
        let name = format!("{WORKSPACE}/{path}");
        if let Some((member, _)) = self.members.get(&name) {
            return match member.digests() == digests {
                true => Ok(()),
                false => Err(format!(
                    "run {} has it with other bytes ({})",
                    receipt.statement.metadata().invocation_id,
                    digests.sha256
                )),
            };
        }
        if !is_plain(&name) || path.starts_with("runs/") {
            return Err("a bundle can hold no file of that name".to_owned());
        }
        let commit = receipt.statement.internal().made.commit.as_deref();
        let (source, size) = self.find(Utf8Path::new(path), digests, commit)?;
        self.add(name, kind, executable, (digests, size), source);
        Ok(())
    }

    /// The bytes of these digests: from the workspace, else from the store, else from the commit.
    fn find(&self, path: &Utf8Path, digests: Digests, commit: Option<&str>) -> Result<(Source, u64), String> {
        let workspace = self.place.workspace;
        let is_file = matches!(workspace.kind(path), Ok(Some(EntryKind::File { .. })));
        let stored = self.place.store.cas().path(digests.blake3);
        let places = [
            is_file.then(|| workspace.absolute(path)),
            stored.is_file().then_some(stored),
        ];
        for file in places.into_iter().flatten() {
            if let Ok((found, size)) = hash_file(&file)
                && found == digests
            {
                return Ok((Source::File(file), size));
            }
        }
        let blob = commit.and_then(|commit| {
            let repository = self.place.repository?;
            let tree = repository.tree(repository.find_commit(commit)?).ok()?;
            tree.read(path, MAX_BLOB).ok()
        });
        match blob.filter(|bytes| Digests::of(bytes) == digests) {
            Some(bytes) => {
                let size = bytes.len() as u64;
                Ok((Source::Bytes(bytes), size))
            }
            None if is_file => {
                Err("it was changed, and the bytes that the receipt names are not in the store".to_owned())
            }
            None => Err("it is not here, and not in the store".to_owned()),
        }
    }

    fn plan(self, run: &str) -> Planned {
        let (members, sources) = self.members.into_values().unzip();
        let manifest = Manifest {
            left_out: self.left_out.into_iter().collect(),
            members,
            run: run.to_owned(),
            version: VERSION,
        };
        Planned { manifest, sources }
    }
}

fn dependencies(receipt: &Gathered, is_meant: impl Fn(&Role) -> bool) -> impl Iterator<Item = &Resource> {
    let dependencies = receipt.statement.dependencies().iter();
    dependencies.filter(move |resource| is_meant(resource.role()))
}

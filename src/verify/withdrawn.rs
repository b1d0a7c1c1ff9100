//! Whether what was let in was withdrawn since: by the revocations that the ingest's receipt names, as they lie now.
//!
//! If they lie as they did, nothing was. Else the events that were let in are held against them, wherever their bytes still are: a
//! file is believed for its digest and for nothing else.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use camino::{Utf8Path, Utf8PathBuf};

use super::Request;
use super::evidence::{Evidence, Known};
use super::report::{Code, Finding, Severity};
use crate::commitment::Same;
use crate::consent::map::Root;
use crate::consent::population::KeptPopulation;
use crate::consent::spread::{State, Step, Steps};
use crate::diagnostic::shell_word;
use crate::digest::Digest;
use crate::listing::{ArtifactDigests, ListedFile, listing_digests};
use crate::plan::find_files;
use crate::receipt::digests::artifact_digests;
use crate::receipt::statement::{Resource, Role};
use crate::receipt::trust::OnWithdrawn;
use crate::stages::InputFile;
use crate::stages::ingest::check::NonRevocable;
use crate::stages::ingest::revocations::Revocations;
use crate::stages::ingest::schema::EventSchema;
use crate::stages::ingest::used::{Lying, Told, UsedError, withdrawn};
use crate::stages::ingest::{EVENTS, REVOCATIONS};
use crate::store::Store;
use crate::tree::{EntryKind, Site};

/// What was found.
#[derive(Default)]
pub(super) struct Withdrawn {
    pub(super) findings: Vec<Finding>,
    pub(super) not_checked: Vec<String>,
}

/// What the answer rests on: a receipt, and of what is in its place the digests that it claims.
pub(super) type Resting = (usize, Option<ArtifactDigests>);

/// Checks the ingests that the `roots` rest on, as `consent affected` goes from one receipt to the next: by the receipts that they name, by the
/// bytes of what no stage of the pipeline made, and not by what also came out bit for bit the same without what is withdrawn.
pub(super) fn check(
    request: &Request<'_>,
    evidence: &Evidence,
    roots: &[Resting],
    on_withdrawn: OnWithdrawn,
) -> Withdrawn {
    let is_ingest = |receipt: &Known| receipt.statement.is_ingest() && receipt.statement.is_stage_success();
    if !evidence.receipts.iter().any(is_ingest) {
        return Withdrawn::default();
    }
    let steps = steps_of(request, evidence);
    let steps = Steps::of(&steps, &evidence.by_id, request.personal);
    let mut counted: BTreeMap<usize, Result<u64, String>> = BTreeMap::new();
    let mut count_all = |reached: BTreeSet<usize>| {
        let ingests = reached
            .into_iter()
            .filter(|index| is_ingest(&evidence.receipts[*index]));
        for ingest in ingests {
            let count = || count(request, &evidence.receipts[ingest]);
            counted.entry(ingest).or_insert_with(count);
        }
        counted.values().all(|count| *count == Ok(0))
    };
    let starts = || roots.iter().map(|(root, _)| *root);
    if count_all(steps.rested_on(starts())) {
        return Withdrawn::default();
    }
    // What else made the same bytes may show that they are without it.
    let same = |(_, claimed): &Resting| claimed.map(|claimed| steps.makers_of(claimed.blake3()).collect::<Vec<_>>());
    count_all(steps.reached(starts().chain(roots.iter().filter_map(same).flatten()), |_| true));
    let state = |(index, counted): (&usize, &Result<u64, String>)| match counted {
        Ok(0) => (*index, State::Clean),
        Ok(_) => (*index, State::Affected),
        Err(_) => (*index, State::Unknown),
    };
    let states = steps.spread(&counted.iter().map(state).collect());
    let is_clean = |maker: usize| states[maker] == State::Clean;
    let came_out_without = |claimed: ArtifactDigests| steps.makers_of(claimed.blake3()).any(is_clean);
    let resting = roots
        .iter()
        .filter(|(root, claimed)| !is_clean(*root) && !claimed.is_some_and(came_out_without));
    let resting: Vec<usize> = resting.map(|(root, _)| *root).collect();
    let pipelines = resting.iter().map(|root| &evidence.receipts[*root].statement);
    let pipelines = pipelines.map(|made| made.external().pipeline_file.as_str()).collect();
    let rested = steps.reached(resting, |index| !is_clean(index));
    let counted = counted.into_iter().filter(|(ingest, _)| rested.contains(ingest));
    let mut found = Withdrawn::default();
    for (ingest, counted) in counted {
        found.add(&evidence.receipts[ingest], counted, &pipelines, on_withdrawn);
    }
    found
}

/// All receipts. Which files were in a folder is asked of the store, which is believed only if they give both digests, and only where another
/// pipeline has read one of them.
fn steps_of(request: &Request<'_>, evidence: &Evidence) -> Vec<Step> {
    let statements = || evidence.receipts.iter().map(|receipt| &receipt.statement);
    let is_folder = |made: &&Resource| artifact_digests(made).is_some_and(|digests| digests.is_folder());
    let folders = statements().flat_map(|statement| statement.subject.iter().filter(is_folder));
    let folders: HashSet<&Utf8Path> = folders.map(|made| Utf8Path::new(&made.name)).collect();
    let is_source = |used: &&Resource| matches!(used.role(), Role::Input { receipt: None, .. } | Role::Member { .. });
    let sources = statements().filter(|_| !folders.is_empty());
    let sources = sources.flat_map(|statement| statement.dependencies().iter().filter(is_source));
    let above = sources.flat_map(|used| Utf8Path::new(&used.name).ancestors().skip(1));
    let asked: HashSet<&Utf8Path> = above.filter(|above| folders.contains(above)).collect();
    let store = request
        .site
        .folder()
        .filter(|_| !request.site.is_excerpt())
        .map(Store::of);
    let files_of = |path: &Utf8Path, folder: &ArtifactDigests| {
        let store = store.as_ref().filter(|_| asked.contains(path))?;
        store.files_of(folder)
    };
    let step = |receipt: &Known| Step::of(receipt.id, &receipt.statement, receipt.signer.is_some(), &files_of);
    evidence.receipts.iter().map(step).collect()
}

impl Withdrawn {
    /// Adds what was found of an ingest that something rests on which these pipelines make.
    fn add(
        &mut self,
        receipt: &Known,
        counted: Result<u64, String>,
        pipelines: &BTreeSet<&str>,
        on_withdrawn: OnWithdrawn,
    ) {
        match counted {
            Ok(0) => {}
            Ok(events) => self.findings.push(finding(receipt, events, pipelines, on_withdrawn)),
            Err(why) => {
                if on_withdrawn == OnWithdrawn::Fail {
                    let message = format!("whether events that it rests on were withdrawn since cannot be told: {why}");
                    let finding = Finding::new(Code::Withdrawn, message).severity(Severity::Inconclusive);
                    self.findings.push(finding.receipt(&receipt.id));
                }
                let note = format!("withdrawn: whether events were withdrawn since: {why}");
                if !self.not_checked.contains(&note) {
                    self.not_checked.push(note);
                }
            }
        }
    }
}

fn finding(receipt: &Known, events: u64, pipelines: &BTreeSet<&str>, on_withdrawn: OnWithdrawn) -> Finding {
    let code = match on_withdrawn {
        OnWithdrawn::Warn => Code::WarnWithdrawn,
        OnWithdrawn::Fail => Code::Withdrawn,
    };
    let what = if events == 1 {
        "1 event that is".to_owned()
    } else {
        format!("{events} events that are")
    };
    let finding = Finding::new(code, format!("what is here rests on {what} withdrawn now"));
    // What another pipeline made of it that has been made anew is to be made anew by that one.
    let own = receipt.statement.external().pipeline_file.as_str();
    let own = pipelines.contains(own).then_some(own);
    let others = pipelines.iter().copied().filter(|_| own.is_none());
    let runs: Vec<String> = own
        .into_iter()
        .chain(others)
        .map(|pipeline| format!("`madmall run {}`", shell_word(pipeline)))
        .collect();
    let help = format!(
        "{} makes it without; `madmall consent affected` names all that was made with it",
        runs.join(" and ")
    );
    let finding = finding.receipt(&receipt.id).help(help);
    match events_of(receipt) {
        Some(events) => finding.file(&events.name),
        None => finding,
    }
}

/// How many of the events that the ingest let in are withdrawn now, or why that cannot be told.
fn count(request: &Request<'_>, receipt: &Known) -> Result<u64, String> {
    let site = request.site;
    let dependencies = receipt.statement.dependencies().iter();
    let named: Vec<&Resource> = dependencies.filter(|used| is_revocations(used)).collect();
    if named.is_empty() {
        return Ok(0);
    }
    let folder = site.folder().filter(|_| !site.is_excerpt());
    let folder = folder.ok_or("the revocations, as they are now, are not part of a bundle")?;
    let mut files = Vec::new();
    let mut has_changed = false;
    for used in named {
        let (paths, found) = look(site, used)?;
        let is_same = artifact_digests(used).map(|claimed| found.compare(&claimed, request.personal));
        has_changed |= is_same != Some(Same::Yes);
        files.extend(paths);
    }
    let Some(events) = events_of(receipt).filter(|_| has_changed) else {
        return Ok(0);
    };
    let (stage, _) = receipt.statement.stage().ok_or("it is no receipt of a stage")?;
    let told = Told::of(stage)?;
    // What events look like is no matter here: only whether it is known whose they are.
    let schema = EventSchema::compile_with_subject(b"{}", told.subject.clone()).map_err(|error| error.to_string())?;
    let files: Vec<InputFile> = files
        .into_iter()
        .map(|path| file(folder.join(&path), path, None))
        .collect();
    let revocations = Revocations::read_with_tokens(&files, &schema, request.tokens)
        .map_err(|error| crate::diagnostic::with_causes(&error))?;
    let store = Store::of(folder);
    if let Some(count) = by_tokens(request, receipt, &store, &revocations, &told) {
        return Ok(count);
    }
    let lying = places(request, folder, &store, events);
    let threads = rayon::current_num_threads();
    withdrawn(lying, &revocations, &told, request.tokens, threads).map_err(|error| match error {
        UsedError::Gone => format!("`{}` is not here as it was", events.name),
        UsedError::Others { .. } => error.to_string(),
        error => format!("`{}`: {}", events.name, crate::diagnostic::with_causes(&error)),
    })
}

/// The same by the tokens that the store keeps of what was let in, which are believed only if they give the root of the receipt. Nothing
/// if they cannot tell.
fn by_tokens(
    request: &Request<'_>,
    receipt: &Known,
    store: &Store,
    revocations: &Revocations,
    told: &Told,
) -> Option<u64> {
    let (_, stage) = receipt.statement.stage()?;
    let record = stage.population.as_ref()?;
    let tokens = request.tokens?;
    if tokens.secret().to_hex() != record.secret {
        return None;
    }
    let population = KeptPopulation::open(store, Root::from_hex(&record.root).ok()?).ok()??;
    let count = revocations.count_in(&population).ok()??;
    // A token does not say whether the consent can be withdrawn.
    (count == 0 || told.non_revocable == NonRevocable::Honour).then_some(count)
}

fn is_revocations(used: &Resource) -> bool {
    matches!(used.role(), Role::Input { input, .. } if input.split('[').next() == Some(REVOCATIONS))
}

fn events_of(receipt: &Known) -> Option<&Resource> {
    let is_events = |made: &&Resource| matches!(made.role(), Role::Output { output, .. } if output == EVENTS);
    receipt.statement.subject.iter().find(is_events)
}

/// The files that an input is now, and their digests.
fn look(site: &dyn Site, used: &Resource) -> Result<(Vec<Utf8PathBuf>, ArtifactDigests), String> {
    let path = Utf8Path::new(&used.name);
    let unreadable = |error: crate::tree::TreeError| crate::diagnostic::with_causes(&error);
    if artifact_digests(used).is_some_and(|claimed| !claimed.is_folder()) {
        return match site.kind(path).map_err(unreadable)? {
            Some(EntryKind::File { .. }) => {
                let digests = site.digests(path).map_err(unreadable)?;
                Ok((vec![path.to_owned()], ArtifactDigests::File(digests)))
            }
            _ => Err(format!("the revocations `{path}` are not here")),
        };
    }
    let files = find_files(site.as_tree(), path).ok_or_else(|| format!("the revocations `{path}` are not here"))?;
    let listed = files.iter().map(|(path, executable)| {
        let digests = site.digests(path).map_err(unreadable)?;
        Ok(ListedFile {
            path: path.clone(),
            executable: *executable,
            digests,
        })
    });
    let listed = listed.collect::<Result<Vec<_>, String>>()?;
    let listing = listing_digests(&listed).map_err(|error| error.to_string())?;
    let paths = files.into_iter().map(|(path, _)| path).collect();
    Ok((paths, ArtifactDigests::Folder(listing)))
}

/// Where the events may lie that `made` names: in their place, else in the store. Their bytes are hashed as they are read.
fn places(request: &Request<'_>, folder: &Utf8Path, store: &Store, made: &Resource) -> Vec<Lying> {
    let Some(claimed) = artifact_digests(made).filter(|claimed| !claimed.is_folder()) else {
        return Vec::new();
    };
    let path = Utf8PathBuf::from(&made.name);
    let stored = store.cas().path(claimed.blake3());
    let is_file = |path: &Utf8Path| matches!(request.site.kind(path), Ok(Some(EntryKind::File { .. })));
    let in_place = is_file(&path).then(|| folder.join(&path));
    let stored = stored
        .symlink_metadata()
        .is_ok_and(|found| found.is_file())
        .then_some(stored);
    let named = |place: Utf8PathBuf| {
        let digest = claimed.plain_name(&place, request.personal)?;
        Some(file(place, path.clone(), Some(digest)))
    };
    let in_place = in_place.and_then(named).map(Lying::InPlace);
    let stored = stored.and_then(named).map(Lying::Stored);
    in_place.into_iter().chain(stored).collect()
}

fn file(absolute: Utf8PathBuf, name: Utf8PathBuf, digest: Option<Digest>) -> InputFile {
    InputFile { absolute, name, digest }
}

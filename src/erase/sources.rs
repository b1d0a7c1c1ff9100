//! Where its events may be read whole, so that their ids are known: raw files, what ingests have let in or rejected, and what they have read.

use std::collections::BTreeSet;
use std::io;

use camino::{Utf8Path, Utf8PathBuf};
use rayon::prelude::*;

use super::lineage::bytes_of;
use super::lines::{self, Lines};
use super::sites::Sites;
use super::{EraseError, Wanted};
use crate::commitment::Same;
use crate::digest::hash_file;
use crate::history::affected::Places;
use crate::listing::ArtifactDigests;
use crate::plan::written_input;
use crate::receipt::digests::artifact_digests;
use crate::receipt::statement::{Resource, Role, Statement};
use crate::stages::ingest::{EVENTS, REJECTS};
use crate::workspace::Workspace;

/// The files that may have lines of it, absolute: those in their places, and the store's. Which bytes lie there is no matter: a line of it
/// is one wherever it stands.
#[must_use]
pub fn sources(places: &Places<'_>, sites: &Sites) -> BTreeSet<Utf8PathBuf> {
    let (workspace, cas) = (places.workspace, places.store.cas());
    let raw: BTreeSet<Utf8PathBuf> = sites.raw.iter().map(|path| workspace.absolute(path)).collect();
    let mut files = raw.clone();
    files.extend(sites.made.iter().map(|path| workspace.absolute(path)));
    // Whose word is not believed does not say which events are whose.
    let claims = places.believed.all();
    for claim in claims.filter(|claim| claim.believed && claim.succeeded) {
        let is_events = |output: &str| [EVENTS, REJECTS].contains(&output);
        if !claim.outputs.iter().any(|output| is_events(&output.name)) {
            continue;
        }
        let Some(statement) = places.believed.statement(&claim).filter(Statement::is_ingest) else {
            continue;
        };
        let made = statement.subject.iter();
        let made = made.filter(|made| matches!(made.role(), Role::Output { output, .. } if is_events(output)));
        for artifact in made.chain(events_read(&statement)) {
            files.insert(workspace.absolute(artifact.name.as_str().into()));
            let digests = artifact_digests(artifact);
            let names = digests.iter().flat_map(|digests| bytes_of(digests, places.store));
            files.extend(names.map(|name| cas.path(name)));
        }
    }
    let is_file = |path: &Utf8PathBuf| path.symlink_metadata().is_ok_and(|found| found.is_file());
    // A raw file that is not there is told of when it is read.
    files.retain(|path| raw.contains(path) || is_file(path));
    files
}

/// What files have of it.
#[derive(Debug, Default)]
pub struct Read {
    /// Each that has any lines of it, absolute, with these.
    pub lines: Vec<(Utf8PathBuf, Lines)>,
    /// Those that could not be read to their ends, absolute: they may have had more.
    pub damaged: BTreeSet<Utf8PathBuf>,
}

/// The lines that are of `wanted` in each of `files` that has any. Only those among `raw` have to be whole: the others were events once, and
/// may be anything now.
///
/// # Errors
///
/// [`EraseError::Read`] if one cannot be read, or is of `raw` and damaged.
pub fn find(
    files: &BTreeSet<Utf8PathBuf>,
    raw: &BTreeSet<Utf8PathBuf>,
    workspace: &Workspace,
    wanted: &Wanted,
) -> Result<Read, EraseError> {
    let look = |path: &Utf8PathBuf| {
        let mut lines = Lines::default();
        let relative = path.strip_prefix(workspace.root()).unwrap_or(path);
        match lines::add(path, wanted, &mut lines) {
            Ok(()) => Ok((path.clone(), lines, false)),
            Err(error) if error.kind() == io::ErrorKind::InvalidData && !raw.contains(relative) => {
                Ok((path.clone(), lines, true))
            }
            Err(source) => Err(EraseError::Read {
                path: relative.to_owned(),
                source,
            }),
        }
    };
    let mut read = Read::default();
    for (path, lines, is_damaged) in files.par_iter().map(look).collect::<Result<Vec<_>, _>>()? {
        if is_damaged {
            read.damaged.insert(path.clone());
        }
        if lines.count > 0 {
            read.lines.push((path, lines));
        }
    }
    Ok(read)
}

/// Whether any file that `ingest` has read as events holds it: of the bytes that its receipt names, where they still lie in their places. Nothing
/// if they do not, for what it let in is among them.
#[must_use]
pub fn is_in_raw(ingest: &Statement, places: &Places<'_>, wanted: &Wanted) -> Option<bool> {
    let mut is_whole = false;
    for read in events_read(ingest) {
        let digests = artifact_digests(read)?;
        if digests.is_folder() {
            let is_member =
                |member: &&Resource| matches!(member.role(), Role::Member { .. }) && input_of(member) == input_of(read);
            // All of its files are named beside it, or none.
            events_read(ingest).find(is_member)?;
            continue;
        }
        let path = places.workspace.absolute(Utf8Path::new(&read.name));
        let holds = || -> io::Result<bool> {
            let (now, _) = hash_file(&path)?;
            match ArtifactDigests::File(now).compare(&digests, places.store.key()) {
                Same::Yes => Ok(lines::find(&path, wanted)?.count > 0),
                _ => Err(io::ErrorKind::NotFound.into()),
            }
        };
        if holds().ok()? {
            return Some(true);
        }
        is_whole = true;
    }
    is_whole.then_some(false)
}

/// What an ingest has read as events.
fn events_read(ingest: &Statement) -> impl Iterator<Item = &Resource> {
    let dependencies = ingest.dependencies().iter();
    dependencies.filter(|used| input_of(used).is_some_and(|input| written_input(input) == EVENTS))
}

/// The input that it is, or is a file of.
fn input_of(used: &Resource) -> Option<&str> {
    match used.role() {
        Role::Input { input, .. } | Role::Member { input, .. } => Some(input),
        _ => None,
    }
}

//! The erasure itself, step by step: what is there, then what is done about it.

use std::collections::{BTreeMap, BTreeSet};

use camino::Utf8PathBuf;
use jiff::Timestamp;

use super::find::{Found, Scope, find, outside};
use super::lineage::Lineage;
use super::lines::{self, Lines};
use super::needles::{Needles, spellings};
use super::revoke::revoke;
use super::sites::Sites;
use super::tombstone::{self, Tombstone};
use super::{EraseError, Wanted, remove};
use crate::consent::population::{Form, KeptPopulation};
use crate::consent::token::{SubjectToken, Token};
use crate::digest::{Sha256, hash_file};
use crate::exec::attest::{rfc3339, used};
use crate::git::{self, Repository};
use crate::plan::Plan;
use crate::receipt::digests::artifact_digests;
use crate::receipt::erasure::{Erased, ErasedKind, Erasure, MAX_LEFT};
use crate::receipt::key::SigningKey;
use crate::receipt::run_file::Receipt;
use crate::receipt::statement::{ReceiptId, Resource, Role, Statement};
use crate::stages::ingest::EVENTS;
use crate::store::believed::Believed;
use crate::store::{Store, StoreError};
use crate::workspace::Workspace;

/// What an erasure works with.
pub struct Work<'a> {
    /// The workspace.
    pub workspace: &'a Workspace,
    /// Its store.
    pub store: &'a Store,
    /// What receipts say.
    pub believed: &'a Believed,
    /// Its repository, if it has one.
    pub repository: Option<&'a Repository>,
    /// What the pipelines read and write.
    pub sites: &'a Sites,
    /// Who or what is erased.
    pub wanted: &'a Wanted,
    /// The same by its token.
    pub erasure: &'a Erasure,
}

/// Where it is, and what was made of it.
pub struct Survey {
    /// The raw files that have lines of it.
    pub lines: BTreeMap<Utf8PathBuf, Lines>,
    /// Where it is.
    pub found: Found,
    /// What was made of it.
    pub lineage: Lineage,
    needles: Needles,
}

/// What was done.
#[derive(Debug)]
pub struct Done {
    /// The files of revocations that were changed.
    pub revoked: Vec<Utf8PathBuf>,
    /// How many lines were taken out of each raw file.
    pub taken_out: BTreeMap<Utf8PathBuf, u64>,
    /// Objects of the store that were removed.
    pub objects: u64,
    /// Other files of the store that were removed.
    pub store_files: u64,
    /// Outputs that were removed from their places.
    pub outputs: Vec<Utf8PathBuf>,
    /// Where it still is.
    pub left: Vec<String>,
    /// The tombstone; none if one is there already and nothing was left to do.
    pub tombstone: Option<Utf8PathBuf>,
}

/// The place in git's history, as it is named where places are.
const IN_GIT: &str = "git";

impl Work<'_> {
    fn scope(&self) -> Scope<'_> {
        Scope {
            workspace: self.workspace,
            store: self.store,
            repository: self.repository,
            outputs: &self.sites.outputs,
            raw: &self.sites.raw,
            revocations: &self.sites.revocations,
        }
    }

    /// Looks everywhere. Changes nothing.
    ///
    /// # Errors
    ///
    /// [`EraseError`] if something cannot be read.
    pub fn survey(&self) -> Result<Survey, EraseError> {
        let mut all = BTreeMap::new();
        for path in &self.sites.raw {
            let found = lines::find(&self.workspace.absolute(path), self.wanted);
            let found = found.map_err(|source| EraseError::Read {
                path: path.clone(),
                source,
            })?;
            if found.count > 0 {
                all.insert(path.clone(), found);
            }
        }
        let ids = all.values().flat_map(|lines| &lines.ids).map(String::as_str);
        let words = ids.chain([self.wanted.id.as_str()]).flat_map(spellings);
        let lines = all.values().flat_map(|lines| &lines.spelled).cloned();
        let needles = Needles::of(words.chain(lines));
        let is_used = |ingest: &Statement| {
            self.is_in_population(ingest)
                .unwrap_or_else(|| self.is_in_events(ingest, &needles))
        };
        let lineage = Lineage::of(self.believed, self.store, &is_used);
        let found = find(&self.scope(), &needles, &lineage)?;
        Ok(Survey {
            lines: all,
            found,
            lineage,
            needles,
        })
    }

    /// Whether an ingest let it in, by the tokens of what it let in; `None` if that cannot be told: they are not here, or by another secret.
    fn is_in_population(&self, ingest: &Statement) -> Option<bool> {
        let (_, internal) = ingest.stage()?;
        let record = internal.population.as_ref()?;
        if record.secret != self.erasure.secret {
            return None;
        }
        let root = Sha256::from_hex(&record.root).ok()?;
        let kept = KeptPopulation::open(self.store, root).ok()??;
        match self.erasure.of {
            ErasedKind::Event => kept.contains(&Token::from_hex(&self.erasure.token).ok()?).ok(),
            ErasedKind::Subject if kept.form() == Form::Tokens => None,
            ErasedKind::Subject => {
                let wanted = SubjectToken::from_hex(&self.erasure.token).ok()?;
                let mut is_in = false;
                kept.each(|_, subject| is_in |= subject == Some(wanted)).ok()?;
                Some(is_in)
            }
        }
    }

    /// Whether the events that an ingest let through hold it, if the store has them; what it does not have cannot be searched.
    fn is_in_events(&self, ingest: &Statement, needles: &Needles) -> bool {
        let is_events = |made: &&Resource| matches!(made.role(), Role::Output { output, .. } if output == EVENTS);
        let events = ingest.subject.iter().find(is_events).and_then(artifact_digests);
        let object = events.map(|digests| self.store.cas().path(digests.blake3()));
        object.is_some_and(|object| needles.are_in_file(&object).unwrap_or(false))
    }

    /// Erases what was surveyed. The workspace's lock must be held.
    ///
    /// # Errors
    ///
    /// [`EraseError`]; what was done stays done, and is not claimed: the same, begun again, goes on.
    pub fn carry_out(&self, survey: &Survey, rewrite_inputs: bool, sign: &Signing<'_>) -> Result<Done, EraseError> {
        let began = (sign.clock)();
        let mut revoked = Vec::new();
        let ids: BTreeSet<String> = survey.lines.values().flat_map(|lines| lines.ids.clone()).collect();
        for path in &self.sites.revocations {
            let absolute = self.workspace.absolute(path);
            if revoke(&absolute, self.wanted, &ids, self.erasure, &rfc3339(began))? {
                revoked.push(path.clone());
            }
        }
        let mut taken_out = BTreeMap::new();
        let links = outside(self.workspace, &self.sites.raw);
        for (path, lines) in &survey.lines {
            // A file that is reached through a link is somewhere else, and not only this project's.
            if rewrite_inputs && lines.is_plain && !links.contains_key(path) {
                let count = lines::take_out(&self.workspace.absolute(path), self.wanted)?;
                taken_out.insert(path.clone(), count);
            }
        }
        let (objects, outputs) = remove(&survey.found, &self.sites.outputs, self.store, self.workspace)?;
        let after = find(&self.scope(), &survey.needles, &Lineage::default())?;
        if !after.is_gone() {
            let again = after
                .objects
                .into_iter()
                .chain(after.store_files)
                .chain(after.outputs)
                .next();
            let path = again.unwrap_or_default();
            return Err(EraseError::Again { path });
        }
        let left = left(&after, survey, &taken_out);
        let store_files = survey.found.store_files.len() as u64;
        let files = outputs + taken_out.len() as u64 + revoked.len() as u64;
        let has_done = objects + store_files + files > 0;
        let tombstone = match has_done || self.tombstone()?.is_none() {
            true => {
                let erased = Erased {
                    files,
                    left: left.iter().take(MAX_LEFT).cloned().collect(),
                    objects: objects + store_files,
                };
                Some(self.bury(sign, (began, (sign.clock)()), erased, &survey.lineage.receipts)?)
            }
            false => None,
        };
        Ok(Done {
            revoked,
            taken_out,
            objects,
            store_files,
            outputs: survey.found.outputs.clone(),
            left,
            tombstone,
        })
    }

    /// The file of a tombstone that says that it was erased before, if there is one.
    ///
    /// # Errors
    ///
    /// [`StoreError::Read`] if the receipts cannot be read.
    pub fn tombstone(&self) -> Result<Option<Utf8PathBuf>, StoreError> {
        let all = tombstone::all(&crate::exec::runs_folder(self.workspace))?;
        let is_it =
            |(_, receipt): &(String, Receipt)| receipt.statement.external().erasure.as_ref() == Some(self.erasure);
        let found = all.into_iter().find(is_it);
        Ok(found.map(|(name, _)| Utf8PathBuf::from("runs").join(name)))
    }

    fn bury(
        &self,
        sign: &Signing<'_>,
        (began, ended): (Timestamp, Timestamp),
        erased: Erased,
        receipts: &[(ReceiptId, String)],
    ) -> Result<Utf8PathBuf, EraseError> {
        let files: Vec<_> = sign.plan.definition_files.iter().map(used).collect();
        let made = git::made(self.repository, &files)?;
        let revocations = self.sites.revocations.first().cloned().unwrap_or_default();
        let (digests, _) = hash_file(&self.workspace.absolute(&revocations)).map_err(|source| EraseError::Read {
            path: revocations.clone(),
            source,
        })?;
        let tombstone = Tombstone {
            plan: sign.plan,
            erasure: self.erasure.clone(),
            erased,
            receipts,
            revocations: (revocations, digests),
            made,
            id: crate::exec::run_id("erasure", began, sign.nonce),
            times: (rfc3339(began), rfc3339(ended)),
        };
        tombstone::write(tombstone, self.workspace, self.store, sign.key)
    }
}

/// Who signs what was done.
pub struct Signing<'a> {
    /// The key.
    pub key: &'a SigningKey,
    /// A pipeline whose ingest reads the revocations.
    pub plan: &'a Plan,
    /// What time it is.
    pub clock: &'a dyn Fn() -> Timestamp,
    /// Random bits for the tombstone's id.
    pub nonce: u16,
}

/// Where it still is, sorted.
fn left(after: &Found, survey: &Survey, taken_out: &BTreeMap<Utf8PathBuf, u64>) -> Vec<String> {
    let mut left: BTreeSet<String> = after
        .elsewhere
        .iter()
        .chain(&after.raw)
        .map(ToString::to_string)
        .collect();
    let untouched = survey.lines.keys().filter(|path| !taken_out.contains_key(*path));
    left.extend(untouched.map(ToString::to_string));
    if after.in_git > 0 {
        left.insert(IN_GIT.to_owned());
    }
    left.into_iter().collect()
}

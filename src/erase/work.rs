//! The erasure itself, step by step: what is there, then what is done about it.

use std::collections::{BTreeMap, BTreeSet};

use camino::{Utf8Path, Utf8PathBuf};
use jiff::Timestamp;

use super::find::{Found, Scope, find, outside};
use super::lineage::Lineage;
use super::lines::{self, Lines};
use super::needles::{Needles, spellings};
use super::revoke::revoke;
use super::sites::Sites;
use super::sources::{self, is_in_raw, sources};
use super::tombstone::{self, Tombstone};
use super::{EraseError, Wanted, remove};
use crate::digest::hash_file;
use crate::exec::attest::{rfc3339, used};
use crate::git::{self, Repository};
use crate::history::affected::{Places, let_in};
use crate::plan::Plan;
use crate::receipt::erasure::{Erased, ErasedKind, Erasure, MAX_LEFT};
use crate::receipt::key::SigningKey;
use crate::receipt::run_file::Receipt;
use crate::receipt::statement::{ReceiptId, Statement};
use crate::receipt::trust::{Trust, TrustedKey};
use crate::stages::ingest::check::NonRevocable;
use crate::stages::ingest::revocations::Revocations;
use crate::stages::ingest::used::Told;
use crate::store::StoreError;
use crate::store::believed::Claim;

/// What an erasure works with.
pub struct Work<'a> {
    /// The workspace, its store, what receipts say, and by what tokens are made.
    pub places: &'a Places<'a>,
    /// Whose tombstones are believed.
    pub trust: &'a Trust,
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
    /// Files that events of the person may have been in, of which the ids are known nowhere else, for they are damaged.
    pub damaged: BTreeSet<Utf8PathBuf>,
    /// Places that an earlier erasure left, where ids that it knew, and nobody knows any more, cannot be searched for.
    pub earlier: BTreeSet<Utf8PathBuf>,
    /// Where it is.
    pub found: Found,
    /// What was made of it.
    pub lineage: Lineage,
    /// The ids of its events.
    ids: BTreeSet<String>,
    needles: Needles,
    /// By which files the ids are known.
    sources: BTreeSet<Utf8PathBuf>,
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
pub(super) const IN_GIT: &str = "git";

impl Work<'_> {
    fn scope(&self) -> Scope<'_> {
        Scope {
            workspace: self.places.workspace,
            store: self.places.store,
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
        let sources = sources(self.places, self.sites);
        let workspace = self.places.workspace;
        let read = sources::find(&sources, &self.sites.raw, workspace, self.wanted)?;
        let damaged = match self.erasure.of {
            ErasedKind::Subject => read.damaged,
            // Its one id is known.
            ErasedKind::Event => BTreeSet::new(),
        };
        let damaged = damaged
            .iter()
            .map(|path| path.strip_prefix(workspace.root()).unwrap_or(path).to_owned());
        let read = read.lines;
        let ids = read.iter().flat_map(|(_, lines)| lines.ids.clone()).collect();
        let needles = {
            let ids = [&self.wanted.id].into_iter().chain(&ids);
            let lines = read.iter().flat_map(|(_, lines)| lines.spelled.iter().cloned());
            Needles::of(ids.flat_map(|id| spellings(id)).chain(lines))
        };
        let (lineage, are_known) = self.lineage(&ids)?;
        let earlier = match are_known {
            true => BTreeSet::new(),
            false => self.left_before()?,
        };
        let found = find(&self.scope(), &needles, &lineage)?;
        let mut lines: BTreeMap<Utf8PathBuf, Lines> = read.into_iter().collect();
        let raw = self.sites.raw.iter();
        let raw = raw.filter_map(|path| Some((path.clone(), lines.remove(&workspace.absolute(path))?)));
        Ok(Survey {
            lines: raw.collect(),
            damaged: damaged.collect(),
            earlier,
            ids,
            found,
            lineage,
            needles,
            sources,
        })
    }

    /// What rests on it, and whether all ids of its events are known: `ids` are those that are.
    fn lineage(&self, ids: &BTreeSet<String>) -> Result<(Lineage, bool), EraseError> {
        let tokens = self.places.tokens;
        let mut asked = match self.erasure.of {
            ErasedKind::Event => Revocations::of_event(&self.wanted.id, tokens),
            ErasedKind::Subject => Revocations::of_subject(&self.wanted.id, tokens),
        };
        for id in ids {
            asked.add_all(Revocations::of_event(id, tokens));
        }
        // Whether a consent could be taken back is no matter here.
        let told = Told {
            subject: self.wanted.subject.as_deref().and_then(|pointer| pointer.parse().ok()),
            non_revocable: NonRevocable::Honour,
        };
        let judged = let_in(self.places, &asked, &told)?;
        let is_used = |claim: &Claim, ingest: &Statement| match judged.ingests.get(&claim.id) {
            Some(Ok(count)) => Ok(*count > 0),
            Some(Err(why)) => is_in_raw(ingest, self.places, self.wanted).ok_or_else(|| why.clone()),
            None => Err("its file cannot be read".to_owned()),
        };
        let mut lineage = Lineage::of(self.places, &is_used);
        for (run, why) in &judged.unread {
            lineage.doubt.add(run, &format!("its file {why}"));
        }
        let are_known = self.add_unnamed(ids, &mut lineage)?;
        Ok((lineage, are_known))
    }

    /// Erases what was surveyed. The workspace's lock must be held.
    ///
    /// # Errors
    ///
    /// [`EraseError`]; what was done stays done, and is not claimed: the same, begun again, goes on.
    pub fn carry_out(&self, survey: &Survey, rewrite_inputs: bool, sign: &Signing<'_>) -> Result<Done, EraseError> {
        let began = (sign.clock)();
        let revoked = self.revoke(survey, &rfc3339(began))?;
        let (objects, outputs) = remove(
            &survey.found,
            &self.sites.outputs,
            &survey.sources,
            self.places.store,
            self.places.workspace,
        )?;
        let mut after = self.search_again(&survey.needles)?;
        // Not before: whoever goes on with this later has to know the ids of the events that stand there.
        let taken_out = match rewrite_inputs {
            true => self.take_out(survey)?,
            false => BTreeMap::new(),
        };
        let mut raw = Vec::new();
        for path in after.raw {
            if !taken_out.contains_key(&path) || self.holds(&path, &survey.needles)? {
                raw.push(path);
            }
        }
        after.raw = raw;
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

    /// Writes the files of revocations. Gives those that were changed.
    fn revoke(&self, survey: &Survey, now: &str) -> Result<Vec<Utf8PathBuf>, EraseError> {
        let tokens = self.places.tokens.into_iter();
        let tokens = tokens.flat_map(|tokens| survey.ids.iter().map(|id| (id.clone(), tokens.token(id).to_hex())));
        let tokens: BTreeMap<String, String> = tokens.collect();
        let mut revoked = Vec::new();
        for path in &self.sites.revocations {
            let absolute = self.places.workspace.absolute(path);
            if revoke(&absolute, self.wanted, &tokens, self.erasure, now)? {
                revoked.push(path.clone());
            }
        }
        Ok(revoked)
    }

    /// Searches everything once more, which has to find nothing.
    fn search_again(&self, needles: &Needles) -> Result<Found, EraseError> {
        let after = find(&self.scope(), needles, &Lineage::default())?;
        if after.is_gone() {
            return Ok(after);
        }
        let again = after
            .objects
            .into_iter()
            .chain(after.store_files)
            .chain(after.outputs)
            .next();
        let path = again.unwrap_or_default();
        Err(EraseError::Again { path })
    }

    /// Takes its lines out of the raw files. Gives how many of each.
    fn take_out(&self, survey: &Survey) -> Result<BTreeMap<Utf8PathBuf, u64>, EraseError> {
        let workspace = self.places.workspace;
        let links = outside(workspace, &self.sites.raw);
        // A file that is reached through a link is somewhere else, and not only this project's.
        let lines = survey
            .lines
            .iter()
            .filter(|(path, lines)| lines.is_plain && !links.contains_key(*path));
        let taken = lines.map(|(path, _)| Ok((path.clone(), lines::take_out(&workspace.absolute(path), self.wanted)?)));
        taken.collect()
    }

    fn holds(&self, path: &Utf8Path, needles: &Needles) -> Result<bool, EraseError> {
        let held = needles.are_in_file(&self.places.workspace.absolute(path));
        held.map_err(|source| EraseError::Read {
            path: path.to_owned(),
            source,
        })
    }

    /// The file of a tombstone that says that it was erased before, if there is one.
    ///
    /// # Errors
    ///
    /// [`StoreError::Read`] if the receipts cannot be read.
    pub fn tombstone(&self) -> Result<Option<Utf8PathBuf>, StoreError> {
        let found = self.tombstones()?.into_iter().next();
        Ok(found.map(|(name, _)| Utf8PathBuf::from("runs").join(name)))
    }

    pub(super) fn tombstones(&self) -> Result<Vec<(String, Receipt)>, StoreError> {
        let is_it = |receipt: &Receipt| receipt.statement.external().erasure.as_ref() == Some(self.erasure);
        let all = self.all_tombstones()?.into_iter();
        Ok(all.filter(|(_, receipt)| is_it(receipt)).collect())
    }

    /// Those of every erasure that a trusted key signed, oldest first.
    pub(super) fn all_tombstones(&self) -> Result<Vec<(String, Receipt)>, StoreError> {
        let all = tombstone::all(&crate::exec::runs_folder(self.places.workspace))?;
        let is_signed_by = |receipt: &Receipt, key: &TrustedKey| {
            key.keyid == receipt.envelope.keyid()
                && receipt.envelope.verify_signature(&key.key).is_ok()
                && key.refuses(&receipt.statement).is_none()
        };
        let is_trusted = |receipt: &Receipt| self.trust.keys.iter().any(|key| is_signed_by(receipt, key));
        Ok(all.into_iter().filter(|(_, receipt)| is_trusted(receipt)).collect())
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
        let (digests, _) =
            hash_file(&self.places.workspace.absolute(&revocations)).map_err(|source| EraseError::Read {
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
        tombstone::write(tombstone, self.places.workspace, self.places.store, sign.key)
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
        .chain(survey.lineage.doubt.runs.keys())
        .chain(&survey.found.doubtful)
        .chain(&survey.damaged)
        .chain(&survey.earlier)
        .map(ToString::to_string)
        .collect();
    let untouched = survey.lines.keys().filter(|path| !taken_out.contains_key(*path));
    left.extend(untouched.map(ToString::to_string));
    if after.in_git > 0 {
        left.insert(IN_GIT.to_owned());
    }
    left.into_iter().collect()
}

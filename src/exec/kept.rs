//! What a run keeps for the next one: what files hold, what receipts say, and what is known of stages.

use std::collections::BTreeSet;
use std::sync::PoisonError;
use std::time::{Duration, Instant};

use camino::{Utf8Path, Utf8PathBuf};
use rayon::prelude::*;

use super::Session;
use super::scheduler::Finished;
use crate::digest::Digests;
use crate::receipt::envelope::Signed;
use crate::receipt::run_file::RUN_FILE_SUFFIX;
use crate::receipt::statement::{ReceiptId, Statement};
use crate::stamp::settling_time;
use crate::store::believed::{Claim, Sealed};
use crate::store::sealed::SealedFile;
use crate::store::{StoreError, atomic};

/// So many bytes are read sooner than a clock ticks.
const SOON_READ: u64 = 8 << 20;

impl Session<'_> {
    /// Remembers that an output was put in place just now.
    pub(crate) fn note_placed(&self, path: &Utf8Path, digests: Digests) {
        self.placed
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push((path.to_owned(), digests, Instant::now()));
    }

    /// Hashes what was put in place once more, when enough time has passed that a later change would leave a trace: so
    /// the next run need not read it. Mostly it has passed already; what is small is left to the next run rather than waited for.
    fn settle(&self) {
        let placed = std::mem::take(&mut *self.placed.lock().unwrap_or_else(PoisonError::into_inner));
        let is_old = |(_, _, when): &(Utf8PathBuf, Digests, Instant)| when.elapsed() >= settling_time();
        let (mut placed, new): (Vec<_>, Vec<_>) = placed.into_iter().partition(is_old);
        let size = |path: &Utf8Path| self.workspace.absolute(path).metadata().map_or(0, |found| found.len());
        if new.iter().map(|(path, ..)| size(path)).sum::<u64>() > SOON_READ {
            let last = new.iter().map(|(.., when)| *when).max();
            std::thread::sleep(last.map_or(Duration::ZERO, |when| settling_time().saturating_sub(when.elapsed())));
            placed.extend(new);
        }
        // What cannot be read now is hashed, and complained about, by the next run.
        let hash = |(path, digests, _): (Utf8PathBuf, Digests, Instant)| drop(self.hashes.placed(&path, digests));
        placed.into_par_iter().with_min_len(64).for_each(hash);
    }

    /// What a receipt claims that was signed just now, if that is known without reading it again.
    pub(crate) fn own_claim(&self, receipt: &Signed, statement: &Statement) -> Option<Claim> {
        Claim::of_own(receipt, statement, self.own.as_ref()?)
    }

    /// Notes what the receipt claims that stands at `line` of the run's file.
    pub(crate) fn note_claim(&self, claim: Option<Claim>, line: usize) {
        let claim = claim.zip(u32::try_from(line).ok());
        let claim = claim.map(|(claim, line)| Claim { line, ..claim });
        let mut claims = self.claims.lock().unwrap_or_else(PoisonError::into_inner);
        claims.push(claim);
    }

    /// The name of the file of this run's receipts.
    pub(super) fn run_file(&self) -> String {
        format!("{}{RUN_FILE_SUFFIX}", self.run_id)
    }

    /// The index of receipts as it is kept, if it is another than it was; with those of this run if they are `published`, which the
    /// next run then need not read. And which of this run's are believed then.
    fn index(&self, published: bool) -> (Option<Sealed<'_>>, BTreeSet<ReceiptId>) {
        let claims = std::mem::take(&mut *self.claims.lock().unwrap_or_else(PoisonError::into_inner));
        let own = claims
            .iter()
            .flatten()
            .filter(|claim| claim.believed && claim.succeeded);
        let own = own.map(|claim| claim.id).collect();
        let claims: Option<Vec<Claim>> = claims.into_iter().collect();
        let published = claims.filter(|_| published).map(|claims| (self.run_file(), claims));
        let index = self.believed.sealed(published.as_ref(), &self.key.derive_seal_key());
        (index, own)
    }

    /// What the run keeps, but for its receipts, whether these are `published` or there are none; of stages only if the next run need say nothing
    /// of them.
    pub(super) fn to_keep(&self, stages: &[Finished], published: bool, is_plain: bool) -> ToKeep<'_> {
        let (index, own) = self.index(published);
        let remember = || {
            let (seal, plan) = self.plan_to_remember();
            let seal = seal.filter(|_| is_plain);
            let known = seal.and_then(|seal| self.to_remember(seal, stages, published, &own));
            (plan, known)
        };
        let settle = || {
            self.settle();
            self.hashes.cache().sealed()
        };
        let (stamps, (plan, known)) = rayon::join(settle, remember);
        ToKeep {
            index,
            stamps,
            plan,
            known,
        }
    }

    /// Writes it.
    pub(super) fn keep(&self, to_keep: &ToKeep<'_>) -> Result<(), StoreError> {
        let ToKeep {
            index,
            stamps,
            plan,
            known,
        } = to_keep;
        let (index_file, stamps_file) = (self.store.believed_file(), self.store.stat_cache_file());
        let write_index = || {
            index
                .as_ref()
                .map_or(Ok(()), |index| atomic::write_cache(&index_file, index.parts()))
        };
        let write_stamps = || {
            stamps.as_ref().map_or(Ok(()), |stamps| {
                atomic::write_cache(&stamps_file, stamps.iter().map(Vec::as_slice))
            })
        };
        let write_others = || [plan, known].into_iter().flatten().try_for_each(SealedFile::write);
        let (index, (stamps, others)) = rayon::join(write_index, || rayon::join(write_stamps, write_others));
        index.and(stamps).and(others)
    }
}

/// What is kept, each if it is another than it was.
pub(super) struct ToKeep<'s> {
    index: Option<Sealed<'s>>,
    stamps: Option<Vec<Vec<u8>>>,
    plan: Option<SealedFile>,
    known: Option<SealedFile>,
}

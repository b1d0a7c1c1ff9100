//! What nobody can search for: the events of a person whose ids are nowhere any more.

use std::collections::{BTreeSet, HashSet};

use camino::Utf8PathBuf;

use super::EraseError;
use super::lineage::Lineage;
use super::work::{IN_GIT, Work};
use crate::consent::map::Root;
use crate::consent::population::KeptPopulation;
use crate::consent::token::{SubjectToken, Token};
use crate::history::runs::file_of;
use crate::receipt::erasure::{Erased, ErasedKind};
use crate::receipt::run_file::Receipt;
use crate::receipt::statement::Statement;
use crate::store::StoreError;

impl Work<'_> {
    /// Adds to what is in doubt the runs that let in events of the person whose ids nobody knows any more, by the tokens: for these nothing can be
    /// searched. Gives whether there is none, which an earlier erasure may have searched for.
    pub(super) fn add_unnamed(&self, ids: &BTreeSet<String>, lineage: &mut Lineage) -> Result<bool, EraseError> {
        let Some(tokens) = self.places.tokens.filter(|_| self.erasure.of == ErasedKind::Subject) else {
            return Ok(true);
        };
        // A person without any has none that was let in, and may have had others.
        let mut are_known = !ids.is_empty();
        let all = self.all_tombstones()?;
        let said = all.iter().filter_map(|(_, receipt)| receipt.statement.erasure());
        // Of one that was erased by itself the id was known.
        let alone = said.filter(|(said, _)| said.of == ErasedKind::Event && said.secret == self.erasure.secret);
        let mut known: HashSet<Token> = alone
            .filter_map(|(said, _)| Token::from_hex(&said.token).ok())
            .collect();
        known.extend(ids.iter().map(|id| tokens.token(id)));
        let earlier = self.tombstones()?;
        let believed = self.places.believed;
        for (id, _) in &lineage.receipts {
            let Some(claim) = believed.by_receipt(*id) else {
                continue;
            };
            let of_person = believed.statement(&claim).map(|ingest| self.events_of_person(&ingest));
            let unnamed = of_person
                .into_iter()
                .flatten()
                .filter(|token| !known.contains(token))
                .count();
            are_known &= unnamed == 0;
            let is_left = |erased: &Erased| erased.left.iter().any(|left| *left == file_of(&claim.run));
            // They were known when that was written.
            let is_said = |receipt: &Receipt| {
                receipt.statement.receipts().any(|(_, said)| said == *id)
                    && receipt.statement.erasure().is_some_and(|(_, erased)| !is_left(erased))
            };
            if unnamed > 0 && !earlier.iter().any(|(_, receipt)| is_said(receipt)) {
                let why = "it let in events of this person whose ids nobody knows any more, so that nothing could be searched for them";
                lineage.doubt.add(&claim.run, why);
            }
        }
        Ok(are_known)
    }

    /// The places that the newest erasure of the same left, as far as they are there. What is made, and lines of raw files, are looked at
    /// anew.
    pub(super) fn left_before(&self) -> Result<BTreeSet<Utf8PathBuf>, StoreError> {
        let tombstones = self.tombstones()?;
        let newest = tombstones.last().and_then(|(_, receipt)| receipt.statement.erasure());
        let left = newest.into_iter().flat_map(|(_, erased)| &erased.left);
        let is_there = |path: &Utf8PathBuf| {
            let is_looked_at = path.starts_with(".madmall")
                || self.sites.raw.contains(path)
                || path.ancestors().any(|place| self.sites.outputs.contains(place));
            match path.as_str() {
                IN_GIT => self.repository.is_some(),
                _ => !is_looked_at && self.places.workspace.absolute(path).symlink_metadata().is_ok(),
            }
        };
        Ok(left.map(Utf8PathBuf::from).filter(is_there).collect())
    }

    /// The tokens of the person's events that an ingest let in, as far as they are kept.
    fn events_of_person(&self, ingest: &Statement) -> Vec<Token> {
        let mut of_person = Vec::new();
        let record = ingest.stage().and_then(|(_, internal)| internal.population.as_ref());
        let root = record.filter(|record| record.secret == self.erasure.secret);
        let root = root.and_then(|record| Root::from_hex(&record.root).ok());
        let kept = root.and_then(|root| KeptPopulation::open(self.places.store, root).ok()?);
        if let (Some(kept), Ok(person)) = (kept, SubjectToken::from_hex(&self.erasure.token)) {
            // What is damaged tells nothing.
            let _ = kept.each(|event, subject| of_person.extend((subject == Some(person)).then_some(event)));
        }
        of_person
    }
}

//! Whether an ingest let in anything that is withdrawn.

use std::borrow::Cow;
use std::collections::HashMap;

use camino::Utf8PathBuf;

use super::Places;
use super::ledger::{Made, Node};
use crate::consent::population::KeptPopulation;
use crate::digest::Digest;
use crate::stages::InputFile;
use crate::stages::ingest::check::NonRevocable;
use crate::stages::ingest::revocations::Revocations;
use crate::stages::ingest::used::{Lying, Told, withdrawn};

/// Counts withdrawn events in what ingests let in, the same bytes once.
pub(super) struct Judge<'a> {
    places: &'a Places<'a>,
    revocations: &'a Revocations,
    told: Option<&'a Told>,
    known: HashMap<(Digest, Option<String>, bool), Result<u64, String>>,
}

impl<'a> Judge<'a> {
    /// By `revocations`. Each ingest is taken by its own word of how it was told to look at events, or by `told`, which says only what
    /// it was not told itself of persons.
    pub(super) fn new(places: &'a Places<'a>, revocations: &'a Revocations, told: Option<&'a Told>) -> Self {
        Self {
            places,
            revocations,
            told,
            known: HashMap::new(),
        }
    }

    /// How many events that the ingest `node` let in are withdrawn, or why that is not known; nothing if it is no ingest.
    pub(super) fn judge(&mut self, node: &Node) -> Option<Result<u64, String>> {
        let told = match node.ingest.as_ref()? {
            Ok(told) => self.told_of(told),
            Err(why) => return Some(Err(why.clone())),
        };
        let told = told.as_ref();
        // One that failed let nothing in.
        let Some(events) = node.events() else {
            return Some(Ok(0));
        };
        let digest = events.digests.blake3();
        let subject = told.subject.as_ref().map(|subject| subject.as_str().to_owned());
        let key = (digest, subject, told.non_revocable == NonRevocable::Keep);
        // Other receipts of the same events may have tokens that can be told.
        let known = self.known.get(&key).cloned();
        if let Some(Ok(_)) = known {
            return known;
        }
        if let Some(count) = self.by_tokens(node, told) {
            self.known.insert(key, Ok(count));
            return Some(Ok(count));
        }
        if known.is_some() {
            return known;
        }
        let (tokens, threads) = (self.places.tokens, self.places.threads);
        let counted = withdrawn(self.files(events), self.revocations, told, tokens, threads);
        let mut found =
            counted.map_err(|error| format!("the events that it let in: {}", crate::diagnostic::with_causes(&error)));
        if found == Ok(0) && told.subject.is_none() && self.revocations.name_persons() {
            found = Err("persons have withdrawn, and it was not told where events name one".to_owned());
        }
        self.known.insert(key, found.clone());
        Some(found)
    }

    fn told_of<'t>(&self, own: &'t Told) -> Cow<'t, Told> {
        let of_all = |all: &Told| Told {
            subject: own.subject.clone().or_else(|| all.subject.clone()),
            non_revocable: all.non_revocable,
        };
        self.told.map_or(Cow::Borrowed(own), |all| Cow::Owned(of_all(all)))
    }

    /// The same by the tokens that are kept of what it let in; nothing if there are none that could tell.
    fn by_tokens(&self, node: &Node, told: &Told) -> Option<u64> {
        let (root, secret) = node.population?;
        self.places.tokens.filter(|tokens| tokens.secret() == secret)?;
        // What is damaged tells nothing; the events may.
        let population = KeptPopulation::open(self.places.store, root).ok()??;
        let count = self.revocations.count_in(&population).ok()??;
        // A token does not say whether the consent can be withdrawn.
        (count == 0 || told.non_revocable == NonRevocable::Honour).then_some(count)
    }

    /// Where the bytes may be: in the store, else in their place. They are hashed as they are read.
    fn files(&self, events: &Made) -> impl Iterator<Item = Lying> {
        let store = self.places.store;
        let stored = store.cas().path(events.digests.blake3());
        let in_place = self.places.workspace.absolute(&events.path);
        let file = |absolute: Utf8PathBuf| {
            if !absolute.symlink_metadata().is_ok_and(|found| found.is_file()) {
                return None;
            }
            Some(InputFile {
                digest: Some(events.digests.plain_name(&absolute, store.key())?),
                absolute,
                name: events.path.clone(),
            })
        };
        let stored = file(stored).map(Lying::Stored);
        stored.into_iter().chain(file(in_place).map(Lying::InPlace))
    }
}

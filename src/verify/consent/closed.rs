//! What only an `ingest` may read.

use std::collections::{HashMap, HashSet};

use camino::Utf8Path;

use super::flow::Flow;
use crate::listing::ArtifactDigests;
use crate::plan::{stands_for, written_input};
use crate::receipt::statement::{Resource, Role};
use crate::stages::ingest::{EVENTS, REJECTS};

const RAW: &str = "events before consent was looked at";

/// What only an ingest may read, and why.
pub(super) struct Closed<'f, 'a> {
    flow: &'f Flow<'a>,
    by_name: HashMap<(&'a str, ArtifactDigests), &'static str>,
    by_digest: HashMap<ArtifactDigests, &'static str>,
    /// Folders and patterns of raw events whose files no receipt lists.
    unlisted: Vec<&'a Utf8Path>,
    /// What an ingest let through. Raw events that were all let through have the same bytes, and a copy of them may be read.
    let_through: HashSet<ArtifactDigests>,
}

impl<'f, 'a> Closed<'f, 'a> {
    pub(super) fn of(flow: &'f Flow<'a>) -> Self {
        let mut closed = Self {
            flow,
            by_name: HashMap::new(),
            by_digest: HashMap::new(),
            unlisted: Vec::new(),
            let_through: HashSet::new(),
        };
        let evidence = flow.evidence;
        let ingests = evidence.receipts.iter().enumerate();
        for (index, receipt) in ingests.filter(|(_, receipt)| receipt.signer.is_some() && receipt.statement.is_ingest())
        {
            for source in receipt.statement.dependencies() {
                closed.add_source(index, source);
            }
            for made in &receipt.statement.subject {
                match made.role() {
                    Role::Output { output, .. } if output == REJECTS => closed.add(made, "events that were rejected"),
                    Role::Output { output, .. } if output == EVENTS => {
                        closed.let_through.extend(flow.form.digests(made));
                    }
                    _ => {}
                }
            }
        }
        closed
    }

    /// Adds what an ingest has read, if it is raw events.
    fn add_source(&mut self, ingest: usize, source: &'a Resource) {
        let (input, maker) = match source.role() {
            Role::Input { input, receipt, .. } => (input, receipt.as_deref()),
            Role::Member { input, .. } => (input, None),
            _ => return,
        };
        if written_input(input) != EVENTS {
            return;
        }
        let Some(digests) = self.flow.form.digests(source) else {
            return;
        };
        // Another ingest may read what one has let through; that it does makes nothing raw.
        if self.flow.is_judged(source) {
            return;
        }
        match maker {
            None => self.add(source, RAW),
            // What it was made of may be the same bytes, and whoever prepares them has to read that: it is raw where it lies.
            Some(_) => drop(self.by_name.insert((&source.name, digests), RAW)),
        }
        let is_member = |role: &Role| matches!(role, Role::Member { input: of, .. } if of == input);
        let mut used = self.flow.evidence.receipts[ingest].statement.dependencies().iter();
        let is_listed = used.any(|used| is_member(used.role()));
        // Where an ingest reads other files now, what lies there is raw no more.
        if digests.is_folder() && !is_listed && self.flow.is_newest_of_stage(ingest) {
            self.unlisted.push(Utf8Path::new(&source.name));
        }
    }

    fn add(&mut self, resource: &'a Resource, why: &'static str) {
        if let Some(digests) = self.flow.form.digests(resource) {
            self.by_name.insert((&resource.name, digests), why);
            self.by_digest.insert(digests, why);
        }
    }

    /// Why a stage that is no ingest may not read `input`; a copy under another name is no other thing.
    pub(super) fn why(&self, reader: usize, input: &Resource) -> Option<&'static str> {
        let digests = self.flow.form.digests(input)?;
        let named = self.by_name.get(&(input.name.as_str(), digests)).copied();
        let named = named.or_else(|| self.is_unlisted(reader, input).then_some(RAW));
        // What a stage made of what was let through carries that, though an ingest may have read a copy of it.
        if named.is_some() || self.let_through.contains(&digests) || self.flow.is_made_of_judged(digests) {
            return named;
        }
        self.by_digest.get(&digests).copied()
    }

    /// Whether a source lies where raw events lie, of which nobody has a list.
    fn is_unlisted(&self, reader: usize, input: &Resource) -> bool {
        let is_source = matches!(input.role(), Role::Input { receipt: None, .. } | Role::Member { .. });
        let path = Utf8Path::new(&input.name);
        let mut unlisted = self.unlisted.iter();
        is_source && unlisted.any(|raw| stands_for(raw, path)) && !self.flow.is_judged_folder(reader, input)
    }
}

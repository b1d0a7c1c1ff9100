//! The consent of artifacts, found out along the receipts that made them.

use std::collections::HashMap;

use camino::Utf8Path;

use super::Form;
use crate::consent::purposes::{NONE, Purposes};
use crate::digest::Digest;
use crate::listing::ArtifactDigests;
use crate::receipt::digests::file_digests;
use crate::receipt::statement::{Resource, Role, Statement};
use crate::stages::ingest::{EVENTS, REJECTS};
use crate::verify::evidence::Evidence;

/// The consent of artifacts, found out along the receipts.
pub(super) struct Flow<'a> {
    pub(super) evidence: &'a Evidence,
    pub(super) form: Form<'a>,
    /// Who made these bytes, of the trusted receipts.
    makers: HashMap<ArtifactDigests, Vec<(usize, &'a str)>>,
    /// The folders that stages made, by path: each by whom, as which output, the latest last. No receipt lists what is in them.
    folders: HashMap<&'a Utf8Path, Vec<(usize, &'a str)>>,
    /// The latest success of each stage, by its pipeline and name.
    newest: HashMap<(&'a str, &'a str), usize>,
    /// For each receipt what those of its outputs carry that are not declassified; of an ingest, its events.
    carried: Vec<Option<&'a str>>,
}

impl<'a> Flow<'a> {
    pub(super) fn of(evidence: &'a Evidence, form: Form<'a>) -> Self {
        let mut flow = Self {
            evidence,
            form,
            makers: HashMap::new(),
            folders: HashMap::new(),
            newest: HashMap::new(),
            carried: vec![None; evidence.receipts.len()],
        };
        // Without an ingest nothing is of a person.
        if !evidence.receipts.iter().any(|receipt| receipt.statement.is_ingest()) {
            return flow;
        }
        let mut oldest_first = evidence.trusted();
        oldest_first.sort_by_key(|index| evidence.age(*index));
        for index in oldest_first {
            flow.add(index);
        }
        // Receipts mostly stand after those that they rest on; a file that is read where another pipeline has written it may not.
        // It is known after as many rounds as there are receipts at most, and mostly after two.
        let most = evidence
            .receipts
            .iter()
            .filter(|receipt| receipt.signer.is_some())
            .count();
        for _ in 0..=most {
            if !flow.go_on() {
                break;
            }
        }
        flow
    }

    /// Adds what a trusted receipt says that is later than those before.
    fn add(&mut self, index: usize) {
        let evidence = self.evidence;
        let statement = &evidence.receipts[index].statement;
        let Some(stage) = stage_of(statement) else {
            return;
        };
        if !statement.is_stage_success() {
            return;
        }
        self.newest.insert(stage, index);
        for made in &statement.subject {
            let (Role::Output { output, .. }, Some(digests)) = (made.role(), self.form.digests(made)) else {
                continue;
            };
            let makers = self.makers.entry(digests).or_default();
            if is_declassified(statement, output) {
                makers.retain(|(maker, other)| {
                    *other != output || stage_of(&evidence.receipts[*maker].statement) != Some(stage)
                });
            }
            makers.push((index, output));
            if digests.is_folder() {
                let folder = self.folders.entry(Utf8Path::new(&made.name)).or_default();
                folder.push((index, output));
            }
        }
    }

    /// Whether no later success of the same stage is here. One that failed has not changed what lies where.
    pub(super) fn is_newest_of_stage(&self, index: usize) -> bool {
        let stage = stage_of(&self.evidence.receipts[index].statement);
        let newest = stage.and_then(|stage| self.newest.get(&stage));
        newest.is_none_or(|newest| self.evidence.age(*newest) <= self.evidence.age(index))
    }

    /// Whether anything turned out to be narrower than it seemed.
    fn go_on(&mut self) -> bool {
        let mut is_narrower = false;
        for index in 0..self.evidence.receipts.len() {
            let receipt = &self.evidence.receipts[index];
            // Nothing rests on what nobody who is trusted has signed.
            if receipt.signer.is_none() {
                continue;
            }
            let statement = &receipt.statement;
            let carried = match statement.is_ingest() {
                true => {
                    let events = statement.subject.iter().find(|made| is_output(made, EVENTS));
                    let said = events.and_then(Resource::consent);
                    // One that says nothing lets in what covers its purpose.
                    Some(said.or(statement.external().purpose.as_deref()).unwrap_or(NONE))
                }
                false => {
                    let read = statement
                        .dependencies()
                        .iter()
                        .filter_map(|used| self.consent_of(index, used));
                    order(statement).narrowest(read)
                }
            };
            is_narrower |= std::mem::replace(&mut self.carried[index], carried) != carried;
        }
        is_narrower
    }

    /// The consent of what the stage of the receipt `reader` has read.
    fn consent_of(&self, reader: usize, used: &Resource) -> Option<&'a str> {
        match used.role() {
            Role::Input { receipt: Some(id), .. } => {
                let maker = self.evidence.spelled(id)?;
                let made = self.evidence.receipts[maker].statement.subject_named(&used.name)?;
                match made.role() {
                    Role::Output { output, .. } => self.consent_of_output(maker, output),
                    _ => None,
                }
            }
            // Of an empty file nothing can be told apart.
            Role::Input { receipt: None, .. } | Role::Member { .. } if is_empty(used) => None,
            // Whatever it is called: it is what was made.
            Role::Input { receipt: None, .. } | Role::Member { .. } => {
                let makers = self.makers.get(&self.form.digests(used)?).into_iter().flatten();
                let makers = makers.copied().chain(self.folders_of(reader, used));
                let consents = makers.filter_map(|(maker, output)| {
                    let order = order(&self.evidence.receipts[maker].statement);
                    Some((order, self.consent_of_output(maker, output)?))
                });
                narrowest(consents)
            }
            _ => None,
        }
    }

    /// The folders that a source lies in, as the last word is on them, if stages had made them when it was read. Of several that one stage has
    /// made after each other, the source itself among them, the last: they do not lie in each other if it makes them at once.
    fn folders_of(&self, reader: usize, used: &Resource) -> impl Iterator<Item = (usize, &'a str)> {
        let finished = |index: usize| self.evidence.age(index).0;
        let folders = Utf8Path::new(&used.name).ancestors().skip(1);
        let folders = folders.filter_map(move |folder| {
            let makers = self.folders.get(folder)?;
            let was_there = finished(makers.first()?.0) <= finished(reader);
            makers.last().copied().filter(|_| was_there)
        });
        let found: Vec<_> = folders.collect();
        let made = (!found.is_empty()).then(|| self.makers_in_place(used).map(|(maker, _)| maker));
        let made: Vec<usize> = made.into_iter().flatten().collect();
        let stage = |index: usize| stage_of(&self.evidence.receipts[index].statement);
        let all: Vec<usize> = found.iter().map(|(maker, _)| *maker).chain(made).collect();
        found.into_iter().filter(move |(maker, _)| {
            let mut others = all.iter();
            !others.any(|other| stage(*other) == stage(*maker) && self.evidence.age(*maker) < self.evidence.age(*other))
        })
    }

    /// Who made these bytes in this place.
    fn makers_in_place(&self, used: &Resource) -> impl Iterator<Item = (usize, &'a str)> {
        let makers = self.form.digests(used).and_then(|digests| self.makers.get(&digests));
        let makers = makers.into_iter().flatten().copied();
        makers.filter(|(maker, output)| {
            let mut made = self.evidence.receipts[*maker].statement.subject.iter();
            made.any(|made| made.name == used.name && is_output(made, output))
        })
    }

    /// Whether an ingest had let through what these bytes, in this place, were made of.
    pub(super) fn is_judged(&self, used: &Resource) -> bool {
        let mut makers = self.makers_in_place(used);
        makers.any(|(maker, output)| self.consent_of_output(maker, output).is_some())
    }

    /// Whether a stage made these bytes of what an ingest had let through.
    pub(super) fn is_made_of_judged(&self, digests: ArtifactDigests) -> bool {
        let mut makers = self.makers.get(&digests).into_iter().flatten();
        makers.any(|(maker, output)| {
            self.consent_of_output(*maker, output)
                .is_some_and(|consent| consent != NONE)
        })
    }

    /// Whether a source lies in a folder that a stage made of what an ingest had let through.
    pub(super) fn is_judged_folder(&self, reader: usize, used: &Resource) -> bool {
        let mut folders = self.folders_of(reader, used);
        folders.any(|(maker, output)| self.consent_of_output(maker, output).is_some())
    }

    /// Whether it is a source that may hold events, for all that can be told.
    pub(super) fn is_untold(&self, used: &Resource) -> bool {
        let is_source = matches!(used.role(), Role::Input { receipt: None, .. } | Role::Member { .. });
        is_source && !self.makers.is_empty() && self.form.is_untold(used)
    }

    fn consent_of_output(&self, maker: usize, output: &str) -> Option<&'a str> {
        let statement = &self.evidence.receipts[maker].statement;
        match (statement.is_ingest(), output) {
            (true, EVENTS) => self.carried[maker],
            (true, REJECTS) => Some(NONE),
            (true, _) => None,
            (false, _) => self.carried[maker].filter(|_| !is_declassified(statement, output)),
        }
    }

    /// What is wrong with the stage of the receipt `reader` having read `used`.
    pub(super) fn fault(&self, reader: usize, used: &Resource) -> Option<String> {
        let consent = self.consent_of(reader, used)?;
        let receipt = &self.evidence.receipts[reader];
        let (stage, _) = receipt.statement.stage()?;
        // By the order of whoever read it: a word that is none of it covers nothing.
        let purposes = order(&receipt.statement);
        let purpose = stage
            .requires
            .as_deref()
            .or(receipt.statement.external().purpose.as_deref());
        match purpose {
            Some(purpose) if purposes.covers(consent, purpose) => {}
            Some(purpose) => {
                return Some(format!(
                    "carries consent to `{consent}`, and was read by a stage that is for `{purpose}`"
                ));
            }
            None => {
                return Some(format!(
                    "carries consent to `{consent}`, and was read by a stage that states no purpose"
                ));
            }
        }
        let said = used.consent().filter(|said| !purposes.covers(consent, said))?;
        Some(format!(
            "carries consent to `{consent}`, and the stage that has read it says `{said}`"
        ))
    }
}

/// What a stage is called: its pipeline's name and its own.
fn stage_of(statement: &Statement) -> Option<(&str, &str)> {
    let (stage, _) = statement.stage()?;
    Some((&statement.external().pipeline, &stage.name))
}

fn is_declassified(statement: &Statement, output: &str) -> bool {
    let mut declassified = statement.stage().into_iter().flat_map(|(stage, _)| &stage.declassify);
    declassified.any(|name| name == output)
}

fn order(statement: &Statement) -> Purposes {
    statement.purposes().unwrap_or_default()
}

/// The narrowest of consents, each in an order of its own. Of two that no order has both, none is known to be narrower: [`NONE`].
fn narrowest<'a>(consents: impl Iterator<Item = (Purposes, &'a str)>) -> Option<&'a str> {
    consents
        .reduce(|(order, one), (_, other)| {
            let narrower = order.narrowest([one, other]).unwrap_or(NONE);
            (order, narrower)
        })
        .map(|(_, consent)| consent)
}

fn is_empty(used: &Resource) -> bool {
    file_digests(used).is_some_and(|digests| digests.blake3 == Digest::of(b""))
}

fn is_output(made: &Resource, name: &str) -> bool {
    matches!(made.role(), Role::Output { output, .. } if output == name)
}

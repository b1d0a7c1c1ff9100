//! What receipts can show of consent: nobody but `ingest` has read raw or rejected events, and what each stage has read covers what
//! it was for. That `ingest` itself did what it should is its receipt's word.
//!
//! What a stage says of the consent of its inputs is not believed: it is found out again, from the receipts that made them, back to
//! the ingests.

use std::collections::{BTreeSet, HashMap, HashSet};

use super::evidence::{Evidence, Known};
use super::report::{Code, Finding};
use crate::commitment::PersonalKey;
use crate::consent::purposes::{NONE, Purposes};
use crate::digest::Digest;
use crate::listing::ArtifactDigests;
use crate::receipt::digests::{artifact_digests, file_digests};
use crate::receipt::statement::{Outcome, Resource, Role, Statement};
use crate::stages::ingest::{EVENTS, REJECTS};

/// Checks the receipts that the answer rests on.
pub(super) fn check<'a>(evidence: &'a Evidence, basis: &[usize], key: Option<&'a PersonalKey>) -> Judged<'a> {
    let form = Form::of(evidence, key);
    let closed = Closed::of(evidence, form);
    let flow = Flow::of(evidence, form);
    let mut judged = Judged::default();
    for index in basis {
        let receipt = &evidence.receipts[*index];
        if receipt.statement.stage().is_none() || receipt.statement.is_ingest() {
            continue;
        }
        // A stage that was refused has read nothing, and a built-in one that refused has written nothing.
        if receipt.statement.internal().outcome == Outcome::Refused {
            continue;
        }
        for used in receipt.statement.dependencies() {
            if let Some(why) = closed.why(used) {
                let message = format!("a stage other than ingest has read it, and it holds {why}");
                let finding = Finding::new(Code::Consent, message).file(&used.name);
                judged.findings.push(finding.receipt(&receipt.id));
            } else if let Some(message) = flow.fault(receipt, used) {
                let finding = Finding::new(Code::Consent, message).file(&used.name);
                judged.findings.push(finding.receipt(&receipt.id));
            } else if flow.is_untold(used) {
                judged.untold.insert(&used.name);
            }
        }
    }
    judged
}

/// What was found.
#[derive(Default)]
pub(super) struct Judged<'a> {
    pub(super) findings: Vec<Finding>,
    /// Personal sources of which nobody can tell without the secret whether any stage made them.
    untold: BTreeSet<&'a str>,
}

impl Judged<'_> {
    /// What could not be checked, in a line.
    pub(super) fn not_checked(&self) -> Option<String> {
        let first = self.untold.first()?;
        let more = match self.untold.len() {
            1 => String::new(),
            count => format!(" and {} more", count - 1),
        };
        Some(format!(
            "consent: whether `{first}`{more}, which is personal, holds events: without the secret its bytes are nobody's"
        ))
    }
}

/// The form in which digests are compared: all keyed, if anything is and the key is here, so that bytes are the same whatever they are
/// called.
#[derive(Clone, Copy)]
struct Form<'a> {
    key: Option<&'a PersonalKey>,
    /// Whether anything is keyed.
    is_any: bool,
}

impl<'a> Form<'a> {
    fn of(evidence: &Evidence, key: Option<&'a PersonalKey>) -> Self {
        let is_any = evidence.receipts.iter().any(|receipt| receipt.statement.is_personal());
        let key = key.filter(|_| is_any);
        Self { key, is_any }
    }

    fn digests(self, resource: &Resource) -> Option<ArtifactDigests> {
        let digests = artifact_digests(resource)?;
        Some(digests.keyed_by(self.key))
    }

    /// Whether nobody can tell whether it has the bytes of another.
    fn is_untold(self, resource: &Resource) -> bool {
        let by_another = |digests| matches!(digests, ArtifactDigests::Keyed(found) if self.key.map(PersonalKey::id) != Some(found.key));
        self.is_any && self.digests(resource).is_some_and(by_another)
    }
}

/// What only an ingest may read, and why.
struct Closed<'a> {
    form: Form<'a>,
    by_name: HashMap<(&'a str, ArtifactDigests), &'static str>,
    by_digest: HashMap<ArtifactDigests, &'static str>,
    /// What an ingest let through. Raw events that were all let through have the same bytes, and a copy of them may be read.
    let_through: HashSet<ArtifactDigests>,
}

impl<'a> Closed<'a> {
    fn of(evidence: &'a Evidence, form: Form<'a>) -> Self {
        let mut closed = Self {
            form,
            by_name: HashMap::new(),
            by_digest: HashMap::new(),
            let_through: HashSet::new(),
        };
        let ingests = evidence.receipts.iter();
        for receipt in ingests.filter(|receipt| receipt.signer.is_some() && receipt.statement.is_ingest()) {
            for source in receipt.statement.dependencies() {
                if let Role::Input {
                    input, receipt: None, ..
                }
                | Role::Member { input, .. } = source.role()
                    && input == EVENTS
                {
                    closed.add(source, "events before consent was looked at");
                }
            }
            for made in &receipt.statement.subject {
                match made.role() {
                    Role::Output { output, .. } if output == REJECTS => closed.add(made, "events that were rejected"),
                    Role::Output { output, .. } if output == EVENTS => {
                        closed.let_through.extend(form.digests(made));
                    }
                    _ => {}
                }
            }
        }
        closed
    }

    fn add(&mut self, resource: &'a Resource, why: &'static str) {
        if let Some(digests) = self.form.digests(resource) {
            self.by_name.insert((&resource.name, digests), why);
            self.by_digest.insert(digests, why);
        }
    }

    /// Why a stage that is no ingest may not read `input`; a copy under another name is no other thing.
    fn why(&self, input: &Resource) -> Option<&'static str> {
        let digests = self.form.digests(input)?;
        let is_let_through = self.let_through.contains(&digests);
        let copied = self.by_digest.get(&digests).filter(|_| !is_let_through);
        let named = self.by_name.get(&(input.name.as_str(), digests));
        named.or(copied).copied()
    }
}

/// The consent of artifacts, found out along the receipts.
struct Flow<'a> {
    evidence: &'a Evidence,
    form: Form<'a>,
    /// Who made these bytes, of the trusted receipts.
    makers: HashMap<ArtifactDigests, Vec<(usize, &'a str)>>,
    /// For each receipt what those of its outputs carry that are not declassified; of an ingest, its events.
    carried: Vec<Option<&'a str>>,
}

impl<'a> Flow<'a> {
    fn of(evidence: &'a Evidence, form: Form<'a>) -> Self {
        let mut flow = Self {
            evidence,
            form,
            makers: HashMap::new(),
            carried: vec![None; evidence.receipts.len()],
        };
        // Without an ingest nothing is of a person.
        if !evidence.receipts.iter().any(|receipt| receipt.statement.is_ingest()) {
            return flow;
        }
        for (index, receipt) in (0..).zip(&evidence.receipts) {
            if receipt.signer.is_none() || !receipt.statement.is_stage_success() {
                continue;
            }
            for made in &receipt.statement.subject {
                if let (Role::Output { output, .. }, Some(digests)) = (made.role(), form.digests(made)) {
                    flow.makers.entry(digests).or_default().push((index, output));
                }
            }
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
                    let read = statement.dependencies().iter().filter_map(|used| self.consent_of(used));
                    order(statement).narrowest(read)
                }
            };
            is_narrower |= std::mem::replace(&mut self.carried[index], carried) != carried;
        }
        is_narrower
    }

    /// The consent of what a stage has read.
    fn consent_of(&self, used: &Resource) -> Option<&'a str> {
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
                let makers = self.makers.get(&self.form.digests(used)?)?.iter();
                let consents = makers.filter_map(|(maker, output)| {
                    let order = order(&self.evidence.receipts[*maker].statement);
                    Some((order, self.consent_of_output(*maker, output)?))
                });
                narrowest(consents)
            }
            _ => None,
        }
    }

    /// Whether it is a source that may hold events, for all that can be told.
    fn is_untold(&self, used: &Resource) -> bool {
        let is_source = matches!(used.role(), Role::Input { receipt: None, .. } | Role::Member { .. });
        is_source && !self.makers.is_empty() && self.form.is_untold(used)
    }

    fn consent_of_output(&self, maker: usize, output: &str) -> Option<&'a str> {
        let statement = &self.evidence.receipts[maker].statement;
        match (statement.is_ingest(), output) {
            (true, EVENTS) => self.carried[maker],
            (true, REJECTS) => Some(NONE),
            (true, _) => None,
            (false, _) => {
                let (stage, _) = statement.stage()?;
                let is_declassified = stage.declassify.iter().any(|name| name == output);
                self.carried[maker].filter(|_| !is_declassified)
            }
        }
    }

    /// What is wrong with `receipt` having read `used`.
    fn fault(&self, receipt: &Known, used: &Resource) -> Option<String> {
        let consent = self.consent_of(used)?;
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

//! Was an event used? A proof, held against the trusted receipt that it names.

use serde::Serialize;

use super::evidence::{self, Evidence, Known};
use super::logs::Logs;
use super::render::{Line, Tone, finding_lines};
use super::report::{Code, Finding, Severity, State};
use super::{VerifyError, authority, history, nobody_is_trusted, signer_name};
use crate::consent::map::Membership;
use crate::consent::proof::{Proof, ReadProofError};
use crate::consent::secret::ConsentSecret;
use crate::consent::token::{Token, TokenKey, Tokens};
use crate::exit_code::ExitCode;
use crate::receipt::digests::artifact_digests;
use crate::receipt::statement::{PopulationRecord, Resource, Role, Statement};
use crate::receipt::trust::{Trust, TrustRoot};
use crate::stages::ingest::EVENTS;
use crate::tree::Site;

/// What a proof is held against.
pub struct ProofRequest<'a> {
    /// Where receipts lie.
    pub site: &'a dyn Site,
    /// Whom to believe.
    pub trust: Option<&'a Trust>,
    /// The proof, as far as it could be read.
    pub proof: Result<&'a Proof, &'a ReadProofError>,
    /// The event that it should be about.
    pub event: Option<&'a str>,
    /// By what it is shown that the key in the proof is that event's own.
    pub own: Option<OwnKey<'a>>,
}

/// By what the event's own key is known.
#[derive(Clone, Copy)]
pub enum OwnKey<'a> {
    /// By the secret that it is made of.
    Secret(&'a ConsentSecret),
    /// It was given to the person.
    Given(&'a TokenKey),
}

/// What a proof shows, and under which conditions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ProofReport {
    /// The version of this object.
    pub version: u32,
    /// Whom the verdict rests on; none if nobody is trusted.
    pub trust: Option<String>,
    /// `included` or `absent`, if the proof holds.
    pub membership: Option<&'static str>,
    /// What is shown, or what is said to be.
    pub statement: String,
    /// The receipt that the proof names.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub receipt: Option<String>,
    /// What was checked, each by itself.
    pub assurance: ProofAssurance,
    /// Worst first.
    pub findings: Vec<Finding>,
    /// On what it rests that no proof shows.
    pub conditions: Vec<String>,
}

/// What was checked of a proof.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ProofAssurance {
    /// The path leads to the root that the receipt has.
    pub map: State,
    /// The receipt is by a trusted key.
    pub signature: State,
    /// The receipt is in a log that holds.
    pub log: State,
    /// The proof is about the event that was asked about.
    pub event: State,
    /// Its key is that event's own.
    pub key: State,
    /// The ingest was run again by another trusted key, which countersigned it.
    pub rerun: State,
}

impl ProofReport {
    /// 4 if the proof is wrong, 6 if something cannot be told, else 0.
    #[must_use]
    pub fn exit_code(&self) -> ExitCode {
        match self.findings.iter().map(|finding| finding.severity).min() {
            Some(Severity::Failure) => ExitCode::VerificationFailed,
            Some(Severity::NotReproduced | Severity::Inconclusive) => ExitCode::Inconclusive,
            Some(Severity::Warning) | None => ExitCode::Success,
        }
    }

    /// One versioned object for other programs.
    #[must_use]
    pub fn to_json(&self) -> serde_json::Value {
        let mut value = serde_json::to_value(self).expect("texts, numbers and lists have a spelling");
        value["exitCode"] = self.exit_code().number().into();
        value
    }

    /// The report in words.
    #[must_use]
    pub fn lines(&self) -> Vec<Line> {
        let (tone, verdict) = match self.exit_code() {
            ExitCode::Success => (Tone::Good, "proven"),
            ExitCode::VerificationFailed => (Tone::Bad, "not proven"),
            _ => (Tone::Caution, "inconclusive"),
        };
        let line = |tone, text: String| Line { tone, text };
        let trust = self.trust.as_deref().unwrap_or("nobody");
        let mut lines = vec![
            line(tone, format!("{verdict}: {}", self.statement)),
            line(Tone::Plain, format!("  trusted: {trust}")),
        ];
        let checked = &self.assurance;
        let named = [
            ("map", checked.map),
            ("signature", checked.signature),
            ("log", checked.log),
            ("event", checked.event),
            ("key", checked.key),
            ("rerun", checked.rerun),
        ];
        for (state, words) in [
            (State::Held, "held:        "),
            (State::Failed, "failed:      "),
            (State::NotChecked, "not checked: "),
        ] {
            let of_state = named.iter().filter(|(_, found)| *found == state).map(|(name, _)| *name);
            let names: Vec<&str> = of_state.collect();
            if !names.is_empty() {
                lines.push(line(Tone::Plain, format!("  {words}{}", names.join(", "))));
            }
        }
        lines.extend(self.findings.iter().flat_map(finding_lines));
        lines.push(line(Tone::Plain, "under these conditions:".to_owned()));
        let conditions = self.conditions.iter();
        lines.extend(conditions.map(|condition| line(Tone::Plain, format!("  - {condition}"))));
        lines
    }
}

/// Verifies a proof.
///
/// # Errors
///
/// [`VerifyError`] if the folder of receipts cannot be read. Everything else is a finding of the report.
pub fn verify_proof(request: &ProofRequest<'_>) -> Result<ProofReport, VerifyError> {
    let mut report = ProofReport {
        version: 1,
        trust: request.trust.map(Trust::describe),
        membership: None,
        statement: "nothing is shown".to_owned(),
        receipt: None,
        assurance: ProofAssurance::default(),
        findings: Vec::new(),
        conditions: vec![DECLARED.to_owned(), USED.to_owned(), LATER.to_owned()],
    };
    let proof = match request.proof {
        Ok(proof) => proof,
        Err(error) => {
            report.fail(error.to_string());
            report.assurance.map = State::Failed;
            return Ok(report);
        }
    };
    report.receipt = Some(proof.receipt.to_string());
    report.examine(request, proof)?;
    report
        .findings
        .sort_by(|a, b| super::finding_order(a).cmp(&super::finding_order(b)));
    report.findings.dedup();
    Ok(report)
}

const DECLARED: &str = "the set is what whoever ran the ingest declared; that nothing else was let in is shown by running the ingest again \
                        (`madmall verify --rerun`), which gives the same output from the same input, and by counting";
const USED: &str = "that the stages after it read no other events is the word of their receipts, which name what each has read and what its sandbox \
                    enforced (`madmall verify`)";
const LATER: &str = "it is about this one run of the ingest, not about others before or after it";

impl ProofReport {
    /// Holds the proof against the receipt that it names, and that against whoever is trusted.
    fn examine(&mut self, request: &ProofRequest<'_>, proof: &Proof) -> Result<(), VerifyError> {
        let trusted = request.trust.map_or(&[][..], |trust| &trust.keys);
        let (mut evidence, found) = evidence::gather(request.site, trusted)?;
        let (logs, misplaced) = Logs::gather(request.site, request.trust)?;
        authority::apply(&mut evidence, trusted, &logs);
        evidence.index();
        if trusted.is_empty() {
            self.findings.push(nobody_is_trusted());
        }
        let is_sound = self.check_map(proof);
        let Some(index) = evidence.by_id.get(&proof.receipt).copied() else {
            let message = "the receipt that the proof names is not here: it cannot be told whose word the root is";
            let help = "go to the project that it is of, or name it, or a bundle of it, with `--in`";
            let finding = Finding::new(Code::Absent, message).receipt(&proof.receipt).help(help);
            self.findings.push(finding);
            // A line that is broken may be the one.
            self.findings.extend(found);
            return Ok(());
        };
        let receipt = &evidence.receipts[index];
        let is_of_file = |finding: &Finding| finding.file.as_deref() == Some(receipt.file.as_str());
        self.findings.extend(found.into_iter().filter(is_of_file));
        let (signature, why) = signature_of(receipt, request.trust);
        self.assurance.signature = signature;
        self.findings.extend(why);
        let is_of = self.check_population(proof, receipt);
        let signer = signer_name(trusted, receipt.signer);
        self.say(request, proof, (receipt, &signer), is_sound && is_of);
        self.check_key(request, proof, &receipt.statement);
        let history = history::check(&logs, &evidence, &[index]);
        self.assurance.log = history.state;
        self.findings.extend(misplaced.into_iter().chain(history.findings));
        self.check_rerun(&evidence, receipt);
        Ok(())
    }

    fn fail(&mut self, message: impl Into<String>) {
        self.findings.push(Finding::new(Code::Proof, message));
    }

    fn check_map(&mut self, proof: &Proof) -> bool {
        let checked = proof.check();
        self.assurance.map = match &checked {
            Ok(()) => State::Held,
            Err(_) => State::Failed,
        };
        if let Err(error) = &checked {
            self.fail(error.to_string());
        }
        checked.is_ok()
    }

    /// Whether the set is that of the receipt.
    fn check_population(&mut self, proof: &Proof, receipt: &Known) -> bool {
        let message = match population_of(&receipt.statement) {
            None => "the receipt that the proof names is not that of an ingest which names its events",
            Some(named) if named.root != proof.root.to_hex() || named.size != proof.size => {
                "the receipt that the proof names has another set of events"
            }
            Some(_) => return true,
        };
        self.assurance.map = State::Failed;
        let finding = Finding::new(Code::Proof, message)
            .file(&receipt.file)
            .line(receipt.line);
        self.findings.push(finding.receipt(&receipt.id));
        false
    }

    /// Says what is shown, if it is.
    fn say(&mut self, request: &ProofRequest<'_>, proof: &Proof, (receipt, signer): (&Known, &str), holds: bool) {
        let (word, verb) = match proof.membership {
            Membership::Included => ("included", "is"),
            Membership::Absent => ("absent", "is not"),
        };
        let who = match request.event {
            Some(_) => "the event",
            None => "what has the token in the proof",
        };
        let stage = receipt.statement.stage().map_or("", |(stage, _)| stage.name.as_str());
        let said = format!(
            "{who} {verb} among the {} events that stage `{stage}` of `{}` let in, in run {} (signed by {signer})",
            proof.size,
            receipt.statement.external().pipeline_file,
            receipt.statement.metadata().invocation_id,
        );
        match holds {
            true => {
                self.membership = Some(word);
                self.statement = said;
            }
            false => self.statement = format!("the proof says that {said}; it does not show it"),
        }
        let events = receipt.statement.subject.iter().find(|made| is_events(made));
        if let Some(made) = events {
            let digest = artifact_digests(made).map_or_else(String::new, |digests| digests.public());
            self.conditions
                .insert(0, format!("what was let in is `{}` ({digest})", made.name));
        }
    }

    /// Whether the proof is about the event, and its key is that event's own.
    fn check_key(&mut self, request: &ProofRequest<'_>, proof: &Proof, statement: &Statement) {
        let Some(id) = request.event else {
            let message = "it was not said which event the proof is about: a prover could have chosen any token";
            self.cannot(
                message,
                "name it with `--event ID`, and `--secret FILE` or `--event-key KEY`",
            );
            return;
        };
        if Token::of(&proof.key, id) != proof.token {
            self.assurance.event = State::Failed;
            self.fail("the proof is not about this event: its token is another by the key that the proof has");
            return;
        }
        self.assurance.event = State::Held;
        let own = match request.own {
            None => {
                let message = "that the key in the proof is the event's own was not shown: a prover could have chosen another, and with it another token";
                self.cannot(
                    message,
                    "give the secret with `--secret FILE`, or the key that the person was given with `--event-key KEY`",
                );
                return;
            }
            Some(OwnKey::Given(key)) => key.clone(),
            Some(OwnKey::Secret(secret)) => {
                if population_of(statement).is_some_and(|named| named.secret != secret.id().to_hex()) {
                    let message = "the secret that was given is not the one that the receipt names: it cannot show whose the key is";
                    self.cannot(message, "give the secret that the ingest was run with");
                    return;
                }
                Tokens::by(secret).key(id)
            }
        };
        match own == proof.key {
            true => self.assurance.key = State::Held,
            false => {
                self.assurance.key = State::Failed;
                self.fail("the key in the proof is not the event's own: the prover has chosen another, and with it another token");
            }
        }
        if matches!(request.own, Some(OwnKey::Given(_))) {
            let text = "that the key given is the event's own is the word of whoever gave it to the person";
            self.conditions.push(text.to_owned());
        }
    }

    fn cannot(&mut self, message: &str, help: &str) {
        let finding = Finding::new(Code::Proof, message).severity(Severity::Inconclusive);
        self.findings.push(finding.help(help));
    }

    /// Whether somebody else has run the ingest again and signed that it came out the same.
    fn check_rerun(&mut self, evidence: &Evidence, receipt: &Known) {
        let is_other =
            |other: &&Known| other.id == receipt.id && other.keyid != receipt.keyid && other.signer.is_some();
        let text = match evidence.receipts.iter().find(is_other) {
            Some(_) => {
                self.assurance.rerun = State::Held;
                "the ingest was run again under another trusted key and its outputs came out the same; the set itself was not made again"
            }
            None => "nobody else who is trusted has run the ingest again (`madmall verify --rerun --attest RUN` does)",
        };
        self.conditions.push(text.to_owned());
    }
}

fn signature_of(receipt: &Known, trust: Option<&Trust>) -> (State, Option<Finding>) {
    if receipt.signer.is_some() {
        return (State::Held, None);
    }
    let message = format!(
        "the receipt that the proof names is by a key that is not trusted ({})",
        receipt.stranger()
    );
    let finding = Finding::new(Code::Key, message)
        .file(&receipt.file)
        .line(receipt.line)
        .receipt(&receipt.id);
    match trust.map(|trust| &trust.root) {
        Some(TrustRoot::Given { .. }) => (State::Failed, Some(finding.severity(Severity::Failure))),
        _ => (State::NotChecked, Some(finding)),
    }
}

pub(super) fn population_of(statement: &Statement) -> Option<&PopulationRecord> {
    statement.stage()?.1.population.as_ref()
}

fn is_events(made: &Resource) -> bool {
    matches!(made.role(), Role::Output { output, .. } if output == EVENTS)
}

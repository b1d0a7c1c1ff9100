//! `madmall log compare`: two copies of logs.

use std::collections::{BTreeMap, BTreeSet};

use camino::Utf8PathBuf;
use serde_json::{Value, json};

use crate::cli::runs;
use crate::cli::surroundings::Surroundings;
use crate::cli::terminal::{DIM, ERROR, Failure, GOOD, Terminal, WARNING, shown, warn, with_causes};
use crate::exit_code::ExitCode;
use crate::log::LogId;
use crate::log::compare::{CompareError, Copy, Difference, Relation, compare as relation_of, open};
use crate::receipt::trust::Trust;

/// Arguments of `log compare`.
#[derive(clap::Args)]
pub(super) struct CompareArguments {
    /// A project, its `runs`, the folder of a log, or a checkpoint
    #[arg(value_name = "A")]
    a: Utf8PathBuf,
    /// The same
    #[arg(value_name = "B")]
    b: Utf8PathBuf,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

type Copies = BTreeMap<LogId, Copy>;

/// Compares.
pub(super) fn compare(
    arguments: &CompareArguments,
    surroundings: &Surroundings,
    terminal: &mut Terminal,
) -> Result<ExitCode, Failure> {
    let trust = runs::trust(surroundings)?;
    let a = read(&arguments.a, surroundings, trust.as_ref(), terminal)?;
    let b = read(&arguments.b, surroundings, trust.as_ref(), terminal)?;
    let logs: BTreeSet<&LogId> = a.keys().chain(b.keys()).collect();
    let mut compared = Vec::new();
    let mut listed = Vec::new();
    for log in logs {
        let (a, b) = (a.get(log), b.get(log));
        let relation = a.zip(b).map(|(a, b)| relation_of(a, b));
        match arguments.json {
            true => listed.push(described(log, a, b, relation.as_ref(), trust.as_ref())),
            false => tell(log, (a, b), relation.as_ref(), trust.as_ref(), terminal),
        }
        compared.extend(relation);
    }
    if arguments.json {
        terminal.result(json!({ "version": 1, "logs": listed }));
    }
    let is_forked = |relation: &Relation| matches!(relation, Relation::Forked { .. });
    Ok(if compared.iter().any(is_forked) {
        ExitCode::VerificationFailed
    } else if compared.iter().any(|relation| *relation != Relation::Unknown) {
        ExitCode::Success
    } else {
        ExitCode::Inconclusive
    })
}

fn read(
    path: &Utf8PathBuf,
    surroundings: &Surroundings,
    trust: Option<&Trust>,
    terminal: &mut Terminal,
) -> Result<Copies, Failure> {
    let keys = |log: &LogId| {
        let signers = trust.into_iter().flat_map(|trust| trust.signers_of(log));
        signers.map(|key| key.key).collect()
    };
    let copies = open(&surroundings.folder.join(path), &keys).map_err(|error| {
        let code = match error {
            CompareError::Neither { .. } => ExitCode::Inconclusive,
            CompareError::Read { .. } | CompareError::Log { .. } => ExitCode::Refused,
        };
        Failure::new(code, shown(&with_causes(&error)), None)
    })?;
    for (log, copy) in &copies {
        if let Some(fault) = copy.faults.first() {
            let more = copy.faults.len() - 1;
            let text = format!(
                "{path}: log {log}: `{}` {}; {more} more faults",
                fault.file, fault.message
            );
            warn(terminal, shown(&text));
        }
    }
    Ok(copies)
}

fn signer<'a>(log: &LogId, copy: &Copy, trust: Option<&'a Trust>) -> Option<&'a str> {
    let key = trust?.signers_of(log).nth(copy.signer?)?;
    Some(&key.name)
}

fn tell(
    log: &LogId,
    (a, b): (Option<&Copy>, Option<&Copy>),
    relation: Option<&Relation>,
    trust: Option<&Trust>,
    terminal: &mut Terminal,
) {
    let size = |copy: Option<&Copy>| copy.map_or(0, |copy| copy.head.size);
    let (of_a, of_b) = (size(a), size(b));
    let (style, text) = match relation {
        None if b.is_none() => (DIM, format!("only in A, {of_a} entries")),
        None => (DIM, format!("only in B, {of_b} entries")),
        Some(Relation::Equal) => (GOOD, format!("equal, {of_a} entries")),
        Some(Relation::Extends) => (GOOD, format!("A goes on from B, {of_b} to {of_a} entries")),
        Some(Relation::Extended) => (GOOD, format!("B goes on from A, {of_a} to {of_b} entries")),
        Some(Relation::Forked { .. }) => (ERROR, format!("FORKED, {of_a} entries in A and {of_b} in B")),
        Some(Relation::Unknown) => {
            let text =
                format!("not compared, {of_a} entries in A and {of_b} in B: the longer one does not have its tiles");
            (WARNING, text)
        }
    };
    terminal.result(format_args!("{}  {style}{text}{style:#}", log.origin()));
    if let Some(Relation::Forked { first }) = relation {
        for line in details(first.as_ref()) {
            terminal.result(format_args!("  {line}"));
        }
    }
    for (name, copy) in [("A", a), ("B", b)] {
        let Some(copy) = copy else { continue };
        let signer = signer(log, copy, trust).map_or("nobody who is trusted".to_owned(), shown);
        terminal.result(format_args!(
            "{DIM}  {name}: {} signed by {signer}{DIM:#}",
            copy.checkpoint()
        ));
    }
}

fn details(first: Option<&Difference>) -> Vec<String> {
    let Some(Difference { index, receipts }) = first else {
        return vec!["the roots contradict each other; without the entries it cannot be told where".to_owned()];
    };
    let mut lines = vec![format!("the first entry that differs is {index}:")];
    for (name, receipt) in ["A", "B"].iter().zip(receipts) {
        let receipt = receipt.map_or("a receipt whose entry is damaged".to_owned(), |id| id.to_string());
        lines.push(format!("  {name}: {receipt}"));
    }
    lines
}

fn described(
    log: &LogId,
    a: Option<&Copy>,
    b: Option<&Copy>,
    relation: Option<&Relation>,
    trust: Option<&Trust>,
) -> Value {
    let word = match relation {
        None if b.is_none() => "only-a",
        None => "only-b",
        Some(Relation::Equal) => "equal",
        Some(Relation::Extends) => "a-extends-b",
        Some(Relation::Extended) => "b-extends-a",
        Some(Relation::Forked { .. }) => "forked",
        Some(Relation::Unknown) => "not-compared",
    };
    let copy = |copy: Option<&Copy>| {
        copy.map(|copy| {
            json!({
                "size": copy.head.size, "root": copy.head.root.to_hex(), "signer": signer(log, copy, trust),
                "faults": copy.faults.len(),
            })
        })
    };
    let mut described = json!({ "log": log.origin(), "relation": word, "a": copy(a), "b": copy(b) });
    if let Some(Relation::Forked {
        first: Some(Difference { index, receipts }),
    }) = relation
    {
        let [a, b] = receipts.map(|id| id.map(|id| id.to_string()));
        described["firstDifference"] = json!({ "index": index, "a": a, "b": b });
    }
    described
}

//! `madmall consent prove`: a proof in a file that an event was used, or was not.

use camino::{Utf8Path, Utf8PathBuf};

use crate::cli::opened::find_workspace;
use crate::cli::out;
use crate::cli::runs;
use crate::cli::surroundings::Surroundings;
use crate::cli::terminal::{Failure, Terminal, environment, shown, with_causes};
use crate::consent::map::{Membership, Root};
use crate::consent::population::KeptPopulation;
use crate::consent::proof::Proof;
use crate::consent::secret::ConsentSecret;
use crate::consent::token::Tokens;
use crate::exit_code::ExitCode;
use crate::history::runs::run_ids;
use crate::stages::ingest::fault::grouped;
use crate::store::{Store, atomic};
use crate::verify::{Ingest, ingests};
use crate::workspace::Workspace;

/// Arguments of `consent prove`.
#[derive(clap::Args)]
pub(super) struct ProveArguments {
    /// The event, by its id; the proof does not name it
    #[arg(long, value_name = "ID", value_parser = parse_id)]
    event: String,
    /// As this run used events (default: the newest in which an ingest has run)
    #[arg(long, value_name = "RUN")]
    run: Option<String>,
    /// Of this ingest, if the run has several
    #[arg(long, value_name = "STAGE")]
    stage: Option<String>,
    /// Write it to this file, instead of standard output
    #[arg(short, long, alias = "out", value_name = "FILE")]
    output: Option<Utf8PathBuf>,
}

pub(in crate::cli) fn parse_id(text: &str) -> Result<String, String> {
    match text.is_empty() || text.contains(char::is_control) {
        true => Err("no event has such an id".to_owned()),
        false => Ok(text.to_owned()),
    }
}

/// Writes the proof.
pub(super) fn prove(
    arguments: &ProveArguments,
    surroundings: &Surroundings,
    terminal: &mut Terminal,
) -> Result<ExitCode, Failure> {
    let out = arguments.output.as_deref();
    let out = out
        .map(|out| out::writable(out, surroundings, out::NOT_NAMED))
        .transpose()?;
    let (workspace, _) = find_workspace(&surroundings.folder, Utf8Path::new("."))?;
    let secret = surroundings.secret_if_any()?.ok_or_else(|| {
        let help = "the first run of an ingest makes one; `MADMALL_CONSENT_SECRET` names another";
        inconclusive(
            "there is no consent secret, without which no event can be told from another",
            help,
        )
    })?;
    let ingest = chosen(arguments, &workspace, surroundings)?;
    let proof = proof_of(arguments, (&workspace, &secret), &ingest)?;
    let verb = match proof.membership {
        Membership::Included => "is",
        Membership::Absent => "is not",
    };
    let said = format!(
        "the event {verb} among the {} that stage `{}` let in, in run {}",
        grouped(proof.size),
        ingest.stage,
        ingest.run
    );
    match (&out, &arguments.output) {
        (Some(path), Some(file)) => {
            atomic::write(path, &proof.to_bytes()).map_err(|error| environment(&error))?;
            terminal.say(shown(&format!("{said}: `{file}`")));
        }
        _ => terminal.bytes(&proof.to_bytes()),
    }
    Ok(ExitCode::Success)
}

/// The one ingest that is meant.
fn chosen(arguments: &ProveArguments, workspace: &Workspace, surroundings: &Surroundings) -> Result<Ingest, Failure> {
    let trust = runs::trust(surroundings)?.ok_or_else(|| {
        let help = "make a key with `madmall key`, or run something";
        inconclusive("nobody is trusted, so no receipt proves anything", help)
    })?;
    let ids = run_ids(workspace).map_err(|error| environment(&error))?;
    let run = arguments
        .run
        .as_deref()
        .map(|name| runs::named(&ids, name))
        .transpose()?;
    let found = ingests(workspace, &trust, run);
    let mut found = found.map_err(|error| Failure::new(error.exit_code(), with_causes(&error), None))?;
    if let Some(stage) = &arguments.stage {
        found.retain(|ingest| ingest.stage == *stage);
    }
    if found.len() > 1 {
        let names: Vec<String> = found.iter().map(|ingest| format!("`{}`", ingest.stage)).collect();
        let message = format!("the run has several ingests: {}", names.join(", "));
        return Err(Failure::new(
            ExitCode::Refused,
            shown(&message),
            Some("choose one with `--stage`"),
        ));
    }
    found.pop().ok_or_else(|| {
        let help = "`madmall run` makes one of a pipeline with an ingest; older receipts name no events";
        inconclusive(
            "no trusted receipt of such an ingest is here that names the events which it let in",
            help,
        )
    })
}

fn proof_of(
    arguments: &ProveArguments,
    (workspace, secret): (&Workspace, &ConsentSecret),
    ingest: &Ingest,
) -> Result<Proof, Failure> {
    if ingest.population.secret != secret.id().to_hex() {
        let message = format!("run {} was made under another consent secret than yours", ingest.run);
        let help = "prove it with the secret of whoever ran it (`MADMALL_CONSENT_SECRET`)";
        return Err(inconclusive(&message, help));
    }
    let root = Root::from_hex(&ingest.population.root).map_err(|error| environment(&error))?;
    let kept = KeptPopulation::open(&Store::of(workspace.root()), root).map_err(|error| environment(&error))?;
    let kept = kept.ok_or_else(|| {
        let message = format!("the tokens of the events of run {} are not in the store", ingest.run);
        inconclusive(
            &message,
            "`madmall run PIPELINE --force` with the same input makes them again",
        )
    })?;
    let tokens = Tokens::by(secret);
    let token = tokens.token(&arguments.event);
    let path = kept.path(&token).map_err(|error| environment(&error))?;
    let membership = path.check(&token, kept.size(), &root);
    Ok(Proof {
        receipt: ingest.receipt,
        root,
        size: kept.size(),
        key: tokens.key(&arguments.event),
        token,
        membership: membership.map_err(|error| environment(&error))?,
        path,
    })
}

fn inconclusive(message: &str, help: &str) -> Failure {
    Failure::new(ExitCode::Inconclusive, shown(message), Some(help))
}

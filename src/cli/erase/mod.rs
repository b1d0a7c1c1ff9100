//! `madmall erase`: removes an event, or all of a person, from everywhere that the project controls.

mod told;

use self::told::{show, tell};
use super::every::{Everything, everything};
use super::opened::find_workspace;
use super::runs::trust_of;
use super::surroundings::{Surroundings, random};
use super::terminal::{Failure, Terminal, environment, shown};
use super::waiting::take_lock;
use crate::consent::secret::ConsentSecret;
use crate::consent::token::Tokens;
use crate::erase::Wanted;
use crate::erase::sites::Sites;
use crate::erase::work::{Signing, Work};
use crate::exec::inputs::FileHashes;
use crate::exit_code::ExitCode;
use crate::git;
use crate::history::affected::Places;
use crate::plan::Plan;
use crate::receipt::erasure::{ErasedKind, Erasure};
use crate::receipt::key::SigningKey;
use crate::status::ingests::ingests;
use crate::store::stat_cache::StatCache;

/// The longest id that is read from standard input.
const MAX_ID: u64 = 1 << 16;

/// Arguments of `erase`.
#[derive(clap::Args)]
#[group(skip)]
#[command(group(clap::ArgGroup::new("erased").required(true).args(["event", "subject"])))]
pub(super) struct EraseArguments {
    /// Erase this event; `-` reads its id from standard input, so that no history of a shell has it
    #[arg(long, value_name = "ID", allow_hyphen_values = true)]
    event: Option<String>,
    /// Erase all events of this person; `-` reads from standard input
    #[arg(long, value_name = "ID", allow_hyphen_values = true)]
    subject: Option<String>,
    /// Show where it is and what would be done, and do nothing
    #[arg(long)]
    dry_run: bool,
    /// Take its lines out of the raw files in the workspace too
    #[arg(long)]
    rewrite_inputs: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Erases, or shows what that would do.
pub(super) fn erase(
    arguments: &EraseArguments,
    surroundings: &Surroundings,
    terminal: &mut Terminal,
) -> Result<ExitCode, Failure> {
    let (of, id) = wanted(arguments)?;
    let (workspace, _) = find_workspace(&surroundings.folder, ".".into())?;
    let _lock = match arguments.dry_run {
        true => None,
        false => Some(take_lock(&workspace, "erase", terminal)?),
    };
    let all = everything(surroundings, None)?;
    let plans = plans_of(&all)?;
    let refused = |error: &dyn std::error::Error| Failure::of(ExitCode::Refused, error);
    let sites = Sites::of(&workspace, &plans, &all.believed).map_err(|error| refused(&error))?;
    let subject = pointer(of, &sites)?;
    // What is only looked for needs no secret of its own: without one there are no tokens that could tell more.
    let secret = match arguments.dry_run {
        false => surroundings.secret(terminal)?,
        true => match surroundings.secret_if_any()? {
            Some(secret) => secret,
            None => ConsentSecret::generate().map_err(|error| environment(&error))?,
        },
    };
    let tokens = Tokens::by(&secret);
    let erasure = Erasure {
        of,
        secret: secret.id().to_hex(),
        token: match of {
            ErasedKind::Event => tokens.token(&id).to_hex(),
            ErasedKind::Subject => tokens.subject(&id).to_hex(),
        },
    };
    let repository = git::open(workspace.root()).map_err(|error| environment(&error))?;
    let hashes =
        FileHashes::new(&workspace, StatCache::load(&all.store.stat_cache_file())).keyed_by(all.store.key().cloned());
    let places = Places {
        workspace: &workspace,
        store: &all.store,
        believed: &all.believed,
        hashes: &hashes,
        tokens: Some(&tokens),
        threads: std::thread::available_parallelism().map_or(1, usize::from),
    };
    let key = match (arguments.dry_run, surroundings.key_if_any()?) {
        (false, _) => surroundings.key(terminal)?,
        (true, Some(key)) => key,
        (true, None) => SigningKey::generate().map_err(|error| environment(&error))?,
    };
    let work = Work {
        places: &places,
        trust: &trust_of(&key, surroundings)?,
        repository: repository.as_ref(),
        sites: &sites,
        wanted: &Wanted::new(of, &id, subject),
        erasure: &erasure,
    };
    let failed = |error: &dyn std::error::Error| environment(error);
    let survey = work.survey().map_err(|error| failed(&error))?;
    if arguments.dry_run {
        show(arguments, &survey, &sites, terminal);
        return Ok(ExitCode::Success);
    }
    let plan = plans.iter().find(|plan| ingests(plan).next().is_some());
    let signing = Signing {
        key: &key,
        plan: plan.expect("there are ingests: their files were found"),
        clock: &surroundings.clock,
        nonce: random()?,
    };
    let done = work.carry_out(&survey, arguments.rewrite_inputs, &signing);
    let done = done.map_err(|error| failed(&error))?;
    let before = work.tombstone().map_err(|error| failed(&error))?;
    tell(arguments, (&all, &survey), &done, before.as_deref(), terminal);
    Ok(match done.left.is_empty() {
        true => ExitCode::Success,
        false => ExitCode::Pending,
    })
}

/// What is to be erased.
fn wanted(arguments: &EraseArguments) -> Result<(ErasedKind, String), Failure> {
    let (of, id) = match (&arguments.event, &arguments.subject) {
        (Some(id), _) => (ErasedKind::Event, id),
        (None, Some(id)) => (ErasedKind::Subject, id),
        (None, None) => return Err(Failure::new(ExitCode::Refused, "name an event or a person", None)),
    };
    let id = match id.as_str() {
        "-" => read_id()?,
        id => id.to_owned(),
    };
    // A shorter one would be found everywhere.
    match id.chars().count() < 3 || id.contains(char::is_control) {
        true => Err(Failure::new(
            ExitCode::Refused,
            "an id has at least three characters, none of them a control character",
            Some("give the id as the events spell it"),
        )),
        false => Ok((of, id)),
    }
}

fn read_id() -> Result<String, Failure> {
    use std::io::Read as _;
    let mut text = String::new();
    let read = std::io::stdin().take(MAX_ID).read_to_string(&mut text);
    read.map_err(|error| {
        Failure::new(
            ExitCode::Environment,
            format!("cannot read standard input: {error}"),
            None,
        )
    })?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

/// Every pipeline; one with mistakes may read anything.
fn plans_of(all: &Everything) -> Result<Vec<&Plan>, Failure> {
    let plans = all.pipelines.iter().map(|found| {
        found.plan.as_ref().map_err(|_| {
            let message = format!("`{}` has mistakes, so that it is not known what it reads", found.file);
            let help = format!("`madmall check {}` shows them", all.typed(&found.file));
            Failure::new(ExitCode::Refused, shown(&message), Some(&help))
        })
    });
    plans.collect()
}

/// Where events have the id of their person.
fn pointer(of: ErasedKind, sites: &Sites) -> Result<Option<String>, Failure> {
    if of == ErasedKind::Event {
        return Ok(None);
    }
    let mut pointers = sites.pointers.iter();
    match (pointers.next(), pointers.next()) {
        (Some(pointer), None) => Ok(Some(pointer.clone())),
        (None, _) => Err(Failure::new(
            ExitCode::Refused,
            "no ingest here says where events name their person",
            Some("say it by the parameter `subject` of `ingest`, a JSON pointer; or erase event by event"),
        )),
        (Some(_), Some(_)) => Err(Failure::new(
            ExitCode::Refused,
            "the ingests here do not agree on where events name their person",
            Some("let all have the same parameter `subject`, or erase event by event"),
        )),
    }
}

//! `madmall erase`: removes an event, or all of a person, from everywhere that the project controls.

use camino::Utf8Path;
use serde_json::{Value, json};

use super::every::{Everything, everything};
use super::opened::find_workspace;
use super::runs::trust_of;
use super::surroundings::{Surroundings, random};
use super::table::count;
use super::terminal::{BOLD, Failure, Terminal, WARNING, environment, shown};
use super::waiting::take_lock;
use crate::consent::secret::ConsentSecret;
use crate::consent::token::Tokens;
use crate::erase::Wanted;
use crate::erase::sites::Sites;
use crate::erase::work::{Done, Signing, Survey, Work};
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

/// Why an output was left that may have been made of it.
const DOUBTFUL: &str = "it is not known whether it was made of it: remove it, then `madmall run` makes it again";

/// Why a file of the store was left that may have been made of it.
const DOUBTFUL_IN_STORE: &str =
    "it is not known whether it was made of it: remove it, and `madmall run` makes again what it needs";

/// Why a file is named that events of a person may have been in.
const DAMAGED: &str = "it cannot be read as events: what only it had could not be searched for";

/// Why a place is named that an earlier erasure left.
const EARLIER: &str =
    "an earlier erasure left it, and nobody knows the ids any more that it searched for: look yourself, and remove it";

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

/// What would be done.
fn show(arguments: &EraseArguments, survey: &Survey, sites: &Sites, terminal: &mut Terminal) {
    let found = &survey.found;
    if arguments.json {
        let lines: serde_json::Map<_, _> = survey
            .lines
            .iter()
            .map(|(path, lines)| (path.to_string(), lines.count.into()))
            .collect();
        let object = json!({
            "version": 1, "dryRun": true, "revocations": sites.revocations, "rawLines": lines,
            "objects": found.objects.len(), "storeFiles": found.store_files.len(), "outputs": found.outputs,
            "elsewhere": found.elsewhere, "objectsInGit": found.in_git, "models": survey.lineage.models,
            "receipts": survey.lineage.receipts.len(), "notKnown": not_known(survey), "doubtful": found.doubtful,
            "damaged": survey.damaged, "leftBefore": survey.earlier,
        });
        return terminal.result(object);
    }
    for path in &sites.revocations {
        terminal.result(format_args!("would revoke   in {}, by its token", shown(path.as_str())));
    }
    terminal.result(format_args!(
        "would remove   {}",
        amounts(found.objects.len(), found.store_files.len(), found.outputs.len())
    ));
    for path in &found.outputs {
        terminal.result(format_args!("               {}", shown(path.as_str())));
    }
    for (path, lines) in &survey.lines {
        let count = count_of(lines.count);
        let path = shown(path.as_str());
        match arguments.rewrite_inputs && lines.is_plain {
            true => terminal.result(format_args!("would take out {count} of {path}")),
            false => terminal.result(format_args!(
                "would leave    {count} of {path} ({})",
                why_left(lines.is_plain)
            )),
        }
    }
    let raw = found.raw.iter().filter(|path| !survey.lines.contains_key(*path));
    for path in found.elsewhere.iter().chain(raw) {
        terminal.result(format_args!(
            "would leave    {} ({})",
            shown(path.as_str()),
            beyond(path)
        ));
    }
    let unknown = survey.lineage.doubt.runs.keys();
    let earlier = survey.earlier.iter().filter(|path| !found.elsewhere.contains(path));
    for path in unknown.chain(&found.doubtful).chain(&survey.damaged).chain(earlier) {
        let why = why_of(survey, path);
        terminal.result(format_args!("would leave    {} ({why})", shown(path.as_str())));
    }
    if found.in_git > 0 {
        terminal.result(format_args!(
            "would leave    {} of git's history",
            objects(found.in_git)
        ));
    }
    affected(survey, terminal);
    terminal.result("nothing was done yet; without --dry-run it is");
}

/// What was done.
fn tell(
    arguments: &EraseArguments,
    (all, survey): (&Everything, &Survey),
    done: &Done,
    tombstone: Option<&Utf8Path>,
    terminal: &mut Terminal,
) {
    let pipelines = &survey.lineage.pipelines;
    if arguments.json {
        let object = json!({
            "version": 1, "dryRun": false, "revoked": done.revoked, "takenOut": done.taken_out, "objects": done.objects,
            "storeFiles": done.store_files, "outputs": done.outputs, "left": done.left, "tombstone": tombstone,
            "models": survey.lineage.models, "receipts": survey.lineage.receipts.len(),
            "notKnown": not_known(survey), "pipelines": pipelines.values().collect::<Vec<_>>(),
        });
        return terminal.result(object);
    }
    for path in &done.revoked {
        terminal.result(format_args!("revoked     in {}, by its token", shown(path.as_str())));
    }
    let number = |count: u64| usize::try_from(count).unwrap_or(usize::MAX);
    terminal.result(format_args!(
        "removed     {}",
        amounts(number(done.objects), number(done.store_files), done.outputs.len())
    ));
    for (path, lines) in &done.taken_out {
        terminal.result(format_args!(
            "taken out   {} of {}",
            count_of(*lines),
            shown(path.as_str())
        ));
    }
    affected(survey, terminal);
    if let Some(path) = tombstone {
        let verb = if done.tombstone.is_some() {
            "said in    "
        } else {
            "said before"
        };
        terminal.result(format_args!("{verb} {path}"));
    }
    for path in &done.left {
        let (name, why) = match path.as_str() {
            "git" if survey.found.in_git > 0 => (
                objects(survey.found.in_git) + " of git's history",
                beyond(Utf8Path::new(".git")).to_owned(),
            ),
            "git" => ("git's history".to_owned(), EARLIER.to_owned()),
            path => {
                let path = Utf8Path::new(path);
                let why = match arguments.rewrite_inputs && survey.lines.get(path).is_some_and(|lines| lines.is_plain) {
                    true => why_kept(done.taken_out.contains_key(path)).to_owned(),
                    false => why_of(survey, path),
                };
                (shown(path.as_str()), why)
            }
        };
        terminal.say(format_args!("{WARNING}left{WARNING:#}{BOLD}: {name}{BOLD:#}: {why}"));
    }
    for file in pipelines.values() {
        terminal.say(format_args!(
            "`madmall run {}` makes its results again, without it",
            shown(&all.typed(file))
        ));
    }
}

fn affected(survey: &Survey, terminal: &mut Terminal) {
    let lineage = &survey.lineage;
    let in_doubt = lineage.doubt.runs.len();
    match (lineage.receipts.len(), in_doubt) {
        (0, 0) => terminal.result("affected    no receipt that you believe rests on it"),
        (0, _) => terminal.result("affected    no receipt is known to rest on it"),
        (receipts, _) => {
            let receipts = count(receipts, "receipt rests", "receipts rest");
            terminal.result(format_args!("affected    {receipts} on it"));
        }
    }
    for model in &lineage.models {
        terminal.result(format_args!("            {}", shown(model)));
    }
    if in_doubt > 0 {
        let runs = count(in_doubt, "run", "runs");
        terminal.result(format_args!("not known   of {runs}"));
    }
}

/// Of which runs it is not known, and why.
fn not_known(survey: &Survey) -> Vec<Value> {
    let runs = survey.lineage.doubt.runs.iter();
    runs.map(|(path, why)| json!({ "receipts": path, "why": why }))
        .collect()
}

/// Why a place was left.
fn why_of(survey: &Survey, path: &Utf8Path) -> String {
    let doubt = survey.lineage.doubt.runs.get(path);
    let doubtful = || survey.found.doubtful.iter().any(|doubtful| doubtful == path);
    // A receipt never goes.
    let is_earlier = || {
        let is_found = survey.found.elsewhere.iter().any(|found| found == path);
        survey.earlier.contains(path) && !is_found && !path.starts_with("runs")
    };
    match (doubt, survey.lines.get(path)) {
        (Some(why), _) => format!("it is not known whether it rests on it: {}", shown(why)),
        (None, Some(lines)) => why_left(lines.is_plain).to_owned(),
        (None, None) if survey.damaged.contains(path) => DAMAGED.to_owned(),
        (None, None) if doubtful() && path.starts_with(".madmall") => DOUBTFUL_IN_STORE.to_owned(),
        (None, None) if doubtful() => DOUBTFUL.to_owned(),
        (None, None) if is_earlier() => EARLIER.to_owned(),
        (None, None) => beyond(path).to_owned(),
    }
}

fn amounts(objects: usize, store_files: usize, outputs: usize) -> String {
    format!(
        "{}, {} of the store, {}",
        count(objects, "object", "objects"),
        count(store_files, "other file", "other files"),
        count(outputs, "output", "outputs")
    )
}

fn count_of(lines: u64) -> String {
    count(usize::try_from(lines).unwrap_or(usize::MAX), "line", "lines")
}

fn objects(in_git: u64) -> String {
    count(usize::try_from(in_git).unwrap_or(usize::MAX), "object", "objects")
}

fn why_left(is_plain: bool) -> &'static str {
    match is_plain {
        true => "--rewrite-inputs takes its lines out of a file of the workspace",
        false => "it is compressed: unpack it, take its lines out, and pack it again",
    }
}

/// Why a raw file was left that could be rewritten, and that was asked for.
fn why_kept(is_taken_out: bool) -> &'static str {
    match is_taken_out {
        true => "other lines of it hold an id of its events: look at them, and take out what is of it",
        false => "it is reached by a link: take its lines out where it lies",
    }
}

/// Why nobody but a person can reach a place.
fn beyond(path: &Utf8Path) -> &'static str {
    if path.starts_with(".git") {
        return "a history that others may have: rewrite it (`git filter-repo`), and let them";
    }
    if path.starts_with("runs") {
        return "a receipt, which never changes";
    }
    if path.as_str().ends_with(".tar.zst") {
        return "a bundle, of which others may have copies";
    }
    "nothing here makes it again"
}

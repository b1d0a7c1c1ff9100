//! `madmall verify`: which commit, inputs and consents a result came from, and whether anybody has touched any of it.

use std::collections::BTreeSet;
use std::io::Read as _;

use camino::{Utf8Path, Utf8PathBuf};

use super::bundled::{ByteSize, is_bundle, verify_bundle};
use super::numbers::jobs;
use super::opened::find_workspace;
use super::proof::{self, ProofArguments};
use super::rerun::Wanted;
use super::surroundings::Surroundings;
use super::terminal::{BOLD, ERROR, Failure, GOOD, Terminal, WARNING, shown, with_causes};
use super::waiting::tell_unpublished;
use crate::commitment::PersonalKey;
use crate::consent::token::Tokens;
use crate::diagnostic;
use crate::exit_code::ExitCode;
use crate::log::checkpoint::MAX_CHECKPOINT;
use crate::plan::{Plan, resolve};
use crate::receipt::trust::Trust;
use crate::tree::Tree;
use crate::verify::report::Report;
use crate::verify::{Format, Line, Pin, Request, Tone, VerifyError, What, is_nobodys, normal};
use crate::workspace::Workspace;

/// Arguments of `verify`.
#[derive(clap::Args)]
pub(super) struct VerifyArguments {
    /// An artifact, a receipt (sha256:…), a run, a bundle, a proof of consent, or the folder of another project; without it, every output in place
    #[arg(value_name = "WHAT")]
    what: Option<String>,
    /// Believe this key, instead of your own policy: a file (PEM, SSH public key, policy) or 64 hexadecimal digits
    #[arg(long, value_name = "KEY")]
    trust: Option<String>,
    /// Demand that the history extends this checkpoint, which you kept when you saw it before (may be given several times)
    #[arg(long, value_name = "CHECKPOINT")]
    pin: Vec<String>,
    /// Demand what the pipeline gives as this commit has it
    #[arg(long, value_name = "COMMIT")]
    at: Option<String>,
    /// Of a bundle, unpack at most this many bytes (64GiB), however well they are compressed; nothing is written
    #[arg(long, value_name = "SIZE")]
    max_size: Option<ByteSize>,
    /// Fail if a result was made from uncommitted files
    #[arg(long)]
    require_clean: bool,
    /// Then make what was asked about again, in a clean checkout, and compare bit for bit
    #[arg(long)]
    rerun: bool,
    /// With `--rerun RUN`: if every stage of the run came out the same, sign its receipts with your own key too
    #[arg(long, requires = "rerun", requires = "what")]
    attest: bool,
    /// With `--rerun`: how many threads a built-in stage may use (default: another number than a run takes)
    #[arg(short, long, value_name = "N", requires = "rerun", value_parser = jobs, allow_negative_numbers = true)]
    jobs: Option<u16>,
    #[command(flatten)]
    proof: ProofArguments,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    /// Print what a CI server shows: commands of a GitHub Actions runner, or JUnit XML
    #[arg(long, value_name = "FORMAT", conflicts_with = "json")]
    format: Option<FormatArgument>,
}

/// A form for CI servers.
#[derive(Clone, Copy, clap::ValueEnum)]
enum FormatArgument {
    /// Commands of a GitHub Actions runner
    Github,
    /// JUnit XML
    Junit,
}

/// Verifies.
pub(super) fn verify(
    arguments: &VerifyArguments,
    surroundings: &Surroundings,
    terminal: &mut Terminal,
) -> Result<ExitCode, Failure> {
    let folder = surroundings
        .folder
        .canonicalize_utf8()
        .unwrap_or_else(|_| surroundings.folder.clone());
    let trust = trusted(arguments.trust.as_deref(), surroundings)?;
    let pins = pins(arguments, surroundings)?;
    // Of the user's own little rests on it: one that cannot be read is as good as none.
    let secret = match arguments.proof.secret(surroundings)? {
        Some(secret) => Some(secret),
        None => surroundings.secret_if_any().ok().flatten(),
    };
    let tokens = secret.as_ref().map(Tokens::by);
    let personal = secret.as_ref().map(PersonalKey::of);
    let outer = workspace_of(arguments, surroundings)?;
    let request = Request {
        pins: &pins,
        site: &outer,
        what: What::Everything,
        trust: trust.as_ref(),
        at: arguments.at.as_deref(),
        require_clean: arguments.require_clean,
        tokens: tokens.as_ref(),
        personal: personal.as_ref(),
        resolve: &resolve_in_words,
    };
    let (workspace, bundle, what) = match asked(arguments, &folder, &outer, &request)? {
        Asked::Proof(bytes) => {
            refuse_beside_a_proof(arguments)?;
            let said = (arguments.trust.as_deref(), arguments.json);
            return proof::verify(&arguments.proof, &bytes, said, surroundings, terminal);
        }
        Asked::Bundle(file) => (outer.clone(), Some(file), What::Everything),
        Asked::Of(workspace, what) => (workspace, None, what),
    };
    let what = match what {
        // Only a run can be countersigned, so that is what is meant.
        What::Called { run, .. } if arguments.attest => What::Run(run),
        what => what,
    };
    let request = Request {
        site: &workspace,
        what,
        ..request
    };
    let run = super::rerun::run_to_attest(&request.what, arguments.attest)?;
    let examined = match bundle {
        Some(file) => verify_bundle(&folder, Utf8Path::new(file), request, arguments.max_size),
        None => crate::verify::examine(&request),
    };
    let (mut report, receipts) = examined.map_err(|error| failed(&error))?;
    if arguments.rerun {
        let wanted = Wanted {
            workspace: &workspace,
            receipts: &receipts,
            at: arguments.at.as_deref(),
            jobs: arguments.jobs,
        };
        super::rerun::join(&mut report, &wanted, surroundings, terminal)?;
        if let Some(run) = &run {
            super::rerun::countersign((&report, &receipts), run, &workspace, surroundings, terminal)?;
        }
    }
    print(arguments, &report, &workspace, terminal);
    Ok(report.exit_code())
}

fn print(arguments: &VerifyArguments, report: &Report, workspace: &Workspace, terminal: &mut Terminal) {
    match (arguments.json, arguments.format) {
        (true, _) => terminal.result(report.to_json()),
        (false, Some(FormatArgument::Github)) => terminal.result(report.render_as(Format::Github)),
        (false, Some(FormatArgument::Junit)) => terminal.result(report.render_as(Format::Junit)),
        (false, None) => {
            show_lines(&report.lines(), terminal);
            if report.exit_code() != ExitCode::Success {
                tell_unpublished(workspace, "verify", terminal);
            }
        }
    }
}

/// What says something of files in place says nothing of a proof.
fn refuse_beside_a_proof(arguments: &VerifyArguments) -> Result<(), Failure> {
    let is_given = [
        ("--pin", !arguments.pin.is_empty()),
        ("--at", arguments.at.is_some()),
        ("--max-size", arguments.max_size.is_some()),
        ("--require-clean", arguments.require_clean),
        ("--rerun", arguments.rerun),
        ("--format", arguments.format.is_some()),
    ];
    match is_given.iter().find(|(_, is_given)| *is_given) {
        None => Ok(()),
        Some((flag, _)) => {
            let message = format!("`{flag}` says nothing of a proof of consent");
            let help = "verify the run that it names with it: `madmall verify RUN`";
            Err(Failure::new(ExitCode::Refused, message, Some(help)))
        }
    }
}

/// Prints lines, coloured by what they say.
pub(super) fn show_lines(lines: &[Line], terminal: &mut Terminal) {
    for line in lines {
        let text = shown(&line.text);
        match line.tone {
            Tone::Good => terminal.result(format_args!("{GOOD}{text}{GOOD:#}")),
            Tone::Bad => terminal.result(format_args!("{ERROR}{text}{ERROR:#}")),
            Tone::Caution => terminal.result(format_args!("{WARNING}{text}{WARNING:#}")),
            Tone::Name => terminal.result(format_args!("{BOLD}{text}{BOLD:#}")),
            Tone::Plain => terminal.result(text),
        }
    }
}

/// Reads the checkpoints that the caller kept.
fn pins(arguments: &VerifyArguments, surroundings: &Surroundings) -> Result<Vec<Pin>, Failure> {
    let read = |name: &String| {
        let path = surroundings.folder.join(name);
        let cannot = |error: &dyn std::error::Error| {
            let message = format!("cannot use the checkpoint `{name}`: {}", with_causes(error));
            let help = "give the file `checkpoint-<size>` of a log, as you copied it when you saw it";
            Failure::new(ExitCode::Refused, shown(&message), Some(help))
        };
        let mut bytes = Vec::new();
        // A pipe would be waited for without an end.
        if path.metadata().is_ok_and(|found| !found.is_file()) {
            return Err(cannot(&std::io::Error::other("it is no file")));
        }
        let file = std::fs::File::open(&path).map_err(|error| cannot(&error))?;
        file.take(MAX_CHECKPOINT)
            .read_to_end(&mut bytes)
            .map_err(|error| cannot(&error))?;
        Pin::parse(name, &bytes).map_err(|error| cannot(&error))
    };
    arguments.pin.iter().map(read).collect()
}

fn failed(error: &VerifyError) -> Failure {
    Failure::new(error.exit_code(), with_causes(error), None)
}

/// What is asked about, and where.
enum Asked<'a> {
    /// A proof of consent.
    Proof(Vec<u8>),
    /// A bundle.
    Bundle(&'a str),
    /// Something of a workspace.
    Of(Workspace, What),
}

/// Tells what can be verified by itself, wherever it lies (a proof, a folder with receipts of its own, a bundle), from what the workspace is asked
/// about. What receipts claim is the output that they name, whatever lies in its place: a bundle that holds would else be the answer for a
/// model that was replaced by it. So it is where receipts are damaged or gone, which may have claimed it.
fn asked<'a>(
    arguments: &'a VerifyArguments,
    folder: &Utf8Path,
    workspace: &Workspace,
    request: &Request<'_>,
) -> Result<Asked<'a>, Failure> {
    let Some(what) = arguments.what.as_deref() else {
        return Ok(Asked::Of(workspace.clone(), What::Everything));
    };
    let place = folder.join(what);
    let proof = proof::proof_in(&arguments.proof, what, folder)?;
    let project = place.canonicalize_utf8().ok().filter(|real| real.join("runs").is_dir());
    let is_bundle = is_bundle(&place, workspace);
    if (proof.is_some() || project.is_some() || is_bundle) && !arguments.proof.is_any() {
        for file in within(&place, workspace) {
            let what = What::File(file);
            let asked = Request {
                what: what.clone(),
                ..*request
            };
            let report = crate::verify::verify(&asked).map_err(|error| failed(&error))?;
            if !is_nobodys(&report) {
                return Ok(Asked::Of(workspace.clone(), what));
            }
        }
    }
    Ok(match (proof, project) {
        (Some(bytes), _) => Asked::Proof(bytes),
        (None, Some(project)) => Asked::Of(Workspace::at(project), What::Everything),
        (None, None) if is_bundle => Asked::Bundle(what),
        (None, None) => {
            let what = What::parse(what, workspace, folder).map_err(|error| failed(&error))?;
            Asked::Of(workspace.clone(), what)
        }
    })
}

/// How what lies at `place` is called in a `workspace` with receipts: as it was typed, and as the links of folders on the way lead there; not at all
/// outside of it.
fn within(place: &Utf8Path, workspace: &Workspace) -> BTreeSet<Utf8PathBuf> {
    let real = match (place.parent(), place.file_name()) {
        // What lies there may be a link, and is not followed.
        (Some(folder), Some(name)) => folder.canonicalize_utf8().map(|folder| folder.join(name)),
        _ => place.canonicalize_utf8(),
    };
    let has_receipts = workspace.absolute("runs".into()).is_dir();
    let named = [Ok(normal(place)), real].into_iter().flatten().filter(|_| has_receipts);
    let within = named.filter_map(|place| Some(place.strip_prefix(workspace.root()).ok()?.to_owned()));
    within.filter(|file| !file.as_str().is_empty()).collect()
}

/// The workspace around the working folder. If there is none, that of the file that is asked about: an auditor need not
/// go there.
fn workspace_of(arguments: &VerifyArguments, surroundings: &Surroundings) -> Result<Workspace, Failure> {
    let folder = &surroundings.folder;
    let (here, _) = find_workspace(folder, Utf8Path::new("."))?;
    match arguments.what.as_deref().map(Utf8Path::new) {
        Some(what) if !is_marked(&here) && folder.join(what).exists() => {
            // Of a folder, the project that it lies in: it may be one of its outputs, made to look like a project.
            let around = what
                .parent()
                .filter(|around| !around.as_str().is_empty())
                .unwrap_or(what);
            let found = find_workspace(folder, around).or_else(|_| find_workspace(folder, what));
            Ok(found.map_or(here, |(workspace, _)| workspace))
        }
        _ => Ok(here),
    }
}

/// Whether a folder is that of a project.
pub(super) fn is_marked(workspace: &Workspace) -> bool {
    let marks = ["madmall.yaml", ".git", "runs"];
    marks
        .iter()
        .any(|mark| workspace.absolute(Utf8Path::new(mark)).exists())
}

/// Whom to believe: who is named, else the key that this caller signs with in its environment, else the user's policy.
pub(super) fn trusted(named: Option<&str>, surroundings: &Surroundings) -> Result<Option<Trust>, Failure> {
    let unusable = |error| Failure::of(ExitCode::Refused, &error);
    if let Some(argument) = named {
        return Trust::given(argument).map(Some).map_err(unusable);
    }
    if surroundings.variable("MADMALL_SIGNING_KEY").is_some() {
        let key = surroundings.key_if_any()?;
        return Ok(key.map(|key| Trust::own_key(&key.public())));
    }
    match surroundings.config_dir() {
        Some(folder) => Trust::own_policy(&folder).map_err(unusable),
        None => Ok(None),
    }
}

pub(super) fn resolve_in_words(tree: &dyn Tree, file: &Utf8Path) -> Result<Plan, String> {
    match resolve(tree, file) {
        Ok(resolution) => Ok(resolution.plan),
        Err(faults) => Err(diagnostic::render(&faults.0, false).trim_end().to_owned()),
    }
}

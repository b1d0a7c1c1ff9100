//! The command line: one file for each subcommand, and the only place that prints.

use std::ffi::OsString;

use camino::Utf8PathBuf;
use clap::error::{ContextKind, ContextValue};
use clap::{Args as _, CommandFactory as _, FromArgMatches as _, Parser, Subcommand};

use crate::diagnostic::nearest;
use crate::exit_code::ExitCode;

mod bars;
mod bounds;
mod bundle;
mod bundled;
mod check;
mod clean;
mod compat;
mod completions;
mod consent;
mod diff;
mod erase;
mod evaluate;
mod events;
mod every;
mod explain;
mod fsck;
mod gc;
mod graph;
mod key;
mod log;
mod logs;
mod meant;
mod metrics;
mod model;
mod ndjson;
mod numbers;
mod opened;
mod out;
mod plan;
mod predict;
mod progress;
mod proof;
mod rerun;
mod run;
mod runs;
mod secret;
mod settled;
mod show;
mod status;
mod summary;
mod surroundings;
mod table;
mod terminal;
mod threads;
mod typed;
mod verify;
mod waiting;
mod why;

use surroundings::Surroundings;
use terminal::{Failure, Terminal, shown};

/// Declarative, reproducible runs with signed receipts.
#[derive(Parser)]
#[command(name = "madmall", version, about, max_term_width = 100, after_help = EXIT_CODES)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

const EXIT_CODES: &str = "\
Exit codes:
    0  done, up to date, verified          5  not reproduced
    1  a stage failed                      6  inconclusive: evidence is missing
    2  refused (fail closed)               7  the environment failed: disk, lock, key
    3  work is pending (plan --check)     70  a bug in madmall
    4  verification failed     129, 130, 143  interrupted";

#[derive(Subcommand)]
enum Command {
    /// Bring a pipeline up to date: run what an edit really changed, and nothing else
    Run(run::RunArguments),
    /// Show what a run would do, in order, and why
    Plan(plan::PlanArguments),
    /// Show why a stage must run, or why it last ran, from the first cause
    Why(why::WhyArguments),
    /// Show how things stand: stages, outputs that were edited or left behind, the store, the last run
    Status(status::StatusArguments),
    /// Count events by consent, name what a withdrawal affects, report, prove, or destroy the secret
    Consent(consent::ConsentArguments),
    /// Draw the stages and what they read from each other, with what is stale marked
    Graph(graph::GraphArguments),
    /// Read and resolve a pipeline, and report every mistake in it
    Check(check::CheckArguments),
    /// Check receipts, the files they speak of and the chain between them
    Verify(verify::VerifyArguments),
    /// Check the store: whether every object is what its name says
    Fsck(fsck::FsckArguments),
    /// Remove outputs that can be put back from the store, or that no pipeline makes any more
    Clean(clean::CleanArguments),
    /// Free what the store holds and no run needs any more
    Gc(gc::GcArguments),
    /// Say what a code means and what to do
    Explain(explain::ExplainArguments),
    /// Make an old result again from its receipt, and compare it bit for bit
    Rerun(rerun::RerunArguments),
    /// What `rerun` and `verify --rerun` start for each stage
    #[command(hide = true)]
    RerunStage(rerun::StageArguments),
    /// Put the receipts of a run, and what it takes to verify them, into one file for somebody else
    Bundle(bundle::BundleArguments),
    /// List the runs whose receipts are here, newest first
    Log(log::LogArguments),
    /// Show what stages printed when they last ran
    Logs(logs::LogsArguments),
    /// Compare two runs: parameters, inputs, tools, metrics and outputs
    Diff(diff::DiffArguments),
    /// Show numbers across runs
    Metrics(metrics::MetricsArguments),
    /// Erase an event, or all events of a person, from everywhere that the project controls
    Erase(erase::EraseArguments),
    /// Measure a model on another data set: thresholds, calibration, groups
    Evaluate(evaluate::EvaluateArguments),
    /// Show what a receipt says
    Show(show::ShowArguments),
    /// Make the signing key if there is none, and show its public half
    Key(key::KeyArguments),
    /// Score events by a model: a probability for each, and what it comes from
    Predict(predict::PredictArguments),
    /// Write a model in other forms, or say what it is
    Model(model::ModelArguments),
    /// Print what a shell needs to complete commands and options
    Completions(completions::CompletionsArguments),
    /// Validate events and copy them, as the replaced package's `ingest` did
    Ingest(compat::IngestArguments),
    /// Train a model from events, as the replaced package's `train` did
    Train(compat::TrainArguments),
}

/// Runs the program with these arguments (the first is its name) and gives the process's exit code.
#[must_use]
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> u8 {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    let asked = arguments.get(1).cloned();
    let command = match parse(arguments) {
        Ok(command) => command,
        Err(mut error) => {
            match asked.is_some_and(|word| word == "log") {
                true => suggest_logs(&mut error),
                false => suggest(&mut error),
            }
            // Help and version are results, all else is a usage error; clap knows which stream is right.
            let _ = error.print();
            let code = if error.use_stderr() {
                ExitCode::Refused
            } else {
                ExitCode::Success
            };
            return code.number();
        }
    };
    let mut terminal = Terminal::of_process();
    let ended = Surroundings::of_process().and_then(|surroundings| dispatch(command, &surroundings, &mut terminal));
    let code = match ended {
        Ok(code) => code,
        Err(Failure { code, text }) => {
            terminal.say(text);
            code
        }
    };
    if terminal.has_lost_results() && code == ExitCode::Success {
        terminal.say("error: cannot write to standard output");
        return ExitCode::Environment.number();
    }
    code.number()
}

/// The command that the arguments ask for.
///
/// To know what all commands take costs as much time as a run with nothing to do: for that, and as long as nothing is wrong, it is
/// enough to know what `run` takes. Whatever there is to say, of help and of mistakes, all commands together say.
fn parse(arguments: Vec<OsString>) -> Result<Command, clap::Error> {
    if let [_, asked @ ..] = arguments.as_slice()
        && asked.first().is_some_and(|word| word == "run")
        && let Ok(matches) = run::RunArguments::augment_args(clap::Command::new("run")).try_get_matches_from(asked)
        && let Ok(run) = run::RunArguments::from_arg_matches(&matches)
    {
        return Ok(Command::Run(run));
    }
    Arguments::try_parse_from(arguments).map(|arguments| arguments.command)
}

/// Names the command that was meant, if it is near enough: a letter too many, or two exchanged.
fn suggest(error: &mut clap::Error) {
    let Some(ContextValue::String(typed)) = error.get(ContextKind::InvalidSubcommand) else {
        return;
    };
    let command = Arguments::command();
    let names = command.get_subcommands().filter(|command| !command.is_hide_set());
    let near = nearest(typed, names.map(clap::Command::get_name)).map(str::to_owned);
    if let Some(near) = near.filter(|_| error.get(ContextKind::SuggestedSubcommand).is_none()) {
        error.insert(ContextKind::SuggestedSubcommand, ContextValue::Strings(vec![near]));
    }
}

/// Of what `log` does not know: a stage is what `logs` takes.
fn suggest_logs(error: &mut clap::Error) {
    if let Some(ContextValue::String(typed)) = error.get(ContextKind::InvalidSubcommand) {
        let advice = format!(
            "`madmall logs {}` prints what a stage printed; `madmall log` lists runs",
            shown(typed)
        );
        error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![advice.into()]));
    }
}

fn dispatch(command: Command, surroundings: &Surroundings, terminal: &mut Terminal) -> Result<ExitCode, Failure> {
    // A run that has nothing to do needs none.
    if !matches!(command, Command::Run(_) | Command::Explain(_)) {
        threads::start(surroundings)?;
    }
    match command {
        Command::Run(arguments) => run::run(&arguments, surroundings, terminal),
        Command::Plan(arguments) => plan::plan(&arguments, surroundings, terminal),
        Command::Why(arguments) => why::why(&arguments, surroundings, terminal),
        Command::Status(arguments) => status::status(&arguments, surroundings, terminal),
        Command::Consent(arguments) => consent::consent(&arguments, surroundings, terminal),
        Command::Graph(arguments) => graph::graph(&arguments, surroundings, terminal),
        Command::Check(arguments) => check::check(&arguments, surroundings, terminal),
        Command::Verify(arguments) => verify::verify(&arguments, surroundings, terminal),
        Command::Fsck(arguments) => fsck::fsck(&arguments, surroundings, terminal),
        Command::Clean(arguments) => clean::clean(&arguments, surroundings, terminal),
        Command::Gc(arguments) => gc::gc(&arguments, surroundings, terminal),
        Command::Explain(arguments) => explain::explain(&arguments, terminal),
        Command::Rerun(arguments) => rerun::rerun(&arguments, surroundings, terminal),
        Command::RerunStage(arguments) => rerun::stage(&arguments, surroundings, terminal),
        Command::Bundle(arguments) => bundle::bundle(&arguments, surroundings, terminal),
        Command::Log(arguments) => log::log(&arguments, surroundings, terminal),
        Command::Logs(arguments) => logs::logs(&arguments, surroundings, terminal),
        Command::Diff(arguments) => diff::diff(&arguments, surroundings, terminal),
        Command::Metrics(arguments) => metrics::metrics(&arguments, surroundings, terminal),
        Command::Erase(arguments) => erase::erase(&arguments, surroundings, terminal),
        Command::Evaluate(arguments) => evaluate::evaluate(&arguments, surroundings, terminal),
        Command::Show(arguments) => show::show(&arguments, surroundings, terminal),
        Command::Key(arguments) => key::key(&arguments, surroundings, terminal),
        Command::Predict(arguments) => predict::predict(&arguments, surroundings, terminal),
        Command::Model(arguments) => model::model(&arguments, surroundings, terminal),
        Command::Completions(arguments) => Ok(completions::completions(&arguments, &Arguments::command(), terminal)),
        Command::Ingest(arguments) => compat::ingest(&arguments, surroundings, terminal),
        Command::Train(arguments) => compat::train(&arguments, surroundings, terminal),
    }
}

/// The pipeline file that most commands take.
#[derive(Debug, clap::Args)]
struct PipelineArgument {
    /// The pipeline file, for example pipelines/baseline.yaml
    #[arg(value_name = "PIPELINE")]
    pipeline: Utf8PathBuf,
}

/// Values for the pipeline's parameters.
#[derive(Clone, Debug, Default, clap::Args)]
struct SetArguments {
    /// Take the pipeline's parameters from this file, a YAML map (may be given several times; the last counts)
    #[arg(long, value_name = "FILE")]
    params: Vec<Utf8PathBuf>,
    /// Give the pipeline's parameter KEY this value, whatever a file says (may be given several times)
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads a line of arguments as the program does, and as all commands together do.
    fn read(line: &str) -> [Result<String, String>; 2] {
        let words: Vec<OsString> = line.split(' ').map(OsString::from).collect();
        let told = |read: Result<Command, clap::Error>| match read {
            Ok(Command::Run(run)) => Ok(format!("{run:?}")),
            Ok(_) => Ok("another command".to_owned()),
            Err(error) => Err(error.to_string()),
        };
        let whole = Arguments::try_parse_from(&words).map(|arguments| arguments.command);
        [told(parse(words)), told(whole)]
    }

    #[test]
    fn run_is_read_by_itself_as_among_all_commands() {
        for line in [
            "madmall run p.yaml",
            "madmall run p.yaml train ingest",
            "madmall run -j 3 --set a=b --set c=d --params e.yaml p.yaml train",
            "madmall run p.yaml --fail-fast --strict --json --force --record",
            "madmall run -kn p.yaml",
            "madmall run -- -p.yaml",
            "madmall run help",
        ] {
            let [own, whole] = read(line);
            assert!(
                own.as_ref().is_ok_and(|told| told.starts_with("RunArguments")),
                "{line}: {own:?}"
            );
            assert_eq!(own, whole, "{line}");
        }
    }

    #[test]
    fn what_is_wrong_with_run_is_said_by_the_whole_program() {
        for line in [
            "madmall",
            "madmall run",
            "madmall run --help",
            "madmall run --version",
            "madmall run -n --record p.yaml",
            "madmall run -k --fail-fast p.yaml",
            "madmall run p.yaml --jobs 0",
            "madmall run p.yaml --sett a=b",
            "madmall runn p.yaml",
            "madmall --json run p.yaml",
        ] {
            let [own, whole] = read(line);
            assert!(own.is_err(), "{line}: {own:?}");
            assert_eq!(own, whole, "{line}");
        }
    }
}

//! `madmall plan`: what a run would do, in order, and why; and where each result would come from.

use std::collections::HashMap;
use std::sync::Arc;

use camino::Utf8PathBuf;
use serde_json::json;

use super::opened::{Opened, open_set};
use super::surroundings::Surroundings;
use super::terminal::{BOLD, DIM, ERROR, Failure, GOOD, Terminal, environment, shown};
use super::waiting::tell_unpublished;
use super::{PipelineArgument, SetArguments};
use crate::commitment::PersonalKey;
use crate::exec::forecast::{Forecast, forecast};
use crate::exec::interrupt::Interrupts;
use crate::exec::{CacheMode, Caches, OnFailure, Record, RunOptions, Session, SessionInputs};
use crate::exit_code::ExitCode;
use crate::plan::stale::Stale;
use crate::plan::{Output, StageId};
use crate::receipt::key::SigningKey;
use crate::receipt::statement::ReceiptId;
use crate::store::Store;
use crate::store::looks::Rigour;

/// Arguments of `plan`.
#[derive(clap::Args)]
pub(super) struct PlanArguments {
    #[command(flatten)]
    pipeline: PipelineArgument,
    #[command(flatten)]
    set: SetArguments,
    /// Only these stages and what they read from
    #[arg(value_name = "STAGE")]
    stages: Vec<String>,
    /// End with code 3 if anything would be done
    #[arg(long)]
    check: bool,
    /// As `run --force` would do it
    #[arg(long)]
    force: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

impl PlanArguments {
    /// What `run --dry-run` means.
    pub(super) fn of_dry_run(
        (pipeline, set): (&PipelineArgument, &SetArguments),
        stages: &[String],
        force: bool,
        json: bool,
    ) -> Self {
        let pipeline = PipelineArgument {
            pipeline: pipeline.pipeline.clone(),
        };
        Self {
            pipeline,
            set: set.clone(),
            stages: stages.to_vec(),
            check: false,
            force,
            json,
        }
    }
}

/// Shows the plan.
pub(super) fn plan(
    arguments: &PlanArguments,
    surroundings: &Surroundings,
    terminal: &mut Terminal,
) -> Result<ExitCode, Failure> {
    let opened = open_set(surroundings, &arguments.pipeline.pipeline, &arguments.set, terminal)?;
    let selected = opened.select(&arguments.stages)?;
    let cache = if arguments.force {
        CacheMode::Bypass
    } else {
        CacheMode::Use
    };
    let (forecasts, runs) = with_session(surroundings, &opened, cache, |session| {
        let forecasts = forecast(session, &selected).map_err(|error| environment(&error))?;
        let claims = session.believed.all().filter(|claim| claim.believed);
        let runs: Runs = claims.map(|claim| (claim.id, claim.run.clone())).collect();
        Ok((forecasts, runs))
    })?;
    let settled = forecasts.iter().all(|(_, forecast)| forecast.is_settled());
    match arguments.json {
        true => print_json(&opened, &forecasts, &runs, terminal),
        false => print_text(&opened, &forecasts, &runs, terminal),
    }
    if !settled && !arguments.json {
        tell_unpublished(&opened.workspace, "look", terminal);
    }
    Ok(if arguments.check && !settled {
        ExitCode::Pending
    } else {
        ExitCode::Success
    })
}

/// The run that each receipt belongs to.
type Runs = HashMap<ReceiptId, Arc<str>>;

/// Opens a session that only looks: without a signing key yet, nothing is believed.
pub(super) fn with_session<T>(
    surroundings: &Surroundings,
    opened: &Opened,
    cache: CacheMode,
    look: impl FnOnce(&Session<'_>) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let key = match surroundings.key_if_any()? {
        Some(key) => key,
        None => SigningKey::generate()
            .map_err(|error| Failure::new(ExitCode::Environment, format!("cannot get random bytes: {error}"), None))?,
    };
    let trust = super::runs::trust_of(&key, surroundings)?;
    let options = RunOptions {
        jobs: 1,
        on_failure: OnFailure::KeepGoing,
        cache,
        record: Record::WhenSomethingRan,
        rigour: Rigour::Stamps,
    };
    // Without one, what is personal is taken for new.
    let secret = surroundings.secret_if_any().ok().flatten();
    let store = Store::of(opened.workspace.root()).keyed_by(secret.as_ref().map(PersonalKey::of));
    store.refuse_links().map_err(|error| environment(&error))?;
    let interrupts = Interrupts::default();
    let session = Session::open(
        SessionInputs {
            plan: &opened.plan,
            workspace: &opened.workspace,
            store: &store,
            key: &key,
            secret: secret.as_ref(),
            trust: &trust,
            environment: &surroundings.environment,
            clock: &surroundings.clock,
            nonce: 0,
            options,
            interrupts: &interrupts,
            looks: None,
            bounds: &opened.bounds,
            plan_kept: None,
        },
        Caches::default(),
    )
    .map_err(|error| environment(&error))?;
    look(&session)
}

fn print_text(opened: &Opened, forecasts: &[(StageId, Forecast)], runs: &Runs, terminal: &mut Terminal) {
    let stages = &opened.plan.stages;
    let width = stages.iter().map(|stage| stage.name.len()).max().unwrap_or(0).min(40);
    for (id, forecast) in forecasts {
        let (style, state, text) = match forecast {
            Forecast::UpToDate { receipt } => {
                let gone = gone(opened, *id);
                let but = match gone.is_empty() {
                    true => String::new(),
                    false => format!(", but for what is temporary ({})", join(&gone)),
                };
                (DIM, "up to date", format!("in place{but}{}", made_by(runs, receipt)))
            }
            Forecast::Restore { receipt, paths } => {
                let text = format!("from the store{}: {}", made_by(runs, receipt), join(paths));
                (GOOD, "restore", text)
            }
            Forecast::Run { why } => (BOLD, "run", reasons(why).join("; ")),
            Forecast::Perhaps { why } => (BOLD, "perhaps", reasons(why).join("; ")),
            Forecast::Refuse { why } => (ERROR, "refused", reasons(why).join("; ")),
            Forecast::Block { why } => (ERROR, "blocked", reasons(why).join("; ")),
        };
        let line = format!(
            "  {:width$}  {style}{state:10}{style:#}  {}",
            stages[id.index()].name,
            shown(&text)
        );
        terminal.result(line.trim_end());
    }
    let count_of = |is: fn(&Forecast) -> bool| forecasts.iter().filter(|(_, forecast)| is(forecast)).count();
    let refused = count_of(Forecast::is_refused);
    match count_of(|forecast| !forecast.is_settled()) - refused {
        0 if refused > 0 => {}
        0 => terminal.result("nothing to do"),
        1 => terminal.result("1 stage has work"),
        pending => terminal.result(format_args!("{pending} stages have or may have work")),
    }
    match refused {
        0 => {}
        1 => terminal.result("1 stage would be refused"),
        _ => terminal.result(format_args!(
            "{refused} stages would be refused, or wait for what would be"
        )),
    }
}

fn print_json(opened: &Opened, forecasts: &[(StageId, Forecast)], runs: &Runs, terminal: &mut Terminal) {
    let stages = forecasts.iter().map(|(id, forecast)| {
        let (from, paths): (_, &[Utf8PathBuf]) = match forecast {
            Forecast::UpToDate { .. } => (Some("place"), &[]),
            Forecast::Restore { paths, .. } => (Some("store"), paths),
            Forecast::Run { .. } | Forecast::Perhaps { .. } => (Some("run"), &[]),
            Forecast::Refuse { .. } | Forecast::Block { .. } => (None, &[]),
        };
        let run = forecast.receipt().and_then(|receipt| runs.get(&receipt));
        json!({
            "stage": opened.plan.stages[id.index()].name, "state": forecast.word(), "from": from, "restore": paths,
            "gone": if matches!(forecast, Forecast::UpToDate { .. }) { gone(opened, *id) } else { Vec::new() },
            "madeBy": run.map(|run| &**run), "why": reasons(forecast.why()),
        })
    });
    let stages: Vec<_> = stages.collect();
    terminal.result(json!({ "version": 1, "pipeline": opened.plan.pipeline, "stages": stages }));
}

/// The temporary outputs of a stage that are not here.
fn gone(opened: &Opened, id: StageId) -> Vec<Utf8PathBuf> {
    let outputs = opened.plan.stages[id.index()].outputs.iter();
    let is_gone =
        |output: &&Output| output.is_temporary && opened.workspace.absolute(&output.path).symlink_metadata().is_err();
    outputs.filter(is_gone).map(|output| output.path.clone()).collect()
}

pub(super) fn reasons(why: &[Stale]) -> Vec<String> {
    why.iter().map(ToString::to_string).collect()
}

/// In which run a result was made, for people: as much of its id as says when.
fn made_by(runs: &Runs, receipt: &ReceiptId) -> String {
    const TIME: usize = 18;
    let run = runs.get(receipt).map(|run| run.get(..TIME).unwrap_or(run));
    run.map(|run| format!(", made by run {run}")).unwrap_or_default()
}

fn join(paths: &[Utf8PathBuf]) -> String {
    paths.iter().map(|path| path.as_str()).collect::<Vec<_>>().join(", ")
}

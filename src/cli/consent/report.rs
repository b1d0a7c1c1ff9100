//! `madmall consent report`: what one run's records say of consent, as a page for people.

use camino::Utf8PathBuf;

use super::super::opened::find_workspace;
use super::super::out;
use super::super::runs;
use super::super::surroundings::Surroundings;
use super::super::terminal::{Failure, Terminal, environment, shown};
use crate::card::consent::RunConsent;
use crate::card::{html, markdown};
use crate::exit_code::ExitCode;
use crate::history::runs::{read_own, run_ids};
use crate::store::atomic;

/// Arguments of `consent report`.
#[derive(clap::Args)]
pub(super) struct ReportArguments {
    /// The run: its id or a beginning of it, its file, `latest`, or `latest~N`
    #[arg(value_name = "RUN", default_value = "latest")]
    run: String,
    /// One page of HTML, without scripts, instead of text
    #[arg(long)]
    html: bool,
    /// Where to write it; without it, standard output
    #[arg(short, long, visible_alias = "out", value_name = "FILE")]
    output: Option<Utf8PathBuf>,
}

/// Writes the page.
pub(super) fn report(
    arguments: &ReportArguments,
    surroundings: &Surroundings,
    terminal: &mut Terminal,
) -> Result<ExitCode, Failure> {
    let out = arguments.output.as_deref();
    let out = out
        .map(|out| out::writable(out, surroundings, out::NOT_NAMED))
        .transpose()?;
    let (workspace, _) = find_workspace(&surroundings.folder, ".".into())?;
    let ids = run_ids(&workspace).map_err(|error| environment(&error))?;
    let id = runs::named(&ids, &arguments.run)?;
    let own = read_own(&workspace, id).map_err(|error| runs::unreadable(id, &error))?;
    let trust = runs::trust(surroundings)?;
    let consent = RunConsent::of(&workspace, &own, &|receipt| runs::signer(receipt, trust.as_ref()));
    let consent = consent.map_err(|error| environment(&error))?;
    let (title, blocks) = (consent.title(), consent.blocks());
    let page = match arguments.html {
        true => html::page(&title, &blocks),
        false => markdown::page(&title, &blocks),
    };
    match (&out, &arguments.output) {
        (Some(path), Some(name)) => {
            atomic::write(path, page.as_bytes()).map_err(|error| environment(&error))?;
            terminal.say(shown(&format!("wrote {name}")));
        }
        _ => terminal.bytes(page.as_bytes()),
    }
    Ok(ExitCode::Success)
}

//! `madmall model card`: a page for people about a model.

use camino::Utf8PathBuf;
use clap::ValueEnum;

use super::{parse, prepared, read_bytes};
use crate::card::origin::{self, Found};
use crate::card::{Card, content, html, markdown};
use crate::cli::opened::find_workspace;
use crate::cli::out;
use crate::cli::runs;
use crate::cli::surroundings::Surroundings;
use crate::cli::terminal::{Failure, Terminal, environment, shown};
use crate::digest::Digests;
use crate::exit_code::ExitCode;
use crate::store::atomic;

/// Arguments of `model card`.
#[derive(clap::Args)]
pub(super) struct CardArguments {
    /// The model, as `train` wrote it
    #[arg(value_name = "MODEL")]
    model: Utf8PathBuf,
    /// As what to write it
    #[arg(long, value_enum, default_value_t = FormatArgument::Md)]
    format: FormatArgument,
    /// Where to write it; without it, standard output
    #[arg(short, long, visible_alias = "out", value_name = "FILE")]
    output: Option<Utf8PathBuf>,
}

#[derive(Clone, Copy, ValueEnum)]
enum FormatArgument {
    /// Markdown
    Md,
    /// One page of HTML, without scripts
    Html,
}

/// Writes a card.
pub(super) fn card(
    arguments: &CardArguments,
    surroundings: &Surroundings,
    terminal: &mut Terminal,
) -> Result<ExitCode, Failure> {
    let out = arguments.output.as_deref();
    let out = out
        .map(|out| out::writable(out, surroundings, out::NOT_NAMED))
        .transpose()?;
    if let Some(name) = &arguments.output {
        out::not_an_input(name, [&arguments.model], surroundings)?;
    }
    let bytes = read_bytes(&arguments.model, surroundings)?;
    let model = parse(&arguments.model, &bytes)?;
    let digests = Digests::of(&bytes);
    let (workspace, _) = find_workspace(&surroundings.folder, &arguments.model)?;
    let trust = runs::trust(surroundings)?;
    let store = surroundings.store(&workspace)?;
    let found = origin::find(&workspace, digests, store.key(), &|receipt| {
        runs::signer(receipt, trust.as_ref())
    });
    let Found { origin, may_be_keyed } = found.map_err(|error| environment(&error))?;
    let preparation = prepared(&model)?;
    let card = Card {
        name: arguments.model.file_name().unwrap_or_default(),
        digests,
        model: &model,
        preparation: &preparation,
        origin,
        may_be_keyed,
    };
    let (title, blocks) = (content::title(&card), content::blocks(&card));
    let page = match arguments.format {
        FormatArgument::Md => markdown::page(&title, &blocks),
        FormatArgument::Html => html::page(&title, &blocks),
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

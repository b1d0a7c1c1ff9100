//! `madmall model export`: a model in a form that other programs run.

use std::io::{self, IsTerminal as _};

use camino::{Utf8Path, Utf8PathBuf};

use super::read_model;
use crate::cli::out;
use crate::cli::surroundings::Surroundings;
use crate::cli::terminal::{Failure, Terminal, environment, shown};
use crate::exit_code::ExitCode;
use crate::model::export::{Recipe, js, onnx, pmml, sql};
use crate::store::atomic;

/// Arguments of `model export`.
#[derive(clap::Args)]
#[command(group(clap::ArgGroup::new("form").required(true)))]
pub(super) struct ExportArguments {
    #[command(flatten)]
    form: FormArguments,
    /// The model, as `train` wrote it
    #[arg(value_name = "MODEL")]
    model: Utf8PathBuf,
    /// Where to write it; without it, standard output
    #[arg(short, long, visible_alias = "out", value_name = "FILE")]
    output: Option<Utf8PathBuf>,
}

#[derive(clap::Args)]
#[expect(clippy::struct_excessive_bools, reason = "one of them is given, which clap sees to")]
struct FormArguments {
    /// An ES module without dependencies; beside a FILE.js, types for TypeScript in FILE.d.ts
    #[arg(long, group = "form")]
    js: bool,
    /// A query for DuckDB
    #[arg(long, group = "form")]
    sql: bool,
    /// A graph of doubles for ONNX runtimes
    #[arg(long, group = "form")]
    onnx: bool,
    /// A RegressionModel of PMML 4.4
    #[arg(long, group = "form")]
    pmml: bool,
}

/// Writes a model in another form.
pub(super) fn export(
    arguments: &ExportArguments,
    surroundings: &Surroundings,
    terminal: &mut Terminal,
) -> Result<ExitCode, Failure> {
    let types = match arguments.form.js {
        true => arguments.output.as_deref().map(types_beside).transpose()?,
        false => None,
    };
    for path in arguments.output.iter().chain(&types) {
        out::writable(path, surroundings, out::NOT_NAMED)?;
        out::not_an_input(path, [&arguments.model], surroundings)?;
    }
    let model = read_model(&arguments.model, surroundings)?;
    let refused = |error: &dyn std::error::Error| Failure::new(ExitCode::Refused, shown(&error.to_string()), None);
    let recipe = Recipe::of(&model).map_err(|error| refused(&error))?;
    let form = &arguments.form;
    let bytes = if form.js {
        js::module(&recipe).into_bytes()
    } else if form.sql {
        sql::query(&recipe).into_bytes()
    } else if form.pmml {
        let document = pmml::document(&recipe).map_err(|error| refused(&error))?;
        document.into_bytes()
    } else {
        onnx::model(&recipe).map_err(|error| refused(&error))?
    };
    let Some(out) = &arguments.output else {
        if form.onnx && io::stdout().is_terminal() {
            let help = "name a file with `--output`, or send it into a pipe";
            return Err(Failure::new(
                ExitCode::Refused,
                "ONNX is no text for a terminal",
                Some(help),
            ));
        }
        terminal.bytes(&bytes);
        return Ok(ExitCode::Success);
    };
    let write = |path: &Utf8Path, bytes: &[u8]| {
        atomic::write(&surroundings.folder.join(path), bytes).map_err(|error| environment(&error))
    };
    if let Some(types) = &types {
        write(types, js::types().as_bytes())?;
    }
    write(out, &bytes)?;
    let beside = types.map_or_else(String::new, |types| format!(" and {types}"));
    terminal.say(shown(&format!("wrote {out}{beside}")));
    Ok(ExitCode::Success)
}

/// Where a module's types are looked for.
fn types_beside(module: &Utf8Path) -> Result<Utf8PathBuf, Failure> {
    let extension = match module.extension() {
        Some("js") => "d.ts",
        Some("mjs") => "d.mts",
        _ => {
            let message = format!("`{module}` is not called as a module of ECMAScript is");
            let help = "call it `.mjs`, or `.js` in a package of modules";
            return Err(Failure::new(ExitCode::Refused, shown(&message), Some(help)));
        }
    };
    Ok(module.with_extension(extension))
}

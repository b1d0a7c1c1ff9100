//! What programs may use by the settings of the workspace, and what they never may.

use std::sync::Arc;

use camino::{Utf8Path, Utf8PathBuf};

use super::surroundings::Surroundings;
use super::terminal::{Failure, shown};
use crate::consent::secret::named_file;
use crate::diagnostic::{self, Diagnostic, Source, quoted};
use crate::exec::sandbox::{Bounds, check_readable};
use crate::exit_code::ExitCode;
use crate::plan::{InputSource, Plan, SETTINGS_FILE};
use crate::spec;
use crate::tree::{EntryKind, Tree};
use crate::workspace::Workspace;

/// What programs in `workspace`, read as `tree`, may use by its settings, and what they never may.
///
/// # Errors
///
/// [`Failure`] with code 2 if the settings are wrong.
pub(super) fn bounds(surroundings: &Surroundings, tree: &dyn Tree, workspace: &Workspace) -> Result<Bounds, Failure> {
    let key = surroundings.variable("MADMALL_SIGNING_KEY");
    // A key's text has several lines, and is no path.
    let key = key
        .filter(|key| !key.contains('\n'))
        .map(|key| surroundings.folder.join(key));
    let secret = surroundings.variable("MADMALL_CONSENT_SECRET").and_then(named_file);
    let secret = secret.map(|secret| surroundings.folder.join(secret));
    let mut bounds = Bounds {
        readable: Vec::new(),
        never: surroundings.config_dir().into_iter().chain(key).chain(secret).collect(),
        projects: Vec::new(),
        home: surroundings.variable("HOME").map(Utf8PathBuf::from),
    };
    let Some((source, settings)) = settings(tree)? else {
        return Ok(bounds);
    };
    let mut faults = Vec::new();
    for written in &settings.readable {
        match readable(&written.text, &bounds, workspace) {
            Ok(path) => bounds.readable.push(path),
            Err((message, help)) => {
                faults.push(Diagnostic::error(message).at(&source, written.span, "").help(help));
            }
        }
    }
    refuse(&faults)?;
    Ok(bounds)
}

/// What `bounds` keep from all stages, as far as it lies in the workspace.
pub(super) struct Apart<'a> {
    places: Vec<Utf8PathBuf>,
    workspace: &'a Workspace,
}

impl<'a> Apart<'a> {
    pub(super) fn of(bounds: &Bounds, workspace: &'a Workspace) -> Self {
        let places = bounds.never.iter().map(|place| real(place));
        let places = places.filter(|place| place.starts_with(workspace.root())).collect();
        Self { places, workspace }
    }

    /// Whether the stage called so neither reads nor writes any of it: what a stage reads is copied, named in receipts and seen by its program,
    /// and what lies where it writes is replaced.
    ///
    /// # Errors
    ///
    /// [`Failure`] with code 2 that names the stage.
    pub(super) fn check<'p>(&self, stage: &str, mut paths: impl Iterator<Item = &'p Utf8Path>) -> Result<(), Failure> {
        if self.places.is_empty() {
            return Ok(());
        }
        let kept = |path: &Utf8Path| {
            let place = real(&self.workspace.absolute(path));
            let mut kept = self.places.iter();
            kept.find(|kept| place.starts_with(kept) || kept.starts_with(&place))
        };
        let Some((path, kept)) = paths.find_map(|path| Some((path, kept(path)?))) else {
            return Ok(());
        };
        let message = format!("stage `{stage}` has `{path}`, and `{kept}` is for no stage");
        let help = "keep the configuration folder, keys and secrets out of what stages read and write: set `MADMALL_CONFIG_DIR` to a \
                    folder outside of the workspace, or move what the stage needs to a folder of its own";
        Err(Failure::new(ExitCode::Refused, shown(&message), Some(help)))
    }

    /// The same of each stage of `plan`.
    ///
    /// # Errors
    ///
    /// As [`Apart::check`].
    pub(super) fn check_all(&self, plan: &Plan) -> Result<(), Failure> {
        plan.stages.iter().try_for_each(|stage| {
            let folders = stage.inputs.iter().filter_map(|input| match &input.source {
                InputSource::Folder { path, .. } => Some(path.as_path()),
                InputSource::File { .. } | InputSource::Glob { .. } | InputSource::Output { .. } => None,
            });
            let files = stage.inputs.iter().flat_map(|input| input.source.files());
            let outputs = stage.outputs.iter().map(|output| output.path.as_path());
            self.check(&stage.name, folders.chain(files).chain(outputs))
        })
    }
}

/// Where `path` leads: links resolved as far as there is something.
fn real(path: &Utf8Path) -> Utf8PathBuf {
    let resolved = path.ancestors().find_map(|above| {
        let real = above.canonicalize_utf8().ok()?;
        let below = path.strip_prefix(above).ok()?;
        Some(real.components().chain(below.components()).collect())
    });
    resolved.unwrap_or_else(|| path.to_owned())
}

/// The path that an entry of `sandbox.read` means, or what is wrong with it and what to do.
fn readable(text: &str, bounds: &Bounds, workspace: &Workspace) -> Result<Utf8PathBuf, (String, String)> {
    let path = match (text.strip_prefix("~/"), &bounds.home) {
        (Some(below), Some(home)) => home.join(below),
        _ => Utf8PathBuf::from(text),
    };
    let is_plain = path.components().all(|part| part.as_str() != "..");
    if !path.is_absolute() || !is_plain {
        return Err((
            format!("{} is not an absolute path", quoted(text)),
            "write a path that begins with `/` or `~/`, without `..`; files of the workspace are declared under `inputs:`"
                .to_owned(),
        ));
    }
    match check_readable(&path, bounds, workspace.root()) {
        Ok(()) => Ok(path),
        Err(place) => Err((
            format!(
                "{} cannot be made readable: no program may read `{place}`",
                quoted(text)
            ),
            "name a folder that neither holds nor lies in git's folder, `.madmall` or the folder of keys".to_owned(),
        )),
    }
}

/// Reads the settings, if there are any; an empty file only marks the workspace.
fn settings(workspace: &dyn Tree) -> Result<Option<(Arc<Source>, spec::Settings)>, Failure> {
    let path = Utf8Path::new(SETTINGS_FILE);
    let readable = |error: &dyn std::error::Error| Failure::of(ExitCode::Environment, error);
    match workspace.kind(path).map_err(|error| readable(&error))? {
        None => return Ok(None),
        Some(EntryKind::File { .. }) => {}
        // A pipe would be waited for.
        Some(EntryKind::Folder | EntryKind::BadLink | EntryKind::Other) => {
            return Err(Failure::new(
                ExitCode::Refused,
                format!("`{SETTINGS_FILE}` is no file, or a link that leads out of the workspace or nowhere"),
                Some("move it away: an empty file of that name marks the workspace"),
            ));
        }
    }
    let bytes = workspace
        .read(path, spec::MAX_BYTES)
        .map_err(|error| readable(&error))?;
    let text = String::from_utf8(bytes).map_err(|_| {
        Failure::new(
            ExitCode::Refused,
            format!("`{SETTINGS_FILE}` is not UTF-8"),
            Some("save it as UTF-8"),
        )
    })?;
    if spec::is_blank(&text) {
        return Ok(None);
    }
    let source = Source::new(SETTINGS_FILE, text);
    let (root, mut faults) = spec::parse(&source);
    let mut settings = spec::Settings::default();
    if let Some(root) = &root {
        let (read, wrong) = spec::check::settings(&source, root);
        settings = read;
        faults.extend(wrong);
    }
    refuse(&faults)?;
    Ok(Some((source, settings)))
}

fn refuse(faults: &[Diagnostic]) -> Result<(), Failure> {
    match faults.is_empty() {
        true => Ok(()),
        false => Err(Failure {
            code: ExitCode::Refused,
            text: diagnostic::render(faults, true).trim_end().to_owned(),
        }),
    }
}

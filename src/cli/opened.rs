//! What most commands begin with: where the workspace is, what the pipeline says, which of its stages are meant.

use std::io::Read as _;

use camino::{Utf8Path, Utf8PathBuf};

use super::SetArguments;
use super::bounds::{Apart, bounds};
use super::meant::{meant, meant_pipeline};
use super::surroundings::Surroundings;
use super::terminal::{Failure, Terminal, shown};
use super::typed::from_here;
use crate::commitment::PersonalKey;
use crate::consent::secret::ConsentSecret;
use crate::diagnostic::{self, Faults};
use crate::exec::sandbox::Bounds;
use crate::exit_code::ExitCode;
use crate::plan::stage_name::is_meant;
use crate::plan::{Overrides, Plan, SETTINGS_FILE, StageId, resolve_set};
use crate::receipt::key::SigningKey;
use crate::spec;
use crate::stamp::Moment;
use crate::store::Store;
use crate::store::looks::Looks;
use crate::store::plans::{self, Asked, Resolved};
use crate::store::watched::Watched;
use crate::workspace::Workspace;

/// How many stages an advice names.
const MOST_NAMED: usize = 20;

/// A pipeline, resolved in its workspace.
pub(super) struct Opened {
    /// Where.
    pub(super) workspace: Workspace,
    /// What.
    pub(super) plan: Plan,
    /// What its programs may use, and what never.
    pub(super) bounds: Bounds,
}

impl Opened {
    fn of(surroundings: &Surroundings, workspace: Workspace, plan: Plan, bounds: Bounds) -> Result<Self, Failure> {
        for stage in &plan.stages {
            surroundings.check_variables(&stage.name, stage.env.iter().chain(&stage.secrets))?;
        }
        Apart::of(&bounds, &workspace).check_all(&plan)?;
        Ok(Self {
            workspace,
            plan,
            bounds,
        })
    }
}

/// The workspace that `path` (a pipeline file, or any file or folder) belongs to, and `path` relative to it.
///
/// # Errors
///
/// [`Failure`] if `path` lies outside of it.
pub(super) fn find_workspace(folder: &Utf8Path, path: &Utf8Path) -> Result<(Workspace, Utf8PathBuf), Failure> {
    let absolute = folder.join(path);
    let parent = match absolute.parent() {
        Some(parent) if !absolute.is_dir() => parent,
        _ => &absolute,
    };
    // What does not exist is taken as written; whoever reads it says that it is not there.
    let real = parent.canonicalize_utf8().unwrap_or_else(|_| parent.to_owned());
    let marked = |mark: &str| {
        real.ancestors()
            .find(|ancestor| ancestor.join(mark).exists())
            .map(Utf8Path::to_owned)
    };
    let here = folder.canonicalize_utf8().unwrap_or_else(|_| folder.to_owned());
    let root = marked(SETTINGS_FILE).or_else(|| marked(".git")).unwrap_or(here);
    let file = if parent == absolute {
        real.clone()
    } else {
        real.join(absolute.file_name().unwrap_or_default())
    };
    match file.strip_prefix(&root) {
        Ok(relative) => Ok((Workspace::at(root.clone()), relative.to_owned())),
        Err(_) => Err(Failure::new(
            ExitCode::Refused,
            format!("`{path}` lies outside of the workspace `{root}`"),
            Some("go to the project's folder, or mark it with a file `madmall.yaml`"),
        )),
    }
}

/// Reads and resolves the pipeline `path`, with the parameters that the user gives. Its warnings are told.
///
/// # Errors
///
/// [`Failure`] with code 2 and every mistake in it.
pub(super) fn open_set(
    surroundings: &Surroundings,
    path: &Utf8Path,
    set: &SetArguments,
    terminal: &mut Terminal,
) -> Result<Opened, Failure> {
    let (workspace, file) = find_workspace(&surroundings.folder, path)?;
    let overrides = overrides(surroundings, set)?;
    let mut opened = open_noting(surroundings, workspace, &file, &overrides, &Looks::default(), terminal)?;
    if !opened.plan.personal.is_empty() {
        // Without a secret nothing that is keyed was made yet: any other than the one to come does.
        let secret = match surroundings.secret_if_any()? {
            Some(secret) => secret,
            None => ConsentSecret::generate().map_err(|error| Failure::of(ExitCode::Environment, &error))?,
        };
        opened.plan.mask(&PersonalKey::of(&secret));
    }
    Ok(opened)
}

/// The same for the pipeline `file` in `workspace`, which is not resolved anew if it is remembered under `key` and would come out as it was;
/// what is looked at is noted in `looks`, in which nothing is noted yet.
///
/// # Errors
///
/// Like [`open_set`].
pub(super) fn open_kept(
    surroundings: &Surroundings,
    workspace: Workspace,
    (file, overrides): (&Utf8Path, &Overrides),
    key: Option<&SigningKey>,
    looks: &Looks,
    terminal: &mut Terminal,
) -> Result<(Opened, Resolved), Failure> {
    let began = Moment::now();
    let folder = Store::of(workspace.root()).plans_folder();
    let values = overrides.said();
    let asked = Asked { pipeline: file, values };
    let kept = key.and_then(|key| plans::load(&folder, asked, &key.derive_seal_key(), &workspace));
    if let Some((plan, seen, seal)) = kept {
        looks.adopt(&seen, began);
        let bounds = bounds(surroundings, &Watched::new(&workspace, looks), &workspace)?;
        let opened = Opened::of(surroundings, workspace, plan, bounds)?;
        return Ok((opened, Resolved::Before(seal)));
    }
    let opened = open_noting(surroundings, workspace, file, overrides, looks, terminal)?;
    Ok((opened, looks.settle().map_or(Resolved::Anew, Resolved::ToKeep)))
}

/// Resolves the pipeline `file` in `workspace`; what is looked at is noted.
///
/// # Errors
///
/// Like [`open_set`].
pub(super) fn open_noting(
    surroundings: &Surroundings,
    workspace: Workspace,
    file: &Utf8Path,
    overrides: &Overrides,
    looks: &Looks,
    terminal: &mut Terminal,
) -> Result<Opened, Failure> {
    let watched = Watched::new(&workspace, looks);
    let bounds = bounds(surroundings, &watched, &workspace)?;
    match resolve_set(&watched, file, overrides) {
        Ok(resolution) => {
            if !resolution.warnings.is_empty() {
                looks.give_up();
                terminal.say(diagnostic::render(&resolution.warnings, true).trim_end());
            }
            Opened::of(surroundings, workspace, resolution.plan, bounds)
        }
        Err(faults) => {
            let folder = &surroundings.folder;
            if let Some(meant) = meant_pipeline(file, &workspace, folder) {
                let here = from_here(file, &workspace, folder);
                let message = shown(&format!("there is no pipeline file `{here}`"));
                return Err(Failure::new(ExitCode::Refused, message, Some(&meant)));
            }
            let count = faults.0.len();
            let mut text = diagnostic::render(&faults.0, true).trim_end().to_owned();
            if count > 1 {
                text.push_str(&format!("\n\n{count} mistakes in `{file}`; nothing was run"));
            }
            Err(Failure {
                code: ExitCode::Refused,
                text,
            })
        }
    }
}

/// The parameters that the user gives: files first, in their order, then `--set`.
///
/// # Errors
///
/// [`Failure`] with code 2 if one is malformed or cannot be read.
pub(super) fn overrides(surroundings: &Surroundings, set: &SetArguments) -> Result<Overrides, Failure> {
    let malformed = |faults: Faults| Failure {
        code: ExitCode::Refused,
        text: diagnostic::render(&faults.0, true).trim_end().to_owned(),
    };
    let mut overrides = Overrides::default();
    for path in &set.params {
        let cannot = |error: &dyn std::fmt::Display, meant: Option<String>| {
            let message = format!("cannot read the parameters `{path}`: {error}");
            let help = meant.as_deref().unwrap_or("name a file with `name: value` lines");
            Failure::new(ExitCode::Refused, shown(&message), Some(help))
        };
        let place = surroundings.folder.join(path);
        let file = std::fs::File::open(&place).map_err(|error| cannot(&error, meant(&place, path, &error)))?;
        let mut text = String::new();
        let read = file.take(spec::MAX_BYTES + 1).read_to_string(&mut text);
        read.map_err(|error| cannot(&error, None))?;
        if text.len() as u64 > spec::MAX_BYTES {
            return Err(cannot(&format!("it is larger than {} bytes", spec::MAX_BYTES), None));
        }
        overrides.add_file(path.as_str(), &text).map_err(malformed)?;
    }
    for text in &set.set {
        overrides.add_set(text).map_err(malformed)?;
    }
    Ok(overrides)
}

impl Opened {
    /// The stages that the user named, and all that they read from, in the plan's order; all stages if none is named.
    ///
    /// # Errors
    ///
    /// [`Failure`] with code 2 if one does not exist.
    pub(super) fn select(&self, names: &[String]) -> Result<Vec<StageId>, Failure> {
        let all = (0..self.plan.stages.len()).map(StageId::new);
        if names.is_empty() {
            return Ok(all.collect());
        }
        let mut wanted = vec![false; self.plan.stages.len()];
        for name in names {
            let mut found = false;
            for (index, _) in self
                .plan
                .stages
                .iter()
                .enumerate()
                .filter(|(_, stage)| is_meant(name, &stage.name))
            {
                (wanted[index], found) = (true, true);
            }
            if !found {
                self.find(name)?;
            }
        }
        // A stage comes after all that it reads from, so one pass backwards finds them.
        for id in all.clone().rev() {
            if wanted[id.index()] {
                for maker in self.plan.stages[id.index()].reads_from() {
                    wanted[maker.index()] = true;
                }
            }
        }
        Ok(all.filter(|id| wanted[id.index()]).collect())
    }

    /// The one stage that `name` means.
    ///
    /// # Errors
    ///
    /// [`Failure`] with code 2 if there is none, or several.
    pub(super) fn find(&self, name: &str) -> Result<StageId, Failure> {
        let mut meant = self
            .plan
            .stages
            .iter()
            .enumerate()
            .filter(|(_, stage)| is_meant(name, &stage.name));
        let place = meant.next().map(|(place, _)| place);
        if let (Some(first), more @ 1..) = (place, meant.count()) {
            let message = format!("`{name}` is {} stages", more + 1);
            let help = format!("name one, such as `{}`", self.plan.stages[first].name);
            return Err(Failure::new(ExitCode::Refused, message, Some(&help)));
        }
        place.map(StageId::new).ok_or_else(|| {
            let names = || self.plan.stages.iter().map(|stage| stage.name.as_str());
            let help = match diagnostic::nearest(name, names()) {
                Some(near) => format!("there is a stage `{near}`"),
                None => {
                    let first: Vec<_> = names().take(MOST_NAMED).collect();
                    let more = match names().count().saturating_sub(MOST_NAMED) {
                        0 => String::new(),
                        more => format!(", and {more} more; `madmall plan` shows them all"),
                    };
                    format!("its stages are {}{more}", first.join(", "))
                }
            };
            let message = format!("pipeline `{}` has no stage `{name}`", self.plan.pipeline);
            Failure::new(ExitCode::Refused, message, Some(&help))
        })
    }
}

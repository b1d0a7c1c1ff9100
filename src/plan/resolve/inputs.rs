//! What a stage reads: an output of another stage, a file, a folder, what a pattern finds, or a list of such.

mod list;

use std::collections::HashMap;
use std::ops::Range;
use std::rc::Rc;

use camino::{Utf8Path, Utf8PathBuf};

use super::families::{Families, Own};
use super::files::unreadable;
use super::glob::{Glob, is_pattern};
use super::outputs::{OutputAt, Outputs};
use super::paths;
use crate::diagnostic::{Diagnostic, nearest, quoted};
use crate::plan::stage_name::family;
use crate::spec::{PipelineSpec, Stage, Text, is_name};
use crate::tree::{EntryKind, Tree};

/// Looking for the nearest name takes time; after so many there is no more of that advice.
const MOST_ADVICE: usize = 30;

/// How many outputs all the stages of a pipeline read by gathering.
const MOST_GATHERED: usize = 1_000_000;

/// Where an input comes from; stages and outputs are counted as written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Found {
    File {
        path: Utf8PathBuf,
    },
    Folder {
        path: Utf8PathBuf,
        files: Vec<Utf8PathBuf>,
    },
    Glob {
        pattern: String,
        files: Vec<Utf8PathBuf>,
        /// Of a list: the folders in it.
        folders: Vec<Utf8PathBuf>,
    },
    Output(OutputAt),
    /// Nothing: it is optional, and not there.
    Absent,
    /// The same output of every stage that a written one makes.
    Gather {
        stages: Range<usize>,
        output: usize,
    },
}

impl Found {
    /// The stages that make it.
    pub(super) fn makers(&self) -> Range<usize> {
        match self {
            Self::File { .. } | Self::Folder { .. } | Self::Glob { .. } | Self::Absent => 0..0,
            Self::Output((stage, _)) => *stage..stage + 1,
            Self::Gather { stages, .. } => stages.clone(),
        }
    }
}

/// Where the files that are read through a link really lie.
pub(super) type Links = HashMap<Utf8PathBuf, Utf8PathBuf>;

/// Finds every input of every stage, as written; `None` for one whose fault has been reported. Beside them the links that
/// were followed.
pub(super) fn resolve(
    tree: &dyn Tree,
    spec: &PipelineSpec,
    families: &Families,
    outputs: &Outputs,
    faults: &mut Vec<Diagnostic>,
) -> (Vec<Vec<Option<Found>>>, Links) {
    let mut finder = Finder {
        tree,
        spec,
        outputs,
        families,
        gathered: 0,
        listings: HashMap::new(),
        kinds: HashMap::new(),
        links: Links::new(),
        advice_left: MOST_ADVICE,
        faults,
    };
    let mut found = Vec::with_capacity(spec.stages.len());
    for stage in &spec.stages {
        let inputs = stage.inputs.iter().map(|(name, written)| {
            let is_optional = stage.optional.iter().any(|optional| optional.text == name.text);
            match stage.lists.iter().find(|(list, _)| *list == name.text) {
                Some((_, parts)) => finder.list(stage, written, parts),
                None => finder.find(stage, written, is_optional),
            }
        });
        found.push(inputs.collect());
    }
    (found, finder.links)
}

type Listing = Rc<Vec<(Utf8PathBuf, EntryKind)>>;

struct Finder<'a> {
    tree: &'a dyn Tree,
    spec: &'a PipelineSpec,
    outputs: &'a Outputs,
    families: &'a Families,
    /// How many outputs are read by gathering.
    gathered: usize,
    /// The files below a folder; listed once each.
    listings: HashMap<Utf8PathBuf, Listing>,
    /// What stands at a path; asked once each.
    kinds: HashMap<Utf8PathBuf, Option<EntryKind>>,
    links: Links,
    advice_left: usize,
    faults: &'a mut Vec<Diagnostic>,
}

impl Finder<'_> {
    fn refuse(
        &mut self,
        written: &Text,
        message: impl Into<String>,
        label: impl Into<String>,
        help: impl Into<String>,
    ) -> Option<Found> {
        let fault = Diagnostic::error(message).at(&self.spec.source, written.span, label);
        self.faults.push(fault.help(help));
        None
    }

    fn find(&mut self, reader: &Stage, written: &Text, is_optional: bool) -> Option<Found> {
        let stage = reader.name.text.as_str();
        let text = written.text.as_str();
        let (name, output) = match text.split_once('.') {
            Some((name, output)) => (name, Some(output)),
            None => (text, None),
        };
        let families = self.families;
        if let Some(family) = families.get(name)
            && output.is_none_or(is_name)
        {
            let (first, output) = self.reference(written, family.stages.start, output)?;
            return match family.own(reader) {
                Own::Single => Some(Found::Output((first, output))),
                Own::At(at) => Some(Found::Output((at, output))),
                Own::All => self.gather(written, family.stages.clone(), output),
                Own::Missing(axis, value) => {
                    let message = format!("stage `{name}` is not made for `{axis}` = {}", quoted(&value));
                    let label = format!("read by stage `{stage}`, which is");
                    let help = "give both stages the same values, or call the axis of one of them otherwise";
                    self.refuse(written, message, label, help)
                }
            };
        }
        if let Some((name, _)) = text.split_once('[').filter(|(name, _)| families.get(name).is_some()) {
            let help = format!("write the path of its output, or `{name}` for those of all");
            let message = format!("one of the stages that `{name}` makes is not named here");
            return self.refuse(written, message, "", help);
        }
        if is_pattern(text) && !text.contains("${") {
            return self.glob(stage, written, is_optional);
        }
        let path = match paths::normalise(text) {
            Ok(path) => path,
            Err(fault) => return self.refuse(written, fault.message(), "", fault.help()),
        };
        if let Some(at) = self.outputs.at(&path) {
            return match text.ends_with('/') && !self.outputs.is_folder(at) {
                true => {
                    let message = format!("{} is a file that a stage writes", quoted(text));
                    self.refuse(written, message, "", "remove the `/` at the end")
                }
                false => Some(Found::Output(at)),
            };
        }
        if let Some(at) = self.outputs.folder_above(&path) {
            return self.inside_output(written, at);
        }
        if let Some(folder) = paths::private_folder(&path) {
            let message = format!("input {} lies in `{folder}`", quoted(text));
            return self.refuse(
                written,
                message,
                "",
                "that folder is not for inputs: copy the file to another one",
            );
        }
        if let Some(path) = self.outputs.near(&path).and_then(|at| self.outputs.path(at)) {
            let message = format!(
                "{} and the output `{path}` are one file on some file systems",
                quoted(text)
            );
            return self.refuse(
                written,
                message,
                "",
                format!("write `{path}` if that is meant, or rename one of the two"),
            );
        }
        match self.kind(written, &path)? {
            Some(EntryKind::File { .. }) if text.ends_with('/') => self.refuse(
                written,
                format!("{} is a file", quoted(text)),
                "",
                "remove the `/` at the end",
            ),
            Some(EntryKind::File { .. }) => {
                let real = self.real_path(written, &path)?;
                self.check_real(written, &path, &real)?;
                Some(Found::File { path })
            }
            Some(EntryKind::Folder) => self.folder(written, path),
            Some(EntryKind::BadLink) => {
                let message = format!("{} is a link that leads out of the workspace, or nowhere", quoted(text));
                self.refuse(written, message, "", "put the file itself into the workspace")
            }
            Some(EntryKind::Other) => {
                let message = format!("{} is neither a file nor a folder", quoted(text));
                self.refuse(written, message, "", "name a file or a folder")
            }
            None if is_optional => Some(Found::Absent),
            None => {
                let help = self.advice(text, &path);
                let message = format!("no stage produces {}, and no such file exists", quoted(text));
                self.refuse(written, message, format!("read by stage `{stage}`"), help)
            }
        }
    }

    /// Refuses what lies in the output folder `at`: only the whole of it is known to be there.
    fn inside_output(&mut self, written: &Text, at: OutputAt) -> Option<Found> {
        let stage = &self.spec.stages[at.0];
        let (name, folder) = &stage.outputs[at.1];
        let by = family(&stage.name.text);
        let message = format!("{} lies in the output folder `{}`", quoted(&written.text), folder.text);
        let label = format!("written by stage `{}`", stage.name.text);
        let help = format!("read the whole folder, `{by}.{}`, and take the file from it", name.text);
        let fault = Diagnostic::error(message).at(&self.spec.source, written.span, "");
        self.faults
            .push(fault.at(&self.spec.source, folder.span, label).help(help));
        None
    }

    /// The output that `stage.output`, or `stage` alone, names.
    fn reference(&mut self, written: &Text, at: usize, output: Option<&str>) -> Option<OutputAt> {
        let stage = &self.spec.stages[at];
        if stage.outputs.is_empty() {
            // Every stage has outputs; that this one has none has been reported.
            return None;
        }
        let name = family(&stage.name.text);
        let literal = format!("a file of that name is written `./{}`", written.text);
        let Some(output) = output else {
            if stage.outputs.len() == 1 {
                return Some((at, 0));
            }
            let outputs: Vec<String> = stage
                .outputs
                .iter()
                .map(|(own, _)| format!("`{name}.{}`", own.text))
                .collect();
            let message = format!("stage `{name}` has {} outputs", stage.outputs.len());
            let help = format!("write one of {}; {literal}", outputs.join(", "));
            self.refuse(written, message, "which one?", help);
            return None;
        };
        let place = stage.outputs.iter().position(|(own, _)| own.text == output);
        if place.is_none() {
            let names = stage.outputs.iter().map(|(own, _)| own.text.as_str());
            let help = match nearest(output, names.clone()) {
                Some(known) => format!("did you mean `{name}.{known}`? {literal}"),
                None => format!(
                    "its outputs are `{}`; {literal}",
                    names.collect::<Vec<_>>().join("`, `")
                ),
            };
            self.refuse(written, format!("stage `{name}` has no output `{output}`"), "", help);
        }
        place.map(|place| (at, place))
    }

    fn gather(&mut self, written: &Text, stages: Range<usize>, output: usize) -> Option<Found> {
        self.gathered += stages.len();
        if self.gathered > MOST_GATHERED {
            let message = format!("more than {MOST_GATHERED} outputs are read by stages that gather");
            let help = "let one stage gather them, and the others read what it writes";
            return self.refuse(written, message, "", help);
        }
        Some(Found::Gather { stages, output })
    }

    fn folder(&mut self, written: &Text, path: Utf8PathBuf) -> Option<Found> {
        let listing = self.listing(written, &path)?;
        let real = self.real_path(written, &path)?;
        self.check_real(written, &path, &real)?;
        let written_there = self.outputs.iter().map(|(output, _)| output);
        if let Some(output) = written_there
            .filter(|_| real != path)
            .find(|output| output.starts_with(&real))
        {
            let message = format!(
                "the folder {} is a link to `{real}`, where the output `{output}` lies",
                quoted(&written.text)
            );
            let help = "write the output somewhere else, or name the files that are read by a pattern";
            return self.refuse(written, message, "", help);
        }
        let mut files = Vec::with_capacity(listing.len());
        for (file, kind) in listing.iter() {
            self.check_kind(written, file, *kind)?;
            if self.outputs.covering(file).is_none() {
                let real = self.real_path(written, file)?;
                self.check_real(written, file, &real)?;
                files.push(file.clone());
            }
        }
        if files.is_empty() {
            let message = format!("the folder {} has no files in it", quoted(&written.text));
            return self.refuse(written, message, "", "put the files there, or remove the input");
        }
        Some(Found::Folder { path, files })
    }

    fn glob(&mut self, stage: &str, written: &Text, is_optional: bool) -> Option<Found> {
        let glob = match Glob::parse(&written.text) {
            Ok(glob) => glob,
            Err((message, help)) => return self.refuse(written, message, "", help),
        };
        let mut bases: Vec<&Utf8Path> = glob.bases().collect();
        bases.sort_unstable();
        bases.dedup();
        let mut files: Vec<Utf8PathBuf> = Vec::new();
        for base in bases {
            let is_root = base.as_str().is_empty();
            if !is_root && self.kind(written, base)? != Some(EntryKind::Folder) {
                continue;
            }
            for (file, kind) in self.listing(written, base)?.iter() {
                if !glob.finds(file) || self.outputs.covering(file).is_some() {
                    continue;
                }
                self.check_kind(written, file, *kind)?;
                let real = self.real_path(written, file)?;
                if self.outputs.covering(&real).is_none() {
                    self.check_real(written, file, &real)?;
                    files.push(file.clone());
                }
            }
        }
        files.sort_unstable_by(|one, other| one.as_str().cmp(other.as_str()));
        files.dedup();
        if files.is_empty() && is_optional {
            return Some(Found::Absent);
        }
        if files.is_empty() {
            let message = format!("the pattern {} finds no file", quoted(&written.text));
            let help = "it sees only files that no stage of this pipeline writes, and `*` skips names with a leading dot; \
                        name outputs as `stage.output`";
            return self.refuse(written, message, format!("read by stage `{stage}`"), help);
        }
        Some(Found::Glob {
            pattern: written.text.clone(),
            files,
            folders: Vec::new(),
        })
    }

    /// Refuses what is no file among the files of a folder or a pattern.
    fn check_kind(&mut self, written: &Text, file: &Utf8Path, kind: EntryKind) -> Option<()> {
        let what = match kind {
            EntryKind::File { .. } => return Some(()),
            EntryKind::Folder => "is a link to a folder",
            EntryKind::BadLink => "is a link that leads out of the workspace, or nowhere",
            EntryKind::Other => "is neither a file nor a folder",
        };
        let message = format!("{} {what}", quoted(file.as_str()));
        let label = "it is among the files that this reads";
        self.refuse(
            written,
            message,
            label,
            "put files there, or name the others by a pattern",
        )
        .map(drop)
    }

    /// Where `path`, which leads to a file or folder of the workspace, really lies.
    fn real_path(&mut self, written: &Text, path: &Utf8Path) -> Option<Utf8PathBuf> {
        match self.tree.real_path(path) {
            Ok(real) => {
                let real = real.unwrap_or_else(|| path.to_owned());
                // Mostly they are the same text, and to compare names takes longer.
                if real.as_str() != path.as_str() && real != path {
                    self.links.insert(path.to_owned(), real.clone());
                }
                Some(real)
            }
            Err(error) => {
                self.faults
                    .push(unreadable(&error).at(&self.spec.source, written.span, ""));
                None
            }
        }
    }

    /// Refuses what a link leads to if it could not be read by its own name, or must be read by that.
    fn check_real(&mut self, written: &Text, path: &Utf8Path, real: &Utf8Path) -> Option<()> {
        if path.as_str() == real.as_str() || path == real {
            return Some(());
        }
        let shown = quoted(path.as_str());
        if let Some(folder) = paths::private_folder(real) {
            let message = format!("{shown} leads to `{real}`, which lies in `{folder}`");
            let help = "that folder is not for inputs: put the file itself somewhere else";
            return self.refuse(written, message, "", help).map(drop);
        }
        if let Some((stage, output)) = self.outputs.covering(real) {
            let stage = &self.spec.stages[stage];
            let message = format!("{shown} leads to `{real}`, an output of stage `{}`", stage.name.text);
            let help = format!(
                "write `{}.{}`, so that it is made before it is read",
                family(&stage.name.text),
                stage.outputs[output].0.text
            );
            return self.refuse(written, message, "", help).map(drop);
        }
        Some(())
    }

    fn kind(&mut self, written: &Text, path: &Utf8Path) -> Option<Option<EntryKind>> {
        if let Some(kind) = self.kinds.get(path) {
            return Some(*kind);
        }
        match self.tree.kind(path) {
            Ok(kind) => {
                self.kinds.insert(path.to_owned(), kind);
                Some(kind)
            }
            Err(error) => {
                self.faults
                    .push(unreadable(&error).at(&self.spec.source, written.span, ""));
                None
            }
        }
    }

    /// The files below `folder`, without those that no stage may see.
    fn listing(&mut self, written: &Text, folder: &Utf8Path) -> Option<Listing> {
        if let Some(listing) = self.listings.get(folder) {
            return Some(Rc::clone(listing));
        }
        match self.tree.files_below(folder) {
            Ok(files) => {
                let seen = files
                    .into_iter()
                    .filter(|(path, _)| paths::private_folder(path).is_none());
                let listing = Rc::new(seen.collect());
                self.listings.insert(folder.to_owned(), Rc::clone(&listing));
                Some(listing)
            }
            Err(error) => {
                self.faults
                    .push(unreadable(&error).at(&self.spec.source, written.span, ""));
                None
            }
        }
    }

    fn advice(&mut self, text: &str, path: &Utf8Path) -> String {
        const OTHERWISE: &str = "put the file there, or name an output as `stage.output`";
        if self.advice_left == 0 {
            return OTHERWISE.to_owned();
        }
        self.advice_left -= 1;
        let spec = self.spec;
        let references: Vec<String> = spec
            .stages
            .iter()
            .flat_map(|stage| {
                stage
                    .outputs
                    .iter()
                    .map(move |(own, _)| format!("{}.{}", family(&stage.name.text), own.text))
            })
            .chain(spec.stages.iter().map(|stage| family(&stage.name.text).to_owned()))
            .collect();
        if let Some(reference) = nearest(text, references.iter().map(String::as_str)) {
            return format!("did you mean `{reference}`?");
        }
        let outputs = self.outputs.iter().map(|(path, _)| path.as_str());
        if let Some(output) = nearest(path.as_str(), outputs)
            && let Some((stage, _)) = self.outputs.at(Utf8Path::new(output))
        {
            return format!("stage `{}` produces `{output}`", spec.stages[stage].name.text);
        }
        let folder = path.parent().filter(|folder| !folder.as_str().is_empty());
        let files = folder
            .and_then(|folder| self.tree.files_below(folder).ok())
            .unwrap_or_default();
        match nearest(path.as_str(), files.iter().map(|(file, _)| file.as_str())) {
            Some(file) => format!("there is a file `{file}`"),
            None => OTHERWISE.to_owned(),
        }
    }
}

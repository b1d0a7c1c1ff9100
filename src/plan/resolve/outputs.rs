//! What a pipeline writes: every output in a place of its own, where nothing else can be lost.

use std::collections::{HashMap, HashSet};

use camino::{Utf8Path, Utf8PathBuf};

use super::files::unreadable;
use super::inputs::Found;
use super::paths;
use crate::diagnostic::{Diagnostic, quoted};
use crate::spec::{PipelineSpec, Text};
use crate::tree::{EntryKind, Tree};

/// An output: stage and place among its outputs, both as written.
pub(super) type OutputAt = (usize, usize);

/// Every output of a pipeline by its path.
pub(super) struct Outputs {
    /// By text, which a normal path has one of: to hash names takes longer.
    by_path: HashMap<String, OutputAt>,
    by_folded: HashMap<String, OutputAt>,
    /// For each stage its outputs in the order written; `None` if the path's fault has been reported.
    by_stage: Vec<Vec<Option<Utf8PathBuf>>>,
    /// Those that are folders.
    folders: HashSet<OutputAt>,
}

impl Outputs {
    /// The output at `path`.
    pub(super) fn at(&self, path: &Utf8Path) -> Option<OutputAt> {
        self.by_path.get(path.as_str()).copied()
    }

    /// The output that `path` is, or whose folder it lies in.
    pub(super) fn covering(&self, path: &Utf8Path) -> Option<OutputAt> {
        self.at(path).or_else(|| self.folder_above(path))
    }

    /// The output folder that `path` lies in.
    pub(super) fn folder_above(&self, path: &Utf8Path) -> Option<OutputAt> {
        if self.folders.is_empty() {
            return None;
        }
        paths::folders_above(path).find_map(|folder| self.near(folder).filter(|at| self.folders.contains(at)))
    }

    /// Whether an output is a folder.
    pub(super) fn is_folder(&self, at: OutputAt) -> bool {
        self.folders.contains(&at)
    }

    /// The output at `path` or at one that a file system may take for it.
    pub(super) fn near(&self, path: &Utf8Path) -> Option<OutputAt> {
        self.by_folded.get(&paths::folded(path.as_str())).copied()
    }

    /// The path of an output.
    pub(super) fn path(&self, (stage, output): OutputAt) -> Option<&Utf8PathBuf> {
        self.by_stage[stage][output].as_ref()
    }

    /// Every path with its output, in no order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&Utf8Path, OutputAt)> {
        self.by_path.iter().map(|(path, at)| (Utf8Path::new(path), *at))
    }
}

/// Collects the outputs of a pipeline whose definition files are `definitions`.
pub(super) fn collect(
    tree: &dyn Tree,
    spec: &PipelineSpec,
    definitions: &[&Utf8PathBuf],
    faults: &mut Vec<Diagnostic>,
) -> Outputs {
    let mut collector = Collector {
        tree,
        spec,
        definitions: definitions.iter().map(|path| paths::folded(path.as_str())).collect(),
        folders: HashMap::new(),
        faults,
    };
    let mut outputs = Outputs {
        by_path: HashMap::new(),
        by_folded: HashMap::new(),
        by_stage: Vec::with_capacity(spec.stages.len()),
        folders: HashSet::new(),
    };
    for (at, stage) in spec.stages.iter().enumerate() {
        let mut own = Vec::with_capacity(stage.outputs.len());
        for (index, (_, written)) in stage.outputs.iter().enumerate() {
            let path = collector.path(written);
            if written.text.ends_with('/') {
                outputs.folders.insert((at, index));
            }
            own.push(path.filter(|path| collector.place(&mut outputs, path, (at, index), written)));
        }
        outputs.by_stage.push(own);
    }
    collector.refuse_nested(&outputs);
    outputs
}

/// Refuses outputs that lie inside a folder that some stage reads as a whole.
pub(super) fn refuse_in_inputs(
    spec: &PipelineSpec,
    outputs: &Outputs,
    inputs: &[Vec<Option<Found>>],
    faults: &mut Vec<Diagnostic>,
) {
    let mut folders: HashMap<&Utf8Path, (usize, usize)> = HashMap::new();
    for (stage, found) in inputs.iter().enumerate() {
        for (input, found) in found.iter().enumerate() {
            let read = match found {
                Some(Found::Folder { path, .. }) => std::slice::from_ref(path),
                Some(Found::Glob { folders, .. }) => folders,
                _ => &[],
            };
            for path in read {
                folders.entry(path).or_insert((stage, input));
            }
        }
    }
    if folders.is_empty() {
        return;
    }
    for (stage, own) in outputs.by_stage.iter().enumerate() {
        for (output, path) in own.iter().enumerate() {
            let Some(path) = path else { continue };
            let above = paths::folders_above(path).find_map(|folder| folders.get(folder).map(|at| (folder, *at)));
            if let Some((folder, (reader, input))) = above {
                let written = &spec.stages[stage].outputs[output].1;
                let read = &spec.stages[reader].inputs[input].1;
                faults.push(
                    Diagnostic::error(format!(
                        "output {} lies inside the input folder `{folder}`",
                        quoted(&written.text)
                    ))
                    .at(&spec.source, written.span, "written here")
                    .at(
                        &spec.source,
                        read.span,
                        format!("read by stage `{}`", spec.stages[reader].name.text),
                    )
                    .help("write it somewhere else, or name the files that are read by a pattern"),
                );
            }
        }
    }
}

struct Collector<'a> {
    tree: &'a dyn Tree,
    spec: &'a PipelineSpec,
    /// Folded.
    definitions: Vec<String>,
    /// What stands where a folder must be, and where it leads to if that is a link; asked once each.
    folders: HashMap<Utf8PathBuf, Option<(EntryKind, Option<Utf8PathBuf>)>>,
    faults: &'a mut Vec<Diagnostic>,
}

impl Collector<'_> {
    fn refuse(&mut self, written: &Text, message: impl Into<String>, help: impl Into<String>) -> Option<Utf8PathBuf> {
        let fault = Diagnostic::error(message).at(&self.spec.source, written.span, "");
        self.faults.push(fault.help(help));
        None
    }

    fn path(&mut self, written: &Text) -> Option<Utf8PathBuf> {
        let path = match paths::normalise(&written.text) {
            Ok(path) => path,
            Err(fault) => return self.refuse(written, fault.message(), fault.help()),
        };
        let shown = quoted(path.as_str());
        if path.as_str().contains(['*', '?', '[', '{']) {
            let help = "an output is one file or one folder: write its path without `*`, `?`, `[` and `{`";
            return self.refuse(written, format!("output {shown} looks like a pattern"), help);
        }
        if let Some(folder) = paths::private_folder(&path) {
            let help = "that folder is not for outputs: write to another one";
            return self.refuse(written, format!("output {shown} lies in `{folder}`"), help);
        }
        let is_definition = self.definitions.contains(&paths::folded(path.as_str()));
        if let Some(kind) = paths::definition_kind(&path).or(is_definition.then_some("a definition of this pipeline")) {
            let help = "a run must not change what defines it: write to another file";
            return self.refuse(written, format!("output {shown} is {kind}"), help);
        }
        if written.text.ends_with('/') {
            self.check_folder(written, &path)?;
        }
        self.check_place(written, &path)?;
        Some(path)
    }

    /// Refuses an output folder in which definitions lie, or are looked for.
    fn check_folder(&mut self, written: &Text, path: &Utf8Path) -> Option<()> {
        let shown = quoted(path.as_str());
        let help = "a run must not change what defines it: write to another folder";
        let folder = paths::folded(path.as_str());
        let top = folder.split('/').next().unwrap_or_default();
        if matches!(top, "pipelines" | "stages") {
            let message = format!("output {shown} is a folder of definitions");
            return self.refuse(written, message, help).map(drop);
        }
        let below = format!("{folder}/");
        match self.definitions.iter().find(|file| file.starts_with(&below)) {
            Some(file) => {
                let message = format!("output {shown} is a folder that holds `{file}`, a definition of this pipeline");
                self.refuse(written, message, help).map(drop)
            }
            None => Some(()),
        }
    }

    /// Looks at what stands at `path` and on the way to it.
    fn check_place(&mut self, written: &Text, path: &Utf8Path) -> Option<()> {
        let shown = quoted(path.as_str());
        let mut folders: Vec<&Utf8Path> = paths::folders_above(path).collect();
        folders.reverse();
        for folder in folders {
            match self.look_at_folder(written, folder)? {
                None => return Some(()),
                Some((EntryKind::Folder, Some(real))) => {
                    let rest = path.strip_prefix(folder).unwrap_or(path);
                    let message = format!("output {shown} goes through the link `{folder}`, which leads to `{real}`");
                    let help = format!("write `{}`, so that each output has one name", real.join(rest));
                    return self.refuse(written, message, help).map(drop);
                }
                Some((EntryKind::Folder, None)) => {}
                Some((EntryKind::BadLink, _)) => {
                    let message = format!("output {shown} leads out of the workspace, through the link `{folder}`");
                    return self
                        .refuse(written, message, "write to a folder of the workspace")
                        .map(drop);
                }
                Some(_) => {
                    let message = format!("output {shown} cannot be: `{folder}` is a file");
                    return self
                        .refuse(written, message, "write to another path, or remove that file")
                        .map(drop);
                }
            }
        }
        let kind = match self.tree.kind(path) {
            Ok(kind) => kind,
            Err(error) => {
                self.faults
                    .push(unreadable(&error).at(&self.spec.source, written.span, ""));
                return None;
            }
        };
        let is_folder = written.text.ends_with('/');
        let (message, help) = match (kind, is_folder) {
            (None, _) => return Some(()),
            (Some(EntryKind::File { .. }), false) | (Some(EntryKind::Folder), true) => {
                match self.leads_to(written, path)? {
                    None => return Some(()),
                    Some(real) => {
                        let message = format!("output {shown} is a link to `{real}`");
                        return self
                            .refuse(written, message, "remove the link, or write to where it leads")
                            .map(drop);
                    }
                }
            }
            (Some(EntryKind::File { .. }), true) => (
                "is a file, and a path that ends in `/` is that of a folder",
                "remove the `/`, or that file",
            ),
            (Some(EntryKind::Folder), false) => (
                "is a folder",
                "write the path of a folder with a `/` at its end, or remove that folder",
            ),
            (Some(EntryKind::BadLink), _) => ("is a link that leads out of the workspace", "remove the link"),
            (Some(EntryKind::Other), _) => ("is no file", "write to another path"),
        };
        self.refuse(written, format!("output {shown} {message}"), help)
            .map(drop)
    }

    /// Where `path` leads to, if it is a link or goes through one.
    fn leads_to(&mut self, written: &Text, path: &Utf8Path) -> Option<Option<Utf8PathBuf>> {
        match self.tree.real_path(path) {
            // A file system that takes two spellings for one name gives the one that it keeps.
            Ok(real) => Some(real.filter(|real| paths::folded(real.as_str()) != paths::folded(path.as_str()))),
            Err(error) => {
                self.faults
                    .push(unreadable(&error).at(&self.spec.source, written.span, ""));
                None
            }
        }
    }

    fn look_at_folder(
        &mut self,
        written: &Text,
        folder: &Utf8Path,
    ) -> Option<Option<(EntryKind, Option<Utf8PathBuf>)>> {
        if let Some(found) = self.folders.get(folder) {
            return Some(found.clone());
        }
        let found = match self.tree.kind(folder) {
            Ok(None) => None,
            Ok(Some(kind)) => Some((kind, self.leads_to(written, folder)?)),
            Err(error) => {
                self.faults
                    .push(unreadable(&error).at(&self.spec.source, written.span, ""));
                return None;
            }
        };
        self.folders.insert(folder.to_owned(), found.clone());
        Some(found)
    }

    /// Gives the output its place, unless another has it.
    fn place(&mut self, outputs: &mut Outputs, path: &Utf8PathBuf, at: OutputAt, written: &Text) -> bool {
        let folded = paths::folded(path.as_str());
        let Some(&(stage, output)) = outputs.by_folded.get(&folded) else {
            outputs.by_folded.insert(folded, at);
            outputs.by_path.insert(path.to_string(), at);
            return true;
        };
        let other = &self.spec.stages[stage];
        let first = &other.outputs[output].1;
        let same = outputs.by_path.contains_key(path.as_str());
        let message = match same {
            true => format!("two outputs are {}", quoted(path.as_str())),
            false => format!(
                "{} and {} are one file on some file systems",
                quoted(path.as_str()),
                quoted(&first.text)
            ),
        };
        let by = |name: &str| format!("written by stage `{name}`");
        let help = match first.span == written.span {
            true => "use the whole value in the path, as `${foreach.name}`: two stems are alike",
            false => "give each output a path of its own",
        };
        self.faults.push(
            Diagnostic::error(message)
                .at(&self.spec.source, written.span, by(&self.spec.stages[at.0].name.text))
                .at(&self.spec.source, first.span, by(&other.name.text))
                .help(help),
        );
        false
    }

    /// Refuses an output that is a folder above another output.
    fn refuse_nested(&mut self, outputs: &Outputs) {
        for (stage, own) in outputs.by_stage.iter().enumerate() {
            for (output, path) in own.iter().enumerate() {
                let Some(path) = path else { continue };
                let Some(above) = paths::folders_above(path).find_map(|folder| outputs.near(folder)) else {
                    continue;
                };
                let written = &self.spec.stages[stage].outputs[output].1;
                let folder = &self.spec.stages[above.0].outputs[above.1].1;
                let what = match outputs.is_folder(above) {
                    true => "lies inside this one",
                    false => "lies inside this one, which is a file",
                };
                self.faults.push(
                    Diagnostic::error(format!("output {} lies inside another output", quoted(path.as_str())))
                        .at(&self.spec.source, written.span, "this one")
                        .at(&self.spec.source, folder.span, what)
                        .help("give each output a path of its own"),
                );
            }
        }
    }
}

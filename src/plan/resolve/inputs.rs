//! What a stage reads: an output of another stage, a file, a folder, what a pattern finds, or a list of such.

mod list;
mod refuse;

use std::collections::HashMap;
use std::ops::Range;
use std::rc::Rc;

use camino::{Utf8Path, Utf8PathBuf};
use rayon::prelude::*;

use self::refuse::MOST_ADVICE;
use super::families::{Families, Family, Own};
use super::files::unreadable;
use super::glob::{Glob, is_pattern};
use super::near::near;
use super::outputs::{OutputAt, Outputs};
use super::paths;
use crate::diagnostic::{Diagnostic, nearest, quoted};
use crate::plan::stage_name::family;
use crate::shared_path::SharedPath;
use crate::spec::{PipelineSpec, Stage, Text, is_name};
use crate::tree::{Below, EntryKind, Tree};

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
        files: Vec<SharedPath>,
    },
    Glob {
        pattern: String,
        files: Vec<SharedPath>,
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

type Listing = Rc<Vec<Below>>;

/// So many files of a folder at least are gone through by one core.
const TOGETHER: usize = 1024;

/// Each file of a listing, by all cores.
fn each(listing: &[Below]) -> impl IndexedParallelIterator<Item = &Below> {
    listing.par_iter().with_min_len(TOGETHER)
}

/// Whether all in it are sources, read by their own names: then nothing has to be asked of any.
fn is_plain(listing: &[Below], outputs: &Outputs) -> bool {
    each(listing).all(|below| below.is_real && below.is_file() && outputs.covering(&below.path).is_none())
}

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
    fn find(&mut self, reader: &Stage, written: &Text, is_optional: bool) -> Option<Found> {
        if self.families.unfilled.contains(&written.span) {
            return None;
        }
        let text = written.text.as_str();
        let (name, output) = match text.split_once('.') {
            Some((name, output)) => (name, Some(output)),
            None => (text, None),
        };
        let families = self.families;
        if let Some(family) = families.get(name)
            && output.is_none_or(is_name)
        {
            return self.of_family(reader, written, (name, family), output);
        }
        if let Some((name, _)) = text.split_once('[').filter(|(name, _)| families.get(name).is_some()) {
            let help = format!("write the path of its output, or `{name}` for those of all");
            let message = format!("one of the stages that `{name}` makes is not named here");
            return self.refuse(written, message, "", help);
        }
        if is_pattern(text) && !text.contains("${") {
            return self.glob(&reader.name.text, written, is_optional);
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
        self.source(&reader.name.text, (written, path), is_optional)
    }

    /// The output of the stages that are called `name`, or of the one of them that goes with `reader`.
    fn of_family(
        &mut self,
        reader: &Stage,
        written: &Text,
        (name, family): (&str, &Family),
        output: Option<&str>,
    ) -> Option<Found> {
        let (first, output) = self.reference(written, family.stages.start, output)?;
        match family.own(reader) {
            Own::Single => Some(Found::Output((first, output))),
            Own::At(at) => Some(Found::Output((at, output))),
            Own::All => self.gather(written, family.stages.clone(), output),
            Own::Missing(axis, value) => {
                let message = format!("stage `{name}` is not made for `{axis}` = {}", quoted(&value));
                let label = format!("read by stage `{}`, which is", reader.name.text);
                let help = "give both stages the same values, or call the axis of one of them otherwise";
                self.refuse(written, message, label, help)
            }
        }
    }

    /// The file or folder at `path`, which no stage makes.
    fn source(&mut self, stage: &str, (written, path): (&Text, Utf8PathBuf), is_optional: bool) -> Option<Found> {
        let text = written.text.as_str();
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
        let files = match is_plain(&listing, self.outputs) {
            true => each(&listing).map(|below| below.path.clone()).collect(),
            false => self.sources_among(written, &listing)?,
        };
        if files.is_empty() {
            let message = format!("the folder {} has no files in it", quoted(&written.text));
            return self.refuse(written, message, "", "put the files there, or remove the input");
        }
        self.check_names(written, &files)?;
        Some(Found::Folder { path, files })
    }

    /// What is no output of all that a folder has.
    fn sources_among(&mut self, written: &Text, listing: &[Below]) -> Option<Vec<SharedPath>> {
        let mut files = Vec::with_capacity(listing.len());
        for below in listing {
            self.check_kind(written, &below.path, below.kind)?;
            if self.outputs.covering(&below.path).is_none() {
                self.check_listed(written, below)?;
                files.push(below.path.clone());
            }
        }
        Some(files)
    }

    fn glob(&mut self, stage: &str, written: &Text, is_optional: bool) -> Option<Found> {
        let glob = match Glob::parse(&written.text) {
            Ok(glob) => glob,
            Err((message, help)) => return self.refuse(written, message, "", help),
        };
        let mut bases: Vec<&Utf8Path> = glob.bases().collect();
        bases.sort_unstable();
        bases.dedup();
        let mut files: Vec<SharedPath> = Vec::new();
        let mut absent = None;
        for base in bases {
            let is_root = base.as_str().is_empty();
            if !is_root && self.kind(written, base)? != Some(EntryKind::Folder) {
                absent.get_or_insert(base);
                continue;
            }
            for below in self.listing(written, base)?.iter() {
                let file = &below.path;
                if !glob.finds(file) || self.outputs.covering(file).is_some() {
                    continue;
                }
                self.check_kind(written, file, below.kind)?;
                if below.is_real {
                    files.push(file.clone());
                    continue;
                }
                let real = self.real_path(written, file)?;
                if self.outputs.covering(&real).is_none() {
                    self.check_real(written, file, &real)?;
                    files.push(file.clone());
                }
            }
        }
        files.sort_unstable();
        files.dedup();
        if files.is_empty() && is_optional {
            return Some(Found::Absent);
        }
        if files.is_empty() {
            let message = format!("the pattern {} finds no file", quoted(&written.text));
            let help = "it sees only files that no stage of this pipeline writes, and `*` skips names with a leading dot; \
                        name outputs as `stage.output`";
            let near = absent.and_then(|folder| near(self.tree, folder, |_| true));
            let help = near.map_or_else(|| help.to_owned(), |near| near.advice());
            return self.refuse(written, message, format!("read by stage `{stage}`"), help);
        }
        self.check_names(written, &files)?;
        Some(Found::Glob {
            pattern: written.text.clone(),
            files,
            folders: Vec::new(),
        })
    }

    /// Refuses a file of a folder if it could not be read by its own name, or must be read by another.
    fn check_listed(&mut self, written: &Text, below: &Below) -> Option<()> {
        if below.is_real {
            return Some(());
        }
        let real = self.real_path(written, &below.path)?;
        self.check_real(written, &below.path, &real)
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
            Ok(mut files) => {
                let is_private = |below: &Below| paths::private_folder(&below.path).is_some();
                if each(&files).any(is_private) {
                    files.retain(|below| !is_private(below));
                }
                let listing = Rc::new(files);
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
}

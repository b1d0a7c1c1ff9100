//! An input that is written as a list. It is one pattern that finds what its parts are, in one order however the list is written:
//! so whatever knows patterns knows lists.

use std::collections::HashMap;

use camino::{Utf8Path, Utf8PathBuf};

use super::{Finder, Found};
use crate::diagnostic::{Diagnostic, quoted};
use crate::plan::resolve::glob::{Glob, alternatives_of, part_of_path, part_of_pattern};
use crate::shared_path::SharedPath;
use crate::spec::{Stage, Text};

/// How long the pattern that a list becomes may be, in bytes: it stands in every receipt.
const LONGEST: usize = 64 << 10;

impl Finder<'_> {
    /// The files of all `parts`. Each part must find something, and nothing that another one finds too.
    pub(super) fn list(&mut self, reader: &Stage, written: &Text, parts: &[Text]) -> Option<Found> {
        if let [part] = parts {
            return self.find(reader, part, false);
        }
        // What is wrong with any of them is said at once.
        let found: Vec<_> = parts.iter().map(|part| self.part(reader, part)).collect();
        let found: Vec<Part> = found.into_iter().collect::<Option<_>>()?;
        self.refuse_overlap(parts, &found)?;
        let mut alternatives = Vec::with_capacity(found.len());
        let (mut files, mut folders) = (Vec::new(), Vec::new());
        for part in found {
            alternatives.push(part.alternative);
            files.extend(part.files);
            folders.extend(part.folder);
        }
        alternatives.sort_unstable();
        files.sort_unstable_by(|one, other| one.as_str().cmp(other.as_str()));
        let pattern = alternatives_of(&alternatives);
        if pattern.len() > LONGEST {
            let message = format!("the paths of the list are longer than {} KiB together", LONGEST >> 10);
            let help = "put the files into a folder, or find them by a pattern";
            return self.refuse(written, message, "", help);
        }
        match Glob::parse(&pattern) {
            Ok(_) => Some(Found::Glob {
                pattern,
                files,
                folders,
            }),
            Err((message, help)) => self.refuse(written, message, "", help),
        }
    }

    fn part(&mut self, reader: &Stage, written: &Text) -> Option<Part> {
        Some(match self.find(reader, written, false)? {
            Found::File { path } => Part {
                alternative: part_of_path(&path),
                files: vec![path.into()],
                folder: None,
            },
            Found::Folder { path, files } => Part {
                alternative: format!("{}/", part_of_path(&path)),
                files,
                folder: Some(path),
            },
            Found::Glob { pattern, files, .. } => Part {
                alternative: part_of_pattern(&pattern),
                files,
                folder: None,
            },
            Found::Output(_) | Found::Gather { .. } | Found::Absent => {
                let message = format!(
                    "{} is written by a stage, and cannot be part of a list",
                    quoted(&written.text)
                );
                let help = "give it an input of its own; a list has files, folders and patterns";
                self.refuse(written, message, "", help)?;
                return None;
            }
        })
    }

    /// Refuses a file that two parts find, by whatever link.
    fn refuse_overlap(&mut self, parts: &[Text], found: &[Part]) -> Option<()> {
        let mut seen: HashMap<&Utf8Path, (usize, &Utf8Path)> = HashMap::new();
        for (at, part) in found.iter().enumerate() {
            for file in &part.files {
                let real = self.links.get(file.as_path()).map_or(file.as_path(), |real| real);
                let before = seen.insert(real, (at, file.as_path()));
                let Some((first, other)) = before.filter(|(first, _)| *first != at) else {
                    continue;
                };
                let (message, help) = match other == file.as_path() {
                    true => (
                        format!("the file {} is in two parts of the list", quoted(file.as_str())),
                        "name each file once; a folder has all that is in it",
                    ),
                    false => (
                        format!(
                            "{} and {}, in two parts of the list, are one file",
                            quoted(file.as_str()),
                            quoted(other.as_str())
                        ),
                        "a link leads from one to the other: name one of the two",
                    ),
                };
                self.faults.push(
                    Diagnostic::error(message)
                        .at(&self.spec.source, parts[at].span, "here")
                        .at(&self.spec.source, parts[first].span, "and here")
                        .help(help),
                );
                return None;
            }
        }
        Some(())
    }
}

/// A part of a list.
struct Part {
    /// As it stands in the pattern.
    alternative: String,
    files: Vec<SharedPath>,
    folder: Option<Utf8PathBuf>,
}

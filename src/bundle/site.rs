//! A bundle, as verification sees it: the files of a workspace.

use std::collections::BTreeSet;

use camino::{Utf8Path, Utf8PathBuf};

use super::read::{Bundle, Held};
use crate::digest::Digests;
use crate::tree::{Below, Entry, EntryKind, EntryType, Site, Tree, TreeError};

impl Bundle {
    /// Everything below `folder`, sorted by the bytes of its path.
    fn below(&self, folder: &Utf8Path) -> impl Iterator<Item = (&Utf8Path, &Held)> {
        let prefix = match folder.as_str() {
            "" => String::new(),
            folder => format!("{folder}/"),
        };
        let after = self.files.range(prefix.clone()..);
        after
            .take_while(move |(path, _)| path.starts_with(&prefix))
            .map(|(path, held)| (Utf8Path::new(path), held))
    }

    fn held(&self, path: &Utf8Path) -> Result<&Held, TreeError> {
        let held = self.files.get(path.as_str());
        held.ok_or_else(|| failed(path, "it is not in the bundle"))
    }
}

impl Tree for Bundle {
    fn kind(&self, path: &Utf8Path) -> Result<Option<EntryKind>, TreeError> {
        let executable = self.files.get(path.as_str()).map(|held| held.executable);
        Ok(match executable {
            Some(executable) => Some(EntryKind::File { executable }),
            None if self.below(path).next().is_some() => Some(EntryKind::Folder),
            None => None,
        })
    }

    fn real_path(&self, path: &Utf8Path) -> Result<Option<Utf8PathBuf>, TreeError> {
        // There are no links.
        Ok(self.kind(path)?.map(|_| path.to_owned()))
    }

    fn read(&self, path: &Utf8Path, limit: u64) -> Result<Vec<u8>, TreeError> {
        match &self.held(path)?.bytes {
            Some(bytes) if bytes.len() as u64 <= limit => Ok(bytes.clone()),
            Some(_) => Err(TreeError::TooLarge {
                path: path.to_owned(),
                limit,
            }),
            None => Err(failed(path, "only its digests were kept")),
        }
    }

    fn files_below(&self, folder: &Utf8Path) -> Result<Vec<Below>, TreeError> {
        // As in a workspace, receipts are no stage's business.
        let is_private = |path: &Utf8Path| folder.as_str().is_empty() && path.starts_with("runs");
        let files = self.below(folder).filter(|(path, _)| !is_private(path));
        Ok(files
            .map(|(path, held)| {
                let executable = held.executable;
                Below::asked(path.to_owned(), EntryKind::File { executable })
            })
            .collect())
    }
}

impl Site for Bundle {
    fn digests(&self, path: &Utf8Path) -> Result<Digests, TreeError> {
        Ok(self.held(path)?.digests)
    }

    fn entries(&self, folder: &Utf8Path, depth: usize, most: usize) -> Result<Vec<Entry>, TreeError> {
        let mut entries = BTreeSet::new();
        let above = folder.components().count();
        for (path, _) in self.below(folder) {
            if entries.len() >= most {
                break;
            }
            let deep = path.components().count() - above;
            let all = path.ancestors().take(deep).enumerate();
            for (place, ancestor) in all.skip(deep.saturating_sub(depth)) {
                let kind = if place == 0 { EntryType::File } else { EntryType::Folder };
                entries.insert(Entry {
                    path: ancestor.to_owned(),
                    kind,
                    is_utf8: true,
                });
            }
        }
        Ok(entries.into_iter().take(most).collect())
    }

    fn folder(&self) -> Option<&Utf8Path> {
        None
    }

    fn excerpt_of(&self) -> Option<&str> {
        Some(self.run())
    }

    fn as_tree(&self) -> &dyn Tree {
        self
    }
}

fn failed(path: &Utf8Path, why: &'static str) -> TreeError {
    TreeError::Read {
        path: path.to_owned(),
        source: why.into(),
    }
}

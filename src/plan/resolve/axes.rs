//! The values of an axis: those of a list, or the files that a pattern finds.

use std::collections::HashSet;
use std::sync::Arc;

use camino::{Utf8Path, Utf8PathBuf};

use super::files::unreadable;
use super::glob::Glob;
use super::paths;
use super::values::{text, untyped};
use crate::diagnostic::{Diagnostic, Source, quoted};
use crate::plan::stage_name::is_axis_value;
use crate::spec::{Axis, AxisKind, AxisValues, Chosen, Node, NodeKind, Text};
use crate::tree::{EntryKind, Tree};

const SPELLING: &str = "a value is a part of names of stages and files: at most 200 printable characters, without `,`, `[`, \
                        `]`, `{`, `}`, `*`, `?`, `\\` and the backquote";

/// Values in their order, and the pattern that found them, if one did.
pub(super) type Values = (Vec<Chosen>, Option<(Glob, Text)>);

/// The values of `axis`; `None` if a fault in them has been reported.
pub(super) fn values(
    tree: &dyn Tree,
    source: &Arc<Source>,
    axis: &Axis,
    written: &AxisValues,
    faults: &mut Vec<Diagnostic>,
) -> Option<Values> {
    let mut finder = Finder {
        tree,
        source,
        axis,
        faults,
    };
    match written {
        AxisValues::List(items) => finder.list(items).map(|values| (values, None)),
        AxisValues::Pattern(pattern) => {
            let (values, glob) = finder.files(pattern)?;
            Some((values, Some((glob, pattern.clone()))))
        }
    }
}

struct Finder<'a> {
    tree: &'a dyn Tree,
    source: &'a Arc<Source>,
    axis: &'a Axis,
    faults: &'a mut Vec<Diagnostic>,
}

impl Finder<'_> {
    fn fault<T>(&mut self, span: crate::diagnostic::Span, message: String, help: impl Into<String>) -> Option<T> {
        self.faults
            .push(Diagnostic::error(message).at(self.source, span, "").help(help));
        None
    }

    fn chosen(&self, node: Node, text: String) -> Chosen {
        Chosen {
            axis: self.axis.name.text.clone(),
            kind: self.axis.kind,
            node,
            text,
        }
    }

    fn list(&mut self, items: &[Node]) -> Option<Vec<Chosen>> {
        let mut values = Vec::with_capacity(items.len());
        let mut seen = HashSet::new();
        let mut is_sound = true;
        for item in items {
            let value = text(&untyped(item)).unwrap_or_default();
            let is_piece = match self.axis.kind {
                AxisKind::Matrix => !value.contains('/') && value != "." && value != "..",
                AxisKind::Foreach => paths::normalise(&value).is_ok_and(|path| path.as_str() == value),
            };
            if !is_piece || !is_axis_value(&value) {
                let help = match (self.axis.kind, value.contains('/')) {
                    (AxisKind::Matrix, true) => "a value has no `/` in it: vary files by `foreach`".to_owned(),
                    (AxisKind::Foreach, true) => format!("write a relative path in normal form; {SPELLING}"),
                    _ => SPELLING.to_owned(),
                };
                self.fault::<()>(
                    item.span,
                    format!("{} cannot be a value of an axis", quoted(&value)),
                    help,
                );
                is_sound = false;
            } else if !seen.insert(value.clone()) {
                let message = format!(
                    "the axis `{}` has the value {} twice",
                    self.axis.name.text,
                    quoted(&value)
                );
                self.fault::<()>(item.span, message, "remove one of the two");
                is_sound = false;
            } else {
                values.push(self.chosen(item.clone(), value));
            }
        }
        is_sound.then_some(values)
    }

    fn files(&mut self, pattern: &Text) -> Option<(Vec<Chosen>, Glob)> {
        let glob = match Glob::parse(&pattern.text) {
            Ok(glob) => glob,
            Err((message, help)) => return self.fault(pattern.span, message, help),
        };
        let mut files = self.found(pattern, &glob)?;
        files.sort_unstable_by(|one, other| one.as_str().cmp(other.as_str()));
        files.dedup();
        if files.is_empty() {
            let message = format!("the pattern {} finds no file", quoted(&pattern.text));
            return self.fault(
                pattern.span,
                message,
                "put the files there; `*` skips names with a leading dot",
            );
        }
        let mut values = Vec::with_capacity(files.len());
        for file in files {
            if !is_axis_value(file.as_str()) {
                let message = format!("the file {} cannot name a stage", quoted(file.as_str()));
                return self.fault(pattern.span, message, format!("rename it; {SPELLING}"));
            }
            let node = Node {
                span: pattern.span,
                kind: NodeKind::Scalar {
                    text: file.to_string(),
                    plain: false,
                },
            };
            values.push(self.chosen(node, file.into_string()));
        }
        Some((values, glob))
    }

    fn found(&mut self, pattern: &Text, glob: &Glob) -> Option<Vec<Utf8PathBuf>> {
        let mut bases: Vec<&Utf8Path> = glob.bases().collect();
        bases.sort_unstable();
        bases.dedup();
        let mut files = Vec::new();
        for base in bases {
            let kind = match base.as_str() {
                "" => Ok(Some(EntryKind::Folder)),
                _ => self.tree.kind(base),
            };
            let listed = match kind {
                Ok(Some(EntryKind::Folder)) => self.tree.files_below(base),
                Ok(_) => continue,
                Err(error) => Err(error),
            };
            let listed = match listed {
                Ok(listed) => listed,
                Err(error) => {
                    self.faults.push(unreadable(&error).at(self.source, pattern.span, ""));
                    return None;
                }
            };
            for below in listed {
                let is_file = below.is_file();
                let path = below.path;
                if paths::private_folder(&path).is_some() || !glob.finds(&path) {
                    continue;
                }
                if !is_file {
                    let message = format!("{} is no file, and the pattern finds it", quoted(path.as_str()));
                    return self.fault(
                        pattern.span,
                        message,
                        "put files there, or name the others by a pattern",
                    );
                }
                files.push(path.into());
            }
        }
        Some(files)
    }
}

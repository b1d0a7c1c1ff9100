//! Why an input is refused: what is wrong with it, where that stands, and what may have been meant.

use camino::Utf8Path;
use rayon::prelude::*;

use super::{Finder, Found, TOGETHER};
use crate::diagnostic::{Diagnostic, nearest, quoted};
use crate::plan::resolve::near::near;
use crate::plan::resolve::outputs::OutputAt;
use crate::plan::resolve::paths;
use crate::plan::stage_name::family;
use crate::shared_path::SharedPath;
use crate::spec::Text;
use crate::tree::EntryKind;

/// Looking for the nearest name takes time; after so many there is no more of that advice.
pub(super) const MOST_ADVICE: usize = 30;

impl Finder<'_> {
    /// Reports what is wrong with an input as it is written.
    pub(super) fn refuse(
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

    /// Refuses what lies in the output folder `at`: only the whole of it is known to be there.
    pub(super) fn inside_output(&mut self, written: &Text, at: OutputAt) -> Option<Found> {
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

    /// Refuses what is no file among the files of a folder or a pattern.
    pub(super) fn check_kind(&mut self, written: &Text, file: &Utf8Path, kind: Option<EntryKind>) -> Option<()> {
        let what = match kind {
            None | Some(EntryKind::File { .. }) => return Some(()),
            Some(EntryKind::Folder) => "is a link to a folder",
            Some(EntryKind::BadLink) => "is a link that leads out of the workspace, or nowhere",
            Some(EntryKind::Other) => "is neither a file nor a folder",
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

    /// Refuses names that no listing has a spelling for, and so no receipt either.
    pub(super) fn check_names(&mut self, written: &Text, files: &[SharedPath]) -> Option<()> {
        let is_odd = |file: &&SharedPath| file.as_str().contains(char::is_control);
        let Some(odd) = files.par_iter().with_min_len(TOGETHER).find_first(is_odd) else {
            return Some(());
        };
        let message = format!("the name `{}` holds a control character", odd.as_str().escape_debug());
        let label = "it is among the files that this reads";
        self.refuse(
            written,
            message,
            label,
            "rename the file, or name the others by a pattern",
        )
        .map(drop)
    }

    /// Refuses what a link leads to if it could not be read by its own name, or must be read by that.
    pub(super) fn check_real(&mut self, written: &Text, path: &Utf8Path, real: &Utf8Path) -> Option<()> {
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

    /// What may have been meant by `text`, where nothing is.
    pub(super) fn advice(&mut self, text: &str, path: &Utf8Path) -> String {
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
        near(self.tree, path, |_| true).map_or_else(|| OTHERWISE.to_owned(), |near| near.advice())
    }
}

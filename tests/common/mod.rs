//! A workspace in a temporary folder, and built-in stages for tests of how pipelines are resolved.

#![allow(dead_code, reason = "each test binary uses a part of it")]

use camino::{Utf8Path, Utf8PathBuf};
use madmall::diagnostic::Faults;
use madmall::plan::{Resolution, resolve_with};
use madmall::stages::{Builtin, StageContext, StageError};
use madmall::workspace::Workspace;

fn nothing(_: &mut StageContext<'_>) -> Result<(), StageError> {
    Ok(())
}

/// Stages that are called as the real ones are, with fewer parameters.
pub(crate) const BUILTINS: &[Builtin] = &[
    Builtin {
        name: "ingest",
        revision: 7,
        definition: "version: 1\n\
                     name: ingest\n\
                     builtin: ingest\n\
                     inputs: { events: {}, revocations: { optional: true } }\n\
                     outputs: { events: {}, rejects: { optional: true } }\n\
                     params:\n  on_reject: { type: string, default: fail, enum: [fail, quarantine] }\n",
        needs_purpose: true,
        run: nothing,
    },
    Builtin {
        name: "train",
        revision: 3,
        definition: "version: 1\n\
                     name: train\n\
                     builtin: train\n\
                     inputs: { features: {} }\n\
                     outputs: { model: {} }\n\
                     params:\n  l2: { type: number, default: 1, minimum: 0 }\n  positive: { type: string, optional: true }\n",
        needs_purpose: false,
        run: nothing,
    },
];

/// A workspace of its own.
pub(crate) struct Space {
    folder: tempfile::TempDir,
    root: Utf8PathBuf,
}

impl Space {
    /// An empty one.
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let root = Utf8Path::from_path(folder.path())
            .expect("UTF-8")
            .canonicalize_utf8()
            .expect("it exists");
        Self { folder, root }
    }

    /// Writes a file and the folders it needs.
    #[expect(
        clippy::disallowed_methods,
        reason = "a test's own files need not be whole after a crash"
    )]
    pub(crate) fn write(&self, path: &str, bytes: impl AsRef<[u8]>) -> &Self {
        let path = self.root.join(path);
        std::fs::create_dir_all(path.parent().expect("below the root")).expect("a folder");
        std::fs::write(path, bytes).expect("written");
        self
    }

    /// Makes a symbolic link.
    pub(crate) fn link(&self, path: &str, target: &str) -> &Self {
        std::os::unix::fs::symlink(target, self.root.join(path)).expect("a link");
        self
    }

    /// The workspace.
    pub(crate) fn workspace(&self) -> Workspace {
        Workspace::at(self.root.clone())
    }

    /// Resolves `pipelines/p.yaml` with [`BUILTINS`].
    pub(crate) fn resolve(&self) -> Result<Resolution, Faults> {
        resolve_with(&self.workspace(), Utf8Path::new("pipelines/p.yaml"), BUILTINS)
    }
}

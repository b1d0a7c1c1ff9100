//! `include:`: the stages of other files become part of a pipeline.
//!
//! Files are read depth first, in the order written; their stages come before those of the file that includes them. All texts
//! together are one [`Source`], so that what follows need not know that there are several; messages point into the file
//! that is meant.

use std::collections::HashMap;
use std::sync::Arc;

use camino::{Utf8Path, Utf8PathBuf};

use super::files::read_text;
use super::near::near;
use super::paths;
use crate::diagnostic::{Diagnostic, Source, Span, quoted};
use crate::plan::DefinitionFile;
use crate::spec::{MAX_BYTES, Node, PipelineSpec, Stage, Text, check, parse};
use crate::tree::Tree;

/// How many files a pipeline may be made of beside its own.
const MOST_FILES: usize = 200;
/// How deep files may include each other.
const DEEPEST: usize = 16;

/// A pipeline with all that it includes.
pub(super) struct Included {
    pub(super) spec: PipelineSpec,
    /// The files, in the order in which they were read.
    pub(super) files: Vec<DefinitionFile>,
}

/// A file that is included.
struct File {
    source: Arc<Source>,
    root: Node,
    definition: DefinitionFile,
    /// The files that it was reached through, and itself last.
    way: Vec<usize>,
}

/// Reads what the pipeline `root`, the file at `path`, includes.
pub(super) fn read(
    tree: &dyn Tree,
    path: &Utf8Path,
    (source, root): (&Arc<Source>, &Node),
    faults: &mut Vec<Diagnostic>,
) -> Included {
    let mut reader = Reader {
        tree,
        files: Vec::new(),
        known: HashMap::new(),
        order: Vec::new(),
        bytes: source.text().len() as u64,
        is_full: false,
        stack: vec![path.to_owned()],
        faults,
    };
    reader.follow(source, root, &[]);
    let Reader { files, order, .. } = reader;
    if files.is_empty() {
        let (spec, wrong) = check::pipeline(source, root);
        faults.extend(wrong);
        return Included {
            spec,
            files: Vec::new(),
        };
    }
    let sources: Vec<Arc<Source>> = std::iter::once(source)
        .chain(files.iter().map(|file| &file.source))
        .map(Arc::clone)
        .collect();
    let (joined, offsets) = Source::joined(&sources);
    let (mut spec, wrong) = check::pipeline(&joined, root);
    faults.extend(wrong);
    let mut stages = Vec::new();
    for place in order {
        let file = &files[place];
        let root = file.root.clone().moved(offsets[place + 1]);
        let (found, wrong) = check::included(&joined, &root, spec.purpose.as_ref());
        faults.extend(wrong);
        stages.extend(found.into_iter().map(|stage| Stage {
            included: file.way.iter().map(|place| place + 1).collect(),
            ..stage
        }));
    }
    stages.append(&mut spec.stages);
    spec.stages = each_once(&joined, stages, faults);
    Included {
        spec,
        files: files.into_iter().map(|file| file.definition).collect(),
    }
}

/// Refuses a stage whose name another file has given already.
fn each_once(source: &Arc<Source>, stages: Vec<Stage>, faults: &mut Vec<Diagnostic>) -> Vec<Stage> {
    let mut known: HashMap<String, Span> = HashMap::new();
    let mut kept = Vec::with_capacity(stages.len());
    for stage in stages {
        let Text { text, span } = &stage.name;
        match known.get(text) {
            None => drop(known.insert(text.clone(), *span)),
            Some(first) => {
                let fault = Diagnostic::error(format!("two stages are called {}", quoted(text)))
                    .at(source, *span, "this one")
                    .at(source, *first, "and this one");
                faults.push(fault.help("rename one of the two; all files that a pipeline includes share their names"));
                continue;
            }
        }
        kept.push(stage);
    }
    kept
}

struct Reader<'a> {
    tree: &'a dyn Tree,
    files: Vec<File>,
    /// Where each was included first.
    known: HashMap<Utf8PathBuf, (Arc<Source>, Span)>,
    /// The places of the files, each after those that it includes.
    order: Vec<usize>,
    bytes: u64,
    /// Whether there are too many, so that no more are looked at.
    is_full: bool,
    /// The files that are being read, each included by the one before it.
    stack: Vec<Utf8PathBuf>,
    faults: &'a mut Vec<Diagnostic>,
}

impl Reader<'_> {
    fn follow(&mut self, source: &Arc<Source>, root: &Node, way: &[usize]) {
        for written in check::includes(root) {
            if self.is_full {
                return;
            }
            if let Err(fault) = self.file(source, &written, way) {
                self.faults.push(*fault);
            }
        }
    }

    fn file(&mut self, source: &Arc<Source>, written: &Text, way: &[usize]) -> Result<(), Box<Diagnostic>> {
        let refuse = |message: String, help: &str| {
            let fault = Diagnostic::error(message).at(source, written.span, "included here");
            Err(Box::new(fault.help(help)))
        };
        let path = match paths::normalise(&written.text) {
            Ok(path) => path,
            Err(fault) => return refuse(fault.message().to_owned(), fault.help()),
        };
        if let Some(folder) = paths::private_folder(&path) {
            return refuse(
                format!("a file to include cannot lie in `{folder}`"),
                "put it into another folder",
            );
        }
        if let Some(at) = self.stack.iter().position(|open| *open == path) {
            let mut cycle: Vec<&str> = self.stack[at..].iter().map(|path| path.as_str()).collect();
            cycle.push(path.as_str());
            let message = format!("the files include each other: {}", cycle.join(" → "));
            return refuse(message, "leave one of these includes out");
        }
        if let Some((other, span)) = self.known.get(&path) {
            let fault = Diagnostic::error(format!("{} is included twice", quoted(path.as_str())))
                .at(source, written.span, "here")
                .at(other, *span, "and here");
            return Err(Box::new(
                fault.help("include it once, in the file that includes all others"),
            ));
        }
        if self.stack.len() > DEEPEST {
            let message = format!("files include each other more than {DEEPEST} deep");
            return refuse(message, "include the file further up");
        }
        if self.files.len() >= MOST_FILES {
            self.is_full = true;
            let message = format!("the pipeline includes more than {MOST_FILES} files");
            return refuse(message, "put several of them into one");
        }
        let read = read_text(self.tree, &path).map_err(|fault| match fault.labels.is_empty() {
            true => Box::new(fault.at(source, written.span, "included here")),
            false => fault,
        })?;
        let Some((file, digests)) = read else {
            let help = self.advice(&path);
            return refuse(format!("there is no file {} to include", quoted(&written.text)), &help);
        };
        let size = file.text().len() as u64;
        self.bytes += size;
        if self.bytes > MAX_BYTES {
            self.is_full = true;
            let message = format!("the files of the pipeline are together longer than {MAX_BYTES} bytes");
            return refuse(message, "split the pipeline into several");
        }
        self.known.insert(path.clone(), (Arc::clone(source), written.span));
        let (root, wrong) = parse(&file);
        self.faults.extend(wrong);
        let Some(root) = root else { return Ok(()) };
        let place = self.files.len();
        let way: Vec<usize> = way.iter().copied().chain([place]).collect();
        let definition = DefinitionFile {
            path: path.clone(),
            digests,
            size,
        };
        self.files.push(File {
            source: Arc::clone(&file),
            root: root.clone(),
            definition,
            way: way.clone(),
        });
        self.stack.push(path);
        self.follow(&file, &root, &way);
        self.stack.pop();
        self.order.push(place);
        Ok(())
    }

    fn advice(&self, path: &Utf8Path) -> String {
        // Nobody means a file that is being read already.
        match near(self.tree, path, |path| !self.stack.iter().any(|read| read == path)) {
            Some(near) => near.advice(),
            None => "write its path from the workspace on, wherever the file that includes it lies".to_owned(),
        }
    }
}

//! The work: what depends on what, and how each program is told.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use super::random::Random;

/// A directed graph of stages, each of which concatenates what it reads (those of the first layer of it: the first lines).
pub(crate) struct Work {
    pub(crate) letter: char,
    pub(crate) what: &'static str,
    pub(crate) shape: Shape,
}

/// What depends on what.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    /// `src/s0` → `out/a` → `out/b` → `out/c`.
    Chain,
    /// Layers of stages, each of which reads two of the layer before.
    Layers { layers: usize, width: usize },
    /// One stage that reads a folder of so many files of 1 KiB.
    Folder { files: usize },
    /// One stage that reads a file of so many GiB.
    File { gib: usize },
}

/// One stage: what it reads and what it writes.
pub(crate) struct Stage {
    pub(crate) name: String,
    pub(crate) reads: Vec<String>,
    pub(crate) writes: String,
    /// The words before what it reads.
    pub(crate) program: &'static [&'static str],
}

const CAT: &[&str] = &["cat"];
/// What comes after a file's first line does not reach the output.
const FIRST_LINES: &[&str] = &["head", "-qn1"];

impl Work {
    pub(crate) fn all() -> [Self; 5] {
        let work = |letter, what, shape| Self { letter, what, shape };
        [
            work('a', "three stages", Shape::Chain),
            work('b', "1,000 stages", Shape::Layers { layers: 10, width: 100 }),
            work(
                'c',
                "10,000 stages",
                Shape::Layers {
                    layers: 10,
                    width: 1000,
                },
            ),
            work(
                'd',
                "a folder of 100,000 files of 1 KiB",
                Shape::Folder { files: 100_000 },
            ),
            work('e', "one file of 4 GiB", Shape::File { gib: 4 }),
        ]
    }

    /// Fewer rounds where one takes long.
    pub(crate) fn rounds(&self, wanted: usize) -> usize {
        match self.shape {
            Shape::Layers { width: 1000.., .. } => wanted.min(3),
            Shape::Folder { .. } | Shape::File { .. } => wanted.min(5),
            _ => wanted,
        }
    }

    pub(crate) fn stages(&self) -> Vec<Stage> {
        let stage = |name: String, reads: Vec<String>, writes: String| {
            let program = if reads[0].starts_with("src/") { FIRST_LINES } else { CAT };
            Stage {
                name,
                reads,
                writes,
                program,
            }
        };
        match self.shape {
            Shape::Chain => {
                let files = ["src/s0", "out/a", "out/b", "out/c"];
                let pairs = files.windows(2).zip(["a", "b", "c"]);
                pairs
                    .map(|(pair, name)| stage(name.to_owned(), vec![pair[0].to_owned()], pair[1].to_owned()))
                    .collect()
            }
            Shape::Layers { layers, width } => {
                let file = |layer: usize, at: usize| match layer {
                    0 => format!("src/s{at}"),
                    layer => format!("out/l{layer}_{at}"),
                };
                let places = (1..=layers).flat_map(|layer| (0..width).map(move |at| (layer, at)));
                let make = |(layer, at): (usize, usize)| {
                    let reads = vec![file(layer - 1, at), file(layer - 1, (at + 1) % width)];
                    stage(format!("l{layer}_{at}"), reads, file(layer, at))
                };
                places.map(make).collect()
            }
            Shape::Folder { .. } => vec![stage("scan".to_owned(), vec!["data".to_owned()], "out/scan".to_owned())],
            Shape::File { .. } => vec![stage(
                "scan".to_owned(),
                vec!["data/big".to_owned()],
                "out/scan".to_owned(),
            )],
        }
    }

    /// The command of a stage, as a text for the shell.
    pub(crate) fn command(&self, stage: &Stage) -> String {
        match self.shape {
            Shape::Chain | Shape::Layers { .. } => format!(
                "{} {} > {}",
                stage.program.join(" "),
                stage.reads.join(" "),
                stage.writes
            ),
            Shape::Folder { .. } | Shape::File { .. } => format!("echo ok > {}", stage.writes),
        }
    }

    /// Files that no stage makes, as `prepare` writes them.
    pub(crate) fn sources(&self) -> Vec<String> {
        match self.shape {
            Shape::Chain => vec!["src/s0".to_owned()],
            Shape::Layers { width, .. } => (0..width).map(|at| format!("src/s{at}")).collect(),
            Shape::Folder { .. } | Shape::File { .. } => Vec::new(),
        }
    }

    /// Writes what is too large to be written for each program, once.
    pub(crate) fn write_data(&self, folder: &Path) {
        let mut random = Random(1);
        match self.shape {
            Shape::Chain | Shape::Layers { .. } => {}
            Shape::Folder { files } => {
                fs::create_dir_all(folder).expect("made");
                for number in 0..files {
                    let bytes: Vec<u8> = (0..128).flat_map(|_| random.next().to_le_bytes()).collect();
                    fs::write(folder.join(format!("{number:06}")), bytes).expect("written");
                }
            }
            Shape::File { gib } => {
                fs::create_dir_all(folder).expect("made");
                let mut file = fs::File::create(folder.join("big")).expect("made");
                for _ in 0..gib * 1024 {
                    let bytes: Vec<u8> = (0..131_072).flat_map(|_| random.next().to_le_bytes()).collect();
                    std::io::Write::write_all(&mut file, &bytes).expect("written");
                }
            }
        }
    }

    /// Whether a source can be changed so that the outputs made of it stay as they are.
    pub(crate) fn can_change_nothing(&self) -> bool {
        matches!(self.shape, Shape::Chain | Shape::Layers { .. })
    }

    /// Changes one source below `folder`, each time to something else, where no output shows it.
    pub(crate) fn change_unseen(&self, folder: &Path, number: usize) {
        let file = folder.join("src/s0");
        let text = fs::read_to_string(&file).expect("read");
        let first = text.lines().next().unwrap_or_default();
        fs::write(file, format!("{first}\nunseen {number}\n")).expect("written");
    }

    /// Changes one source below `folder`, each time to something else.
    pub(crate) fn change(&self, folder: &Path, number: usize) {
        let (file, at) = match self.shape {
            Shape::Chain | Shape::Layers { .. } => {
                let text = format!("changed {number} in {}\n", folder.display());
                return fs::write(folder.join("src/s0"), text).expect("written");
            }
            Shape::Folder { .. } => ("data/000000", 7),
            Shape::File { .. } => ("data/big", 7),
        };
        let file = fs::File::options().write(true).open(folder.join(file)).expect("opened");
        let bytes = (number as u64).to_le_bytes();
        std::os::unix::fs::FileExt::write_all_at(&file, &bytes, at).expect("written");
    }

    /// The files that ninja has to be told one by one.
    pub(crate) fn listed(&self, stage: &Stage) -> String {
        match self.shape {
            Shape::Folder { files } => (0..files).fold(String::new(), |mut text, number| {
                let _ = write!(text, "data/{number:06} ");
                text
            }),
            _ => stage.reads.join(" "),
        }
    }
}

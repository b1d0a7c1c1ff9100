//! The programs that are compared: how each is told of the work, run, and made to forget.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::measure::{Cost, measure};
use super::work::{Shape, Stage, Work};

/// A program that is compared.
pub(crate) struct Peer {
    kind: Kind,
    program: PathBuf,
    version: String,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Stages as texts for the shell.
    Madmall,
    /// Stages as programs without a shell.
    MadmallArgv,
    Ninja,
    Doit,
    Snakemake,
    Dvc,
    /// Watches sources by content.
    Turbo,
    /// Does nothing but make SHA-256 of a file.
    Openssl,
}

/// Madmall first, then all others that are here or could be installed below `folder`; `only` names one of them.
pub(crate) fn all(folder: &Path, only: Option<&str>) -> Vec<Peer> {
    let ours = PathBuf::from(env!("CARGO_BIN_EXE_madmall"));
    let version = format!("madmall {}", env!("CARGO_PKG_VERSION"));
    let own = |kind| Peer {
        kind,
        program: ours.clone(),
        version: version.clone(),
    };
    let mut peers = vec![own(Kind::Madmall), own(Kind::MadmallArgv)];
    for (kind, name) in [
        (Kind::Ninja, "ninja"),
        (Kind::Doit, "doit"),
        (Kind::Snakemake, "snakemake"),
        (Kind::Dvc, "dvc"),
        (Kind::Turbo, "turbo"),
        (Kind::Openssl, "openssl"),
    ] {
        if only.is_none_or(|only| only == name) {
            peers.extend(find(kind, name, folder));
        }
    }
    peers
}

fn find(kind: Kind, name: &str, folder: &Path) -> Option<Peer> {
    let version_of = |program: &Path| -> Option<String> {
        let word = if kind == Kind::Openssl { "version" } else { "--version" };
        let output = Command::new(program).arg(word).output().ok()?;
        let text = String::from_utf8(output.stdout).ok()?;
        Some(format!("{name} {}", text.lines().next()?.trim()))
    };
    let here = PathBuf::from(name);
    if let Some(version) = version_of(&here) {
        return Some(Peer {
            kind,
            program: here,
            version,
        });
    }
    let program = match kind {
        Kind::Openssl => return None,
        Kind::Turbo => from_node(name, &folder.join("node"))?,
        _ => from_python(name, &folder.join("venv"))?,
    };
    let version = version_of(&program)?;
    Some(Peer { kind, program, version })
}

fn quiet(command: &mut Command) -> Option<()> {
    let ended = command.stdout(Stdio::null()).stderr(Stdio::null()).status();
    ended.is_ok_and(|status| status.success()).then_some(())
}

fn from_python(name: &str, venv: &Path) -> Option<PathBuf> {
    if !venv.exists() {
        quiet(Command::new("python3").args(["-m", "venv"]).arg(venv))?;
    }
    quiet(Command::new(venv.join("bin/pip")).args(["install", "-q", name]))?;
    Some(venv.join("bin").join(name))
}

/// Turbo's own executable: what Node starts for it costs a tenth of a second, which is not its fault.
fn from_node(name: &str, folder: &Path) -> Option<PathBuf> {
    fs::create_dir_all(folder).ok()?;
    quiet(Command::new("npm").arg("install").arg("--prefix").arg(folder).arg(name))?;
    let own = folder.join("node_modules/@turbo/linux-64/bin/turbo");
    Some(if own.exists() {
        own
    } else {
        folder.join("node_modules/.bin").join(name)
    })
}

impl Peer {
    pub(crate) fn name(&self) -> &'static str {
        match self.kind {
            Kind::Madmall => "madmall, `run:`",
            Kind::MadmallArgv => "madmall, `argv:`",
            Kind::Ninja => "ninja",
            Kind::Doit => "doit",
            Kind::Snakemake => "snakemake",
            Kind::Dvc => "dvc",
            Kind::Turbo => "turbo",
            Kind::Openssl => "openssl dgst -sha256",
        }
    }

    /// Whether it knows in a second run what it did in the first.
    pub(crate) fn remembers(&self) -> bool {
        self.kind != Kind::Openssl
    }

    pub(crate) fn version(&self) -> &str {
        &self.version
    }

    pub(crate) fn is_ours(&self) -> bool {
        matches!(self.kind, Kind::Madmall | Kind::MadmallArgv)
    }

    /// Some take hours for what others do in seconds.
    pub(crate) fn can_do(&self, work: &Work) -> bool {
        !matches!(
            (self.kind, work.shape),
            (Kind::MadmallArgv, Shape::Folder { .. } | Shape::File { .. })
                | (Kind::Dvc | Kind::Turbo, Shape::Layers { .. })
                | (
                    Kind::Openssl,
                    Shape::Chain | Shape::Layers { .. } | Shape::Folder { .. }
                )
                | (Kind::Snakemake, Shape::Layers { width: 1000.., .. })
        )
    }

    /// Writes the sources and tells the program what to make of them.
    pub(crate) fn prepare(&self, work: &Work, folder: &Path, data: &Path) {
        for sub in ["src", "out"] {
            fs::create_dir_all(folder.join(sub)).expect("made");
        }
        for source in work.sources() {
            fs::write(folder.join(&source), format!("{source}\n")).expect("written");
        }
        if data.exists() {
            // Hard links: what is read is in the page cache once.
            let linked = Command::new("cp")
                .args(["-al"])
                .arg(data)
                .arg(folder.join("data"))
                .status();
            assert!(linked.is_ok_and(|status| status.success()), "cannot link the data");
        }
        let stages = work.stages();
        let (file, text) = match self.kind {
            Kind::Madmall | Kind::MadmallArgv => ("pipeline.yaml", self.pipeline(work, &stages)),
            Kind::Ninja => ("build.ninja", ninja(work, &stages)),
            Kind::Doit => ("dodo.py", doit(work, &stages)),
            Kind::Snakemake => ("Snakefile", snakemake(work, &stages)),
            Kind::Dvc => ("dvc.yaml", dvc(work, &stages)),
            Kind::Turbo => ("turbo.json", turbo(work, &stages, folder)),
            Kind::Openssl => return,
        };
        fs::write(folder.join(file), text).expect("written");
        if self.is_ours() {
            fs::write(folder.join("madmall.yaml"), "").expect("written");
        }
        if self.kind == Kind::Dvc {
            let made = Command::new(&self.program)
                .args(["init", "-q", "--no-scm"])
                .current_dir(folder)
                .status();
            assert!(made.is_ok_and(|status| status.success()), "`dvc init` fails");
        }
    }

    fn pipeline(&self, work: &Work, stages: &[Stage]) -> String {
        let mut text = "version: 1\nname: compare\nstages:\n".to_owned();
        for stage in stages {
            let Stage {
                name, reads, writes, ..
            } = stage;
            let inputs: Vec<String> = reads
                .iter()
                .enumerate()
                .map(|(at, path)| format!("i{at}: {path}"))
                .collect();
            let names: Vec<String> = (0..reads.len()).map(|at| format!("${{inputs.i{at}}}")).collect();
            let command = match (self.kind, work.shape) {
                (_, Shape::Folder { .. } | Shape::File { .. }) => "run: 'echo ok > ${outputs.o}'".to_owned(),
                (Kind::MadmallArgv, _) => {
                    let words: Vec<String> = stage
                        .program
                        .iter()
                        .map(|word| (*word).to_owned())
                        .chain(names)
                        .collect();
                    format!("argv: ['{}'], stdout: o", words.join("', '"))
                }
                _ => format!(
                    "run: '{} {} > ${{outputs.o}}'",
                    stage.program.join(" "),
                    names.join(" ")
                ),
            };
            let _ = writeln!(
                text,
                "  {name}: {{{command}, inputs: {{{}}}, outputs: {{o: {writes}}}}}",
                inputs.join(", ")
            );
        }
        text
    }

    /// The command that brings everything up to date.
    pub(crate) fn command(&self, folder: &Path) -> Command {
        let mut command = Command::new(&self.program);
        command.current_dir(folder);
        match self.kind {
            Kind::Madmall | Kind::MadmallArgv => {
                command.args(["run", "-j", "2", "pipeline.yaml"]);
                command.env("MADMALL_CONFIG_DIR", folder.join("../config"));
            }
            Kind::Ninja => drop(command.args(["-j", "2", "--quiet"])),
            Kind::Doit => drop(command.args(["-n", "2"])),
            Kind::Snakemake => drop(command.args(["-c", "2", "-q", "all"])),
            Kind::Dvc => drop(command.args(["repro", "-q"])),
            Kind::Turbo => drop(
                command
                    .args(["run", "all", "--concurrency", "2", "--ui", "stream"])
                    .env("TURBO_TELEMETRY_DISABLED", "1"),
            ),
            Kind::Openssl => drop(command.args(["dgst", "-sha256", "data/big"])),
        }
        command
    }

    pub(crate) fn run(&self, folder: &Path) -> Cost {
        measure(&self.command(folder))
    }

    /// The same; what of it can hashes every byte again.
    pub(crate) fn run_strictly(&self, folder: &Path) -> Cost {
        let mut command = self.command(folder);
        if self.is_ours() {
            command.arg("--strict");
        }
        measure(&command)
    }

    /// Takes what was made, and all memory of it, away. Of work that makes many small files it is only moved: an ext4 without a journal does
    /// not give out an inode again that was freed within the last minutes, and makes whoever comes next pay for looking at each of them.
    pub(crate) fn forget(&self, work: &Work, folder: &Path) {
        let beside = folder.parent().expect("it lies in a temporary folder");
        let gone = tempfile::tempdir_in(beside).expect("made").keep();
        for state in [
            "out",
            ".madmall",
            "runs",
            ".ninja_log",
            ".ninja_deps",
            ".doit.db",
            ".doit.db.db",
            ".snakemake",
            "dvc.lock",
            ".dvc/cache",
            ".dvc/tmp",
            ".turbo",
            "node_modules",
        ] {
            let _ = fs::rename(folder.join(state), gone.join(state.replace('/', "-")));
        }
        if !work.can_change_nothing() {
            // What is made of large data would fill the disk.
            let _ = fs::remove_dir_all(&gone);
            std::thread::sleep(std::time::Duration::from_secs(6));
        }
        fs::create_dir_all(folder.join("out")).expect("made");
    }
}

fn ninja(work: &Work, stages: &[Stage]) -> String {
    let mut text = "rule sh\n  command = $cmd\n".to_owned();
    for stage in stages {
        let _ = writeln!(
            text,
            "build {}: sh {}\n  cmd = {}",
            stage.writes,
            work.listed(stage),
            work.command(stage)
        );
    }
    text
}

fn doit(work: &Work, stages: &[Stage]) -> String {
    let mut text = "import os\nDOIT_CONFIG = {'verbosity': 0, 'reporter': 'zero'}\nROWS = [\n".to_owned();
    for stage in stages {
        let _ = writeln!(
            text,
            "  ({:?}, {:?}, {:?}, {:?}),",
            stage.name,
            stage.reads,
            stage.writes,
            work.command(stage)
        );
    }
    text + "]\ndef task_s():\n    for name, deps, out, cmd in ROWS:\n        if os.path.isdir(deps[0]):\n            deps = [deps[0] + '/' + n \
            for n in sorted(os.listdir(deps[0]))]\n        yield {'name': name, 'actions': [cmd], 'file_dep': deps, 'targets': [out]}\n"
}

fn snakemake(work: &Work, stages: &[Stage]) -> String {
    let read: Vec<&String> = stages.iter().flat_map(|stage| &stage.reads).collect();
    let last: Vec<&String> = stages
        .iter()
        .map(|stage| &stage.writes)
        .filter(|out| !read.contains(out))
        .collect();
    let mut text = "D = {\n".to_owned();
    for stage in stages {
        let _ = writeln!(
            text,
            "  {:?}: ({:?}, {:?}),",
            stage.writes,
            stage.program.join(" "),
            stage.reads
        );
    }
    let shell = match work.shape {
        Shape::Chain | Shape::Layers { .. } => "{params.p} {input} > {output}",
        Shape::Folder { .. } | Shape::File { .. } => "echo ok > {output}",
    };
    text + &format!(
        "}}\nrule all:\n    input: {last:?}\nrule step:\n    input: lambda wc: D['out/' + wc.o][1]\n    params: p=lambda wc: D['out/' + wc.o][0]\n    output: 'out/{{o}}'\n    shell: {shell:?}\n"
    )
}

fn dvc(work: &Work, stages: &[Stage]) -> String {
    let mut text = "stages:\n".to_owned();
    for stage in stages {
        let _ = writeln!(text, "  {}:\n    cmd: {}\n    deps:", stage.name, work.command(stage));
        for read in &stage.reads {
            let _ = writeln!(text, "    - {read}");
        }
        let _ = writeln!(text, "    outs:\n    - {}", stage.writes);
    }
    text
}

/// The tasks of one package; also writes the package's own files.
fn turbo(work: &Work, stages: &[Stage], folder: &Path) -> String {
    let maker = |path: &String| stages.iter().find(|stage| stage.writes == *path);
    let mut tasks = serde_json::Map::new();
    let mut scripts = serde_json::Map::new();
    for stage in stages {
        let made: Vec<&str> = stage
            .reads
            .iter()
            .filter_map(maker)
            .map(|stage| stage.name.as_str())
            .collect();
        let read = stage.reads.iter().filter(|path| maker(path).is_none());
        let mut inputs: Vec<String> = read
            .map(|path| {
                if folder.join(path).is_dir() {
                    format!("{path}/**")
                } else {
                    path.clone()
                }
            })
            .collect();
        if inputs.is_empty() {
            // None would mean all.
            inputs.push("package.json".to_owned());
        }
        let task = serde_json::json!({"dependsOn": made, "inputs": inputs, "outputs": [stage.writes]});
        tasks.insert(stage.name.clone(), task);
        scripts.insert(stage.name.clone(), work.command(stage).into());
    }
    let last = &stages.last().expect("there is one").name;
    tasks.insert(
        "all".to_owned(),
        serde_json::json!({"dependsOn": [last], "inputs": ["package.json"]}),
    );
    scripts.insert("all".to_owned(), "true".into());
    let package =
        serde_json::json!({"name": "work", "version": "1.0.0", "packageManager": "npm@10.0.0", "scripts": scripts});
    let lock = serde_json::json!({"name": "work", "lockfileVersion": 3, "packages": {"": {"name": "work", "version": "1.0.0"}}});
    for (name, value) in [("package.json", package), ("package-lock.json", lock)] {
        fs::write(folder.join(name), value.to_string()).expect("written");
    }
    serde_json::json!({"tasks": tasks}).to_string()
}

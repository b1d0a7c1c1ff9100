//! A workspace in a temporary folder with a pipeline of two stages, and the receipts of its runs.

use std::collections::BTreeMap;

use camino::{Utf8Path, Utf8PathBuf};
use madmall::digest::{Digest, Digests};
use madmall::git::{self, Used, UsedFile};
use madmall::plan::action::{Resolved, ResolvedInput, action_digest_on, definition_digest};
use madmall::plan::{
    Command, DefinitionFile, Input, InputSource, Limits, Output, Plan, SandboxMode, Stage, StageId, Streams,
};
use madmall::receipt::digests::file_digests;
use madmall::receipt::envelope;
use madmall::receipt::key::SigningKey;
use madmall::receipt::run_file::{Receipt, RunFile};
use madmall::receipt::statement::{
    BuildDefinition, Builder, CommandRecord, ExternalParameters, Internal, InternalParameters, LOCAL_BUILDER, Made,
    Metadata, Outcome, ParamRecord, Predicate, RUN_BUILD_TYPE, Resource, Role, RunDetails, STAGE_BUILD_TYPE,
    StageInternal, StageParameters, Statement,
};
use madmall::receipt::trust::Trust;
use madmall::tree::Tree;
use madmall::verify::report::Report;
use madmall::verify::{self, Request, What};
use madmall::workspace::Workspace;

pub(crate) const PIPELINE: &str = "pipelines/p.yaml";
/// Where its stages were run; the tests may run elsewhere.
const SYSTEM: &str = "linux/x86_64";

/// What a stage's receipt is about.
pub(crate) struct Claimed {
    pub(crate) stage: &'static str,
    pub(crate) action: Digest,
    pub(crate) definition: Digest,
    pub(crate) inputs: Vec<Resource>,
    pub(crate) output: (&'static str, Digests),
    pub(crate) definition_file: Digests,
    pub(crate) made: Made,
    pub(crate) run: String,
    pub(crate) finished_on: String,
}

pub(crate) fn key(seed: u8) -> SigningKey {
    SigningKey::from_seed(&[seed; 32])
}

pub(crate) fn stage_statement(claimed: Claimed) -> Statement {
    let (path, digests) = claimed.output;
    let role = Role::Output {
        consent: None,
        executable: false,
        output: "out".to_owned(),
        stage: None,
    };
    let stage = StageParameters {
        declassify: Vec::new(),
        personal: Vec::new(),
        requires: None,
        command: CommandRecord::Argv(vec!["copy".to_owned(), path.to_owned()]),
        environment: BTreeMap::from([("MODE".to_owned(), None)]),
        name: claimed.stage.to_owned(),
        outputs: BTreeMap::from([("out".to_owned(), path.to_owned())]),
        params: BTreeMap::from([("l2".to_owned(), ParamRecord::Number("0.5".to_owned()))]),
        pin: false,
        secrets: Vec::new(),
        stdin: None,
        stdout: None,
    };
    let internal = StageInternal {
        population: None,
        action: claimed.action.to_string(),
        definition: claimed.definition.to_string(),
        sandbox: Vec::new(),
        system: Some(SYSTEM.to_owned()),
    };
    let mut dependencies = claimed.inputs;
    dependencies.push(Resource::file(PIPELINE, &claimed.definition_file, Role::Definition {}));
    let predicate = predicate(Parts {
        build_type: STAGE_BUILD_TYPE,
        stage: Some((stage, internal)),
        dependencies,
        made: claimed.made,
        run: &claimed.run,
        finished_on: &claimed.finished_on,
    });
    Statement::new(vec![Resource::file(path, &digests, role)], predicate)
}

pub(crate) fn run_statement(receipts: &[Receipt], made: Made, run: &str, finished_on: &str) -> Statement {
    let mut subjects = Vec::new();
    let mut dependencies = Vec::new();
    for receipt in receipts {
        let (stage, _) = receipt.statement.stage().expect("the receipt of a stage");
        dependencies.push(Resource::receipt_of_stage(receipt.id, &stage.name));
        for subject in &receipt.statement.subject {
            let mut subject = subject.clone();
            if let Role::Output { stage: of, .. } = &mut subject.annotations.madmall {
                *of = Some(stage.name.clone());
            }
            subjects.push(subject);
        }
        let definitions = receipt.statement.dependencies().iter();
        dependencies.extend(definitions.filter(|d| matches!(d.role(), Role::Definition {})).cloned());
    }
    let made = Made {
        differs: Vec::new(),
        ..made
    };
    let predicate = predicate(Parts {
        build_type: RUN_BUILD_TYPE,
        stage: None,
        dependencies,
        made,
        run,
        finished_on,
    });
    Statement::new(subjects, predicate)
}

struct Parts<'a> {
    build_type: &'a str,
    stage: Option<(StageParameters, StageInternal)>,
    dependencies: Vec<Resource>,
    made: Made,
    run: &'a str,
    finished_on: &'a str,
}

fn predicate(parts: Parts<'_>) -> Predicate {
    let mut dependencies = parts.dependencies;
    dependencies.extend(parts.made.commit.clone().map(Resource::commit));
    let (external, internal) = parts.stage.unzip();
    Predicate {
        build_definition: BuildDefinition {
            build_type: parts.build_type.to_owned(),
            external_parameters: ExternalParameters {
                erasure: None,
                purposes: None,
                pipeline: "p".to_owned(),
                pipeline_file: PIPELINE.to_owned(),
                purpose: Some("research".to_owned()),
                stage: external,
            },
            internal_parameters: InternalParameters {
                madmall: Internal {
                    erased: None,
                    logs: Vec::new(),
                    made: parts.made,
                    outcome: Outcome::Succeeded,
                    stage: internal,
                },
            },
            resolved_dependencies: dependencies,
        },
        run_details: RunDetails {
            builder: Builder {
                id: LOCAL_BUILDER.to_owned(),
                version: BTreeMap::from([("madmall".to_owned(), "0.1.0".to_owned())]),
            },
            metadata: Metadata {
                finished_on: parts.finished_on.to_owned(),
                invocation_id: parts.run.to_owned(),
                started_on: "2026-11-23T09:00:00Z".to_owned(),
            },
        },
    }
}

pub(crate) fn input(name: &str, path: &str, digests: &Digests, maker: Option<&Receipt>) -> Resource {
    let role = Role::Input {
        consent: None,
        input: name.to_owned(),
        receipt: maker.map(|maker| maker.id.to_string()),
    };
    Resource::file(path, digests, role)
}

/// A pipeline of two stages, `a: in.txt -> mid.txt` and `b: mid.txt -> out.txt`, whose definitions hold the text of the
/// pipeline file.
pub(crate) fn resolve(tree: &dyn Tree, file: &Utf8Path) -> Result<Plan, String> {
    let text = tree.read(file, 1000).map_err(|error| error.to_string())?;
    for path in [file, Utf8Path::new("in.txt")] {
        if tree.kind(path).map_err(|error| error.to_string())?.is_none() {
            return Err(format!("no file `{path}`"));
        }
    }
    let digests = Digests::of(&text);
    let text = String::from_utf8(text).map_err(|error| error.to_string())?;
    let stage = |name: &str, source: InputSource, output: &str| Stage {
        requires: None,
        declassify: Vec::new(),
        personal: Vec::new(),
        actual: None,
        name: name.to_owned(),
        uses: None,
        definition_file: None,
        included: Vec::new(),
        command: Command::Argv(vec![text.clone(), name.to_owned()]),
        params: BTreeMap::new(),
        inputs: vec![Input {
            name: "in".to_owned(),
            source,
            is_personal: false,
        }],
        outputs: vec![Output {
            name: "out".to_owned(),
            path: output.into(),
            is_folder: false,
            tolerance: None,
            is_temporary: false,
            is_personal: false,
        }],
        env: Vec::new(),
        secrets: Vec::new(),
        tools: Vec::new(),
        pin: false,
        sandbox: SandboxMode::Auto,
        limits: Limits::default(),
        network: false,
        streams: Streams::default(),
    };
    let from_a = InputSource::Output {
        stage: StageId::new(0),
        output: 0,
    };
    let from_file = InputSource::File { path: "in.txt".into() };
    Ok(Plan {
        personal: std::collections::BTreeSet::new(),
        purposes: madmall::consent::purposes::Purposes::default(),
        pipeline: "p".to_owned(),
        purpose: None,
        pipeline_file: file.to_owned(),
        definition_files: vec![DefinitionFile {
            path: file.to_owned(),
            digests,
            size: 0,
        }],
        stages: vec![stage("a", from_file, "mid.txt"), stage("b", from_a, "out.txt")],
    })
}

/// The workspace. Its folder goes with it.
pub(crate) struct World {
    _folder: tempfile::TempDir,
    pub(crate) workspace: Workspace,
}

impl World {
    /// All files in place, no receipts yet, no git.
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let root = Utf8Path::from_path(folder.path()).expect("UTF-8");
        let root = root.canonicalize_utf8().expect("it is there");
        let world = Self {
            _folder: folder,
            workspace: Workspace::at(root),
        };
        for (path, text) in [
            (PIPELINE, "v1"),
            ("in.txt", "in"),
            ("mid.txt", "mid"),
            ("out.txt", "out"),
        ] {
            world.write(path, text);
        }
        world
    }

    /// The same after a first run.
    pub(crate) fn after_a_run() -> Self {
        let world = Self::new();
        world.run("run-1", "2026-11-23T09:15:00Z", &key(1));
        world
    }

    pub(crate) fn path(&self, path: &str) -> Utf8PathBuf {
        self.workspace.absolute(path.into())
    }

    pub(crate) fn write(&self, path: &str, bytes: impl AsRef<[u8]>) {
        let path = self.path(path);
        std::fs::create_dir_all(path.parent().expect("below the root")).expect("a folder");
        std::fs::write(path, bytes).expect("written");
    }

    pub(crate) fn read(&self, path: &str) -> Vec<u8> {
        std::fs::read(self.path(path)).expect("it is there")
    }

    pub(crate) fn remove(&self, path: &str) {
        std::fs::remove_file(self.path(path)).expect("it was there");
    }

    fn digests(&self, path: &str) -> Digests {
        Digests::of(&self.read(path))
    }

    fn made(&self, paths: &[&'static str]) -> Made {
        let used = |path: &'static str| {
            Used::File(UsedFile {
                path: Utf8Path::new(path),
                digests: self.digests(path),
                size: self.read(path).len() as u64,
                executable: None,
            })
        };
        let used: Vec<Used<'_>> = paths.iter().copied().map(used).collect();
        let repository = git::open(self.workspace.root()).expect("opened");
        git::made(repository.as_ref(), &used).expect("read")
    }

    /// Writes the receipts that a run of both stages would give, for the files as they are.
    pub(crate) fn run(&self, run: &str, finished_on: &str, key: &SigningKey) -> RunFile {
        let plan = resolve(&self.workspace, PIPELINE.into()).expect("it resolves");
        let claim = |stage: usize, source: Resource, output: &'static str, sources: &[&'static str]| {
            let digest = file_digests(&source).expect("a file").blake3;
            let executable = false;
            let resolved = Resolved {
                inputs: vec![ResolvedInput { digest, executable }],
                env: Vec::new(),
                tools: Vec::new(),
                personal: None,
            };
            let statement = stage_statement(Claimed {
                stage: ["a", "b"][stage],
                action: action_digest_on(SYSTEM, &plan, &plan.stages[stage], &resolved),
                definition: definition_digest(&plan, &plan.stages[stage]),
                inputs: vec![source],
                output: (output, self.digests(output)),
                definition_file: self.digests(PIPELINE),
                made: self.made(&[&[PIPELINE], sources].concat()),
                run: run.to_owned(),
                finished_on: finished_on.to_owned(),
            });
            signed(&statement, key)
        };
        let source = input("in", "in.txt", &self.digests("in.txt"), None);
        let a = claim(0, source, "mid.txt", &["in.txt"]);
        let middle = input("in", "mid.txt", &self.digests("mid.txt"), Some(&a));
        let b = claim(1, middle, "out.txt", &[]);
        self.finish(vec![a, b], run, finished_on, key)
    }

    /// Adds the run's own receipt and writes the file.
    pub(crate) fn finish(&self, stages: Vec<Receipt>, run: &str, finished_on: &str, key: &SigningKey) -> RunFile {
        let statement = run_statement(&stages, self.made(&[]), run, finished_on);
        let mut envelopes: Vec<_> = stages.into_iter().map(|receipt| receipt.envelope).collect();
        envelopes.push(signed(&statement, key).envelope);
        let file = RunFile::new(&envelopes).expect("receipts that go together");
        self.write(&format!("runs/{run}.intoto.jsonl"), file.to_bytes());
        file
    }

    /// Verifies with one's own key, number 1.
    pub(crate) fn verify(&self, what: What) -> Report {
        let trust = Trust::own_key(&key(1).public());
        self.verify_with(what, Some(&trust), None, false)
    }

    pub(crate) fn verify_with(
        &self,
        what: What,
        trust: Option<&Trust>,
        at: Option<&str>,
        require_clean: bool,
    ) -> Report {
        let request = Request {
            site: &self.workspace,
            what,
            trust,
            at,
            pins: &[],
            require_clean,
            tokens: None,
            personal: None,
            resolve: &resolve,
        };
        verify::verify(&request).expect("the folder can be read")
    }
}

pub(crate) fn signed(statement: &Statement, key: &SigningKey) -> Receipt {
    let signed = envelope::sign(statement, key).expect("a statement that holds together");
    Receipt::parse(signed.line.trim_end_matches('\n').as_bytes()).expect("its own spelling")
}

/// The codes of a report's findings, and its exit code. That receipts are in no log is left out: worlds have none.
pub(crate) fn codes(report: &Report) -> (Vec<&'static str>, u8) {
    let codes = report.findings.iter().map(|finding| finding.code.as_str());
    let codes = codes.filter(|code| *code != "W-UNLOGGED").collect();
    (codes, report.exit_code().number())
}

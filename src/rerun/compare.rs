//! What a stage gave now, and what its receipt says that it gave: bit for bit.

use std::collections::BTreeMap;
use std::fs;

use camino::{Utf8Path, Utf8PathBuf};

use super::RerunError;
use super::checkout::Sources;
use super::child::{Ended, receipts_of};
use super::place::{Difference, Tolerance, compare};
use crate::receipt::digests::artifact_digests;
use crate::receipt::run_file::RunFile;
use crate::receipt::statement::{Resource, Role, Statement};
use crate::store::atomic;
use crate::verify::report::{RerunOutput, RerunVerdict};

/// What comparing gave.
pub(super) struct Compared {
    pub(super) verdict: RerunVerdict,
    pub(super) reason: Option<String>,
    pub(super) outputs: Vec<RerunOutput>,
    pub(super) otherwise: Vec<String>,
}

/// A stage that was run again.
pub(super) struct Trial<'a, 'r> {
    /// Where.
    pub(super) root: &'a Utf8Path,
    /// What its receipt says.
    pub(super) recorded: &'a Statement,
    /// Where the recorded bytes may be.
    pub(super) sources: &'a Sources<'a, 'r>,
    /// How far numbers may be off, by the path of the output.
    pub(super) tolerances: Option<&'a BTreeMap<Utf8PathBuf, f64>>,
    /// Where its outputs are wanted.
    pub(super) outputs: Option<&'a Utf8Path>,
}

impl Trial<'_, '_> {
    /// Compares. The inner result is a sentence that says why that is not possible.
    pub(super) fn compare(&self, ended: Ended) -> Result<Result<Compared, String>, RerunError> {
        let run = match ended {
            Ended::Ran { run } => run,
            Ended::Failed(how) => {
                return Ok(Ok(Compared {
                    verdict: RerunVerdict::Differs,
                    reason: Some(format!("it failed: {how}")),
                    outputs: Vec::new(),
                    otherwise: secrets(self.recorded),
                }));
            }
            Ended::Broken(why) => return Ok(Err(why)),
            Ended::Interrupted => return Err(RerunError::Interrupted),
        };
        let path = receipts_of(self.root, &run);
        let read = fs::read(&path).map_err(|error| error.to_string());
        let receipts = read.and_then(|bytes| RunFile::parse(&bytes).map_err(|error| error.to_string()));
        let receipts = match receipts {
            Ok(receipts) => receipts,
            Err(why) => return Ok(Err(format!("its new receipt cannot be read: {why}"))),
        };
        let now = &receipts.receipts()[0].statement;
        if !is_same_work(self.recorded, now) {
            return Ok(Err(
                "it was not run as its receipt says: what it was given is not the same".to_owned(),
            ));
        }
        self.compare_outputs(now).map(Ok)
    }

    fn compare_outputs(&self, now: &Statement) -> Result<Compared, RerunError> {
        let mut outputs: Vec<RerunOutput> = Vec::new();
        for recorded in &self.recorded.subject {
            let made = self.root.join(&recorded.name);
            if let Some(folder) = self.outputs {
                self.hand_over(&made, &folder.join(&recorded.name), now.subject_named(&recorded.name))?;
            }
            let found = now.subject_named(&recorded.name);
            if found.is_some_and(|found| is_same(recorded, found)) {
                self.keep(recorded, &made)?;
                continue;
            }
            let difference = self.difference(recorded, found, &made);
            let output = RerunOutput {
                path: recorded.name.clone(),
                expected: sha256_of(recorded),
                found: found.map_or_else(|| "nothing".to_owned(), sha256_of),
                place: difference.place,
                is_within: difference.is_within,
            };
            outputs.push(output);
        }
        // What is beyond any tolerance is the place to look at.
        outputs.sort_by_key(|output| output.is_within);
        let verdict = match outputs.first() {
            None => RerunVerdict::Identical,
            Some(output) if output.is_within => RerunVerdict::WithinTolerance,
            Some(_) => RerunVerdict::Differs,
        };
        let otherwise = match verdict {
            RerunVerdict::Identical => Vec::new(),
            _ => otherwise(self.recorded, now),
        };
        Ok(Compared {
            verdict,
            reason: None,
            outputs,
            otherwise,
        })
    }

    /// Keeps an output that came out the same, for the stages after it.
    fn keep(&self, recorded: &Resource, made: &Utf8Path) -> Result<(), RerunError> {
        let digests = match artifact_digests(recorded) {
            Some(digests) if digests.is_folder() => return self.keep_folder(recorded, &digests),
            Some(digests) => digests,
            None => return Ok(()),
        };
        let to = self.sources.bench.output(&digests);
        fs::rename(made, &to).map_err(|source| RerunError::Write { path: to, source })
    }

    /// The first place in which the output differs.
    fn difference(&self, recorded: &Resource, found: Option<&Resource>, made: &Utf8Path) -> Difference {
        let at = |place: &str| Difference {
            place: place.to_owned(),
            is_within: false,
        };
        let Some(found) = found else {
            return at("its name: it is not there");
        };
        let digests = match artifact_digests(recorded).zip(artifact_digests(found)) {
            Some((was, is)) if was.is_folder() && is.is_folder() => {
                return at(&self.place_in_folder(&recorded.name, &was, &is));
            }
            Some((was, is)) if was.is_folder() == is.is_folder() => was,
            _ => return at("what it is: a file or a folder"),
        };
        if without_consent(found).role() != without_consent(recorded).role() {
            return at("its executable bit");
        }
        if found.digest == recorded.digest {
            return at("the consent that it carries");
        }
        let name = Utf8Path::new(&recorded.name);
        let tolerance = self.tolerances.and_then(|all| all.get(name)).copied().map(Tolerance);
        match self.sources.find(name, &digests) {
            Some(before) => compare(&before, made, name, tolerance),
            None => at("a place that cannot be named: the recorded bytes are not here"),
        }
    }
}

/// Whether an output came out as recorded. What a stage carries on that is run alone is not known, but of an ingest, which finds it
/// out.
fn is_same(recorded: &Resource, found: &Resource) -> bool {
    let consents = recorded.consent().zip(found.consent());
    without_consent(recorded) == without_consent(found) && consents.is_none_or(|(was, is)| was == is)
}

fn without_consent(resource: &Resource) -> Resource {
    let mut resource = resource.clone();
    if let Role::Output { consent, .. } = &mut resource.annotations.madmall {
        *consent = None;
    }
    resource
}

/// Whether two receipts are of the same work: the parts that are a function of the inputs, but for what came out.
fn is_same_work(recorded: &Statement, now: &Statement) -> bool {
    // The files of a folder that a stage made are in that stage's receipt; to a stage that is run alone it is a source.
    let is_of_made = |member: &str| {
        let mut dependencies = recorded.dependencies().iter();
        dependencies.any(|d| matches!(d.role(), Role::Input { input, receipt: Some(_), .. } if input == member))
    };
    let artifacts = |statement: &Statement| -> Vec<Resource> {
        let dependencies = statement.dependencies().iter();
        let artifacts = dependencies.filter_map(|dependency| {
            let mut dependency = dependency.clone();
            match &mut dependency.annotations.madmall {
                // Which receipts were used may differ, and what they say of consent: to a stage that is run alone all are sources.
                Role::Input { receipt, consent, .. } => (*receipt, *consent) = (None, None),
                Role::Member { input, .. } if is_of_made(input) => return None,
                Role::Member { .. } | Role::Definition {} => {}
                _ => return None,
            }
            Some(dependency)
        });
        let mut artifacts: Vec<Resource> = artifacts.collect();
        artifacts.sort_by(crate::receipt::statement::dependency_order);
        artifacts
    };
    let identity = |statement: &Statement| {
        let stage = statement.internal().stage.as_ref();
        stage.map(|stage| (stage.action.clone(), stage.definition.clone(), stage.system.clone()))
    };
    recorded.external() == now.external()
        && identity(recorded) == identity(now)
        && artifacts(recorded) == artifacts(now)
}

/// What else is not as it was, that may have to do with it.
fn otherwise(recorded: &Statement, now: &Statement) -> Vec<String> {
    let mut all = Vec::new();
    let tool = |statement: &Statement, name: &str| {
        let mut tools = statement
            .dependencies()
            .iter()
            .filter(|d| matches!(d.role(), Role::Tool { .. }));
        tools.find(|tool| tool.name == name).map(sha256_of)
    };
    let names = [recorded, now].into_iter().flat_map(|statement| {
        let tools = statement
            .dependencies()
            .iter()
            .filter(|d| matches!(d.role(), Role::Tool { .. }));
        tools.map(|tool| tool.name.as_str())
    });
    let names: std::collections::BTreeSet<&str> = names.collect();
    for name in names {
        let (was, is) = (tool(recorded, name), tool(now, name));
        if was != is {
            let text = |digest: Option<String>| digest.unwrap_or_else(|| "none".to_owned());
            all.push(format!("tool `{name}`: {} → {}", text(was), text(is)));
        }
    }
    let version = |statement: &Statement| {
        let version = &statement.predicate.run_details.builder.version;
        version.get("madmall").cloned().unwrap_or_default()
    };
    let (was, is) = (version(recorded), version(now));
    if was != is {
        all.push(format!("madmall: {was} → {is}"));
    }
    all.extend(secrets(recorded));
    all
}

/// Secrets are recorded nowhere, so nobody knows whether they are as they were.
fn secrets(recorded: &Statement) -> Vec<String> {
    let secrets = recorded.stage().map_or(&[][..], |(stage, _)| &stage.secrets);
    let told = secrets.iter().map(|name| format!("secret `{name}`: may be another"));
    told.collect()
}

/// Puts a copy of a file where it is wanted.
pub(super) fn copy_file(made: &Utf8Path, to: &Utf8Path) -> Result<(), RerunError> {
    atomic::create_folder(atomic::folder_of(to))?;
    let path: Utf8PathBuf = to.to_owned();
    std::fs::copy(made, to)
        .map(drop)
        .map_err(|source| RerunError::Write { path, source })
}

fn sha256_of(resource: &Resource) -> String {
    artifact_digests(resource).map_or_else(|| "none".to_owned(), |digests| digests.public())
}

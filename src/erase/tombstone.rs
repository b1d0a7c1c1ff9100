//! The tombstone: a signed statement, in the log, that something was erased and what rests on it.

use std::collections::BTreeMap;

use camino::{Utf8Path, Utf8PathBuf};

use super::EraseError;
use crate::digest::Digests;
use crate::exec::attest::{declared, definition};
use crate::exec::runs_folder;
use crate::log::{self, News, Publication};
use crate::plan::Plan;
use crate::receipt::envelope::sign;
use crate::receipt::erasure::{Erased, Erasure};
use crate::receipt::key::SigningKey;
use crate::receipt::run_file::{Receipt, RunFileName};
use crate::receipt::statement::{
    BuildDefinition, Builder, ERASURE_BUILD_TYPE, ExternalParameters, Internal, InternalParameters, LOCAL_BUILDER,
    Made, Metadata, Outcome, Predicate, ReceiptId, Resource, Role, RunDetails, Statement,
};
use crate::store::run_files::run_files;
use crate::store::{Store, StoreError, atomic};
use crate::workspace::Workspace;

/// A tombstone is one line.
const MAX_TOMBSTONE: u64 = 16 << 20;

/// What the file at `path` says, if it is a tombstone in its one spelling. The signature is not looked at.
#[must_use]
pub fn read(path: &Utf8Path) -> Option<Receipt> {
    let name = RunFileName::parse(path.file_name()?)?;
    if !name.is_erasure || path.metadata().ok()?.len() > MAX_TOMBSTONE {
        return None;
    }
    let bytes = std::fs::read(path).ok()?;
    let receipt = Receipt::parse(bytes.strip_suffix(b"\n")?).ok()?;
    receipt.statement.erasure().is_some().then_some(receipt)
}

/// Every tombstone in the folder `runs`, oldest first.
///
/// # Errors
///
/// [`StoreError::Read`] if the folder is there and cannot be read.
pub fn all(runs: &Utf8Path) -> Result<Vec<(String, Receipt)>, StoreError> {
    let names = run_files(runs)?.into_iter();
    Ok(names
        .filter_map(|name| Some((name.clone(), read(&runs.join(&name))?)))
        .collect())
}

/// What a tombstone says.
pub struct Tombstone<'a> {
    /// A pipeline whose ingest reads the file of revocations.
    pub plan: &'a Plan,
    /// Who or what.
    pub erasure: Erasure,
    /// What was done.
    pub erased: Erased,
    /// The receipts that rest on it, each with its stage.
    pub receipts: &'a [(ReceiptId, String)],
    /// The file of revocations, relative to the workspace, as it is now.
    pub revocations: (Utf8PathBuf, Digests),
    /// The commit.
    pub made: Made,
    /// Its own id, spelled as that of a run.
    pub id: String,
    /// When it began and ended: RFC 3339, UTC, whole seconds.
    pub times: (String, String),
}

/// Signs it, writes it under `runs/` and appends it to the log of this clone. Gives its file, relative to the workspace. The
/// workspace's lock must be held.
///
/// # Errors
///
/// [`EraseError`]; it may be written all the same, and is then logged by the next run.
pub fn write(
    tombstone: Tombstone<'_>,
    workspace: &Workspace,
    store: &Store,
    key: &SigningKey,
) -> Result<Utf8PathBuf, EraseError> {
    let runs = runs_folder(workspace);
    let heads = log::heads(store, &runs).map_err(EraseError::Log)?;
    let name = RunFileName {
        run: &tombstone.id,
        countersigner: None,
        is_erasure: true,
    };
    let name = name.to_name();
    let statement = tombstone.into_statement(heads);
    let receipt = sign(&statement, key).map_err(EraseError::Statement)?;
    let publication = Publication::begin(&runs);
    let path = runs.join(&name);
    atomic::write(&path, receipt.line.as_bytes())?;
    let news = News::Run(publication.end(&runs, name, vec![receipt.id]));
    log::catch_up(store, &runs, key, &news).map_err(EraseError::Log)?;
    Ok(path.strip_prefix(workspace.root()).unwrap_or(&path).to_owned())
}

impl Tombstone<'_> {
    fn into_statement(self, logs: Vec<crate::receipt::statement::LogHead>) -> Statement {
        let mut dependencies: Vec<Resource> = self.plan.definition_files.iter().map(definition).collect();
        dependencies.extend(self.made.commit.as_ref().map(Resource::commit));
        let receipts = self.receipts.iter();
        dependencies.extend(receipts.map(|(id, stage)| Resource::receipt(*id, stage)));
        let (path, digests) = &self.revocations;
        let (started_on, finished_on) = self.times;
        let build_definition = BuildDefinition {
            build_type: ERASURE_BUILD_TYPE.to_owned(),
            external_parameters: ExternalParameters {
                erasure: Some(self.erasure),
                pipeline: self.plan.pipeline.clone(),
                pipeline_file: self.plan.pipeline_file.to_string(),
                purpose: self.plan.purpose.clone(),
                purposes: declared(&self.plan.purposes),
                stage: None,
            },
            internal_parameters: InternalParameters {
                madmall: Internal {
                    erased: Some(self.erased),
                    logs,
                    made: self.made,
                    outcome: Outcome::Succeeded,
                    stage: None,
                },
            },
            resolved_dependencies: dependencies,
        };
        let run_details = RunDetails {
            builder: Builder {
                id: LOCAL_BUILDER.to_owned(),
                version: BTreeMap::from([("madmall".to_owned(), env!("CARGO_PKG_VERSION").to_owned())]),
            },
            metadata: Metadata {
                finished_on: finished_on.max(started_on.clone()),
                invocation_id: self.id,
                started_on,
            },
        };
        let predicate = Predicate {
            build_definition,
            run_details,
        };
        let subject = vec![Resource::file(path.as_str(), digests, Role::Revocations {})];
        Statement::new(subject, predicate)
    }
}

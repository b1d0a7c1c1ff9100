//! What was made of it: the receipts that rest on it, and the artifacts that they made.

use std::collections::{BTreeMap, HashSet};

use camino::Utf8PathBuf;

use crate::digest::Digest;
use crate::listing::ArtifactDigests;
use crate::receipt::digests::artifact_digests;
use crate::receipt::statement::{ReceiptId, Role, Statement};
use crate::stages::ingest::{EVENTS, REJECTS};
use crate::store::Store;
use crate::store::believed::Believed;

/// What rests on something that an ingest let in.
#[derive(Debug, Default)]
pub struct Lineage {
    /// The receipts, oldest first, each with its stage.
    pub receipts: Vec<(ReceiptId, String)>,
    /// The pipeline files of their runs, by the pipeline's name.
    pub pipelines: BTreeMap<String, Utf8PathBuf>,
    /// The models among what they made, by path.
    pub models: Vec<String>,
    /// What they made that carries consent on, by its bytes; of a folder, the files in it too.
    pub made: HashSet<Digest>,
    /// Where it was put.
    pub places: HashSet<Utf8PathBuf>,
}

impl Lineage {
    /// Follows the believed receipts from those ingests of which `is_used` says that they let it in.
    #[must_use]
    pub fn of(believed: &Believed, store: &Store, is_used: &dyn Fn(&Statement) -> bool) -> Self {
        let mut lineage = Self::default();
        let mut ids: HashSet<String> = HashSet::new();
        let mut made_without: HashSet<Digest> = HashSet::new();
        for claim in believed.all().filter(|claim| claim.believed && claim.succeeded) {
            let Some(statement) = believed.statement(&claim) else {
                continue;
            };
            let rests = match statement.is_ingest() {
                true => is_used(&statement),
                false => lineage.has_read(&statement, &ids),
            };
            if rests {
                ids.insert(claim.id.to_string());
                lineage.receipts.push((claim.id, claim.stage.clone()));
                lineage.add(&statement, store);
            } else {
                let made = claim.outputs.iter().flat_map(|output| bytes_of(&output.digests, store));
                made_without.extend(made);
            }
        }
        // What came out the same without it has nothing of it: a part of a table that it was not in, say.
        lineage.made.retain(|digest| !made_without.contains(digest));
        lineage.models.sort_unstable();
        lineage.models.dedup();
        lineage
    }

    /// Whether a stage has read anything of it: what such a receipt made, or a file with the bytes of that.
    fn has_read(&self, statement: &Statement, ids: &HashSet<String>) -> bool {
        statement.dependencies().iter().any(|used| match used.role() {
            Role::Input { receipt: Some(id), .. } => {
                ids.contains(id) && artifact_digests(used).is_some_and(|read| self.made.contains(&read.blake3()))
            }
            Role::Input { receipt: None, .. } | Role::Member { .. } => {
                artifact_digests(used).is_some_and(|read| self.made.contains(&read.blake3()))
            }
            _ => false,
        })
    }

    fn add(&mut self, statement: &Statement, store: &Store) {
        let external = statement.external();
        let file = Utf8PathBuf::from(&external.pipeline_file);
        self.pipelines.insert(external.pipeline.clone(), file);
        let declassified = external.stage.as_ref().map_or(&[][..], |stage| &stage.declassify);
        for made in &statement.subject {
            let (Role::Output { output, .. }, Some(digests)) = (made.role(), artifact_digests(made)) else {
                continue;
            };
            if statement.is_train() && output == "model" {
                self.models.push(made.name.clone());
            }
            let is_let_in = !statement.is_ingest() || [EVENTS, REJECTS].contains(&output.as_str());
            if !is_let_in || declassified.contains(output) {
                continue;
            }
            self.made.extend(bytes_of(&digests, store));
            self.places.insert(made.name.clone().into());
        }
    }
}

/// The digests of an artifact: of its bytes; or of the listing of a folder, and of each file in it.
fn bytes_of(artifact: &ArtifactDigests, store: &Store) -> Vec<Digest> {
    let files = store.files_of(artifact).into_iter().flatten();
    let plain = files.map(|file| file.digests.blake3);
    let names = plain.chain([artifact.blake3()]);
    // Another stage may have read it as personal.
    let keyed = |name| store.key().map(|key| key.name(name));
    names.flat_map(|name| keyed(name).into_iter().chain([name])).collect()
}

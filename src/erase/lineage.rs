//! What was made of it: the receipts that rest on it, and the artifacts that they made.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io;

use camino::Utf8PathBuf;

use crate::digest::Digest;
use crate::history::affected::Places;
use crate::history::runs::file_of;
use crate::listing::ArtifactDigests;
use crate::receipt::digests::artifact_digests;
use crate::receipt::statement::{ReceiptId, Role, Statement};
use crate::stages::ingest::{EVENTS, REJECTS};
use crate::store::Store;
use crate::store::believed::Claim;

/// What rests on something that an ingest let in.
#[derive(Debug, Default)]
pub struct Lineage {
    /// The receipts, oldest first, each with its stage.
    pub receipts: Vec<(ReceiptId, String)>,
    /// The pipeline files of their runs, by the pipeline's name.
    pub pipelines: BTreeMap<String, Utf8PathBuf>,
    /// The models among what they made, by path.
    pub models: Vec<String>,
    /// What they made that carries consent on.
    pub made: Made,
    /// What may rest on it as well, and nobody can tell.
    pub doubt: Doubt,
}

/// What receipts have made.
#[derive(Debug, Default)]
pub struct Made {
    /// Its bytes; of a folder, the files in it too.
    pub bytes: HashSet<Digest>,
    /// Where it was put.
    pub places: HashSet<Utf8PathBuf>,
    /// Folders among these of which nobody can tell which files were in them.
    pub folders: HashSet<Utf8PathBuf>,
}

/// What cannot be told.
#[derive(Debug, Default)]
pub struct Doubt {
    /// The files of the runs, relative to the workspace, each with why.
    pub runs: BTreeMap<Utf8PathBuf, String>,
    /// What these made that carries consent on.
    pub made: Made,
}

/// Whether something rests on it; or why that is not known.
pub type Rests = Result<bool, String>;

impl Lineage {
    /// Follows the receipts from those ingests of which `is_used` says that they let it in. What is not believed shows nothing: it is in doubt, if
    /// it is not known to be without.
    #[must_use]
    pub fn of(places: &Places<'_>, is_used: &dyn Fn(&Claim, &Statement) -> Rests) -> Self {
        let (believed, store) = (places.believed, places.store);
        let mut lineage = Self::default();
        // Whether what a receipt speaks of rests on it: of each that is here.
        let mut known: HashMap<String, Rests> = HashMap::new();
        let mut made_without: HashSet<Digest> = HashSet::new();
        for claim in believed.all().filter(|claim| claim.succeeded) {
            let statement = believed.statement(&claim);
            let rests = match &statement {
                None => Err("its file is no longer as it was".to_owned()),
                Some(statement) => match statement.is_ingest() {
                    true => is_used(&claim, statement),
                    false => lineage.has_read(statement, &known),
                },
            };
            let rests = match rests {
                Ok(true) if !claim.believed => {
                    Err("it was made with it by the word of a receipt whose key you do not trust".to_owned())
                }
                rests => rests,
            };
            match (&rests, &statement) {
                (Ok(true), Some(statement)) => {
                    lineage.receipts.push((claim.id, claim.stage.clone()));
                    lineage.add(statement, places);
                }
                (Err(why), statement) => {
                    lineage.doubt.add(&claim.run, why);
                    let carried = statement.iter().flat_map(carried);
                    carried.for_each(|made| lineage.doubt.made.add(made, places));
                }
                _ if claim.believed => {
                    let made = claim.outputs.iter().flat_map(|output| bytes_of(&output.digests, store));
                    made_without.extend(made);
                }
                _ => {}
            }
            known.insert(claim.id.to_string(), rests);
        }
        // What came out the same without it has nothing of it: a part of a table that it was not in, say.
        for made in [&mut lineage.made, &mut lineage.doubt.made] {
            made.bytes.retain(|digest| !made_without.contains(digest));
        }
        lineage.models.sort_unstable();
        lineage.models.dedup();
        lineage
    }

    /// Whether a stage has read anything of it: what such a receipt made, or a file with the bytes of that.
    fn has_read(&self, statement: &Statement, known: &HashMap<String, Rests>) -> Rests {
        let mut doubt = None;
        for used in statement.dependencies() {
            let (Role::Input { .. } | Role::Member { .. }, Some(read)) = (used.role(), artifact_digests(used)) else {
                continue;
            };
            let read = read.blake3();
            let maker = match used.role() {
                Role::Input { receipt, .. } => receipt.as_ref().map(|id| known.get(id)),
                _ => None,
            };
            match maker {
                Some(Some(Ok(true))) if self.made.bytes.contains(&read) => return Ok(true),
                Some(Some(Err(why))) if self.doubt.made.bytes.contains(&read) => doubt = Some(why.clone()),
                Some(None) => doubt = Some("a receipt that it rests on is not here".to_owned()),
                Some(_) => {}
                // Of an empty file nothing can be told apart.
                None if read == Digest::of(b"") => {}
                None if self.made.bytes.contains(&read) => return Ok(true),
                None if self.doubt.made.bytes.contains(&read) => {
                    doubt = Some("it rests on what is not known".to_owned());
                }
                None => {}
            }
        }
        doubt.map_or(Ok(false), Err)
    }

    fn add(&mut self, statement: &Statement, places: &Places<'_>) {
        let external = statement.external();
        let file = Utf8PathBuf::from(&external.pipeline_file);
        self.pipelines.insert(external.pipeline.clone(), file);
        for made in &statement.subject {
            if let Role::Output { output, .. } = made.role()
                && statement.is_train()
                && output == "model"
            {
                self.models.push(made.name.clone());
            }
        }
        carried(statement).for_each(|made| self.made.add(made, places));
    }
}

impl Doubt {
    /// Adds that of a run it is not known, and why: the first reason is as good as any.
    pub fn add(&mut self, run: &str, why: &str) {
        self.runs.entry(file_of(run)).or_insert_with(|| why.to_owned());
    }
}

impl Made {
    fn add(&mut self, (path, digests): (&str, ArtifactDigests), places: &Places<'_>) {
        self.bytes.extend(bytes_of(&digests, places.store));
        self.places.insert(path.into());
        if !digests.is_folder() || places.store.files_of(&digests).is_some() {
            return;
        }
        // The store does not know what was in it; the folder itself does, if it is as it was.
        match places.hashes.output(path.into(), &digests) {
            Ok(found) if found.digests() == digests => {
                let files = found.files().iter().map(|file| file.hashed.digests.blake3);
                self.bytes.extend(files.flat_map(|name| names_of(name, places.store)));
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            _ => drop(self.folders.insert(path.into())),
        }
    }
}

/// What a stage made that carries consent on: path and digests.
fn carried(statement: &Statement) -> impl Iterator<Item = (&str, ArtifactDigests)> {
    let stage = statement.external().stage.as_ref();
    let declassified = stage.map_or(&[][..], |stage| &stage.declassify);
    statement.subject.iter().filter_map(move |made| {
        let Role::Output { output, .. } = made.role() else {
            return None;
        };
        let is_let_in = !statement.is_ingest() || [EVENTS, REJECTS].contains(&output.as_str());
        let carries = is_let_in && !declassified.contains(output);
        carries.then(|| Some((made.name.as_str(), artifact_digests(made)?)))?
    })
}

/// The digests of an artifact: of its bytes; or of the listing of a folder, and of each file in it.
pub(super) fn bytes_of(artifact: &ArtifactDigests, store: &Store) -> Vec<Digest> {
    let files = store.files_of(artifact).into_iter().flatten();
    let plain = files.map(|file| file.digests.blake3);
    let names = plain.chain([artifact.blake3()]);
    // Another stage may have read it as personal.
    names.flat_map(|name| names_of(name, store)).collect()
}

/// What bytes are called: by their digest, and by that which is keyed.
fn names_of(name: Digest, store: &Store) -> impl Iterator<Item = Digest> {
    store.key().map(|key| key.name(name)).into_iter().chain([name])
}

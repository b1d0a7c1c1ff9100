//! What was made of it: the receipts that rest on it, and the artifacts that they made.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io;

use camino::Utf8PathBuf;

use crate::digest::Digest;
use crate::history::affected::Places;
use crate::history::runs::file_of;
use crate::listing::ArtifactDigests;
use crate::receipt::digests::artifact_digests;
use crate::receipt::statement::{ReceiptId, Resource, Role, Statement};
use crate::stages::ingest::{EVENTS, REJECTS};
use crate::store::Store;
use crate::store::believed::Claim;

/// Why it is not known of a receipt whose file cannot be read again.
const LOST: &str = "its file is no longer as it was";
/// Why it is not known of one that is not believed.
const BY_A_STRANGER: &str = "it was made with it by the word of a receipt whose key you do not trust";

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

/// A receipt, and what is known of it so far.
struct Node {
    claim: Claim,
    read: Vec<Read>,
    rests: Rests,
    /// Whether what it made was added to what rests on it, or may.
    is_added: bool,
}

/// What a stage has read: its bytes, and the receipt that is named as their maker.
struct Read {
    digest: Digest,
    maker: Option<String>,
}

/// What is asked of a receipt.
#[derive(Clone, Copy)]
enum Asked {
    /// Whether what it speaks of surely rests on it.
    Surely,
    /// Whether that cannot be told.
    Perhaps,
}

impl Lineage {
    /// Follows the receipts from those ingests of which `is_used` says that they let it in. What is not believed shows nothing: it is in doubt, if
    /// it is not known to be without.
    #[must_use]
    pub fn of(places: &Places<'_>, is_used: &dyn Fn(&Claim, &Statement) -> Rests) -> Self {
        let believed = places.believed;
        let claims = believed.all().filter(|claim| claim.succeeded);
        let nodes = claims.map(|claim| {
            let statement = believed.statement(&claim);
            Node::of(claim, statement.as_ref(), is_used)
        });
        let mut nodes: Vec<Node> = nodes.collect();
        // Whether what a receipt speaks of rests on it: of each that is here.
        let mut known: HashMap<String, Rests> = HashMap::new();
        known.extend(nodes.iter().map(|node| (node.claim.id.to_string(), Ok(false))));
        let mut lineage = Self::default();
        for asked in [Asked::Surely, Asked::Perhaps] {
            lineage.settle(&mut nodes, &mut known, asked, places);
        }
        let resting = nodes.iter().filter(|node| node.rests == Ok(true));
        lineage.receipts = resting.map(|node| (node.claim.id, node.claim.stage.clone())).collect();
        // What came out the same without it has nothing of it: a part of a table that it was not in, say. Not before it is known of all.
        let without = nodes
            .iter()
            .filter(|node| node.claim.believed && node.rests == Ok(false));
        let without = without.flat_map(|node| &node.claim.outputs);
        let without: HashSet<Digest> = without.flat_map(|made| bytes_of(&made.digests, places.store)).collect();
        for made in [&mut lineage.made, &mut lineage.doubt.made] {
            made.bytes.retain(|digest| !without.contains(digest));
        }
        lineage.models.sort_unstable();
        lineage.models.dedup();
        lineage
    }

    /// Judges each receipt by what it has read until nothing changes. Receipts mostly stand after those that they rest on; where a clock was behind,
    /// they do not.
    fn settle(&mut self, nodes: &mut [Node], known: &mut HashMap<String, Rests>, asked: Asked, places: &Places<'_>) {
        let mut has_changed = true;
        while std::mem::take(&mut has_changed) {
            for node in nodes.iter_mut().filter(|node| !node.is_added) {
                if node.rests == Ok(false) {
                    node.rests = match (self.has_read(&node.read, known), asked) {
                        (Ok(true), _) if node.claim.believed => Ok(true),
                        (_, Asked::Surely) => Ok(false),
                        (Ok(true), Asked::Perhaps) => Err(BY_A_STRANGER.to_owned()),
                        (perhaps, Asked::Perhaps) => perhaps,
                    };
                }
                if node.rests == Ok(false) {
                    continue;
                }
                has_changed = true;
                node.is_added = true;
                self.add_node(node, places);
                // Of receipts that say the same one may be believed, and another not.
                let of_id = known.entry(node.claim.id.to_string()).or_insert(Ok(false));
                if *of_id != Ok(true) {
                    of_id.clone_from(&node.rests);
                }
            }
        }
    }

    /// Adds what a receipt made to what rests on it, or may.
    fn add_node(&mut self, node: &Node, places: &Places<'_>) {
        let statement = places.believed.statement(&node.claim);
        match (&node.rests, &statement) {
            (Ok(_), Some(statement)) => self.add(statement, places),
            (Ok(_), None) => self.doubt.add(&node.claim.run, LOST),
            (Err(why), statement) => {
                self.doubt.add(&node.claim.run, why);
                let carried = statement.iter().flat_map(carried);
                carried.for_each(|made| self.doubt.made.add(made, places));
            }
        }
    }

    /// Whether a stage has read anything of it: what such a receipt made, or a file with the bytes of that.
    fn has_read(&self, read: &[Read], known: &HashMap<String, Rests>) -> Rests {
        let mut doubt = None;
        for Read { digest, maker } in read {
            let is_made = self.made.bytes.contains(digest);
            let is_doubtful = self.doubt.made.bytes.contains(digest);
            match maker.as_ref().map(|id| known.get(id)) {
                Some(Some(Ok(true))) if is_made => return Ok(true),
                Some(Some(Err(why))) if is_doubtful => doubt = Some(why.clone()),
                Some(None) => doubt = Some("a receipt that it rests on is not here".to_owned()),
                Some(_) => {}
                // Of an empty file nothing can be told apart.
                None if *digest == Digest::of(b"") => {}
                None if is_made => return Ok(true),
                None if is_doubtful => doubt = Some("it rests on what is not known".to_owned()),
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

impl Node {
    fn of(claim: Claim, statement: Option<&Statement>, is_used: &dyn Fn(&Claim, &Statement) -> Rests) -> Self {
        let (read, rests) = match statement {
            None => (Vec::new(), Err(LOST.to_owned())),
            Some(ingest) if ingest.is_ingest() => match is_used(&claim, ingest) {
                Ok(true) if !claim.believed => (Vec::new(), Err(BY_A_STRANGER.to_owned())),
                used => (Vec::new(), used),
            },
            Some(statement) => (
                statement.dependencies().iter().filter_map(Read::of).collect(),
                Ok(false),
            ),
        };
        Self {
            claim,
            read,
            rests,
            is_added: false,
        }
    }
}

impl Read {
    fn of(used: &Resource) -> Option<Self> {
        let maker = match used.role() {
            Role::Input { receipt, .. } => receipt.clone(),
            Role::Member { .. } => None,
            _ => return None,
        };
        let digest = artifact_digests(used)?.blake3();
        Some(Self { digest, maker })
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

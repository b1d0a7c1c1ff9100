//! What one run's records say of consent, as a page for the person who has to decide or to answer: facts, and no legal advice.

use std::collections::BTreeMap;

use serde_json::Value;

use super::content::heading;
use super::{Block, figures, origin};
use crate::history::named::find_each;
use crate::history::runs;
use crate::receipt::run_file::Receipt;
use crate::receipt::statement::{ReceiptId, Role, Statement};
use crate::stages::ingest::fault::printable;
use crate::store::{Store, StoreError};
use crate::workspace::Workspace;

/// What is known of a run.
pub struct RunConsent {
    /// The run.
    pub run: String,
    /// When it ended (RFC 3339).
    pub finished: String,
    /// The pipeline, and what it is for.
    pub pipeline: (String, Option<String>),
    /// The commit, and whether all files used were as in it.
    pub commit: Option<(String, bool)>,
    /// Who signed it, in words.
    pub signer: String,
    /// What each ingest reported, by the stage's name.
    pub ingests: Vec<(String, Option<Value>)>,
    /// What its stages wrote.
    pub artifacts: Vec<Artifact>,
    /// What could not be read, in words.
    pub notes: Vec<String>,
}

/// What a stage wrote.
pub struct Artifact {
    /// Relative to the workspace.
    pub path: String,
    /// The stage.
    pub stage: String,
    /// What it carries; none if it holds nothing of a person.
    pub consent: Option<String>,
    /// Whether that is only the word of the pipeline.
    pub is_declassified: bool,
}

impl RunConsent {
    /// Gathers what is known of the run whose own receipt is `own`; `signer` says in words who signed. Nothing is verified.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the folder of receipts cannot be read.
    pub fn of(
        workspace: &Workspace,
        own: &Receipt,
        signer: &dyn Fn(&Receipt) -> (String, bool),
    ) -> Result<Self, StoreError> {
        let named = own.statement.receipts().map(|(_, id)| (id, None));
        let mut wanted: BTreeMap<ReceiptId, Option<Statement>> = named.collect();
        let ids = runs::run_ids(workspace)?.into_iter().rev().collect();
        find_each(workspace, ids, &wanted.keys().copied().collect(), |receipt| {
            wanted.insert(receipt.id, Some(receipt.statement));
        });
        let (external, metadata, made) = (
            own.statement.external(),
            own.statement.metadata(),
            &own.statement.internal().made,
        );
        let mut of = Self {
            run: metadata.invocation_id.clone(),
            finished: metadata.finished_on.clone(),
            pipeline: (external.pipeline.clone(), external.purpose.clone()),
            commit: made.commit.clone().map(|commit| (commit, made.differs.is_empty())),
            signer: signer(own).0,
            ingests: Vec::new(),
            artifacts: Vec::new(),
            notes: Vec::new(),
        };
        let store = Store::of(workspace.root());
        for (id, statement) in wanted {
            match statement {
                Some(statement) => of.add(workspace, &store, &statement),
                None => of
                    .notes
                    .push(format!("the receipt {id}, which the run names, is not here")),
            }
        }
        of.ingests.sort_by(|(a, _), (b, _)| a.cmp(b));
        of.artifacts.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(of)
    }

    fn add(&mut self, workspace: &Workspace, store: &Store, statement: &Statement) {
        let Some((stage, _)) = statement.stage() else { return };
        if statement.is_ingest() {
            let report = origin::output(workspace, store, statement, "report", &mut self.notes);
            self.ingests.push((stage.name.clone(), report));
        }
        for made in &statement.subject {
            if let Role::Output { output, .. } = made.role() {
                self.artifacts.push(Artifact {
                    path: made.name.clone(),
                    stage: stage.name.clone(),
                    consent: made.consent().map(str::to_owned),
                    is_declassified: stage.declassify.contains(output),
                });
            }
        }
    }

    /// The page's title.
    #[must_use]
    pub fn title(&self) -> String {
        format!("Consent in the run {}", printable(&self.run))
    }

    /// The page's parts.
    #[must_use]
    pub fn blocks(&self) -> Vec<Block> {
        let mut blocks = self.run();
        for (stage, report) in &self.ingests {
            blocks.extend(figures::consent(report.as_ref()));
            if self.ingests.len() > 1 {
                blocks.push(Block::Text(format!(
                    "This is what the stage {} reported.",
                    printable(stage)
                )));
            }
        }
        blocks.extend(self.flow());
        blocks.extend(shown());
        blocks.extend(questions());
        if !self.notes.is_empty() {
            blocks.push(heading("What could not be read"));
            blocks.push(Block::List(self.notes.iter().map(|note| printable(note)).collect()));
        }
        blocks
    }

    fn run(&self) -> Vec<Block> {
        let (pipeline, purpose) = &self.pipeline;
        let commit = match &self.commit {
            None => "none".to_owned(),
            Some((commit, true)) => printable(commit),
            Some((commit, false)) => format!("{}, but some files were not as in it", printable(commit)),
        };
        let rows = [
            ("Run", printable(&self.run)),
            ("Ended", printable(&self.finished)),
            ("Signed by", printable(&self.signer)),
            ("Pipeline", printable(pipeline)),
            (
                "Purpose",
                purpose.as_deref().map_or_else(|| "none stated".to_owned(), printable),
            ),
            ("Commit", commit),
        ];
        let text = "This is what the receipts say; this page has not verified them. To verify them, give the run to madmall verify.";
        vec![
            two(
                "The run",
                "",
                rows.map(|(name, value)| vec![name.to_owned(), value]).to_vec(),
            ),
            Block::Text(text.to_owned()),
        ]
    }

    fn flow(&self) -> Vec<Block> {
        let rows = self.artifacts.iter().map(|artifact| {
            let carries = match (&artifact.consent, artifact.is_declassified) {
                (_, true) => "nothing: declassified, by the word of the pipeline".to_owned(),
                (None, false) => "nothing".to_owned(),
                (Some(consent), false) if consent == crate::consent::purposes::NONE => {
                    "none: for ingest alone".to_owned()
                }
                (Some(consent), false) => printable(consent),
            };
            vec![printable(&artifact.path), printable(&artifact.stage), carries]
        });
        let head = ["Artifact", "made by", "consent it carries"];
        let table = Block::Table {
            head: head.map(str::to_owned).to_vec(),
            rows: rows.collect(),
            numbers: false,
        };
        vec![heading("What the consent became"), table]
    }
}

fn two(first: &str, second: &str, rows: Vec<Vec<String>>) -> Block {
    Block::Table {
        head: vec![first.to_owned(), second.to_owned()],
        rows,
        numbers: false,
    }
}

/// What the records show, and what nothing shows.
fn shown() -> Vec<Block> {
    let is = [
        "Which file of events went in, byte for byte, and which came out; which consent each artifact carries, and which stages read it.",
        "That no stage has read what its purpose does not cover, as far as the receipts go: verify finds it out again from them.",
        "That an event was, or was not, among those that were let in, with a proof by its token (madmall consent prove).",
        "Which runs, artifacts and models rest on what was withdrawn since (madmall consent affected), and what was erased (tombstones).",
    ];
    let is_not = [
        "That ingest did what it should: its receipt says so. Another party who runs it again and gets the same bytes can confirm it (madmall rerun).",
        "That the consent in an event is what the person said: a form may lie, and an event may have been changed before it came here.",
        "What a model's weights remember of one person. Making it again without an event is the only way that is known to be complete.",
        "What became of copies that left the project: bundles, exports, clones of the repository.",
        "That something declassified is harmless: that is the word of who wrote the pipeline.",
    ];
    vec![
        heading("What this shows"),
        Block::List(is.map(str::to_owned).to_vec()),
        heading("What this does not show"),
        Block::List(is_not.map(str::to_owned).to_vec()),
    ]
}

/// Which record answers which question: (question, where it is asked, record).
const QUESTIONS: [(&str, &str, &str); 8] = [
    (
        "Can it be shown that data were used as they may be?",
        "GDPR 5(2)",
        "the receipts under runs/ and their log; madmall verify",
    ),
    (
        "Can it be shown that the person consented?",
        "GDPR 7(1)",
        "the consent in each event; the report of ingest; a proof that the event was let in (madmall consent prove)",
    ),
    (
        "Was a withdrawal honoured, and from when?",
        "GDPR 7(3)",
        "the file of revocations; the ingest after it; a proof that the event is not in its population",
    ),
    (
        "Was it erased, where, and what could not be reached?",
        "GDPR 17",
        "the tombstone (madmall erase), and the log that has it",
    ),
    (
        "Where do the training data come from, and what was left out?",
        "EU AI Act 10",
        "the sources and their digests in the receipts; the reports of ingest and featurize",
    ),
    (
        "Is there a record of events over the system's life?",
        "EU AI Act 12",
        "the append-only log under runs/log; madmall log",
    ),
    (
        "Are these records kept, and would a gap show?",
        "EU AI Act 19",
        "runs/ in the repository; madmall verify --pin with a checkpoint that was kept elsewhere",
    ),
    (
        "Which models rest on what was withdrawn?",
        "GDPR 7(3), 17",
        "madmall consent affected; W-WITHDRAWN and W-ERASED of madmall verify",
    ),
];

fn questions() -> Vec<Block> {
    let rows = QUESTIONS.map(|(question, article, record)| [question, article, record].map(str::to_owned).to_vec());
    let head = ["Question", "asked by", "the record that answers it"];
    let table = Block::Table {
        head: head.map(str::to_owned).to_vec(),
        rows: rows.to_vec(),
        numbers: false,
    };
    let text = "Articles are named so that the records can be found. Whether they suffice is for a lawyer to say.";
    vec![
        heading("Which record answers which question"),
        table,
        Block::Text(text.to_owned()),
    ]
}

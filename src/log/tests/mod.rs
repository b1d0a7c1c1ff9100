//! A log in a temporary folder, appended to and read back.

mod damage;
mod growth;
mod runs;
mod succession;

use camino::{Utf8Path, Utf8PathBuf};

use super::append::{News, Scan, catch_up, write};
use super::checkpoint::{Checkpoint, SignedCheckpoint};
use super::files::Files;
use super::read::{Reading, read};
use super::watch::Publication;
use super::working::{Found, LoggedRun, Working};
use super::{LOGS, LogId};
use crate::digest::Sha256;
use crate::receipt::envelope::Envelope;
use crate::receipt::key::{PublicKey, SigningKey};
use crate::receipt::run_file::split_lines;
use crate::receipt::statement::ReceiptId;
use crate::stamp::Stamp;
use crate::store::{Store, atomic};
use crate::workspace::Workspace;

/// The receipts in a run's file.
fn ids_in(path: &Utf8Path) -> Vec<ReceiptId> {
    let bytes = std::fs::read(path).expect("read");
    let lines = split_lines(&bytes).expect("lines");
    let envelopes = lines.into_iter().map(|line| Envelope::parse(line).expect("a receipt"));
    envelopes.map(|envelope| envelope.receipt_id()).collect()
}

struct World {
    _folder: tempfile::TempDir,
    root: Utf8PathBuf,
    key: SigningKey,
    runs: u32,
}

impl World {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let root = Utf8PathBuf::from_path_buf(folder.path().to_owned()).expect("UTF-8");
        atomic::create_folder(&root.join("runs")).expect("made");
        Self {
            _folder: folder,
            root,
            key: SigningKey::from_seed(&[3; 32]),
            runs: 0,
        }
    }

    /// One whose log was appended to for each of these numbers of receipts; and that log.
    fn grown_by(steps: &[u32]) -> (Self, LogId) {
        let mut world = Self::new();
        for receipts in steps {
            world.publish(*receipts);
            world.append();
        }
        let log = world.logs().remove(0);
        (world, log)
    }

    fn runs(&self) -> Utf8PathBuf {
        self.root.join("runs")
    }

    /// Publishes the file of a run with so many receipts; what they say does not matter to a log.
    fn publish(&mut self, receipts: u32) -> Utf8PathBuf {
        self.runs += 1;
        let run = self.runs;
        let lines = (0..receipts).map(|n| line(&self.key, &format!("{run} {n}")));
        let path = self.runs().join(format!("{run:06}.intoto.jsonl"));
        atomic::write(&path, lines.collect::<String>().as_bytes()).expect("written");
        path
    }

    /// Publishes a run's file and appends it, as a run does.
    fn run(&mut self, receipts: u32) -> super::Appended {
        let publication = Publication::begin(&self.runs());
        let path = self.publish(receipts);
        let published = publication.end(&self.runs(), path.file_name().expect("a name"), ids_in(&path));
        let store = Store::of(&self.root);
        catch_up(&store, &self.runs(), &self.key, &News::Run(published)).expect("appended")
    }

    /// Appends so many entries of one run, whose file is not looked into.
    fn fill(&mut self, count: u32) {
        self.runs += 1;
        let file = format!("{:06}.intoto.jsonl", self.runs);
        atomic::write(&self.runs().join(&file), b"").expect("written");
        let files = Files::default();
        let folder = Store::of(&self.root).log_folder();
        let mut working = match Working::open(&folder).expect("opened") {
            Found::Here(working) => working,
            _ => Box::new(Working::begin(&folder, LogId::of([7; 8]), &self.key.public(), None).expect("begun")),
        };
        let run = self.runs;
        let ids = (0..count).map(|n| Sha256::of(format!("{run} {n}").as_bytes()));
        let scan = Scan {
            next: vec![LoggedRun {
                file,
                ids: ids.collect(),
            }],
            absent: Vec::new(),
            since: working.state.edge.size(),
            looked_at: Stamp::of_folder(&self.runs()).ok(),
        };
        write(&mut working, &self.runs(), scan, &self.key, &files).expect("written");
    }

    fn checkpoint(&self, log: &LogId, size: u64) -> Checkpoint {
        let bytes = std::fs::read(self.folder(log).join(format!("checkpoint-{size}"))).expect("read");
        SignedCheckpoint::parse(&bytes).expect("a checkpoint").checkpoint
    }

    fn append(&self) -> super::Appended {
        catch_up(&Store::of(&self.root), &self.runs(), &self.key, &News::Something).expect("appended")
    }

    fn logs(&self) -> Vec<LogId> {
        let entries = self.runs().join(LOGS).read_dir_utf8().expect("there");
        let mut logs: Vec<LogId> = entries
            .map(|entry| LogId::parse(entry.expect("read").file_name()).expect("a log"))
            .collect();
        logs.sort();
        logs
    }

    fn folder(&self, log: &LogId) -> Utf8PathBuf {
        self.runs().join(LOGS).join(log.to_string())
    }

    fn read(&self, log: &LogId) -> Reading {
        self.read_with(log, &self.key.public())
    }

    fn read_with(&self, log: &LogId, trusted: &PublicKey) -> Reading {
        let root = self.root.canonicalize_utf8().expect("it exists");
        let folder = Utf8Path::new("runs").join(LOGS).join(log.to_string());
        read(&Workspace::at(root), &folder, log, &[*trusted]).expect("read")
    }

    /// The one log must be whole and of that size.
    #[track_caller]
    fn is_whole(&self, size: u64) {
        let logs = self.logs();
        assert_eq!(logs.len(), 1);
        let reading = self.read(&logs[0]);
        assert_eq!(reading.faults, vec![]);
        assert_eq!(reading.head.expect("a head").0.head.size, size);
        assert_eq!(reading.entries.len() as u64, size);
    }
}

fn line(key: &SigningKey, payload: &str) -> String {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    let kind = crate::receipt::envelope::PAYLOAD_TYPE;
    let message = format!("DSSEv1 {} {kind} {} {payload}", kind.len(), payload.len());
    let signature = STANDARD.encode(key.sign(message.as_bytes()));
    let keyid = key.public().keyid();
    let payload = STANDARD.encode(payload);
    format!(
        r#"{{"payload":"{payload}","payloadType":"{kind}","signatures":[{{"keyid":"{keyid}","sig":"{signature}"}}]}}"#
    ) + "\n"
}

/// Writes to the file that is there, so that its folder does not change.
fn overwrite(path: &Utf8Path, bytes: &[u8]) {
    let mut file = std::fs::File::create(path).expect("opened");
    std::io::Write::write_all(&mut file, bytes).expect("written");
}

fn files(folder: &Utf8Path) -> Vec<Utf8PathBuf> {
    let entries = walkdir::WalkDir::new(folder).sort_by_file_name();
    entries
        .into_iter()
        .map(|entry| entry.expect("listed"))
        .filter(|entry| entry.file_type().is_file())
        .map(|entry| Utf8PathBuf::from_path_buf(entry.into_path()).expect("UTF-8"))
        .collect()
}

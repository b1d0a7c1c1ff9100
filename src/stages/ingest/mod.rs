//! The built-in stage `ingest`: events in; those that are valid, covered by the purpose and not revoked out.
//!
//! Two readings. The first ([`mod@check`]) decides what becomes of each line and holds no event; the second ([`mod@write`]) puts
//! the lines where they belong, with the bytes they came with. Nothing is written before everything is decided.

pub mod again;
pub mod blocks;
pub mod check;
pub mod event;
pub mod fault;
pub mod gather;
pub mod lines;
mod options;
pub mod repeats;
pub mod report;
pub mod revocations;
pub mod schema;
pub mod source;
pub mod subject;
pub mod survey;
pub mod used;
pub mod verdicts;
pub mod write;

use std::fs::File;
use std::io::{BufWriter, Read as _, Write as _};

use camino::{Utf8Path, Utf8PathBuf};

use self::check::{Checked, Rules, check};
use self::fault::{at, grouped};
use self::options::Options;
pub use self::options::subject;
use self::report::{Counts, RevocationCounts, report};
use self::revocations::Revocations;
use self::schema::EventSchema;
use self::subject::SubjectPointer;
use self::verdicts::Verdict;
use self::write::{Hashed, Sink, WriteError, write};
use crate::consent::population::Form;
use crate::consent::purposes::NONE;
use crate::consent::token::Tokens;
use crate::digest::Digest;
use crate::stages::read_ahead::{ReadAhead, RowsAhead};
use crate::stages::room::Room;
use crate::stages::{Builtin, InputFile, Progress, Refusal, StageContext, StageError, Unit};

/// The stage.
pub const BUILTIN: Builtin = Builtin {
    name: "ingest",
    revision: 3,
    definition: include_str!("../../../stages/ingest.yaml"),
    needs_purpose: true,
    run,
};

/// The name of its input of raw events, and of its output of those that are let in.
pub const EVENTS: &str = "events";
/// The name of its output of what was rejected.
pub const REJECTS: &str = "rejects";

/// The name of its input that says what is withdrawn.
pub const REVOCATIONS: &str = "revocations";

/// The largest schema that is read, in bytes.
const MAX_SCHEMA: u64 = 1 << 20;

/// How many unknown revocations the log names.
const MAX_UNKNOWN: usize = 20;

fn run(context: &mut StageContext<'_>) -> Result<(), StageError> {
    let options = Options::read(context)?;
    let mut judged = judge(context, &options, Gather::Population)?;
    let (gathered, rows) = (judged.checked.gathered.take(), judged.checked.rows.take());
    let Judged {
        checked,
        revocations,
        total,
        ..
    } = &judged;
    let files = context.inputs.get("events").cloned().unwrap_or_default();
    refuse_faults(&options, &files, checked)?;
    refuse_emptiness(&options, checked)?;
    tell(context, &files, checked, revocations)?;
    let rows = rows.filter(RowsAhead::goes_on);
    let events = write_lines(context, &options, &files, (checked, *total, rows.is_some()))?;
    if let (Some(ahead), Some(rows), Some(events)) = (context.read_ahead, rows, events) {
        ahead.offer(events, rows);
    }
    say_consents(context, checked);
    if let (Some(gathered), Some(secret)) = (gathered, context.secret) {
        let form = options.subject.as_ref().map_or(Form::Tokens, |_| Form::WithSubjects);
        context.population = Some(gathered.write(context.scratch.join("population"), form, secret.id())?);
    }
    if let Some(path) = context.output("report") {
        let purpose = (context.purpose.unwrap_or_default(), context.purposes);
        let bytes = report(checked, purpose, revocations, judged.schema);
        let mut file = create(path)?;
        file.write_all(&bytes)
            .and_then(|()| file.flush())
            .map_err(|source| unwritable(path, source))?;
    }
    Ok(())
}

/// What was decided of each line; nothing is written yet.
struct Judged {
    checked: Checked,
    revocations: Revocations,
    /// The digest of the schema.
    schema: Digest,
    /// How many bytes the events have.
    total: u64,
}

/// Whether the tokens of what is let in are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Gather {
    /// All of them.
    Population,
    /// Only to know what is withdrawn by its token.
    Nothing,
}

fn judge(context: &StageContext<'_>, options: &Options, gather: Gather) -> Result<Judged, StageError> {
    let mut ahead = context.read_ahead.filter(|_| gather == Gather::Population);
    let schema = read_schema(context, options.subject.as_ref(), &mut ahead)?;
    let files = context.inputs.get("events").map_or(&[][..], Vec::as_slice);
    let tokens = context.secret.map(Tokens::by);
    let withdrawn = context.inputs.get(REVOCATIONS).map_or(&[][..], Vec::as_slice);
    let revocations = Revocations::read(withdrawn, &schema, tokens.as_ref())?;
    let are_needed = gather == Gather::Population || revocations.name_tokens();
    let rules = Rules {
        schema: &schema,
        purpose: Some(options.purpose),
        revocations: &revocations,
        non_revocable: options.non_revocable,
        tokens: tokens.as_ref().filter(|_| are_needed),
        ahead,
    };
    let total = files
        .iter()
        .map(|file| std::fs::metadata(&file.absolute).map(|found| found.len()).unwrap_or(0))
        .sum();
    let checked = check(
        files,
        rules,
        context.threads,
        &Room::in_folder(&context.scratch),
        &mut |reached| {
            (context.progress)(Progress {
                unit: Unit::Events {
                    events: reached.events,
                    faults: reached.faults,
                },
                done: reached.bytes,
                total: Some(total),
            });
            context.check_cancelled()
        },
    )?;
    Ok(Judged {
        checked,
        revocations,
        schema: schema.digest(),
        total,
    })
}

/// Reads the schema of the events. If one that recognises them cannot tell `ahead` of their features, nobody is told.
fn read_schema(
    context: &StageContext<'_>,
    subject: Option<&SubjectPointer>,
    ahead: &mut Option<&ReadAhead>,
) -> Result<EventSchema, StageError> {
    let file = context
        .input("schema")?
        .ok_or_else(|| refused("the input `schema` is missing: name the JSON Schema of the events"))?;
    let mut bytes = Vec::new();
    lines::open(file)
        .and_then(|source| source.take(MAX_SCHEMA + 1).read_to_end(&mut bytes))
        .map_err(|source| StageError::Io {
            verb: "read",
            path: file.name.clone(),
            source,
        })?;
    if bytes.len() as u64 <= MAX_SCHEMA {
        file.check_read(Digest::of(&bytes))?;
    }
    let with_features = ahead.and_then(|_| EventSchema::compile_with_features(&bytes, subject.cloned()).ok());
    let compiled = match with_features.filter(|schema| schema.recogniser().is_some()) {
        Some(schema) => Ok(schema),
        None => {
            *ahead = None;
            EventSchema::compile_with_subject(&bytes, subject.cloned())
        }
    };
    compiled
        .map(|schema| schema.of_purposes(context.purposes.clone()))
        .map_err(|error| refused(format!("the schema `{}` cannot be used: {error}", file.name)))
}

/// Writes to the log what was found.
fn tell(
    context: &mut StageContext<'_>,
    files: &[InputFile],
    checked: &Checked,
    revocations: &Revocations,
) -> Result<(), StageError> {
    let mut text = format!("{}\n", Counts::of(checked).summary());
    let counts = RevocationCounts::of(checked, revocations);
    for (events, what) in [
        (counts.non_revocable, "left out all the same (`non_revocable: honour`)"),
        (counts.kept, "kept (`non_revocable: keep`)"),
    ] {
        if events > 0 {
            let events = grouped(events);
            text.push_str(&format!(
                "{events} revoked, though their consents say that they cannot be: {what}\n"
            ));
        }
    }
    let unknown = revocations.unknown();
    if !unknown.is_empty() {
        let known: &[InputFile] = context.inputs.get(REVOCATIONS).map_or(&[], Vec::as_slice);
        text.push_str(&format!(
            "{} of {} revocations name no event that is here:\n",
            grouped(unknown.len() as u64),
            grouped(revocations.total())
        ));
        for place in unknown.iter().take(MAX_UNKNOWN) {
            text.push_str(&format!("  {}\n", at(known, *place)));
        }
        if unknown.len() > MAX_UNKNOWN {
            text.push_str(&format!("  and {} more\n", unknown.len() - MAX_UNKNOWN));
        }
    }
    for fault in checked.faults.render(files) {
        text.push_str(&format!("{fault}\n"));
    }
    context
        .log
        .write_all(text.as_bytes())
        .map_err(|source| unwritable(Utf8Path::new("the stage's log"), source))
}

fn refuse_faults(options: &Options, files: &[InputFile], checked: &Checked) -> Result<(), StageError> {
    if options.quarantine || checked.faults.is_empty() {
        return Ok(());
    }
    let counts = Counts::of(checked);
    let verb = if counts.invalid == 1 { "is" } else { "are" };
    Err(StageError::Refused(Refusal {
        summary: format!(
            "{} of {} events {verb} invalid",
            grouped(counts.invalid),
            grouped(counts.events)
        ),
        details: checked.faults.listed().map(|listed| listed.render(files)).collect(),
        unlisted: checked.faults.unlisted(),
        help: Some("mend these lines, or set them aside with `on_reject: quarantine`".to_owned()),
        is_for_lack: false,
    }))
}

fn refuse_emptiness(options: &Options, checked: &Checked) -> Result<(), StageError> {
    let counts = Counts::of(checked);
    if options.allow_empty || counts.accepted > 0 {
        return Ok(());
    }
    let summary = match counts.events {
        0 => "the input holds no event".to_owned(),
        _ => format!("no event is left: {}", counts.summary()),
    };
    Err(StageError::Refused(Refusal {
        summary,
        help: Some("if that is what you want, set `on_empty: allow`".to_owned()),
        ..Refusal::default()
    }))
}

/// Gives the BLAKE3 of the events that are let in, if it is known or `is_wanted`.
fn write_lines(
    context: &mut StageContext<'_>,
    options: &Options,
    files: &[InputFile],
    (checked, total, is_wanted): (&Checked, u64, bool),
) -> Result<Option<Digest>, StageError> {
    let accepted_path = context
        .output("events")
        .ok_or_else(|| refused("the output `events` is missing: name a file for it"))?;
    let mut rejected = match context.output("rejects") {
        None => None,
        Some(path) => Some((create(path)?, path)),
    };
    if let Some(passed_on) = checked.passed_on(files) {
        let read = passed_on.read;
        context.passed_on.insert(EVENTS.to_owned(), passed_on);
        return Ok(Some(read));
    }
    let file = File::create(accepted_path).map_err(|source| unwritable(accepted_path, source))?;
    let mut accepted = BufWriter::with_capacity(BUFFER, Hashed::new(file, is_wanted));
    let rejected_sink = match &mut rejected {
        Some((file, _)) if options.quarantine => Some(Sink::new(file)),
        _ => None,
    };
    let mut tick = |done| {
        (context.progress)(Progress {
            unit: Unit::Written,
            done,
            total: Some(total),
        });
        context.check_cancelled()
    };
    let written = write(files, checked, Sink::new(&mut accepted), rejected_sink, &mut tick);
    written.map_err(|error| match error {
        WriteError::Stage(error) => error,
        WriteError::Accepted(source) => unwritable(accepted_path, source),
        WriteError::Rejected(source) => unwritable(rejected.map_or(Utf8Path::new("rejects"), |(_, path)| path), source),
    })?;
    Ok(accepted.get_ref().digest())
}

/// Events carry the narrowest consent of those that were let in; those that were rejected carry none. The report counts, and holds
/// nothing of a person.
fn say_consents(context: &mut StageContext<'_>, checked: &Checked) {
    let scopes = checked.verdicts.counts().filter(|(_, lines)| *lines > 0);
    let narrowest = scopes.filter_map(|(verdict, _)| match verdict {
        Verdict::Accepted(facts) | Verdict::Kept(facts) => Some(facts.consent.scope),
        _ => None,
    });
    // Of no events nothing can be said but what they are for.
    let consent = match narrowest.min() {
        Some(scope) => context.purposes.word(scope),
        None => context.purpose.unwrap_or(NONE),
    };
    let consent = consent.to_owned();
    context.consents.insert(EVENTS.to_owned(), consent);
    context.consents.insert(REJECTS.to_owned(), NONE.to_owned());
}

/// So many bytes are written at once.
const BUFFER: usize = 1 << 18;

fn create(path: &Utf8Path) -> Result<BufWriter<File>, StageError> {
    let file = File::create(path).map_err(|source| unwritable(path, source))?;
    Ok(BufWriter::with_capacity(BUFFER, file))
}

fn refused(summary: impl Into<String>) -> StageError {
    StageError::Refused(Refusal::of(summary))
}

fn unwritable(path: &Utf8Path, source: std::io::Error) -> StageError {
    StageError::Io {
        verb: "write",
        path: Utf8PathBuf::from(path),
        source,
    }
}

#[cfg(test)]
mod tests;

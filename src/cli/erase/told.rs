//! What `madmall erase` says: what it would do, what it did, and where it could not.

use camino::Utf8Path;
use serde_json::{Value, json};

use super::EraseArguments;
use crate::cli::every::Everything;
use crate::cli::table::count;
use crate::cli::terminal::{BOLD, Terminal, WARNING, shown};
use crate::erase::sites::Sites;
use crate::erase::work::{Done, Survey};

/// Why an output was left that may have been made of it.
const DOUBTFUL: &str = "it is not known whether it was made of it: remove it, then `madmall run` makes it again";

/// Why a file of the store was left that may have been made of it.
const DOUBTFUL_IN_STORE: &str =
    "it is not known whether it was made of it: remove it, and `madmall run` makes again what it needs";

/// Why a file is named that events of a person may have been in.
const DAMAGED: &str = "it cannot be read as events: what only it had could not be searched for";

/// Why a place is named that an earlier erasure left.
const EARLIER: &str =
    "an earlier erasure left it, and nobody knows the ids any more that it searched for: look yourself, and remove it";

/// What would be done.
pub(super) fn show(arguments: &EraseArguments, survey: &Survey, sites: &Sites, terminal: &mut Terminal) {
    let found = &survey.found;
    if arguments.json {
        let lines: serde_json::Map<_, _> = survey
            .lines
            .iter()
            .map(|(path, lines)| (path.to_string(), lines.count.into()))
            .collect();
        let object = json!({
            "version": 1, "dryRun": true, "revocations": sites.revocations, "rawLines": lines,
            "objects": found.objects.len(), "storeFiles": found.store_files.len(), "outputs": found.outputs,
            "elsewhere": found.elsewhere, "objectsInGit": found.in_git, "models": survey.lineage.models,
            "receipts": survey.lineage.receipts.len(), "notKnown": not_known(survey), "doubtful": found.doubtful,
            "damaged": survey.damaged, "leftBefore": survey.earlier,
        });
        return terminal.result(object);
    }
    for path in &sites.revocations {
        terminal.result(format_args!("would revoke   in {}, by its token", shown(path.as_str())));
    }
    terminal.result(format_args!(
        "would remove   {}",
        amounts(found.objects.len(), found.store_files.len(), found.outputs.len())
    ));
    for path in &found.outputs {
        terminal.result(format_args!("               {}", shown(path.as_str())));
    }
    for (path, lines) in &survey.lines {
        let count = count_of(lines.count);
        let path = shown(path.as_str());
        match arguments.rewrite_inputs && lines.is_plain {
            true => terminal.result(format_args!("would take out {count} of {path}")),
            false => terminal.result(format_args!(
                "would leave    {count} of {path} ({})",
                why_left(lines.is_plain)
            )),
        }
    }
    let raw = found.raw.iter().filter(|path| !survey.lines.contains_key(*path));
    for path in found.elsewhere.iter().chain(raw) {
        terminal.result(format_args!(
            "would leave    {} ({})",
            shown(path.as_str()),
            beyond(path)
        ));
    }
    let unknown = survey.lineage.doubt.runs.keys();
    let earlier = survey.earlier.iter().filter(|path| !found.elsewhere.contains(path));
    for path in unknown.chain(&found.doubtful).chain(&survey.damaged).chain(earlier) {
        let why = why_of(survey, path);
        terminal.result(format_args!("would leave    {} ({why})", shown(path.as_str())));
    }
    if found.in_git > 0 {
        terminal.result(format_args!(
            "would leave    {} of git's history",
            objects(found.in_git)
        ));
    }
    affected(survey, terminal);
    terminal.result("nothing was done yet; without --dry-run it is");
}

/// What was done.
pub(super) fn tell(
    arguments: &EraseArguments,
    (all, survey): (&Everything, &Survey),
    done: &Done,
    tombstone: Option<&Utf8Path>,
    terminal: &mut Terminal,
) {
    let pipelines = &survey.lineage.pipelines;
    if arguments.json {
        let object = json!({
            "version": 1, "dryRun": false, "revoked": done.revoked, "takenOut": done.taken_out, "objects": done.objects,
            "storeFiles": done.store_files, "outputs": done.outputs, "left": done.left, "tombstone": tombstone,
            "models": survey.lineage.models, "receipts": survey.lineage.receipts.len(),
            "notKnown": not_known(survey), "pipelines": pipelines.values().collect::<Vec<_>>(),
        });
        return terminal.result(object);
    }
    for path in &done.revoked {
        terminal.result(format_args!("revoked     in {}, by its token", shown(path.as_str())));
    }
    let number = |count: u64| usize::try_from(count).unwrap_or(usize::MAX);
    terminal.result(format_args!(
        "removed     {}",
        amounts(number(done.objects), number(done.store_files), done.outputs.len())
    ));
    for (path, lines) in &done.taken_out {
        terminal.result(format_args!(
            "taken out   {} of {}",
            count_of(*lines),
            shown(path.as_str())
        ));
    }
    affected(survey, terminal);
    if let Some(path) = tombstone {
        let verb = if done.tombstone.is_some() {
            "said in    "
        } else {
            "said before"
        };
        terminal.result(format_args!("{verb} {path}"));
    }
    for path in &done.left {
        let (name, why) = match path.as_str() {
            "git" if survey.found.in_git > 0 => (
                objects(survey.found.in_git) + " of git's history",
                beyond(Utf8Path::new(".git")).to_owned(),
            ),
            "git" => ("git's history".to_owned(), EARLIER.to_owned()),
            path => {
                let path = Utf8Path::new(path);
                let why = match arguments.rewrite_inputs && survey.lines.get(path).is_some_and(|lines| lines.is_plain) {
                    true => why_kept(done.taken_out.contains_key(path)).to_owned(),
                    false => why_of(survey, path),
                };
                (shown(path.as_str()), why)
            }
        };
        terminal.say(format_args!("{WARNING}left{WARNING:#}{BOLD}: {name}{BOLD:#}: {why}"));
    }
    for file in pipelines.values() {
        terminal.say(format_args!(
            "`madmall run {}` makes its results again, without it",
            shown(&all.typed(file))
        ));
    }
}

fn affected(survey: &Survey, terminal: &mut Terminal) {
    let lineage = &survey.lineage;
    let in_doubt = lineage.doubt.runs.len();
    match (lineage.receipts.len(), in_doubt) {
        (0, 0) => terminal.result("affected    no receipt that you believe rests on it"),
        (0, _) => terminal.result("affected    no receipt is known to rest on it"),
        (receipts, _) => {
            let receipts = count(receipts, "receipt rests", "receipts rest");
            terminal.result(format_args!("affected    {receipts} on it"));
        }
    }
    for model in &lineage.models {
        terminal.result(format_args!("            {}", shown(model)));
    }
    if in_doubt > 0 {
        let runs = count(in_doubt, "run", "runs");
        terminal.result(format_args!("not known   of {runs}"));
    }
}

/// Of which runs it is not known, and why.
fn not_known(survey: &Survey) -> Vec<Value> {
    let runs = survey.lineage.doubt.runs.iter();
    runs.map(|(path, why)| json!({ "receipts": path, "why": why }))
        .collect()
}

/// Why a place was left.
fn why_of(survey: &Survey, path: &Utf8Path) -> String {
    let doubt = survey.lineage.doubt.runs.get(path);
    let doubtful = || survey.found.doubtful.iter().any(|doubtful| doubtful == path);
    // A receipt never goes.
    let is_earlier = || {
        let is_found = survey.found.elsewhere.iter().any(|found| found == path);
        survey.earlier.contains(path) && !is_found && !path.starts_with("runs")
    };
    match (doubt, survey.lines.get(path)) {
        (Some(why), _) => format!("it is not known whether it rests on it: {}", shown(why)),
        (None, Some(lines)) => why_left(lines.is_plain).to_owned(),
        (None, None) if survey.damaged.contains(path) => DAMAGED.to_owned(),
        (None, None) if doubtful() && path.starts_with(".madmall") => DOUBTFUL_IN_STORE.to_owned(),
        (None, None) if doubtful() => DOUBTFUL.to_owned(),
        (None, None) if is_earlier() => EARLIER.to_owned(),
        (None, None) => beyond(path).to_owned(),
    }
}

fn amounts(objects: usize, store_files: usize, outputs: usize) -> String {
    format!(
        "{}, {} of the store, {}",
        count(objects, "object", "objects"),
        count(store_files, "other file", "other files"),
        count(outputs, "output", "outputs")
    )
}

fn count_of(lines: u64) -> String {
    count(usize::try_from(lines).unwrap_or(usize::MAX), "line", "lines")
}

fn objects(in_git: u64) -> String {
    count(usize::try_from(in_git).unwrap_or(usize::MAX), "object", "objects")
}

fn why_left(is_plain: bool) -> &'static str {
    match is_plain {
        true => "--rewrite-inputs takes its lines out of a file of the workspace",
        false => "it is compressed: unpack it, take its lines out, and pack it again",
    }
}

/// Why a raw file was left that could be rewritten, and that was asked for.
fn why_kept(is_taken_out: bool) -> &'static str {
    match is_taken_out {
        true => "other lines of it hold an id of its events: look at them, and take out what is of it",
        false => "it is reached by a link: take its lines out where it lies",
    }
}

/// Why nobody but a person can reach a place.
fn beyond(path: &Utf8Path) -> &'static str {
    if path.starts_with(".git") {
        return "a history that others may have: rewrite it (`git filter-repo`), and let them";
    }
    if path.starts_with("runs") {
        return "a receipt, which never changes";
    }
    if path.as_str().ends_with(".tar.zst") {
        return "a bundle, of which others may have copies";
    }
    "nothing here makes it again"
}

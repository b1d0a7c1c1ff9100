//! The revocation of what is erased: by its token, so that it is known if it returns and named nowhere.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufWriter, Write as _};

use camino::Utf8Path;
use serde::Serialize;
use serde_json::Value;

use super::Wanted;
use crate::receipt::erasure::{ErasedKind, Erasure};
use crate::stages::ingest::event::read_json;
use crate::stages::ingest::lines::{Pieces, open_regular};
use crate::stages::ingest::source::Source;
use crate::store::{StoreError, atomic};

/// Why it was revoked, as a code.
const REASON: &str = "erased";
/// So long may such a code be.
const MAX_REASON: usize = 64;

/// A line of the file of revocations (`schemas/revocation.schema.json`).
#[derive(Serialize)]
struct Line<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    event_token: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    subject_token: Option<&'a str>,
    secret: &'a str,
    time: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
}

/// Writes the file of revocations at `path` again: with the token of `erasure`, without a line that names what is `wanted`. One that names any
/// of its events, of which `tokens` has the token by the id, has that in the place of the id: the event may be another's by now, whose withdrawal holds.
/// Every other line has the bytes it had. Gives whether anything changed. `now` is an RFC 3339 date-time.
///
/// # Errors
///
/// [`StoreError`] if it cannot be read or written; it is then as it was.
pub fn revoke(
    path: &Utf8Path,
    wanted: &Wanted,
    tokens: &BTreeMap<String, String>,
    erasure: &Erasure,
    now: &str,
) -> Result<bool, StoreError> {
    let unreadable = |source| StoreError::Read {
        path: path.to_owned(),
        source,
    };
    let unwritable = |source| StoreError::Write {
        path: path.to_owned(),
        source,
    };
    let source = Source::of(open_regular(path).map_err(unreadable)?).map_err(unreadable)?;
    let mut pieces = Pieces::new(source, 0);
    let (mut kept, mut since, mut has_token, mut is_changed) = (Vec::new(), None, false, false);
    while let Some(piece) = pieces.next_piece().map_err(unreadable)? {
        let line = piece.content().and_then(|line| read_json(line).ok());
        let names = |member: &str| line.as_ref()?.get(member)?.as_str();
        let of = [("event_id", ErasedKind::Event), ("subject", ErasedKind::Subject)];
        let is_wanted = |(member, of): (&str, ErasedKind)| names(member).is_some_and(|id| wanted.is(of, id));
        if of.into_iter().any(is_wanted) {
            // When the person has withdrawn it stays known.
            since = since.or_else(|| names("time").map(str::to_owned));
            is_changed = true;
            continue;
        }
        if let Some(token) = names("event_id").and_then(|id| tokens.get(id)) {
            let event = Erasure {
                of: ErasedKind::Event,
                secret: erasure.secret.clone(),
                token: token.clone(),
            };
            let reason = names("reason").filter(|reason| is_code(reason));
            kept.extend_from_slice(event.to_line(names("time").unwrap_or(now), reason).as_bytes());
            is_changed = true;
            continue;
        }
        has_token |= erasure.is_named_by(line.as_ref());
        kept.extend_from_slice(piece.bytes);
    }
    if has_token && !is_changed {
        return Ok(false);
    }
    atomic::write_with(path, atomic::Existing::Replace, |out: &mut File| {
        let mut out = BufWriter::new(out);
        out.write_all(&kept).map_err(unwritable)?;
        if !has_token {
            if kept.last().is_some_and(|byte| *byte != b'\n') {
                out.write_all(b"\n").map_err(unwritable)?;
            }
            let line = erasure.to_line(since.as_deref().unwrap_or(now), Some(REASON));
            out.write_all(line.as_bytes()).map_err(unwritable)?;
        }
        out.flush().map_err(unwritable)
    })?;
    Ok(true)
}

/// Whether it is a code, as reasons are: anything else may be words about a person.
fn is_code(reason: &str) -> bool {
    let is_of_code = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-');
    reason.len() <= MAX_REASON && reason.bytes().all(is_of_code) && reason.starts_with(|c: char| c.is_ascii_lowercase())
}

impl Wanted {
    fn is(&self, of: ErasedKind, id: &str) -> bool {
        self.of == of && self.id == id
    }
}

impl Erasure {
    /// The member of a revocation that has the token.
    fn member(&self) -> &'static str {
        match self.of {
            ErasedKind::Event => "event_token",
            ErasedKind::Subject => "subject_token",
        }
    }

    fn is_named_by(&self, line: Option<&Value>) -> bool {
        let member = |name: &str| line?.get(name)?.as_str();
        member(self.member()) == Some(&self.token) && member("secret") == Some(&self.secret)
    }

    fn to_line(&self, time: &str, reason: Option<&str>) -> String {
        let token = |of: ErasedKind| (self.of == of).then_some(self.token.as_str());
        let line = Line {
            event_token: token(ErasedKind::Event),
            subject_token: token(ErasedKind::Subject),
            secret: &self.secret,
            time,
            reason,
        };
        let line = serde_json::to_string(&line).expect("texts are always JSON");
        line + "\n"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_id_becomes_a_token_and_every_other_line_stays() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = Utf8Path::from_path(folder.path())
            .expect("UTF-8")
            .join("revocations.ndjson");
        let other = "{\"event_id\": \"evt-000002\",  \"time\":\"2026-01-02T00:00:00Z\"}\r\n";
        let own = "{\"event_id\":\"evt-000001\",\"time\":\"2026-01-01T00:00:00Z\"}";
        atomic::write(&path, format!("{other}{own}").as_bytes()).expect("written");
        let wanted = Wanted::new(ErasedKind::Event, "evt-000001", None);
        let erasure = Erasure {
            of: ErasedKind::Event,
            secret: "5".repeat(64),
            token: "7".repeat(64),
        };
        let revoked = |now| revoke(&path, &wanted, &BTreeMap::new(), &erasure, now).expect("written");
        let text = || String::from_utf8(std::fs::read(&path).expect("read")).expect("UTF-8");
        assert!(revoked("2026-02-01T00:00:00Z"));
        let (token, secret) = (&erasure.token, &erasure.secret);
        let line = format!(
            "{{\"event_token\":\"{token}\",\"secret\":\"{secret}\",\"time\":\"2026-01-01T00:00:00Z\",\"reason\":\"erased\"}}\n"
        );
        assert_eq!(text(), format!("{other}{line}"));
        assert!(!revoked("2026-03-01T00:00:00Z"), "once is enough");
        assert_eq!(text(), format!("{other}{line}"));
    }
}

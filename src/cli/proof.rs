//! `madmall verify PROOF`: whether an event was used, by a proof of `madmall consent prove`.

use std::io::{self, Read as _};

use camino::{Utf8Path, Utf8PathBuf};

use super::consent::parse_id;
use super::opened::find_workspace;
use super::surroundings::Surroundings;
use super::terminal::{Failure, Terminal, environment, shown, with_causes};
use super::verify::{show_lines, trusted};
use crate::bundle::{Bundle, Limits};
use crate::consent::proof::{MAX_PROOF, Proof};
use crate::consent::secret::{ConsentSecret, read_file};
use crate::consent::token::TokenKey;
use crate::exit_code::ExitCode;
use crate::tree::Site;
use crate::verify::{OwnKey, ProofRequest, VerifyError, verify_proof};
use crate::workspace::Workspace;

/// What is said of the event that a proof is about.
#[derive(clap::Args)]
pub(super) struct ProofArguments {
    /// Of a proof: the event that it should be about
    #[arg(long, value_name = "ID", value_parser = parse_id, requires = "what")]
    event: Option<String>,
    /// The consent secret in this file keys the digests of what is personal; of a proof, it shows that the key is the event's own
    #[arg(long, value_name = "FILE", conflicts_with = "event_key")]
    secret: Option<Utf8PathBuf>,
    /// Of a proof: this key, which the person was given, is that event's own
    #[arg(long, value_name = "KEY", requires = "event", value_parser = parse_key)]
    event_key: Option<TokenKey>,
    /// Of a proof: the project's folder, or a bundle, with the receipt that it names
    #[arg(long = "in", value_name = "FOLDER|BUNDLE", requires = "what")]
    site: Option<Utf8PathBuf>,
}

fn parse_key(text: &str) -> Result<TokenKey, String> {
    TokenKey::from_hex(text).map_err(|error| format!("it {error}"))
}

impl ProofArguments {
    /// The secret that was named, if one was.
    ///
    /// # Errors
    ///
    /// [`Failure`] with code 2 if it cannot be read.
    pub(super) fn secret(&self, surroundings: &Surroundings) -> Result<Option<ConsentSecret>, Failure> {
        let read = |file| read_secret(file, surroundings);
        self.secret.as_deref().map(read).transpose()
    }

    /// Whether they speak of a proof.
    pub(super) fn is_any(&self) -> bool {
        self.event.is_some() || self.site.is_some()
    }
}

/// The bytes of what is asked about, if it is meant to be a proof.
///
/// # Errors
///
/// [`Failure`] with code 2 if it was said that it is one, and it cannot be read.
pub(super) fn proof_in(arguments: &ProofArguments, what: &str, folder: &Utf8Path) -> Result<Option<Vec<u8>>, Failure> {
    let path = folder.join(what);
    // A pipe would be waited for without an end.
    let bytes = match path.metadata().is_ok_and(|found| found.is_file()) {
        true => read_beginning(&path),
        false => Err(io::Error::other("it is no file")),
    };
    match bytes {
        Ok(bytes) => Ok((arguments.is_any() || Proof::is_meant(&bytes)).then_some(bytes)),
        Err(_) if !arguments.is_any() => Ok(None),
        Err(error) => {
            let message = format!("cannot read the proof `{what}`: {error}");
            Err(Failure::new(ExitCode::Refused, shown(&message), None))
        }
    }
}

fn read_beginning(path: &Utf8Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    std::fs::File::open(path)?
        .take(MAX_PROOF as u64 + 1)
        .read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Verifies the proof that `bytes` are.
pub(super) fn verify(
    arguments: &ProofArguments,
    bytes: &[u8],
    (trust, is_json): (Option<&str>, bool),
    surroundings: &Surroundings,
    terminal: &mut Terminal,
) -> Result<ExitCode, Failure> {
    let trust = trusted(trust, surroundings)?;
    let secret = arguments.secret(surroundings)?;
    let own = match (&secret, &arguments.event_key) {
        (Some(secret), _) => Some(OwnKey::Secret(secret)),
        (None, Some(key)) => Some(OwnKey::Given(key)),
        (None, None) => None,
    };
    let site = site(arguments, surroundings)?;
    let proof = Proof::parse(bytes);
    let report = verify_proof(&ProofRequest {
        site: &*site,
        trust: trust.as_ref(),
        proof: proof.as_ref(),
        event: arguments.event.as_deref(),
        own,
    });
    let failed = |error: VerifyError| Failure::new(error.exit_code(), with_causes(&error), None);
    let report = report.map_err(failed)?;
    match is_json {
        true => terminal.result(report.to_json()),
        false => show_lines(&report.lines(), terminal),
    }
    Ok(report.exit_code())
}

fn read_secret(file: &Utf8Path, surroundings: &Surroundings) -> Result<ConsentSecret, Failure> {
    read_file(&surroundings.folder.join(file)).map_err(|error| {
        let message = format!("cannot use the consent secret `{file}`: {}", with_causes(&error));
        Failure::new(
            ExitCode::Refused,
            shown(&message),
            Some("the secret lies in the configuration folder of whoever ran the pipeline, as `consent-secret`"),
        )
    })
}

/// Where receipts lie.
fn site(arguments: &ProofArguments, surroundings: &Surroundings) -> Result<Box<dyn Site>, Failure> {
    let Some(named) = &arguments.site else {
        let (workspace, _) = find_workspace(&surroundings.folder, Utf8Path::new("."))?;
        return Ok(Box::new(workspace));
    };
    let path = surroundings.folder.join(named);
    let path = path.canonicalize_utf8().map_err(|error| environment(&error))?;
    if path.is_dir() {
        return Ok(Box::new(Workspace::at(path)));
    }
    let bundle = Bundle::open(&path, &Limits::default());
    let bundle = bundle.map_err(|error| Failure::of(ExitCode::VerificationFailed, &error))?;
    Ok(Box::new(bundle))
}

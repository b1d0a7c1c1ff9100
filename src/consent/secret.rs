//! The secret that tokens of events and persons are keyed by, and where it is kept.
//!
//! ```text
//! $MADMALL_CONFIG_DIR, else $XDG_CONFIG_HOME/madmall, else $HOME/.config/madmall
//!   consent-secret       mode 0600: `madmall-consent-secret-v1 ` and 64 lower-case hexadecimal digits, one line
//! ```
//!
//! Without it nobody can tell whose a token is, and nobody can prove anything by one. It never lies in the repository.

mod destroy;

use std::fmt;
use std::fs::File;
use std::io::{self, Read as _};

use camino::{Utf8Path, Utf8PathBuf};
use hmac::{Hmac, Mac as _};
use sha2::Digest as _;
use zeroize::Zeroizing;

pub use destroy::{Destroyed, destroy};

use crate::digest::{Sha256, hex};
use crate::store::private;

/// The name of its file in the configuration folder.
pub const SECRET_FILE: &str = "consent-secret";
/// What its text begins with.
const VERSION: &str = "madmall-consent-secret-v1";
/// What its id is the hash of, before the secret.
const ID_DOMAIN: &[u8] = b"madmall consent secret v1\0";
/// Its text has 91 bytes.
const MAX_FILE: u64 = 4096;

/// 32 random bytes. Wiped from memory when dropped, and never shown.
#[derive(Clone)]
pub struct ConsentSecret(Zeroizing<[u8; 32]>);

/// What a secret is called, in receipts: SHA-256 of `madmall consent secret v1`, a zero byte and the secret.
pub type SecretId = Sha256;

/// A text that is no secret in its one spelling. What it holds is not shown.
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
#[error("expected one line, `{VERSION} ` and 64 lower-case hexadecimal digits")]
pub struct ParseSecretError;

impl ConsentSecret {
    /// Takes 32 bytes.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// Makes a new one.
    ///
    /// # Errors
    ///
    /// Whatever the system's random number generator gives.
    pub fn generate() -> Result<Self, getrandom::Error> {
        let mut bytes = Zeroizing::new([0; 32]);
        getrandom::fill(&mut *bytes)?;
        Ok(Self(bytes))
    }

    /// Reads its text: one line, whose end may be missing.
    ///
    /// # Errors
    ///
    /// [`ParseSecretError`] for any other text.
    pub fn parse(text: &str) -> Result<Self, ParseSecretError> {
        let line = text.strip_suffix('\n').unwrap_or(text);
        let digits = line.strip_prefix(VERSION).and_then(|rest| rest.strip_prefix(' '));
        // The digest's reader takes this spelling and no other; its error would show the text.
        let bytes = digits.and_then(|digits| Sha256::from_hex(digits).ok());
        Ok(Self::from_bytes(*bytes.ok_or(ParseSecretError)?.as_bytes()))
    }

    /// The line that [`ConsentSecret::parse`] reads.
    #[must_use]
    pub fn to_text(&self) -> Zeroizing<String> {
        let digits = Zeroizing::new(hex(&*self.0));
        Zeroizing::new(format!("{VERSION} {}\n", *digits))
    }

    /// What it is called.
    #[must_use]
    pub fn id(&self) -> SecretId {
        let hash = sha2::Sha256::new().chain_update(ID_DOMAIN).chain_update(*self.0);
        Sha256::from_bytes(hash.finalize().into())
    }

    /// HMAC-SHA-256 of `label` by it: a key for a purpose of its own.
    pub(crate) fn derive(&self, label: &[u8]) -> [u8; 32] {
        let mut mac = Hmac::<sha2::Sha256>::new_from_slice(&*self.0).expect("HMAC takes keys of any length");
        mac.update(label);
        mac.finalize().into_bytes().into()
    }

    pub(super) fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for ConsentSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ConsentSecret({}…)", &self.id().to_hex()[..8])
    }
}

/// Where a secret may come from. The values of environment variables are arguments, so that a test can choose them.
#[derive(Clone, Copy, Default)]
pub struct SecretSources<'a> {
    /// `MADMALL_CONSENT_SECRET`: a secret's text, or the path of a file with it.
    pub secret: Option<&'a str>,
    /// The configuration folder; see [`crate::receipt::keystore::config_dir`].
    pub config_dir: Option<&'a Utf8Path>,
}

/// A secret, and where it came from.
#[derive(Debug)]
pub struct LoadedSecret {
    /// The secret.
    pub secret: ConsentSecret,
    /// Where it came from.
    pub origin: SecretOrigin,
}

/// Where a secret came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretOrigin {
    /// `MADMALL_CONSENT_SECRET`.
    Environment,
    /// The configuration folder.
    Kept {
        /// The file.
        path: Utf8PathBuf,
    },
    /// Made just now; the user should be told.
    Made {
        /// The file.
        path: Utf8PathBuf,
    },
}

/// Why there is no secret. All of these end with code 7.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// Nowhere to look and nowhere to keep one.
    #[error("no folder to keep the consent secret in: set `HOME`, `MADMALL_CONFIG_DIR` or `MADMALL_CONSENT_SECRET`")]
    NoFolder,
    /// Its file, or its folder.
    #[error("cannot {verb} `{path}`")]
    File {
        /// What was tried.
        verb: &'static str,
        /// What with.
        path: Utf8PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Others can read it.
    #[error("others can read the consent secret `{path}` (mode {mode:04o}): type `chmod 600 {path}`")]
    Exposed {
        /// The file.
        path: Utf8PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// Something that is no file has its name.
    #[error("`{path}` is not a file: move it away")]
    NoFile {
        /// What is there.
        path: Utf8PathBuf,
    },
    /// The variable is no secret and names no file. What it holds is not shown: it may be a secret in another form.
    #[error("`MADMALL_CONSENT_SECRET` is neither a consent secret nor the path of a file with one")]
    NoSuchSecret,
    /// What is there is no secret.
    #[error("`{place}` holds no consent secret")]
    Unreadable {
        /// A file, or the variable.
        place: String,
        /// Why.
        source: ParseSecretError,
    },
    /// The system has no random bytes.
    #[error("cannot make a consent secret: {0}")]
    Random(getrandom::Error),
}

/// The secret, if there is one already.
///
/// # Errors
///
/// [`SecretError`] if what is there cannot be used.
pub fn load(sources: SecretSources<'_>) -> Result<Option<LoadedSecret>, SecretError> {
    if let Some(value) = sources.secret.filter(|value| !value.trim().is_empty()) {
        return of_variable(value).map(|secret| {
            let origin = SecretOrigin::Environment;
            Some(LoadedSecret { secret, origin })
        });
    }
    let Some(folder) = sources.config_dir else {
        return Ok(None);
    };
    let path = folder.join(SECRET_FILE);
    match read_file(&path) {
        Err(SecretError::File { source, .. }) if source.kind() == io::ErrorKind::NotFound => Ok(None),
        read => read.map(|secret| {
            let origin = SecretOrigin::Kept { path };
            Some(LoadedSecret { secret, origin })
        }),
    }
}

/// The secret; if there is none, makes one in the configuration folder. Two processes that do this at once end with the same.
///
/// # Errors
///
/// [`SecretError`] if none can be read or kept.
pub fn load_or_make(sources: SecretSources<'_>) -> Result<LoadedSecret, SecretError> {
    if let Some(loaded) = load(sources)? {
        return Ok(loaded);
    }
    let folder = sources.config_dir.ok_or(SecretError::NoFolder)?;
    let path = folder.join(SECRET_FILE);
    private::make_folder(folder).map_err(|source| failed("make the folder", folder, source))?;
    let secret = ConsentSecret::generate().map_err(SecretError::Random)?;
    let is_ours = private::publish_new(folder, SECRET_FILE, secret.to_text().as_bytes())
        .map_err(|source| failed("write", &path, source))?;
    let origin = match is_ours {
        true => SecretOrigin::Made { path: path.clone() },
        // Another process was first: its secret is the user's secret.
        false => SecretOrigin::Kept { path: path.clone() },
    };
    let secret = read_file(&path)?;
    Ok(LoadedSecret { secret, origin })
}

/// The file that `MADMALL_CONSENT_SECRET` names, if this `value` of it is not the secret itself.
#[must_use]
pub fn named_file(value: &str) -> Option<&Utf8Path> {
    let value = value.trim();
    (!value.starts_with(VERSION)).then_some(Utf8Path::new(value))
}

fn of_variable(value: &str) -> Result<ConsentSecret, SecretError> {
    let Some(file) = named_file(value) else {
        return ConsentSecret::parse(value.trim()).map_err(|source| SecretError::Unreadable {
            place: "MADMALL_CONSENT_SECRET".to_owned(),
            source,
        });
    };
    read_file(file).map_err(|error| match error {
        SecretError::File { source, .. } if source.kind() != io::ErrorKind::PermissionDenied => {
            SecretError::NoSuchSecret
        }
        other => other,
    })
}

/// The secret in the file `path`.
///
/// # Errors
///
/// [`SecretError`] if it cannot be read, others can read it, or it holds none.
pub fn read_file(path: &Utf8Path) -> Result<ConsentSecret, SecretError> {
    let failed = |source| failed("read", path, source);
    // A pipe would be waited for without an end.
    if !std::fs::metadata(path).map_err(failed)?.is_file() {
        let path = path.to_owned();
        return Err(SecretError::NoFile { path });
    }
    let file = File::open(path).map_err(failed)?;
    if let Some(mode) = private::exposed(&file).map_err(failed)? {
        let path = path.to_owned();
        return Err(SecretError::Exposed { path, mode });
    }
    let mut bytes = Zeroizing::new(Vec::new());
    file.take(MAX_FILE).read_to_end(&mut bytes).map_err(failed)?;
    // What is no text is no secret either.
    let text = std::str::from_utf8(&bytes).unwrap_or_default();
    ConsentSecret::parse(text).map_err(|source| SecretError::Unreadable {
        place: path.to_string(),
        source,
    })
}

fn failed(verb: &'static str, path: &Utf8Path, source: io::Error) -> SecretError {
    let path = path.to_owned();
    SecretError::File { verb, path, source }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    pub(super) fn folder() -> (tempfile::TempDir, Utf8PathBuf) {
        let temp = tempfile::tempdir().expect("a temporary folder");
        let path = Utf8PathBuf::from_path_buf(temp.path().join("config/madmall")).expect("UTF-8");
        (temp, path)
    }

    pub(super) fn kept(config_dir: &Utf8Path) -> SecretSources<'_> {
        SecretSources {
            secret: None,
            config_dir: Some(config_dir),
        }
    }

    fn by_variable(value: &str) -> SecretSources<'_> {
        SecretSources {
            secret: Some(value),
            config_dir: None,
        }
    }

    #[test]
    fn a_secret_has_one_spelling_and_an_id_of_its_own_domain() {
        let secret = ConsentSecret::from_bytes([7; 32]);
        let text = secret.to_text();
        assert_eq!(*text, format!("madmall-consent-secret-v1 {}\n", "07".repeat(32)));
        assert_eq!(ConsentSecret::parse(&text).expect("a secret").as_bytes(), &[7; 32]);
        // printf 'madmall consent secret v1\0' | cat - <(printf '\7%.0s' {1..32}) | sha256sum
        let mut bytes = b"madmall consent secret v1\0".to_vec();
        bytes.extend([7; 32]);
        assert_eq!(secret.id(), Sha256::of(&bytes));
        assert!(!format!("{secret:?}").contains("0707"));
        for wrong in [
            "",
            &text.to_uppercase(),
            &format!(" {}", *text),
            &format!("{}\n", *text),
            &text.replace("v1", "v2"),
            &text.replace(' ', "  "),
            &text[..text.len() - 2],
            &"07".repeat(32),
        ] {
            assert_eq!(ConsentSecret::parse(wrong).err(), Some(ParseSecretError), "{wrong:?}");
        }
    }

    #[test]
    fn a_secret_that_was_destroyed_is_gone_and_the_next_is_another() {
        let (_temp, path) = folder();
        let made = load_or_make(kept(&path)).expect("a secret");
        assert_eq!(destroy(&path).expect("destroyed"), Destroyed::Secret(made.secret.id()));
        assert!(load(kept(&path)).expect("no error").is_none());
        assert_eq!(destroy(&path).expect("nothing to destroy"), Destroyed::Nothing);
        let next = load_or_make(kept(&path)).expect("another");
        assert_ne!(next.secret.id(), made.secret.id());
    }

    #[test]
    fn a_secret_is_made_once_and_then_kept() {
        let (_temp, path) = folder();
        assert!(load(kept(&path)).expect("no error").is_none());
        let made = load_or_make(kept(&path)).expect("a secret");
        let again = load_or_make(kept(&path)).expect("a secret");
        assert!(matches!(made.origin, SecretOrigin::Made { .. }));
        assert!(matches!(again.origin, SecretOrigin::Kept { .. }));
        assert_eq!(made.secret.id(), again.secret.id());
        let file = path.join(SECRET_FILE);
        let named = load(by_variable(file.as_str())).expect("no error").expect("a secret");
        assert_eq!(named.secret.id(), made.secret.id());
        let text = made.secret.to_text();
        let given = load(by_variable(text.trim())).expect("no error").expect("a secret");
        assert_eq!(given.secret.id(), made.secret.id());
        assert_eq!(given.origin, SecretOrigin::Environment);
        let error = load_or_make(SecretSources::default()).expect_err("nowhere");
        assert!(error.to_string().contains("MADMALL_CONFIG_DIR"));
    }

    #[test]
    fn processes_that_race_end_with_one_secret() {
        let (_temp, path) = folder();
        let ids: Vec<_> = std::thread::scope(|scope| {
            let one = || load_or_make(kept(&path)).expect("a secret").secret.id();
            let handles: Vec<_> = (0..8).map(|_| scope.spawn(one)).collect();
            handles.into_iter().map(|h| h.join().expect("no panic")).collect()
        });
        assert!(ids.windows(2).all(|pair| pair[0] == pair[1]), "{ids:?}");
    }

    #[cfg(unix)]
    #[test]
    fn a_secret_that_others_can_read_or_that_is_none_is_refused_and_not_shown() {
        use std::os::unix::fs::PermissionsExt as _;
        let (_temp, path) = folder();
        let secret = load_or_make(kept(&path)).expect("a secret").secret;
        let mode = |p: &Utf8Path| std::fs::metadata(p).expect("there").permissions().mode() & 0o777;
        let file = path.join(SECRET_FILE);
        assert_eq!((mode(&path), mode(&file)), (0o700, 0o600));
        for wrong in [0o640, 0o604, 0o601] {
            std::fs::set_permissions(&file, std::fs::Permissions::from_mode(wrong)).expect("own file");
            let error = load(kept(&path)).expect_err("must be refused");
            assert!(error.to_string().contains("chmod 600"), "{error}");
        }
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).expect("own file");
        let digits = hex(secret.as_bytes());
        for bytes in [&b""[..], digits.as_bytes(), b"\xff\xfe"] {
            let mut open = File::options()
                .write(true)
                .truncate(true)
                .open(&file)
                .expect("own file");
            open.write_all(bytes).expect("written");
            let error = load(kept(&path)).expect_err("no secret");
            assert!(matches!(error, SecretError::Unreadable { .. }), "{error}");
            assert!(!format!("{error} {error:?}").contains(&digits));
        }
        let error = load(by_variable(&digits)).expect_err("no secret");
        assert!(!format!("{error} {error:?}").contains(&digits), "{error:?}");
        std::fs::remove_file(&file).expect("own file");
        std::fs::create_dir(&file).expect("own folder");
        assert!(matches!(load(kept(&path)), Err(SecretError::NoFile { .. })));
    }
}

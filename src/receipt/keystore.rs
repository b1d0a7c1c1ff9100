//! Where the user's key is kept, and how it gets there.
//!
//! ```text
//! $MADMALL_CONFIG_DIR, else $XDG_CONFIG_HOME/madmall, else $HOME/.config/madmall     mode 0700
//!   signing-key.pem      PKCS#8, mode 0600
//!   policy.json          whom the user trusts: to begin with, this key alone (see `policy`)
//! ```
//!
//! What else may lie there, and how the two are changed, is in [`super::keyring`].

use std::fs::File;
use std::io::{self, Read as _};

use camino::{Utf8Path, Utf8PathBuf};
use zeroize::{Zeroize as _, Zeroizing};

use super::key::{ParseKeyError, SigningKey};
use super::keyring::{Keyring, KeyringError};
use super::policy::Policy;
use super::trust::{Trust, TrustError};
use crate::store::private;

/// The name of the key's file in the configuration folder.
pub const KEY_FILE: &str = "signing-key.pem";
/// The name of the file of a key that is about to become the signing key.
pub(super) const NEXT_KEY_FILE: &str = "next-key.pem";
/// The name of the policy's file in the configuration folder.
pub const POLICY_FILE: &str = "policy.json";
/// A PEM of an Ed25519 key has 119 bytes.
const MAX_KEY_FILE: u64 = 64 * 1024;

/// Where keys may come from. The values of environment variables are arguments, so that a test can choose them.
#[derive(Clone, Copy, Debug, Default)]
pub struct KeySources<'a> {
    /// `MADMALL_SIGNING_KEY`: a private key's text (PKCS#8 PEM, or OpenSSH's form), or the path of a file with it.
    pub signing_key: Option<&'a str>,
    /// The configuration folder; see [`config_dir`].
    pub config_dir: Option<&'a Utf8Path>,
}

/// A key, and where it came from.
#[derive(Debug)]
pub struct LoadedKey {
    /// The key.
    pub key: SigningKey,
    /// Where it came from.
    pub origin: KeyOrigin,
}

/// Where a key came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyOrigin {
    /// `MADMALL_SIGNING_KEY`.
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

/// Why there is no key to sign with. All of these end with code 7 before anything runs.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// Nowhere to look and nowhere to keep one.
    #[error("no folder to keep a signing key in: set `HOME`, `MADMALL_CONFIG_DIR` or `MADMALL_SIGNING_KEY`")]
    NoFolder,
    /// The key's file, or its folder.
    #[error("cannot {verb} `{path}`")]
    File {
        /// What was tried.
        verb: &'static str,
        /// What with.
        path: Utf8PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file that `MADMALL_SIGNING_KEY` names.
    #[error("cannot {verb} the signing key `{path}` that MADMALL_SIGNING_KEY names")]
    NamedFile {
        /// What was tried.
        verb: &'static str,
        /// What with.
        path: Utf8PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Others can read the key.
    #[error("others can read the signing key `{path}` (mode {mode:04o}): type `chmod 600 {path}`")]
    Exposed {
        /// The file.
        path: Utf8PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The variable is no PEM text and names no file. What it holds is not shown: it may be a key in another form.
    #[error("`MADMALL_SIGNING_KEY` is neither a key in PEM form nor the path of a file with one")]
    NoSuchKey,
    /// Something that is no file has the name of the key.
    #[error("`{path}` is not a file: move it away, or set `MADMALL_CONFIG_DIR` to another folder")]
    NoFile {
        /// What is there.
        path: Utf8PathBuf,
    },
    /// What is there is no key.
    #[error("`{place}` holds no key to sign with")]
    Unreadable {
        /// A file, or the variable.
        place: String,
        /// Why.
        source: ParseKeyError,
    },
    /// The policy, which says which of two keys signs.
    #[error("cannot find out which key signs")]
    Policy(#[from] Box<TrustError>),
    /// The keys could not be changed.
    #[error("cannot keep a signing key")]
    Keyring(#[from] Box<KeyringError>),
    /// The system has no random bytes.
    #[error("cannot make a signing key: {0}")]
    Random(getrandom::Error),
}

impl KeyError {
    fn of_variable(self) -> Self {
        match self {
            Self::File { verb, path, source } => Self::NamedFile { verb, path, source },
            other => other,
        }
    }
}

/// The user's configuration folder, from the values of `MADMALL_CONFIG_DIR`, `XDG_CONFIG_HOME` and `HOME`. Empty and
/// (for the last two) relative values count as not set.
#[must_use]
pub fn config_dir(madmall: Option<&str>, xdg: Option<&str>, home: Option<&str>) -> Option<Utf8PathBuf> {
    let absolute = |value: Option<&str>| value.map(Utf8PathBuf::from).filter(|path| path.is_absolute());
    let own = madmall.filter(|value| !value.is_empty()).map(Utf8PathBuf::from);
    own.or_else(|| absolute(xdg).map(|path| path.join("madmall")))
        .or_else(|| absolute(home).map(|path| path.join(".config/madmall")))
}

/// The key to sign with, if there is one already.
///
/// # Errors
///
/// [`KeyError`] if what is there cannot be used.
pub fn load(sources: KeySources<'_>) -> Result<Option<LoadedKey>, KeyError> {
    if let Some(value) = sources.signing_key.filter(|value| !value.trim().is_empty()) {
        let origin = KeyOrigin::Environment;
        let key = match value.trim_start().starts_with("-----BEGIN") {
            true => SigningKey::parse(value).map_err(|source| KeyError::Unreadable {
                place: "MADMALL_SIGNING_KEY".to_owned(),
                source,
            })?,
            false => read_key(Utf8Path::new(value.trim())).map_err(|error| match error {
                KeyError::File { source, .. } if source.kind() != io::ErrorKind::PermissionDenied => {
                    KeyError::NoSuchKey
                }
                // Nothing of the caller's is in the way of a key here: the variable names a folder, or a pipe.
                KeyError::NoFile { .. } => KeyError::NoSuchKey,
                other => other.of_variable(),
            })?,
        };
        return Ok(Some(LoadedKey { key, origin }));
    }
    let Some(folder) = sources.config_dir else {
        return Ok(None);
    };
    let path = folder.join(KEY_FILE);
    Ok(chosen(folder)?.map(|key| LoadedKey {
        key,
        origin: KeyOrigin::Kept { path },
    }))
}

/// The key in `folder` that signs: that in the key's file, or the next one if the policy says so.
pub(super) fn chosen(folder: &Utf8Path) -> Result<Option<SigningKey>, KeyError> {
    // In this order: a next key that is gone when it is looked for has become the key that is read then.
    let next = read_if_there(&folder.join(NEXT_KEY_FILE))?;
    let current = read_if_there(&folder.join(KEY_FILE))?;
    let Some(next) = next else { return Ok(current) };
    let Some(policy) = read_policy(folder).map_err(Box::new)? else {
        return Ok(current);
    };
    let trusts = |key: &SigningKey| {
        policy
            .entry(key.public().keyid())
            .is_some_and(|entry| entry.until.is_none())
    };
    match trusts(&next) && !current.as_ref().is_some_and(trusts) {
        true => Ok(Some(next)),
        false => Ok(current),
    }
}

/// The key in a file, if there is one of that name.
pub(super) fn read_if_there(path: &Utf8Path) -> Result<Option<SigningKey>, KeyError> {
    match read_key(path) {
        Err(KeyError::File { source, .. }) if source.kind() == io::ErrorKind::NotFound => Ok(None),
        other => other.map(Some),
    }
}

/// The policy in the configuration folder `folder`, if there is one.
///
/// # Errors
///
/// [`TrustError`] if it is there and cannot be used.
pub fn read_policy(folder: &Utf8Path) -> Result<Option<Policy>, TrustError> {
    let path = folder.join(POLICY_FILE);
    let Some(bytes) = Trust::read_if_there(&path)? else {
        return Ok(None);
    };
    let policy = Policy::parse(&bytes).map_err(|error| TrustError::content(&path, error));
    policy.map(Some)
}

/// The key to sign with; if there is none, makes one in the configuration folder. Beside a key that is kept there stands
/// the user's own policy: it too is made if it is missing.
///
/// Two processes that do this at once end with the same key.
///
/// # Errors
///
/// [`KeyError`] if no key can be read or kept.
pub fn load_or_make(sources: KeySources<'_>) -> Result<LoadedKey, KeyError> {
    let loaded = match load(sources)? {
        Some(loaded) => loaded,
        None => make(sources.config_dir.ok_or(KeyError::NoFolder)?)?,
    };
    if let (KeyOrigin::Kept { .. } | KeyOrigin::Made { .. }, Some(folder)) = (&loaded.origin, sources.config_dir) {
        let policy = Policy::own(&loaded.key.public());
        private::publish_new(folder, POLICY_FILE, policy.to_json().as_bytes())
            .map_err(|source| failed("write", &folder.join(POLICY_FILE), source))?;
    }
    Ok(loaded)
}

fn make(folder: &Utf8Path) -> Result<LoadedKey, KeyError> {
    let path = folder.join(KEY_FILE);
    let keyring = Keyring::open(folder).map_err(of_keyring)?;
    if let Some(key) = keyring.key().map_err(of_keyring)? {
        // Another process was first: its key is the user's key.
        let origin = KeyOrigin::Kept { path };
        return Ok(LoadedKey { key, origin });
    }
    let key = SigningKey::generate().map_err(KeyError::Random)?;
    let mut policy = keyring.policy().map_err(of_keyring)?;
    let added = policy.add_own(&key.public()).map_err(KeyringError::from);
    let made = added.and_then(|()| keyring.set_key(&key, None, &policy));
    made.map_err(of_keyring)?;
    let origin = KeyOrigin::Made { path };
    Ok(LoadedKey { key, origin })
}

fn of_keyring(error: KeyringError) -> KeyError {
    match error {
        KeyringError::Key(error) => error,
        other => KeyError::Keyring(Box::new(other)),
    }
}

/// The key in a file that is there.
pub(crate) fn read_key(path: &Utf8Path) -> Result<SigningKey, KeyError> {
    let failed = |source| failed("read", path, source);
    // A pipe would be waited for without an end.
    if !std::fs::metadata(path).map_err(failed)?.is_file() {
        let path = path.to_owned();
        return Err(KeyError::NoFile { path });
    }
    let file = File::open(path).map_err(failed)?;
    check_mode(path, &file)?;
    let mut bytes = Zeroizing::new(Vec::new());
    file.take(MAX_KEY_FILE).read_to_end(&mut bytes).map_err(failed)?;
    // What is no text is no PEM either, and is said to be that.
    let mut text = Zeroizing::new(String::from_utf8_lossy(&bytes).into_owned());
    let key = SigningKey::parse(&text).map_err(|source| KeyError::Unreadable {
        place: path.to_string(),
        source,
    });
    text.zeroize();
    key
}

pub(super) fn failed(verb: &'static str, path: &Utf8Path, source: io::Error) -> KeyError {
    let path = path.to_owned();
    KeyError::File { verb, path, source }
}

fn check_mode(path: &Utf8Path, file: &File) -> Result<(), KeyError> {
    match private::exposed(file).map_err(|source| failed("read", path, source))? {
        None => Ok(()),
        Some(mode) => Err(KeyError::Exposed {
            path: path.to_owned(),
            mode,
        }),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn folder() -> (tempfile::TempDir, Utf8PathBuf) {
        let temp = tempfile::tempdir().expect("a temporary folder");
        let path = Utf8PathBuf::from_path_buf(temp.path().join("config/madmall")).expect("UTF-8");
        (temp, path)
    }

    fn sources(config_dir: &Utf8Path) -> KeySources<'_> {
        KeySources {
            signing_key: None,
            config_dir: Some(config_dir),
        }
    }

    #[test]
    fn a_key_is_made_once_and_then_kept_with_a_policy_that_trusts_it() {
        let (_temp, path) = folder();
        assert!(load(sources(&path)).expect("no error").is_none());
        let made = load_or_make(sources(&path)).expect("a key");
        let kept = load_or_make(sources(&path)).expect("a key");
        assert!(matches!(made.origin, KeyOrigin::Made { .. }));
        assert!(matches!(kept.origin, KeyOrigin::Kept { .. }));
        assert_eq!(made.key.public(), kept.key.public());
        let policy = std::fs::read(path.join(POLICY_FILE)).expect("the policy");
        let policy = Policy::parse(&policy).expect("a policy");
        assert_eq!(policy, Policy::own(&made.key.public()));
    }

    #[cfg(unix)]
    #[test]
    fn a_key_that_others_can_read_is_refused_with_the_command_to_type() {
        use std::os::unix::fs::PermissionsExt as _;
        let (_temp, path) = folder();
        load_or_make(sources(&path)).expect("a key");
        let mode = |p: &Utf8Path| std::fs::metadata(p).expect("there").permissions().mode() & 0o777;
        let key = path.join(KEY_FILE);
        assert_eq!((mode(&path), mode(&key)), (0o700, 0o600));
        std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o640)).expect("own file");
        let error = load(sources(&path)).expect_err("must be refused");
        assert!(error.to_string().contains("chmod 600"), "{error}");
    }

    #[cfg(unix)]
    #[test]
    fn what_is_no_key_is_said_to_be_that_and_never_shown_or_waited_for() {
        let (_temp, path) = folder();
        load_or_make(sources(&path)).expect("a key");
        let key = path.join(KEY_FILE);
        let write = |bytes: &[u8]| {
            let mut file = File::options().write(true).truncate(true).open(&key).expect("own file");
            file.write_all(bytes).expect("written");
        };
        for bytes in [&b""[..], b"garbage", b"\xff\xfe"] {
            write(bytes);
            let error = load(sources(&path)).expect_err("no key");
            assert!(matches!(error, KeyError::Unreadable { .. }), "{error}");
        }
        std::fs::remove_file(&key).expect("own file");
        let made = std::process::Command::new("mkfifo")
            .args(["-m", "600"])
            .arg(&key)
            .status();
        assert!(made.expect("mkfifo runs").success());
        let error = load(sources(&path)).expect_err("a pipe");
        assert!(matches!(error, KeyError::NoFile { .. }), "{error}");
        // A key that lost its PEM header is taken for a path: it must not get into a log.
        for secret in [
            "MC4CAQAwBQYDK2VwBCIEIAcHBwcHBwcHBwcHBwcHBwc",
            &"s".repeat(5000),
            path.as_str(),
            key.as_str(),
        ] {
            let by_text = KeySources {
                signing_key: Some(secret),
                config_dir: None,
            };
            let error = load(by_text).expect_err("no key");
            let shown = format!("{error} {error:?}");
            assert!(!shown.contains(secret) && shown.contains("NoSuchKey"), "{shown}");
        }
    }

    #[test]
    fn processes_that_race_end_with_one_key() {
        let (_temp, path) = folder();
        let keys: Vec<_> = std::thread::scope(|scope| {
            let handles: Vec<_> = (0..8)
                .map(|_| scope.spawn(|| load_or_make(sources(&path)).expect("a key").key.public().to_hex()))
                .collect();
            handles.into_iter().map(|h| h.join().expect("no panic")).collect()
        });
        assert!(keys.windows(2).all(|pair| pair[0] == pair[1]), "{keys:?}");
    }

    #[test]
    fn the_environment_gives_a_key_as_text_or_path_and_nothing_is_written() {
        let (_temp, path) = folder();
        let key = SigningKey::from_seed(&[7; 32]);
        let pem = key.to_pem();
        let by_text = KeySources {
            signing_key: Some(&pem),
            config_dir: Some(&path),
        };
        let loaded = load_or_make(by_text).expect("a key");
        assert_eq!(loaded.key.public(), key.public());
        assert!(!path.exists());
        let other = load_or_make(sources(&path)).expect("a key").key.public();
        let file = path.join(KEY_FILE);
        let by_path = KeySources {
            signing_key: Some(file.as_str()),
            config_dir: None,
        };
        assert_eq!(load_or_make(by_path).expect("a key").key.public(), other);
    }

    #[test]
    fn without_any_folder_the_error_says_what_to_set() {
        let error = load_or_make(KeySources::default()).expect_err("nowhere");
        assert!(error.to_string().contains("MADMALL_CONFIG_DIR"));
        assert_eq!(
            config_dir(None, Some(""), Some("/h")).as_deref(),
            Some("/h/.config/madmall".into())
        );
        assert_eq!(
            config_dir(None, Some("/x"), Some("/h")).as_deref(),
            Some("/x/madmall".into())
        );
        assert_eq!(config_dir(Some("/m"), Some("/x"), None).as_deref(), Some("/m".into()));
        assert_eq!(config_dir(None, Some("relative"), None), None);
    }
}

//! Changes of what the configuration folder holds: which key signs, and what the policy says.
//!
//! ```text
//! lock                 held while something is changed
//! next-key.pem         a key that is about to become the signing key
//! policy.json
//! signing-key.pem
//! retired/<keyid>.pem  the private halves of keys that were replaced
//! ```
//!
//! A change may die at any moment. It goes in these steps, each whole and durable before the next:
//!
//! 1. the private half of the old key is copied to `retired/` (if there is an old one);
//! 2. the new key is written to `next-key.pem`;
//! 3. the policy is replaced: it trusts the new key, and the old one has an end;
//! 4. `next-key.pem` becomes `signing-key.pem`.
//!
//! The third step decides. Until then the old key signs, and what is in `next-key.pem` is nobody's; from then on the key in
//! `next-key.pem` signs ([`super::keystore::load`] sees that the policy trusts it and no longer the other), and whoever changes
//! something next does the fourth step first. So exactly one key signs at any moment, and the policy trusts it.

use std::fs::File;
use std::io::{self, Write as _};

use camino::{Utf8Path, Utf8PathBuf};
use zeroize::Zeroizing;

use super::amend::AmendError;
use super::key::SigningKey;
use super::keystore::{KEY_FILE, KeyError, NEXT_KEY_FILE, POLICY_FILE, chosen, failed, read_if_there, read_policy};
use super::policy::Policy;
use super::trust::TrustError;
use crate::store::atomic::{TEMPORARY, sweep};
use crate::store::private::make_folder;

/// The folder of private halves that do not sign any more.
pub const RETIRED: &str = "retired";
const LOCK_FILE: &str = "lock";

/// Why keys or policy are not changed.
#[derive(Debug, thiserror::Error)]
pub enum KeyringError {
    /// A file, or the key in it. Exit code 7.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The policy that is there cannot be used, or would not be usable. Exit code 2.
    #[error(transparent)]
    Policy(#[from] TrustError),
    /// The policy does not go with the change. Exit code 2.
    #[error(transparent)]
    Amend(#[from] AmendError),
}

/// The configuration folder, while nobody else changes it.
#[derive(Debug)]
pub struct Keyring {
    folder: Utf8PathBuf,
    _lock: File,
}

impl Keyring {
    /// Waits until nobody else changes the folder, which is made if it is not there, and ends a change that died.
    ///
    /// # Errors
    ///
    /// [`KeyringError`] if it cannot be made, locked, or understood.
    pub fn open(folder: &Utf8Path) -> Result<Self, KeyringError> {
        make_folder(folder).map_err(|source| failed("make the folder", folder, source))?;
        let path = folder.join(LOCK_FILE);
        let lock = open_private(&path).and_then(|file| file.lock().map(|()| file));
        let keyring = Self {
            folder: folder.to_owned(),
            _lock: lock.map_err(|source| failed("lock", &path, source))?,
        };
        // What a change that died was writing; no other writes files of that name here.
        sweep(folder);
        sweep(&folder.join(RETIRED));
        keyring.settle()?;
        Ok(keyring)
    }

    /// Does the last step of a change that was decided, or forgets one that was not.
    fn settle(&self) -> Result<(), KeyringError> {
        let next = self.folder.join(NEXT_KEY_FILE);
        let Some(key) = read_if_there(&next)? else {
            return Ok(());
        };
        let signing = chosen(&self.folder)?;
        match signing.is_some_and(|signing| signing.public() == key.public()) {
            true => perform(&self.folder, &Step::Rename)?,
            false => std::fs::remove_file(&next).map_err(|source| failed("remove", &next, source))?,
        }
        Ok(())
    }

    /// The key that signs.
    ///
    /// # Errors
    ///
    /// [`KeyringError`] if what is there cannot be used.
    pub fn key(&self) -> Result<Option<SigningKey>, KeyringError> {
        Ok(chosen(&self.folder)?)
    }

    /// The policy that is there. If there is none, that of whoever believes only their own key.
    ///
    /// # Errors
    ///
    /// [`KeyringError`] if it cannot be used.
    pub fn policy(&self) -> Result<Policy, KeyringError> {
        if let Some(policy) = read_policy(&self.folder)? {
            return Ok(policy);
        }
        let own = self.key()?.map(|key| Policy::own(&key.public()));
        Ok(own.unwrap_or(Policy {
            version: 1,
            keys: Vec::new(),
            logs: None,
            withdrawn: None,
        }))
    }

    /// Replaces the policy.
    ///
    /// # Errors
    ///
    /// [`KeyringError`] if it could not be read back, or not be written.
    pub fn set_policy(&self, policy: &Policy) -> Result<(), KeyringError> {
        Ok(perform(&self.folder, &Step::policy(policy)?)?)
    }

    /// Makes `new` the key that signs, under `policy`, which must trust it. `old` is the one that signs now, if there is one.
    ///
    /// # Errors
    ///
    /// [`KeyringError`] if something cannot be written: then all is as before, or as after, the change.
    pub fn set_key(&self, new: &SigningKey, old: Option<&SigningKey>, policy: &Policy) -> Result<(), KeyringError> {
        for step in steps(new, old, policy)? {
            perform(&self.folder, &step)?;
        }
        Ok(())
    }

    /// Where the private half of a key that was replaced lies.
    #[must_use]
    pub fn retired(&self, key: &SigningKey) -> Utf8PathBuf {
        self.folder.join(retired_file(key))
    }
}

fn retired_file(key: &SigningKey) -> Utf8PathBuf {
    Utf8Path::new(RETIRED).join(format!("{}.pem", key.public().keyid()))
}

/// A step of a change, whole or not done.
enum Step {
    /// A file has these bytes.
    Put {
        file: Utf8PathBuf,
        bytes: Zeroizing<Vec<u8>>,
    },
    /// The next key becomes the signing key.
    Rename,
}

impl Step {
    fn key(file: impl Into<Utf8PathBuf>, key: &SigningKey) -> Self {
        let bytes = Zeroizing::new(key.to_pem().as_bytes().to_vec());
        let file = file.into();
        Self::Put { file, bytes }
    }

    /// Only a policy that can be read back is written: with another, nobody would be trusted.
    fn policy(policy: &Policy) -> Result<Self, TrustError> {
        let text = policy.to_json();
        Policy::parse(text.as_bytes())?;
        Ok(Self::Put {
            file: POLICY_FILE.into(),
            bytes: Zeroizing::new(text.into_bytes()),
        })
    }
}

/// The steps of a change of the signing key, in order.
fn steps(new: &SigningKey, old: Option<&SigningKey>, policy: &Policy) -> Result<Vec<Step>, TrustError> {
    let retire = old.map(|old| Step::key(retired_file(old), old));
    let rest = [Step::key(NEXT_KEY_FILE, new), Step::policy(policy)?, Step::Rename];
    Ok(retire.into_iter().chain(rest).collect())
}

fn perform(folder: &Utf8Path, step: &Step) -> Result<(), KeyError> {
    let (path, done) = match step {
        Step::Put { file, bytes } => {
            let path = folder.join(file);
            let done = put(&path, bytes);
            (path, done)
        }
        Step::Rename => {
            let path = folder.join(KEY_FILE);
            let done = std::fs::rename(folder.join(NEXT_KEY_FILE), &path).and_then(|()| sync(folder));
            (path, done)
        }
    };
    done.map_err(|source| failed("write", &path, source))
}

/// Writes a file that others cannot read, whole or not at all.
fn put(path: &Utf8Path, bytes: &[u8]) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Utf8Path::new("."));
    make_folder(folder)?;
    // A temporary file is made with mode 0600 and O_EXCL.
    let mut file = tempfile::Builder::new().prefix(TEMPORARY).tempfile_in(folder)?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|error| error.error)?;
    sync(folder)?;
    // The folder's own name may have been made just now.
    folder.parent().map_or(Ok(()), sync)
}

fn sync(folder: &Utf8Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

#[cfg(unix)]
fn open_private(path: &Utf8Path) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let mut options = File::options();
    options.write(true).create(true).truncate(false).mode(0o600).open(path)
}

#[cfg(not(unix))]
fn open_private(path: &Utf8Path) -> io::Result<File> {
    File::options().write(true).create(true).truncate(false).open(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::receipt::key::PublicKey;
    use crate::receipt::keystore::{KeySources, load, load_or_make};
    use crate::receipt::policy::PolicyEnd;

    fn key(seed: u8) -> SigningKey {
        SigningKey::from_seed(&[seed; 32])
    }

    fn folder() -> (tempfile::TempDir, Utf8PathBuf) {
        let temp = tempfile::tempdir().expect("a temporary folder");
        let path = Utf8PathBuf::from_path_buf(temp.path().join("config")).expect("UTF-8");
        (temp, path)
    }

    fn sources(config_dir: &Utf8Path) -> KeySources<'_> {
        KeySources {
            signing_key: None,
            config_dir: Some(config_dir),
        }
    }

    /// The one key that signs, which the policy must trust without an end. Looking changes nothing.
    #[track_caller]
    fn signs(folder: &Utf8Path) -> PublicKey {
        let loaded = load(sources(folder)).expect("no error").expect("a key").key.public();
        let made = load_or_make(sources(folder)).expect("a key").key.public();
        assert_eq!(loaded, made);
        let policy = read_policy(folder).expect("a policy").expect("there");
        let entry = policy.entry(loaded.keyid()).expect("it is trusted");
        assert_eq!(entry.until, None);
        loaded
    }

    fn replaced(old: &SigningKey, new: &SigningKey) -> Policy {
        let mut policy = Policy::own(&old.public());
        let end = PolicyEnd {
            time: "2026-11-24T15:00:00Z".to_owned(),
            logs: Vec::new(),
        };
        policy.replace_own(&old.public(), &new.public(), end).expect("replaced");
        policy
    }

    /// A folder in which key 1 signs.
    fn with_key_one() -> (tempfile::TempDir, Utf8PathBuf) {
        let (temp, folder) = folder();
        let keyring = Keyring::open(&folder).expect("a folder");
        let own = Policy::own(&key(1).public());
        keyring.set_key(&key(1), None, &own).expect("key 1");
        (temp, folder)
    }

    #[test]
    fn wherever_a_rotation_dies_one_key_signs_and_the_policy_trusts_it() {
        let (old, new) = (key(1), key(2));
        let policy = replaced(&old, &new);
        let all = steps(&new, Some(&old), &policy).expect("steps").len();
        assert_eq!(all, 4);
        for done in 0..=all {
            let (_temp, folder) = with_key_one();
            for step in steps(&new, Some(&old), &policy).expect("steps").iter().take(done) {
                perform(&folder, step).expect("done");
            }
            let expected = if done < 3 { old.public() } else { new.public() };
            assert_eq!(signs(&folder), expected, "after {done} steps");

            // Whoever comes next tidies up, and all is as it was said.
            let keyring = Keyring::open(&folder).expect("settled");
            assert!(!folder.join(NEXT_KEY_FILE).exists());
            assert_eq!(signs(&folder), expected, "after {done} steps, settled");

            // And the change can be made again from there.
            let now = keyring.key().expect("a key").expect("a key");
            let third = key(3);
            let mut policy = keyring.policy().expect("a policy");
            let end = replaced(&old, &new).keys.remove(0).until.expect("an end");
            policy
                .replace_own(&now.public(), &third.public(), end)
                .expect("replaced");
            keyring.set_key(&third, Some(&now), &policy).expect("done");
            assert_eq!(signs(&folder), third.public());
            for key in [&now, &old] {
                assert!(read_if_there(&keyring.retired(key)).expect("readable").is_some());
            }
        }
    }

    #[test]
    fn wherever_the_making_of_a_first_key_dies_there_is_none_or_it() {
        // A policy that somebody put there before.
        let (first, own) = (key(9), key(2));
        for done in 0..=3 {
            let (_temp, folder) = folder();
            let keyring = Keyring::open(&folder).expect("a folder");
            let mut policy = Policy::own(&first.public());
            keyring.set_policy(&policy).expect("written");
            policy.add_own(&own.public()).expect("added");
            for step in steps(&own, None, &policy).expect("steps").iter().take(done) {
                perform(&folder, step).expect("done");
            }
            drop(keyring);
            let found = load(sources(&folder))
                .expect("no error")
                .map(|loaded| loaded.key.public());
            assert_eq!(found, (done >= 2).then(|| own.public()), "after {done} steps");
            let made = load_or_make(sources(&folder)).expect("a key").key.public();
            assert_eq!((made == own.public(), signs(&folder)), (done >= 2, made));
        }
    }

    #[test]
    fn what_a_step_that_died_was_writing_is_removed() {
        let (_temp, folder) = with_key_one();
        let leaving = folder.join(format!("{TEMPORARY}x"));
        put(&leaving, b"half a key").expect("written");
        Keyring::open(&folder).expect("a folder");
        assert!(!leaving.exists());
        assert_eq!(signs(&folder), key(1).public());
    }

    #[test]
    fn a_policy_that_could_not_be_read_back_is_not_written() {
        let (_temp, folder) = with_key_one();
        let keyring = Keyring::open(&folder).expect("a folder");
        let mut policy = keyring.policy().expect("a policy");
        policy.keys.push(policy.keys[0].clone());
        assert!(matches!(keyring.set_policy(&policy), Err(KeyringError::Policy(_))));
        assert!(keyring.set_key(&key(2), Some(&key(1)), &policy).is_err());
        assert_eq!(signs(&folder), key(1).public());
    }

    #[cfg(unix)]
    #[test]
    fn nobody_else_can_read_what_is_written() {
        use std::os::unix::fs::PermissionsExt as _;
        let (_temp, folder) = with_key_one();
        let keyring = Keyring::open(&folder).expect("a folder");
        keyring
            .set_key(&key(2), Some(&key(1)), &replaced(&key(1), &key(2)))
            .expect("done");
        let mode = |path: &Utf8Path| std::fs::metadata(path).expect("there").permissions().mode() & 0o777;
        for file in [KEY_FILE, POLICY_FILE, LOCK_FILE] {
            assert_eq!(mode(&folder.join(file)), 0o600, "{file}");
        }
        assert_eq!(mode(&keyring.retired(&key(1))), 0o600);
        assert_eq!((mode(&folder), mode(&folder.join(RETIRED))), (0o700, 0o700));
    }
}

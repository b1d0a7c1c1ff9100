//! What earlier runs have kept, read before it is known that nobody else is running.

use crate::receipt::key::SigningKey;
use crate::receipt::trust::Trust;
use crate::store::Store;
use crate::store::believed::{Believed, Kept};
use crate::store::known::KeptKnown;
use crate::store::plans::Asked;
use crate::store::stat_cache::StatCache;
use crate::workspace::Workspace;

/// What a session need not read any more, if it is still as it was.
#[derive(Default)]
pub struct Caches {
    /// What files hold: whoever kept more meanwhile spares only work.
    pub(super) stamps: Option<StatCache>,
    /// What receipts say.
    pub(super) index: Option<Kept>,
    /// What the run before knew of stages.
    pub(super) known: Option<KeptKnown>,
}

impl Caches {
    /// Reads what is in the `store` of `workspace`: what is sealed only for whoever signs, with the policy; and of stages what is `asked` for.
    #[must_use]
    pub fn read(store: &Store, workspace: &Workspace, asked: Asked<'_>, signer: Option<(&SigningKey, &Trust)>) -> Self {
        let stamps = || StatCache::load(&store.stat_cache_file());
        let index = || {
            let (key, trust) = signer?;
            Believed::read(&store.believed_file(), workspace, trust, &key.derive_seal_key())
        };
        let known = || KeptKnown::read(&store.known_folder(), asked, &signer?.0.derive_seal_key());
        let (stamps, (index, known)) = rayon::join(stamps, || rayon::join(index, known));
        Self {
            stamps: Some(stamps),
            index,
            known,
        }
    }
}

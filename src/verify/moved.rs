//! Outputs that lie in each other's way: one where, or around where, another one lay before, so that both cannot be here at once.

use std::cell::OnceCell;
use std::collections::{BTreeMap, HashSet};

use camino::{Utf8Path, Utf8PathBuf};

use super::evidence::{Claim, Evidence};
use super::places::{self, Place, Places};
use crate::commitment::{PersonalKey, Same};
use crate::listing::{ArtifactDigests, ListedFile, ListingDigests};
use crate::store::trees;
use crate::tree::{EntryKind, Site};

/// No longer listing of a folder is read.
const MAX_LISTING: u64 = 1 << 30;

/// What is needed to find out what took a place.
pub(super) struct Others<'a> {
    pub(super) site: &'a dyn Site,
    pub(super) evidence: &'a Evidence,
    /// What is known by now of places.
    pub(super) places: &'a Places,
    pub(super) key: Option<&'a PersonalKey>,
    /// All that receipts claim, once something did not fit.
    pub(super) claims: OnceCell<BTreeMap<&'a Utf8Path, Vec<Claim>>>,
}

/// An output that is here, and the receipt whose claim it fits.
pub(super) struct Here {
    pub(super) path: Utf8PathBuf,
    pub(super) receipt: usize,
    /// The receipt that lists what lies beside it, and what that claims.
    pub(super) beside: Option<(usize, ArtifactDigests)>,
}

impl Others<'_> {
    /// The output that took the place of the one at `path`, where what stands there fits none of its `claims`.
    ///
    /// It is here as a trusted receipt says. Either it lies around `path`, and what stands there is part of it; or it lies in
    /// it, and the rest of a folder that was claimed is as claimed: else whoever puts an output of another time into a folder
    /// could change the rest of it unnoticed.
    pub(super) fn took_the_place_of(&self, path: &Utf8Path, claims: &[Claim]) -> Option<Here> {
        let all = self.claims.get_or_init(|| self.evidence.claims());
        let mut around = path.ancestors().skip(1);
        let around = around.find_map(|folder| self.is_here(folder, all.get(folder)?));
        if around.is_some() {
            return around;
        }
        let below = all
            .range(path..)
            .take_while(|(other, _)| other.as_str().starts_with(path.as_str()));
        let below = below.filter(|(other, _)| **other != path && other.starts_with(path));
        let below: Vec<Here> = below
            .filter_map(|(other, claims)| self.is_here(other, claims))
            .collect();
        let beside = match self.places.get(path) {
            Some(Place::Folder { files, .. }) => self.beside(files, &below, claims)?,
            // A folder was claimed, and what stands there has no listing to compare: it may hold anything.
            _ if claims.iter().any(|claim| claim.digests.is_folder()) => return None,
            _ => None,
        };
        let latest = below.into_iter().max_by_key(|here| self.evidence.age(here.receipt))?;
        Some(Here { beside, ..latest })
    }

    /// The folder's own receipt that lists what lies beside `outputs` among `files`, the whole of it; `Some(None)` if nothing does, `None` if no
    /// receipt lists it so: of several versions a part each would be a folder that nobody made.
    #[expect(
        clippy::option_option,
        reason = "nothing to claim, and nobody who claims it, are not the same"
    )]
    fn beside(
        &self,
        files: &[ListedFile],
        outputs: &[Here],
        claims: &[Claim],
    ) -> Option<Option<(usize, ArtifactDigests)>> {
        let here: HashSet<&Utf8Path> = outputs.iter().map(|output| output.path.as_path()).collect();
        let around: HashSet<&Utf8Path> = here.iter().flat_map(|path| path.ancestors()).collect();
        let is_beside = |file: &&ListedFile| !file.path.ancestors().any(|path| here.contains(path));
        let rest: Vec<&ListedFile> = files.iter().filter(is_beside).collect();
        if rest.is_empty() {
            return Some(None);
        }
        let mut claims = claims.iter().rev().filter(|claim| self.is_trusted(claim));
        let claim = claims.find(|claim| {
            let ArtifactDigests::Folder(folder) = claim.digests else {
                return false;
            };
            let listed = kept_listing(self.site, folder).unwrap_or_default();
            // A file that gave way to a folder with an output in it is not here either.
            let stays = |file: &&ListedFile| is_beside(file) && !around.contains(file.path.as_path());
            listed.iter().filter(stays).eq(rest.iter().copied())
        })?;
        Some(Some((claim.receipt, claim.digests)))
    }

    fn is_trusted(&self, claim: &Claim) -> bool {
        self.evidence.receipts[claim.receipt].signer.is_some()
    }

    /// What stands at `path`, if it is what a trusted one of `claims` says; of several the latest.
    fn is_here(&self, path: &Utf8Path, claims: &[Claim]) -> Option<Here> {
        let trusted: Vec<&Claim> = claims.iter().filter(|claim| self.is_trusted(claim)).collect();
        if trusted.is_empty() {
            return None;
        }
        let is_folder = claims.iter().any(|claim| claim.digests.is_folder());
        let look = if is_folder { places::look_into } else { places::look };
        let mut looked = Places::new();
        let place = self.places.get(path).or_else(|| {
            looked = look(self.site, vec![path.to_owned()]);
            looked.get(path)
        });
        let found = match place? {
            Place::File { digests, .. } => ArtifactDigests::File(*digests),
            Place::Folder { listing, .. } => ArtifactDigests::Folder(*listing),
            Place::Absent | Place::Refused(_) | Place::Unreadable(_) => return None,
        };
        let mut trusted = trusted.into_iter();
        let claim = trusted.rfind(|claim| found.compare(&claim.digests, self.key) == Same::Yes)?;
        Some(Here {
            path: path.to_owned(),
            receipt: claim.receipt,
            beside: None,
        })
    }
}

/// The files of a folder as a receipt claims them, if the store has their listing; it is believed only if it gives both
/// digests that the receipt claims.
pub(super) fn kept_listing(site: &dyn Site, claimed: ListingDigests) -> Option<Vec<ListedFile>> {
    let hex = claimed.blake3.to_hex();
    let kept = Utf8PathBuf::from(format!(".madmall/trees/{}/{}", &hex[..2], &hex[2..]));
    if !matches!(site.kind(&kept), Ok(Some(EntryKind::File { .. }))) {
        return None;
    }
    let bytes = site.read(&kept, MAX_LISTING).ok()?;
    let (files, listing) = trees::parse(&bytes)?;
    (listing == claimed).then_some(files)
}

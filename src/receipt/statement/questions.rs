//! What a statement is asked: for its parts, and of what it is the receipt.

use super::{
    CommandRecord, ExternalParameters, Internal, Metadata, Outcome, RUN_BUILD_TYPE, RUN_V1_BUILD_TYPE, ReceiptId,
    Resource, StageInternal, StageParameters, Statement,
};
use crate::consent::purposes::Purposes;
use crate::receipt::erasure::{Erased, Erasure};

/// The built-in that reads raw events.
const INGEST: &str = "ingest";
/// The built-in that makes models.
const TRAIN: &str = "train";

impl Statement {
    /// Everything read.
    #[must_use]
    pub fn dependencies(&self) -> &[Resource] {
        &self.predicate.build_definition.resolved_dependencies
    }

    /// What the user asked for.
    #[must_use]
    pub fn external(&self) -> &ExternalParameters {
        &self.predicate.build_definition.external_parameters
    }

    /// What madmall adds.
    #[must_use]
    pub fn internal(&self) -> &Internal {
        &self.predicate.build_definition.internal_parameters.madmall
    }

    /// Which run, and when.
    #[must_use]
    pub fn metadata(&self) -> &Metadata {
        &self.predicate.run_details.metadata
    }

    /// The purposes that the project has; no order at all if what it says is none.
    #[must_use]
    pub fn purposes(&self) -> Option<Purposes> {
        match &self.external().purposes {
            None => Some(Purposes::default()),
            Some(words) => Purposes::declared(words.clone()).filter(|purposes| !purposes.are_usual()),
        }
    }

    /// Whether it is the receipt of a run.
    #[must_use]
    pub fn is_run(&self) -> bool {
        let build_type = self.predicate.build_definition.build_type.as_str();
        matches!(build_type, RUN_BUILD_TYPE | RUN_V1_BUILD_TYPE)
    }

    /// The receipts that it names as such, each with the name of its stage: of a run those of all its stages.
    pub fn receipts(&self) -> impl Iterator<Item = (&str, ReceiptId)> {
        self.dependencies().iter().filter_map(Resource::as_receipt)
    }

    /// Whether it is the receipt of a run that names, as a subject, what the stages of others made too.
    #[must_use]
    pub fn names_all_outputs(&self) -> bool {
        self.predicate.build_definition.build_type == RUN_V1_BUILD_TYPE
    }

    /// Who or what was erased, if that is what it says.
    #[must_use]
    pub fn erasure(&self) -> Option<(&Erasure, &Erased)> {
        self.external().erasure.as_ref().zip(self.internal().erased.as_ref())
    }

    /// The stage's part, if it is the receipt of a stage and not of a run.
    #[must_use]
    pub fn stage(&self) -> Option<(&StageParameters, &StageInternal)> {
        self.external().stage.as_ref().zip(self.internal().stage.as_ref())
    }

    /// Whether it is the receipt of a stage that did what it should.
    #[must_use]
    pub fn is_stage_success(&self) -> bool {
        self.stage().is_some() && self.internal().outcome == Outcome::Succeeded
    }

    /// Whether any of its digests are keyed.
    #[must_use]
    pub fn is_personal(&self) -> bool {
        let mut resources = self.subject.iter().chain(self.dependencies());
        resources.any(Resource::is_keyed)
    }

    /// Whether it is the receipt of an ingest, which alone may read raw events.
    #[must_use]
    pub fn is_ingest(&self) -> bool {
        self.is_of(INGEST)
    }

    /// Whether it is the receipt of a stage that trains a model.
    #[must_use]
    pub fn is_train(&self) -> bool {
        self.is_of(TRAIN)
    }

    fn is_of(&self, builtin: &str) -> bool {
        let command = self.stage().map(|(stage, _)| &stage.command);
        matches!(command, Some(CommandRecord::Builtin { name, .. }) if name == builtin)
    }

    /// The subject of that name.
    #[must_use]
    pub fn subject_named(&self, name: &str) -> Option<&Resource> {
        let found = self.subject.binary_search_by(|subject| subject.name.as_str().cmp(name));
        found.ok().map(|index| &self.subject[index])
    }
}

//! Why a stage must run: what is different now from when it last ran.
//!
//! Derived by comparing the stage, as it is hashed into its action, with the receipt of its last run; so the reason and
//! the decision cannot disagree: if two actions differ, one of these differs.

use std::fmt;

use camino::Utf8PathBuf;

use crate::digest::Digest;

/// One reason why a stage must run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stale {
    /// No believed receipt of this stage.
    NeverRun,
    /// There are receipts of this stage, but by keys that the user's own policy does not trust for that.
    OnlyOthersRan,
    /// The user said `--force`.
    Forced,
    /// It failed the last time.
    FailedBefore,
    /// Another program, other arguments or text, or another built-in.
    CommandChanged {
        /// In one line.
        was: String,
        /// In one line.
        is: String,
    },
    /// The built-in gives other bytes than it did.
    RevisionChanged {
        /// At the last run.
        was: u32,
        /// Of this madmall.
        is: u32,
    },
    /// The pipeline's purpose.
    PurposeChanged {
        /// At the last run.
        was: String,
        /// Now.
        is: String,
    },
    /// A parameter; absent where it did not or does not exist.
    ParamChanged {
        /// The parameter.
        name: String,
        /// At the last run.
        was: Option<String>,
        /// Now.
        is: Option<String>,
    },
    /// An input has other bytes.
    InputChanged {
        /// Its name in the stage.
        input: String,
        /// Its path.
        path: Utf8PathBuf,
        /// At the last run.
        was: Digest,
        /// Now.
        is: Digest,
    },
    /// An input has another path, and the program sees paths.
    InputMoved {
        /// Its name in the stage.
        input: String,
        /// At the last run.
        was: String,
        /// Now.
        is: String,
    },
    /// A file that the program sees may be executed now, or no longer.
    ModeChanged,
    /// An input that the stage did not have.
    InputAdded {
        /// Its name in the stage.
        input: String,
    },
    /// An input that the stage no longer has.
    InputRemoved {
        /// Its name in the stage.
        input: String,
    },
    /// Names or paths of outputs.
    OutputsChanged {
        /// At the last run.
        was: String,
        /// Now.
        is: String,
    },
    /// A variable that is let in.
    VariableChanged {
        /// Its name.
        name: String,
    },
    /// The programs of the machine that it uses are part of its action now, or no longer.
    PinChanged {
        /// Whether they are now.
        is: bool,
    },
    /// What it requires of consent, or which of its outputs it declassifies.
    ConsentRulesChanged,
    /// What is said to be personal, or comes of it.
    PersonalChanged,
    /// The secret that the digests of what is personal are keyed by.
    SecretChanged,
    /// A program of the machine, which is part of the action; absent where it was or is not.
    ToolChanged {
        /// Its name.
        name: String,
        /// At the last run.
        was: Option<Digest>,
        /// Now.
        is: Option<Digest>,
    },
    /// Operating system or architecture.
    SystemChanged {
        /// At the last run.
        was: String,
        /// Now.
        is: String,
    },
    /// An output is neither in place nor in the store.
    OutputMissing {
        /// Its path.
        path: Utf8PathBuf,
    },
    /// A temporary output is not here, and a stage that runs reads it.
    Needed {
        /// Its path.
        path: Utf8PathBuf,
        /// The stage that reads it.
        by: String,
    },
    /// What it reads is not for what it does (in a forecast).
    Refused {
        /// Why, in one line.
        why: String,
    },
    /// A stage that this one reads from, itself or through others, would be refused (in a forecast).
    AfterRefused {
        /// Its name.
        stage: String,
    },
    /// A stage that this one reads from must run first (in a forecast).
    AfterStage {
        /// Its name.
        stage: String,
    },
}

impl fmt::Display for Stale {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NeverRun => write!(f, "never run"),
            Self::OnlyOthersRan => write!(f, "run only by others, whose keys are not trusted for this"),
            Self::Forced => write!(f, "forced"),
            Self::FailedBefore => write!(f, "failed the last time"),
            Self::CommandChanged { was, is } => write!(f, "command changed: {was} → {is}"),
            Self::RevisionChanged { was, is } => write!(f, "revision of the built-in changed: {was} → {is}"),
            Self::PurposeChanged { was, is } => write!(f, "purpose changed: {was} → {is}"),
            Self::ParamChanged { name, was, is } => {
                let text = |value: &Option<String>| value.clone().unwrap_or_else(|| "(none)".to_owned());
                write!(f, "param `{name}` changed: {} → {}", text(was), text(is))
            }
            Self::InputChanged { input, path, was, is } => {
                write!(f, "input `{input}` changed: {path} {} → {}", short(*was), short(*is))
            }
            Self::InputMoved { input, was, is } => write!(f, "input `{input}` moved: {was} → {is}"),
            Self::ModeChanged => write!(f, "the executable bit of an input changed"),
            Self::InputAdded { input } => write!(f, "input `{input}` is new"),
            Self::InputRemoved { input } => write!(f, "input `{input}` is gone"),
            Self::OutputsChanged { was, is } => write!(f, "outputs changed: {was} → {is}"),
            Self::VariableChanged { name } => write!(f, "variable `{name}` changed"),
            Self::PinChanged { is: true } => write!(f, "its tools are pinned now"),
            Self::PinChanged { is: false } => write!(f, "its tools are no longer pinned"),
            Self::ConsentRulesChanged => write!(f, "`requires` or `declassify` changed"),
            Self::PersonalChanged => write!(f, "what is personal changed"),
            Self::SecretChanged => write!(
                f,
                "the consent secret is another one, by which what is personal is known"
            ),
            Self::ToolChanged { name, was, is } => {
                let text = |digest: &Option<Digest>| digest.map_or_else(|| "(none)".to_owned(), short);
                write!(f, "tool `{name}` changed: {} → {}", text(was), text(is))
            }
            Self::SystemChanged { was, is } => write!(f, "system changed: {was} → {is}"),
            Self::Needed { path, by } => write!(f, "its temporary output `{path}` is needed by `{by}`"),
            Self::OutputMissing { path } => write!(f, "output `{path}` is neither in place nor in the store"),
            Self::Refused { why } => write!(f, "would be refused: {why}"),
            Self::AfterRefused { stage } => write!(f, "`{stage}` would be refused"),
            Self::AfterStage { stage } => write!(f, "`{stage}` runs first"),
        }
    }
}

/// A digest's first 12 digits: enough for a person to tell two apart.
fn short(digest: Digest) -> String {
    digest.to_hex()[..12].to_owned()
}

//! One row of a table, and how it is tried.

use std::sync::atomic::{AtomicBool, Ordering};

use rayon::prelude::{IntoParallelIterator as _, ParallelIterator as _};

use crate::repo::{Repo, Verdict};

/// What is done to the repository, what is asked, and what must come of it.
pub(crate) struct Attack {
    name: &'static str,
    change: Box<dyn Fn(&Repo) + Send + Sync>,
    trust: Option<&'static str>,
    config: &'static str,
    within: Option<&'static str>,
    ask: Vec<String>,
    code: i32,
    finds: Vec<&'static str>,
    file: Option<String>,
    says: Vec<String>,
    silent: Vec<String>,
    assures: Vec<(&'static str, &'static str)>,
}

/// An attack that is found: something was changed.
pub(crate) fn attack(name: &'static str, change: impl Fn(&Repo) + Send + Sync + 'static) -> Attack {
    Attack {
        name,
        change: Box::new(change),
        trust: Some("{base}/policy.json"),
        config: "config",
        within: None,
        ask: Vec::new(),
        code: 4,
        finds: Vec::new(),
        file: None,
        says: Vec::new(),
        silent: Vec::new(),
        assures: Vec::new(),
    }
}

/// A change that harms nobody.
pub(crate) fn harmless(name: &'static str, change: impl Fn(&Repo) + Send + Sync + 'static) -> Attack {
    attack(name, change).ends(0)
}

impl Attack {
    /// Only this is trusted, and not both clones' keys.
    pub(crate) fn trusting(mut self, whom: &'static str) -> Self {
        self.trust = Some(whom);
        self
    }

    /// The policy in this configuration folder is asked. `config` is the operator's, which trusts the key of the first clone.
    pub(crate) fn by_policy_in(mut self, config: &'static str) -> Self {
        self.trust = None;
        self.config = config;
        self
    }

    /// It is asked in this folder, beside the workspace.
    pub(crate) fn within(mut self, folder: &'static str) -> Self {
        self.within = Some(folder);
        self
    }

    /// The arguments after `verify`.
    pub(crate) fn ask(mut self, arguments: &[&str]) -> Self {
        self.ask = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        self
    }

    /// The exit code, if it is not 4.
    pub(crate) fn ends(mut self, code: i32) -> Self {
        self.code = code;
        self
    }

    /// The codes found: of errors, these and no others; of warnings, these at least. Without this, any will do.
    pub(crate) fn finds(mut self, codes: &[&'static str]) -> Self {
        self.finds = codes.to_vec();
        self
    }

    /// A finding (of the first code, if codes are given) must name this file.
    pub(crate) fn names(mut self, file: &str) -> Self {
        self.file = Some(file.to_owned());
        self
    }

    /// A finding's message must have this in it.
    pub(crate) fn says(mut self, text: &str) -> Self {
        self.says.push(text.to_owned());
        self
    }

    /// Nothing that is said may have this in it.
    pub(crate) fn says_not(mut self, text: &str) -> Self {
        self.silent.push(text.to_owned());
        self
    }

    /// What is assured (`log`, `pin`, …), as which state.
    pub(crate) fn assures(mut self, what: &'static str, state: &'static str) -> Self {
        self.assures.push((what, state));
        self
    }

    /// Tries it; what is wrong with the verdict, in words.
    fn failure(&self) -> Option<String> {
        let repo = Repo::new();
        (self.change)(&repo);
        let arguments = self.ask.iter().map(|argument| repo.fill(argument));
        let trust = self.trust.map(|whom| ["--trust".to_owned(), repo.fill(whom)]);
        let verify = ["verify".to_owned(), "--json".to_owned()];
        let arguments = verify.into_iter().chain(trust.into_iter().flatten()).chain(arguments);
        let place = repo.beside(self.within.unwrap_or("work space"), self.config);
        let verdict = Verdict::of(place.madmall(arguments));
        let wrong = self.compare(&repo, &verdict)?;
        let Verdict { ran, .. } = verdict;
        Some(format!("{}: {wrong}\n{}{}", self.name, ran.out, ran.err))
    }

    fn compare(&self, repo: &Repo, verdict: &Verdict) -> Option<String> {
        if verdict.ran.code != Some(self.code) {
            return Some(format!("ends with {:?}, not {}", verdict.ran.code, self.code));
        }
        let found = verdict.codes();
        let errors = |codes: &[&str]| -> Vec<String> {
            let errors = codes.iter().filter(|code| code.starts_with("E-"));
            errors.map(|code| (*code).to_owned()).collect()
        };
        let mut wanted = self.finds.clone();
        wanted.sort_unstable();
        let are_given = !wanted.is_empty() || self.code == 0;
        if are_given && errors(&found) != errors(&wanted) || wanted.iter().any(|code| !found.contains(code)) {
            return Some(format!("finds {found:?}, not {wanted:?}"));
        }
        if let Some(file) = self.file.as_ref().map(|file| repo.fill(file)) {
            let is_named = |finding: &&serde_json::Value| {
                let is_wanted = self.finds.first().is_none_or(|code| finding["code"] == *code);
                is_wanted && finding["file"].as_str() == Some(file.as_str())
            };
            if !verdict.findings().iter().any(is_named) {
                return Some(format!("nothing found names {file}"));
            }
        }
        let text = format!("{}{}", verdict.ran.out, verdict.ran.err);
        let fill = |says: &String| repo.fill(says);
        let mut silent = self.says.iter().map(fill).filter(|says| !text.contains(says.as_str()));
        if let Some(says) = silent.next() {
            return Some(format!("does not say `{says}`"));
        }
        let mut said = self.silent.iter().map(fill).filter(|says| text.contains(says.as_str()));
        if let Some(says) = said.next() {
            return Some(format!("says `{says}`"));
        }
        let states = verdict.report.as_ref().map(|report| &report["assurance"]);
        let mut assures = self.assures.iter();
        let otherwise = assures.find(|(what, state)| states.is_none_or(|states| states[*what] != *state));
        otherwise.map(|(what, state)| format!("`{what}` is not `{state}`"))
    }
}

/// With `ATTACKS_FAIL_FAST`, the first attack that is not found ends all others: whoever tries hundreds of verifiers need not know more.
static IS_DECIDED: AtomicBool = AtomicBool::new(false);

/// Tries all, at the same time, and tells of each that does not end as it must.
#[track_caller]
pub(crate) fn try_all(attacks: Vec<Attack>) {
    let count = attacks.len();
    let failures: Vec<String> = attacks
        .into_par_iter()
        .filter(|_| !IS_DECIDED.load(Ordering::Relaxed))
        .filter_map(|attack| attack.failure())
        .inspect(|_| IS_DECIDED.store(std::env::var("ATTACKS_FAIL_FAST").is_ok(), Ordering::Relaxed))
        .collect();
    assert!(
        failures.is_empty(),
        "{} of {count} attacks end otherwise than they must:\n\n{}",
        failures.len(),
        failures.join("\n\n")
    );
}

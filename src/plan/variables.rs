//! Variables of the environment that no pipeline may name.

/// Variables that every program is given by madmall itself.
const GIVEN: &[&str] = &["PATH", "HOME", "TMPDIR", "LANG", "TZ"];

/// How the names begin of the variables that are madmall's own.
const OWN: &str = "MADMALL_";

/// Whether madmall itself gives the variable `name` to every program.
#[must_use]
pub fn is_given(name: &str) -> bool {
    GIVEN.contains(&name)
}

/// Whether the variable `name` is madmall's own. Those hold the key that signs and the consent secret, or lead to them: no program is given
/// one, and no receipt has its value.
#[must_use]
pub fn is_own(name: &str) -> bool {
    name.starts_with(OWN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_named_like_a_variable_of_madmall_is_one() {
        for name in [
            "MADMALL_SIGNING_KEY",
            "MADMALL_CONSENT_SECRET",
            "MADMALL_CONFIG_DIR",
            "MADMALL_",
        ] {
            assert!(is_own(name) && !is_given(name), "{name}");
        }
        for name in ["MADMALL", "XMADMALL_SIGNING_KEY", "HOME", ""] {
            assert!(!is_own(name), "{name}");
        }
    }
}

//! What a receipt says of the sandbox of a program: words, each for something that was enforced, sorted.
//!
//! | word | enforced by the kernel |
//! | --- | --- |
//! | `files` | files beyond what the stage may use are neither opened, executed, made, removed nor renamed |
//! | `truncation` | nor cut off |
//! | `device-control` | devices are not controlled (`ioctl`) |
//! | `tcp`, `udp` | no port is bound or connected to |
//! | `abstract-sockets`, `unix-sockets` | no Unix socket outside of the sandbox is connected to |
//! | `signals` | no process outside of the sandbox is signalled |
//! | `no-new-privileges` | no program gains privileges by being executed |
//!
//! Two words say what was not asked for: `off` (stands alone), and `network-allowed`. An empty list says that nothing was
//! enforced: the system cannot, or the stage is built in and runs in madmall itself.

/// What is said of a stage that asked not to be confined.
pub const OFF: &str = "off";
/// What is said of a stage that may use the network.
pub const NETWORK_ALLOWED: &str = "network-allowed";

/// Every word, sorted.
pub const WORDS: &[&str] = &[
    "abstract-sockets",
    "device-control",
    "files",
    NETWORK_ALLOWED,
    "no-new-privileges",
    OFF,
    "signals",
    "tcp",
    "truncation",
    "udp",
    "unix-sockets",
];

/// What is wrong with the words of a stage, if anything. That they are sorted is looked at elsewhere.
#[must_use]
pub(super) fn fault_in(words: &[String], is_program: bool) -> Option<&'static str> {
    if words.iter().any(|word| !WORDS.contains(&word.as_str())) {
        return Some("`sandbox` has a word that is not known");
    }
    if words.len() > 1 && words.iter().any(|word| word == OFF) {
        return Some("`sandbox` is `off` and says what was enforced");
    }
    (!is_program && !words.is_empty()).then_some("`sandbox` stands with a built-in stage, which has none")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_receipt_has_only_words_that_go_together() {
        let fault = |words: &[&str], is_program| {
            let words: Vec<String> = words.iter().map(ToString::to_string).collect();
            fault_in(&words, is_program)
        };
        for words in [&[][..], &["off"], &["files", "tcp"], &["network-allowed"]] {
            assert_eq!(fault(words, true), None, "{words:?}");
            assert_eq!(fault(words, false).is_none(), words.is_empty());
        }
        assert!(fault(&["files", "off"], true).is_some());
        assert!(fault(&["everything"], true).is_some());
        assert!(WORDS.is_sorted());
    }
}

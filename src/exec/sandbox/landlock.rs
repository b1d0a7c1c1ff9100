//! Landlock: what this thread, and what it spawns, may do with files and sockets.

use std::io;

use camino::Utf8Path;
use landlock::{
    ABI, Access as _, AccessFs, AccessNet, BitFlags, LandlockStatus, PathBeneath, PathFd, PathFdError, Ruleset,
    RulesetAttr as _, RulesetCreatedAttr as _, RulesetError, RulesetStatus, Scope,
};
use rustix::thread::{CapabilitySet, CapabilitySets, capabilities, set_capabilities};

use super::Use;

/// The newest version that was looked at: what a later one adds is not asked for.
const NEWEST: ABI = ABI::V10;

/// Paths, opened, with what may be done beneath them.
#[derive(Default)]
pub(super) struct Rules {
    opened: Vec<(PathFd, BitFlags<AccessFs>)>,
    /// Why one that is there could not be opened.
    failed: Option<String>,
}

impl Rules {
    /// Adds a path, links followed; one that is not there, or closed to this user, adds nothing. That the system could not open it is told
    /// when a thread is restricted: without it a program would seem to do what it may not.
    pub(super) fn add(&mut self, path: &Utf8Path, how: Use) {
        let opened = match PathFd::new(path) {
            Ok(opened) => opened,
            Err(PathFdError::OpenCall { source, .. }) if is_out_of_reach(&source) => return,
            Err(error) => {
                self.failed = Some(error.to_string());
                return;
            }
        };
        let Ok(found) = rustix::fs::fstat(&opened) else { return };
        let is_folder = rustix::fs::FileType::from_raw_mode(found.st_mode).is_dir();
        let access = match how {
            Use::Read => AccessFs::from_read(NEWEST),
            Use::Write => AccessFs::from_all(NEWEST) & !(AccessFs::MakeChar | AccessFs::MakeBlock | AccessFs::IoctlDev),
            // No control of it: a terminal could be made to type.
            Use::Device => AccessFs::ReadFile | AccessFs::WriteFile,
            Use::Append => AccessFs::WriteFile | AccessFs::Truncate,
        };
        let access = match is_folder {
            true => access,
            false => access & AccessFs::from_file(NEWEST),
        };
        self.opened.push((opened, access));
    }
}

/// Whether it says of a path that there is nothing for this user.
fn is_out_of_reach(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let says_so = [
        Errno::NOENT,
        Errno::ACCESS,
        Errno::PERM,
        Errno::NOTDIR,
        Errno::LOOP,
        Errno::NAMETOOLONG,
    ];
    Errno::from_io_error(error).is_some_and(|errno| says_so.contains(&errno))
}

/// Restricts this thread for good to what `rules` allow. Gives what is enforced now, sorted; nothing where the kernel has no
/// Landlock.
pub(super) fn restrict_thread(rules: [&Rules; 2], network: bool) -> Result<Vec<&'static str>, String> {
    if let Some(failed) = rules.iter().find_map(|rules| rules.failed.as_ref()) {
        return Err(failed.clone());
    }
    let restricted = || -> Result<_, RulesetError> {
        let mut files = AccessFs::from_all(NEWEST);
        let mut ruleset = Ruleset::default();
        if network {
            files &= !BitFlags::from(AccessFs::ResolveUnix);
            ruleset = ruleset.scope(Scope::Signal)?;
        } else {
            ruleset = ruleset.handle_access(AccessNet::from_all(NEWEST))?;
            ruleset = ruleset.scope(Scope::AbstractUnixSocket | Scope::Signal)?;
        }
        let mut ruleset = ruleset.handle_access(files)?.create()?;
        for (opened, access) in rules.into_iter().flat_map(|rules| &rules.opened) {
            ruleset = ruleset.add_rule(PathBeneath::new(opened, *access & files))?;
        }
        ruleset.restrict_self()
    };
    let status = restricted().map_err(|error| error.to_string())?;
    let mut words = match (status.ruleset, status.landlock) {
        (RulesetStatus::NotEnforced, _) => Vec::new(),
        (_, LandlockStatus::Available { effective_abi, .. }) => enforced_by(effective_abi, network),
        _ => Vec::new(),
    };
    if status.no_new_privs && !words.is_empty() {
        give_up_capabilities().map_err(|error| format!("capabilities cannot be given up: {error}"))?;
        words.push("no-new-privileges");
    }
    words.sort_unstable();
    Ok(words)
}

/// Of root's powers, keeps those over files and its own processes. With the others a program could look into processes
/// outside of its sandbox: `CAP_PERFMON` alone shows the variables of madmall, and a signing key among them. As no
/// privileges are gained any more, what is given up is gone for all that this thread spawns.
fn give_up_capabilities() -> rustix::io::Result<()> {
    let kept = CapabilitySet::CHOWN
        | CapabilitySet::DAC_OVERRIDE
        | CapabilitySet::FOWNER
        | CapabilitySet::FSETID
        | CapabilitySet::KILL
        | CapabilitySet::SETGID
        | CapabilitySet::SETUID
        | CapabilitySet::NET_BIND_SERVICE;
    let had = capabilities(None)?;
    let sets = CapabilitySets {
        effective: had.effective & kept,
        permitted: had.permitted & kept,
        inheritable: had.inheritable & kept,
    };
    match sets == had {
        true => Ok(()),
        false => set_capabilities(None, sets),
    }
}

/// What a version of Landlock enforces of what is asked for here.
fn enforced_by(version: ABI, network: bool) -> Vec<&'static str> {
    let since = [
        (ABI::V1, true, "files"),
        (ABI::V3, true, "truncation"),
        (ABI::V4, !network, "tcp"),
        (ABI::V5, true, "device-control"),
        (ABI::V6, true, "signals"),
        (ABI::V6, !network, "abstract-sockets"),
        (ABI::V9, !network, "unix-sockets"),
        (ABI::V10, !network, "udp"),
    ];
    let since = since
        .into_iter()
        .filter(|(first, is_asked, _)| *is_asked && version >= *first);
    since.map(|(.., word)| word).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_there_is_left_out_and_what_the_system_cannot_open_is_not() {
        use rustix::io::Errno;
        for errno in [Errno::NOENT, Errno::ACCESS, Errno::LOOP] {
            assert!(is_out_of_reach(&errno.into()), "{errno}");
        }
        for errno in [Errno::MFILE, Errno::NFILE, Errno::NOMEM, Errno::IO] {
            assert!(!is_out_of_reach(&errno.into()), "{errno}");
        }
    }

    #[test]
    fn an_old_kernel_is_not_said_to_enforce_what_it_does_not() {
        assert_eq!(enforced_by(ABI::Unsupported, false), [""; 0]);
        assert_eq!(enforced_by(ABI::V1, false), ["files"]);
        assert_eq!(enforced_by(ABI::V4, true), ["files", "truncation"]);
        for version in [
            ABI::V1,
            ABI::V2,
            ABI::V3,
            ABI::V4,
            ABI::V5,
            ABI::V6,
            ABI::V8,
            ABI::V9,
            ABI::V10,
        ] {
            let words = enforced_by(version, false);
            let has = |word| words.contains(&word);
            // What the crate hands to a kernel of that version.
            assert_eq!(
                has("truncation"),
                AccessFs::from_all(version).contains(AccessFs::Truncate)
            );
            assert_eq!(
                has("device-control"),
                AccessFs::from_all(version).contains(AccessFs::IoctlDev)
            );
            assert_eq!(
                has("unix-sockets"),
                AccessFs::from_all(version).contains(AccessFs::ResolveUnix)
            );
            assert_eq!(has("tcp"), AccessNet::from_all(version).contains(AccessNet::ConnectTcp));
            assert_eq!(
                has("udp"),
                AccessNet::from_all(version).contains(AccessNet::ConnectSendUdp)
            );
            assert_eq!(has("signals"), Scope::from_all(version).contains(Scope::Signal));
        }
    }
}

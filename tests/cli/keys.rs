//! Whose word counts: keys that come, are limited, are replaced, and end.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::space::{Ran, Space};

const TWO: &str = "stages:
  a: {run: 'echo a >> $TRACE; cp ${inputs.i} ${outputs.o}', env: [TRACE], sandbox: off, inputs: {i: in}, outputs: {o: out/a}}
  b: {run: 'echo b >> $TRACE; cp ${inputs.i} ${outputs.o}', env: [TRACE], sandbox: off, inputs: {i: a}, outputs: {o: out/b}}";

fn finished() -> Space {
    let space = Space::with(TWO);
    space.write("in", "1\n");
    space.run(&[]).success();
    assert_eq!(space.trace(), "a\nb\n");
    space
}

fn key<const N: usize>(space: &Space, arguments: [&str; N]) -> Ran {
    space.madmall(["key"].iter().chain(&arguments))
}

fn listed(space: &Space) -> Value {
    let out = key(space, ["list", "--json"]).success().out;
    serde_json::from_str(&out).expect("one JSON object")
}

fn public_pem(space: &Space) -> String {
    key(space, ["--pem"]).success().out
}

/// The same workspace, for somebody else with a key of their own.
fn as_somebody_else(space: &mut Space) {
    let theirs = space.path("../theirs").into_string();
    space.set("MADMALL_CONFIG_DIR", &theirs);
}

fn as_oneself(space: &mut Space) {
    let own = space.path("../config").into_string();
    space.set("MADMALL_CONFIG_DIR", &own);
}

/// The one checkpoint of that size.
fn checkpoint(space: &Space, size: u64) -> String {
    let name = format!("checkpoint-{size}");
    let files = crate::space::files_below(&space.path("runs/log"));
    let found: Vec<&String> = files.iter().filter(|file| file.ends_with(&name)).collect();
    assert_eq!(found.len(), 1, "{files:?}");
    format!("runs/log/{}", found[0])
}

#[cfg(unix)]
fn mode(path: impl AsRef<Path>) -> u32 {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::metadata(path).expect("it is there").permissions().mode() & 0o777
}

#[test]
fn after_a_rotation_nothing_runs_again_and_the_old_receipts_verify() {
    let space = finished();
    let old = listed(&space)["signing"]["keyid"].as_str().expect("a key").to_owned();
    key(&space, ["rotate"])
        .success()
        .says("you sign with")
        .says("of what it signed, this is still believed")
        .says("the first 3 receipts of runs/log/")
        .says("madmall key revoke");
    let new = listed(&space)["signing"]["keyid"].as_str().expect("a key").to_owned();
    assert_ne!(old, new);
    #[cfg(unix)]
    for (file, expected) in [
        ("../config", 0o700),
        ("../config/retired", 0o700),
        ("../config/signing-key.pem", 0o600),
        ("../config/policy.json", 0o600),
        (&format!("../config/retired/{old}.pem"), 0o600),
    ] {
        assert_eq!(mode(space.path(file)), expected, "{file}");
    }
    space.run(&[]).success().says("2 up to date");
    space.madmall(["verify"]).success();
    space.remove("out/b");
    space.run(&[]).success();
    assert_eq!(space.trace(), "");

    space.write("in", "2\n");
    space.run(&[]).success().says(&new[..8]);
    assert_eq!(space.trace(), "a\nb\n");
    space.run(&[]).success().says("2 up to date");
    space.write("in", "1\n");
    space.run(&[]).success();
    assert_eq!(space.trace(), "", "both keys' receipts are believed");
    space.madmall(["verify"]).success();
    let shown = key(&space, ["list"]).success().out;
    assert!(
        shown.contains("ended   20") && shown.contains("believed: the first 3 receipts"),
        "{shown}"
    );
}

#[test]
fn receipts_that_a_dead_run_left_in_no_log_are_kept_by_a_rotation() {
    let space = finished();
    let before = space.snapshot();
    space.write("in", "2\n");
    space.run(&[]).success();
    space.trace();
    // As if the run had been killed after it published its receipts.
    for (name, _) in space
        .snapshot()
        .iter()
        .filter(|(name, _)| name.starts_with("runs/log/"))
    {
        if !before.contains_key(name) {
            space.remove(name);
        }
    }
    for (name, bytes) in before.iter().filter(|(name, _)| name.starts_with(".madmall/log/")) {
        space.write(name, bytes);
    }
    key(&space, ["rotate"]).success().says("the first 6 receipts");
    space.run(&[]).success().says("2 up to date");
    assert_eq!(space.trace(), "");
}

#[test]
fn what_a_thief_signed_after_the_kept_checkpoint_is_not_believed() {
    let space = finished();
    space.write("../kept", space.bytes(&checkpoint(&space, 3)));
    // The thief has the key, and the clock is theirs.
    space.write("in", "stolen\n");
    space.run(&[]).success();
    space.trace();
    key(&space, ["rotate", "--at", "../kept"])
        .success()
        .says("the first 3 receipts");
    space.write("in", "1\n");
    space.run(&[]).success();
    assert_eq!(space.trace(), "", "what was signed before is believed");
    space.write("in", "stolen\n");
    space.run(&["-n"]).success().says("run");
    space.run(&[]).success();
    assert_eq!(space.trace(), "a\nb\n");
    space.run(&[]).success().says("2 up to date");
}

#[test]
fn without_a_log_here_an_ended_key_is_not_believed_until_one_is_added() {
    let space = finished();
    let elsewhere = space.path("../elsewhere");
    std::fs::create_dir_all(&elsewhere).expect("made");
    let mut command = space.command(["key", "rotate"]);
    let ran = command.current_dir(&elsewhere).output().expect("runs");
    Ran::of(&ran).success().says("nothing that it signed is believed");
    space.run(&["-n"]).success().says_not("up to date");
    let old = listed(&space)["keys"][0]["key"]["keyid"]
        .as_str()
        .expect("a key")
        .to_owned();
    let time = listed(&space)["keys"][0]["key"]["until"]["time"].clone();
    key(&space, ["revoke", &old[..8]])
        .success()
        .says("the first 3 receipts");
    assert_eq!(
        listed(&space)["keys"][0]["key"]["until"]["time"],
        time,
        "an end is not moved"
    );
    space.run(&[]).success().says("2 up to date");
    assert_eq!(space.trace(), "");

    // The log goes on, and the end does not.
    key(&space, ["revoke", &old]).success().says("nothing was changed");
}

#[test]
fn a_key_that_is_trusted_is_believed_until_it_is_revoked() {
    let mut space = Space::with(TWO);
    space.write("in", "1\n");
    as_somebody_else(&mut space);
    space.run(&[]).success();
    space.write("../theirs.pem", public_pem(&space));
    assert_eq!(space.trace(), "a\nb\n");
    as_oneself(&mut space);
    key(&space, ["trust", "../theirs.pem", "--name", "Ada"])
        .success()
        .says("made your signing key")
        .says("you believe what `Ada`");
    space.run(&[]).success().says("2 up to date");
    assert_eq!(space.trace(), "");
    space.madmall(["verify"]).success().says("your own policy (2 keys)");

    key(&space, ["revoke", "Ada"]).success().says("the first 3 receipts");
    space.run(&[]).success().says("2 up to date");
    space.madmall(["verify"]).success();
    as_somebody_else(&mut space);
    space.write("in", "2\n");
    space.run(&[]).success();
    space.trace();
    as_oneself(&mut space);
    space.run(&["-n"]).success().says("input `i` changed");
    let verified = space.madmall(["verify", "out/b"]).code(4);
    // Which of the two is said hangs on whether a second went by since the key was ended.
    let why = ["the key of `Ada` has ended", "the policy trusts `Ada` until"];
    let verified = verified.says("no trusted receipt claims");
    assert!(why.iter().any(|why| verified.out.contains(why)), "{}", verified.out);
    space.run(&[]).success().says("confirmed");
    assert_eq!(space.trace(), "a\nb\n");
}

#[test]
fn a_key_is_believed_only_for_what_it_may_sign() {
    let mut space = Space::with(TWO);
    space.write("in", "1\n");
    as_somebody_else(&mut space);
    space.run(&[]).success();
    space.write("../theirs.pem", public_pem(&space));
    space.trace();
    as_oneself(&mut space);
    let trust = [
        "trust",
        "../theirs.pem",
        "--name",
        "CI",
        "--pipeline",
        "test",
        "--stage",
        "a",
    ];
    key(&space, trust).success();
    space.run(&[]).success();
    assert_eq!(space.trace(), "b\n", "stage a is believed, stage b is not");

    let mut other = Space::with(TWO);
    other.write("in", "1\n");
    as_somebody_else(&mut other);
    other.run(&[]).success();
    other.write("../theirs.pem", public_pem(&other));
    other.trace();
    as_oneself(&mut other);
    let trust = [
        "trust",
        "../theirs.pem",
        "--name",
        "CI",
        "--pipeline",
        "other",
        "--from",
        "2020-01-01",
    ];
    key(&other, trust).success();
    other
        .madmall(["verify", "out/b"])
        .code(6)
        .says("E-KEY")
        .says("for pipeline `other` only, not `test`");
    let listed = other.madmall(["log", "--json"]).success().says("not trusted for it");
    assert!(listed.out.contains("\"trusted\":false"), "{}", listed.out);
    other.run(&[]).success();
    assert_eq!(other.trace(), "a\nb\n");
    let shown = key(&other, ["list"]).success().out;
    assert!(
        shown.contains("for     other\n  from    2020-01-01T00:00:00Z\n"),
        "{shown}"
    );
}

#[test]
fn another_policy_makes_the_index_again() {
    let mut space = Space::with(TWO);
    space.write("in", "1\n");
    as_somebody_else(&mut space);
    space.run(&[]).success();
    space.write("../theirs.pem", public_pem(&space));
    as_oneself(&mut space);
    space.run(&[]).success();
    let own = std::fs::read(space.path("../config/policy.json")).expect("a policy");
    space.run(&["-n"]).success().says("up to date");
    key(&space, ["trust", "../theirs.pem", "--name", "Ada"]).success();
    space.run(&[]).success();
    // Trusted no more, by hand.
    std::fs::write(space.path("../config/policy.json"), own).expect("written");
    for name in space.receipt_files().iter().skip(1) {
        space.remove(&format!("runs/{name}"));
    }
    space.trace();
    space.run(&[]).success().says("run only by others");
    assert_eq!(space.trace(), "a\nb\n");
}

#[test]
fn a_policy_without_ones_own_key_is_said_and_a_broken_one_refused() {
    let space = finished();
    let policy = "{\"version\":1,\"keys\":[]}";
    std::fs::write(space.path("../config/policy.json"), policy).expect("written");
    space.run(&[]).success().says("your policy does not trust the key");
    key(&space, ["list"]).success().says("not in your policy");
    std::fs::write(space.path("../config/policy.json"), "{\"version\":1}").expect("written");
    space.run(&[]).code(2).says("policy.json").says("missing field `keys`");
    key(&space, ["list"]).code(2);
    key(&space, ["rotate"]).code(2);
    key(&space, ["revoke", "x"]).code(2);
}

#[test]
fn keys_are_exported_in_three_forms_and_never_over_a_file() {
    let space = finished();
    let hex = key(&space, ["export", "--hex"]).success().out;
    let ssh = key(&space, ["export", "own key", "--ssh"]).success().out;
    assert_eq!(key(&space, ["export"]).success().out, public_pem(&space));
    assert!(ssh.starts_with("ssh-ed25519 AAAA"), "{ssh}");
    for (file, form) in [("a", "--pem"), ("b", "--ssh"), ("c", "--hex")] {
        key(&space, ["export", form, "-o", file]).success();
        space.madmall(["verify", "--trust", file]).success();
        let again = ["trust", file, "--name", "again"];
        key(&space, again).code(2).says("has this key already: it is `own key`");
    }
    assert_eq!(space.read("c"), hex);
    let before = space.bytes("../config/signing-key.pem");
    key(&space, ["export", "-o", "../config/signing-key.pem"])
        .code(2)
        .says("is there already");
    assert_eq!(space.bytes("../config/signing-key.pem"), before);
    key(&space, ["export", "nobody"]).code(2).says("has no key `nobody`");
    key(&space, ["export", "--pem", "--ssh"]).code(2);
}

#[test]
fn what_is_no_key_or_no_change_is_refused_and_nothing_is_written() {
    let mut space = finished();
    let before = std::fs::read(space.path("../config/policy.json")).expect("a policy");
    space.write("garbage", "garbage");
    let private = space.path("../config/signing-key.pem").into_string();
    let hex = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";
    key(&space, ["trust", "garbage", "--name", "x"])
        .code(2)
        .says("not a public key");
    key(&space, ["trust", "absent", "--name", "x"]).code(2).says("absent");
    key(&space, ["trust", &private, "--name", "x"])
        .code(2)
        .says("this is a private key");
    key(&space, ["trust", hex, "--name", "own key"])
        .code(2)
        .says("another key of the name");
    key(&space, ["trust", hex, "--name", ""]).code(2);
    key(&space, ["trust", hex, "--name", "x", "--pipeline", "Not a name"]).code(2);
    key(&space, ["trust", hex, "--name", "x", "--builder", "local"]).code(2);
    key(&space, ["trust", hex, "--name", "x", "--from", "yesterday"]).code(2);
    key(&space, ["trust", hex, "--name", "x", "--until", "2999-01-01"])
        .code(2)
        .says("revoke");
    let never = [
        "trust",
        hex,
        "--name",
        "x",
        "--from",
        "2020-01-02",
        "--until",
        "2020-01-01",
    ];
    key(&space, never).code(2).says("`from` is not before `until`");
    key(&space, ["revoke", "nobody"]).code(2).says("`madmall key list`");
    key(&space, ["revoke", "own key"]).code(2).says("madmall key rotate");
    key(&space, ["import", &private])
        .code(2)
        .says("madmall key rotate --import");
    key(&space, ["rotate", "--import", &private]).code(2).says("already");
    key(&space, ["rotate", "--import", "garbage"]).code(2);
    key(&space, ["rotate", "--at", "garbage"])
        .code(2)
        .says("is no checkpoint");
    key(&space, ["rotate", "--at", "absent"]).code(2).says("cannot be read");
    let at = checkpoint(&space, 3);
    key(&space, ["rotate", "--at", &at, "--at", &at])
        .code(2)
        .says("another checkpoint is of");
    let foreign = ["trust", hex, "--name", "x", "--until", "2020-01-01", "--at", &at];
    key(&space, foreign).code(2).says("is not signed by the key");
    let changed = space.read(&at).replacen("\n3\n", "\n4\n", 1);
    space.write("changed", changed);
    key(&space, ["rotate", "--at", "changed"])
        .code(2)
        .says("a signature that does not fit");
    space.set("MADMALL_SIGNING_KEY", &private);
    for command in [["rotate", ""], ["import", "x"], ["revoke", "x"]] {
        let arguments: Vec<&str> = command.into_iter().filter(|word| !word.is_empty()).collect();
        space
            .madmall(["key"].iter().chain(&arguments))
            .code(2)
            .says("MADMALL_SIGNING_KEY is set");
    }
    key(&space, ["list"]).success().says("believed alone");
    space.unset("MADMALL_SIGNING_KEY");
    assert_eq!(
        std::fs::read(space.path("../config/policy.json")).expect("a policy"),
        before
    );

    let impossible = space.path("garbage/config").into_string();
    space.set("MADMALL_CONFIG_DIR", &impossible);
    key(&space, ["rotate"]).code(7);
    let none = space.path("../none").into_string();
    space.set("MADMALL_CONFIG_DIR", &none);
    key(&space, ["rotate"]).code(2).says("there is no signing key yet");
    key(&space, ["export"]).code(2).says("there is no signing key yet");
    key(&space, ["list"]).success().says("there is no signing key yet");
}

#[test]
fn an_ended_key_gets_no_later_end_and_does_not_come_back() {
    let space = finished();
    space.write("../kept", space.bytes(&checkpoint(&space, 3)));
    space.write("in", "2\n");
    space.run(&[]).success();
    let later = checkpoint(&space, 6);
    space.write("../old.pem", space.bytes("../config/signing-key.pem"));
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let permissions = std::fs::Permissions::from_mode(0o600);
        std::fs::set_permissions(space.path("../old.pem"), permissions).expect("own file");
    }
    key(&space, ["rotate", "--at", "../kept"]).success();
    let policy = std::fs::read(space.path("../config/policy.json")).expect("a policy");
    let old = listed(&space)["keys"][0]["key"]["keyid"]
        .as_str()
        .expect("a key")
        .to_owned();
    key(&space, ["revoke", &old, "--at", &later])
        .code(2)
        .says("an end that is there is never moved");
    key(&space, ["revoke", &old]).success().says("nothing was changed");
    key(&space, ["rotate", "--import", "../old.pem"])
        .code(2)
        .says("the policy has ended this key");
    assert_eq!(
        std::fs::read(space.path("../config/policy.json")).expect("a policy"),
        policy
    );
}

#[test]
fn a_key_of_ssh_signs_as_text_as_path_and_imported() {
    let golden = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/ssh/");
    let text = std::fs::read_to_string(format!("{golden}ed25519")).expect("a test key");
    let public = format!("{golden}ed25519.pub");
    let mut space = Space::with(TWO);
    space.write("in", "1\n");
    space.write("../id", &text);
    space.set("MADMALL_SIGNING_KEY", &text);
    space.run(&[]).success().says_not("made your signing key");
    space.madmall(["verify", "--trust", &public]).success();
    let path = space.path("../id").into_string();
    space.set("MADMALL_SIGNING_KEY", &path);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        space.run(&[]).code(7).says("chmod 600");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).expect("own file");
    }
    space.run(&[]).success().says("2 up to date");
    space.unset("MADMALL_SIGNING_KEY");
    assert!(!space.exists("../config"));
    key(&space, ["import", "../id"]).success().says("your signing key is");
    space.run(&[]).success().says("2 up to date");
    space.madmall(["verify"]).success().says("your own key only");

    // What cannot sign says what it is, shows nothing of itself, and changes nothing.
    for (file, why) in [
        ("rsa", "an RSA key"),
        ("ecdsa", "ECDSA"),
        ("encrypted", "is encrypted"),
        ("certificate.pub", "certificate"),
        ("ed25519.pub", "a public key"),
    ] {
        let text = std::fs::read_to_string(format!("{golden}{file}")).expect("a test key");
        space.write("../other", &text);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            let permissions = std::fs::Permissions::from_mode(0o600);
            std::fs::set_permissions(space.path("../other"), permissions).expect("own file");
        }
        let secret = text.lines().nth(1).unwrap_or("AAAA").to_owned();
        let ran = key(&space, ["rotate", "--import", "../other"]).code(2).says(why);
        assert!(!ran.err.contains(&secret), "{}", ran.err);
        space.set("MADMALL_SIGNING_KEY", &text);
        if text.starts_with("-----BEGIN") {
            let ran = space.run(&[]).code(7).says(why);
            assert!(!ran.err.contains(&secret), "{}", ran.err);
        }
        space.unset("MADMALL_SIGNING_KEY");
    }
    space.run(&[]).success().says("2 up to date");
}

#[test]
fn a_key_that_ssh_keygen_made_just_now_is_taken() {
    let space = finished();
    let made = Command::new("ssh-keygen")
        .args(["-q", "-t", "ed25519", "-N", "", "-C", "a comment with spaces", "-f"])
        .arg(space.path("../made"))
        .output();
    if !made.is_ok_and(|made| made.status.success()) {
        #[expect(clippy::print_stderr, reason = "a test that is skipped says so")]
        {
            eprintln!("skipped: there is no ssh-keygen here");
        }
        return;
    }
    key(&space, ["rotate", "--import", "../made"]).success();
    let exported = key(&space, ["export", "--ssh"]).success().out;
    let public = space.read("../made.pub");
    assert_eq!(exported.split(' ').nth(1), public.split(' ').nth(1));
    space.run(&[]).success().says("2 up to date");
    space.write("exported.pub", exported);
    let fingerprint = |file: &str| {
        let output = Command::new("ssh-keygen")
            .args(["-l", "-f"])
            .arg(space.path(file))
            .output();
        let text = String::from_utf8(output.expect("runs").stdout).expect("UTF-8");
        text.split(' ').nth(1).expect("a fingerprint").to_owned()
    };
    assert_eq!(fingerprint("exported.pub"), fingerprint("../made.pub"));
}

#[test]
fn no_command_shows_a_private_key() {
    let space = finished();
    let secret = |file: &str| {
        let text = space.read(file);
        text.lines().nth(1).expect("the key itself").to_owned()
    };
    let old = secret("../config/signing-key.pem");
    let mut shown = String::new();
    let mut tell = |ran: Ran| shown.push_str(&(ran.out + &ran.err));
    tell(key(&space, ["rotate"]));
    let keyid = listed(&space)["keys"][0]["key"]["keyid"]
        .as_str()
        .expect("a key")
        .to_owned();
    for arguments in [
        vec![],
        vec!["list"],
        vec!["list", "--json"],
        vec!["export"],
        vec!["revoke", &keyid],
    ] {
        tell(space.madmall(["key"].iter().chain(&arguments)));
    }
    let import = ["import", "../config/signing-key.pem"];
    tell(key(&space, import));
    let trust = ["trust", "../config/signing-key.pem", "--name", "x"];
    tell(key(&space, trust));
    assert!(shown.contains("keyid") && shown.contains("private key"), "{shown}");
    for secret in [old, secret("../config/signing-key.pem")] {
        assert!(!shown.contains(&secret), "{shown}");
    }
}

#[test]
fn a_key_that_was_lost_is_replaced_and_the_policy_trusts_the_new_one_too() {
    let space = finished();
    space.remove("../config/signing-key.pem");
    space
        .run(&[])
        .success()
        .says("made your signing key")
        .says("2 up to date");
    assert_eq!(space.trace(), "", "what the lost key signed is believed");
    let keys = listed(&space);
    assert_eq!(keys["keys"].as_array().map(Vec::len), Some(2));
    assert_eq!(keys["keys"][1]["signs"], true);
    space.write("in", "2\n");
    space.run(&[]).success();
    space.run(&[]).success().says("2 up to date");
}

//! Proofs that an event was used, or was not, by the real program.

use madmall::consent::proof::Proof;
use madmall::consent::token::Tokens;
use serde_json::Value;

use crate::project::{id, ingest, project, secret, write_events};
use crate::space::{Ran, Space};

/// Proves it of the event with this number, into a file.
fn prove(space: &Space, number: u32, file: &str) -> Ran {
    space.madmall(["consent", "prove", "--event", &id(number), "-o", file])
}

/// Verifies the proof in `file` of the event with this number, by the secret.
fn verify(space: &Space, number: u32, file: &str) -> Ran {
    let secret = space.base().join("config/consent-secret");
    space.madmall(["verify", file, "--event", &id(number), "--secret", secret.as_str()])
}

#[test]
fn presence_and_absence_are_proven_and_say_under_which_conditions() {
    let space = project(0..300);
    space.run(&[]).success();
    let (receipt, _) = ingest(&space);
    for (number, said, word) in [
        (7, "the event is among the 300", "included"),
        (300, "the event is not among the 300", "absent"),
    ] {
        prove(&space, number, "p.json").success().says(said);
        let text = space.read("p.json");
        assert!(text.len() < 4096 && !text.contains(&id(number)), "{text}");
        assert!(text.contains(&receipt));
        let schema: Value =
            serde_json::from_str(include_str!("../../schemas/consent_proof.schema.json")).expect("JSON");
        let proof: Value = serde_json::from_str(&text).expect("JSON");
        assert!(
            jsonschema::draft202012::new(&schema)
                .expect("a schema")
                .is_valid(&proof)
        );
        verify(&space, number, "p.json")
            .success()
            .says(said)
            .says("proven")
            .says("held:        map, signature, log, event, key")
            .says("not checked: rerun")
            .says("`madmall verify --rerun --attest RUN`")
            .says("what whoever ran the ingest declared");
        // By the key that the person was given.
        let key = Tokens::by(&secret(&space)).key(&id(number)).to_hex();
        let given = ["verify", "p.json", "--event", &id(number), "--event-key", &key];
        space.madmall(given).success().says("the word of whoever gave it");
        // Nobody else can tell whose the key is, or which event it is about.
        space
            .madmall(["verify", "p.json", "--event", &id(number)])
            .code(6)
            .says("a prover could have chosen another");
        space
            .madmall(["verify", "p.json"])
            .code(6)
            .says("could have chosen any token");
        let json = space
            .madmall(["verify", "p.json", "--event", &id(number), "--json"])
            .code(6);
        let report: Value = serde_json::from_str(&json.out).expect("JSON");
        assert_eq!((&report["membership"], &report["exitCode"]), (&word.into(), &6.into()));
        assert_eq!(report["assurance"]["key"], "not-checked");
    }
    // To standard output it is the same.
    let ran = space.madmall(["consent", "prove", "--event", &id(300)]).success();
    assert_eq!(ran.out, space.read("p.json"));
}

#[test]
fn what_was_changed_is_refused() {
    let space = project(0..120);
    space.run(&[]).success();
    for number in [5, 500] {
        prove(&space, number, "p.json").success();
        let bytes = space.bytes("p.json");
        // Every byte is tried in the library; here those at the ends of fields and some between.
        for place in (0..bytes.len()).step_by(23).chain([0, bytes.len() - 1]) {
            let mut other = bytes.clone();
            other[place] ^= 1;
            space.write("q.json", other);
            let code = verify(&space, number, "q.json").code;
            assert!(matches!(code, Some(4 | 6)), "byte {place} of {}: {code:?}", bytes.len());
        }
        let cut = &bytes[..bytes.len() / 2];
        space.write("q.json", cut);
        verify(&space, number, "q.json").code(4).says("E-PROOF");
    }
    prove(&space, 5, "p.json").success();
    verify(&space, 6, "p.json").code(4).says("not about this event");
    space.write("q.json", vec![b' '; 100_000]);
    verify(&space, 5, "q.json").code(4).says("E-PROOF");
    space.madmall(["verify", "none.json", "--event", "x"]).code(2);
    space.madmall(["verify", "p.json", "--at", "HEAD"]).code(2);
}

#[test]
fn a_key_that_is_not_the_events_own_proves_nothing() {
    let space = project(0..50);
    space.run(&[]).success();
    prove(&space, 5, "p.json").success();
    // Whoever wants to hide that an event was used chooses another key, by which its token is not there.
    let mut proof = Proof::parse(&space.bytes("p.json")).expect("a proof");
    let other = madmall::consent::token::TokenKey::from_hex(&"ab".repeat(32)).expect("a key");
    let token = madmall::consent::token::Token::of(&other, &id(5));
    let store = madmall::store::Store::of(&space.root());
    let kept = madmall::consent::population::KeptPopulation::open(&store, proof.root);
    let kept = kept.expect("whole").expect("kept");
    proof.path = kept.path(&token).expect("read");
    (proof.key, proof.token) = (other, token);
    proof.membership = madmall::consent::map::Membership::Absent;
    proof.check().expect("by itself it holds");
    space.write("forged.json", proof.to_bytes());
    verify(&space, 5, "forged.json").code(4).says("not the event's own");
    let key = Tokens::by(&secret(&space)).key(&id(5)).to_hex();
    space
        .madmall(["verify", "forged.json", "--event", &id(5), "--event-key", &key])
        .code(4)
        .says("not the event's own");
    space.madmall(["verify", "forged.json", "--event", &id(5)]).code(6);
    // Another secret can show nothing.
    space.write(
        "other-secret",
        "madmall-consent-secret-v1 ".to_owned() + &"ab".repeat(32),
    );
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(space.path("other-secret"), mode).expect("own file");
    let by_other = ["verify", "p.json", "--event", &id(5), "--secret", "other-secret"];
    space
        .madmall(by_other)
        .code(6)
        .says("not the one that the receipt names");
}

#[test]
fn a_proof_is_of_one_run_and_of_whoever_is_trusted() {
    let space = project(0..50);
    space.run(&[]).success();
    let first = space.receipt_files()[0].replace(".intoto.jsonl", "");
    prove(&space, 0, "first.json").success();
    write_events(&space, 1..50);
    space.run(&[]).success();
    // The newest run does not have it, the first does.
    prove(&space, 0, "p.json").success().says("is not among the 49");
    let of_none = ["consent", "prove", "--event", &id(0), "--run", "latest~9"];
    space.madmall(of_none).code(2).says("goes back further than");
    let of_first = ["consent", "prove", "--event", &id(0), "--run", &first];
    assert_eq!(space.madmall(of_first).success().out, space.read("first.json"));
    verify(&space, 0, "first.json").success().says("is among the 50");
    // The set of one run, in the name of another.
    let mut proof = Proof::parse(&space.bytes("first.json")).expect("a proof");
    let other = format!("sha256:{}", ingest(&space).0);
    proof.receipt = other.parse().expect("an id");
    space.write("q.json", proof.to_bytes());
    verify(&space, 0, "q.json").code(4).says("another set of events");
    proof.receipt = madmall::digest::Sha256::of(b"a receipt of nobody");
    space.write("q.json", proof.to_bytes());
    verify(&space, 0, "q.json").code(6).says("E-ABSENT");
    // By a key that is not trusted; and from elsewhere, with nothing but the receipts.
    let auditor = space.beside("auditor", "their config");
    std::fs::create_dir_all(auditor.root()).expect("made");
    auditor.write("first.json", space.bytes("first.json"));
    let key = Tokens::by(&secret(&space)).key(&id(0)).to_hex();
    let project = space.root();
    let asked = [
        "verify",
        "first.json",
        "--in",
        project.as_str(),
        "--event",
        &id(0),
        "--event-key",
        &key,
    ];
    auditor.madmall(asked).code(6).says("nobody is trusted");
    auditor.write("key.pem", space.madmall(["key", "--pem"]).success().out);
    auditor
        .madmall(asked.iter().chain(&["--trust", "key.pem"]))
        .success()
        .says("proven");
    auditor
        .madmall(["verify", "first.json", "--trust", "key.pem"])
        .code(6)
        .says("E-ABSENT");
    auditor.write("other.pem", auditor.madmall(["key", "--pem"]).success().out);
    auditor
        .madmall(asked.iter().chain(&["--trust", "other.pem"]))
        .code(4)
        .says("E-KEY");
    auditor.madmall(asked).code(6).says("E-KEY");
    space.madmall(["bundle", "latest", "-o", "b.tar.zst"]).success();
    prove(&space, 3, "p.json").success();
    auditor.write("p.json", space.bytes("p.json"));
    let bundle = space.path("b.tar.zst");
    let key = Tokens::by(&secret(&space)).key(&id(3)).to_hex();
    let asked = [
        "verify",
        "p.json",
        "--in",
        bundle.as_str(),
        "--event",
        &id(3),
        "--event-key",
        &key,
    ];
    auditor
        .madmall(asked.iter().chain(&["--trust", "key.pem"]))
        .success()
        .says("is among the 49");
}

#[test]
fn whether_somebody_has_run_the_ingest_again_is_said() {
    let space = project(0..50);
    space.write(".gitignore", "/.madmall/\n/*.pem\n/*.json\n!/schema.json\n");
    space.git(&["init", "-q"]);
    let commit = || space.git(&["add", "-A"]) + &space.git(&["commit", "-qm", "all"]);
    commit();
    space.run(&[]).success();
    commit();
    let run = space.receipt_files()[0].replace(".intoto.jsonl", "");
    space.write("first.pem", space.madmall(["key", "--pem"]).success().out);
    let mut other = space.beside("work space", "their config");
    // What was rejected is personal: who should compare it needs the secret.
    other.set(
        "MADMALL_CONSENT_SECRET",
        space.base().join("config/consent-secret").as_str(),
    );
    let attest = ["verify", "--rerun", "--attest", &run, "--trust", "first.pem"];
    other.madmall(attest).success().says("countersigned by your key");
    prove(&space, 5, "p.json").success();
    // Not by anybody who is trusted.
    verify(&space, 5, "p.json").success().says("nobody else who is trusted");
    space.write("other.pem", other.madmall(["key", "--pem"]).success().out);
    space
        .madmall(["key", "trust", "other.pem", "--name", "other"])
        .success();
    let again = verify(&space, 5, "p.json").success();
    again
        .says("held:        map, signature, log, event, key, rerun")
        .says("the set itself was not made again");
}

#[test]
fn what_cannot_be_proven_is_said_with_what_to_do() {
    let mut space = project(0..50);
    space
        .madmall(["consent", "prove", "--event", &id(0)])
        .code(6)
        .says("no consent secret");
    space.run(&[]).success();
    space.madmall(["consent", "prove", "--event", ""]).code(2);
    let files = crate::space::files_below(&space.path(".madmall/populations"));
    space.remove(&format!(".madmall/populations/{}", files[0]));
    prove(&space, 0, "p.json").code(6).says("--force");
    space.run(&["--force"]).success();
    prove(&space, 0, "p.json").success();
    space.set(
        "MADMALL_CONSENT_SECRET",
        &("madmall-consent-secret-v1 ".to_owned() + &"ab".repeat(32)),
    );
    prove(&space, 0, "p.json").code(6).says("another consent secret");
}

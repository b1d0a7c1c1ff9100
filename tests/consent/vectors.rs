//! Tokens and maps are those of `docs/formats/population.md`, of which there is a second implementation in Python.

use std::process::Command;

use madmall::consent::map::{End, Map, Membership, Path, Root};
use madmall::consent::secret::ConsentSecret;
use madmall::consent::token::{Token, Tokens};
use serde_json::{Value, json};

const VECTORS: &str = "tests/golden/population-v1.json";
const REFERENCE: &str = "tests/reference/population_reference.py";

fn vectors() -> Value {
    let text = std::fs::read(VECTORS).expect("committed");
    serde_json::from_slice(&text).expect("JSON")
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_else(|| panic!("`{key}` is a text"))
}

fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value[key].as_array().unwrap_or_else(|| panic!("`{key}` is a list"))
}

fn token(value: &Value, key: &str) -> Token {
    Token::from_hex(text(value, key)).expect("a token")
}

#[test]
fn tokens_are_those_of_the_vectors() {
    let vectors = vectors();
    let mut bytes = [0; 32];
    for (byte, value) in bytes.iter_mut().zip(0..) {
        *byte = value;
    }
    let secret = ConsentSecret::from_bytes(bytes);
    assert!(secret.to_text().contains(text(&vectors, "secret")));
    assert_eq!(secret.id().to_hex(), text(&vectors, "secretId"));
    let tokens = Tokens::by(&secret);
    let ids = list(&vectors, "ids");
    for entry in ids {
        let id = text(entry, "id");
        assert_eq!(tokens.key(id).to_hex(), text(entry, "key"), "{id}");
        assert_eq!(tokens.token(id).to_hex(), text(entry, "token"), "{id}");
        assert_eq!(tokens.subject(id).to_hex(), text(entry, "subject"), "{id}");
    }
    assert_eq!(ids.len(), 4);
}

#[test]
fn roots_and_proofs_are_those_of_the_vectors() {
    let vectors = vectors();
    let mut kinds = [0; 3];
    for set in list(&vectors, "sets") {
        let hex = list(set, "tokens").iter().map(|token| token.as_str().expect("a text"));
        let tokens: Vec<Token> = hex.map(|hex| Token::from_hex(hex).expect("a token")).collect();
        let map = Map::of(&tokens).expect("in order");
        assert_eq!(map.root().to_hex(), text(set, "root"));
        let root = Root::from_hex(text(set, "root")).expect("a root");
        for proof in list(set, "proofs") {
            let asked = token(proof, "token");
            let alike = tokens.iter().filter(|other| other.as_bytes()[0] == asked.as_bytes()[0]);
            let path = map.path(&asked, alike.copied());
            let membership = path.check(&asked, map.size(), &root).expect("a proof");
            assert_eq!(&as_json(&asked, &path, membership), proof);
            kinds[match path.end {
                End::Itself => 0,
                End::Other(_) => 1,
                End::Nothing => 2,
            }] += 1;
        }
    }
    assert!(kinds.iter().all(|count| *count > 0), "{kinds:?}");
}

fn as_json(asked: &Token, path: &Path, membership: Membership) -> Value {
    let hashes = path
        .siblings
        .iter()
        .map(|hash| hash.map(|hash| Root::from_bytes(hash).to_hex()));
    let mut proof = json!({
        "token": asked.to_hex(),
        "membership": match membership {
            Membership::Included => "included",
            Membership::Absent => "absent",
        },
        "siblings": hashes.collect::<Vec<_>>(),
    });
    if let End::Other(other) = path.end {
        proof["other"] = other.to_hex().into();
    }
    proof
}

#[test]
fn another_implementation_makes_and_checks_the_same() {
    let run = |arguments: &[&str]| Command::new("python3").arg(REFERENCE).args(arguments).output();
    let made = match run(&[]) {
        #[expect(clippy::print_stderr, reason = "a test that is skipped says so")]
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            eprintln!("skipped: there is no python3");
            return;
        }
        made => made.expect("it runs"),
    };
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let committed = std::fs::read(VECTORS).expect("committed");
    assert!(
        made.stdout == committed,
        "{REFERENCE} makes other vectors than {VECTORS} has"
    );
    let checked = run(&["check", VECTORS]).expect("it runs");
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
    assert_eq!(
        String::from_utf8_lossy(&checked.stdout),
        "4 sets and 24 proofs are right, and none with a change is\n"
    );
}

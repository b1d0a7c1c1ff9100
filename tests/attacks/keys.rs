//! Whom to believe: keys that are not trusted, are no keys, lie in the repository, or may not sign what they signed.

use serde_json::{Value, json};

use crate::forge;
use crate::repo::{FORGED, Repo, stranger};
use crate::table::{Attack, attack, try_all};

#[test]
fn whom_nobody_trusts() {
    try_all(vec![
        attack("a stranger alone is trusted", |_| {})
            .trusting("../stranger.pem")
            .finds(&["E-KEY"]),
        attack("one of two is trusted", |_| {})
            .trusting("../own.pem")
            .finds(&["E-KEY"])
            .names("out/theirs.txt"),
        attack("the operator's own policy does not know the other clone", |_| {})
            .by_policy_in("config")
            .ends(6)
            .finds(&["E-KEY"])
            .names("out/theirs.txt"),
        attack("nobody is trusted", |_| {})
            .by_policy_in("nobody")
            .ends(6)
            .finds(&["E-ABSENT", "E-KEY"])
            .says("nobody is trusted"),
        attack("keys that lie in the repository", |repo| {
            let policy = repo.bytes("../policy.json");
            for place in [
                "policy.json",
                "runs/policy.json",
                ".madmall/policy.json",
                "madmall/policy.json",
            ] {
                repo.write(place, &policy);
            }
            repo.write("runs/key.pem", repo.bytes("../own.pem"));
        })
        .by_policy_in("nobody")
        .ends(6)
        .finds(&["E-ABSENT", "E-KEY"]),
        attack("both are trusted", |_| {}).ends(0).says(r#""trust":"`--trust "#),
        attack("a policy of one's own key", |_| {})
            .by_policy_in("config")
            .ask(&["out/count.txt"])
            .ends(0)
            .says(r#""trust":"your own key only""#),
        attack("a policy of one's own with two keys", |repo| {
            repo.write("../config/policy.json", repo.bytes("../policy.json"));
        })
        .by_policy_in("config")
        .ends(0)
        .says(r#""trust":"your own policy (2 keys)""#),
        attack("a folder in the place of the policy", |repo| {
            repo.remove("../config/policy.json");
            repo.write("../config/policy.json/x", "");
        })
        .by_policy_in("config")
        .ends(2)
        .says("policy.json"),
        attack("a weak key", |repo| {
            repo.write("../key", format!("01{}", "00".repeat(31)))
        })
        .trusting("../key")
        .ends(2)
        .says("a weak key"),
        attack("a weak key by its digits", |_| {})
            .trusting("0000000000000000000000000000000000000000000000000000000000000000")
            .ends(2),
        attack("no point of the curve", |repo| repo.write("../key", "02".repeat(32)))
            .trusting("../key")
            .ends(2),
        attack("a certificate", |repo| {
            repo.write(
                "../key",
                "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n",
            );
        })
        .trusting("../key")
        .ends(2)
        .says_not("private key"),
        attack("a public key that is cut short", |repo| {
            let text = repo.read("../own.pem");
            repo.write("../key", text.replacen("MCow", "", 1));
        })
        .trusting("../key")
        .ends(2)
        .says("PEM"),
        attack("the operator's key as SSH has it", |repo| {
            repo.write("../key", ssh_line(repo))
        })
        .trusting("../key")
        .ask(&["out/count.txt"])
        .ends(0),
        attack("two keys as SSH has them", |repo| {
            repo.write("../key", ssh_line(repo).repeat(2))
        })
        .trusting("../key")
        .ends(2)
        .says("SSH line"),
        attack("a key of another kind as SSH has it", |repo| {
            repo.write("../key", "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAAAgQC7 me@example.org\n");
        })
        .trusting("../key")
        .ends(2),
        attack("a private key", |repo| {
            repo.write("../key", repo.bytes("../config/signing-key.pem"));
        })
        .trusting("../key")
        .ends(2)
        .says("private key"),
        attack("the operator's key by its digits", |_| {})
            .trusting("{own_digits}")
            .ask(&["out/count.txt"])
            .ends(0),
        attack("a policy after empty lines", |repo| {
            let policy = repo.read("../policy.json");
            repo.write("../key", format!("\n  \n{policy}"));
        })
        .trusting("../key")
        .ends(0),
        attack("a key that is not UTF-8", |repo| repo.write("../key", b"\xff\xfe"))
            .trusting("../key")
            .ends(2),
        attack("nonsense", |repo| repo.write("../key", "nonsense"))
            .trusting("../key")
            .ends(2),
        attack("a file that is not there", |_| {}).trusting("../none").ends(2),
    ]);
}

/// The operator's public key as a line of OpenSSH's.
fn ssh_line(repo: &Repo) -> String {
    use base64::Engine as _;
    let digits = repo.own().public_hex();
    let key = (0..32).map(|at| u8::from_str_radix(&digits[2 * at..2 * at + 2], 16).expect("digits"));
    let mut blob = b"\0\0\0\x0bssh-ed25519\0\0\0\x20".to_vec();
    blob.extend(key);
    let blob = base64::engine::general_purpose::STANDARD.encode(blob);
    format!("ssh-ed25519 {blob} operator@example.org\n")
}

/// A policy that is changed before it is asked.
fn policy(name: &'static str, change: impl Fn(&Repo, &mut Value) + Send + Sync + 'static) -> Attack {
    let attack = attack(name, move |repo| {
        let mut policy: Value = serde_json::from_slice(&repo.bytes("../policy.json")).expect("JSON");
        change(repo, &mut policy);
        repo.write("../limited.json", policy.to_string());
    });
    attack.trusting("../limited.json")
}

/// Where the operator's log is.
fn head(repo: &Repo, size: usize) -> Value {
    head_of(repo, "{log}", size)
}

/// When the colleague's stage ended, by its receipt.
fn ended(repo: &Repo) -> Value {
    let stage = forge::statement(&repo.lines("{theirs}")[0]);
    stage["predicate"]["runDetails"]["metadata"]["finishedOn"].clone()
}

fn head_of(repo: &Repo, log: &str, size: usize) -> Value {
    let log = repo.fill(log);
    let name = log.rsplit('/').next().expect("a name");
    let text = repo.read(&format!("{log}/checkpoint-{size}"));
    let root = text.lines().nth(2).expect("a root");
    let root = base64::Engine::decode(&base64::engine::general_purpose::STANDARD, root).expect("base64");
    let root = madmall::digest::Sha256::from_bytes(root.try_into().expect("32 bytes")).to_hex();
    json!({"origin": format!("madmall/{name}"), "root": root, "size": size})
}

#[test]
fn what_a_key_may_sign() {
    let future = "2100-01-01T00:00:00Z";
    try_all(vec![
        policy("for another pipeline", |_, p| {
            p["keys"][0]["pipelines"] = json!(["theirs"])
        })
        .finds(&["E-KEY"])
        .names("out/count.txt"),
        policy("not for that stage", |_, p| {
            p["keys"][0]["stages"] = json!(["upper", "join"])
        })
        .finds(&["E-KEY"])
        .names("out/count.txt"),
        policy("as another builder", |_, p| {
            p["keys"][0]["builders"] = json!(["urn:example:ci"])
        })
        .finds(&["E-KEY"]),
        policy("not yet", |_, p| p["keys"][0]["from"] = "2090-01-01T00:00:00Z".into())
            .finds(&["E-KEY"])
            .names("out/count.txt"),
        policy("no more", |repo, p| {
            p["keys"][0]["until"] = json!({"time": "2020-01-01T00:00:00Z", "logs": [head(repo, 10)]});
        })
        .finds(&["E-KEY"]),
        policy("no more, after its first run", move |repo, p| {
            p["keys"][0]["until"] = json!({"time": future, "logs": [head(repo, 4)]});
        })
        .finds(&["E-DIGEST", "W-FOREIGN"])
        .names("out/count.txt"),
        policy(
            "no more, after its first run, of which the last stage is asked",
            move |repo, p| {
                p["keys"][0]["until"] = json!({"time": future, "logs": [head(repo, 4)]});
            },
        )
        .ask(&["out/upper.txt"])
        .finds(&["E-DIGEST"])
        .names("out/upper.txt"),
        policy("ended, and its log was taken away", move |repo, p| {
            p["keys"][0]["until"] = json!({"time": future, "logs": [head(repo, 4)]});
            std::fs::remove_dir_all(repo.path(&repo.fill("{log}"))).expect("removed");
        })
        .finds(&["E-KEY"])
        .says("is not here as it was then"),
        policy("ended, and none of its logs was seen then", |_, p| {
            p["keys"][0]["until"] = json!({"time": "2090-01-01T00:00:00Z", "logs": []});
        })
        .finds(&["E-KEY"]),
        policy("ended, and its log is not here as it was then", move |repo, p| {
            let mut head = head(repo, 4);
            head["root"] = "7".repeat(64).into();
            p["keys"][0]["until"] = json!({"time": future, "logs": [head]});
        })
        .finds(&["E-KEY"]),
        // What a receipt says of its own time proves nothing.
        policy("ended, and a receipt is dated back", move |repo, p| {
            let head = head(repo, 10);
            p["keys"][0]["until"] = json!({"time": future, "logs": [head]});
            repo.write("out/count.txt", "77\n");
            repo.forge(|stage| {
                let metadata = &mut stage["predicate"]["runDetails"]["metadata"];
                metadata["startedOn"] = "2020-01-01T00:00:00Z".into();
                metadata["finishedOn"] = "2020-01-01T00:00:01Z".into();
                let digests = madmall::digest::Digests::of(b"77\n");
                stage["subject"][0]["digest"]["sha256"] = digests.sha256.to_hex().into();
                stage["subject"][0]["digest"]["blake3"] = digests.blake3.to_hex().into();
            });
        })
        .finds(&["E-DIGEST", "W-FOREIGN"])
        .names("out/count.txt")
        .says("was in none of its logs then"),
        policy("from the very second on in which it ended", |repo, p| {
            p["keys"][1]["from"] = ended(repo)
        })
        .ask(&["out/theirs.txt"])
        .ends(0),
        policy("until the very second in which it ended", |repo, p| {
            p["keys"][1]["until"] = json!({"time": ended(repo), "logs": [head_of(repo, "{their_log}", 2)]});
        })
        .ask(&["out/theirs.txt"])
        .finds(&["E-KEY"])
        .says("the policy trusts `colleague` until"),
        policy("its logs do not count", |repo, p| {
            let log = repo.fill("{their_log}");
            let name = log.rsplit('/').next().expect("a name");
            p["logs"] = json!([{"origin": format!("madmall/{name}"), "keyid": p["keys"][1]["keyid"]}]);
        })
        .ends(0)
        .finds(&["W-UNLOGGED"]),
        policy("its log is said to be another's", |repo, p| {
            let log = repo.fill("{log}");
            let name = log.rsplit('/').next().expect("a name");
            p["logs"] = json!([{"origin": format!("madmall/{name}"), "keyid": p["keys"][1]["keyid"]}]);
        })
        .ends(0)
        .finds(&["W-FOREIGN"])
        .assures("log", "not-checked"),
        policy("all that it signed is allowed", move |repo, p| {
            p["keys"][0]["pipelines"] = json!(["main", "fails"]);
            p["keys"][0]["stages"] = json!(["upper", "join", "count", "bad"]);
            p["keys"][0]["from"] = "2020-01-01T00:00:00Z".into();
            p["keys"][0]["until"] = json!({"time": future, "logs": [head(repo, 10)]});
        })
        .ends(0),
    ]);
}

#[test]
fn policies_that_cannot_be_used() {
    try_all(vec![
        policy("a later version", |_, p| p["version"] = 2.into()).ends(2),
        policy("an unknown field", |_, p| p["witnesses"] = json!([])).ends(2),
        policy("an unknown limit of a key", |_, p| p["keys"][0]["hosts"] = json!(["a"])).ends(2),
        policy("a limit that is null", |_, p| p["keys"][0]["pipelines"] = Value::Null).ends(2),
        policy("a key twice", |_, p| {
            let key = p["keys"][0].clone();
            p["keys"].as_array_mut().expect("a list").push(key);
        })
        .ends(2),
        policy("a keyid of another key", |_, p| {
            p["keys"][0]["keyid"] = forge::keyid(&"0".repeat(64)).into()
        })
        .ends(2),
        policy("a weak key", |_, p| {
            let public = format!("01{}", "00".repeat(31));
            p["keys"][0]["keyid"] = forge::keyid(&public).into();
            p["keys"][0]["public"] = public.into();
        })
        .ends(2),
        policy("a time that is none", |_, p| p["keys"][0]["from"] = "yesterday".into()).ends(2),
        policy("no key", |_, p| p["keys"] = json!([])).ends(6),
        attack("a key twice in another spelling", |repo| {
            let text = repo
                .read("../policy.json")
                .replacen("\"version\"", "\"version\":2,\"v\\u0065rsion\"", 1);
            repo.write("../limited.json", text);
        })
        .trusting("../limited.json")
        .ends(2),
        attack("a stranger's run is asked for", |repo| {
            repo.forge_by(&stranger(), |_| {})
        })
        .ask(&[FORGED])
        .by_policy_in("config")
        .ends(6)
        .finds(&["E-KEY"]),
    ]);
}

#[test]
fn what_a_policy_may_say() {
    let refused = |name, says, change: fn(&Repo, &mut Value)| policy(name, change).ends(2).says(says);
    let log = |repo: &Repo, log: &str| {
        let log = repo.fill(log);
        format!("madmall/{}", log.rsplit('/').next().expect("a name"))
    };
    let both = move |repo: &Repo, p: &Value| {
        json!([
            {"origin": log(repo, "{log}"), "keyid": p["keys"][0]["keyid"]},
            {"origin": log(repo, "{their_log}"), "keyid": p["keys"][1]["keyid"]},
        ])
    };
    try_all(vec![
        policy("both logs", move |repo, p| p["logs"] = both(repo, p))
            .ends(0)
            .assures("log", "held"),
        policy("a log twice", move |repo, p| {
            let logs = both(repo, p);
            p["logs"] = json!([logs[0], logs[1], logs[0]]);
        })
        .ends(2)
        .says("stands twice"),
        policy("a log by a key that is not trusted", move |repo, p| {
            let mut logs = both(repo, p);
            logs[0]["keyid"] = forge::keyid(&stranger().public_hex()).into();
            p["logs"] = logs;
        })
        .ends(2)
        .says("is by a key that is not one of `keys`"),
        refused("no logs", "is empty", |_, p| p["logs"] = json!([])),
        refused("a log of another program", "is no log's origin", |_, p| {
            p["logs"] = json!([{"origin": "other/0123456789abcdef", "keyid": p["keys"][0]["keyid"]}]);
        }),
        policy("an end in two logs", move |repo, p| {
            let other = json!({"origin": log(repo, "{their_log}"), "root": "7".repeat(64), "size": 1});
            p["keys"][0]["until"] = json!({"time": "2100-01-01T00:00:00Z", "logs": [head(repo, 10), other]});
        })
        .ends(0),
        refused("an end twice in one log", "stands twice in `until`", |repo, p| {
            let head = head(repo, 10);
            p["keys"][0]["until"] = json!({"time": "2100-01-01T00:00:00Z", "logs": [head, head]});
        }),
        refused("an end at a root that is none", "is not 64 lower-case", |repo, p| {
            let mut head = head(repo, 10);
            head["root"] = "AB".repeat(32).into();
            p["keys"][0]["until"] = json!({"time": "2100-01-01T00:00:00Z", "logs": [head]});
        }),
        refused("an end at no size", "is 0", |repo, p| {
            let mut head = head(repo, 10);
            head["size"] = 0.into();
            p["keys"][0]["until"] = json!({"time": "2100-01-01T00:00:00Z", "logs": [head]});
        }),
        refused("an end before the beginning", "is not before `until`", |_, p| {
            p["keys"][0]["from"] = "2026-01-01T00:00:00Z".into();
            p["keys"][0]["until"] = json!({"time": "2025-01-01T00:00:00Z", "logs": []});
        }),
        refused("an end at the beginning", "is not before `until`", |_, p| {
            p["keys"][0]["from"] = "2026-01-01T00:00:00Z".into();
            p["keys"][0]["until"] = json!({"time": "2026-01-01T00:00:00Z", "logs": []});
        }),
        refused("a time with a fraction", "is not a time like", |_, p| {
            p["keys"][0]["from"] = "2026-01-01T00:00:00.5Z".into();
        }),
        refused("a time with an offset", "is not a time like", |_, p| {
            p["keys"][0]["from"] = "2026-01-01T00:00:00+00:00".into();
        }),
        refused("two keys of one name", "two keys have the name", |_, p| {
            p["keys"][1]["name"] = p["keys"][0]["name"].clone();
        }),
        refused("a key without a name", "is empty, has spaces", |_, p| {
            p["keys"][0]["name"] = "".into()
        }),
        refused("a name with a space before it", "has spaces around it", |_, p| {
            p["keys"][0]["name"] = " operator".into();
        }),
        refused("a name that is blank", "is empty, has spaces", |_, p| {
            p["keys"][0]["name"] = " ".into()
        }),
        refused("a name with an escape sequence", "control characters", |_, p| {
            p["keys"][0]["name"] = "a\u{1b}[2Jb".into();
        }),
        refused("a name that is a book", "is too long", |_, p| {
            p["keys"][0]["name"] = "x".repeat(1001).into();
        }),
        policy("a long name", |_, p| p["keys"][0]["name"] = "x".repeat(1000).into()).ends(0),
        refused("no pipelines", "`pipelines` is empty", |_, p| {
            p["keys"][0]["pipelines"] = json!([])
        }),
        refused("no stages", "`stages` is empty", |_, p| {
            p["keys"][0]["stages"] = json!([])
        }),
        refused("no builders", "`builders` is empty", |_, p| {
            p["keys"][0]["builders"] = json!([])
        }),
        refused("a pipeline twice", "stands twice", |_, p| {
            p["keys"][0]["pipelines"] = json!(["main", "main"]);
        }),
        refused(
            "a pattern in the place of a pipeline",
            "is no name that could stand there",
            |_, p| {
                p["keys"][0]["pipelines"] = json!(["*"]);
            },
        ),
        refused(
            "a pattern in the place of a stage",
            "is no name that could stand there",
            |_, p| {
                p["keys"][0]["stages"] = json!(["*"]);
            },
        ),
        refused(
            "a builder that is no URI",
            "is no name that could stand there",
            |_, p| {
                p["keys"][0]["builders"] = json!(["local"]);
            },
        ),
        refused("a builder with a space", "is no name that could stand there", |_, p| {
            p["keys"][0]["builders"] = json!(["urn:madmall:b c"]);
        }),
        refused(
            "a builder without a scheme",
            "is no name that could stand there",
            |_, p| {
                p["keys"][0]["builders"] = json!([":local"]);
            },
        ),
        refused(
            "a builder with nothing but a scheme",
            "is no name that could stand there",
            |_, p| {
                p["keys"][0]["builders"] = json!(["urn:"]);
            },
        ),
        refused(
            "a builder whose scheme is a number",
            "is no name that could stand there",
            |_, p| {
                p["keys"][0]["builders"] = json!(["1rn:local"]);
            },
        ),
        refused(
            "a builder whose scheme is none",
            "is no name that could stand there",
            |_, p| {
                p["keys"][0]["builders"] = json!(["u_n:local"]);
            },
        ),
        policy("builders of every spelling that there is", |_, p| {
            p["keys"][0]["builders"] = json!(["urn:madmall:builder:local", "git+ssh://a.b", "h2-x.y:z"]);
        })
        .ends(0),
        policy("as many pipelines as may be", |_, p| {
            let others = (0..999).map(|number| format!("p{number}"));
            let all: Vec<String> = others.chain(["main".to_owned()]).collect();
            p["keys"][0]["pipelines"] = json!(all);
        })
        .finds(&["W-FOREIGN"])
        .ask(&["out/count.txt"])
        .ends(0),
        refused("more pipelines than may be", "has more than 1000 items", |_, p| {
            let all: Vec<String> = (0..1001).map(|number| format!("p{number}")).collect();
            p["keys"][0]["pipelines"] = json!(all);
        }),
        refused("a policy that is longer than any", "", |_, p| {
            p["keys"][0]["name"] = "x".repeat(2 << 20).into();
        }),
    ]);
}

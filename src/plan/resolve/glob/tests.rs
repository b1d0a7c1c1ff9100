//! What patterns find.

use super::*;

fn found<'p>(pattern: &str, paths: &[&'p str]) -> Vec<&'p str> {
    let glob = Glob::parse(pattern).expect("a pattern");
    paths
        .iter()
        .copied()
        .filter(|path| glob.finds(Utf8Path::new(path)))
        .collect()
}

const PATHS: &[&str] = &[
    "data/a.csv",
    "data/b.csv",
    "data/.hidden.csv",
    "data/sub/c.csv",
    "data/sub/deep/d.csv",
    "data/.git/e.csv",
    "other/a.txt",
];

#[test]
fn patterns_find_what_a_shell_would() {
    for (pattern, wanted) in [
        ("data/*.csv", &["data/a.csv", "data/b.csv"][..]),
        ("data/[!a].csv", &["data/b.csv"]),
        ("data/?.csv", &["data/a.csv", "data/b.csv"]),
        ("data/.*.csv", &["data/.hidden.csv"]),
        ("./data//*.csv", &["data/a.csv", "data/b.csv"]),
        (
            "**/*.csv",
            &["data/a.csv", "data/b.csv", "data/sub/c.csv", "data/sub/deep/d.csv"],
        ),
        ("data/**/d.csv", &["data/sub/deep/d.csv"]),
        ("data/**/**/c.csv", &["data/sub/c.csv"]),
        ("{data,other}/a.{csv,txt}", &["data/a.csv", "other/a.txt"]),
        ("data/{a,sub/{c,x}}.csv", &["data/a.csv", "data/sub/c.csv"]),
        (
            "{data/sub/,other/a.txt}",
            &["data/sub/c.csv", "data/sub/deep/d.csv", "other/a.txt"],
        ),
        ("{data/.git/,data/a.csv/}", &["data/.git/e.csv"]),
        ("data/\\a.csv", &["data/a.csv"]),
        ("*", &[]),
    ] {
        assert_eq!(found(pattern, PATHS), wanted, "{pattern}");
    }
}

#[test]
fn a_part_finds_what_it_found_alone() {
    let odd = ["a,b", "c}d", "e{f", "[g", "h]", "i*", "?j", "k\\l", "x,y", "z}"];
    for name in odd {
        let whole = alternatives_of(&[part_of_path(Utf8Path::new(name)), "other".to_owned()]);
        assert_eq!(found(&whole, &odd), [name], "{whole}");
        let folder = alternatives_of(&[format!("{}/", part_of_path(Utf8Path::new(name)))]);
        let inside = format!("{name}/.x");
        assert_eq!(found(&folder, &[name, &inside]), [inside.as_str()], "{folder}");
    }
    for (pattern, wanted) in [
        ("?,?", &["a,b", "x,y"][..]),
        ("[az][,}]*", &["a,b", "z}"]),
        ("{?,?,z*}", &["z}"]),
        ("{?\\,b,z\\}}", &["a,b", "z}"]),
    ] {
        let whole = alternatives_of(&[part_of_pattern(pattern), "h\\]".to_owned()]);
        assert_eq!(found(pattern, &odd), wanted, "{pattern}");
        let mut both = found(&whole, &odd);
        both.retain(|name| *name != "h]");
        assert_eq!(both, wanted, "{pattern} {whole}");
    }
}

#[test]
fn what_is_no_pattern_is_refused() {
    for pattern in ["a[", "a{b", "../*", "/x/*", "a**/b", &"{a,b}".repeat(20)] {
        assert!(Glob::parse(pattern).is_err(), "{pattern}");
    }
}

#[test]
fn the_base_is_the_folder_before_the_first_pattern() {
    let bases = |pattern: &str| -> Vec<String> {
        Glob::parse(pattern)
            .expect("a pattern")
            .bases()
            .map(ToString::to_string)
            .collect()
    };
    assert_eq!(bases("data/raw/*.csv"), ["data/raw"]);
    assert_eq!(bases("**/x"), [""]);
    assert_eq!(bases("a/b{c,d}"), ["a", "a"]);
}

#[test]
fn many_stars_cost_no_more_than_their_number() {
    let pattern = format!("{}x", "**/".repeat(500));
    let path = format!("{}y", "a/".repeat(500));
    assert!(found(&pattern, &[&path]).is_empty());
}

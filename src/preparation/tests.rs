//! A preparation by itself.

use super::*;

fn sample() -> Preparation {
    let age = Numeric {
        range: Some(Range(0.0, 120.0)),
        impute: 50.0,
        indicator: true,
        scaling: Some(Scaling {
            center: 50.0,
            scale: 20.0,
        }),
        ..Numeric::plain("age")
    };
    let sex = Categorical {
        of: Input::Feature("sex".to_owned()),
        levels: vec!["F".to_owned(), "M".to_owned()],
    };
    let kind = Categorical {
        of: Input::SourceKind,
        levels: vec!["0.5".to_owned(), "self".to_owned()],
    };
    let interactions = vec![
        ["sex=F".to_owned(), "age".to_owned()],
        ["age".to_owned(), "age".to_owned()],
    ];
    Preparation::new(vec![Numeric::plain("TSH"), age], vec![sex, kind], interactions).expect("it holds together")
}

/// The row of these values, by the column's name.
fn row(preparation: &Preparation, values: &[Value<'_>]) -> Vec<(String, f64)> {
    let mut row = Vec::new();
    preparation.row(values, &mut row).expect("a row");
    let named = preparation.columns().iter().cloned().zip(row);
    // Zeros are what most columns hold.
    named.filter(|(_, value)| *value != 0.0).collect()
}

fn named(columns: &[(&str, f64)]) -> Vec<(String, f64)> {
    columns
        .iter()
        .map(|(name, value)| ((*name).to_owned(), *value))
        .collect()
}

#[test]
fn columns_are_sorted_by_their_names() {
    assert_eq!(
        sample().columns(),
        [
            "TSH",
            "age",
            "age:age",
            "age=missing",
            "sex=F",
            "sex=F:age",
            "sex=M",
            "source.kind=0.5",
            "source.kind=self"
        ]
    );
    assert_eq!(
        sample().inputs().iter().map(Input::name).collect::<Vec<_>>(),
        ["TSH", "age", "sex", "source.kind"]
    );
}

#[test]
fn what_an_event_holds_becomes_a_row() {
    use Value::{Missing, Number, Text};
    let preparation = sample();
    assert_eq!(
        row(&preparation, &[Number(2.5), Number(70.0), Text("F"), Text("self")]),
        named(&[
            ("TSH", 2.5),
            ("age", 1.0),
            ("age:age", 1.0),
            ("sex=F", 1.0),
            ("sex=F:age", 1.0),
            ("source.kind=self", 1.0)
        ])
    );
    // Out of range, a text and nothing are all missing; a category has no level for them.
    for age in [Number(65_511.0), Number(-1.0), Text("70"), Missing] {
        for sex in [Text("X"), Text(""), Number(1.0), Missing] {
            let found = row(&preparation, &[Text("2.5"), age, sex, Missing]);
            assert_eq!(found, named(&[("age=missing", 1.0)]));
        }
    }
    // The ends of a range belong to it; a number is the text that spells it.
    assert_eq!(
        row(&preparation, &[Missing, Number(120.0), Text("M"), Number(0.5)]),
        named(&[
            ("age", 3.5),
            ("age:age", 12.25),
            ("sex=M", 1.0),
            ("source.kind=0.5", 1.0)
        ])
    );
}

#[test]
fn there_is_one_zero_and_no_infinity() {
    let preparation = sample();
    let mut row = vec![7.0; 3];
    let values = [
        Value::Number(-0.0),
        Value::Number(50.0),
        Value::Text("F"),
        Value::Missing,
    ];
    preparation.row(&values, &mut row).expect("a row");
    assert_eq!(row.len(), preparation.columns().len());
    assert!(row.iter().all(|value| *value != 0.0 || value.is_sign_positive()));
    for number in [f64::INFINITY, f64::NAN] {
        let values = [Value::Number(number), Value::Missing, Value::Missing, Value::Missing];
        let error = preparation.row(&values, &mut row).expect_err("must be refused");
        assert_eq!(error, RowError::NotFinite("TSH".to_owned()));
    }
    let error = preparation.row(&values[1..], &mut row).expect_err("must be refused");
    assert_eq!(error.to_string(), "4 values are prepared, not 3");
}

#[test]
fn the_json_is_canonical_and_reads_back() {
    let text = sample().to_json().expect("it can be written");
    let expected = concat!(
        r#"{"categories":[{"levels":["F","M"],"of":{"feature":"sex"}},{"levels":["0.5","self"],"of":"source.kind"}],"#,
        r#""format":"madmall-preparation/v1","interactions":[["sex=F","age"],["age","age"]],"#,
        r#""numbers":[{"impute":0,"indicator":false,"key":"TSH","range":null,"scaling":null},"#,
        r#"{"impute":50,"indicator":true,"key":"age","range":[0,120],"scaling":{"center":50,"scale":20}}]}"#,
    );
    assert_eq!(text, expected);
    assert_eq!(Preparation::parse(text.as_bytes()).expect("reads back"), sample());
}

#[test]
fn what_does_not_hold_together_is_refused() {
    let change = |from: &str, to: &str| {
        let text = sample().to_json().expect("it can be written");
        assert!(text.contains(from), "{from}");
        let error = Preparation::parse(text.replacen(from, to, 1).as_bytes());
        error.expect_err(to).to_string()
    };
    for (from, to, says) in [
        ("/v1", "/v2", "format `madmall-preparation/v2`"),
        (r#""impute":0,"#, "", "missing field `impute`"),
        (r#""range":null,"#, "", "missing field `range`"),
        (r#""key":"TSH","#, r#""key":"TSH","x":0,"#, "unknown field `x`"),
        (r#""key":"TSH","#, r#""key":"TSH","key":"TSH","#, "duplicate key"),
        ("[0,120]", "[0,120,1]", "invalid length"),
        ("[0,120]", "[120,0]", "the range of `age` is upside down"),
        (r#""scale":20"#, r#""scale":0"#, "the scale of `age` is not positive"),
        (r#""impute":0"#, r#""impute":1e400"#, "strict JSON"),
        (r#""key":"TSH""#, r#""key":"zzz""#, "not sorted, each once"),
        (r#""key":"TSH""#, r#""key":"sex""#, "not sorted, each once"),
        (r#""sex"}"#, r#""age"}"#, "`age` is both a number and a category"),
        (r#"["F","M"]"#, r#"["M","F"]"#, "the levels of `sex` are not sorted"),
        (r#"["F","M"]"#, r#"["F","F"]"#, "the levels of `sex` are not sorted"),
        (r#"["F","M"]"#, "[]", "`sex` has 0 levels"),
        (
            r#"["age","age"]"#,
            r#"["age","agee"]"#,
            "names `agee`, which is no column",
        ),
        (r#"["age","age"]"#, r#"["age","sex=F"]"#, "stands twice"),
        (r#"["age","age"]"#, r#"["sex=F","age"]"#, "stands twice"),
        (r#"["age","age"]"#, r#"["age:age","age"]"#, "no column"),
        (r#""key":"TSH""#, r#""key":"age:age""#, "not sorted"),
    ] {
        let message = change(from, to);
        assert!(message.contains(says), "{message}");
    }
    let long = format!(r#""key":"{}""#, "T".repeat(MAX_TEXT + 1));
    assert!(change(r#""key":"TSH""#, &long).contains("longer than 1024 bytes"));
}

#[test]
fn two_columns_of_one_name_are_refused_by_name() {
    let sex = Categorical {
        of: Input::Feature("sex".to_owned()),
        levels: vec!["F".to_owned()],
    };
    let numbers = |keys: &[&str]| keys.iter().map(|key| Numeric::plain(key)).collect::<Vec<_>>();
    let pair = |a: &str, b: &str| [a.to_owned(), b.to_owned()];
    let mut flagged = numbers(&["a", "a=missing"]);
    flagged[0].indicator = true;
    for (result, name) in [
        (
            Preparation::new(numbers(&["sex=F"]), vec![sex.clone()], Vec::new()),
            "sex=F",
        ),
        (Preparation::new(flagged, Vec::new(), Vec::new()), "a=missing"),
        (
            Preparation::new(numbers(&["a", "a:b", "b"]), Vec::new(), vec![pair("a", "b")]),
            "a:b",
        ),
        (
            Preparation::new(
                numbers(&["a", "a:b", "b:c", "c"]),
                Vec::new(),
                vec![pair("a", "b:c"), pair("a:b", "c")],
            ),
            "a:b:c",
        ),
    ] {
        let message = result.expect_err(name).to_string();
        assert!(
            message.contains(&format!("two columns would be called `{name}`")),
            "{message}"
        );
    }
}

#[test]
fn too_many_columns_are_refused() {
    let keys: Vec<String> = (0..=MAX_COLUMNS).map(|key| format!("{key:05}")).collect();
    assert!(Preparation::plain(&keys[1..]).is_ok());
    let message = Preparation::plain(&keys).expect_err("one too many").to_string();
    assert!(message.contains("more than 4096 columns"), "{message}");
    let levels = Categorical {
        of: Input::SourceRegion,
        levels: keys[..=MAX_LEVELS].to_vec(),
    };
    let message = Preparation::new(Vec::new(), vec![levels], Vec::new()).expect_err("one too many");
    assert!(
        message.to_string().contains("`source.region` has 1025 levels"),
        "{message}"
    );
}

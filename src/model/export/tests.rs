//! What must hold of every form; whether other programs agree is for `tests/foreign/run` to say.

use super::*;
use crate::model::{Labels, Standardisation};
use crate::preparation::{Categorical, Range, Scaling};

fn model(key: &str, level: &str) -> Model {
    let numeric = Numeric {
        range: Some(Range(-0.5, 1e21)),
        indicator: true,
        impute: 0.1,
        scaling: Some(Scaling {
            center: 5e-324,
            scale: 1.0 / 3.0,
        }),
        ..Numeric::plain(key)
    };
    let category = Categorical {
        of: Input::SourceKind,
        levels: vec![level.to_owned()],
    };
    let interactions = vec![[key.to_owned(), format!("source.kind={level}")]];
    let preparation = Preparation::new(vec![numeric], vec![category], interactions).expect("it holds together");
    Model {
        labels: Labels {
            negative: "no".to_owned(),
            positive: "yes".to_owned(),
        },
        feature_keys: preparation.columns().to_vec(),
        weights: vec![1e300, -2e-300, 0.1, 1.5],
        bias: -0.25,
        standardisation: Some(Standardisation {
            means: vec![0.25; 4],
            scales: vec![0.75; 4],
        }),
        preparation: Some(preparation),
    }
}

#[test]
fn no_key_and_no_level_leaves_its_place_in_the_text() {
    let hostile = "</script><!--\"'`${x}\\ \n\r\u{2028}--;/*]]>";
    let model = model(hostile, hostile);
    let recipe = Recipe::of(&model).expect("few columns");
    let module = js::module(&recipe);
    assert!(!module.contains("</") && !module.contains("<!--") && !module.contains('\u{2028}'));
    let sql = sql::query(&recipe);
    // Outside of quotes nothing of it is left.
    let outside: String = sql.split('\'').step_by(2).collect();
    assert!(
        !outside.contains("script") && !outside.contains("/*") && !outside.contains('`'),
        "{outside}"
    );
    let xml = pmml::document(&recipe).expect("XML has these characters");
    assert!(!xml.contains("</script") && !xml.contains("<!--") && xml.contains("&#10;&#13;"));
}

#[test]
fn what_a_form_cannot_hold_is_refused_by_name() {
    let refusal = |key: &str, level: &str| {
        let model = model(key, level);
        let recipe = Recipe::of(&model).expect("few columns");
        let [pmml, onnx] = [pmml::document(&recipe).err(), onnx::model(&recipe).err()];
        [pmml, onnx].map(|error| error.map(|error| error.to_string()))
    };
    assert_eq!(refusal("a", "b"), [None, None]);
    let control = Some("PMML cannot hold the character U+001B".to_owned());
    assert_eq!(refusal("a\u{1b}", "b"), [control.clone(), None]);
    assert_eq!(refusal("a", "\u{1b}"), [control, None]);
    assert_eq!(
        refusal("", "b"),
        [Some("PMML cannot hold a field without a name".to_owned()), None]
    );
    let twice = Some("PMML cannot hold two fields that are called `source.kind`".to_owned());
    assert_eq!(refusal("source.kind", "b"), [twice, None]);
    let [_, empty] = refusal("a", "");
    assert!(empty.expect("a text").contains("a level that is an empty text"));
    let none = Model {
        feature_keys: Vec::new(),
        weights: Vec::new(),
        standardisation: None,
        preparation: None,
        ..model("a", "b")
    };
    let error = onnx::model(&Recipe::of(&none).expect("no columns")).expect_err("must be refused");
    assert_eq!(error.to_string(), "ONNX cannot hold a model without columns");
}

#[test]
fn numbers_count_as_a_level_only_in_their_own_spelling() {
    for (level, number) in [
        ("2", Some(2.0)),
        ("2.0", None),
        ("1e21", None),
        ("1e+21", Some(1e21)),
        ("inf", None),
        ("", None),
        ("-0", None),
    ] {
        assert_eq!(number_of(level), number, "{level}");
    }
}

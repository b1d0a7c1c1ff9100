//! What a card says, section by section.

use super::figures;
use super::origin::Origin;
use super::{Block, Card};
use crate::commitment::{BLAKE3_KEYED, HMAC_SHA256};
use crate::preparation::{Numeric, Range};
use crate::stages::ingest::fault::printable;

/// More columns than this are not listed one by one.
const MOST_COLUMNS: usize = 200;

/// The page's title.
#[must_use]
pub fn title(card: &Card<'_>) -> String {
    format!("Model card: {}", printable(card.name))
}

/// The page's parts.
#[must_use]
pub fn blocks(card: &Card<'_>) -> Vec<Block> {
    let mut blocks = what(card);
    blocks.extend(made(card));
    blocks.extend(use_and_limits(card));
    if let Some(origin) = &card.origin {
        blocks.extend(figures::consent(origin.ingest.as_ref()));
        blocks.extend(figures::metrics(origin));
        blocks.extend(figures::groups(origin));
    }
    blocks.extend(preparation(card));
    blocks.extend(figures::coefficients(card, MOST_COLUMNS));
    blocks
}

pub(super) fn heading(text: &str) -> Block {
    Block::Heading(text.to_owned())
}

fn what(card: &Card<'_>) -> Vec<Block> {
    let labels = &card.model.labels;
    let (positive, negative) = (printable(&labels.positive), printable(&labels.negative));
    // Nothing that is personal is named by digests that could be guessed.
    let [first, second] = match card.commitment() {
        None => [
            ("SHA-256", card.digests.sha256.to_hex()),
            ("BLAKE3", card.digests.blake3.to_hex()),
        ],
        Some(keyed) => [
            (HMAC_SHA256, keyed.sha256.to_hex()),
            (BLAKE3_KEYED, keyed.blake3.to_hex()),
        ],
    };
    let rows = [
        ("Kind", "binary logistic regression".to_owned()),
        (
            "Gives",
            format!("the probability of “{positive}”, the other label being “{negative}”"),
        ),
        ("Columns", card.model.weights.len().to_string()),
        first,
        second,
    ];
    let mut blocks = vec![Block::Table {
        head: vec!["The model".to_owned(), String::new()],
        rows: rows.map(|(name, value)| vec![name.to_owned(), value]).to_vec(),
        numbers: false,
    }];
    if card.commitment().is_some() {
        let text = "The model is personal: it was made from what is personal, and no stage has said that it holds nothing of a person. So is this page: \
                    show it to nobody who may not see that.";
        blocks.push(Block::Text(text.to_owned()));
    }
    blocks
}

fn made(card: &Card<'_>) -> Vec<Block> {
    let mut blocks = vec![heading("Where it comes from")];
    let Some(origin) = &card.origin else {
        let text = match card.may_be_keyed {
            false => {
                "No receipt found: nothing here says what made these bytes, from which data, or with whose consent."
            }
            true => {
                "No receipt found that could be told to be about these bytes. There are receipts that name what they made by a consent secret that is \
                 not here; whoever has it may find one."
            }
        };
        blocks.push(Block::Text(text.to_owned()));
        return blocks;
    };
    let mut rows = vec![
        ("Receipt", origin.receipt.clone()),
        ("Signed by", printable(&origin.signer)),
        ("Run", printable(&origin.run)),
        ("Time", printable(&origin.finished)),
        ("Pipeline", printable(&origin.pipeline)),
        (
            "Purpose",
            origin
                .purpose
                .as_deref()
                .map_or_else(|| "none stated".to_owned(), printable),
        ),
        ("Commit", commit(origin)),
    ];
    let parameters: Vec<String> = origin
        .parameters
        .iter()
        .map(|(name, value)| printable(&format!("{name} = {value}")))
        .collect();
    if !parameters.is_empty() {
        rows.push(("Parameters", parameters.join("; ")));
    }
    for (stage, receipt) in &origin.chain {
        rows.push(("Stands on", format!("{}: {receipt}", printable(stage))));
    }
    for (path, digest) in &origin.sources {
        rows.push(("Source", format!("{} ({digest})", printable(path))));
    }
    blocks.push(Block::Table {
        head: vec!["The ledger says".to_owned(), String::new()],
        rows: rows
            .into_iter()
            .map(|(name, value)| vec![name.to_owned(), value])
            .collect(),
        numbers: false,
    });
    let text = "This is what the receipt says; the card has not verified it. To verify it, give the model's file to madmall verify.";
    blocks.push(Block::Text(text.to_owned()));
    if !origin.notes.is_empty() {
        blocks.push(Block::List(origin.notes.iter().map(|note| printable(note)).collect()));
    }
    blocks
}

fn commit(origin: &Origin) -> String {
    match &origin.commit {
        None => "none".to_owned(),
        Some((commit, true)) => printable(commit),
        Some((commit, false)) => format!("{}, but some files were not as in it", printable(commit)),
    }
}

fn use_and_limits(card: &Card<'_>) -> Vec<Block> {
    let stated = card
        .origin
        .as_ref()
        .and_then(|origin| Some((printable(origin.purpose.as_ref()?), &origin.covered)));
    let intended = match stated {
        None => "What it was trained for is not known. Use it for nothing until that is found out.".to_owned(),
        Some((purpose, covered)) if covered.is_empty() => format!(
            "Trained for {purpose}. Every event that it was trained on came with consent to {purpose}; whether it may be used for anything else is not \
             for this card to say."
        ),
        Some((purpose, covered)) => format!(
            "Trained for {purpose}, on events whose consent covers {purpose} and with it {}.",
            printable(&covered.join(", "))
        ),
    };
    let limits = [
        "It scores events that are valid, come with consent that covers the use, and are prepared as its file says.",
        "Its probabilities are those of a population like the one it was trained on. Elsewhere measure it again before using it.",
        "A coefficient or a contribution is an association with the label beside all other columns, and no cause.",
        "Values far from those it was trained on are extrapolated along a straight line, in silence, unless a range says that they are missing.",
        "It decides nothing. A person who knows the case does, and can see with --explain what a score is made of.",
    ];
    vec![
        heading("Intended use and limits"),
        Block::Text(intended),
        Block::List(limits.map(str::to_owned).to_vec()),
    ]
}

/// What is done to values, where anything is.
fn preparation(card: &Card<'_>) -> Vec<Block> {
    let done: Vec<Vec<String>> = card.preparation.numbers().iter().filter_map(in_words).collect();
    let categories = card.preparation.categories().iter().map(|category| {
        let levels: Vec<String> = category.levels.iter().take(20).map(|level| printable(level)).collect();
        let more = match category.levels.len() {
            0..=20 => String::new(),
            all => format!(" and {} more", all - 20),
        };
        vec![
            printable(category.of.name()),
            format!("a column for each of {}{more}", levels.join(", ")),
        ]
    });
    let products = card.preparation.interactions().iter();
    let products = products.map(|[a, b]| {
        vec![
            printable(&format!("{a}:{b}")),
            "the product of the two columns".to_owned(),
        ]
    });
    let rows: Vec<Vec<String>> = done.into_iter().chain(categories).chain(products).collect();
    let text = "Booleans are 1 and 0. What is missing (absent, null, a text) is 0 where nothing else is said.";
    let mut blocks = vec![heading("How an event is prepared"), Block::Text(text.to_owned())];
    if !rows.is_empty() {
        blocks.push(Block::Table {
            head: vec!["Of the event".to_owned(), "becomes".to_owned()],
            rows,
            numbers: false,
        });
    }
    blocks
}

fn in_words(numeric: &Numeric) -> Option<Vec<String>> {
    let mut parts = Vec::new();
    if let Some(Range(least, most)) = numeric.range {
        parts.push(format!("missing outside {least} to {most}"));
    }
    if numeric.impute != 0.0 {
        parts.push(format!("{} where it is missing", figures::short(numeric.impute)));
    }
    if numeric.indicator {
        parts.push("with a column that says where".to_owned());
    }
    if let Some(scaling) = numeric.scaling {
        let (center, scale) = (figures::short(scaling.center), figures::short(scaling.scale));
        parts.push(format!("less {center}, divided by {scale}"));
    }
    (!parts.is_empty()).then(|| vec![printable(&numeric.key), parts.join("; ")])
}

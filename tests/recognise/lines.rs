//! Lines of JSON, good and spoilt.

/// SplitMix64 (Steele, Lea and Flood, 2014): the same lines each time.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound as u64).expect("less than the bound")
    }

    fn pick<'a>(&mut self, words: &[&'a str]) -> &'a str {
        words[self.below(words.len())]
    }
}

const NUMBERS: [&str; 20] = [
    "0",
    "-0",
    "7",
    "-3",
    "1.5",
    "0.1",
    "1e3",
    "2.5E-2",
    "36.60",
    "9007199254740993",
    "18446744073709551616",
    "1e22",
    "1e23",
    "123456789012345678901234567890",
    "5e-324",
    "1.7976931348623157e308",
    "-0.0",
    "3.0",
    "10",
    "4",
];
const TEXTS: [&str; 14] = [
    "",
    "a",
    "ab",
    "abc",
    "größe",
    "😀",
    "two words",
    r"esc\n",
    r"\u00e4",
    r"\ud83d\ude00",
    "care",
    "research",
    "self",
    "2026-01-05",
];
const KEYS: [&str; 12] = [
    "a",
    "b",
    "c",
    "x",
    "event_id",
    "consent",
    "scope",
    "source",
    "kind",
    "größe",
    "long_key_of_a_feature",
    "n",
];
/// What a mutation puts somewhere.
const PIECES: [&str; 36] = [
    "{",
    "}",
    "[",
    "]",
    "\"",
    ":",
    ",",
    "\\",
    "null",
    "true",
    "false",
    "1e400",
    "NaN",
    "-",
    "0",
    "01",
    ".",
    "e5",
    "\\u0041",
    "\\ud800",
    "\\ude00",
    " ",
    "\t",
    "\r",
    "\u{1}",
    "\u{7f}",
    "ä",
    "\u{feff}",
    "{}",
    "[1]",
    "\"a\":1,",
    "\"event_id\":\"evt-0000009\",",
    "\"\"",
    "99999999999999999999",
    "\\",
    "\u{85}",
];

/// A valid byte event that the quick reader should take.
pub(crate) fn event(random: &mut Random, number: u64) -> String {
    let gap = if random.below(8) == 0 { " " } else { "" };
    let mut features: Vec<String> = Vec::new();
    for key in 0..random.below(24) {
        let value = match random.below(8) {
            0 => "null",
            1 => "true",
            2 => "false",
            3 => "\"w1\"",
            _ => random.pick(&NUMBERS),
        };
        if random.below(16) > 0 {
            features.push(format!("\"f{key}\":{gap}{value}"));
        }
    }
    let source = match random.below(4) {
        0 => r#""pharmacy""#.to_owned(),
        1 => r#"{"kind":"self"}"#.to_owned(),
        2 => r#"{"site_id":"site 7 \"b\"","kind":"mail_kit"}"#.to_owned(),
        _ => r#"{"kind":"event","region":"größe"}"#.to_owned(),
    };
    let label = random.pick(&["", r#""label":null,"#, r#""label":"flare","#, r#""label":"stäble","#]);
    let time = random.pick(&[
        "2026-01-05",
        "2024-02-29T07:12:33Z",
        "2026-12-31T23:59:59.125+05:30",
        "1990-06-30T23:59:60Z",
    ]);
    let scope = random.pick(&["care", "research"]);
    let mut members = [
        format!("\"event_id\":{gap}\"evt-{number:06}\""),
        format!("\"timestamp\":\"{time}\""),
        format!("\"source\":{source}"),
        format!(
            "\"consent\":{gap}{{\"scope\":\"{scope}\",\"revocable\":{}}}",
            random.below(2) == 0
        ),
        format!(
            "\"payload\":{{\"type\":\"lab_marker\",{label}\"features\":{{{}}}}}",
            features.join(",")
        ),
    ];
    if random.below(8) == 0 {
        let (a, b) = (random.below(5), random.below(5));
        members.swap(a, b);
    }
    format!("{{{gap}{}{gap}}}", members.join(&format!("{gap},")))
}

/// Any value, three deep at most.
#[allow(dead_code, reason = "one of those who share this file has no use for it")]
pub(crate) fn value(random: &mut Random, depth: usize) -> String {
    let gap = if random.below(8) == 0 { " " } else { "" };
    match random.below(if depth < 3 { 12 } else { 7 }) {
        0 => "null".to_owned(),
        1 => random.pick(&["true", "false"]).to_owned(),
        2 | 3 => random.pick(&NUMBERS).to_owned(),
        4..7 => format!("\"{}\"", random.pick(&TEXTS)),
        7 | 8 => {
            let items: Vec<String> = (0..random.below(4)).map(|_| value(random, depth + 1)).collect();
            format!("[{gap}{}]", items.join(","))
        }
        _ => {
            let members: Vec<String> = (0..random.below(5))
                .map(|_| format!("\"{}\"{gap}:{}", random.pick(&KEYS), value(random, depth + 1)))
                .collect();
            format!("{{{}{gap}}}", members.join(","))
        }
    }
}

/// Changes `line` somewhere, by a byte or a few.
pub(crate) fn mutate(random: &mut Random, line: &mut Vec<u8>) {
    let at = random.below(line.len() + 1);
    let end = (at + 1 + random.below(6)).min(line.len());
    match random.below(16) {
        0 => line.truncate(at),
        1 => drop(line.drain(at..end)),
        2 => {
            let again = line[at..end].to_vec();
            line.splice(at..at, again);
        }
        3 if at < line.len() => line[at] = random.next().to_le_bytes()[0],
        4 if at < line.len() => line[at] ^= 1 << random.below(8),
        5 | 9..13 => {
            // Another digit: most often as good as the one before.
            if let Some(digit) = line.iter().skip(at).position(u8::is_ascii_digit) {
                line[at + digit] = b"0123456789"[random.below(10)];
            }
        }
        13..15 => {
            if let Some(comma) = line.iter().skip(at).position(|byte| matches!(byte, b',' | b':' | b'}')) {
                line.insert(at + comma + random.below(2), b" \t  \r"[random.below(5)]);
            }
        }
        6 => {
            // A member again, somewhere.
            let members: Vec<usize> = (0..line.len()).filter(|at| line[*at] == b',').collect();
            if let [.., from, to] = members[..] {
                let member = line[from..to].to_vec();
                let place = members[random.below(members.len())];
                line.splice(place..place, member);
            }
        }
        7 if at < line.len() => {
            let piece = random.pick(&PIECES).bytes();
            line.splice(at..end, piece);
        }
        _ => {
            let piece = random.pick(&PIECES).bytes();
            line.splice(at..at, piece);
        }
    }
}

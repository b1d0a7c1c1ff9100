//! Byte events as a clinic network might send them: 519 bytes each on average, the same each time.

use std::io::{self, Write};

use super::random::Random;

/// Name, mean, standard deviation, decimals, and weight in the model that draws the labels.
const NUMBERS: [(&str, f64, f64, usize, f64); 20] = [
    ("hr", 74.0, 11.0, 0, 0.55),
    ("hrv", 48.0, 14.0, 1, -0.70),
    ("spo2", 96.8, 1.4, 1, -0.45),
    ("sbp", 124.0, 15.0, 0, 0.30),
    ("dbp", 79.0, 9.0, 0, 0.10),
    ("rr", 15.5, 2.4, 1, 0.25),
    ("temp", 36.7, 0.4, 2, 0.40),
    ("glu", 108.0, 26.0, 0, 0.35),
    ("bmi", 27.4, 4.8, 1, 0.15),
    ("steps", 5200.0, 1900.0, 0, -0.50),
    ("sleep", 6.8, 1.2, 2, -0.60),
    ("pain", 3.1, 1.9, 0, 0.80),
    ("fatg", 4.0, 2.1, 0, 0.65),
    ("mood", 5.8, 1.8, 0, -0.35),
    ("strs", 4.6, 2.0, 0, 0.45),
    ("crp", 3.2, 1.6, 2, 0.50),
    ("hgb", 12.9, 1.3, 1, -0.20),
    ("egfr", 84.0, 15.0, 0, 0.00),
    ("wbc", 7.1, 1.7, 2, 0.20),
    ("age", 47.0, 13.0, 0, 0.05),
];
const KINDS: [&str; 5] = ["self", "pharmacy", "event", "mobile_unit", "mail_kit"];
const TYPES: [&str; 4] = ["symptom_snapshot", "adherence_ping", "context_ping", "lab_marker"];
const REGIONS: [&str; 5] = ["us-tx", "us-ga", "us-nc", "us-fl", "us-ca"];

impl Random {
    /// In `[0, 1)`.
    fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / 9_007_199_254_740_992.0
    }

    /// Of the normal distribution (Box and Muller, 1958).
    fn normal(&mut self) -> f64 {
        (-2.0 * (1.0 - self.unit()).ln()).sqrt() * (std::f64::consts::TAU * self.unit()).cos()
    }

    fn below(&mut self, bound: u64) -> usize {
        usize::try_from(self.next() % bound).expect("small")
    }

    fn pick<'a>(&mut self, words: &[&'a str]) -> &'a str {
        words[self.below(words.len() as u64)]
    }
}

/// Writes `count` events. The first of more are the same.
pub(crate) fn write(count: u64, to: &mut dyn Write) -> io::Result<()> {
    let mut random = Random(20_260_101);
    for number in 0..count {
        writeln!(to, "{}", event(&mut random, number))?;
    }
    Ok(())
}

fn event(random: &mut Random, number: u64) -> String {
    let mut score = 0.15;
    let mut features = Vec::with_capacity(25);
    for (key, mean, deviation, decimals, weight) in NUMBERS {
        let value = (mean + deviation * random.normal()).abs();
        let text = format!("{value:.decimals$}");
        let value: f64 = text.parse().unwrap_or(0.0);
        let chance = random.unit();
        let is_null = key == "steps" && chance < 0.03;
        if is_null {
            features.push("\"steps\":null".to_owned());
        } else if !(key == "pain" && chance < 0.02) {
            features.push(format!("\"{key}\":{text}"));
            score += weight * (value - mean) / deviation;
        }
    }
    for (key, share, weight) in [("meds", 0.82, -0.9), ("smoke", 0.14, 0.4), ("flag", 0.30, 0.0)] {
        let value = random.unit() < share;
        features.push(format!("\"{key}\":{value}"));
        score += weight * (f64::from(u8::from(value)) - share);
    }
    features.push(format!("\"dev\":\"{}\"", random.pick(&["w1", "w2", "ph", "kit"])));
    features.push(format!("\"loc\":\"{}\"", random.pick(&["home", "work", "clin"])));
    let flares = random.unit() < 1.0 / (1.0 + (-score).exp());
    let label = match (random.unit(), flares) {
        (..0.05, _) => "\"label\":null,",
        (..0.06, _) => "",
        (_, true) => "\"label\":\"flare\",",
        (_, false) => "\"label\":\"stable\",",
    };
    let kind = random.pick(&KINDS);
    let site = match kind {
        "self" => String::new(),
        _ => format!("\"site_id\":\"site-{:04}\",", random.below(400)),
    };
    // A bijection, so that ids never repeat.
    let id = Random(number).next();
    let second = number % 86_400;
    format!(
        "{{\"event_id\":\"evt-{id:016x}\",\"timestamp\":\"2026-01-{:02}T{:02}:{:02}:{:02}.{:03}Z\",\"source\":{{\"kind\":\"{kind}\",{site}\"region\":\"{}\"}},\
         \"consent\":{{\"scope\":\"{}\",\"revocable\":{}}},\"payload\":{{\"type\":\"{}\",{label}\"features\":{{{}}}}}}}",
        1 + number / 86_400 % 28,
        second / 3600,
        second / 60 % 60,
        second % 60,
        number % 1000,
        random.pick(&REGIONS),
        random.pick(&["research", "care", "research"]),
        random.unit() < 0.9,
        random.pick(&TYPES),
        features.join(",")
    )
}

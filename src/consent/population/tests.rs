use super::*;
use crate::consent::map::Membership;
use crate::digest::Sha256;

fn token(number: u32) -> Token {
    Token::from_bytes(*Sha256::of(&number.to_be_bytes()).as_bytes())
}

fn subject(number: u32) -> SubjectToken {
    SubjectToken::from_bytes(*token(number % 7).as_bytes())
}

/// A file of the tokens of the numbers below `count`.
fn written(folder: &Utf8Path, count: u32, form: Form) -> (Utf8PathBuf, Root) {
    let mut tokens: Vec<(Token, u32)> = (0..count).map(|number| (token(number), number)).collect();
    tokens.sort_unstable();
    let path = folder.join("population");
    let mut writer = PopulationWriter::create(&path, form).expect("made");
    for batch in tokens.chunks(300) {
        let record = |(token, number): &(Token, u32)| (*token, (form == Form::WithSubjects).then(|| subject(*number)));
        writer.extend(batch, record).expect("in order");
    }
    let (root, size) = writer.finish().expect("written");
    assert_eq!(size, u64::from(count));
    (path, root)
}

#[test]
fn tokens_are_found_and_shown_to_be_there_or_not() {
    let temp = tempfile::tempdir().expect("a temporary folder");
    let folder = Utf8Path::from_path(temp.path()).expect("UTF-8");
    for form in [Form::Tokens, Form::WithSubjects] {
        for count in [0, 1, 2, 1000] {
            let (path, root) = written(folder, count, form);
            let kept = KeptPopulation::open_file(&path, root).expect("whole");
            for number in 0..count + 50 {
                let token = token(number);
                let is_in = number < count;
                assert_eq!(kept.contains(&token).expect("read"), is_in);
                let shown = kept.path(&token).expect("read").check(&token, kept.size(), &root);
                let expected = if is_in {
                    Membership::Included
                } else {
                    Membership::Absent
                };
                assert_eq!(shown, Ok(expected));
            }
            let mut found = 0;
            kept.each(|_, subject| found += u32::from(subject.is_some() == (form == Form::WithSubjects)))
                .expect("whole");
            assert_eq!(found, count);
            let expected = (count > 3 && form == Form::WithSubjects).then(|| subject(3));
            assert_eq!(kept.subject_of(&token(3)).expect("read"), expected);
        }
    }
}

#[test]
fn no_changed_byte_stays_unseen() {
    let temp = tempfile::tempdir().expect("a temporary folder");
    let folder = Utf8Path::from_path(temp.path()).expect("UTF-8");
    let (path, root) = written(folder, 40, Form::WithSubjects);
    let bytes = std::fs::read(&path).expect("read");
    let changed = folder.join("changed");
    let put = |bytes: &[u8]| crate::store::atomic::write(&changed, bytes).expect("written");
    let whole = |path: &Utf8Path| KeptPopulation::open_file(path, root).and_then(|kept| kept.each(|_, _| ()));
    assert!(whole(&path).is_ok());
    for place in (0..bytes.len()).step_by(3) {
        let mut other = bytes.clone();
        other[place] ^= 4;
        put(&other);
        assert!(whole(&changed).is_err(), "byte {place}");
        // A token that is found, or is not, is so in spite of it.
        if let Ok(kept) = KeptPopulation::open_file(&changed, root) {
            for number in [3, 100] {
                assert_ne!(kept.contains(&token(number)).ok(), Some(number != 3), "byte {place}");
            }
        }
    }
    for length in [0, HEADER, bytes.len() - 1] {
        put(&bytes[..length]);
        assert!(whole(&changed).is_err(), "{length} bytes");
    }
    assert!(KeptPopulation::open_file(&path, Sha256::of(b"another")).is_err());
}

//! Events that come compressed.

use flate2::write::GzEncoder;

use super::*;

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).expect("memory can be written");
    encoder.finish().expect("memory can be written")
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = ::zstd::stream::write::Encoder::new(Vec::new(), 1).expect("an encoder");
    encoder.include_checksum(true).expect("it can");
    encoder.write_all(bytes).expect("memory can be written");
    encoder.finish().expect("memory can be written")
}

/// A zstd frame whose window has `log` bits, with one block of these bytes as they are (RFC 8878, section 3.1.1).
fn frame(log: u8, bytes: &[u8]) -> Vec<u8> {
    let size = u32::try_from(bytes.len()).expect("few") << 3 | 1;
    [
        b"\x28\xb5\x2f\xfd\0".as_slice(),
        &[(log - 10) << 3],
        &size.to_le_bytes()[..3],
        bytes,
    ]
    .concat()
}

fn space(bytes: &[u8]) -> Space {
    let space = Space::new("");
    space.write("in.ndjson", bytes);
    space
}

/// Everything that can be seen of what the stage did.
fn seen(space: &Space) -> (Vec<String>, String) {
    let ended = space.run();
    match ended.result {
        Ok(()) => (space.outputs.iter().map(|name| space.output(name)).collect(), ended.log),
        Err(StageError::Refused(refusal)) => (vec![refusal.summary], refusal.details.join("\n")),
        Err(other) => panic!("{other:?}"),
    }
}

/// The forms of `bytes`: in one piece, and in two that are cut anywhere.
fn forms(bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut forms = Vec::new();
    for pack in [gzip, zstd] {
        forms.push(pack(bytes));
        for cut in [0, 1, bytes.len() / 2, bytes.len() - 1] {
            let (first, second) = bytes.split_at(cut);
            forms.push([pack(first), pack(second)].concat());
        }
    }
    forms
}

#[test]
fn what_is_in_a_compressed_file_is_read_as_if_it_were_not() {
    let long = (0..9000).map(|number| event(&format!("evt-{number:06}"), "research"));
    let long =
        three() + &long.collect::<String>() + "\n" + &event("evt-000007", "care") + &event("evt-000008", "research");
    for text in [three(), three() + "{}\n\n" + &three(), long] {
        let plain = seen(&space(text.as_bytes()).quarantine());
        let refused = seen(&space(text.as_bytes()));
        for bytes in forms(text.as_bytes()) {
            assert_eq!(seen(&space(&bytes).quarantine()), plain);
            assert!(space(&bytes).run().passed_on.is_empty());
            assert_eq!(seen(&space(&bytes)), refused);
        }
    }
}

#[test]
fn a_compressed_file_that_is_cut_off_or_goes_on_is_refused_by_name_and_place() {
    let text = event("evt-000001", "research");
    for (pack, format) in [(gzip as fn(&[u8]) -> Vec<u8>, "gzip"), (zstd, "zstd")] {
        let whole = pack(text.as_bytes());
        assert_eq!(space(&whole).accepted(), text);
        for end in 4..whole.len() {
            let summary = space(&whole[..end]).refusal().summary;
            let expected =
                format!("`data/in.ndjson` is no whole {format} file: it ends too soon, at byte {end} of it (after ");
            assert!(summary.starts_with(&expected), "{end}: {summary}");
        }
        for more in ["x", "\0", "\n{}", "\u{1f}"] {
            let summary = space(&[&whole, more.as_bytes()].concat()).refusal().summary;
            assert!(
                summary.contains(&format!("no whole {format} file: ")),
                "{more:?}: {summary}"
            );
        }
        // What has lost a byte's worth of sense is never other events.
        for place in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[place] ^= 0x10;
            let space = space(&damaged);
            if space.run().result.is_ok() {
                assert_eq!(space.output("events"), text, "{place}");
            }
        }
    }
}

#[test]
fn a_file_that_unpacks_without_end_or_wants_much_memory_is_refused() {
    let zeroes = zstd(&vec![0; 160 << 20]);
    assert!(zeroes.len() < 64 << 10);
    let summary = space(&zeroes).refusal().summary;
    assert!(summary.contains("more than 1,000 times as long"), "{summary}");

    let text = event("evt-000001", "research");
    assert_eq!(space(&frame(27, text.as_bytes())).accepted(), text);
    let summary = space(&frame(28, text.as_bytes())).refusal().summary;
    assert!(summary.contains("no whole zstd file"), "{summary}");
}

#[test]
fn the_name_of_a_file_says_nothing() {
    let text = event("evt-000001", "research");
    for bytes in [text.clone().into_bytes(), gzip(text.as_bytes()), zstd(text.as_bytes())] {
        for name in ["in.ndjson", "in.ndjson.gz", "in.ndjson.zst"] {
            let mut space = Space::new("");
            space.write(name, &bytes);
            space.events = vec![name];
            assert_eq!(space.accepted(), text);
        }
    }
}

#[test]
fn a_compressed_file_with_other_bytes_than_the_action_has_is_no_input() {
    let bytes = gzip(event("evt-000001", "research").as_bytes());
    let space = space(&bytes);
    let run = |digest| space.run_on(&AtomicBool::new(false), &[digest]).result;
    run(Digest::of(&bytes)).expect("they are the bytes");
    assert!(matches!(
        run(Digest::of(b"other")),
        Err(StageError::InputChanged { .. })
    ));
}

use proptest::prelude::*;

use super::*;

/// The same by the words of the format alone: all tokens below a place, split by their bits.
fn naive(tokens: &[Token], depth: usize) -> Option<Hash> {
    match tokens {
        [] => None,
        [one] => {
            let mut bytes = vec![0];
            bytes.extend(one.as_bytes());
            Some(*Sha256::of(&bytes).as_bytes())
        }
        _ => {
            let is_right = |token: &&Token| token.as_bytes()[depth / 8] & (0x80 >> (depth % 8)) != 0;
            let (right, left): (Vec<_>, Vec<_>) = tokens.iter().partition(is_right);
            let mut bytes = Vec::new();
            match (naive(&left, depth + 1), naive(&right, depth + 1)) {
                (Some(left), Some(right)) => {
                    bytes.push(1);
                    bytes.extend(left);
                    bytes.extend(right);
                }
                (Some(left), None) => {
                    bytes.push(2);
                    bytes.extend(left);
                }
                (None, Some(right)) => {
                    bytes.push(3);
                    bytes.extend(right);
                }
                (None, None) => unreachable!("there are tokens"),
            }
            Some(*Sha256::of(&bytes).as_bytes())
        }
    }
}

fn naive_root(tokens: &[Token]) -> Root {
    let mut bytes = b"\x04madmall population v1\0".to_vec();
    bytes.extend((tokens.len() as u64).to_be_bytes());
    bytes.extend(naive(tokens, 0).into_iter().flatten());
    Sha256::of(&bytes)
}

fn token(number: u64) -> Token {
    Token::from_bytes(*Sha256::of(&number.to_be_bytes()).as_bytes())
}

/// In order, each once.
fn set(tokens: impl IntoIterator<Item = Token>) -> Vec<Token> {
    let set: std::collections::BTreeSet<Token> = tokens.into_iter().collect();
    set.into_iter().collect()
}

/// Tokens that share bits: all zero but a few bytes.
fn crowded() -> impl Strategy<Value = Vec<Token>> {
    let one = (0..32_usize, any::<u8>(), 0..32_usize, 0..3_u8).prop_map(|(at, value, other, small)| {
        let mut bytes = [0; 32];
        bytes[at] = value;
        bytes[other] = small;
        Token::from_bytes(bytes)
    });
    prop::collection::vec(one, 0..12).prop_map(set)
}

fn path(map: &Map, tokens: &[Token], token: &Token) -> Path {
    let alike = tokens.iter().filter(|other| first_byte(other) == first_byte(token));
    map.path(token, alike.copied())
}

fn streamed(tokens: &[Token]) -> Map {
    let mut builder = MapBuilder::default();
    for token in tokens {
        builder.push(*token).expect("in order");
    }
    builder.finish()
}

fn in_batches(tokens: &[Token], cuts: &[prop::sample::Index]) -> Map {
    let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(tokens.len() + 1)).collect();
    cuts.extend([0, tokens.len()]);
    cuts.sort_unstable();
    let mut builder = MapBuilder::default();
    for pair in cuts.windows(2) {
        let batch = &tokens[pair[0]..pair[1]];
        builder.extend(batch, |token| *token).expect("in order");
    }
    builder.finish()
}

proptest! {
    #[test]
    fn maps_are_those_of_the_naive_model(
        tokens in crowded(),
        others in crowded(),
        size in 0..40_u64,
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..3),
    ) {
        for tokens in [tokens, set((0..size).map(token))] {
            let map = Map::of(&tokens).expect("in order");
            prop_assert_eq!(map.root(), naive_root(&tokens));
            prop_assert_eq!(&streamed(&tokens), &map);
            prop_assert_eq!(&in_batches(&tokens, &cuts), &map);
            for asked in tokens.iter().chain(&others) {
                let path = path(&map, &tokens, asked);
                let shown = path.check(asked, map.size(), &map.root());
                let expected = if tokens.contains(asked) { Membership::Included } else { Membership::Absent };
                prop_assert_eq!(shown, Ok(expected));
            }
        }
    }

    #[test]
    fn no_other_path_holds(tokens in crowded(), asked in crowded(), at in any::<prop::sample::Index>(), bit in 0..8_u8) {
        let map = Map::of(&tokens).expect("in order");
        let (size, root) = (map.size(), map.root());
        for asked in tokens.iter().chain(&asked) {
            let path = path(&map, &tokens, asked);
            let refused = |path: &Path| path.check(asked, size, &root).is_err();
            let mut longer = path.clone();
            longer.siblings.push(None);
            prop_assert!(refused(&longer));
            longer.siblings.insert(0, Some([0; 32]));
            prop_assert!(refused(&longer));
            for end in [End::Itself, End::Nothing, End::Other(*asked), End::Other(token(1))] {
                let other = Path { end, ..path.clone() };
                prop_assert!(other == path || refused(&other));
            }
            if !path.siblings.is_empty() {
                let place = at.index(path.siblings.len());
                let mut other = path.clone();
                other.siblings[place] = other.siblings[place].map_or(Some([7; 32]), |mut hash| {
                    hash[usize::from(bit) * 4] ^= 1 << bit;
                    Some(hash)
                });
                prop_assert!(refused(&other));
                other.siblings.truncate(place);
                prop_assert!(refused(&other));
            }
            prop_assert!(path.check(asked, size + 1, &root).is_err());
            prop_assert!(path.check(asked, size, &Sha256::of(b"another")).is_err());
        }
    }
}

#[test]
fn ten_thousand_proofs_hold_and_none_of_another_token_or_root_does() {
    let tokens = set((0..700).map(token));
    let map = Map::of(&tokens).expect("in order");
    let (size, root) = (map.size(), map.root());
    let without = Map::of(&tokens[1..]).expect("in order").root();
    for number in 0..10_000 {
        let asked = token(number % 1400);
        let path = path(&map, &tokens, &asked);
        let expected = match number % 1400 < 700 {
            true => Membership::Included,
            false => Membership::Absent,
        };
        assert_eq!(path.check(&asked, size, &root), Ok(expected));
        let mut bytes = *asked.as_bytes();
        // A bit of the token by which the path is decided; what is absent stays so by the same path if its later bits are others.
        let depth = usize::try_from(number).expect("small") % path.siblings.len().max(1);
        bytes[depth / 8] ^= 0x80 >> (depth % 8);
        assert!(path.check(&Token::from_bytes(bytes), size, &root).is_err());
        assert_eq!(path.check(&asked, size, &without), Err(ProofError::Root));
    }
}

#[test]
fn every_flipped_bit_of_a_path_is_refused() {
    let tokens = set((0..300).map(token));
    let map = Map::of(&tokens).expect("in order");
    for number in [3, 299, 1000, 1003] {
        let asked = token(number);
        let path = path(&map, &tokens, &asked);
        let hashes = path
            .siblings
            .iter()
            .enumerate()
            .filter_map(|(at, hash)| Some((at, (*hash)?)));
        for (at, hash) in hashes {
            for bit in 0..256 {
                let mut other = path.clone();
                let mut hash = hash;
                hash[bit / 8] ^= 1 << (bit % 8);
                other.siblings[at] = Some(hash);
                assert_eq!(other.check(&asked, map.size(), &map.root()), Err(ProofError::Root));
            }
        }
        for bit in 0..256 {
            let mut root = *map.root().as_bytes();
            root[bit / 8] ^= 1 << (bit % 8);
            assert!(path.check(&asked, map.size(), &Root::from_bytes(root)).is_err());
        }
    }
}

#[test]
fn what_is_not_in_order_has_no_root() {
    for tokens in [
        [token(1), token(1)],
        [Token::from_bytes([9; 32]), Token::from_bytes([8; 32])],
    ] {
        assert_eq!(Map::of(&tokens), Err(OutOfOrder));
        let mut builder = MapBuilder::default();
        builder.push(tokens[0]).expect("the first");
        assert_eq!(builder.push(tokens[1]), Err(OutOfOrder));
        assert_eq!(builder.extend(&tokens[1..], |token| *token), Err(OutOfOrder));
    }
    let mut tokens: Vec<Token> = (0..20).map(token).collect();
    tokens.sort_unstable();
    let mut builder = MapBuilder::default();
    builder.extend(&tokens[10..], |token| *token).expect("in order");
    assert_eq!(builder.extend(&tokens[..10], |token| *token), Err(OutOfOrder));
    tokens.swap(9, 10);
    assert_eq!(Map::of(&tokens), Err(OutOfOrder));
}

#[test]
fn two_tokens_that_differ_in_their_last_bit_are_at_the_deepest_place() {
    let mut last = [0xff; 32];
    last[31] = 0xfe;
    let tokens = [Token::from_bytes(last), Token::from_bytes([0xff; 32])];
    let map = Map::of(&tokens).expect("in order");
    assert_eq!(map.root(), naive_root(&tokens));
    let path = path(&map, &tokens, &tokens[0]);
    assert_eq!(path.siblings.len(), MAX_DEPTH);
    assert_eq!(path.check(&tokens[0], 2, &map.root()), Ok(Membership::Included));
}

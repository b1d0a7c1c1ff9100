#!/usr/bin/env python3
"""The tokens and maps of docs/formats/population.md, written anew from that page, with nothing but Python's own library.

`population_reference.py` prints the test vectors of `tests/golden/population-v1.json`; `population_reference.py check FILE` checks
that every root and proof in such a file is right, and that no proof is right after a change.
"""

import hashlib
import hmac
import json
import sys


def sha256(data):
    return hashlib.sha256(data).digest()


def mac(key, text):
    return hmac.new(key, text, hashlib.sha256).digest()


def of_event(secret, name):
    key = mac(secret, b"madmall token key v1" + name.encode())
    return key, mac(key, b"madmall token v1" + name.encode())


def of_subject(secret, name):
    key = mac(secret, b"madmall subject key v1" + name.encode())
    return mac(key, b"madmall subject v1" + name.encode())


def bit(token, depth):
    return token[depth // 8] >> (7 - depth % 8) & 1


def above(left, right):
    if left is None and right is None:
        return None
    if right is None:
        return sha256(b"\x02" + left)
    if left is None:
        return sha256(b"\x03" + right)
    return sha256(b"\x01" + left + right)


def node(tokens, depth=0):
    """What is at a place, of all tokens below it."""
    if len(tokens) <= 1:
        return sha256(b"\0" + tokens[0]) if tokens else None
    sides = [[token for token in tokens if bit(token, depth) == side] for side in (0, 1)]
    return above(node(sides[0], depth + 1), node(sides[1], depth + 1))


def finish(size, top):
    return sha256(b"\x04madmall population v1\0" + size.to_bytes(8, "big") + (top or b""))


def root(tokens):
    return finish(len(tokens), node(tokens))


def prove(tokens, token):
    siblings, below, depth = [], tokens, 0
    while len(below) > 1:
        sides = [[other for other in below if bit(other, depth) == side] for side in (0, 1)]
        side = bit(token, depth)
        siblings.append(node(sides[1 - side], depth + 1))
        below, depth = sides[side], depth + 1
    proof = {"membership": "included" if below == [token] else "absent"}
    if below and below != [token]:
        proof["other"] = below[0].hex()
    proof["siblings"] = [sibling and sibling.hex() for sibling in siblings]
    return proof


def check(proof, token, size, expected):
    siblings = [sibling and bytes.fromhex(sibling) for sibling in proof["siblings"]]
    if proof["membership"] == "included":
        below = sha256(b"\0" + token)
    elif "other" in proof:
        other = bytes.fromhex(proof["other"])
        if other == token or any(bit(other, depth) != bit(token, depth) for depth in range(len(siblings))):
            return False
        below = sha256(b"\0" + other)
    else:
        below = None
    if siblings:
        if siblings[-1] is None or len(siblings) > 256 or size <= sum(sibling is not None for sibling in siblings):
            return False
    elif size != (0 if below is None else 1):
        return False
    for depth in reversed(range(len(siblings))):
        below = above(siblings[depth], below) if bit(token, depth) else above(below, siblings[depth])
    return finish(size, below) == expected


def vectors():
    secret = bytes(range(32))
    names = ["evt-0001", "evt-0002", "é", "x" * 100]
    many = sorted(of_event(secret, f"evt-{number:04}")[1] for number in range(40))
    alike = [bytes(31) + b"\0", bytes(31) + b"\1"]
    sets = [("empty", []), ("one", many[:1]), ("alike to the last bit", alike), ("many", many)]
    asked = [many[0], many[25], of_event(secret, "evt-9999")[1], of_event(secret, "nobody")[1], alike[0], alike[1][:-1] + b"\2"]
    return {
        "secret": secret.hex(),
        "secretId": sha256(b"madmall consent secret v1\0" + secret).hex(),
        "ids": [
            {"id": name, "key": key.hex(), "token": token.hex(), "subject": of_subject(secret, name).hex()}
            for name in names
            for key, token in [of_event(secret, name)]
        ],
        "sets": [
            {
                "name": name,
                "tokens": [token.hex() for token in tokens],
                "root": root(tokens).hex(),
                "proofs": [{"token": token.hex(), **prove(tokens, token)} for token in asked],
            }
            for name, tokens in sets
        ],
    }


def changed(proof):
    """The proof with one of its hashes changed, one at a time, and with one more or less."""
    siblings = proof["siblings"]
    for place, sibling in enumerate(siblings):
        other = "00" * 32 if sibling is None else ("0" if sibling[0] != "0" else "1") + sibling[1:]
        yield {**proof, "siblings": siblings[:place] + [other] + siblings[place + 1 :]}
    yield {**proof, "siblings": siblings + [None]}
    if siblings:
        yield {**proof, "siblings": siblings[:-1]}


def check_file(path):
    with open(path, encoding="utf-8") as file:
        found = json.load(file)
    secret = bytes.fromhex(found["secret"])
    count = 0
    for entry in found["ids"]:
        key, token = of_event(secret, entry["id"])
        assert (key.hex(), token.hex(), of_subject(secret, entry["id"]).hex()) == (entry["key"], entry["token"], entry["subject"])
    for entry in found["sets"]:
        tokens = [bytes.fromhex(token) for token in entry["tokens"]]
        assert tokens == sorted(set(tokens)) and root(tokens).hex() == entry["root"], entry["name"]
        for proof in entry["proofs"]:
            token, expected = bytes.fromhex(proof["token"]), bytes.fromhex(entry["root"])
            assert check(proof, token, len(tokens), expected), (entry["name"], proof)
            assert (proof["membership"] == "included") == (token in tokens)
            assert not any(check(other, token, len(tokens), expected) for other in changed(proof)), (entry["name"], proof)
            assert not check(proof, token, len(tokens), sha256(expected)) and not check(proof, token, len(tokens) + 1, expected)
            count += 1
    print(f"{len(found['sets'])} sets and {count} proofs are right, and none with a change is")


if __name__ == "__main__":
    if sys.argv[1:2] == ["check"]:
        check_file(sys.argv[2])
    else:
        print(json.dumps(vectors(), indent=1, ensure_ascii=False))

#!/usr/bin/env python3
"""`pymerkle` judges logs: `logs.py PUBLIC_KEY_HEX LOG_FOLDER...`

The entries are read from their bundles (C2SP tlog-tiles); of every checkpoint (C2SP signed note) the root is computed again from
them, and inclusion and consistency are proven against the roots that were signed.
"""

import base64
import hashlib
import struct
import sys
from importlib.metadata import version
from pathlib import Path

import nacl.signing
from pymerkle import InmemoryTree, verify_consistency, verify_inclusion
from pymerkle.hasher import MerkleHasher

from verdicts import Verdicts, flipped

PYMERKLE = f"pymerkle {version('pymerkle')}"
NOTE = f"PyNaCl {version('PyNaCl')}"
WIDTH = 256
HASHER = MerkleHasher("sha256")


class Checkpoint:
    """Origin, size, root, extension lines; an empty line; one signature."""

    def __init__(self, path):
        text, _, signatures = path.read_text().partition("\n\n")
        self.text = (text + "\n").encode()
        self.origin, size, root = text.split("\n")[:3]
        self.size, self.root = int(size), base64.b64decode(root, validate=True)
        dash, self.signer, blob = signatures.rstrip("\n").split(" ")
        assert dash == "—" and path.name == f"checkpoint-{size}", path
        blob = base64.b64decode(blob, validate=True)
        self.hint, self.signature = blob[:4], blob[4:]

    def verify(self, public, text=None):
        key = hashlib.sha256(self.signer.encode() + b"\n\x01" + public).digest()
        assert self.hint == key[:4] and self.signer == self.origin
        nacl.signing.VerifyKey(public).verify(self.text if text is None else text, self.signature)


def numbered(index):
    """C2SP tlog-tiles: groups of three digits, all but the last with an `x` before them."""
    name = f"{index % 1000:03}"
    while index >= 1000:
        index //= 1000
        name = f"x{index % 1000:03}/{name}"
    return name


def tile(folder, level, index, width):
    """The bytes of a tile of that width, or of a wider one."""
    full = folder / "tile" / str(level) / numbered(index)
    found = [(WIDTH, full)] if full.is_file() else []
    partial = full.with_name(full.name + ".p")
    found += [(int(file.name), file) for file in partial.glob("*")]
    wide = [(other, file) for other, file in found if other >= width]
    assert wide, f"{full} of width {width} is missing"
    return min(wide)[1].read_bytes()


def entries(folder, size):
    """Each entry has its length before it, 16 bits, big-endian."""
    found = []
    for index in range((size + WIDTH - 1) // WIDTH):
        width = min(WIDTH, size - index * WIDTH)
        bundle, at = tile(folder, "entries", index, width), 0
        for _ in range(width):
            (length,) = struct.unpack_from(">H", bundle, at)
            found.append(bundle[at + 2 : at + 2 + length])
            at += 2 + length
    assert len(found) == size
    return found


def tree_of(leaves):
    tree = InmemoryTree(algorithm="sha256")
    assert (tree.leaf_prefix, tree.node_prefix) == (b"\x00", b"\x01"), "not RFC 6962"
    tree.append_entries(leaves)
    return tree


def require(holds, message):
    if not holds:
        raise ValueError(message)


def compare_tiles(folder, tree, size):
    """Every tile of hashes, at every level, is what pymerkle's hashes of the entries give."""
    hashes, level = [tree.get_leaf(index + 1) for index in range(size)], 0
    while hashes:
        for start in range(0, len(hashes), WIDTH):
            part = hashes[start : start + WIDTH]
            bytes_there = tile(folder, level, start // WIDTH, len(part))
            require(bytes_there[: 32 * len(part)] == b"".join(part), f"tile {level}/{start // WIDTH}")
        whole = [hashes[start : start + WIDTH] for start in range(0, len(hashes) - WIDTH + 1, WIDTH)]
        hashes, level = [top(part) for part in whole], level + 1


def top(hashes):
    while len(hashes) > 1:
        hashes = [HASHER.hash_pair(*hashes[at : at + 2]) for at in range(0, len(hashes), 2)]
    return hashes[0]


def judge(verdicts, public, folder):
    files = sorted(folder.glob("checkpoint-*"), key=lambda path: int(path.name.split("-")[1]))
    checkpoints = [Checkpoint(path) for path in files]
    last = checkpoints[-1]
    where = f"the log {folder} of size {last.size}"
    leaves = entries(folder, last.size)
    tree = tree_of(leaves)

    def root(tree, size, expected):
        require(tree.get_root(size) == expected, f"the root is {tree.get_root(size).hex()}")

    for checkpoint in checkpoints:
        verdicts.accepts(NOTE + ", notes of checkpoints", where, checkpoint.verify, public)
        damaged = flipped(checkpoint.text, len(checkpoint.text) // 2)
        verdicts.refuses(NOTE + ", notes of checkpoints", f"a changed checkpoint of {where}", checkpoint.verify, public, damaged)
        verdicts.accepts(PYMERKLE + ", roots", where, root, tree, checkpoint.size, checkpoint.root)
        verdicts.refuses(PYMERKLE + ", roots", f"a changed root of {where}", root, tree, checkpoint.size, flipped(checkpoint.root, 9))
    verdicts.accepts(PYMERKLE + ", tiles", where, compare_tiles, folder, tree, last.size)
    middle = last.size // 2
    other = tree_of([*leaves[:middle], flipped(leaves[middle], 40), *leaves[middle + 1 :]])
    verdicts.refuses(PYMERKLE + ", roots", f"a changed entry of {where}", root, other, last.size, last.root)
    verdicts.refuses(PYMERKLE + ", tiles", f"a changed entry of {where}", compare_tiles, folder, other, last.size)
    judge_proofs(verdicts, tree, leaves, checkpoints, where)
    return last.size


def judge_proofs(verdicts, tree, leaves, checkpoints, where):
    last = checkpoints[-1]
    size, root = last.size, last.root
    for index in sorted({0, size // 2, size - 1}):
        proof = tree.prove_inclusion(index + 1)
        named = {"index": index + 1, "size": size, "algorithm": "sha256"}

        def inclusion(entry, root):
            verify_inclusion(HASHER.hash_buff(entry), root, proof, **named)

        tool, what = PYMERKLE + ", inclusion", f"entry {index} of {where}"
        verdicts.accepts(tool, what, inclusion, leaves[index], root)
        verdicts.refuses(tool, f"{what} after a flipped byte", inclusion, flipped(leaves[index], 50), root)
        verdicts.refuses(tool, f"{what} against a flipped root", inclusion, leaves[index], flipped(root, 31))
    for before in checkpoints[:-1]:
        proof = tree.prove_consistency(before.size, size)
        named = {"prior_size": before.size, "later_size": size, "algorithm": "sha256"}

        def consistency(prior, later):
            verify_consistency(prior, later, proof, **named)

        tool, what = PYMERKLE + ", consistency", f"size {before.size} of {where}"
        verdicts.accepts(tool, what, consistency, before.root, root)
        verdicts.refuses(tool, f"{what} after a flipped byte", consistency, flipped(before.root, 0), root)
        verdicts.refuses(tool, f"{what} against a flipped root", consistency, before.root, flipped(root, 0))


def main(public_hex, *folders):
    verdicts, public = Verdicts(), bytes.fromhex(public_hex)
    sizes = [judge(verdicts, public, Path(folder)) for folder in folders]
    print(f"{len(folders)} logs, of {', '.join(str(size) for size in sizes)} entries")
    verdicts.table()


if __name__ == "__main__":
    main(*sys.argv[1:])

#!/usr/bin/env python3
"""Foreign tools judge receipts: `receipts.py PUBLIC_KEY_HEX PUBLIC_KEY.pem RUN_FILE...`

Every line of every file is judged, as it is and with bytes flipped.
"""

import base64
import json
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

import in_toto_attestation.predicates.provenance.v1.provenance_pb2 as provenance_pb2
import in_toto_attestation.v1.statement_pb2 as statement_pb2
import nacl.signing
from google.protobuf.json_format import MessageToDict, ParseDict
from in_toto_attestation.v1.resource_descriptor import ResourceDescriptor
from in_toto_attestation.v1.statement import Statement
from securesystemslib.dsse import Envelope
from securesystemslib.signer import SSlibKey
from securesystemslib.signer._utils import compute_default_keyid

from verdicts import Verdicts, flipped


def encode(data):
    return base64.b64encode(data).decode()


def decode(text):
    return base64.b64decode(text, validate=True)


def encoding(envelope):
    """DSSE's pre-authentication encoding."""
    payload, kind = decode(envelope["payload"]), envelope["payloadType"].encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)


def signature(envelope):
    (one,) = envelope["signatures"]
    return decode(one["sig"])


class Signer:
    """One plain public key, in the hands of three programs."""

    def __init__(self, public_hex, pem):
        self.public_hex, self.pem = public_hex, pem
        key = {"keytype": "ed25519", "scheme": "ed25519", "keyval": {"public": public_hex}}
        self.keyid = compute_default_keyid(key["keytype"], key["scheme"], key["keyval"])
        self.sslib = SSlibKey.from_dict(self.keyid, key)
        self.nacl = nacl.signing.VerifyKey(bytes.fromhex(public_hex))

    def securesystemslib(self, envelope):
        # It spells the signature anew in what it is given.
        verified = Envelope.from_dict(json.loads(json.dumps(envelope))).verify([self.sslib], 1)
        assert list(verified) == [self.keyid]

    def openssl(self, envelope):
        with tempfile.TemporaryDirectory() as folder:
            signed, sig = Path(folder, "signed"), Path(folder, "signature")
            signed.write_bytes(encoding(envelope))
            sig.write_bytes(signature(envelope))
            command = ["openssl", "pkeyutl", "-verify", "-pubin", "-inkey", self.pem, "-rawin"]
            done = subprocess.run([*command, "-in", signed, "-sigfile", sig], capture_output=True, text=True)
            # 1 is "does not verify"; anything else is a command that did not work, and no verdict.
            if done.returncode not in (0, 1) or "Signature Verif" not in done.stdout:
                sys.exit(f"openssl does not work: {done}")
            assert done.returncode == 0, done.stdout

    def pynacl(self, envelope):
        self.nacl.verify(encoding(envelope), signature(envelope))


def in_toto(payload):
    """The statement and its predicate as protobufs, without a field that they do not know, and nothing lost."""
    document = json.loads(payload)
    statement = ParseDict(document, statement_pb2.Statement(), ignore_unknown_fields=False)
    Statement.copy_from_pb(statement).validate()
    assert MessageToDict(statement) == document, "the statement is another one as a protobuf"
    assert document["predicateType"] == "https://slsa.dev/provenance/v1"
    predicate = ParseDict(document["predicate"], provenance_pb2.Provenance(), ignore_unknown_fields=False)
    for dependency in predicate.build_definition.resolved_dependencies:
        ResourceDescriptor.copy_from_pb(dependency).validate()
    assert MessageToDict(predicate) == document["predicate"], "the predicate is another one as a protobuf"


# Names of fields that are protobuf fields: with one letter changed they are unknown ones.
FIELDS = [b"subject", b"predicate", b"buildDefinition", b"runDetails", b"resolvedDependencies", b"externalParameters",
          b"internalParameters", b"metadata", b"invocationId", b"builder", b"digest", b"annotations"]


def judge(verdicts, signer, envelope, where):
    assert envelope["signatures"][0]["keyid"] == signer.keyid, f"{where}: securesystemslib calls the key {signer.keyid}"
    payload, sig = decode(envelope["payload"]), signature(envelope)

    def with_payload(changed):
        return {**envelope, "payload": encode(changed)}

    def with_signature(changed):
        return {**envelope, "signatures": [{**envelope["signatures"][0], "sig": encode(changed)}]}

    damaged = [(f"{where} with byte {at} of the payload flipped", with_payload(flipped(payload, at)))
               for at in (0, len(payload) // 2, len(payload) - 1)]
    damaged += [(f"{where} with byte {at} of the signature flipped", with_signature(flipped(sig, at))) for at in (0, 32, 63)]
    damaged += [(f"{where} as another type", {**envelope, "payloadType": "application/vnd.in-toto+jsoo"})]
    judges = {
        f"securesystemslib {version('securesystemslib')}, DSSE and keyid": signer.securesystemslib,
        f"{openssl_version()}, pkeyutl": signer.openssl,
        f"PyNaCl {version('PyNaCl')}": signer.pynacl,
    }
    for tool, verify in judges.items():
        verdicts.accepts(tool, where, verify, envelope)
        for what, changed in damaged:
            verdicts.refuses(tool, what, verify, changed)
    tool = f"in-toto-attestation {version('in-toto-attestation')} (protobuf {version('protobuf')})"
    verdicts.accepts(tool, where, in_toto, payload)
    for field in FIELDS:
        # The last of that name: a parameter of a stage may be called the same, and means nothing to a protobuf.
        at = payload.rindex(b'"%b":' % field) + 1
        verdicts.refuses(tool, f"{where} with byte {at} flipped, in `{field.decode()}`", in_toto, flipped(payload, at))
    at = payload.index(b"https://in-toto.io/Statement/v1")
    verdicts.refuses(tool, f"{where} with another `_type`", in_toto, flipped(payload, at))


def openssl_version():
    global OPENSSL
    if OPENSSL is None:
        OPENSSL = " ".join(subprocess.check_output(["openssl", "version"], text=True).split()[:2])
    return OPENSSL


OPENSSL = None


def main(public_hex, pem, *files):
    verdicts, signer, kinds = Verdicts(), Signer(public_hex, pem), set()
    lines = 0
    for file in files:
        for number, line in enumerate(Path(file).read_text().splitlines(), 1):
            envelope = json.loads(line)
            judge(verdicts, signer, envelope, f"{file}, line {number}")
            definition = json.loads(decode(envelope["payload"]))["predicate"]["buildDefinition"]
            kinds.add((definition["buildType"], str(definition["internalParameters"]["madmall"]["outcome"])))
            lines += 1
    print(f"{lines} receipts in {len(files)} files, key {signer.keyid[:8]}: {', '.join(' '.join(k) for k in sorted(kinds))}")
    verdicts.table()


if __name__ == "__main__":
    main(*sys.argv[1:])

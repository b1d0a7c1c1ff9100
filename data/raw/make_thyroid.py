#!/usr/bin/env python3
"""Makes `thyroid.ndjson` and `../revocations.ndjson` from the thyroid disease records. Standard library only.

    python3 data/raw/make_thyroid.py thyroidDF.csv

The records: Ross Quinlan, "Thyroid Disease", UCI Machine Learning Repository, data set 102, doi:10.24432/C5D010,
CC BY 4.0. `thyroidDF.csv` is the CSV edition of its file `thyroid0387.data` that circulates under that name; the
one read here has 804,137 bytes and the SHA-256 below, and another one is refused.

The same CSV gives the same bytes on every machine. What no record holds (consent, kind and region of the source, time
of day, revocations) is assigned from the SHA-256 of the record identifier, so that nothing depends on the order of the
rows. `../README.md` lists which fields are real and which are assigned.
"""

import csv
import datetime
import hashlib
import io
import json
import pathlib
import re
import sys

CSV_SHA256 = "7dcd66ec953ee16992aeb5116e1d565875ce8a71840c5cec5f031bc4f71c7dc4"
MEASURED = ["TSH", "T3", "TT4", "T4U", "FTI", "TBG"]
FLAGS = [
    "on_thyroxine", "query_on_thyroxine", "on_antithyroid_meds", "sick", "pregnant", "thyroid_surgery",
    "I131_treatment", "query_hypothyroid", "query_hyperthyroid", "lithium", "goitre", "tumor", "hypopituitary", "psych",
]
KINDS = ["self", "pharmacy", "event", "mobile_unit", "mail_kit"]
REGIONS = ["region-a", "region-b", "region-c", "region-d"]
NUMBER = re.compile(r"(0|[1-9][0-9]*)(\.[0-9]+)?\Z")


def number(text):
    """The cell's own digits, which must be a JSON number as they are."""
    if not NUMBER.match(text):
        raise SystemExit(f"not a plain decimal number: {text!r}")
    return text


def boolean(text):
    return {"t": "true", "f": "false"}[text]


def features(row):
    """JSON members in the order of the CSV's columns. A missing cell gives no member."""
    members = [("age", number(row["age"]))]
    if row["sex"]:
        members.append(("sex", json.dumps(row["sex"])))
        members.append(("male", {"M": "true", "F": "false"}[row["sex"]]))
    members += [(key, boolean(row[key])) for key in FLAGS]
    for key in MEASURED:
        members.append((f"{key}_measured", boolean(row[f"{key}_measured"])))
        if row[key]:
            members.append((key, number(row[key])))
    return ",".join(f'"{key}":{value}' for key, value in members)


def label(codes):
    """`hyperthyroid` if the first comment code is A to D, `negative` for no comment, null for every other comment."""
    if codes == "-":
        return '"negative"'
    return '"hyperthyroid"' if codes[0] in "ABCD" else "null"


class Assigned:
    """What the record does not hold: a fixed function of its identifier."""

    def __init__(self, record):
        draw = hashlib.sha256(f"madmall thyroid {record}".encode()).digest()
        self.scope = "care" if draw[0] < 38 else "research"  # about 15 % care
        self.revocable = draw[1] >= 13  # about 95 %
        self.kind = KINDS[draw[2] % len(KINDS)]
        self.region = REGIONS[draw[3] % len(REGIONS)]
        self.minute = int.from_bytes(draw[4:6], "big") % (24 * 60)
        self.revoked = self.revocable and draw[6] == 0  # about 1 in 256
        self.days_until_revoked = 1 + draw[7]


def convert(row):
    """One event and, if it is revoked, the revocation: two lines without their line ends."""
    record = row["patient_id"]
    given = Assigned(record)
    day = datetime.datetime(1900 + int(record[:2]), int(record[2:4]), int(record[4:6]))  # YYMMDD and a number
    time = day + datetime.timedelta(minutes=given.minute)
    event = (
        f'{{"event_id":"thyroid-{record}","timestamp":"{time:%Y-%m-%dT%H:%M:%SZ}",'
        f'"source":{{"kind":"{given.kind}","site_id":{json.dumps(row["referral_source"])},"region":"{given.region}"}},'
        f'"consent":{{"scope":"{given.scope}","revocable":{json.dumps(given.revocable)}}},'
        f'"payload":{{"type":"lab_marker","label":{label(row["target"])},"features":{{{features(row)}}}}}}}'
    )
    revocation = None
    if given.revoked:
        when = time + datetime.timedelta(days=given.days_until_revoked)
        revocation = f'{{"event_id":"thyroid-{record}","time":"{when:%Y-%m-%dT%H:%M:%SZ}","reason":"withdrawn"}}'
    return event, revocation


def main():
    if len(sys.argv) != 2:
        raise SystemExit("usage: make_thyroid.py thyroidDF.csv")
    source = pathlib.Path(sys.argv[1]).read_bytes()
    found = hashlib.sha256(source).hexdigest()
    if found != CSV_SHA256:
        raise SystemExit(f"{sys.argv[1]} is another file: its SHA-256 is {found}, not {CSV_SHA256}")
    rows = csv.DictReader(io.StringIO(source.decode("ascii"), newline=""))
    lines = [convert(row) for row in rows]
    events = [event for event, _ in lines]
    revocations = [revocation for _, revocation in lines if revocation is not None]
    folder = pathlib.Path(__file__).resolve().parent
    for path, content in [(folder / "thyroid.ndjson", events), (folder.parent / "revocations.ndjson", revocations)]:
        path.write_bytes("".join(line + "\n" for line in content).encode("ascii"))
        print(f"{path.name}: {len(content)} lines")


if __name__ == "__main__":
    main()

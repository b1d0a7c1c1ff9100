"""Counts what each judge accepted and refused; the first wrong verdict ends the script."""

import sys
from collections import Counter


class Verdicts:
    def __init__(self):
        self.counts = {}

    def accepts(self, tool, what, judge, *arguments):
        """The judge must take it."""
        try:
            judge(*arguments)
        except Exception as error:
            sys.exit(f"{tool} refuses {what}: {type(error).__name__}: {error}")
        self.counts.setdefault(tool, Counter())["accepted"] += 1

    def refuses(self, tool, what, judge, *arguments):
        """The judge must refuse it, by an exception."""
        try:
            judge(*arguments)
        except Exception:
            self.counts.setdefault(tool, Counter())["refused"] += 1
        else:
            sys.exit(f"{tool} accepts {what}")

    def table(self):
        """Every judge has taken something and refused something, else it judged nothing."""
        for tool, counts in self.counts.items():
            if not (counts["accepted"] and counts["refused"]):
                sys.exit(f"{tool} has only said one thing: {dict(counts)}")
            print(f"  {tool:<46} accepted {counts['accepted']:>5}   refused after a flipped byte {counts['refused']:>5}")


def flipped(data, at):
    """`data` with the lowest bit of one byte turned."""
    changed = bytearray(data)
    changed[at] ^= 1
    return bytes(changed)

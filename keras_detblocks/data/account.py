"""The account of a reading: what was skipped, repaired and assumed, with counts and examples."""

from collections import Counter
from itertools import islice

SKIPPED, REPAIRED, ASSUMED = "skipped", "repaired", "assumed"
_LONGEST = 160  # characters of an example


class Skipped:
    """Counts of what was skipped, repaired or assumed while reading, by reason, with the first few
    examples of each.

    Attributes:
        counts: reason -> how often.
        examples: reason -> list of texts.
        kinds: reason -> "skipped" (left out), "repaired" (mended and kept) or "assumed" (read in
            one of several possible ways).

    >>> skipped = Skipped()
    >>> skipped.add("box without area", "image 7: [3, 4, 0, 5]")
    >>> print(skipped)
    1 x box without area (image 7: [3, 4, 0, 5])
    """

    EXAMPLES = 3

    def __init__(self):
        self.counts = Counter()
        self.examples = {}
        self.kinds = {}

    def add(self, reason, example, kind=SKIPPED):
        """Counts one more of a reason, with its example; `kind` as in `kinds`."""
        self.add_many(reason, 1, (example,), kind)

    def add_many(self, reason, count, examples, kind=SKIPPED):
        """Adds `count` of a reason; `examples` may be an iterator: no more texts are made than are
        kept. `kind` as in `kinds`."""
        if count == 0:
            return
        self.counts[reason] += count
        self.kinds.setdefault(reason, kind)
        kept = self.examples.setdefault(reason, [])
        kept.extend(_short(example) for example in islice(examples, self.EXAMPLES - len(kept)))

    def update(self, other):
        """Adds the account of another part of the data set, `other`."""
        for reason, count in other.counts.items():
            self.add_many(reason, count, other.examples[reason], other.kinds[reason])

    @property
    def total(self):
        """The sum of all counts."""
        return sum(self.counts.values())

    def of(self, kind):
        """reason -> count of one kind, the most frequent first."""
        return {r: n for r, n in self.counts.most_common() if self.kinds[r] == kind}

    def lines(self, kind=None):
        """Yields a line for each reason, of all kinds or of one `kind`, the most frequent first."""
        for reason, count in self.counts.most_common():
            if kind in (None, self.kinds[reason]):
                more = count > self.EXAMPLES
                examples = "; ".join(self.examples[reason]) + ("; ..." if more else "")
                yield f"{count} x {reason} ({examples})"

    def as_list(self):
        """A list for JSON, with one dict per reason."""
        return [
            {"kind": self.kinds[r], "reason": r, "count": n, "examples": self.examples[r]}
            for r, n in self.counts.most_common()
        ]

    def __str__(self):
        return "\n".join(self.lines())


def _short(example):
    text = " ".join(str(example).split())
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST // 2]}...{text[-_LONGEST // 3 :]}"

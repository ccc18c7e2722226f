"""Learning rate over a run: linear warm-up, then one half cosine
(https://arxiv.org/abs/1608.03983)."""

import math


def cosine_with_warmup(step, progress, warmup_steps, floor=0.02):
    """The factor of the base learning rate.

    Args:
        step: optimizer steps done.
        progress: share of the run that is done, 0 to 1, in steps or in time.
        warmup_steps: steps over which the factor rises from near 0 to the cosine.
        floor: the factor at the end.

    >>> cosine_with_warmup(step=500, progress=1.0, warmup_steps=60)
    0.02
    """
    cosine = floor + (1.0 - floor) * 0.5 * (1.0 + math.cos(math.pi * min(max(progress, 0.0), 1.0)))
    return cosine * min(1.0, (step + 1) / max(warmup_steps, 1))

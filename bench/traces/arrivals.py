"""When requests come: gamma gaps, at a rate that differs from minute to minute."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator

MINUTE = 60.0


def minute_factors(rng: random.Random, cv: float) -> Iterator[float]:
    """Factors of the rate, one a minute, lognormal with mean 1."""
    variance = math.log(1 + cv * cv)
    while True:
        yield rng.lognormvariate(-variance / 2, math.sqrt(variance)) if cv > 0 else 1.0


def arrivals(rng: random.Random, rate: float, cv: float, minute_cv: float) -> Iterator[float]:
    """Seconds since the start. `cv` is of the gaps at a constant rate: 1 is a Poisson process, more is bursty.

    Gaps are drawn in the time in which the rate is 1 and carried over to seconds by the integral of the rate.
    """
    if rate <= 0 or cv <= 0:
        raise ValueError("rate and cv must be above 0")
    shape = 1 / (cv * cv)
    factors = minute_factors(rng, minute_cv)
    factor = next(factors)
    now = 0.0
    minute_end = MINUTE
    while True:
        work = rng.gammavariate(shape, 1 / shape)
        while work > (left := (minute_end - now) * rate * factor):
            work -= left
            now = minute_end
            minute_end += MINUTE
            factor = next(factors)
        now += work / (rate * factor)
        yield now

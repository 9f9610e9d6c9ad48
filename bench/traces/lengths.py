"""Lengths of prompts and answers by inverse distribution functions given at quantiles."""

from __future__ import annotations

import dataclasses
import math
import random

PERCENTS = (0, 1, 5, 10, 25, 50, 75, 90, 95, 99, 99.9, 100)


@dataclasses.dataclass(frozen=True)
class Quantiles:
    """Tokens at PERCENTS; log-linear between them."""

    tokens: tuple[int, ...]

    def __post_init__(self) -> None:
        if len(self.tokens) != len(PERCENTS) or min(self.tokens) < 1 or list(self.tokens) != sorted(self.tokens):
            raise ValueError(f"not {len(PERCENTS)} ascending lengths: {self.tokens}")

    def at(self, percent: float) -> int:
        for i in range(1, len(PERCENTS)):
            if percent <= PERCENTS[i]:
                share = (percent - PERCENTS[i - 1]) / (PERCENTS[i] - PERCENTS[i - 1])
                low, high = math.log(self.tokens[i - 1]), math.log(self.tokens[i])
                return max(1, round(math.exp(low + share * (high - low))))
        raise ValueError(f"{percent} is no percentage")

    def draw(self, rng: random.Random) -> int:
        return self.at(100 * rng.random())


@dataclasses.dataclass(frozen=True)
class Lengths:
    """Prompt and answer are drawn independently: in the public traces their correlation is about 0."""

    prompt: Quantiles
    output: Quantiles
    minute_cv: float  # coefficient of variation of the requests per minute


# The shape is ours; the means are those of ShareGPT in the paper of PagedAttention (Kwon et al., SOSP 2023): 161 and
# 338 tokens.
SHAREGPT_LIKE = Lengths(
    Quantiles((4, 5, 8, 11, 22, 58, 166, 450, 740, 1300, 1750, 2000)),
    Quantiles((4, 8, 24, 52, 135, 275, 440, 680, 860, 1250, 1700, 2000)),
    0.0,
)
# Quantiles of the public Azure LLM inference traces of 2023 (Azure/AzurePublicDataset, CC-BY).
AZURE_CONV_LIKE = Lengths(
    Quantiles((2, 29, 181, 207, 396, 1020, 1189, 2735, 4083, 4142, 6212, 14050)),
    Quantiles((7, 16, 41, 54, 85, 129, 395, 424, 451, 601, 954, 1000)),
    0.25,
)
AZURE_CODE_LIKE = Lengths(
    Quantiles((3, 17, 75, 147, 578, 1469, 2745, 5194, 7315, 7436, 7437, 7437)),
    Quantiles((6, 6, 6, 7, 9, 13, 24, 55, 90, 252, 831, 1899)),
    0.79,
)

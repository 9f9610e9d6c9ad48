#!/usr/bin/env python3
"""Writes tests/data/dequantize/TYPE.bin: random blocks of every quantised type, then what the Python package `gguf`
says that they mean (float32). Needs `pip install gguf numpy`; run again only when a type is added.
"""

import pathlib

import gguf
import numpy as np

OUT = pathlib.Path(__file__).resolve().parent.parent / "tests" / "data" / "dequantize"
# type: where its 16-bit floats lie in a block
SCALES = {"Q4_0": [0], "Q4_1": [0, 2], "Q5_0": [0], "Q5_1": [0, 2], "Q8_0": [0], "Q2_K": [80, 82], "Q3_K": [108],
          "Q4_K": [0, 2], "Q5_K": [0, 2], "Q6_K": [208], "IQ4_NL": [0]}
ELEMENTS = 1024


def random_scales(rng, count):
    """Halves of many sizes and both signs, among them zero, a subnormal and the largest that keeps results finite."""
    values = (rng.standard_normal(count) * np.exp2(rng.integers(-12, 4, count))).astype(np.float16)
    values[:3] = [0.0, 6e-8, -4.0]
    return values


def main():
    rng = np.random.default_rng(20240501)
    OUT.mkdir(parents=True, exist_ok=True)
    for name, scales in SCALES.items():
        kind = gguf.GGMLQuantizationType[name]
        block_len, block_bytes = gguf.GGML_QUANT_SIZES[kind]
        num_blocks = max(ELEMENTS // block_len, 4)
        blocks = rng.integers(0, 256, (num_blocks, block_bytes), dtype=np.uint8)
        for at in scales:
            blocks[:, at:at + 2] = random_scales(rng, num_blocks).view(np.uint8).reshape(num_blocks, 2)
        values = gguf.quants.dequantize(blocks, kind).astype("<f4")
        assert values.shape == (num_blocks, block_len) and np.isfinite(values).all()
        (OUT / f"{name.lower()}.bin").write_bytes(blocks.tobytes() + values.tobytes())


if __name__ == "__main__":
    main()

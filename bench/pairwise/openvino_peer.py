"""One measurement of OpenVINO GenAI, as a line of JSON. Runs in the peer's own environment (install.py)."""

import random
import time

import numpy
import openvino
import openvino_genai
from peer_script import parse_options, print_speeds


def main() -> None:
    options = parse_options(__doc__, "a file")
    pipe = openvino_genai.LLMPipeline(options.model, "CPU", INFERENCE_NUM_THREADS=options.threads)
    numbers = random.Random(1)

    def seconds(generate: int) -> float:
        config = openvino_genai.GenerationConfig()
        config.max_new_tokens, config.ignore_eos, config.do_sample = generate, True, False
        config.apply_chat_template = False
        shape = (options.sequences, options.prompt)
        ids = [numbers.randrange(100, 30000) for _ in range(options.sequences * options.prompt)]
        inputs = openvino.Tensor(numpy.array(ids, dtype=numpy.int64).reshape(shape))
        mask = openvino.Tensor(numpy.ones(shape, dtype=numpy.int64))
        begin = time.perf_counter()
        pipe.generate(openvino_genai.TokenizedInputs(inputs, mask), config)
        return time.perf_counter() - begin

    print_speeds(options, openvino_genai.__version__, seconds)


main()

"""One measurement of OpenVINO GenAI, as a line of JSON. Runs in the peer's own environment (install.py)."""

import argparse
import json
import random
import statistics
import time

import numpy
import openvino
import openvino_genai


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--prompt", type=int, required=True, help="tokens")
    parser.add_argument("--generate", type=int, required=True, help="tokens")
    parser.add_argument("--sequences", type=int, default=1)
    parser.add_argument("--repeat", type=int, default=1, help="counted runs after the first; 0: the first only")
    options = parser.parse_args()

    pipe = openvino_genai.LLMPipeline(options.model, "CPU", INFERENCE_NUM_THREADS=options.threads)
    numbers = random.Random(1)

    def seconds(generate: int) -> float:
        """Of fresh prompts, so that nothing is found in a cache, and so many new tokens."""
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

    seconds(options.generate)  # warms up
    prefill, decode = [], []
    for _ in range(options.repeat):
        first = seconds(1)
        prefill.append(options.sequences * options.prompt / first)
        if options.generate > 1:
            more = seconds(options.generate) - first
            decode.append(options.sequences * (options.generate - 1) / more)
    result = {"version": openvino_genai.__version__}
    if prefill:
        result["prefill"] = statistics.median(prefill)
    if decode:
        result["decode"] = statistics.median(decode)
    print(json.dumps(result))


main()

"""One measurement of vLLM on the CPU, as a line of JSON. Runs in the peer's own environment."""

import argparse
import json
import os
import random
import statistics
import time


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", help="a folder")
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--prompt", type=int, required=True, help="tokens")
    parser.add_argument("--generate", type=int, required=True, help="tokens")
    parser.add_argument("--sequences", type=int, default=1)
    parser.add_argument("--repeat", type=int, default=1, help="counted runs after the first; 0: the first only")
    options = parser.parse_args()

    # Read when it is imported. Its own way of binding threads needs rights that containers do not give; one engine
    # in this process leaves both cores to it.
    os.environ |= {
        "OMP_NUM_THREADS": str(options.threads),
        "VLLM_CPU_OMP_THREADS_BIND": "nobind",
        "VLLM_CPU_KVCACHE_SPACE": "4",
        "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
        "VLLM_NO_USAGE_STATS": "1",
        "HF_HUB_OFFLINE": "1",
    }
    import vllm

    context = options.prompt + options.generate + 1
    engine = vllm.LLM(
        model=options.model,
        dtype="bfloat16",
        max_model_len=context,
        max_num_seqs=options.sequences,
        max_num_batched_tokens=max(context, 2048),
        enable_prefix_caching=False,
        disable_log_stats=True,
    )
    numbers = random.Random(1)

    def seconds(generate: int) -> float:
        prompts = [
            {"prompt_token_ids": [numbers.randrange(100, 30000) for _ in range(options.prompt)]}
            for _ in range(options.sequences)
        ]
        sampling = vllm.SamplingParams(max_tokens=generate, ignore_eos=True, temperature=0)
        begin = time.perf_counter()
        engine.generate(prompts, sampling, use_tqdm=False)
        return time.perf_counter() - begin

    seconds(options.generate)  # warms up
    prefill, decode = [], []
    for _ in range(options.repeat):
        first = seconds(1)
        prefill.append(options.sequences * options.prompt / first)
        if options.generate > 1:
            decode.append(options.sequences * (options.generate - 1) / (seconds(options.generate) - first))
    result = {"version": vllm.__version__}
    if prefill:
        result["prefill"] = statistics.median(prefill)
    if decode:
        result["decode"] = statistics.median(decode)
    print(json.dumps(result))


if __name__ == "__main__":
    main()

"""One measurement of vLLM on the CPU, as a line of JSON. Runs in the peer's own environment."""

import os
import random
import time

from peer_script import parse_options, print_speeds


def main() -> None:
    options = parse_options(__doc__, "a folder")
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

    print_speeds(options, vllm.__version__, seconds)


if __name__ == "__main__":
    main()

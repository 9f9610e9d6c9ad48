#!/usr/bin/env python3
"""Stands in for llama-server in llama.cpp's own tests: starts pagoda with what its options mean.

Set LLAMA_SERVER_BIN_PATH to this file, PAGODA to the binary and PAGODA_MODEL to the GGUF file that takes the place of
the models those tests name. Options of things that pagoda lacks are dropped: their tests are listed in llama.toml.
"""

import argparse
import os
import sys

# Names that the tests ask for: llama-server answers to any.
MODEL_NAMES = ("gpt-3.5-turbo", "gpt-3.5-turbo-instruct", "davinci-002", "gpt-4.1", "text-embedding-3-small", "test",
               "codellama70b")


def main():
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("--port", required=True)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--alias", default="model")
    parser.add_argument("--seed")
    parser.add_argument("--ctx-size", type=int, default=4096)
    parser.add_argument("--parallel", type=int, default=4)
    parser.add_argument("--kv-unified", action="store_true")
    parser.add_argument("--batch-size", type=int)
    parser.add_argument("--pooling", choices=("last", "mean", "cls"), default="last")
    parser.add_argument("--api-key")
    parser.add_argument("--chat-template-file")
    given, _ = parser.parse_known_args()
    context = given.ctx_size if given.kv_unified else given.ctx_size // given.parallel
    command = [os.environ["PAGODA"], "serve", "--model", os.environ["PAGODA_MODEL"], "--host", given.host.split(",")[0],
               "--port", given.port, "--max-context", str(context), "--max-sequences", str(given.parallel),
               "--pooling", given.pooling]
    for name in (given.alias, *MODEL_NAMES):
        command += ["--served-model-name", name]
    if given.seed:
        command += ["--seed", given.seed]
    if given.batch_size:
        command += ["--max-batch-tokens", str(given.batch_size)]
    if given.api_key:
        command += ["--api-key", given.api_key]
    if given.chat_template_file:
        command += ["--chat-template", given.chat_template_file]
    os.execv(command[0], command)


if __name__ == "__main__":
    sys.exit(main())

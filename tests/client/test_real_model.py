"""The real binary with SmolLM2: many streams at once, some of which vanish."""

import asyncio
import threading
import time

import httpx

NUM_CLIENTS = 32
NUM_VANISHING = 8
MAX_TOKENS = 32


def request_of(number):
    """Half of the clients are greedy, half are seeded."""
    question = f"Tell me something about the number {number * 7 + 3} in {2 + number % 3} sentences."
    sampling = {"temperature": 0} if number % 2 == 0 else {"temperature": 0.8, "seed": number}
    return {
        "model": "smollm2",
        "messages": [{"role": "user", "content": question}],
        "max_tokens": MAX_TOKENS + number % 5,
    } | sampling


async def read_stream(client, number, limit=None):
    text = ""
    stream = await client.chat.completions.create(stream=True, **request_of(number))
    async for chunk in stream:
        text += chunk.choices[0].delta.content or ""
        if limit is not None:
            limit -= 1
            if limit == 0:
                await stream.close()
                break
    return text


class Prober(threading.Thread):
    """Asks for control routes until it is told to stop, and measures how long they take."""

    def __init__(self, url):
        super().__init__()
        self.url = url
        self.seconds = {"/health": [], "/metrics": []}
        self.done = threading.Event()

    def run(self):
        with httpx.Client(base_url=self.url, timeout=30) as client:
            while not self.done.is_set():
                for path, seconds in self.seconds.items():
                    start = time.perf_counter()
                    assert client.get(path).status_code == 200
                    seconds.append(time.perf_counter() - start)
                time.sleep(0.01)

    def report(self):
        for path, seconds in self.seconds.items():
            ordered = sorted(seconds)
            p50, p99 = ordered[len(ordered) // 2], ordered[int(len(ordered) * 0.99)]
            print(f"\n{path} under load: {len(ordered)} probes, p50 {p50 * 1e3:.2f} ms, p99 {p99 * 1e3:.2f} ms, "
                  f"max {ordered[-1] * 1e3:.2f} ms")


def test_chat_makes_sense(real_server):
    with real_server.client() as client:
        answer = client.chat.completions.create(
            model="smollm2",
            messages=[{"role": "user", "content": "What is gravity?"}],
            max_tokens=24,
            temperature=0,
        )
    assert "physics" in answer.choices[0].message.content


def test_streams_are_not_disturbed_by_others_that_vanish(real_server):
    vanishing = set(range(0, NUM_CLIENTS, NUM_CLIENTS // NUM_VANISHING))
    staying = [number for number in range(NUM_CLIENTS) if number not in vanishing]

    async def alone():
        async with real_server.async_client() as client:
            return {number: await read_stream(client, number) for number in staying}

    async def together():
        async with real_server.async_client() as client:
            return await asyncio.gather(
                *(read_stream(client, number, 1 + number % 7 if number in vanishing else None)
                  for number in range(NUM_CLIENTS))
            )

    expected = asyncio.run(alone())
    prober = Prober(real_server.url)
    prober.start()
    try:
        texts = asyncio.run(together())
    finally:
        prober.done.set()
        prober.join()
    prober.report()
    for number in staying:
        assert texts[number] == expected[number], f"client {number} got another text than alone"
    real_server.wait_until_idle()
    assert real_server.metric("vllm:kv_cache_usage_perc") == 0


def test_a_whole_answer_equals_its_stream(real_server):
    with real_server.client() as client:
        whole = client.chat.completions.create(**request_of(1)).choices[0].message.content

    async def stream():
        async with real_server.async_client() as client_:
            return await read_stream(client_, 1)

    assert asyncio.run(stream()) == whole

"""What operators look at: the dashboard, the logs, the traces."""

import http.server
import json
import re
import threading
import time

import pytest

from conftest import ROOT, start_fake_server

COMPLETION = {"prompt": "abc", "max_tokens": 5, "ignore_eos": True}


def names_in(dashboard):
    """Metric names of all queries: whatever stands before a '{', and the arguments of label_values."""
    queries = [target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", [])]
    queries += [variable["definition"] for variable in dashboard["templating"]["list"] if "definition" in variable]
    for query in queries:
        found = re.findall(r"([a-zA-Z_:][\w:]*)\{", query) + re.findall(r"label_values\(([\w:]+)", query)
        assert found, query
        yield from found


def test_every_metric_of_the_dashboard_exists(server):
    dashboard = json.loads((ROOT / "deploy" / "grafana" / "pagoda.json").read_text())
    assert server.http.post("/v1/completions", json=COMPLETION).status_code == 200
    samples = {re.split(r"[{ ]", line)[0] for line in server.http.get("/metrics").text.splitlines()}
    names = set(names_in(dashboard))
    assert len(names) > 25
    assert names <= samples, names - samples


TOKEN_SECONDS = [0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 20, 40, 80]
REQUEST_SECONDS = [0.3, 0.5, 0.8, 1, 1.5, 2, 2.5, 5, 10, 15, 20, 30, 40, 50, 60, 120, 240, 480, 960, 1920, 7680]
PAGE_SECONDS = [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800]
FIRST_TOKEN_SECONDS = [0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 20, 40, 80,
                       160, 640, 2560]
TOKEN_COUNTS = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000]  # up to the context of the fake model
VLLM_METRICS = {
    "gauge": ["num_requests_running", "num_requests_waiting", "num_requests_waiting_by_reason", "kv_cache_usage_perc",
              "cache_config_info"],
    "counter": ["prefix_cache_queries_total", "prefix_cache_hits_total", "external_prefix_cache_queries_total",
                "external_prefix_cache_hits_total", "num_preemptions_total", "prompt_tokens_total",
                "prompt_tokens_cached_total", "prompt_tokens_by_source_total", "generation_tokens_total",
                "request_success_total", "admission_rejections_total", "corrupted_requests_total"],
    "histogram": {
        "time_to_first_token_seconds": FIRST_TOKEN_SECONDS, "inter_token_latency_seconds": TOKEN_SECONDS,
        "request_time_per_output_token_seconds": TOKEN_SECONDS, "e2e_request_latency_seconds": REQUEST_SECONDS,
        "request_queue_time_seconds": REQUEST_SECONDS, "request_inference_time_seconds": REQUEST_SECONDS,
        "request_prefill_time_seconds": REQUEST_SECONDS, "request_decode_time_seconds": REQUEST_SECONDS,
        "request_prompt_tokens": TOKEN_COUNTS, "request_generation_tokens": TOKEN_COUNTS,
        "request_max_num_generation_tokens": TOKEN_COUNTS, "request_params_max_tokens": TOKEN_COUNTS,
        "request_params_n": [1, 2, 5, 10, 20], "request_num_preemptions": [1, 2, 3, 4, 5, 10, 20],
        "iteration_tokens_total": [1, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384],
        "kv_block_lifetime_seconds": PAGE_SECONDS, "kv_block_idle_before_evict_seconds": PAGE_SECONDS,
        "kv_block_reuse_gap_seconds": PAGE_SECONDS}}


def test_metrics_have_vllms_names_types_and_buckets(server):
    text = server.http.get("/metrics").text
    types = dict(re.findall(r"^# TYPE (\S+) (\S+)$", text, re.M))
    for kind, names in VLLM_METRICS.items():
        for name in names:
            assert types.get("vllm:" + name) == kind, name
            samples = re.findall(rf"^vllm:{name}(?:_bucket)?{{(.*)}} ", text, re.M)
            assert samples and all('engine="0",model_name="fake"' in labels for labels in samples), name
    for name, edges in VLLM_METRICS["histogram"].items():
        found = re.findall(rf'^vllm:{name}_bucket{{.*le="([^"]+)"}} ', text, re.M)
        assert [float(edge) for edge in found] == [*edges, float("inf")], name


class Collector:
    """Takes POSTs and keeps their bodies."""

    def __init__(self):
        posts = self.posts = []

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):  # noqa: N802
                posts.append((self.path, json.loads(self.rfile.read(int(self.headers["content-length"])))))
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_arguments):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def spans(self):
        for path, post in self.posts:
            assert path == "/v1/traces"
            for resource in post["resourceSpans"]:
                for scope in resource["scopeSpans"]:
                    yield from scope["spans"]


def attributes_of(span):
    return {entry["key"]: next(iter(entry["value"].values())) for entry in span["attributes"]}


def test_traces_follow_the_caller():
    collector = Collector()
    traced = start_fake_server("--otlp-endpoint", collector.url, "--step-us", "2000")
    trace, parent = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
    for flags in ("01", "00"):
        headers = {"traceparent": f"00-{trace}-{parent}-{flags}", "x-request-id": f"mine-{flags}"}
        assert traced.http.post("/v1/completions", json=COMPLETION, headers=headers).status_code == 200
    traced.http.get("/health")
    assert traced.stop() == 0
    spans = {span["name"]: span for span in collector.spans()}
    assert set(spans) == {"POST /v1/completions", "queue", "prefill", "decode"}, "unsampled ones and /health are not sent"
    server = spans["POST /v1/completions"]
    assert (server["traceId"], server["parentSpanId"], server["kind"]) == (trace, parent, 2)
    attributes = attributes_of(server)
    assert attributes["pagoda.request_id"] == "mine-01"
    assert (attributes["gen_ai.usage.input_tokens"], attributes["gen_ai.usage.output_tokens"]) == ("3", "5")
    begin, end = int(server["startTimeUnixNano"]), int(server["endTimeUnixNano"])
    assert abs(end / 1e9 - time.time()) < 60
    for name in ("queue", "prefill", "decode"):
        child = spans[name]
        assert (child["traceId"], child["parentSpanId"]) == (trace, server["spanId"])
        assert begin <= int(child["startTimeUnixNano"]) < int(child["endTimeUnixNano"]) <= end
    assert spans["prefill"]["endTimeUnixNano"] == spans["decode"]["startTimeUnixNano"]


def test_a_dead_collector_costs_nothing_but_traces():
    traced = start_fake_server("--otlp-endpoint", "http://127.0.0.1:9")
    for _ in range(20):
        assert traced.http.post("/v1/completions", json=COMPLETION).status_code == 200
    traced.wait_until(lambda: traced.metric("pagoda_otlp_spans_dropped_total") > 0)
    assert traced.metric("pagoda_otlp_spans_exported_total") == 0
    assert traced.stop() == 0


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_one_line_for_each_request_and_never_what_it_says(log_format, tmp_path):
    log = tmp_path / "log"
    with log.open("w") as sink:
        logged = start_fake_server("--log-format", log_format, "--api-key", "sk-secret", stderr=sink)
        headers = {"authorization": "Bearer sk-secret", "x-request-id": "mine"}
        body = COMPLETION | {"prompt": "confidential"}
        assert logged.http.post("/v1/completions", json=body, headers=headers).status_code == 200
        assert logged.http.get("/no%0Awhere").status_code == 404
        assert logged.stop() == 0
    text = log.read_text()
    assert "confidential" not in text
    assert "sk-secret" not in text
    lines = [line for line in text.splitlines() if "/v1/completions" in line]
    assert len(lines) == 1
    if log_format == "json":
        entries = [json.loads(line) for line in text.splitlines()]
        entry = next(entry for entry in entries if entry.get("request_id") == "mine")
        assert entry["event"] == "request"
        assert (entry["method"], entry["path"], entry["status"]) == ("POST", "/v1/completions", 200)
        assert (entry["model"], entry["completion_tokens"]) == ("fake", 5)
        assert re.fullmatch("key-[0-9a-f]{8}", entry["key"])
        assert entry["duration_ms"] > 0
    else:
        assert "request_id=mine method=POST path=/v1/completions status=200" in lines[0]

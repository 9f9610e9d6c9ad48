"""What no well-behaved client sends or looks at."""

import json
import signal
import socket
import threading

import httpx
import pytest

from conftest import start_fake_server


def test_control_routes(server):
    for path in ("/health", "/v1/health", "/ready", "/version", "/metrics"):
        answer = server.http.get(path)
        assert answer.status_code == 200
        assert server.http.head(path).headers["content-length"].isdigit()
    assert server.http.get("/health", headers={"x-request-id": "mine"}).headers["x-request-id"] == "mine"


def test_metrics_can_be_parsed(server):
    kinds = {}
    for line in server.http.get("/metrics").text.splitlines():
        if line.startswith("# TYPE "):
            name, kind = line.split()[2:]
            assert name not in kinds, f"{name} twice"
            kinds[name] = kind
        elif not line.startswith("#"):
            name = line.split("{")[0].split(" ")[0]
            base = name.rsplit("_", 1)[0]
            assert name in kinds or kinds.get(base) == "histogram", line
            float(line.rsplit(" ", 1)[1])
    assert kinds["vllm:num_requests_running"] == "gauge"
    assert kinds["vllm:generation_tokens_total"] == "counter"
    assert kinds["vllm:e2e_request_latency_seconds"] == "histogram"


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"\xff\xfe", b'{"messages":' + b"[" * 1000, b"null", b'{"a":1}'])
def test_bad_bodies(server, body):
    for path in ("/v1/chat/completions", "/v1/completions"):
        answer = server.http.post(path, content=body)
        assert answer.status_code == 400
        assert set(answer.json()["error"]) == {"message", "type", "param", "code"}


def test_events_of_a_stream(server):
    body = {"prompt": "x", "max_tokens": 3, "stream": True, "ignore_eos": True}
    with server.http.stream("POST", "/v1/completions", json=body) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        assert answer.headers["cache-control"] == "no-cache"
        lines = [line for line in answer.iter_lines() if line]
    assert all(line.startswith("data: ") for line in lines)
    assert lines[-1] == "data: [DONE]"
    assert all(json.loads(line[6:])["object"] == "text_completion" for line in lines[:-1])


def test_expect_continue_and_pipelining(server):
    body = b'{"prompt":"x","max_tokens":1}'
    head = b"POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n" % len(body)
    with socket.create_connection(("127.0.0.1", server.port)) as raw:
        raw.settimeout(120)
        raw.sendall(head + b"Expect: 100-continue\r\n\r\n")
        assert raw.recv(1000).startswith(b"HTTP/1.1 100 ")
        raw.sendall(body + head + b"\r\n" + body + b"GET /health HTTP/1.1\r\nConnection: close\r\n\r\n")
        received = b""
        while piece := raw.recv(10000):
            received += piece
    assert received.count(b"HTTP/1.1 200 OK") == 3
    assert received.endswith(b'{"status":"ok"}')


def test_sigterm_lets_a_stream_end():
    slow = start_fake_server("--step-us", "2000")
    body = {"prompt": "x", "max_tokens": 200, "stream": True, "ignore_eos": True}
    with slow.http.stream("POST", "/v1/completions", json=body) as answer:
        lines = answer.iter_lines()
        assert next(lines).startswith("data: ")
        slow.process.send_signal(signal.SIGTERM)
        rest = [line for line in lines if line]
    assert rest[-1] == "data: [DONE]"
    assert json.loads(rest[-2][6:])["choices"][0]["finish_reason"] == "length"
    assert slow.process.wait(timeout=120) == 0


def port_is_closed(server):
    try:
        socket.create_connection(("127.0.0.1", server.port)).close()
    except ConnectionRefusedError:
        return True
    except ConnectionResetError:  # it was in the queue of a socket that has just been closed
        pass
    return False


def test_a_second_sigterm_ends_at_once():
    slow = start_fake_server("--step-us", "100000")
    body = {"prompt": "x", "max_tokens": 2000, "stream": True, "ignore_eos": True}
    streaming = threading.Event()

    def stream():
        with pytest.raises(httpx.TransportError), slow.http.stream("POST", "/v1/completions", json=body) as answer:
            for _line in answer.iter_lines():
                streaming.set()

    reader = threading.Thread(target=stream)
    reader.start()
    assert streaming.wait(120)
    slow.process.send_signal(signal.SIGTERM)
    slow.wait_until(lambda: port_is_closed(slow))
    assert slow.process.poll() is None
    slow.process.send_signal(signal.SIGTERM)
    assert slow.process.wait(timeout=120) == 128 + signal.SIGTERM
    reader.join()

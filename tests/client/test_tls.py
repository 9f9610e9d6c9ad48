"""HTTPS, with certificates made on the spot."""

import socket
import ssl
import subprocess
import threading

import httpx
import pytest

from conftest import BUILD, start_fake_server

STREAM = {"prompt": "x", "max_tokens": 200, "stream": True, "ignore_eos": True}


def make_certificate(folder, name, *options):
    certificate, key = folder / f"{name}.pem", folder / f"{name}.key"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-days", "2"]
    command += ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1", "-out", certificate, "-keyout", key]
    subprocess.run([*command, *(options or ["-nodes"])], check=True, capture_output=True)
    return certificate, key


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return make_certificate(tmp_path_factory.mktemp("tls"), "server")


@pytest.fixture(scope="module")
def tls_server(files):
    running = start_fake_server("--ssl-cert", files[0], "--ssl-key", files[1], "--step-us", "200")
    yield running
    assert running.stop() == 0


@pytest.fixture
def context(files):
    return ssl.create_default_context(cafile=str(files[0]))


def connect(server, context):
    return context.wrap_socket(socket.create_connection(("127.0.0.1", server.port), timeout=120), server_hostname="127.0.0.1")


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_answers_and_streams(tls_server, context, version):
    context.minimum_version = context.maximum_version = version
    with httpx.Client(base_url=f"https://127.0.0.1:{tls_server.port}", verify=context, timeout=120) as client:
        for _ in range(3):
            assert client.get("/health").json() == {"status": "ok"}
        large = {"prompt": "a b " * 20000, "max_tokens": 1}
        assert client.post("/v1/completions", json=large).json()["error"]["code"] == "context_length_exceeded"
        with client.stream("POST", "/v1/completions", json=STREAM) as answer:
            lines = [line for line in answer.iter_lines() if line]
    assert lines[-1] == "data: [DONE]"
    assert len(lines) > 100


def test_many_clients_at_once(tls_server, context):
    statuses = []

    def run():
        with httpx.Client(base_url=f"https://127.0.0.1:{tls_server.port}", verify=context, timeout=120) as client:
            statuses.append(client.post("/v1/completions", json=STREAM | {"stream": False}).status_code)

    threads = [threading.Thread(target=run) for _ in range(32)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert statuses == [200] * 32


def test_old_versions_are_refused(tls_server):
    old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    old.check_hostname, old.verify_mode = False, ssl.CERT_NONE
    old.set_ciphers("ALL:@SECLEVEL=0")
    old.minimum_version = ssl.TLSVersion.TLSv1
    old.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises((ssl.SSLError, ConnectionError)):
        connect(tls_server, old)


@pytest.mark.parametrize("noise", [b"GET /health HTTP/1.1\r\n\r\n", b"\0" * 1000, b"\x16\x03\x01\xff\xff" + b"a" * 70000])
def test_noise_instead_of_a_handshake(tls_server, context, noise):
    with socket.create_connection(("127.0.0.1", tls_server.port), timeout=120) as raw:
        raw.sendall(noise)
        try:
            while raw.recv(1000):
                pass
        except ConnectionError:
            pass
    assert httpx.get(f"https://127.0.0.1:{tls_server.port}/health", verify=context, timeout=120).status_code == 200


def test_a_close_is_announced(tls_server, context):
    with connect(tls_server, context) as raw:
        raw.sendall(b"GET /health HTTP/1.1\r\nConnection: close\r\n\r\n")
        received = b""
        while piece := raw.recv(1000):  # an end without close_notify would raise
            received += piece
    assert received.endswith(b'{"status":"ok"}')


@pytest.mark.parametrize("manner", ["close_notify", "reset"])
def test_a_client_that_leaves_is_noticed(files, context, manner):
    slow = start_fake_server("--ssl-cert", files[0], "--ssl-key", files[1], "--step-us", "20000")
    body = b'{"prompt":"x","max_tokens":2000,"stream":true,"ignore_eos":true}'
    raw = connect(slow, context)
    raw.sendall(b"POST /v1/completions HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
    assert raw.recv(100)
    if manner == "close_notify":
        raw.settimeout(0)
        with pytest.raises(ssl.SSLError):
            raw.unwrap()
    raw.close()
    url = f"https://127.0.0.1:{slow.port}/metrics"
    with httpx.Client(verify=context, timeout=120) as client:
        def noticed():
            text = client.get(url).text
            return 'vllm:num_requests_running{engine="0",model_name="fake"} 0' in text and 'reason="abort"} 1' in text

        slow.wait_until(noticed)
    assert slow.stop() == 0


def test_bad_files_are_told_in_a_sentence(files, tmp_path):
    certificate, key = files
    _, other_key = make_certificate(tmp_path, "other")
    _, locked_key = make_certificate(tmp_path, "locked", "-passout", "pass:secret")
    (tmp_path / "noise").write_text("nothing")
    cases = [
        (tmp_path / "missing", key, "The certificate file"),
        (certificate, tmp_path / "missing", "The key file"),
        (certificate, other_key, "does not belong to the certificate"),
        (certificate, locked_key, "passphrase"),
        (tmp_path / "noise", key, "no PEM certificate"),
        (certificate, tmp_path / "noise", "no PEM private key"),
    ]
    for cert, pem, sentence in cases:
        done = subprocess.run(
            [BUILD / "bin" / "fake_server", "--ssl-cert", cert, "--ssl-key", pem],
            capture_output=True, text=True, timeout=120, check=False, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        assert done.returncode == 1
        assert sentence in done.stderr, done.stderr

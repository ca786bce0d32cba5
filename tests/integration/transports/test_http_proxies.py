"""HTTP proxies of the environment, for sending and for checking."""

from __future__ import annotations

import base64
import contextlib
import socket
import threading
from urllib.parse import urlsplit

import pytest

from syftnotify.core.errors import DeliveryError, Failure
from tests.fakes.mailserver import HOST, Authority
from tests.fakes.web import WebServer, respond, serve_web
from tests.integration.transports.web_clients import (
    HELLO,
    each_web,
    failed,
    transport,
)


@each_web
def test_proxy_that_refuses_is_unreachable(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """X03: it received the CONNECT request and nothing else."""
    with serve_web(respond(502)) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url.rpartition("/services")[0])
        error = failed(transport(kind, "https://hooks.invalid/x"))

    assert error.failure is Failure.UNREACHABLE
    assert [request.line for request in proxy.requests] == ["CONNECT hooks.invalid:443 HTTP/1.1"]


@each_web
def test_proxy_check_connects_and_sends_nothing(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """B6: the name is looked up by the proxy, as when sending."""
    with serve_web(respond(502)) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url.rpartition("/services")[0])
        monkeypatch.setenv("NO_PROXY", "")
        with pytest.raises(DeliveryError):
            transport(kind, "https://hooks.invalid/x").check()
        monkeypatch.setenv("NO_PROXY", "hooks.invalid")
        with pytest.raises(DeliveryError):
            transport(kind, "https://hooks.invalid/x").check()

    assert [request.line for request in proxy.requests] == ["CONNECT hooks.invalid:443 HTTP/1.1"]


def test_proxy_check_of_plain_http_connects_to_the_proxy_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """B6"""
    with serve_web() as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url.rpartition("/services")[0])
        transport("webhook", "http://hooks.invalid/x").check()

    assert proxy.requests == []


def test_proxy_check_verifies_the_certificate_of_the_target(
    tls_server: WebServer, ca: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    """B6: the certificate of the target is verified, and nothing is sent."""
    target = urlsplit(tls_server.url)

    def tunnel(connection: socket.socket) -> None:
        respond(200)(connection)
        with socket.create_connection((HOST, target.port or 0)) as beyond:
            pipe = threading.Thread(target=_copy, args=(beyond, connection), daemon=True)
            pipe.start()
            _copy(connection, beyond)
            pipe.join()

    with serve_web(tunnel) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url.rpartition("/services")[0])
        monkeypatch.setenv("NO_PROXY", "")
        with pytest.raises(DeliveryError):
            transport("webhook", tls_server.url).check()
        monkeypatch.setenv("SSL_CERT_FILE", str(ca.file))
        transport("webhook", tls_server.url).check()
        assert tls_server.requests == []
        transport("webhook", tls_server.url).send(HELLO)

    assert len(tls_server.requests) == 1
    assert len(proxy.requests) == 3


def _copy(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while content := source.recv(65536):
            sink.sendall(content)
    with contextlib.suppress(OSError):
        sink.shutdown(socket.SHUT_RDWR)


def test_proxy_for_plain_http_gets_the_credentials_of_its_url(monkeypatch: pytest.MonkeyPatch) -> None:
    with serve_web() as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url.rpartition("/services")[0].replace("://", "://mé:p%40ss@"))
        transport("webhook", "http://localhost:9/x").send(HELLO)
        for without in ("localhost", "localhost:9"):
            monkeypatch.setenv("NO_PROXY", without)
            error = failed(transport("webhook", "http://localhost:9/x"))
            assert error.failure is Failure.UNREACHABLE

    (request,) = proxy.requests
    assert request.line == "POST http://localhost:9/x HTTP/1.1"
    assert request.headers["proxy-authorization"] == "Basic " + base64.b64encode("mé:p@ss".encode()).decode()


def test_proxy_with_https_is_verified(tls_server: WebServer, ca: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", tls_server.url.rpartition("/services")[0])
    assert failed(transport("webhook", "http://hooks.invalid/x")).failure is Failure.UNREACHABLE

    monkeypatch.setenv("SSL_CERT_FILE", str(ca.file))
    transport("webhook", "http://hooks.invalid/x").send(HELLO)
    assert [request.line for request in tls_server.requests] == ["POST http://hooks.invalid/x HTTP/1.1"]


@pytest.mark.parametrize(
    "proxy",
    [
        "http://[::1",
        "http://proxy.invalid:port",
        "socks5://127.0.0.1:9",
        "socks://127.0.0.1:9",
        "ftp://proxy.invalid",
        "http://",
    ],
)
def test_proxy_with_an_invalid_url_is_unreachable(proxy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", proxy)
    error = failed(transport("webhook", "https://hooks.example/secret-path"))

    assert error.failure is Failure.UNREACHABLE
    assert "hooks.example could not be reached" in str(error)
    assert "secret" not in str(error)


@pytest.mark.parametrize(
    ("url", "sent"),
    [
        ("http://bücher.example:8443/x", "xn--bcher-kva.example:8443"),
        ("http://xn--bcher-kva.example/x", "xn--bcher-kva.example"),
        ("http://straße.example/x", "xn--strae-oqa.example"),  # not strasse.example, which may belong to another
    ],
)
def test_proxy_request_encodes_the_host_by_idna_2008(url: str, sent: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with serve_web() as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url.rpartition("/services")[0])
        transport("webhook", url).send(HELLO)

    assert [(each.line, each.headers["host"]) for each in proxy.requests] == [(f"POST http://{sent}/x HTTP/1.1", sent)]


def test_proxy_exceptions_may_contain_ip_networks(web_server: WebServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """B6: container tools set such values; httpx's own reader fails at them."""
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("NO_PROXY", "::1/128,fe80::/10,10.0.0.0/8,*.example,[::1],127.0.0.1")
    transport("webhook", web_server.url).send(HELLO)

    assert len(web_server.requests) == 1

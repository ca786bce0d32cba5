"""The creation of notifications over gRPC, with a client that is compiled from docs/notifications.proto."""

from __future__ import annotations

import importlib
import json
import ssl
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
from grpc_tools import protoc

from syftnotify.core.errors import NotifyError
from syftnotify.web import grpc_server
from syftnotify.web.access import RateLimits
from tests.fakes.mailserver import HOST, Authority
from tests.fakes.ports import listen
from tests.support import ANA, TIMEOUT, Box
from tests.web import KIND, PAYLOAD, Served, records, serve

PROTO = Path(__file__).parents[3] / "docs" / "notifications.proto"
LIST = "/v1/notifications"


@pytest.fixture(scope="module")
def stubs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """The generated modules: messages, and the client."""
    folder = tmp_path_factory.mktemp("proto")
    options = [f"-I{PROTO.parent}", f"--python_out={folder}", f"--grpc_python_out={folder}", str(PROTO)]
    assert protoc.main(["protoc", *options]) == 0
    sys.path.insert(0, str(folder))
    try:
        yield importlib.import_module("notifications_pb2"), importlib.import_module("notifications_pb2_grpc")
    finally:
        sys.path.remove(str(folder))


@pytest.fixture
def served(box: Box) -> Iterator[Served]:
    with serve(box, grpc_port=0, limits=RateLimits(requests=100_000)) as found:
        yield found


Create = Callable[..., str]


def creator(served: Served, stubs: Any, channel: grpc.Channel | None = None) -> Create:
    """A function that creates a notification with a secret, and returns its id."""
    messages, services = stubs
    used = channel or grpc.insecure_channel(f"{HOST}:{served.server.grpc_port}")
    client = services.NotificationsServiceStub(used)

    def create(
        secret: str = "", payload: str = json.dumps(PAYLOAD), *, user: str = ANA, kind: str = KIND, key: str = ""
    ) -> str:
        metadata = [("authorization", f"Bearer {secret}")] if secret else []
        metadata += [("idempotency-key", key)] if key else []
        request = messages.CreateNotificationRequest(user_id=user, kind=kind, payload=payload)
        found: str = client.CreateNotification(request, metadata=metadata, timeout=TIMEOUT).id
        return found

    return create


@pytest.fixture
def create(served: Served, stubs: Any) -> Create:
    return creator(served, stubs)


def refusal(create: Create, *arguments: Any, **options: Any) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.RpcError) as caught:
        create(*arguments, **options)
    return caught.value.code(), caught.value.details()


def test_server_has_the_definition_of_the_documentation(stubs: Any) -> None:
    for name, message in grpc_server._messages().items():
        documented = getattr(stubs[0], name).DESCRIPTOR
        assert [(field.name, field.number, field.type) for field in message.DESCRIPTOR.fields] == [
            (field.name, field.number, field.type) for field in documented.fields
        ]


def test_notification_is_in_the_inbox_at_once(served: Served, create: Create) -> None:
    """C06: as by `POST /v1/notifications`."""
    created = create(served.token("service"))
    (record,) = records(served.client("viewer").get(LIST))

    assert (record["id"], record["kind"], record["payload"]) == (created, KIND, PAYLOAD)


@pytest.mark.parametrize("payload", ['"text"', "null", '["a"]', "", "{", "[" * 5000])
def test_payload_must_be_an_object(served: Served, create: Create, payload: str) -> None:
    """C07: and nothing is stored."""
    code, details = refusal(create, served.token("service"), payload)

    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert details == "payload: expected a JSON object"
    assert records(served.client("viewer").get(LIST)) == []


def test_wrong_user_or_kind_is_refused(served: Served, create: Create) -> None:
    secret = served.token("service")

    assert refusal(create, secret, user="a b")[0] is grpc.StatusCode.INVALID_ARGUMENT
    assert refusal(create, secret, kind="nonsense")[0] is grpc.StatusCode.INVALID_ARGUMENT


def test_roles(served: Served, create: Create) -> None:
    assert create(served.token("operator"))
    assert refusal(create)[0] is grpc.StatusCode.UNAUTHENTICATED
    assert refusal(create, "syn_wrong")[0] is grpc.StatusCode.UNAUTHENTICATED
    assert refusal(create, served.token("viewer"))[0] is grpc.StatusCode.PERMISSION_DENIED


def test_too_many_requests_are_refused(box: Box, stubs: Any) -> None:
    """The limits are shared with the HTTP API."""
    with serve(box, grpc_port=0, limits=RateLimits(requests=2)) as served:
        create, secret = creator(served, stubs), served.token("service")
        create(secret)
        headers = {"Authorization": f"Bearer {secret}"}
        created = served.client().post(LIST, json={"user_id": ANA, "kind": KIND, "payload": {}}, headers=headers)

        assert created.status_code == 201
        assert refusal(create, secret)[0] is grpc.StatusCode.RESOURCE_EXHAUSTED


@pytest.mark.thorough
def test_100_concurrent_calls_with_one_key_create_one_notification(served: Served, create: Create) -> None:
    """Calls while the first one is in progress are aborted; a client repeats them."""
    secret = served.token("service")

    def attempt(_: int) -> str:
        while True:
            try:
                return create(secret, key="k-1")
            except grpc.RpcError as error:
                if error.code() is not grpc.StatusCode.ABORTED:
                    raise

    with ThreadPoolExecutor(20) as pool:
        found = set(pool.map(attempt, range(100)))

    assert len(found) == 1
    assert len(records(served.client("viewer").get(LIST))) == 1
    assert refusal(create, secret, "{}", key="k-1")[0] is grpc.StatusCode.FAILED_PRECONDITION


def test_key_is_shared_with_the_http_api(served: Served, create: Create) -> None:
    secret = served.token("service")
    created = create(secret, key="k-2")
    body = {"user_id": ANA, "kind": KIND, "payload": PAYLOAD}
    headers = {"Authorization": f"Bearer {secret}", "Idempotency-Key": "k-2"}

    assert served.client().post(LIST, json=body, headers=headers).json()["id"] == created


def test_large_request_is_refused(served: Served, create: Create) -> None:
    large = json.dumps({"text": "x" * (1 << 20)})

    assert refusal(create, served.token("service"), large)[0] is grpc.StatusCode.RESOURCE_EXHAUSTED


def test_tls_protects_both(box: Box, stubs: Any, ca: Authority, tmp_path: Path) -> None:
    certificate = tmp_path / "server.pem"
    ca.ca.issue_cert(HOST, "localhost").private_key_and_cert_chain_pem.write_to_path(str(certificate))
    certificate.chmod(0o600)
    with serve(box, grpc_port=0, certfile=str(certificate)) as served:
        credentials = grpc.ssl_channel_credentials(ca.file.read_bytes())
        channel = grpc.secure_channel(f"localhost:{served.server.grpc_port}", credentials)
        created = creator(served, stubs, channel)(served.token("service"))
        headers = {"Authorization": f"Bearer {served.token('viewer')}"}
        context = ssl.create_default_context(cafile=str(ca.file))
        with httpx.Client(verify=context, timeout=TIMEOUT, trust_env=False) as client:
            (record,) = records(client.get(f"{served.server.url}{LIST}", headers=headers))

    assert record["id"] == created


def test_port_in_use_is_an_error(box: Box) -> None:
    with (
        listen() as other,
        pytest.raises(NotifyError, match="cannot serve gRPC on"),
        serve(box, grpc_port=int(other.getsockname()[1])),
    ):
        pass

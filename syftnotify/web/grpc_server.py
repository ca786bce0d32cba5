"""The creation of notifications over gRPC, as docs/notifications.proto defines it. Needs `syftnotify[grpc]`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http import HTTPStatus
from typing import Any

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from syftnotify.config.load import Settings
from syftnotify.core.errors import NotifyError, StateError
from syftnotify.core.outbox import OutboxStore
from syftnotify.services.creation import Idempotency, KeyInUseError, KeyReusedError
from syftnotify.services.inbox import NewNotification, create_notification
from syftnotify.web.access import CREATORS, RateLimits, authenticate, permit
from syftnotify.web.limits import MAX_BODY
from syftnotify.web.problems import ProblemError, error_detail

_PACKAGE, _SERVICE, _METHOD = "notifications", "NotificationsService", "CreateNotification"
_FIELDS = {"CreateNotificationRequest": ("user_id", "kind", "payload"), "CreateNotificationResponse": ("id",)}
_THREADS = 8
_MAX_CALLS = 64  # at once; others are refused, instead of waiting for a thread
_STOP_SECONDS = 1.0  # for calls in progress
_CODES = {
    HTTPStatus.UNAUTHORIZED: grpc.StatusCode.UNAUTHENTICATED,
    HTTPStatus.FORBIDDEN: grpc.StatusCode.PERMISSION_DENIED,
    HTTPStatus.TOO_MANY_REQUESTS: grpc.StatusCode.RESOURCE_EXHAUSTED,
}

_ERROR_CODES = {
    KeyInUseError: grpc.StatusCode.ABORTED,
    KeyReusedError: grpc.StatusCode.FAILED_PRECONDITION,
    StateError: grpc.StatusCode.UNAVAILABLE,
}


def _messages() -> dict[str, Any]:
    """The classes of the messages: the same definition as docs/notifications.proto, which a test compares."""
    file = descriptor_pb2.FileDescriptorProto(name="notifications.proto", package=_PACKAGE, syntax="proto3")
    for name, fields in _FIELDS.items():
        message = file.message_type.add(name=name)
        for number, field in enumerate(fields, 1):
            message.field.add(
                name=field,
                number=number,
                type=descriptor_pb2.FieldDescriptorProto.TYPE_STRING,
                label=descriptor_pb2.FieldDescriptorProto.LABEL_OPTIONAL,
            )
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{_PACKAGE}.{name}")) for name in _FIELDS}


class _NotificationsService:
    def __init__(self, settings: Settings, outbox: OutboxStore, limits: RateLimits, idempotency: Idempotency) -> None:
        self._settings = settings
        self._outbox = outbox
        self._limits = limits
        self._idempotency = idempotency
        self._messages = _messages()

    def handler(self) -> grpc.GenericRpcHandler:
        request, response = (self._messages[name] for name in _FIELDS)
        method = grpc.unary_unary_rpc_method_handler(
            self._create, request_deserializer=request.FromString, response_serializer=response.SerializeToString
        )
        return grpc.method_handlers_generic_handler(f"{_PACKAGE}.{_SERVICE}", {_METHOD: method})

    def _create(self, request: Any, context: grpc.ServicerContext) -> Any:
        try:
            return self._messages["CreateNotificationResponse"](id=self._created(request, context))
        except ProblemError as error:
            context.abort(_CODES[HTTPStatus(error.status_code)], error.detail)
        except NotifyError as error:
            found = (code for kind, code in _ERROR_CODES.items() if isinstance(error, kind))
            context.abort(next(found, grpc.StatusCode.INVALID_ARGUMENT), error_detail(error))

    def _created(self, request: Any, context: grpc.ServicerContext) -> str:
        metadata = {key: value for key, value in context.invocation_metadata() if isinstance(value, str)}
        scheme, _, secret = metadata.get("authorization", "").partition(" ")
        address = context.peer().partition(":")[2].rpartition(":")[0]  # of `ipv4:127.0.0.1:50000`
        token = authenticate(self._outbox, self._limits, secret if scheme.lower() == "bearer" else "", address)
        self._limits.count_request(token.id)
        permit(token, CREATORS)
        body = {"user_id": request.user_id, "kind": request.kind, "payload": _parse_payload(request.payload)}
        with self._idempotency.once(token.id, metadata.get("idempotency-key", ""), body) as occurrence:
            new = NewNotification(request.user_id, request.kind, body["payload"], occurrence)
            return create_notification(self._outbox, new, self._settings).id


def _parse_payload(text: str) -> dict[str, Any]:
    try:
        payload = json.loads(text)
    except (ValueError, RecursionError):
        payload = None
    if not isinstance(payload, dict):
        raise NotifyError("payload: expected a JSON object")
    return payload


@contextmanager
def grpc_server(settings: Settings, outbox: OutboxStore, limits: RateLimits, idempotency: Idempotency) -> Iterator[int]:
    """Serve until the end of the block; yields the port.

    Raises:
        NotifyError: the address is in use, or the certificate cannot be read.
    """
    serve = settings.config.serve
    assert serve is not None
    server = grpc.server(
        ThreadPoolExecutor(_THREADS, thread_name_prefix="grpc"),
        options=[("grpc.so_reuseport", 0), ("grpc.max_receive_message_length", MAX_BODY)],
        maximum_concurrent_rpcs=_MAX_CALLS,
    )
    server.add_generic_rpc_handlers([_NotificationsService(settings, outbox, limits, idempotency).handler()])
    address = f"{f'[{serve.host}]' if ':' in serve.host else serve.host}:{serve.grpc_port}"
    try:
        if serve.certfile is None:
            port = server.add_insecure_port(address)
        else:
            chain = serve.certfile.read_bytes()
            key = chain if serve.keyfile is None else serve.keyfile.read_bytes()
            port = server.add_secure_port(address, grpc.ssl_server_credentials([(key, chain)]))
    except (RuntimeError, OSError) as error:
        reason = getattr(error, "strerror", None) or "the address is in use, or not one of this machine"
        raise NotifyError(f"cannot serve gRPC on {address}: {reason}", hint="change `serve.grpc_port`") from error
    server.start()
    try:
        yield int(port)
    finally:
        server.stop(_STOP_SECONDS).wait()

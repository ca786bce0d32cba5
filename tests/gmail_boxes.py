"""Boxes that send through a fake of Google."""

from __future__ import annotations

from tests.fakes.google import Answer, Asked, Post
from tests.support import ANA


def only_for_ana(answer: Answer) -> Answer:
    """Give this answer to messages for Ana; accept all others."""

    def act(asked: Asked) -> None:
        if asked.post.to == ANA:
            answer(asked)
        else:
            asked.answer_json(200, {"id": "taken", "threadId": "taken"})

    return act


def message_id(post: Post) -> str:
    return str(post.mail["Message-ID"])

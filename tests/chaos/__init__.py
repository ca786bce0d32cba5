"""Real workers are killed, again and again, while a real tree is written and real servers fail.

The promise that is put to the test: nothing owed is lost; a message may go out twice only when the answer to its first
attempt was cut off, and then it is counted and carries the same id.

    python -m tests.chaos [--seed N] [--kills N] [--write]

`material` is what is written and what that owes, `writer` writes it, `worker` is a worker that kills itself where it is
told to, `naive` a notifier as one writes it in an afternoon (the harness must find it out), `sinks` are the servers,
`harness` kills and starts again, `verdict` compares, `report` says what came of it.
"""

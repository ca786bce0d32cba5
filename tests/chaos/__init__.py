"""Kills real workers repeatedly while a tree is written and servers fail.

Tested property: nothing owed is lost; a message may be sent twice only if the outcome of an attempt is unknown, and
then it is counted and has the same id.

    python -m tests.chaos [--seed N] [--kills N] [--write]

`material`: the files to write and the notifications owed for them; `writer`: writes the files; `worker`: a worker that
kills itself at a fail-point; `naive`: a naive notifier, whose faults the harness must detect; `sinks`: the servers;
`harness`: kills and restarts; `verdict`: compares owed and sent; `report`: the results.
"""

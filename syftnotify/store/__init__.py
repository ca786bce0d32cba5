"""What must survive a restart: ledger, outbox, scan cache."""

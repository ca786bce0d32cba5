"""The ledger: which events were notified or are owed, kept in `state.json`."""

"""The outbox on PostgreSQL, which any number of workers share."""

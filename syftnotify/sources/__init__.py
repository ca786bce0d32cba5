"""Where events come from: the SyftBox tree and the spool of emitted events."""

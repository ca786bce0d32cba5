"""Mail through the Gmail API."""

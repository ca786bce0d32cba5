"""What did the user ask for? `config.yaml`, checked (`schema`, `load`) and changed (`edit`)."""

from syftnotify.config.load import Settings, default_root, found_root, load
from syftnotify.config.routing import Condition
from syftnotify.config.schema import Config, Gmail, Maildir, Slack, Smtp, Transport, Webhook
from syftnotify.config.smtp import SmtpServer
from syftnotify.config.values import is_safe_url

__all__ = [
    "Condition",
    "Config",
    "Gmail",
    "Maildir",
    "Settings",
    "Slack",
    "Smtp",
    "SmtpServer",
    "Transport",
    "Webhook",
    "default_root",
    "found_root",
    "is_safe_url",
    "load",
]

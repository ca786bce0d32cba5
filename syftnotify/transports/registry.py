"""The registered types of transports. A new type needs a folder beside this module and an entry here."""

from __future__ import annotations

from syftnotify.config.transport import TransportSettings, TransportTypes
from syftnotify.transports.discord.settings import DiscordSettings
from syftnotify.transports.gmail.settings import GmailSettings
from syftnotify.transports.maildir.settings import MaildirSettings
from syftnotify.transports.redis.settings import RedisSettings
from syftnotify.transports.slack.settings import SlackSettings
from syftnotify.transports.smtp.settings import SmtpSettings
from syftnotify.transports.webhook.settings import WebhookSettings

# In order of preference for mail. The first one is used when the configuration has no transports.
_REGISTERED: tuple[type[TransportSettings], ...] = (
    GmailSettings,
    SmtpSettings,
    MaildirSettings,
    SlackSettings,
    DiscordSettings,
    WebhookSettings,
    RedisSettings,
)
TRANSPORT_TYPES: TransportTypes = {settings.type_name(): settings for settings in _REGISTERED}

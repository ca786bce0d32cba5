"""URLs as targets of alert rules."""

from __future__ import annotations

from syftnotify.core.models import AlertRule
from syftnotify.transports.webhook.alert_targets import settings_of_targets


def test_target_that_an_earlier_version_accepted_has_settings() -> None:
    rule = AlertRule(id="a", target="http://a host.example/x", job="x")
    (settings,) = settings_of_targets([rule]).values()

    assert settings.url.get_secret_value() == rule.target
    assert settings.format == "run_alert"

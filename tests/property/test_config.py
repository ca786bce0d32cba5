"""Any text as `config.yaml`."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from syftnotify.core.errors import NotifyError
from syftnotify.services.settings import load
from syftnotify.system.paths import Home


@pytest.mark.thorough
@given(st.text(max_size=200))
@settings(max_examples=100)
def test_load_any_text_raises_only_its_own_errors(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    home = Home(tmp_path_factory.mktemp("home"))
    home.config.write_bytes(text.encode("utf-8", "surrogatepass"))
    with pytest.raises(NotifyError):
        load(home)

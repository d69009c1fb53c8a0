"""Settings are read from options and environment, and refused with a mend."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest

from tumorlens.errors import SettingError
from tumorlens.settings import (
    NODE_LIMITS,
    SETTINGS,
    NodeLimits,
    Settings,
    load_settings,
)


def test_nothing_set_gives_the_defaults() -> None:
    assert load_settings({}, {}) == Settings()


def test_every_setting_is_a_row_with_help_and_both_names() -> None:
    assert list(SETTINGS) == [row.name for row in fields(Settings)]
    for row in SETTINGS.values():
        assert row.help.endswith(".")
        assert row.environment == f"TUMORLENS_{row.name.upper()}"
    assert SETTINGS["upload_mb"].option == "--upload-mb"


def test_limits_of_the_node_have_variables_of_their_own() -> None:
    assert list(NODE_LIMITS) == [row.name for row in fields(NodeLimits)]
    row = NODE_LIMITS["pdu_kb"]
    assert (row.option, row.environment) == ("--pdu-kb", "TUMORLENS_NODE_PDU_KB")
    assert all(row.help.endswith(".") for row in NODE_LIMITS.values())


def test_an_option_goes_before_the_environment() -> None:
    environment = {"TUMORLENS_PORT": "7000", "TUMORLENS_UPLOAD_MB": "9"}
    settings = load_settings({"port": "8000", "host": None}, environment)
    assert settings.port == 8000
    assert settings.upload_mb == 9


def test_port_of_a_hosting_service_is_honoured() -> None:
    assert load_settings({}, {"PORT": "8123"}).port == 8123
    both = {"PORT": "8123", "TUMORLENS_PORT": "7000"}
    assert load_settings({}, both).port == 7000


def test_folders_and_texts_are_read(tmp_path: Path) -> None:
    settings = load_settings(
        {"store": str(tmp_path), "operating_point": " balanced "}, {}
    )
    assert settings.store == tmp_path
    assert settings.operating_point == "balanced"


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("port", "http", "'http'"),
        ("port", "65536", "65536"),
        ("port", "-1", "-1"),
        ("upload_mb", "0", "--upload-mb is 0"),
        ("threads", "1.5", "'1.5'"),
        ("retention_minutes", "", "empty"),
        ("store", "a\0b", "empty"),
        ("host", "  ", "--host is empty"),
    ],
)
def test_a_value_that_cannot_be_is_refused_by_name(
    name: str, text: str, said: str
) -> None:
    with pytest.raises(SettingError) as caught:
        load_settings({name: text}, {})
    assert said in caught.value.message
    assert SETTINGS[name].option in caught.value.message
    assert caught.value.hint


def test_a_bad_variable_is_named() -> None:
    with pytest.raises(SettingError, match="TUMORLENS_STORE_MB"):
        load_settings({}, {"TUMORLENS_STORE_MB": "many"})
    with pytest.raises(SettingError, match=r"^PORT is 'x'"):
        load_settings({}, {"PORT": "x"})

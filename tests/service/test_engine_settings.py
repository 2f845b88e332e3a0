"""vLLM's settings are looked up once while an engine runs, and anew when the next one starts."""

from __future__ import annotations

from typing import Any

import pytest

pytestmark = [pytest.mark.engine, pytest.mark.timeout(300)]

ASKED_FOR_EACH_TOKEN = "VLLM_COMPUTE_NANS_IN_LOGITS"


def test_a_running_engine_keeps_its_settings(real: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from vllm import envs

    monkeypatch.setenv(ASKED_FOR_EACH_TOKEN, "1")
    assert getattr(envs, ASKED_FOR_EACH_TOKEN) is False


def test_a_start_reads_them_again(monkeypatch: pytest.MonkeyPatch) -> None:
    from vllm import envs

    from service.engine.vllm import settings

    kept_before = envs._is_envs_cache_enabled()
    try:
        for value in ("0", "1"):
            monkeypatch.setenv(ASKED_FOR_EACH_TOKEN, value)
            settings.read_again()
            settings.keep()
            assert getattr(envs, ASKED_FOR_EACH_TOKEN) is bool(int(value))
    finally:
        monkeypatch.undo()
        settings.read_again()
        if kept_before:
            settings.keep()

"""The file of prices: what it takes, and what it refuses, all at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from evals.cost.prices import Prices, Tokens, load_prices
from lifecycle.errors import InvalidConfig


def written(folder: Path, text: str) -> Path:
    file = folder / "prices.yaml"
    file.write_text(text)
    return file


def test_without_a_file_there_are_no_prices_and_none_are_made_up() -> None:
    assert load_prices(None) is None


def test_cached_tokens_have_their_own_price_or_that_of_the_others() -> None:
    assert Tokens(prompt=2.0, cached=0.5, completion=8.0).of(1_000_000, 400_000, 500_000) == pytest.approx(5.4)
    assert Tokens(prompt=2.0, completion=8.0).of(1_000_000, 400_000, 500_000) == pytest.approx(6.0)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("tokens: {prompt: 1, completion: 2}", "currency"),
        ("currency: USD", "nothing says what serving costs"),
        ("currency: USD\ntokens: {prompt: 1, completion: 2}\nmachine: {hour: 1}", "two ways to pay for the same work"),
        ("currency: USD\ntokens: {prompt: -1, completion: 2}", "tokens.prompt"),
        ("currency: USD\ntokens: {prompt: .inf, completion: 2}", "tokens.prompt"),
        ("currency: USD\nmachine: {hour: 1, share: 0}", "machine.share"),
        ("currency: USD\nmachine: {hour: 1}\nretrieval: {hour: 0.1}", "write `days` too"),
        ("currency: USD\nmachine: {hour: 1}\nrequests: 0", "requests"),
        ("currency: USD\nmachines: {hour: 1}", "machine"),
    ],
)
def test_a_file_that_would_be_read_wrongly_is_refused_with_its_place(tmp_path: Path, text: str, fault: str) -> None:
    with pytest.raises(InvalidConfig) as refused:
        load_prices(written(tmp_path, text))
    assert fault in str(refused.value)
    assert "prices.yaml" in str(refused.value)


def test_an_arm_may_be_served_at_another_price_and_labels_that_are_no_arms_are_told() -> None:
    own = {"machine": {"hour": 3.0}}
    prices = Prices.model_validate(
        {"currency": "EUR", "tokens": {"prompt": 1, "completion": 2}, "arms": {"full": own}, "once": {"adpter": 5}}
    )
    assert prices.serving("full").machine is not None
    assert prices.serving("base") is prices
    assert prices.unused(["base", "full", "adapter"]) == ("adpter",)

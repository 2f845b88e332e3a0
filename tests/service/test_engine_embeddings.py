"""`/v1/embeddings` with the real retrieval model, against sentence-transformers on the same texts."""

from __future__ import annotations

from typing import Any

import numpy as np
import openai
import pytest

from retrieval import dense
from retrieval.packaged import PACKAGED_MODEL

pytestmark = [pytest.mark.engine, pytest.mark.timeout(900)]

TEXTS = ["Visits begin at nine.", "The pharmacy is on the second floor.", "When may I come?"]


@pytest.fixture
def sdk(real: Any) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{real.url}/v1", api_key="none", max_retries=0, timeout=120)


def test_vectors_are_the_retrieval_models_own(sdk: openai.OpenAI) -> None:
    served = sdk.embeddings.create(model=PACKAGED_MODEL, input=TEXTS)
    own = dense.Encoder(dense.locate(PACKAGED_MODEL)).documents(TEXTS)
    assert np.allclose([one.embedding for one in served.data], own, atol=1e-6)
    floats = sdk.embeddings.create(model=PACKAGED_MODEL, input=TEXTS, encoding_format="float")
    assert np.allclose([one.embedding for one in floats.data], own, atol=1e-6)
    near, far = own[0] @ own[2], own[1] @ own[2]
    assert near > far, "a question is nearer to its answer than to another sentence"


def test_tokens_are_counted_with_the_models_own_tokenizer(sdk: openai.OpenAI) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(dense.locate(PACKAGED_MODEL))
    served = sdk.embeddings.create(model=PACKAGED_MODEL, input=TEXTS)
    assert served.usage.prompt_tokens == sum(len(tokenizer(text)["input_ids"]) for text in TEXTS)


def test_a_text_over_the_limit_is_refused_and_one_at_the_limit_is_not(sdk: openai.OpenAI) -> None:
    # 256 tokens with the two marks of the model's own.
    sdk.embeddings.create(model=PACKAGED_MODEL, input=" ".join(["clinic"] * 254))
    with pytest.raises(openai.BadRequestError, match="257 tokens, and the model reads 256") as caught:
        sdk.embeddings.create(model=PACKAGED_MODEL, input=["fine", " ".join(["clinic"] * 255)])
    assert caught.value.param == "input.1"


def test_the_model_is_listed_with_the_digest_that_indexes_name_it_by(sdk: openai.OpenAI) -> None:
    card: Any = sdk.models.retrieve(PACKAGED_MODEL)
    assert (card.dabt["kind"], card.dabt["digest"]) == ("embedding", dense.fingerprint(dense.locate(PACKAGED_MODEL)))

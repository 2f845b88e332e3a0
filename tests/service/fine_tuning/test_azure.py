"""AzureOpenAI, with its paths, its header and its version, does what OpenAI's own client does."""

from __future__ import annotations

from typing import Any

import httpx2
import openai
import pytest

from tests.service.conftest import run_service
from tests.service.fine_tuning.conftest import Asked, rows

pytestmark = pytest.mark.timeout(300)


async def test_azures_client_sends_files_makes_jobs_and_chats(house: Any) -> None:
    key = house.key("one", role="trainer")["authorization"].removeprefix("Bearer ")
    async with run_service(house) as running:
        transport = Asked(running)
        async with httpx2.AsyncClient(transport=transport) as http:
            client = openai.AsyncAzureOpenAI(
                azure_endpoint="http://service", api_key=key, api_version="2025-04-01-preview", http_client=http
            )
            file = await client.files.create(file=("train.jsonl", rows()), purpose="fine-tune")
            job = await client.fine_tuning.jobs.create(model="tiny", training_file=file.id)
            assert (await client.fine_tuning.jobs.retrieve(job.id)).id == job.id
            assert [event.level async for event in client.fine_tuning.jobs.list_events(job.id)] == ["info", "info"]
            assert (await client.fine_tuning.jobs.cancel(job.id)).status == "cancelled"
            said = await client.chat.completions.create(model="tiny", messages=[{"role": "user", "content": "hi"}])
            assert said.choices[0].message.content
            wrong = client.with_options(api_key="wrong", max_retries=0)
            with pytest.raises(openai.AuthenticationError):
                await wrong.files.list()
    paths = [request.url.path for request in transport.requests]
    assert paths[0] == "/openai/files"
    assert "/openai/deployments/tiny/chat/completions" in paths
    assert all("api-version" in request.url.params for request in transport.requests)

"""Fine-tuning jobs, by OpenAI's client: asked for, listed, moved and told of, without a worker that trains them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import openai
import pytest

from lifecycle.jobs.nouns import (
    Hyperparameters,
    Job,
    JobCheckpoint,
    JobEvaluation,
    JobEvent,
    JobFault,
    JobProgress,
    JobResult,
    UploadedFile,
    new_id,
)
from lifecycle.registry.job_leases import MOST_TRIES
from tests.service.fine_tuning.conftest import rows

pytestmark = pytest.mark.timeout(300)

WANDB = {"type": "wandb", "wandb": {"project": "triage", "tags": ["a"]}}


async def sent(client: Any, name: str = "train.jsonl") -> str:
    made = await client.files.create(file=(name, rows()), purpose="fine-tune")
    return str(made.id)


def taken(house: Any, job_id: str, worker: str = "w") -> Job:
    """As a worker does it."""
    leases, base = house.registry.leases, house.base_digest
    assert leases.validated(job_id, None, worker)
    job: Job = leases.take(worker, [base], {})
    assert job.id == job_id
    return job


async def test_a_new_job_has_every_key(house: Any, client_of: Any) -> None:
    async with client_of(house) as client:
        file, held = await sent(client), await sent(client)
        made = await client.fine_tuning.jobs.create(
            model="tiny",
            training_file=file,
            validation_file=held,
            suffix="Triage for Amal",
            seed=7,
            method={"type": "supervised", "supervised": {"hyperparameters": {"n_epochs": 3, "batch_size": "auto"}}},
            metadata={"team": "عيادة"},
            integrations=[WANDB],
        )
        got = await client.fine_tuning.jobs.retrieve(made.id)
    assert made == got
    assert made.id.startswith("ftjob-")
    hyper = {"n_epochs": 3, "batch_size": "auto", "learning_rate_multiplier": "auto"}
    assert made.to_dict() == {
        "id": made.id,
        "object": "fine_tuning.job",
        "created_at": made.created_at,
        "finished_at": None,
        "estimated_finish": None,
        "status": "validating_files",
        "model": "tiny",
        "fine_tuned_model": None,
        "organization_id": "dabt",
        "training_file": file,
        "validation_file": held,
        "result_files": [],
        "trained_tokens": None,
        "seed": 7,
        "hyperparameters": hyper,
        "method": {"type": "supervised", "supervised": {"hyperparameters": hyper}},
        "metadata": {"team": "عيادة"},
        "integrations": [
            {"type": "wandb", "wandb": {"project": "triage", "name": None, "entity": None, "tags": ["a"]}}
        ],
        "user_provided_suffix": "Triage for Amal",
        "error": None,
        "dabt": {"version": None, "progress": None, "evaluation": None},
    }


async def test_what_is_left_out_is_auto_and_a_seed_is_made_up(house: Any, client_of: Any) -> None:
    async with client_of(house) as client:
        file = await sent(client)
        made = [await client.fine_tuning.jobs.create(model="tiny", training_file=file) for _ in range(2)]
        old = await client.fine_tuning.jobs.create(model="tiny", training_file=file, hyperparameters={"n_epochs": 4})
        dpo = await client.fine_tuning.jobs.create(
            model="tiny", training_file=file, method={"type": "dpo", "dpo": {"hyperparameters": {"beta": 0.2}}}
        )
    assert made[0].id != made[1].id
    assert made[0].seed != made[1].seed
    assert all(0 <= job.seed < 2**31 for job in made)
    assert (old.hyperparameters.n_epochs, old.method.type) == (4, "supervised")
    assert dpo.method.dpo.hyperparameters.model_dump() == {
        "n_epochs": "auto",
        "batch_size": "auto",
        "learning_rate_multiplier": "auto",
        "beta": 0.2,
    }
    assert "beta" not in dpo.to_dict()["hyperparameters"]


def _hyper(**values: object) -> dict[str, Any]:
    return {"method": {"type": "supervised", "supervised": {"hyperparameters": values}}}


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"model": "gpt-4o-mini"}, "model"),
        ({"model": ""}, "model"),
        ({"training_file": "file-none"}, "training_file"),
        ({"validation_file": "file-none"}, "validation_file"),
        ({"suffix": "x" * 65}, "suffix"),
        ({"seed": -1}, "seed"),
        ({"seed": 2**31}, "seed"),
        ({"method": {"type": "reinforcement"}}, "method.type"),
        ({"method": {"type": "orpo"}}, "method.type"),
        ({"method": {"type": "supervised", "dpo": {"hyperparameters": {}}}}, "method"),
        (_hyper(n_epochs=0), "method.supervised.hyperparameters.n_epochs"),
        (_hyper(n_epochs=51), "method.supervised.hyperparameters.n_epochs"),
        (_hyper(batch_size=257), "method.supervised.hyperparameters.batch_size"),
        (_hyper(learning_rate_multiplier=0), "method.supervised.hyperparameters.learning_rate_multiplier"),
        (_hyper(lora_rank=32), "method.supervised.hyperparameters.lora_rank"),
        (_hyper(lora_rank=12), "method.supervised.hyperparameters.lora_rank"),
        (_hyper(beta=0.1), "method.supervised.hyperparameters.beta"),
        ({"method": {"type": "dpo", "dpo": {"hyperparameters": {"beta": 2.1}}}}, "method.dpo.hyperparameters.beta"),
        ({"method": {"type": "dpo"}, "hyperparameters": {"n_epochs": 2}}, "hyperparameters"),
        ({"metadata": {str(n): "" for n in range(17)}}, "metadata"),
        ({"metadata": {"k" * 65: ""}}, None),
        ({"metadata": {"k": "v" * 513}}, "metadata.k"),
        ({"integrations": [WANDB] * 6}, "integrations"),
        ({"metadata": {"dabt_eval": "triage"}}, "metadata.dabt_eval"),
        ({"metadata": {"dabt_evals": "triage"}}, "metadata.dabt_evals"),
        ({"integrations": [{"type": "wandb", "wandb": {}}]}, "integrations.0.wandb.project"),
        ({"extra_body": {"epochs": 3}}, "epochs"),
    ],
)
async def test_what_no_job_can_be_is_refused_by_its_place(
    house: Any, client_of: Any, change: dict[str, Any], param: str | None
) -> None:
    async with client_of(house) as client:
        file = await sent(client)
        with pytest.raises((openai.BadRequestError, openai.NotFoundError)) as caught:
            await client.fine_tuning.jobs.create(**{"model": "tiny", "training_file": file, **change})
        if param is not None:
            assert caught.value.param == param
        assert (await client.fine_tuning.jobs.list()).data == []


async def test_a_file_for_something_else_is_no_training_file(house: Any, client_of: Any) -> None:
    async with client_of(house) as client:
        file = await client.files.create(file=("a", rows()), purpose="user_data")
        with pytest.raises(openai.BadRequestError, match="is for user_data") as caught:
            await client.fine_tuning.jobs.create(model="tiny", training_file=file.id)
    assert caught.value.param == "training_file"


# -- the same request again -------------------------------------------------------------------------------------------


async def test_a_client_that_tries_again_makes_one_job(house: Any, client_of: Any) -> None:
    async with client_of(house) as client:
        file = await sent(client)
        client.asked.requests.clear()
        client.asked.lose = 2
        made = await client.fine_tuning.jobs.create(model="tiny", training_file=file)
        assert len(client.asked.requests) == 3
        assert [job.id async for job in client.fine_tuning.jobs.list()] == [made.id]
        # Asked for on purpose, the same again is another job.
        again = await client.fine_tuning.jobs.create(model="tiny", training_file=file)
        assert again.id != made.id


async def test_an_idempotency_key_stands_for_one_job_of_its_owner(house: Any, client_of: Any) -> None:
    one, two = (house.key(name, role="trainer") for name in ("one", "two"))
    headers = {"Idempotency-Key": "monday"}
    async with client_of(house, key=one) as client, client_of(house, key=two, running=client.running) as other:
        file, theirs = await sent(client), await sent(other)
        make = client.fine_tuning.jobs.create
        made = [await make(model="tiny", training_file=file, extra_headers=headers) for _ in range(2)]
        assert made[0] == made[1]
        with pytest.raises(openai.BadRequestError, match="another body"):
            await make(model="tiny", training_file=file, seed=3, extra_headers=headers)
        foreign = await other.fine_tuning.jobs.create(model="tiny", training_file=theirs, extra_headers=headers)
        assert foreign.id != made[0].id


# -- lists ------------------------------------------------------------------------------------------------------------


async def test_jobs_are_listed_in_pages_and_by_metadata(house: Any, client_of: Any) -> None:
    async with client_of(house) as client:
        file, jobs = await sent(client), client.fine_tuning.jobs
        ids = [
            (await jobs.create(model="tiny", training_file=file, metadata={"n": str(n % 2), "all": ""})).id
            for n in range(5)
        ]
        bare = (await jobs.create(model="tiny", training_file=file)).id
        page = await jobs.list(limit=2)
        assert ([job.id for job in page.data], page.has_more) == ([bare, ids[4]], True)
        assert [job.id async for job in jobs.list(limit=2)] == [bare, *ids[::-1]]
        assert (await jobs.list(limit=6)).has_more is False
        assert [job.id async for job in jobs.list(metadata={"n": "1"})] == [ids[3], ids[1]]
        assert [job.id async for job in jobs.list(metadata={"n": "1", "all": ""})] == [ids[3], ids[1]]
        assert [job.id async for job in jobs.list(metadata={"n": "2"})] == []
        assert [job.id async for job in jobs.list(extra_query={"metadata": "null"})] == [bare]
        with pytest.raises(openai.BadRequestError):
            await jobs.list(extra_query={"metadata[n]": "1", "metadata": "null"})


async def test_jobs_are_their_owners_alone_but_for_an_admin(house: Any, client_of: Any) -> None:
    one, two = (house.key(name, role="trainer") for name in ("one", "two"))
    ops = house.key("ops", role="admin")
    async with (
        client_of(house, key=one) as client,
        client_of(house, key=two, running=client.running) as other,
        client_of(house, key=ops, running=client.running) as admin,
    ):
        made = await client.fine_tuning.jobs.create(model="tiny", training_file=await sent(client))
        assert (await other.fine_tuning.jobs.list()).data == []
        jobs = other.fine_tuning.jobs
        for call in (jobs.retrieve, jobs.cancel, jobs.pause, jobs.resume, jobs.list_events, jobs.checkpoints.list):
            with pytest.raises(openai.NotFoundError):
                await call(made.id)
        with pytest.raises(openai.BadRequestError, match="there is no file"):
            await jobs.create(model="tiny", training_file=made.training_file)
        assert (await admin.fine_tuning.jobs.retrieve(made.id)).id == made.id
        assert (await admin.fine_tuning.jobs.cancel(made.id)).status == "cancelled"


# -- moves ------------------------------------------------------------------------------------------------------------


async def test_pause_resume_and_cancel_follow_the_table_and_stand_in_the_trail(house: Any, client_of: Any) -> None:
    async with client_of(house) as client:
        jobs = client.fine_tuning.jobs
        made = await jobs.create(model="tiny", training_file=await sent(client))
        with pytest.raises(openai.BadRequestError, match="cannot become paused"):
            await jobs.pause(made.id)
        job = taken(house, made.id)
        assert (await jobs.retrieve(made.id)).status == "running"
        assert (await jobs.pause(made.id)).status == "paused"
        assert house.registry.leases.held([house.base_digest]) == {}
        assert (await jobs.resume(made.id)).status == "queued"
        assert house.registry.leases.take("w2", [job.base], {}).id == made.id
        ended = await jobs.cancel(made.id)
        assert (ended.status, ended.finished_at is not None) == ("cancelled", True)
        client.asked.requests.clear()
        for call in (jobs.cancel, jobs.pause, jobs.resume):
            with pytest.raises(openai.BadRequestError) as caught:
                await call(made.id)
            assert caught.value.code == "invalid_job_state"
        assert len(client.asked.requests) == 3  # none was tried again
        events = [event.message async for event in jobs.list_events(made.id, limit=3)]
    assert events[0] == "The job has been cancelled"
    assert events[-2:] == ["Validating training file", f"Created fine-tuning job: {made.id}"]
    trail = [entry for entry in house.registry.audit(made.id) if entry.action == "job.state"]
    assert [entry.detail["to"] for entry in trail] == [
        *("cancelled", "running", "queued", "paused", "running", "queued"),
    ]
    assert trail[0].actor == "openai-api"


async def test_a_job_that_is_being_published_can_be_stopped_no_more(house: Any, client_of: Any) -> None:
    async with client_of(house) as client:
        made = await client.fine_tuning.jobs.create(model="tiny", training_file=await sent(client))
        taken(house, made.id)
        house.registry.leases.seal(made.id, "w")
        for call in (client.fine_tuning.jobs.cancel, client.fine_tuning.jobs.pause):
            with pytest.raises(openai.BadRequestError, match="is being published"):
                await call(made.id)
        assert (await client.fine_tuning.jobs.retrieve(made.id)).status == "running"


async def test_a_key_has_no_more_unfinished_jobs_than_it_may(house: Any, client_of: Any) -> None:
    key = house.key("one", role="trainer", limits={"training_jobs": 1})
    async with client_of(house, key=key) as patient:
        client = patient.with_options(max_retries=0)
        file = (await client.files.create(file=("a.jsonl", rows()), purpose="fine-tune")).id
        made = await client.fine_tuning.jobs.create(model="tiny", training_file=file)
        with pytest.raises(openai.RateLimitError, match="has 1 unfinished jobs, and may have 1"):
            await client.fine_tuning.jobs.create(model="tiny", training_file=file)
        await client.fine_tuning.jobs.cancel(made.id)
        await client.fine_tuning.jobs.create(model="tiny", training_file=file)


# -- what workers say -------------------------------------------------------------------------------------------------


def finish(house: Any, job: Job, *, version: str = "", worker: str = "w") -> JobResult:
    """As a worker that has trained the version."""
    name = f"ft:tiny:dabt:{job.request.suffix}:{job.tail}"
    version = version or house.version(job.name, adapter="one").ref
    result = JobResult(model=name, version=version, trained_tokens=321, result_files=("file-r",))
    checkpoint = JobCheckpoint(
        id=new_id("ftckpt_"),
        job=job.id,
        step=4,
        model=f"{name}:ckpt-step-4",
        version=version,
        metrics={"valid_loss": 0.5},
        created_at=datetime.now(UTC),
    )
    house.registry.leases.seal(job.id, worker)
    figures = UploadedFile(
        id=new_id("file-"),
        owner=job.owner,
        purpose="fine-tune-results",
        filename="step_metrics.csv",
        bytes=1,
        digest=job.base,
        created_at=datetime.now(UTC),
    )
    house.registry.leases.succeeded(job, worker, result, [checkpoint], [JobEvent(message="done")], figures)
    return result


async def test_a_running_job_tells_how_far_it_is_and_an_ended_one_what_it_made(house: Any, client_of: Any) -> None:
    house.adapter("one")
    async with client_of(house) as client:
        jobs = client.fine_tuning.jobs
        made = await jobs.create(model="tiny", training_file=await sent(client), suffix="triage")
        job = taken(house, made.id)
        soon = datetime.now(UTC)
        settled = Hyperparameters(n_epochs=3, batch_size=4, learning_rate_multiplier=1.0)
        beat = JobProgress(step=4, total_steps=12, estimated_finish=soon, hyperparameters=settled)
        house.registry.leases.beat(made.id, "w", beat)
        data = {"step": 4, "train_loss": 0.7, "total_steps": 12}
        house.registry.leases.tell(made.id, "w", [JobEvent(message="Step 4/12", data=data)])
        running = await jobs.retrieve(made.id)
        assert running.estimated_finish == int(soon.timestamp())
        assert running.to_dict()["dabt"]["progress"] == {"step": 4, "total_steps": 12}
        assert running.hyperparameters.model_dump() == settled.model_dump(exclude={"beta"})
        metrics = (await jobs.list_events(made.id, limit=1)).data[0]
        assert (metrics.type, metrics.data, metrics.level) == ("metrics", data, "info")
        result = finish(house, job)
        ended = await jobs.retrieve(made.id)
        assert (ended.status, ended.fine_tuned_model, ended.trained_tokens) == ("succeeded", result.model, 321)
        assert (ended.result_files, ended.estimated_finish) == (["file-r"], None)
        (checkpoint,) = (await jobs.checkpoints.list(made.id)).data
        assert checkpoint.fine_tuned_model_checkpoint == f"{result.model}:ckpt-step-4"
        assert (checkpoint.step_number, checkpoint.metrics.step, checkpoint.metrics.valid_loss) == (4, 4, 0.5)
        assert checkpoint.metrics.full_valid_loss is None


@pytest.mark.parametrize("loss", [float("nan"), float("inf"), float("-inf")])
async def test_a_loss_that_is_no_number_any_more_is_told_as_none(house: Any, client_of: Any, loss: float) -> None:
    async with client_of(house) as client:
        made = await client.fine_tuning.jobs.create(model="tiny", training_file=await sent(client))
        taken(house, made.id)
        lost = JobEvent(message="Step 4/12", data={"step": 4, "train_loss": loss})
        house.registry.leases.tell(made.id, "w", [lost])
        assert (await client.fine_tuning.jobs.list_events(made.id, limit=1)).data[0].data == {
            "step": 4,
            "train_loss": None,
        }


async def test_a_failed_job_says_why(house: Any, client_of: Any) -> None:
    async with client_of(house) as client:
        made = await client.fine_tuning.jobs.create(model="tiny", training_file=await sent(client))
        fault = JobFault(code="invalid_training_file", message="line 3: …", param="training_file")
        assert house.registry.leases.validated(made.id, fault, "w")
        ended = await client.fine_tuning.jobs.retrieve(made.id)
        assert (ended.status, ended.error.model_dump()) == ("failed", fault.model_dump())
        assert (await client.fine_tuning.jobs.list_events(made.id)).data[0].level == "error"


async def test_the_result_is_callable_by_its_owner_at_once_as_a_draft_and_by_nobody_else(
    house: Any, client_of: Any
) -> None:
    house.adapter("one")
    one, two = (house.key(name, role="trainer") for name in ("one", "two"))
    async with client_of(house, key=one) as client, client_of(house, key=two, running=client.running) as other:
        file = await sent(client)
        made = await client.fine_tuning.jobs.create(model="tiny", training_file=file, suffix="triage")
        result = finish(house, taken(house, made.id))
        asked = [{"role": "user", "content": "hello"}]
        for name in (result.model, f"{result.model}:ckpt-step-4"):
            said = await client.chat.completions.create(model=name, messages=asked)
            assert said.model == name
            assert said.to_dict()["dabt"]["version"] == result.version == "triage:1"
            stream = await client.chat.completions.create(model=name, messages=asked, stream=True)
            assert [chunk async for chunk in stream]
            assert (await client.models.retrieve(name)).id == name
            with pytest.raises(openai.NotFoundError):
                await other.chat.completions.create(model=name, messages=asked)
            with pytest.raises(openai.NotFoundError):
                await other.models.retrieve(name)
        with pytest.raises(openai.PermissionDeniedError, match="not approved"):
            await client.chat.completions.create(model=result.version, messages=asked)
        # It can be trained on, by its name.
        more = await client.fine_tuning.jobs.create(model=result.model, training_file=file, suffix="triage")
        assert house.registry.jobs.get(more.id, None).request.start == "triage:1"
        with pytest.raises(openai.NotFoundError):
            await other.fine_tuning.jobs.create(model=result.model, training_file=await sent(other))
        # The next key of its name has it not; one that was made to share has it.
        house.registry.keys.revoke("one", actor="test")
        again = house.key("one", role="trainer")
        heir = house.key("one-2", role="trainer", shares_with=house.registry.keys.all()[0].id)
        await client.running.app.state.parts.catch_up()
        with pytest.raises(openai.AuthenticationError):
            await client.chat.completions.create(model=result.model, messages=asked)
        async with client_of(house, key=again, running=client.running) as namesake:
            with pytest.raises(openai.NotFoundError):
                await namesake.chat.completions.create(model=result.model, messages=asked)
            assert (await namesake.fine_tuning.jobs.list()).data == []
        async with client_of(house, key=heir, running=client.running) as rotated:
            assert (await rotated.chat.completions.create(model=result.model, messages=asked)).model == result.model


async def test_a_key_trains_only_names_that_it_covers(house: Any, client_of: Any) -> None:
    key = house.key("one", role="trainer", models=("tiny", "triage"))
    async with client_of(house, key=key) as client:
        file = await sent(client)
        await client.fine_tuning.jobs.create(model="tiny", training_file=file, suffix="triage")
        with pytest.raises(openai.PermissionDeniedError, match="not for billing:1"):
            await client.fine_tuning.jobs.create(model="tiny", training_file=file, suffix="billing")


# -- the models that jobs have made -----------------------------------------------------------------------------------


async def test_models_of_jobs_are_listed_for_their_owner_and_deleted_by_it_alone(house: Any, client_of: Any) -> None:
    house.adapter("one")
    house.adapter("two")
    one, two, app = (house.key(name, role=role) for name, role in (("a", "trainer"), ("b", "trainer"), ("c", "caller")))
    async with (
        client_of(house, key=one) as client,
        client_of(house, key=two, running=client.running) as other,
        client_of(house, key=app, running=client.running) as caller,
    ):
        made = await client.fine_tuning.jobs.create(model="tiny", training_file=await sent(client), suffix="triage")
        model = finish(house, taken(house, made.id)).model
        names, asked = [model, f"{model}:ckpt-step-4"], [{"role": "user", "content": "hello"}]
        await client.running.app.state.parts.catch_up()
        assert [each.id async for each in client.models.list()] == ["tiny", *names]
        for stranger in (other, caller):
            assert [each.id async for each in stranger.models.list()] == ["tiny"]
        with pytest.raises(openai.NotFoundError):
            await other.models.delete(model)
        with pytest.raises(openai.PermissionDeniedError, match="needs a trainer's"):
            await caller.models.delete(model)
        for name in ("tiny", "triage:1"):
            with pytest.raises(openai.PermissionDeniedError, match="only names that begin with ft:"):
                await client.models.delete(name)
        # Both names are of one version, which stays until the last of them is gone.
        for name in names:
            assert (await client.chat.completions.create(model=name, messages=asked)).model == name
        gone = await client.models.delete(names[1])
        assert gone.to_dict() == {"id": names[1], "object": "model", "deleted": True}
        assert house.registry.version("triage:1").state == "draft"
        assert (await client.chat.completions.create(model=model, messages=asked)).model == model
        house.registry.promote("triage:1", actor="test", reason="for the test", force=True)
        with pytest.raises(openai.PermissionDeniedError, match="behind triage:prod; move that first"):
            await client.models.delete(model)
        house.registry.promote(house.version("triage", adapter="two").ref, actor="test", reason="next", force=True)
        assert (await client.models.delete(model)).deleted
        assert house.registry.version("triage:1").state == "retired"
        for call in (
            client.models.delete(model),
            client.models.retrieve(model),
            client.chat.completions.create(model=model, messages=asked),
        ):
            with pytest.raises(openai.NotFoundError):
                await call
        assert [each.id async for each in client.models.list()] == ["tiny", "triage"]
    trail = [entry.action for entry in house.registry.audit(model)]
    assert trail == ["model.delete"] * 2  # of the model, and of its checkpoint


async def test_models_of_jobs_are_listed_where_the_key_sees_no_other(house: Any, client_of: Any) -> None:
    house.adapter("one")
    wide, narrow = (
        house.key("a", role="trainer"),
        house.key("b", role="trainer", models=("triage",), shares_with="a"),
    )
    async with (
        client_of(house, key=wide) as client,
        client_of(house, key=narrow, running=client.running) as other,
    ):
        assert [each.id async for each in other.models.list()] == []
        made = await client.fine_tuning.jobs.create(model="tiny", training_file=await sent(client), suffix="triage")
        model = finish(house, taken(house, made.id)).model
        await client.running.app.state.parts.catch_up()
        assert [each.id async for each in other.models.list()] == [model, f"{model}:ckpt-step-4"]


async def test_a_name_that_was_deleted_elsewhere_is_not_called_any_more(house: Any, client_of: Any) -> None:
    house.adapter("one")
    async with client_of(house) as client:
        made = await client.fine_tuning.jobs.create(model="tiny", training_file=await sent(client))
        model = finish(house, taken(house, made.id)).model
        asked = {"model": model, "messages": [{"role": "user", "content": "hello"}]}
        await client.chat.completions.create(**asked)
        for name in (model, f"{model}:ckpt-step-4"):
            house.registry.jobs.delete_tuned(name, "", actor="another service")
        await client.running.app.state.parts.catch_up()
        with pytest.raises(openai.NotFoundError):
            await client.chat.completions.create(**asked)


# -- the evaluation that a job asks for -------------------------------------------------------------------------------


async def test_a_job_may_ask_for_an_evaluation_that_is_there(house: Any, client_of: Any, tmp_path: Any) -> None:
    (tmp_path / "triage.yaml").write_text("")
    async with client_of(house, evals=tmp_path) as client:
        file = await sent(client)
        create = client.fine_tuning.jobs.create
        for name in ("nothing", "../triage", "", "triage.yaml"):
            with pytest.raises(openai.BadRequestError, match="one of triage") as caught:
                await create(model="tiny", training_file=file, metadata={"dabt_eval": name})
            assert caught.value.param == "metadata.dabt_eval"
        made = await create(model="tiny", training_file=file, metadata={"dabt_eval": "triage", "team": "amal"})
        assert made.metadata == {"dabt_eval": "triage", "team": "amal"}


async def test_a_job_runs_until_its_evaluation_has_a_verdict(house: Any, client_of: Any, tmp_path: Any) -> None:
    (tmp_path / "triage.yaml").write_text("")
    house.adapter("one")
    async with client_of(house, evals=tmp_path) as client:
        jobs = client.fine_tuning.jobs
        file, metadata = await sent(client), {"dabt_eval": "triage"}
        made = await jobs.create(model="tiny", training_file=file, suffix="triage", metadata=metadata)
        result = finish(house, taken(house, made.id))
        between = await jobs.retrieve(made.id)
        assert (between.status, between.fine_tuned_model, between.finished_at) == ("running", result.model, None)
        asked = [{"role": "user", "content": "hello"}]
        assert (await client.chat.completions.create(model=result.model, messages=asked)).model == result.model
        for call in (jobs.cancel, jobs.pause):
            with pytest.raises(openai.BadRequestError, match="only its evaluation still runs"):
                await call(made.id)
        # Its worker is lost, and another goes on with it.
        held = house.registry.leases.held([house.base_digest])
        job = house.registry.leases.take("w2", [house.base_digest], held)
        assert (job.id, job.state, job.result.version) == (made.id, "evaluating", "triage:1")
        opens = "opens triage:prod"
        passed = JobEvaluation(name="triage", ruling="passed", verdict=house.base_digest, opens=opens)
        house.registry.leases.evaluated(made.id, "w2", passed)
        ended = await jobs.retrieve(made.id)
        assert ended.status == "succeeded"
        assert ended.to_dict()["dabt"] == {
            "version": "triage:1", "progress": None, "evaluation": passed.model_dump(),
        }  # fmt: skip
        said = [event.message async for event in jobs.list_events(made.id)]
        assert said[:2] == ["The job has successfully completed", "Evaluation triage: passed; opens triage:prod"]


async def test_an_evaluation_that_ends_its_workers_leaves_the_model_without_a_verdict(
    house: Any, client_of: Any, tmp_path: Any
) -> None:
    (tmp_path / "triage.yaml").write_text("")
    house.adapter("one")
    async with client_of(house, evals=tmp_path) as client:
        file, metadata = await sent(client), {"dabt_eval": "triage"}
        made = await client.fine_tuning.jobs.create(model="tiny", training_file=file, metadata=metadata)
        finish(house, taken(house, made.id))
        leases, bases = house.registry.leases, [house.base_digest]
        while (job := leases.take("next", bases, leases.held(bases))) is not None:
            assert job.tries <= MOST_TRIES
        ended = await client.fine_tuning.jobs.retrieve(made.id)
        assert (ended.status, ended.error) == ("succeeded", None)
        assert ended.to_dict()["dabt"]["evaluation"]["ruling"] == "error"

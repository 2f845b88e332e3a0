"""The smallest fleet for a demand: enough for the load, more where slots are few, and none where none does."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.capacity import BUSIEST, Demand, least_replicas, rows, smallest
from benchmarks.fleet import Machine
from service.engine.memory import GIB, adapter_bytes

BASE = Path(__file__).parents[2] / "examples" / "clinic" / "base_model"
DEMAND = Demand(adapters=300, requests=12, answer=1.5, zipf=0.9, p99=1.0, seconds=12)
MACHINE = Machine(slots=32, streams=8, queue=16, nearby=64)


def test_the_load_alone_wants_streams_for_the_answers_that_run() -> None:
    least = least_replicas(DEMAND, MACHINE)
    running = DEMAND.requests * DEMAND.answer
    assert running / (least * MACHINE.streams) <= BUSIEST < running / ((least - 1) * MACHINE.streams)
    assert DEMAND.traffic(MACHINE, least).load == pytest.approx(running / (least * MACHINE.streams))


def test_the_smallest_fleet_keeps_the_wait_and_slots_that_are_too_few_cost_replicas_or_cannot_do() -> None:
    many, few = (rows(DEMAND, MACHINE, [slots], GIB)[0] for slots in (32, 1))
    assert int(many[1]) >= least_replicas(DEMAND, MACHINE)
    assert float(many[7]) <= DEMAND.p99
    assert few[1] == "none does" or int(few[1]) > int(many[1])
    assert (many[0], many[2], many[3]) == ("32", "32.00", "64.00")


def test_a_wait_that_no_fleet_keeps_is_none() -> None:
    assert smallest(Demand(300, 12, 1.5, 0.9, p99=0.0, seconds=6), MACHINE) is None


def test_an_adapter_is_as_large_as_its_rank_and_the_width_of_its_numbers() -> None:
    assert (
        adapter_bytes(BASE, 16, "float32")
        == 2 * adapter_bytes(BASE, 16, "bfloat16")
        == 4 * adapter_bytes(BASE, 8, "bfloat16")
    )

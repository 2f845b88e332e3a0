"""Products in bfloat16 against torch's: any number of rows, on any number of threads, each row with the same bits."""

from __future__ import annotations

from typing import Any

import pytest

pytestmark = [pytest.mark.engine, pytest.mark.timeout(300)]

OUT, IN_PANELS, INTO = 100, 112, 64
"""Outputs of a weight in rows and of one in panels, of which there are whole ones only; inputs."""
TOLERANCE = 2**-7
"""Of the largest number: a unit in the last place of bfloat16."""


def numbers(*shape: int) -> Any:
    import torch

    return torch.randn(*shape, generator=torch.Generator().manual_seed(shape[0])).bfloat16()


def product(rows: Any, bias: Any = None, threads: int = 3, panels: bool = False) -> Any:
    from service.engine.cpu.products import Product, Workspace
    from service.engine.cpu.weights import in_panels

    weight = in_panels(numbers(IN_PANELS, INTO)) if panels else numbers(OUT, INTO)
    return Product(weight, Workspace(threads))(rows, bias)


@pytest.mark.parametrize("rows", [0, 1, 2, 3, 4, 7, 64, 192, 193, 500])
@pytest.mark.parametrize("with_bias", [False, True])
@pytest.mark.parametrize("panels", [False, True])
def test_a_product_is_that_of_torch(rows: int, with_bias: bool, panels: bool) -> None:
    out = IN_PANELS if panels else OUT
    x, bias = numbers(rows, INTO), numbers(out) if with_bias else None
    wanted = x.double() @ numbers(out, INTO).double().T + (0 if bias is None else bias.double())
    got = product(x, bias, panels=panels)
    assert got.shape == wanted.shape
    assert rows == 0 or (got.double() - wanted).abs().max() <= TOLERANCE * wanted.abs().max()


@pytest.mark.parametrize("panels", [False, True])
def test_a_row_gets_the_same_bits_alone_and_among_others_on_any_number_of_threads(panels: bool) -> None:
    import torch

    x = numbers(200, INTO)
    alone = torch.cat([product(row[None], threads=1, panels=panels) for row in x])
    for threads in (1, 2, 5):
        assert torch.equal(product(x, threads=threads, panels=panels), alone)
    assert torch.equal(product(x[7:12], panels=panels), alone[7:12])


def test_rows_that_do_not_lie_one_after_the_other() -> None:
    import torch

    x = numbers(5, 2 * INTO)
    assert torch.equal(product(x[:, :INTO]), product(x[:, :INTO].contiguous()))


@pytest.mark.parametrize("panels", [False, True])
def test_what_is_no_number_stays_in_its_row(panels: bool) -> None:
    import torch

    x = numbers(9, INTO)
    before = product(x, panels=panels)
    x[4, 0] = float("nan")
    after = product(x, panels=panels)
    assert after[4].isnan().all()
    others = [row for row in range(9) if row != 4]
    assert torch.equal(after[others], before[others])


def test_products_of_a_model_use_one_workspace() -> None:
    """Of different sizes, in any order, and again after it has grown."""
    import torch

    from service.engine.cpu.products import Product, Workspace

    workspace = Workspace(2)
    sizes = [(8, 32), (100, 96), (48, 64)]
    weights = [numbers(*size) for size in sizes]
    products = [Product(weight, workspace) for weight in weights]
    for rows in (3, 70, 2):
        for one, weight in zip(products, weights, strict=True):
            x = numbers(rows, weight.shape[1])
            assert torch.equal(one(x), Product(weight, Workspace(1))(x))

"""Which GPUs a program may use, by CUDA's rules."""

from __future__ import annotations

import pytest

from holter.visibility import Candidate, Visible, in_cuda_order, visible

A, B, C = "GPU-aaaa1111", "GPU-aaaa2222", "GPU-cccc3333"
GPUS = [Candidate(A, (7.0,)), Candidate(B, (9.0,)), Candidate(C, (9.0,))]
DIVIDED = [Candidate(A), Candidate(B, (), (("MIG-1111", 7, 0), ("MIG-1222", 8, 0)))]


def chosen(devices: str | None, order: str | None = "PCI_BUS_ID") -> list[int]:
    return [one.gpu for one in visible(GPUS, devices, order)]


@pytest.mark.parametrize(
    ("devices", "expected"),
    [
        (None, [0, 1, 2]),
        ("", []),
        ("-1", []),
        ("NoDevFiles", []),
        ("0", [0]),
        ("2,0", [2, 0]),
        (" 1 , 2 ", [1, 2]),
        ("0,-1,2", [0]),
        ("0,7,2", [0]),
        ("0,1x,2", [0]),
        ("1,1", []),
        (C, [2]),
        (f"{C},{A}", [2, 0]),
        ("GPU-c,0", [2, 0]),
        ("GPU-aaaa", []),
        ("GPU-zzzz,0", []),
        ("0²", []),
    ],
)
def test_a_list_is_read_as_cuda_reads_it(devices: str | None, expected: list[int]) -> None:
    """Numbers, ids, ids cut short; the first that names none, or more than one, ends the list; twice leaves none."""
    assert expected == chosen(devices)


def test_numbers_are_those_of_cuda() -> None:
    """Without another word the fastest is 0, equals go by the bus; by the bus if CUDA is told so."""
    assert [1, 2, 0] == in_cuda_order(GPUS, None) == in_cuda_order(GPUS, "FASTEST_FIRST")
    assert [0, 1, 2] == in_cuda_order(GPUS, "PCI_BUS_ID")
    assert [0, 1] == in_cuda_order([Candidate(A), Candidate(B, (9.0,))], None)
    assert [1] == chosen("0", None)
    assert [2, 0] == chosen("1,2", None)
    assert [2] == chosen(C, None)


@pytest.mark.parametrize(
    ("devices", "expected"),
    [
        (None, [Visible(0), Visible(1), Visible(1, "MIG-1111"), Visible(1, "MIG-1222")]),
        ("1", [Visible(1), Visible(1, "MIG-1111"), Visible(1, "MIG-1222")]),
        ("MIG-1222", [Visible(1, "MIG-1222")]),
        ("MIG-12", [Visible(1, "MIG-1222")]),
        ("MIG-1", []),
        (f"MIG-{B}/7/0", [Visible(1, "MIG-1111")]),
        (f"MIG-{B}/9/0", []),
        (f"MIG-{B}", []),
        (f"MIG-1111,{A}", [Visible(1, "MIG-1111"), Visible(0)]),
    ],
)
def test_parts_of_a_gpu_are_named_by_their_own_ids(devices: str | None, expected: list[Visible]) -> None:
    """In both spellings; a GPU that is divided brings its parts."""
    assert expected == visible(DIVIDED, devices)

"""Which of a machine's GPUs a program may use, and how it counts them: CUDA's own rules."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

_MIG: Final = "MIG-"
_MIG_OF_GPU: Final = "MIG-GPU-"


class Candidate(NamedTuple):
    """A GPU as the driver knows it, in the order of the driver: by its place on the bus."""

    id: str
    speed: tuple[float, ...] = ()
    """The larger, the sooner CUDA names it, unless it is told to go by the bus."""
    instances: tuple[tuple[str, int, int], ...] = ()
    """Of one that is divided (MIG): the id of each part, and its numbers as GPU instance and compute instance."""


class Visible(NamedTuple):
    """A GPU that a program may use, by its place among the candidates, or one part of it."""

    gpu: int
    instance: str | None = None


def in_cuda_order(candidates: Sequence[Candidate], device_order: str | None) -> list[int]:
    """
    Return the places of *candidates* as CUDA counts them, given ``CUDA_DEVICE_ORDER``.

    By the bus if that says PCI_BUS_ID, else the fastest first, equal ones by the bus. Which of two different models is
    faster CUDA does not tell; here it is the one of the higher compute capability, then the one with more cores times
    clock.
    """
    places = range(len(candidates))
    if device_order == "PCI_BUS_ID":
        return list(places)
    # One that says nothing, as when it is lost, is taken for one like the others.
    fastest = max((one.speed for one in candidates), default=())
    return sorted(places, key=lambda place: [-one for one in candidates[place].speed or fastest])


def visible(candidates: Sequence[Candidate], devices: str | None, device_order: str | None = None) -> list[Visible]:
    """
    Return what a program may use, in its order, given ``CUDA_VISIBLE_DEVICES``; None: all, with all their parts.

    Numbers are in CUDA's order; ids of GPUs and of parts may be cut short as long as they name one. What names none
    ends the list, as it does for CUDA, so that "" and "-1" leave nothing; and so does naming one twice.
    """
    order = in_cuda_order(candidates, device_order)
    if devices is None:
        return [one for place in order for one in _whole(candidates, place)]
    found: list[Visible] = []
    for name in devices.split(","):
        named = _named(candidates, order, name.strip())
        if named is None:
            break
        if named in found:
            return []
        found.append(named)
    return [part for one in found for part in ([one] if one.instance else _whole(candidates, one.gpu))]


def _whole(candidates: Sequence[Candidate], place: int) -> list[Visible]:
    return [Visible(place), *(Visible(place, part) for part, _, _ in candidates[place].instances)]


def _named(candidates: Sequence[Candidate], order: Sequence[int], name: str) -> Visible | None:
    if name.isascii() and name.isdigit():
        return Visible(order[int(name)]) if int(name) < len(order) else None
    if name.startswith(_MIG_OF_GPU):
        # As drivers before 470 named parts: MIG-GPU-<uuid>/<GPU instance>/<compute instance>.
        gpu, *numbers = name.removeprefix(_MIG).split("/")
        return _only(
            [
                Visible(place, part)
                for place, one in enumerate(candidates)
                for part, instance, compute in one.instances
                if one.id.startswith(gpu) and numbers == [str(instance), str(compute)]
            ]
        )
    if name.startswith(_MIG):
        parts = [(place, part) for place, one in enumerate(candidates) for part, _, _ in one.instances]
        return _only([Visible(place, part) for place, part in parts if part.startswith(name)])
    if not name.startswith("GPU-"):
        return None
    return _only([Visible(place) for place, one in enumerate(candidates) if one.id.startswith(name)])


def _only(found: list[Visible]) -> Visible | None:
    return found[0] if len(found) == 1 else None

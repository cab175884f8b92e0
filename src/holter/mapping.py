"""
Memory that a file and this process share, mapped for as long as the process lives.

Not by `mmap.mmap`, which keeps a descriptor of its own: a program that closes all descriptors and
opens others would have one of them closed under it when the object goes. Mappings made here have
none, and no object that unmaps them: threads write into them until the very end.
"""

from __future__ import annotations

import ctypes
import mmap
import os
from collections.abc import Iterable
from functools import cache
from typing import Any, Final

import numpy as np

_FAILED: Final = ctypes.c_void_p(-1).value
# Of Linux on every processor that it runs on but MIPS, Alpha and PA-RISC.
_MAP_FIXED: Final = 0x10


@cache
def _library() -> Any:
    # Once, before any fork: to load a library waits for a lock that a thread of the parent may hold in the child.
    library = ctypes.CDLL(None, use_errno=True)
    library.mmap.restype = ctypes.c_void_p
    library.mmap.argtypes = (
        ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_int64,
    )  # fmt: skip
    return library


def map_shared(descriptor: int, offset: int, size: int) -> memoryview:
    """
    Return *size* bytes of the file from *offset* on, a multiple of the page size; the descriptor may be closed.

    The pages are there at once, so that no thread that writes waits for one.

    Raises:
        OSError: the system gives no such memory.
    """
    flags = mmap.MAP_SHARED | getattr(mmap, "MAP_POPULATE", 0)
    address = _library().mmap(None, size, mmap.PROT_READ | mmap.PROT_WRITE, flags, descriptor, offset)
    if address == _FAILED:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    # By way of numpy, whose bytes can be cast to words; those of ctypes cannot.
    return np.ctypeslib.as_array((ctypes.c_uint8 * size).from_address(address)).data


def forget(ranges: Iterable[memoryview]) -> None:
    """
    Put private zeros in the place of mappings, so that a forked child writes to nothing of its parent's.

    Old views stay valid. Only for a process that has one thread: between the old pages and the new
    ones there are none.
    """
    library = _library()
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _MAP_FIXED
    for view in ranges:
        address = ctypes.addressof(ctypes.c_char.from_buffer(view))
        library.mmap(address, len(view), mmap.PROT_READ | mmap.PROT_WRITE, flags, -1, 0)

"""Run the CUDA sources of inference/kernels on the CPU, compiled by g++ through cuda_on_host.h."""

from __future__ import annotations

import ctypes
import fcntl
import hashlib
import mmap
import re
import shutil
import subprocess
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from inference.kernels.build import DIRECTORY, sources
from inference.kernels.launch import Launch

HEADERS = Path(__file__).parent / "host"
CACHE = Path(__file__).parents[3] / "build" / "kernels_on_host"
KERNEL = re.compile(r'extern "C" __global__\s+void\s+(?:__launch_bounds__\([^)]*\)\s+)?(\w+)\s*\(')
FLAGS = (
    *("-std=c++17", "-O1", "-g", "-shared", "-fPIC", "-DOPENLEDGER_HOST"),
    *("-fvisibility=hidden", "-fno-gnu-unique", "-fno-strict-aliasing", "-ffp-contract=off"),
    *("-fsanitize=undefined", "-fsanitize-undefined-trap-on-error", "-U_FORTIFY_SOURCE"),
    *("-Wall", "-Wno-unknown-pragmas"),
)

needs_compiler = pytest.mark.skipif(shutil.which("g++") is None, reason="g++ is not installed")


class KernelFault(Exception):
    """A kernel raced into an error that the host can see: the text says which."""


def kernels_of(source: Path) -> tuple[str, ...]:
    return tuple(KERNEL.findall(source.read_text()))


def compile_on_host(source: Path) -> Path:
    """Compile once per text of the source and its headers; processes wait for one another."""
    kernels = kernels_of(source)
    program = f'#include "{source}"\n' + "".join(f"RUNS_ON_HOST({name})\n" for name in kernels)
    texts = [program, " ".join(FLAGS), source.read_text()]
    texts += [path.read_text() for path in sorted((*HEADERS.glob("*.h"), *DIRECTORY.glob("*.cuh")))]
    digest = hashlib.blake2b("\0".join(texts).encode(), digest_size=12).hexdigest()
    CACHE.mkdir(parents=True, exist_ok=True)
    library = CACHE / f"{source.stem}-{digest}.so"
    with (CACHE / f"{source.stem}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not library.exists():
            entry = CACHE / f"{source.stem}-{digest}.cpp"
            entry.write_text(program)
            made = CACHE / f"{library.name}.part"
            command = ["g++", *FLAGS, f"-I{HEADERS}", f"-I{DIRECTORY}", str(entry), "-o", str(made)]
            done = subprocess.run(command, capture_output=True, text=True)
            if done.returncode or "warning:" in done.stderr:
                raise AssertionError(done.stderr)
            made.rename(library)
    return library


class HostRunner:
    """Runs launches as `inference.kernels.launch.run` does, on CPU tensors.

    Every storage is copied between two pages that may not be touched, its end at the second, and
    copied back after the run. `seed` 0 resumes threads in order, any other in an order of its own.
    """

    def __init__(self, seed: int = 0, directory: Path | None = None) -> None:
        self.seed = seed
        self._directory = directory
        self._libraries: dict[str, ctypes.CDLL] = {}

    def __call__(self, launches: Iterable[Launch]) -> None:
        for launch in launches:
            self._run(launch)

    def _run(self, launch: Launch) -> None:
        library = self._library(launch.source)
        run = getattr(library, f"run_{launch.kernel}")
        self._check_sizes(library, launch)
        with ExitStack() as stack:
            regions: dict[int, Guarded] = {}
            values = []
            for argument in launch.arguments:
                if isinstance(argument, Tensor):
                    key = argument.untyped_storage().data_ptr()
                    if key not in regions:
                        regions[key] = stack.enter_context(Guarded(argument))
                    place = regions[key].address + argument.data_ptr() - key
                    raw = place.to_bytes(8, "little")
                else:
                    raw = bytes(8) if argument is None else argument.tobytes()
                values.append(ctypes.create_string_buffer(raw, len(raw)))
            error = ctypes.create_string_buffer(512)
            failed = run(
                (ctypes.c_uint * 3)(*launch.grid),
                (ctypes.c_uint * 3)(launch.block, 1, 1),
                ctypes.c_size_t(launch.shared),
                ctypes.c_uint64(self.seed),
                (ctypes.c_void_p * len(values))(*map(ctypes.addressof, values)),
                error,
                ctypes.c_size_t(512),
            )
            if failed:
                raise KernelFault(f"{launch.kernel}: {error.value.decode()}")
            for region in regions.values():
                region.copy_back()

    def _check_sizes(self, library: ctypes.CDLL, launch: Launch) -> None:
        sizes_of = getattr(library, f"sizes_{launch.kernel}")
        sizes_of.restype = ctypes.c_char_p
        wanted = [int(size) for size in sizes_of().decode()]
        given = [one.nbytes if isinstance(one, np.generic) else 8 for one in launch.arguments]
        if given != wanted:
            raise KernelFault(f"{launch.kernel} takes arguments of {wanted} bytes, not of {given}")

    def _library(self, source: str) -> ctypes.CDLL:
        if source not in self._libraries:
            paths = sources() if self._directory is None else self._directory.glob("*.cu")
            (path,) = (path for path in paths if path.stem == source)
            self._libraries[source] = ctypes.CDLL(str(compile_on_host(path)))
        return self._libraries[source]


class Guarded:
    """A copy of a tensor's whole storage that ends (to 16 bytes) at a page without access."""

    def __init__(self, tensor: Tensor) -> None:
        self._storage = tensor.untyped_storage()
        size = self._storage.nbytes()
        page = mmap.PAGESIZE
        room = -(-max(size, 1) // page) * page
        libc = ctypes.CDLL(None, use_errno=True)
        libc.mmap.restype = ctypes.c_void_p
        self._libc = libc
        flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
        start = libc.mmap(None, ctypes.c_size_t(room + 2 * page), 0, flags, -1, ctypes.c_long(0))
        self._region = start, room + 2 * page
        if libc.mprotect(ctypes.c_void_p(start + page), ctypes.c_size_t(room), 3):
            raise OSError(ctypes.get_errno(), "mprotect")
        self.address = start + page + room - -(-size // 16) * 16
        ctypes.memmove(self.address, self._storage.data_ptr(), size)

    def copy_back(self) -> None:
        ctypes.memmove(self._storage.data_ptr(), self.address, self._storage.nbytes())

    def __enter__(self) -> Guarded:
        return self

    def __exit__(self, *_: object) -> None:
        self._libc.munmap(ctypes.c_void_p(self._region[0]), ctypes.c_size_t(self._region[1]))


def assert_same_bits(one: Tensor, other: Tensor) -> None:
    assert one.dtype == other.dtype
    assert torch.equal(one.contiguous().view(torch.uint8), other.contiguous().view(torch.uint8))

"""NVRTC, NVIDIA's compiler as a library, through ctypes: no toolkit and no cupy needed."""

from __future__ import annotations

import ctypes
import importlib.util
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Literal

WHEEL = "nvidia-cuda-nvrtc==13.0.88"


class CompilerMissing(Exception):
    """No CUDA compiler is installed."""


class CompileRefused(Exception):
    """The compiler refused a source; the text is its own."""


@cache
def find_nvrtc() -> ctypes.CDLL:
    """Load libnvrtc from the wheel.

    Raises:
        CompilerMissing: the wheel is not installed.
    """
    package = importlib.util.find_spec("nvidia")
    for folder in package.submodule_search_locations or () if package else ():
        for library in sorted(Path(folder).glob("*/lib/libnvrtc.so.*")):
            for part in library.parent.glob("libnvrtc-builtins.so.*"):
                ctypes.CDLL(str(part))  # NVRTC asks for it by name, and nobody set a search path
            return ctypes.CDLL(str(library))
    raise CompilerMissing(f"no CUDA compiler: put nvcc 13.0 on PATH, or pip install {WHEEL}")


def compile_with_nvrtc(
    path: Path, arch: str, kind: Literal["ptx", "cubin"], options: Sequence[str]
) -> bytes:
    """Compile one source for a real architecture (`sm_90`).

    Raises:
        CompilerMissing: the wheel is not installed.
        CompileRefused: with the compiler's log.
    """
    library = find_nvrtc()
    virtual = f"compute_{arch.removeprefix('sm_')}" if kind == "ptx" else arch
    flags = [f"--gpu-architecture={virtual}", *options]
    program = ctypes.c_void_p()
    _check(
        library.nvrtcCreateProgram(
            ctypes.byref(program), path.read_bytes(), path.name.encode(), 0, None, None
        ),
        library,
    )
    try:
        packed = (ctypes.c_char_p * len(flags))(*(flag.encode() for flag in flags))
        if library.nvrtcCompileProgram(program, len(flags), packed):
            log = _read(library, "ProgramLog", program).rstrip(b"\0").decode()
            raise CompileRefused(f"NVRTC refused {path.name}:\n{log}")
        return (
            _read(library, "PTX", program).rstrip(b"\0")
            if kind == "ptx"
            else _read(library, "CUBIN", program)
        )
    finally:
        library.nvrtcDestroyProgram(ctypes.byref(program))


def _read(library: ctypes.CDLL, what: str, program: ctypes.c_void_p) -> bytes:
    size = ctypes.c_size_t()
    _check(getattr(library, f"nvrtcGet{what}Size")(program, ctypes.byref(size)), library)
    text = ctypes.create_string_buffer(size.value)
    _check(getattr(library, f"nvrtcGet{what}")(program, text), library)
    return text.raw


def _check(status: int, library: ctypes.CDLL) -> None:
    if status:
        library.nvrtcGetErrorString.restype = ctypes.c_char_p
        raise CompileRefused(f"NVRTC: {library.nvrtcGetErrorString(status).decode()}")

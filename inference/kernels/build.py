"""Compile the CUDA sources: with nvcc where it is on PATH, else with NVRTC from its wheel.

Sources include nothing but `device.cuh`, so NVRTC needs no toolkit: the wheel that torch for
CUDA 13.0 brings (`nvidia-cuda-nvrtc==13.0.88`) is enough.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
import threading
from functools import cache
from pathlib import Path
from typing import Any, Literal

from inference.kernels.nvrtc import CompileRefused, CompilerMissing, compile_with_nvrtc

DIRECTORY = Path(__file__).parent
OPTIONS = ("-std=c++17", "--fmad=true")
Kind = Literal["ptx", "cubin"]
_loading = threading.Lock()


def sources() -> tuple[Path, ...]:
    """List the CUDA sources in order of their names."""
    return tuple(sorted(DIRECTORY.glob("*.cu")))


@cache
def kernel_hash() -> bytes:
    """Hash every source, header and compile option (blake2b, 32 bytes)."""
    state = hashlib.blake2b(" ".join(OPTIONS).encode(), digest_size=32)
    for path in (*sources(), *sorted(DIRECTORY.glob("*.cuh"))):
        text = path.read_bytes()
        state.update(f"\0{path.name}\0{len(text)}\0".encode())
        state.update(text)
    return state.digest()


def compile_ptx(path: Path, arch: str = "sm_90") -> str:
    """Compile one source to PTX for `arch` (`sm_90`).

    Raises:
        CompilerMissing: neither nvcc nor the wheel is installed.
        CompileRefused: with the compiler's messages.
    """
    return _compile(path, arch, "ptx").decode()


def compile_cubin(path: Path, arch: str = "sm_90") -> bytes:
    """Compile one source to machine code for `arch`, so that no driver compiles it once more."""
    return _compile(path, arch, "cubin")


def _compile(path: Path, arch: str, kind: Kind) -> bytes:
    nvcc = shutil.which("nvcc")
    if nvcc is None:
        return compile_with_nvrtc(path, arch, kind, (*OPTIONS, f"-I{DIRECTORY}"))
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / f"{path.stem}.{kind}"
        command = [nvcc, f"--{kind}", f"-arch={arch}", *OPTIONS, str(path), "-o", str(target)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise CompileRefused(f"nvcc refused {path.name}:\n{done.stderr}")
        return target.read_bytes()


def load(name: str, device: int = 0) -> Any:
    """Load the source `name` (without `.cu`) on a CUDA device as a cupy module; from any thread.

    The module stays referenced for the life of the process: graphs hold pointers into it, and
    cupy unloads what nothing references. Compiling and loading are not allowed during a capture,
    so a first launch must come before it.
    """
    with _loading:
        return _load(name, device)


@cache
def _load(name: str, device: int) -> Any:
    import cupy

    with cupy.cuda.Device(device) as current:
        module = cupy.RawModule(path=str(machine_code(name, f"sm_{current.compute_capability}")))
        _ = module.module  # reads the file now, not at the first launch
        return module


@cache
def machine_code(name: str, arch: str) -> Path:
    """Return the compiled source `name`, from the user's cache if this compiler made it before."""
    folder = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "openledger"
    target = folder / "kernels" / kernel_hash().hex()[:16] / _compiler() / f"{name}-{arch}.cubin"
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = target.with_suffix(f".{os.getpid()}-{threading.get_ident()}.part")
        partial.write_bytes(compile_cubin(DIRECTORY / f"{name}.cu", arch))
        partial.replace(target)
    return target


def code_hash(arch: str) -> bytes:
    """Hash the machine code of all sources (blake2b, 32 bytes): compilers differ in their sums."""
    state = hashlib.blake2b(digest_size=32)
    for path in sources():
        code = machine_code(path.stem, arch).read_bytes()
        state.update(f"{path.stem}\0{len(code)}\0".encode() + code)
    return state.digest()


@cache
def _compiler() -> str:
    nvcc = shutil.which("nvcc")
    if nvcc is None:
        return "nvrtc"
    told = subprocess.run([nvcc, "--version"], capture_output=True, check=True).stdout
    return f"nvcc-{hashlib.blake2b(told, digest_size=8).hexdigest()}"


__all__ = [
    "DIRECTORY",
    "OPTIONS",
    "CompileRefused",
    "CompilerMissing",
    "code_hash",
    "compile_cubin",
    "compile_ptx",
    "kernel_hash",
    "load",
    "machine_code",
    "sources",
]

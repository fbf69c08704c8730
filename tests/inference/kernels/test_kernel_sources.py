"""Every CUDA source compiles for Hopper, without spills and without atomics."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from inference.kernels import build, nvrtc
from inference.kernels.build import CompileRefused, CompilerMissing
from tests.inference.kernels.on_host import kernels_of

SOURCES = {path.stem: path for path in build.sources()}


def has_nvrtc() -> bool:
    try:
        nvrtc.find_nvrtc()
    except CompilerMissing:
        return False
    return True


needs_nvcc = pytest.mark.skipif(shutil.which("nvcc") is None, reason="nvcc is not installed")
needs_either = pytest.mark.skipif(
    shutil.which("nvcc") is None and not has_nvrtc(), reason=f"no nvcc and no {nvrtc.WHEEL}"
)


@dataclass(frozen=True)
class Compiled:
    """The PTX of a source and what ptxas says of its kernels."""

    ptx: str
    report: str


@pytest.fixture(scope="module", params=SOURCES)
def source(request: pytest.FixtureRequest) -> Path:
    return SOURCES[request.param]


@pytest.fixture(scope="module")
def compiled(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Compiled:
    folder = tmp_path_factory.mktemp(source.stem)
    command = ["nvcc", "-cubin", "-arch=sm_90", *build.OPTIONS, "-Xptxas", "-v", "-Werror"]
    command += ["all-warnings", "--keep", f"--keep-dir={folder}", f"-o={folder / 'cubin'}"]
    done = subprocess.run([*command, str(source)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return Compiled((folder / f"{source.stem}.ptx").read_text(), done.stderr)


@needs_nvcc
def test_a_source_compiles_to_ptx_without_atomics_or_local_memory(
    source: Path, compiled: Compiled
) -> None:
    assert ".target sm_90" in compiled.ptx
    entries = re.findall(r"\.visible \.entry (\w+)", compiled.ptx)
    assert sorted(entries) == sorted(kernels_of(source))
    assert not re.search(r"\b(atom|red)\.", compiled.ptx)
    assert ".local" not in compiled.ptx


@needs_nvcc
def test_no_kernel_spills_registers(source: Path, compiled: Compiled) -> None:
    found = re.findall(r"(\d+) bytes stack frame, (\d+) bytes spill stores", compiled.report)
    assert len(found) == len(kernels_of(source))
    assert set(found) == {("0", "0")}


@needs_either
def test_the_build_makes_ptx_and_machine_code() -> None:
    ptx = build.compile_ptx(SOURCES["lora"])
    assert all(f".entry {kernel}" in ptx for kernel in kernels_of(SOURCES["lora"]))
    assert build.compile_cubin(SOURCES["lora"]).startswith(b"\x7fELF")


@needs_nvcc
def test_machine_code_is_made_once_and_hashed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    build.kernel_hash()  # of all sources, before they are fewer
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(build, "sources", lambda: (SOURCES["elementwise"],))
    path = build.machine_code.__wrapped__("elementwise", "sm_90")
    assert path.is_relative_to(tmp_path)
    assert path.read_bytes().startswith(b"\x7fELF")
    made = path.stat().st_mtime_ns
    assert build.machine_code.__wrapped__("elementwise", "sm_90").stat().st_mtime_ns == made
    build.machine_code.cache_clear()
    first = build.code_hash("sm_90")
    path.write_bytes(path.read_bytes() + b"other code")
    assert build.code_hash("sm_90") != first
    build.machine_code.cache_clear()


@needs_nvcc
def test_what_does_not_compile_is_refused_with_the_compilers_words(tmp_path: Path) -> None:
    source = tmp_path / "wrong.cu"
    source.write_text("__global__ void wrong() { return 1; }")
    with pytest.raises(CompileRefused, match="return"):
        build.compile_ptx(source)


@pytest.mark.skipif(not has_nvrtc(), reason=f"{nvrtc.WHEEL} is not installed")
def test_nvrtc_compiles_the_sources_too(source: Path) -> None:
    options = (*build.OPTIONS, f"-I{build.DIRECTORY}")
    ptx = nvrtc.compile_with_nvrtc(source, "sm_90", "ptx", options).decode()
    assert all(f".entry {kernel}" in ptx for kernel in kernels_of(source))


def test_without_a_compiler_the_error_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(nvrtc.importlib.util, "find_spec", lambda name: None)
    nvrtc.find_nvrtc.cache_clear()
    with pytest.raises(CompilerMissing, match=re.escape(nvrtc.WHEEL)):
        build.compile_ptx(SOURCES["lora"])
    nvrtc.find_nvrtc.cache_clear()


def test_the_kernel_hash_follows_the_sources(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for path in (*build.sources(), *build.DIRECTORY.glob("*.cuh")):
        shutil.copy(path, tmp_path / path.name)
    original = build.kernel_hash()
    assert len(original) == 32
    monkeypatch.setattr(build, "DIRECTORY", tmp_path)
    assert build.kernel_hash.__wrapped__() == original
    (tmp_path / "device.cuh").write_text("// changed")
    assert build.kernel_hash.__wrapped__() != original

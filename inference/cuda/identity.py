"""What a receipt says of the device that computed an answer: alike in all of it, alike in bits."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from pathlib import Path

import torch

from inference.kernels.build import code_hash, kernel_hash


@dataclass(frozen=True, slots=True)
class DeviceIdentity:
    """Everything but the weights and the request that a row's bits may depend on.

    Attributes:
        name: of the GPU model, or "cpu".
        capability: compute capability, as "9.0"; empty on a CPU.
        driver, cuda, cublas, torch: versions; empty where there is none.
        dtype: of weights and cache.
        kernels: blake2b-256 of the kernels' machine code, on a CPU of their sources, hexadecimal.
        products: blake2b-256 of the base products that were tried at the start, hexadecimal.
    """

    name: str
    capability: str
    driver: str
    cuda: str
    cublas: str
    torch: str
    dtype: str
    kernels: str
    products: str


def identify(device: torch.device, dtype: torch.dtype, products: bytes) -> DeviceIdentity:
    """Read a device's identity."""
    gpu = device.type == "cuda"
    major, minor = torch.cuda.get_device_capability(device) if gpu else (0, 0)
    return DeviceIdentity(
        name=torch.cuda.get_device_name(device) if gpu else "cpu",
        capability=f"{major}.{minor}" if gpu else "",
        driver=_driver() if gpu else "",
        cuda=str(torch.version.cuda) if gpu else "",
        cublas=_cublas() if gpu else "",
        torch=torch.__version__,
        dtype=str(dtype).removeprefix("torch."),
        kernels=(code_hash(f"sm_{major}{minor}") if gpu else kernel_hash()).hex(),
        products=products.hex(),
    )


def _driver() -> str:
    try:
        lines = Path("/proc/driver/nvidia/version").read_text().split()
    except OSError:
        return _driver_by_nvml()
    return next((word for word in lines if word.count(".") >= 1 and word[0].isdigit()), "")


def _driver_by_nvml() -> str:
    # Sandboxes show the device without the driver's files.
    try:
        library = ctypes.CDLL("libnvidia-ml.so.1")
    except OSError:
        return ""
    version = ctypes.create_string_buffer(96)
    if library.nvmlInit_v2() or library.nvmlSystemGetDriverVersion(version, len(version)):
        return ""
    library.nvmlShutdown()
    return version.value.decode()


def _cublas() -> str:
    # MAJOR_VERSION, MINOR_VERSION, PATCH_LEVEL; torch has loaded the library already.
    try:
        library = ctypes.CDLL(f"libcublas.so.{str(torch.version.cuda).split('.')[0]}")
    except OSError:
        return ""
    parts = []
    for number in range(3):
        value = ctypes.c_int()
        library.cublasGetProperty(number, ctypes.byref(value))
        parts.append(str(value.value))
    return ".".join(parts)

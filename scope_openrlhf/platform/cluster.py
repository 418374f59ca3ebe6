"""Ray, as both commands get it: one that is started for them on this machine, or one that is joined.

`python -m scope_openrlhf.platform.cluster PORT` ends the nodes that examples/cluster/local.sh started.
"""

import contextlib
import os
import signal
import socket
import sys
from collections.abc import Iterable, Iterator
from typing import Any

import psutil

from scope_openrlhf.platform import cpu, loopback


def settle_platform(address: str) -> None:
    """Decide for this process and all workers whether they have CUDA, before anything asks `cpu.active`.

    A Ray that is started here has this machine's GPUs. One that is joined has its own, and this may be a login node or
    a head without any: then Ray's nodes decide. Where no Ray answers nothing is decided; the command will find out.
    """
    if address == "local" or address.startswith("ray://") or "SCOPE_CPU" in os.environ:
        return
    import ray  # a second of start-up, also of commands that never come here

    try:
        with _joined(address):
            real = has_real_gpus(ray.nodes())
    except ConnectionError:
        return
    if real is not None:
        os.environ["SCOPE_CPU"] = "0" if real else "1"


def gpus(address: str) -> int:
    """GPUs of the Ray at this address, or of this machine where it would be started here; 0 where as many as wanted.

    On a machine without CUDA they are logical. Raises ConnectionError, as Ray does, if no Ray answers.
    """
    if address == "local":
        if cpu.active():
            return 0
        import torch  # seconds, which a machine without CUDA need not wait for here

        return torch.cuda.device_count()
    import ray  # a second of start-up, also of commands that never come here

    with _joined(address):
        return int(ray.cluster_resources().get("GPU", 0))


@contextlib.contextmanager
def _joined(address: str) -> Iterator[None]:
    """A look into a Ray that runs. Raises ConnectionError, as Ray does, if none answers."""
    import ray  # as above

    already = ray.is_initialized()
    if not already:
        join_or_start(address, gpus=0, cpus=0, object_store_mib=0)
    try:
        yield
    finally:
        if not already:
            ray.shutdown()


def has_real_gpus(nodes: Iterable[dict[str, Any]]) -> bool | None:
    """Whether the GPUs of these nodes, as `ray.nodes` tells them, are more than numbers; None where there are none.

    Ray names the kind of a GPU that it has seen (accelerator_type:H100), also where `--num-gpus` gives their number.
    """
    gpus = [node["Resources"] for node in nodes if node["Alive"] and node["Resources"].get("GPU")]
    return any(name.startswith("accelerator_type:") for found in gpus for name in found) if gpus else None


def join_or_start(
    address: str, *, gpus: int, cpus: int, object_store_mib: int, runtime_env: dict[str, Any] | None = None
) -> None:
    """Connect this process to Ray: to a new one of its own where address is "local", else to the one that runs there.

    gpus: logical ones of a Ray started on a machine without CUDA; elsewhere Ray counts the machine's own.
    cpus: the least that a Ray started here offers; it offers all cores of the machine if they are more.
    object_store_mib: size of the object store of a Ray started on a machine without CUDA.
    runtime_env: of every worker, as `ray.init` takes it.

    Raises ConnectionError, as Ray does, if no Ray answers at the address, and OSError if it does not start.
    """
    import ray  # a second of start-up, also of commands that never come here

    found = require_answer(address)
    options: dict[str, Any] = {}
    if address == "local" or listens_on_loopback_alone(found):
        loopback.enter()
    if address == "local":
        os.environ.setdefault("RAY_prestart_worker_first_driver", "0")  # idle workers would import torch for nothing
        # when this process is killed Ray's agents still look for its head so long: a minute by Ray's default
        os.environ.setdefault("RAY_gcs_rpc_server_reconnect_timeout_s", "5")
        options = {"num_cpus": max(os.cpu_count() or 1, cpus), "include_dashboard": False}
        if cpu.active():
            options |= {"num_gpus": gpus, "object_store_memory": object_store_mib * 2**20}
    on_sigterm = signal.getsignal(signal.SIGTERM)
    try:
        ray.init(address=address, runtime_env=runtime_env, log_to_driver=False, **options)
    except ConnectionError:
        raise
    except Exception as error:  # border to Ray, which raises whatever its processes ended in
        ray.shutdown()
        raise OSError(f"Ray does not start: {last_line(error)}") from error
    signal.signal(signal.SIGTERM, on_sigterm)  # Ray has put its own there, which leaves with no word and code 15


def require_answer(address: str) -> str:
    """The host:port of the Ray that is to be joined; empty where that is not known here, as for one to be started.

    Raises ConnectionError if nobody listens there; Ray itself would try for minutes.
    """
    if address == "auto":
        from ray._private.utils import read_ray_address  # as above

        # else Ray would take one that another command started for itself, which may be ending
        address = os.environ.get("RAY_ADDRESS") or read_ray_address() or ""
        if not address:
            raise ConnectionError("no `ray start` has left an address here, nor is RAY_ADDRESS set")
    if address == "local" or "://" in address:
        return ""
    machine, _, port = address.rpartition(":")
    try:
        socket.create_connection((machine.strip("[]"), int(port)), timeout=5).close()
    except (OSError, ValueError) as error:
        raise ConnectionError(f"{address}: {error}") from None
    return address


def listens_on_loopback_alone(address: str) -> bool:
    """Whether a Ray that answers at this host:port is of this machine alone, as examples/cluster/local.sh starts one.

    Ray takes 127.0.0.1 for a word for the machine's address in its network, where such a Ray never answers.
    """
    machine, _, port = address.rpartition(":")
    if not (machine == "localhost" or machine.startswith("127.")):
        return False
    from ray._private.services import get_node_ip_address  # a second of start-up, as above

    try:
        socket.create_connection((get_node_ip_address(), int(port)), timeout=5).close()
    except OSError:
        return True
    return False


def last_line(error: BaseException) -> str:
    """The line of a worker's traceback that says what happened: the last one but for pydantic's pointer to its website.

    Without a message it is the name of the error's class.
    """
    lines = [line.strip() for line in str(error).splitlines()]
    said = [line for line in lines if line and "For further information" not in line]
    return said[-1] if said else type(error).__name__


CLUSTER_VARIABLE = "SCOPE_LOCAL_CLUSTER"
"""Set by examples/cluster/local.sh in the environment of the nodes that it starts, and so of all their processes: the
port of their head."""


def end_local_cluster(port: str) -> int:
    """End the nodes of the local cluster at this port, and no other Ray. Returns the number of their processes."""
    ours = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):  # it ended meanwhile, or is another user's
            if process.environ().get(CLUSTER_VARIABLE) == port:
                process.terminate()
                ours.append(process)
    for hung in psutil.wait_procs(ours, timeout=10)[1]:
        with contextlib.suppress(psutil.Error):
            hung.kill()
    from ray._common.utils import reset_ray_address  # Ray, as above
    from ray._private.utils import read_ray_address

    if (read_ray_address() or "").endswith(f":{port}"):
        reset_ray_address()  # or ray.address=auto would look for them
    return len(ours)


if __name__ == "__main__":
    print(f"ended {end_local_cluster(sys.argv[1])} processes of the cluster")

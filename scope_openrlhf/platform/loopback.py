"""A Ray that is started for one run listens on loopback alone, and so do its engines and process groups. One that was joined listens as its owner wants.

Ray, gloo, NCCL and vLLM obey variables. torch's TCPStore listens on every interface, whatever host it is given, unless it is handed a socket.
"""

import contextlib
import importlib
import os
import socket
import sys

ADDRESS = "127.0.0.1"
VARIABLE = "SCOPE_LOOPBACK"


def environment() -> dict[str, str]:
    """Of every worker, whatever the user has set for clusters."""
    device = "lo" if sys.platform == "linux" else "lo0"
    chosen = {
        VARIABLE: "1",
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # Ray's name for the switch that makes loopback a node's address
        "GLOO_SOCKET_IFNAME": device,
        "TP_SOCKET_IFNAME": device,
        "NCCL_SOCKET_IFNAME": device,
        "VLLM_HOST_IP": ADDRESS,
    }
    return chosen


def enter() -> None:
    """Before ray.init, in the process that calls it."""
    os.environ.update(environment())
    from ray._private import ray_constants

    ray_constants.ENABLE_RAY_CLUSTER = (
        os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] != "0"
    )  # Ray may have been imported before


def command_line() -> None:
    """Ray's own, `python -m scope_openrlhf.platform.loopback start ...`, for a cluster of several nodes on this machine alone."""
    from ray._private import services

    services.resolve_ip_for_localhost = (
        lambda host: host
    )  # Ray would take 127.0.0.1 for a word for this machine's address in its network
    os.environ.update(environment())  # of the node's processes, and of the jobs that join it
    from ray.scripts.scripts import main

    main()


def install() -> None:
    """In every worker: torch.distributed makes its stores by `tcp_store`. Idempotent; does nothing in a Ray that was joined."""
    if VARIABLE in os.environ:
        # by import_module: the name torch.distributed.rendezvous is a function of that module
        importlib.import_module("torch.distributed.rendezvous").TCPStore = tcp_store  # type: ignore[attr-defined]


def tcp_store(host_name: str, port: int, *args, is_master: bool = False, **kwargs):
    """torch's TCPStore. A master on loopback listens there alone."""
    from torch.distributed import TCPStore

    if is_master and host_name == ADDRESS:
        with contextlib.suppress(
            OSError
        ):  # the port is taken: torch shares it where a store of this process has it, or says so
            kwargs["master_listen_fd"] = socket.create_server((host_name, port)).detach()
    return TCPStore(host_name, port, *args, is_master=is_master, **kwargs)


if __name__ == "__main__":
    command_line()

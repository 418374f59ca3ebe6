"""No reach from outside: a Ray that is started for one run listens on loopback alone.

So do its engines and process groups. A Ray that was joined listens as its owner wants. Ray, gloo, NCCL and vLLM obey
variables. torch's TCPStore listens on every interface, whatever host it is given, unless it is handed a socket.
"""

import contextlib
import importlib
import os
import socket
import sys
from typing import Any

# Ray and torch take seconds to import, also for commands that need neither: so they are imported inside the functions

ADDRESS = "127.0.0.1"
VARIABLE = "SCOPE_LOOPBACK"


def environment() -> dict[str, str]:
    """Variables of every worker, whatever the user has set for clusters."""
    device = "lo" if sys.platform == "linux" else "lo0"
    return {
        VARIABLE: "1",
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # Ray's name for the switch that makes loopback a node's address
        "GLOO_SOCKET_IFNAME": device,
        "TP_SOCKET_IFNAME": device,
        "NCCL_SOCKET_IFNAME": device,
        "VLLM_HOST_IP": ADDRESS,
    }


def enter() -> None:
    """Let the Ray that this process is about to start listen on loopback alone. To be called before ray.init."""
    os.environ.update(environment())
    from ray._private import ray_constants  # seconds, see above

    # Ray may have been imported, and have read the variable, before
    ray_constants.ENABLE_RAY_CLUSTER = os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] != "0"


def command_line() -> None:
    """Ray's own command line, for a cluster of several nodes on this machine alone.

    Example: python -m scope_openrlhf.platform.loopback start --head
    """
    from ray._private import services  # seconds, see above

    # Ray would take 127.0.0.1 for a word for this machine's address in its network
    services.resolve_ip_for_localhost = lambda host: host
    os.environ.update(environment())  # of the node's processes, and of the jobs that join it
    from ray.scripts.scripts import main  # seconds, see above

    main()


def install() -> None:
    """Have torch.distributed, in this worker, make its stores by `tcp_store`. Idempotent.

    Does nothing in a Ray that was joined.
    """
    if VARIABLE in os.environ:
        # by import_module: the name torch.distributed.rendezvous is a function of that module
        rendezvous: Any = importlib.import_module("torch.distributed.rendezvous")
        rendezvous.TCPStore = tcp_store


def tcp_store(host_name: str, port: int, *args, is_master: bool = False, **kwargs):
    """A TCPStore of torch; a master on loopback listens there alone. Takes what torch's takes."""
    from torch.distributed import TCPStore  # seconds, see above

    if is_master and host_name == ADDRESS:
        # the port may be taken: torch shares it where a store of this process has it, or says so
        with contextlib.suppress(OSError):
            kwargs["master_listen_fd"] = socket.create_server((host_name, port)).detach()
    return TCPStore(host_name, port, *args, is_master=is_master, **kwargs)


if __name__ == "__main__":
    command_line()

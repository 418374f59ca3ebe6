"""The one place that chooses how a teacher is reached.

A new transport is a file beside ray_endpoint.py and http_endpoint.py with a class that has the methods of
`contract.Endpoint`, and a line of `connect`. Where `teacher.urls` names it, by its scheme, that is all. With a key of
its own it also needs that key in settings/sections.py (`TeacherSettings`, whose `started_here` says that nobody starts
engines for it) and in identity.py, which tells one teacher from another. The checks of every score, retries and
deadlines come from client.py for all of them.
"""

from scope_openrlhf.settings.resolved import Teacher
from scope_openrlhf.teacher.contract import Endpoint
from scope_openrlhf.teacher.group import actor_names
from scope_openrlhf.teacher.http_endpoint import HttpEndpoint
from scope_openrlhf.teacher.ray_endpoint import RayEndpoint


def connect(teacher: Teacher) -> list[Endpoint]:
    """Endpoints of all replicas of a teacher, wherever they are; none in a replay of the score log."""
    if teacher.replay:
        return []
    if teacher.urls:
        return [HttpEndpoint(url, teacher.temperature, teacher.deadline_seconds) for url in teacher.urls]
    return [RayEndpoint(actor, teacher.max_num_batched_tokens) for actor in actor_names(teacher)]

"""The one place that knows by what transport a teacher is reached: a new one is added here, beside its own file."""

from scope_openrlhf.settings.resolved import Teacher
from scope_openrlhf.teacher.contract import Endpoint
from scope_openrlhf.teacher.group import actor_names
from scope_openrlhf.teacher.ray_endpoint import RayEndpoint
from scope_openrlhf.teacher.served import HttpEndpoint


def connect(teacher: Teacher) -> list[Endpoint]:
    """Endpoints of all replicas of a teacher, wherever they are; none in a replay of the score log."""
    if teacher.replay:
        return []
    if teacher.urls:
        return [HttpEndpoint(url, teacher.temperature) for url in teacher.urls]
    return [RayEndpoint(actor, teacher.max_num_batched_tokens) for actor in actor_names(teacher)]

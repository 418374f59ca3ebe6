"""GPUs are counted as Ray will be asked for them."""

from types import SimpleNamespace

from resolved import teacher

from scope_openrlhf.host.gpus import gpus_wanted, teacher_gpus


def test_gpus_are_counted_as_ray_will_be_asked_for_them():
    args = SimpleNamespace(
        actor=SimpleNamespace(num_nodes=1, num_gpus_per_node=1),
        train=SimpleNamespace(colocate_all=False, async_enable=False),
        vllm=SimpleNamespace(num_engines=2, tensor_parallel_size=1),
    )
    assert gpus_wanted([teacher()], args) == 1 + 2 + 1
    assert gpus_wanted([], args) == 1 + 2
    args.train.colocate_all = True  # the engines sit on the student's GPU, and so does a colocated teacher
    assert gpus_wanted([teacher(placement="colocate")], args) == 1


def test_teachers_that_take_a_part_of_a_gpu_are_packed_onto_whole_ones():
    assert teacher_gpus([teacher(replicas=3, gpu_fraction=0.6)]) == 3  # no two of 0.6 share one
    assert teacher_gpus([teacher(replicas=2, gpu_fraction=0.5), teacher(tensor_parallel_size=2)]) == 3
    assert teacher_gpus([teacher(replicas=5, placement="colocate"), teacher(urls=["http://a"])]) == 1

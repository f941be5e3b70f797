"""How many trials `--pack auto` puts into a pack."""

import os
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest

from harness.engine import packs
from harness.engine.packs import Measured, measured, pack_sizes
from harness.options import Options
from harness.plan import Job
from harness.record import Checkpoint
from harness.variables import Variables
from harness.workload import Context
from tests.engine.fakes import FakeCluster, succeeds
from tests.engine.test_packs import PackedToy, Walks
from tests.toy import Walk, job

MIB = 2**20

Choose = Callable[[PackedToy, Sequence[Job]], Measured]


class Clock:
    """A clock that only the workloads here move on."""

    now_s = 0.0

    def perf_counter(self) -> float:
        return self.now_s


clock = Clock()


@pytest.fixture
def choose(monkeypatch: pytest.MonkeyPatch) -> Choose:
    """What a worker chooses for these jobs."""
    monkeypatch.setattr(packs, "time", clock)

    def found(workload: PackedToy, jobs: Sequence[Job]) -> Measured:
        monkeypatch.setattr(packs, "pickle", SimpleNamespace(loads=lambda _pickled: workload))
        *progress, last = measured(jobs, "cpu", {}, Variables(), b"")
        assert progress
        assert set(progress) == {None}
        assert isinstance(last, Measured)
        return last

    return found


class Shared(PackedToy):
    """An epoch takes a second, of a trial or of a pack. The first one takes longer."""

    def start(self, parameters: Any, context: Context) -> Walk:
        walk = super().start(parameters, context)
        step = walk.epoch

        def epoch() -> Mapping[str, float]:
            clock.now_s += 1.0 if walk.count else 10.0
            return step()

        walk.epoch = epoch  # type: ignore[method-assign]
        return walk

    def start_pack(self, parameters: Any, contexts: Sequence[Context], size: int) -> Walks:
        class Together(Walks):
            def epoch(self, members: Sequence[int]) -> Sequence[Mapping[str, float] | Exception]:
                began_s = clock.now_s
                results = super().epoch(members)
                clock.now_s = began_s + (clock.now_s - began_s) / len(members)
                return results

        return Together(super().start_pack(parameters, contexts, size).runs)


def seeds(count: int, *, epochs: int = 5, cpus: float = 1.0) -> list[Job]:
    return [job(seed, epochs=epochs, cpus=cpus) for seed in range(count)]


def test_the_first_epoch_is_not_timed_if_there_are_others(choose: Choose) -> None:
    assert choose(Shared(), seeds(4)) == Measured(
        4, "packs of 4, 4.0 times the speed of single trials"
    )


@pytest.mark.parametrize("epochs", [1, 2])
def test_no_epoch_after_the_last_is_timed(epochs: int, choose: Choose) -> None:
    class Scheduled(Shared):
        """Its learning rates end with the run."""

        def start(self, parameters: Any, context: Context) -> Walk:
            walk = super().start(parameters, context)
            step = walk.epoch

            def epoch() -> Mapping[str, float]:
                if walk.count >= epochs:
                    raise IndexError("no learning rate is left")
                return step()

            walk.epoch = epoch  # type: ignore[method-assign]
            return walk

    assert choose(Scheduled(), seeds(4, epochs=epochs)).size == 4


def test_every_trial_that_is_timed_has_its_own_folder(choose: Choose) -> None:
    class Filing(Shared):
        def start(self, parameters: Any, context: Context) -> Walk:
            (context.folder / "artifacts").mkdir()
            return super().start(parameters, context)

    assert choose(Filing(), seeds(3)).size == 3


def test_the_largest_pack_that_runs_is_chosen_if_a_larger_one_fails(choose: Choose) -> None:
    class Bounded(Shared):
        def start_pack(self, parameters: Any, contexts: Sequence[Context], size: int) -> Walks:
            if size > 4:
                raise MemoryError("no memory is left")
            return super().start_pack(parameters, contexts, size)

    assert choose(Bounded(), seeds(10)).size == 4


@pytest.mark.parametrize(("room_mib", "most", "size"), [(1000, 50, 16), (300, 50, 8), (4000, 9, 9)])
def test_a_pack_stays_within_its_memory_though_the_first_trials_seem_to_need_none(
    room_mib: int, most: int, size: int, choose: Choose, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A trial of a pack needs 100 MiB, and the single trial has left 1000 MiB to this process."""
    largest = 0

    class Growing(Shared):
        def start_pack(self, parameters: Any, contexts: Sequence[Context], size: int) -> Walks:
            nonlocal largest
            largest = max(largest, size)
            return super().start_pack(parameters, contexts, size)

    monkeypatch.setattr(packs, "_peaks_bytes", lambda: [max(1000, 100 * largest) * MIB])
    monkeypatch.setattr(packs, "available_memory_bytes", lambda: 2 * room_mib * MIB)
    assert choose(Growing(), seeds(most, cpus=os.cpu_count() or 1)).size == size
    assert 100 * size <= 1000 + room_mib
    assert largest <= 2 * size


def test_a_pack_stays_within_the_memory_of_its_share_of_a_gpu(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A quarter of a GPU with 16000 MiB, half of which packs may use."""
    peaks = [0, 0]
    monkeypatch.setattr(packs, "_peaks_bytes", lambda: peaks)
    monkeypatch.setattr(packs, "available_gpu_memory_bytes", lambda: (15000 * MIB, 16000 * MIB))
    memory = packs._Memory(job(gpus=0.25))
    peaks = [0, 500 * MIB]
    assert memory.next_size(2, 100) == 4
    peaks = [0, 1000 * MIB]
    assert memory.suffices()
    assert memory.next_size(4, 100) == 8
    peaks = [0, 2000 * MIB]
    assert memory.suffices()
    assert memory.next_size(8, 100) == 8
    peaks = [0, 2001 * MIB]
    assert not memory.suffices()


@dataclass
class Asked:
    """Chooses the largest pack that it is asked for."""

    asked: list[int] = field(default_factory=list)

    def measure(
        self,
        jobs: Sequence[Sequence[Job]],
        *,
        avoided: Collection[str],
        going: Callable[[], bool],
    ) -> Sequence[Measured]:
        self.asked = [len(group) for group in jobs]
        return [Measured(len(group), "") for group in jobs]


def sizes(jobs: Sequence[Job], slots: int) -> tuple[dict[str, int], list[int]]:
    """The sizes on so many CPUs, and the largest packs that were measured."""
    cluster, asked = FakeCluster(succeeds, names="abcdefghijkl"[:slots]), Asked()
    found, _ = pack_sizes(
        jobs,
        {"toy": PackedToy()},
        Options(pack="auto"),
        sink=cluster,
        tasks=asked,
        nodes=cluster,
        going=lambda: True,
    )
    return found, asked.asked


@pytest.mark.parametrize(
    ("slots", "size"), [(1, 10), (2, 5), (3, 4), (9, 2), (10, None), (12, None)]
)
def test_no_pack_is_so_large_that_workers_are_idle(slots: int, size: int | None) -> None:
    found, asked = sizes([job(seed) for seed in range(10)], slots)
    assert found == ({} if size is None else {"toy-walk": size})
    assert asked == ([] if size is None else [size])


def test_many_experiments_keep_the_workers_busy_with_full_packs() -> None:
    jobs = [
        Job(each.spec, f"walk-{number}", each.epochs, each.resources)
        for number in range(6)
        for each in (job(seed) for seed in range(4))
    ]
    found, _ = sizes(jobs, 4)
    assert set(found.values()) == {4}


def test_what_has_checkpoints_keeps_its_size_on_any_number_of_workers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kept = Checkpoint(1, "cpu/1 thread/fast/pack of 7", b"")
    monkeypatch.setattr(FakeCluster, "resume_point", lambda _self, _job: kept)
    assert sizes([job(seed) for seed in range(3)], 12) == ({"toy-walk": 7}, [])

"""A suite under random faults: drivers are started again until all is done."""

import random
import signal
import sqlite3
import subprocess
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass, field

from tests.faults import damage, proof
from tests.faults.disks import filled
from tests.faults.ledger import Entry
from tests.faults.processes import send
from tests.faults.proof import Account, Values
from tests.faults.world import REPOSITORY, World, registry
from tests.waiting import HANG_S, eventually

Snapshot = Mapping[str, Values]
"""What the store believes of each trial."""

Fault = Callable[["subprocess.Popen[str]"], bool]
"""Of a driver; tells whether there was anything to strike."""

# So that all run at once, and a trial that is struck goes on as soon as it can.
_OPTIONS = ("--retries", "10", "--cpus-per-trial", "0.25")


def suite(world: World, *, walks: int = 1200, epochs: int = 60) -> None:
    """Toy walks, and two tiny trials of a real method."""
    world.walk("walk", epochs=walks, seeds="0-2", sleep_s=0.01)
    world.walk("slow-walk", epochs=walks // 10, seeds="0-1", sleep_s=0.1)
    text = (REPOSITORY / "tests" / "cli" / "tiny.yaml").read_text()
    path = world.folder / "tiny.yaml"
    path.write_text(text.replace("epochs: {value: 6", f"epochs: {{value: {epochs}"))
    world.manifests.append(path)


def truth(world: World) -> Snapshot:
    """Every trial as it is when it is left alone."""
    methods = registry()
    return {j.spec.id: proof.quiet(j, methods[j.spec.workload]) for j in world.jobs()}


@dataclass
class Struck:
    """A fault that was injected."""

    fault: str
    at_s: float
    before: Snapshot
    trial: str | None
    """The one that was struck; None for all of them."""
    recorded: int
    """How much there was of it."""
    again_s: float | None = None


@dataclass
class Storm:
    """One suite in one world, from nothing to done."""

    world: World
    chance: random.Random
    room: bool
    """Whether the workspace is a small disk of its own, which can be filled."""
    say: Callable[[str], None]
    struck: list[Struck] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)
    """Invariants that do not hold."""
    _driver: "subprocess.Popen[str] | None" = None
    _deck: list[tuple[str, Fault]] = field(default_factory=list)
    _victim: str | None = None
    """The trial whose worker was struck last."""

    def rage(self, until_s: float) -> None:
        """Inject faults until the time is up or the suite is done, then let it be done."""
        self._start()
        while not self._done():
            if self._driver is None or self._driver.poll() is not None:
                self._start()
            elif time.monotonic() < until_s:
                self._strike()
            else:
                time.sleep(0.2)
            self._hear()

    def prove(self, expected: Snapshot) -> list[Entry]:
        """Hold what is there against the quiet run; what is broken is added to `broken`."""
        world = self.world
        whole = proof.account(world.store, expected)
        final = self._snapshot()
        if not whole.sound:
            self.broken.append(f"records: {whole}")
        undone = [j.spec.id for j in world.jobs() if world.store.done(j.spec.id) != j.epochs]
        self.broken += [f"trial {trial} is not done" for trial in undone]
        self.broken += proof.amiss_in_mlflow(world.workspace, world.store, expected)
        if not eventually(lambda: not world.processes(), 75):
            self.broken.append(f"processes left: {world.processes()}")
        kinds: dict[str, list[Struck]] = defaultdict(list)
        for each in self.struck:
            kinds[each.fault].append(each)
        return [self._entry(kind, found, final, expected) for kind, found in kinds.items()]

    def _entry(self, kind: str, struck: list[Struck], final: Snapshot, expected: Snapshot) -> Entry:
        """What became of all that was durable when the fault struck."""
        account = Account()
        for each in struck:
            for trial, values in each.before.items():
                kept = sum(
                    final[trial].get(key) == value == expected[trial].get(key)
                    for key, value in values.items()
                )
                account += Account(kept, len(values) - kept)
        whole = proof.account(self.world.store, expected)
        account += Account(doubled=whole.doubled, blamed=whole.blamed)
        survived = sum(each.again_s is not None for each in struck) if not self.broken else 0
        times = tuple(each.again_s for each in struck if each.again_s is not None)
        return Entry(kind, len(struck), survived, account, times)

    def _snapshot(self) -> Snapshot:
        store = self.world.store
        return {j.spec.id: proof.stored(store.read(j.spec.id)) for j in self.world.jobs()}

    def _start(self) -> None:
        """A driver; wait until it records something, or ends."""
        before = self.world.recorded()
        self._driver = self.world.start("run", *_OPTIONS)
        ended = self._driver.poll
        eventually(lambda: self.world.recorded() != before or ended() is not None, 240)
        self._hear()

    def _done(self) -> bool:
        """Whether the driver has ended and left nothing to do."""
        if self._driver is None or self._driver.poll() is None:
            return False
        output, _ = self._driver.communicate()
        if "Traceback" in output:
            self.broken.append(f"a fault of our own: {output[-2000:]}")
            return True
        store = self.world.store
        if not all(store.settled(job.spec.id, job.epochs) for job in self.world.jobs()):
            return False
        self._hear(done=True)
        return True

    def _strike(self) -> None:
        time.sleep(self.chance.uniform(0.2, 3))
        name, fault = self._draw()
        before, self._victim = self._snapshot(), None
        if self._driver is None or self._driver.poll() is not None:
            return
        at_s = time.monotonic()
        if fault(self._driver):
            self.say(name)
            recorded = self._recorded(self._victim)
            self.struck.append(Struck(name, at_s, before, self._victim, recorded))

    def _recorded(self, trial: str | None) -> int:
        """Bytes of one trial's records, or of all."""
        file = self.world.workspace / "trials" / f"{trial}" / "records.jsonl"
        if trial is None:
            return self.world.recorded()
        return file.stat().st_size if file.exists() else 0

    def _draw(self) -> tuple[str, Fault]:
        """The next fault: each kind once, in an order by chance, before any comes again."""
        if not self._deck:
            self._deck = list(self._faults().items())
            self.chance.shuffle(self._deck)
        return self._deck.pop()

    def _hear(self, *, done: bool = False) -> None:
        """Note how long it took from the last fault until something was recorded again."""
        last = self.struck[-1] if self.struck else None
        if last is None or last.again_s is not None:
            return

        def grown() -> bool:
            return self._recorded(last.trial) != last.recorded

        def over() -> bool:
            return self._driver is None or self._driver.poll() is not None

        if done or (eventually(lambda: grown() or over(), 120) and not over()):
            last.again_s = time.monotonic() - last.at_s

    def _faults(self) -> dict[str, Fault]:
        """By name."""
        kill, stop = signal.SIGKILL, (signal.SIGSTOP, signal.SIGCONT)
        faults: dict[str, Fault] = {
            "worker kill -9": lambda _: self._worker(kill),
            "worker stopped for 3 s": lambda _: self._worker(*stop),
            "node kill -9": self._node,
            "driver kill -9": lambda driver: _signalled(driver, kill),
            "driver stopped for 3 s": lambda driver: _signalled(driver, *stop, pause_s=3),
            "SIGTERM": lambda driver: _signalled(driver, signal.SIGTERM),
            "SIGINT twice": lambda d: _signalled(d, signal.SIGINT, signal.SIGINT, pause_s=0.3),
            "MLflow's database locked for 4 s": lambda _: self._locked(),
        }
        if self.room:
            faults["disk full for 2 s"] = lambda _: self._full()
        for name, how in damage.ALL.items():
            faults[name] = lambda driver, how=how: self._damaged(driver, how)
        return faults

    def _worker(self, *signals: int) -> bool:
        """Any that has a trial in hand, which its title names."""
        titles = {f"ray::{j.experiment} seed {j.spec.seed}": j.spec.id for j in self.world.jobs()}
        at_work = {pid: titles.get(t) for pid, t in self.world.processes().items() if t in titles}
        if not at_work:
            return False
        pid = self.chance.choice(sorted(at_work))
        self._victim = at_work[pid]
        return send(pid, *signals, pause_s=3)

    def _node(self, driver: "subprocess.Popen[str]") -> bool:
        """Ray's own process for the machine: with it go its workers, and the driver."""
        nodes = [pid for pid, title in self.world.processes().items() if "raylet/raylet" in title]
        struck = bool(nodes) and send(nodes[0], signal.SIGKILL)
        if struck:
            eventually(lambda: driver.poll() is not None, 60)
        return struck

    def _locked(self) -> bool:
        path = self.world.workspace / "mlflow" / "mlflow.db"
        if not path.exists():
            return False
        with (
            closing(sqlite3.connect(path, isolation_level=None, timeout=10)) as other,
            suppress(sqlite3.OperationalError),  # the driver was always quicker
        ):
            other.execute("BEGIN EXCLUSIVE")
            time.sleep(4)
            other.execute("ROLLBACK")
            return True
        return False

    def _full(self) -> bool:
        with filled(self.world.workspace, leaving=self.chance.randrange(8) * 4096):
            time.sleep(2)
        return True

    def _damaged(self, driver: "subprocess.Popen[str]", how: damage.Damage) -> bool:
        """While no driver looks: it would write the file again."""
        _signalled(driver, signal.SIGKILL)
        return damage.strike(self.world.workspace, how, self.chance)


def _signalled(driver: "subprocess.Popen[str]", *signals: int, pause_s: float = 0.0) -> bool:
    send(driver.pid, *signals, pause_s=pause_s)
    if signals[-1] != signal.SIGCONT:
        driver.communicate(timeout=HANG_S)
    return True

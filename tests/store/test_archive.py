"""Committed records: exact, the same for the same records, and never lost or mixed up."""

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import StoreError
from harness.record import (
    Declaration,
    Environment,
    EpochRecord,
    Failure,
    FailureKind,
    FinalRecord,
    Overruled,
    PastFailure,
    Provenance,
    Source,
    StoredTrial,
    TrialSpec,
)
from harness.store import Archive, Kept, Store, merge
from harness.store.archive import decoded, encoded, encoded_grid
from harness.store.files import CorruptError
from tests.store.trials import run
from tests.toy import job

PROVENANCE = Provenance(
    "host",
    Source("commit", dirty=False, digest="digest"),
    Environment("cpu", 1, "cpu/1 thread", {"torch": "2"}, {"cpu": "x"}, {"tf32": False}, {}),
)
DECLARED = Declaration({"late rows": 0.06, "true value": 5e-05}, {"seeds": [0, 1]}, "git")
NOTHING = Declaration()
OLD = Declaration({"late rows": 0.01}, {"seeds": [0]})

finite = st.floats(allow_nan=False, allow_infinity=False)
stamps = st.integers(0, 253_402_300_799_999)


def spec(seed: int = 0, **changed: object) -> TrialSpec:
    return TrialSpec("toy", 1, {"scale": 1.0, **changed}, seed, {"mnist": "digest"})


def trial(seed: int = 0, epochs: int = 3, *, shift: float = 0.0, **changed: object) -> StoredTrial:
    """A finished trial whose numbers follow from its arguments alone."""
    records = (
        EpochRecord(at, {"place": seed + at / 3 + shift, "other": -0.0}, 1000 * at, 0.1 * at)
        for at in range(1, epochs + 1)
    )
    final = FinalRecord(epochs, {"end": 2.0 * seed + shift}, 9000, 0.5, 1 << 20, 0.4, 2 << 20)
    return StoredTrial(
        spec(seed, **changed), tuple(records), {epochs: final}, epochs, None, (PROVENANCE,)
    )


def failed(seed: int, after: int, kind: FailureKind = FailureKind.SCIENTIFIC) -> StoredTrial:
    return replace(
        trial(seed, after), done=0, finals={}, failure=Failure(kind, "NaN", "it is", after)
    )


def seeds(kept: Kept) -> list[int]:
    return [each.spec.seed for each in kept.trials]


@st.composite
def any_trial(draw: st.DrawFn) -> StoredTrial:
    epochs = draw(st.integers(0, 4))
    names = draw(st.lists(st.text(min_size=1), min_size=1, max_size=3, unique=True))
    metrics = st.fixed_dictionaries(dict.fromkeys(names, finite))
    records = tuple(
        EpochRecord(at, draw(metrics), draw(stamps), draw(st.floats(0, 1e9)))
        for at in range(1, epochs + 1)
    )
    finals = {epochs: FinalRecord(epochs, draw(metrics), draw(stamps), 0.25)} if epochs else {}
    failure = draw(
        st.none() | st.builds(Failure, st.sampled_from(FailureKind), st.text(), st.text())
        if epochs == 0
        else st.none()
    )
    return StoredTrial(spec(draw(st.integers(0, 2**32 - 1))), records, finals, epochs, failure, ())


@given(trials=st.lists(any_trial(), max_size=3, unique_by=lambda each: each.spec.seed))
def test_whatever_is_written_is_read_back_bit_for_bit(trials: list[StoredTrial]) -> None:
    kept = Kept(DECLARED, tuple(sorted(trials, key=lambda each: each.spec.seed)))
    (again,) = decoded(encoded(kept)).values()
    assert again == kept
    (twice,) = decoded(encoded(again)).values()
    assert repr(again.trials) == repr(twice.trials)  # tells -0.0 from 0.0


def test_minus_zero_stays_minus_zero() -> None:
    (kept,) = decoded(encoded(Kept(NOTHING, (trial(),)))).values()
    (again,) = kept.trials
    assert str(again.epochs[0].metrics["other"]) == "-0.0"


def test_the_order_in_which_trials_come_does_not_change_a_byte() -> None:
    trials = (trial(0), trial(1), trial(2))
    assert encoded(Kept(DECLARED, trials)) == encoded(Kept(DECLARED, trials[::-1]))


def test_a_seed_that_comes_changes_no_other_seeds_line() -> None:
    before = encoded(Kept(DECLARED, (trial(0), trial(2)))).splitlines()
    after = encoded(Kept(DECLARED, (trial(0), trial(1), trial(2)))).splitlines()
    assert set(before[1:]) < set(after[1:])


def test_no_damaged_byte_is_ever_believed(tmp_path: Path) -> None:
    archive = Archive(tmp_path)
    archive.write("walk", Kept(DECLARED, (trial(epochs=1),)))
    sound = archive.file("walk").read_bytes()
    for at in range(len(sound)):
        with pytest.raises(CorruptError):
            decoded(sound[:at] + bytes([sound[at] ^ 1]) + sound[at + 1 :])
    for cut in range(len(sound)):
        with pytest.raises(CorruptError):
            decoded(sound[:cut])
    archive.file("walk").write_bytes(sound[:-9])
    with pytest.raises(StoreError, match=r"walk\.jsonl:1: truncated or damaged"):
        Archive(tmp_path).kept("walk")


def test_a_grid_is_one_file_and_every_cell_keeps_its_seeds(tmp_path: Path) -> None:
    one, other = Kept(DECLARED, (trial(0), trial(1))), Kept(NOTHING, (trial(0),))
    Archive(tmp_path).write_grid("toys", {"toys[size=2*3]": one})
    Archive(tmp_path).write_grid("toys", {"toys[size=1*2]": other})
    archive = Archive(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["toys.jsonl"]
    assert archive.experiments() == ["toys[size=1*2]", "toys[size=2*3]"]
    assert archive.kept("toys[size=2*3]") == one
    assert archive.kept("toys[size=1*2]") == other
    assert archive.kept("toys[size=9*9]") == Kept()
    assert archive.file("toys[size=1*2]").name == "toys.jsonl"


def test_a_variant_of_a_study_beside_its_experiment_keeps_its_own_file(tmp_path: Path) -> None:
    Archive(tmp_path).write("walk", Kept(NOTHING, (trial(0),)))
    Archive(tmp_path).write("walk[scale=2]", Kept(NOTHING, (trial(1),)))
    archive = Archive(tmp_path)
    assert archive.experiments() == ["walk", "walk[scale=2]"]
    assert archive.file("walk[scale=2]").name == "walk[scale=2].jsonl"


def test_no_damaged_byte_of_a_grid_is_ever_believed() -> None:
    sound = encoded_grid({"a[b=1]": Kept(DECLARED, (trial(epochs=1),))})
    for at in range(len(sound)):
        with pytest.raises(CorruptError):
            decoded(sound[:at] + bytes([sound[at] ^ 1]) + sound[at + 1 :], "a")
    for cut in range(len(sound)):
        with pytest.raises(CorruptError):
            decoded(sound[:cut], "a")


def test_another_format_is_refused_by_name(tmp_path: Path) -> None:
    archive = Archive(tmp_path)
    archive.write("walk", Kept(NOTHING, (trial(),)))
    file = archive.file("walk")
    file.write_bytes(file.read_bytes().replace(b'"format":1', b'"format":3', 1))
    with pytest.raises(StoreError, match=r"walk\.jsonl:1: format 3 is not 1 or 2"):
        Archive(tmp_path).kept("walk")


def test_a_folder_that_is_not_there_reads_as_empty(tmp_path: Path) -> None:
    archive = Archive(tmp_path / "none")
    assert archive.kept("walk") == Kept()
    assert list(archive.trials()) == []
    assert not Archive.there(tmp_path / "none")


def test_adding_seeds_loses_none_and_adding_them_again_changes_nothing() -> None:
    first = merge(Kept(), [trial(0), trial(2)], DECLARED)
    second = merge(first.kept, [trial(1)], DECLARED)
    assert seeds(second.kept) == [0, 1, 2]
    assert second.added == (1,)
    again = merge(second.kept, [trial(2), trial(0)], DECLARED)
    assert again.kept == second.kept
    assert again.added == ()


def test_other_times_of_the_same_results_are_no_conflict_and_no_change() -> None:
    kept = merge(Kept(), [trial(0)], DECLARED).kept
    later = replace(trial(0), epochs=tuple(replace(each, ended_ms=7) for each in trial(0).epochs))
    again = merge(kept, [later], DECLARED)
    assert again.kept == kept
    assert not again.conflicts


def test_more_epochs_of_a_trial_take_the_place_of_fewer_and_never_the_other_way() -> None:
    short, long = trial(0, 3), replace(trial(0, 5), finals={**trial(0, 3).finals})
    grown = merge(Kept(NOTHING, (short,)), [long], NOTHING)
    assert grown.kept.trials == (long,)
    assert grown.added == (0,)
    assert merge(grown.kept, [short], NOTHING).kept.trials == (long,)


@pytest.mark.parametrize(
    ("other", "said"),
    [
        (trial(3, shift=1e-9), "other results from epoch 1 on"),
        (
            replace(trial(3), finals={3: FinalRecord(3, {"end": 6.5}, 9000, 0.5)}),
            "other final estimates at epoch 3",
        ),
        (failed(3, 2), "one failed after epoch 2, where the other went on"),
    ],
)
def test_other_results_of_the_same_trial_are_a_conflict_by_name(
    other: StoredTrial, said: str
) -> None:
    for one, two in ((trial(3), other), (other, trial(3))):
        (conflict,) = merge(Kept(NOTHING, (one,)), [two], NOTHING).conflicts
        assert conflict == f"trial {one.spec.id} (seed 3): {said}"


def test_what_was_lost_to_infrastructure_is_no_conflict_with_what_then_finished() -> None:
    lost = failed(3, 2, FailureKind.INFRASTRUCTURE)
    merged = merge(Kept(NOTHING, (lost,)), [trial(3)], NOTHING)
    assert merged.kept.trials == (trial(3),)
    assert not merged.conflicts


def again(before: StoredTrial, after: StoredTrial) -> StoredTrial:
    assert before.failure is not None
    past = PastFailure(before.failure, Overruled.REQUEST, 1_795_000_000_000, "host")
    return replace(after, history=(past,))


def test_a_failure_that_was_run_again_on_request_gives_way_and_stays_in_the_history() -> None:
    before = failed(3, 2)
    after = again(before, trial(3))
    merged = merge(Kept(NOTHING, (before,)), [after], NOTHING)
    assert not merged.conflicts
    assert merged.kept.trials == (after,)
    assert decoded(encoded(merged.kept), "walk") == {"walk": merged.kept}


def test_a_trial_without_a_history_is_written_as_before_there_was_one() -> None:
    assert b"history" not in encoded(Kept(NOTHING, (trial(3),)))


def test_a_stale_seed_stays_until_its_own_new_records_come() -> None:
    old = Kept(OLD, (trial(0, scale=2.0), trial(1, scale=2.0)))
    merged = merge(old, [trial(1)], DECLARED)
    assert [each.spec for each in merged.kept.trials] == [spec(0, scale=2.0), spec(1)]
    assert merged.superseded == (1,)


def test_the_tolerances_of_the_oldest_records_that_stand_are_kept() -> None:
    old = Kept(OLD, (trial(0),))
    assert merge(old, [trial(1)], DECLARED).kept.declared == replace(
        OLD, tolerances={**DECLARED.tolerances, "late rows": 0.01}
    )
    stale = Kept(OLD, (trial(0, scale=2.0),))
    assert merge(stale, [trial(1)], DECLARED).kept.declared == DECLARED


def test_a_workspace_takes_a_trial_over_as_it_was(store: Store, tmp_path: Path) -> None:
    elsewhere = Store(tmp_path / "elsewhere")
    run(elsewhere, job(epochs=4))
    trial_id = job(epochs=4).spec.id
    recorded = elsewhere.read(trial_id)
    assert recorded is not None
    with store.lock():
        store.adopt(recorded)
    assert store.read(trial_id) == recorded
    assert store.settled(trial_id, 4)
    assert store.resume_point(trial_id) is None


def test_a_trial_that_was_taken_over_can_be_run_for_longer(store: Store, tmp_path: Path) -> None:
    elsewhere = Store(tmp_path / "elsewhere")
    run(elsewhere, job(epochs=4))
    recorded = elsewhere.read(job(epochs=4).spec.id)
    assert recorded is not None
    with store.lock():
        store.adopt(recorded)
    run(store, job(epochs=6))
    run(elsewhere, job(epochs=6))
    ours, theirs = (each.read(job().spec.id) for each in (store, elsewhere))
    assert ours is not None
    assert theirs is not None
    assert [each.metrics for each in ours.epochs] == [each.metrics for each in theirs.epochs]


def test_a_trial_with_records_is_not_written_over(store: Store) -> None:
    run(store, job(epochs=4))
    recorded = store.read(job(epochs=4).spec.id)
    assert recorded is not None
    with store.lock(), pytest.raises(ValueError, match="records are there already"):
        store.adopt(recorded)


def test_taking_over_that_was_cut_off_is_done_again(store: Store, tmp_path: Path) -> None:
    elsewhere = Store(tmp_path / "elsewhere")
    run(elsewhere, job(epochs=4))
    recorded = elsewhere.read(job().spec.id)
    assert recorded is not None
    with store.lock():
        store.adopt(recorded)
        (store.root / "trials" / recorded.spec.id / "result.json").unlink()  # which comes last
        store.adopt(recorded)
    assert store.read(recorded.spec.id) == recorded


def test_what_was_declared_is_read_back_and_damage_is_named(store: Store) -> None:
    assert store.declared("walk") == NOTHING
    with store.lock():
        store.declare("walk", DECLARED)
    assert store.declared("walk") == DECLARED
    file = store.root / "declared" / "walk.json"
    file.write_bytes(file.read_bytes().replace(b"0.06", b"0.60"))
    with pytest.raises(StoreError, match=r"declared/walk\.json: truncated or damaged"):
        store.declared("walk")

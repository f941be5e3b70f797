"""Searches whose answer is known; nothing here starts Ray."""

from pathlib import Path

import numpy as np
import optuna
import pytest

from harness import workloads
from harness.errors import ManifestError
from harness.manifest import Basis, load
from harness.record import EpochRecord, StoredTrial, TrialSpec
from harness.report import figures, study_page
from harness.report.documents import search_document
from harness.study.region import Region, inferred
from harness.study.search import FARTHEST, Found, Space, Tried, discrepancy, explore
from harness.verdict.evidence import Case, gather
from tests.study.planted import REGISTRY, Planted, repeat, truths

SETTINGS = 20
TRUTH = (1.5, 0.2)
SEQUENCES = Path(__file__).parents[2] / "experiments" / "sequence-pair-16.yaml"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("planted")


@pytest.fixture(scope="module")
def region(folder: Path) -> Region:
    return Region(Planted(TRUTH, folder).search(SETTINGS))


def test_the_region_covers_the_truth_in_nine_of_ten_papers_and_is_small(folder: Path) -> None:
    found = repeat(20, SETTINGS, folder)
    assert sum(covers for covers, _, _ in found) >= 18
    assert float(np.median([share for _, share, _ in found])) < 0.1
    assert sum(nothing for _, _, nothing in found) <= 2


def test_the_nearest_setting_comes_near_the_truth(region: Region) -> None:
    height, _ = region.best.settings
    assert height == pytest.approx(TRUTH[0], rel=0.2)
    (page,) = [text for text in study_page.search_sentences(region) if text.startswith("Nearest")]
    assert f"scale = {region.found.nearest.settings[0]}" in page


def test_a_paper_that_no_values_explain_has_nothing_compatible(folder: Path) -> None:
    found = Planted(TRUTH, folder, shift=0.8).search(SETTINGS)
    none = Region(found)
    assert none.nothing
    first, *_, nearest, _ = [s for s in study_page.search_sentences(none) if "Importance" not in s]
    assert first == "Nothing in the searched ranges is compatible with the searched rows."
    assert nearest.startswith("Nearest: scale = ")
    assert all(cells[3] == "none" for cells in study_page._parameters(none))


def test_without_noise_the_tolerance_decides_which_settings_are_compatible(folder: Path) -> None:
    found = Region(Planted(TRUTH, folder, noise=0.0).search(SETTINGS))
    assert found.noise.tolist() == [0.0] * 3
    assert found.accepted == found.within_tolerance
    assert 0 < len(found.accepted) < len(found.found.tried)
    assert not found.known  # nothing is said of the settings between them


def test_the_first_setting_is_the_manifests_own(region: Region) -> None:
    assert region.found.tried[0].settings == (1.0, 0.5)


def test_the_same_search_asks_for_the_same_settings_and_a_longer_one_goes_on(
    folder: Path, region: Region
) -> None:
    longer = Planted(TRUTH, folder).search(SETTINGS + 3)
    asked = [one.settings for one in longer.tried]
    assert asked[:SETTINGS] == [one.settings for one in region.found.tried]
    assert len(asked) == SETTINGS + 3


def test_hopeless_settings_stop_early_after_their_first_seed(folder: Path) -> None:
    planted = Planted(TRUTH, folder)
    found = planted.search(SETTINGS)
    stopped = [one for one in found.tried if one.stopped]
    assert stopped
    assert {(one.epochs, one.values.shape[1]) for one in stopped} == {(4, 1)}
    full = [one.discrepancy for one in found.tried if not one.stopped]
    assert np.median([one.discrepancy for one in stopped]) > np.median(full)


def test_rows_that_are_held_out_do_not_steer_the_search(folder: Path) -> None:
    planted = Planted(TRUTH, folder)
    space = Space.declared(planted.experiment())
    assert space.held_out == ("rows @ 16",)
    text = (folder / "planted.yaml").read_text()
    changed = folder / "other.yaml"
    changed.write_text(text.replace(", 16: ", ", 16: 9"))
    assert changed.read_text() != text
    other = Space.declared(load([changed], REGISTRY)[0])
    one = explore(space, planted.measure, settings=8)
    two = explore(other, planted.measure, settings=8)
    assert [t.settings for t in one.tried] == [t.settings for t in two.tried]


def test_what_was_found_is_judged_by_the_other_rows_and_other_seeds(region: Region) -> None:
    made = inferred(region, REGISTRY)
    (claim,) = made.manifest.claims
    assert list(claim.values) == [16]
    assert made.manifest.title == "A planted problem (as inferred)"
    assert not set(made.manifest.seeds) & set(region.space.search.seeds)
    scale = made.manifest.workload.parameters["scale"]
    assert (scale.value, scale.basis) == (region.best.settings[0], Basis.INFERRED)
    assert "among 20 settings, by rows @ 1, rows @ 4, rows @ 12" in scale.why


def test_too_few_settings_exclude_nothing(folder: Path) -> None:
    few = Region(Planted(TRUTH, folder).search(3))
    assert not few.known
    assert few.share == 1
    assert next(study_page.search_sentences(few)).startswith("The region is not known")
    assert search_document(few).share is None


def test_settings_that_the_workload_refuses_are_counted_and_not_tried(folder: Path) -> None:
    planted = Planted(TRUTH, folder)
    space = Space.declared(planted.experiment())
    found = explore(space, planted.measure, settings=6, refused=lambda one: one[0] > 1.5)
    assert found.refused
    assert len(found.tried) == 6
    assert max(float(one.settings[0]) for one in found.tried) <= 1.5


def test_a_setting_whose_trials_were_lost_is_counted_and_not_judged(folder: Path) -> None:
    planted = Planted(TRUTH, folder)
    space = Space.declared(planted.experiment())
    seen: list[int] = []
    found = explore(
        space,
        lambda asked, epochs, seeds: (
            [None] if asked[0] == space.own else planted.measure(asked, epochs, seeds)
        ),
        settings=3,
        note=lambda so_far: seen.append(len(so_far.tried)),
    )
    assert (found.lost, len(found.tried), seen) == (1, 2, [0, 1, 2])


def test_a_failed_seed_is_as_far_off_as_can_be(region: Region) -> None:
    values = np.ones((3, 2))
    values[0, 1] = np.inf
    assert discrepancy(region.space, values) == FARTHEST


def test_page_figure_and_document_show_every_setting(region: Region) -> None:
    page = study_page.search_markdown(region, "infer.png")
    assert page == study_page.search_markdown(region, "infer.png")
    assert page.count("| compatible |") + page.count("| rejected |") + page.count(
        "| stopped at epoch 4 |"
    ) == len(region.found.tried)
    assert figures.image(study_page.search_figure(region), "png").startswith(b"\x89PNG")
    document = search_document(region).as_json()
    assert len(document["settings"]) == SETTINGS
    assert document["held_out"] == ["rows @ 16"]
    scale, _ = document["parameters"]
    low, high = scale["compatible"]
    assert low <= TRUTH[0] <= high


def flat(seed: int) -> StoredTrial:
    """A curve on the plateau."""
    epochs = tuple(EpochRecord(n, {"mi_bits": 0.01 * n}, 0, 1.0) for n in range(1, 10))
    return StoredTrial(TrialSpec("toy", 1, {}, seed, {}), epochs=epochs, done=9)


def climbing(seed: int) -> StoredTrial:
    """A curve that crosses 0.1 bits at epoch 4.33, as the paper's, and climbs in a line."""
    epochs = tuple(
        EpochRecord(n, {"mi_bits": max(0.0, 0.1 + 0.3 * (n - 4.33))}, 0, 1.0) for n in range(1, 10)
    )
    return StoredTrial(TrialSpec("toy", 1, {}, seed, {}), epochs=epochs, done=9)


def test_curves_that_never_take_off_count_as_on_the_plateau_if_no_seed_does() -> None:
    space = Space.declared(load([SEQUENCES], workloads.registry())[0])
    case = Case(space.experiment, (0, 1), 9)
    rows = [row.name for row in space.rows]
    assert rows == ["onset", "early rows @ 6", "early rows @ 8", "early rows @ 10"]
    none = space.values(gather(case, lambda _, seed: flat(seed)))
    assert none[:, 0] == pytest.approx([10.0, 0.09, 0.09, np.nan], nan_ok=True)
    some = space.values(gather(case, lambda _, seed: (flat, climbing)[seed](seed)))
    assert np.isnan(some[:, 0]).all()
    assert some[:3, 1] == pytest.approx([4.33, 0.6, 1.2], abs=0.15)


def test_a_take_off_that_did_not_come_is_no_value_of_the_region() -> None:
    space = Space.declared(load([SEQUENCES], workloads.registry())[0])
    onset = [row.key.claim == "onset" for row in space.rows]

    def tried(values: tuple[float, float], epochs: int) -> Tried:
        rows = [values if one else (values[0] / 100, values[1] / 100) for one in onset]
        return Tried(space.own, np.array(rows), epochs, 1.0, stopped=epochs < 12)

    took_off, never, stopped = tried((4.0, 5.0), 12), tried((13.0, 13.0), 12), tried((7.0, 7.0), 6)
    alone = Region(Found(space, optuna.create_study(), [took_off]))
    among = Region(Found(space, optuna.create_study(), [took_off, never, never, stopped]))
    assert among.noise.tolist() == alone.noise.tolist()  # equal stand-ins are no small SD
    assert among.freedom.tolist() == alone.freedom.tolist()
    full = Found(space, optuna.create_study(), [took_off] * 4)
    assert not Region(Found(space, full.study, [*full.tried, stopped])).known  # still only four


def test_curves_that_are_held_out_keep_the_take_off_at_which_they_are_lined_up() -> None:
    space = Space.declared(load([SEQUENCES], workloads.registry())[0])
    own = Tried(space.own, np.array([[4.0, 5.0]] + [[0.1, 0.2]] * 3), 12, 1.0)
    found = inferred(Region(Found(space, optuna.create_study(), [own])), workloads.registry())
    claims = {claim.name: claim for claim in found.manifest.claims}
    assert claims["onset"] == next(c for c in space.claims if c.name == "onset")
    assert list(claims["early rows"].values) == [1, 2, 3, 4, 5, 7, 9]
    assert claims["early rows"].line_up_at == 0.1


def test_places_and_settings_go_there_and_back() -> None:
    space = Space.declared(load([SEQUENCES], workloads.registry())[0])
    rng = np.random.default_rng(0)
    for place in rng.random((20, len(space.factors))):
        there = space.at(place)
        back = space.coordinates(there)
        numbers = [at for at, factor in enumerate(space.factors) if factor.name != "batch_size"]
        assert back[numbers] == pytest.approx(place[numbers], abs=1e-3)
    assert space.own_is_inside


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ("low: 0.2", "low: 4.0", "search.parameters.scale.high: must be larger than low, 4"),
        ("low: 0.03,", "low: 0.0,", "search.parameters.sleep_s.log: only a range of positive"),
        ("    scale: {low", "    at: {low", "search.parameters.at: the paper states it"),
        ("    scale: {low", "    sclae: {low", "search.parameters.sclae: the manifest gives no"),
        ("    scale: {low", "    fault: {low", "search.parameters.fault: a range is for numbers"),
        (
            "scale: {low: 0.2, high: 3.0}",
            "at: {low: 0.5, high: 3}",
            "at: the manifest has the whole",
        ),
        (
            "scale: {low: 0.2, high: 3.0}",
            "scale: {choices: [[1], [2]]}",
            "scale: choices must be text, numbers, true or false",
        ),
        ("seeds: 100-102", "seeds: 4-6", "search.seeds: seed 4 is one of the manifest's"),
        ("seeds: 100-102", "seeds: [100]", "search.seeds: at least two"),
        ("  epochs: 12", "  epochs: 17", "search.epochs: beyond the run of 16 epochs"),
        ("rungs: [4]", "rungs: [12]", "search.rungs: must rise, and end before"),
        ("[1, 4, 12]", "[1, 16]", "search.rows.rows: row 16 lies beyond the search's 12 epochs"),
        ("[1, 4, 12]", "[2]", "search.rows.rows: no row 2 is reported"),
        ("{rows: [1", "{rwos: [1", "search.rows.rwos: no claim has this name"),
    ],
)
def test_a_faulty_search_is_refused_with_its_line(
    folder: Path, tmp_path: Path, old: str, new: str, fault: str
) -> None:
    Planted(TRUTH, folder).experiment()
    text = (folder / "planted.yaml").read_text()
    assert old in text
    path = tmp_path / "planted.yaml"
    if fault.startswith(("search.parameters.fault", "at:")):  # else it is refused as stated
        text = text.replace("stated: the first page", "assumed: not given")
    path.write_text(text.replace(old, new))
    with pytest.raises(ManifestError, match=r"planted\.yaml:\d+: ") as refused:
        load([path], REGISTRY)
    assert fault in str(refused.value)


def test_a_search_that_leaves_no_row_to_judge_by_is_refused(folder: Path, tmp_path: Path) -> None:
    Planted(TRUTH, folder).experiment()
    text = (folder / "planted.yaml").read_text()
    path = tmp_path / "planted.yaml"
    path.write_text(text.replace("[1, 4, 12]", "all").replace("  epochs: 12", "  epochs: 16"))
    with pytest.raises(ManifestError, match="every row is searched on"):
        load([path], REGISTRY)


def test_the_planted_truths_lie_inside_the_ranges() -> None:
    assert all(0.2 < float(h) < 3 and 0.03 < float(r) < 1 for h, r in truths(50))

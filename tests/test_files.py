"""Files are whole or as they were before, and what was published comes back bit for bit or not."""

import hashlib
import json
import shutil
import threading
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import load_file

from metarlhf import files
from metarlhf.errors import PublishedFileError
from metarlhf.files import DESCRIPTION, WEIGHTS
from tests.full_disk import full_disk

KIND = "thing"


class Thing(NamedTuple):
    weights: list
    number: jax.Array
    none: jax.Array


def thing(seed=0, rows=3):
    """Floats whose digits matter, a whole number, and an array without any number in it."""
    weights = [jax.random.normal(jax.random.key(seed), (rows, 2)), jnp.array([True, False])]
    return Thing(weights, jnp.array(7 + seed, jnp.int32), jnp.zeros((0, 2)))


def published(folder, seed=0):
    return files.publish(folder, thing(seed), {"kind": KIND, "about": {"seed": seed}})


def read(folder, like=None):
    return files.read(folder, like or jax.eval_shape(thing), files.describe(folder, KIND))


def test_what_is_published_comes_back_bit_for_bit(tmp_path):
    folder = published(tmp_path / "new" / "folder")
    found = read(folder)
    assert isinstance(found, Thing)
    for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(thing()), strict=True):
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(one, other)
    assert sorted(path.name for path in folder.iterdir()) == [DESCRIPTION, WEIGHTS]


def test_the_description_is_json_and_the_weights_are_readable_without_this_program(tmp_path):
    folder = published(tmp_path)
    description = json.loads((folder / DESCRIPTION).read_text())
    weights = (folder / WEIGHTS).read_bytes()
    assert description == {
        "kind": KIND,
        "about": {"seed": 0},
        "version": 1,
        "sha256": hashlib.sha256(weights).hexdigest(),
        "arrays": {".weights[0]": [3, 2], ".weights[1]": [2], ".number": [], ".none": [0, 2]},
    }
    assert load_file(folder / WEIGHTS).keys() == description["arrays"].keys()


def cut_short(folder):
    path = folder / WEIGHTS
    path.write_bytes(path.read_bytes()[:-1])


def tampered(folder):
    content = bytearray((folder / WEIGHTS).read_bytes())
    content[-1] ^= 1
    (folder / WEIGHTS).write_bytes(content)


def swapped(folder):
    """As if publishing over an older one had been cut off between the two files."""
    shutil.copy(published(folder / "other", seed=1) / WEIGHTS, folder / WEIGHTS)


@pytest.mark.parametrize("damage", [cut_short, tampered, swapped])
def test_weights_that_are_not_those_described_are_refused(tmp_path, damage):
    folder = published(tmp_path)
    damage(folder)
    with pytest.raises(PublishedFileError, match=r"its SHA-256 differs\): it is truncated or was"):
        read(folder)


def redescribed(folder, **changes):
    path = folder / DESCRIPTION
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kind": "an agent"}, "describes 'an agent', not a thing"),
        ({"kind": None}, "describes 'nothing known', not a thing"),
        ({"version": 2}, "is of version 2, this program reads 1: use the release that wrote it"),
        ({"version": None}, "is of version None"),
    ],
)
def test_a_description_of_something_else_is_refused(tmp_path, changes, message):
    redescribed(published(tmp_path), **changes)
    with pytest.raises(PublishedFileError, match=message):
        files.describe(tmp_path, KIND)


@pytest.mark.parametrize("content", [b"", b'{"kind": "a th', b"\xff\xfe\x00", b"[1, 2]", b"null"])
def test_a_description_that_is_none_is_refused(tmp_path, content):
    (published(tmp_path) / DESCRIPTION).write_bytes(content)
    with pytest.raises(PublishedFileError, match=DESCRIPTION):
        files.describe(tmp_path, KIND)


@pytest.mark.parametrize("name", [WEIGHTS, DESCRIPTION])
def test_a_missing_file_is_named_with_what_was_expected(tmp_path, name):
    (published(tmp_path) / name).unlink()
    expected = f"there is no {tmp_path / name}: expected a folder with {WEIGHTS} and {DESCRIPTION}"
    with pytest.raises(PublishedFileError, match=expected):
        read(tmp_path)


def test_a_folder_in_the_place_of_the_weights_is_refused(tmp_path):
    (published(tmp_path) / WEIGHTS).unlink()
    (tmp_path / WEIGHTS).mkdir()
    with pytest.raises(PublishedFileError, match="cannot be read"):
        read(tmp_path)


def test_weights_in_another_format_are_refused_whatever_their_hash(tmp_path):
    (published(tmp_path) / WEIGHTS).write_bytes(b"no safetensors")
    redescribed(tmp_path, sha256=hashlib.sha256(b"no safetensors").hexdigest())
    with pytest.raises(PublishedFileError, match="cannot be read"):
        read(tmp_path)


@pytest.mark.parametrize(
    ("like", "message"),
    [
        (thing(rows=4), r"holds \(3, 2\) as \.weights\[0\], expected \(4, 2\)"),
        ({"bias": jnp.zeros(1)}, r"holds nothing as \['bias'\], expected \(1,\)"),
    ],
)
def test_arrays_of_another_shape_or_name_are_refused(tmp_path, like, message):
    published(tmp_path)
    with pytest.raises(PublishedFileError, match=message):
        read(tmp_path, like)


def test_json_holds_plain_values_only_and_a_refused_one_leaves_the_file(tmp_path):
    path = tmp_path / "result.json"
    files.write_json(path, {"mean": np.float32(0.5), "curve": jnp.arange(2), "at": Path("a/b")})
    content = path.read_text()
    assert json.loads(content) == {"mean": 0.5, "curve": [0, 1], "at": "a/b"}
    with pytest.raises(ValueError, match="not JSON compliant"):
        files.write_json(path, {"mean": float("nan")})
    with pytest.raises(TypeError, match="a set cannot be written as JSON"):
        files.write_json(path, {"mean": {1, 2}})
    assert path.read_text() == content
    assert list(tmp_path.iterdir()) == [path]


def test_on_a_full_disk_the_file_stays_as_it_was_and_nothing_is_left_behind(tmp_path):
    path = tmp_path / "weights"
    files.write_bytes(path, b"before")
    with full_disk(1000), pytest.raises(OSError, match="File too large"):
        files.write_bytes(path, bytes(2000))
    assert path.read_bytes() == b"before"
    assert list(tmp_path.iterdir()) == [path]


def test_who_reads_meanwhile_reads_the_old_or_the_new_and_never_a_mixture(tmp_path):
    path, size = tmp_path / "file", 300_000
    files.write_bytes(path, b"a" * size)
    writing = threading.Thread(
        target=lambda: [files.write_bytes(path, letter * size) for letter in [b"b", b"a"] * 15]
    )
    writing.start()
    seen = set()
    while writing.is_alive():
        content = path.read_bytes()
        assert len(content) == size
        seen |= set(content)
        assert content.count(content[:1]) == size
    writing.join()
    assert seen <= set(b"ab")

"""Where checkpoints and savepoints of the local platform lie."""

from pathlib import Path

import pytest

from loopwright.edges.platform.copies import folder_named, place, wipe_elsewhere
from loopwright.edges.platform.layout import Layout
from loopwright.errors import InvalidSettings, PlatformFailed


def made(home: Path) -> Layout:
    layout = Layout.at(home)
    layout.make()
    return layout


def write(layout: Layout, name: str) -> Path:
    point = layout.checkpoints / name / "chk-1" / "_metadata"
    point.parent.mkdir(parents=True)
    point.write_text(name)
    return point


def test_a_folder_is_named_by_path_or_by_uri(tmp_path: Path) -> None:
    assert folder_named("") is None
    assert folder_named(str(tmp_path)) == tmp_path.resolve()
    assert folder_named((tmp_path / "a b").as_uri()) == tmp_path.resolve() / "a b"


@pytest.mark.parametrize("setting", ["s3://bucket/checkpoints", "hdfs://host/x", "file://host/x"])
def test_what_is_no_folder_of_this_machine_is_refused(setting: str) -> None:
    with pytest.raises(InvalidSettings, match="LOOPWRIGHT_STATE__CHECKPOINTS"):
        folder_named(setting)


def test_what_was_written_is_moved_and_keeps_its_name(tmp_path: Path) -> None:
    layout = made(tmp_path / ".loopwright")
    point = write(layout, "a")
    for folder in (tmp_path / "one", tmp_path / "two", None):
        place(layout, folder)
        place(layout, folder)  # again: nothing changes
        assert point.read_text() == "a"
        assert layout.checkpoints.is_symlink() == (folder is not None)
        assert sum(1 for at in (tmp_path / "one", tmp_path / "two") for _ in at.rglob("_metadata")) == (folder is not None)
        layout.make()
    assert sorted(one.name for one in layout.checkpoints.parent.iterdir()) == ["checkpoints", "kafka", "registry", "savepoints"]


def test_two_platforms_with_one_folder_do_not_meet(tmp_path: Path) -> None:
    mine, other = made(tmp_path / "a" / ".loopwright"), made(tmp_path / "b" / ".loopwright")
    for layout in (mine, other):
        place(layout, tmp_path / "shared")
    point = write(mine, "a")
    assert list(other.checkpoints.iterdir()) == []
    wipe_elsewhere(other)
    assert point.read_text() == "a"
    wipe_elsewhere(mine)
    assert list((tmp_path / "shared").rglob("_metadata")) == []


def test_a_folder_that_is_away_is_an_error_and_no_new_beginning(tmp_path: Path) -> None:
    layout = made(tmp_path / ".loopwright")
    place(layout, tmp_path / "disk")
    (tmp_path / "disk").rename(tmp_path / "unmounted")
    layout.make()
    with pytest.raises(PlatformFailed, match="is not there"):
        place(layout, tmp_path / "disk")
    (tmp_path / "unmounted").rename(tmp_path / "disk")
    place(layout, tmp_path / "disk")


def test_a_folder_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(PlatformFailed, match="file"):
        place(made(tmp_path / ".loopwright"), tmp_path / "file")

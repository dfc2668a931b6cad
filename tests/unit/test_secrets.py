"""Secrets from a file: who may read it, what stands in it, how it is changed."""

import os
from pathlib import Path

import pytest

from loopwright.edges.private_file import open_to_others, read_private, write_private
from loopwright.edges.secrets import SecretsFile, key_bytes, new_key
from loopwright.errors import InvalidSettings

KEY, OTHER = new_key(bytes(range(32))), new_key(bytes(range(1, 33)))


def written(folder: Path, text: str, mode: int = 0o600) -> Path:
    file = folder / "secrets.yaml"
    file.write_text(text)
    file.chmod(mode)
    return file


def test_texts_lists_and_files_are_found_by_name(tmp_path):
    secrets = SecretsFile(written(tmp_path, "a: one\nb: [new, old]\nc: {certificate: x.pem, key: /k.pem}\n"))
    assert (secrets.texts("a"), secrets.texts("b"), secrets.texts("c"), secrets.texts("d")) == (("one",), ("new", "old"), (), ())
    assert secrets.files("c") == {"certificate": tmp_path / "x.pem", "key": Path("/k.pem")}
    assert secrets.files("a") == {}


def test_what_is_written_can_be_read_by_its_owner_alone_and_replaces_what_others_could_read(tmp_path):
    file = tmp_path / "run" / "secrets.json"
    for text in ('{"a": "one"}', '{"a": "two"}'):
        assert write_private(file, text) == file
        assert file.stat().st_mode & 0o777 == 0o600
        assert SecretsFile(file).texts("a") == (text[7:10],)
        file.chmod(0o644)
    assert [one.name for one in file.parent.iterdir()] == ["secrets.json"]


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o620])
def test_a_file_that_others_may_read_is_refused_with_what_to_do(tmp_path, mode):
    file = written(tmp_path, "a: one\n", mode)
    with pytest.raises(InvalidSettings) as caught:
        SecretsFile(file)
    assert (f"{mode:04o}" in caught.value.why, caught.value.remedy) == (True, f"chmod 600 {file}")


ROOT, READER, OTHERS = 0, 10_001, 1000


@pytest.mark.parametrize("mode", [0o400, 0o600, 0o440, 0o640])
def test_root_may_hand_a_file_to_the_group_of_its_reader(mode):
    assert not open_to_others(mode, ROOT, READER)


@pytest.mark.parametrize(
    ("mode", "owner", "reader"),
    [
        *((mode, ROOT, READER) for mode in (0o444, 0o644, 0o460, 0o450, 0o441, 0o442)),  # by anybody, or to be changed by the group
        *((mode, owner, READER) for mode in (0o440, 0o640) for owner in (READER, OTHERS)),  # whose group its owner chose
        (0o440, ROOT, ROOT),
    ],
)
def test_any_other_file_that_a_group_or_anybody_may_read_is_open_to_others(mode, owner, reader):
    assert open_to_others(mode, owner, reader)


@pytest.mark.skipif(os.geteuid() != ROOT, reason="needs root, to read as somebody else")
def test_a_file_that_is_mounted_for_a_group_can_be_read_and_one_for_anybody_is_refused(tmp_path):
    """As Kubernetes mounts a Secret: root:fsGroup 0440, through a link that is replaced when the Secret changes."""
    content = written(tmp_path, "a: one\n", 0o440)
    os.chown(content, ROOT, READER)
    mounted = tmp_path / "mounted"
    mounted.symlink_to(content)
    for folder in (tmp_path, *(one for one in tmp_path.parents if one.stat().st_uid == ROOT and one.name.startswith("pytest"))):
        folder.chmod(0o755)
    os.setegid(READER)
    os.seteuid(READER)
    try:
        assert read_private(mounted, "the file") == {"a": "one"}
        os.seteuid(ROOT)
        content.chmod(0o444)
        os.seteuid(READER)
        with pytest.raises(InvalidSettings, match="can be read by others"):
            read_private(mounted, "the file")
    finally:
        os.seteuid(ROOT)
        os.setegid(ROOT)


@pytest.mark.parametrize(
    "text",
    [
        "hunter2hunter2",
        "a: [hunter2\n",
        "a: {b: 'hunter2\n",
        "a: 1\nb: hunter2\n",
        "a: [hunter2, 2]\n",
        "a: ''\nb: hunter2",
        "callback: hunter2\n",
        "callback: whsec_hunter2!\n",
        "callback/sdr/x: [hunter2]\n",
        "webhook/orders: hunter2\n",
        "callback: {hunter2: hunter2}\n",
        "1: hunter2\n",
    ],
)
def test_a_file_that_cannot_be_used_is_refused_without_a_word_of_its_content(tmp_path, text):
    with pytest.raises(InvalidSettings) as caught:
        SecretsFile(written(tmp_path, text))
    said = f"{caught.value}{caught.value.__cause__}{caught.value.__context__ if not caught.value.__suppress_context__ else ''}"
    assert "hunter2" not in said
    assert caught.value.remedy


def test_a_file_that_is_not_there_is_an_error_that_names_it(tmp_path):
    with pytest.raises(InvalidSettings, match=r"secrets\.yaml"):
        SecretsFile(tmp_path / "secrets.yaml")


def test_a_changed_file_is_read_again_and_an_unusable_one_changes_nothing(tmp_path):
    secrets = SecretsFile(written(tmp_path, "a: one\n"))
    fresh = tmp_path / "fresh"
    fresh.write_text("a: [two, one]\n")
    fresh.chmod(0o600)
    os.replace(fresh, secrets.path)
    assert secrets.texts("a") == ("two", "one")
    secrets.path.write_text("a: [broken\n")
    assert secrets.texts("a") == ("two", "one")
    secrets.path.unlink()
    assert secrets.texts("a") == ("two", "one")
    written(tmp_path, "a: three\n")
    assert secrets.texts("a") == ("three",)


def test_each_agent_has_a_key_of_its_own(tmp_path):
    secrets = SecretsFile(written(tmp_path, f"callback: {KEY}\ncallback/sdr/own: [{OTHER}, {KEY}]\n"))
    derived = {secrets.callback_keys(team, agent) for team, agent in [("sdr", "a"), ("sdr", "b"), ("x", "a")]}
    assert len(derived) == 3
    assert all(len(keys) == 1 and keys[0] != key_bytes(KEY) for keys in derived)
    assert secrets.callback_keys("sdr", "own") == (key_bytes(OTHER), key_bytes(KEY))
    assert SecretsFile(written(tmp_path, "a: b\n")).callback_keys("sdr", "a") == ()


def test_a_signing_secret_gives_its_keys_and_one_that_is_none_is_named_without_a_word_of_it(tmp_path):
    secrets = SecretsFile(written(tmp_path, f"webhook/orders: [{OTHER}, {KEY}]\nshop: hunter2\n"))
    assert secrets.signing_keys("webhook/orders") == (key_bytes(OTHER), key_bytes(KEY))
    for name, why in (("shop", "shop is a key of 7 bytes"), ("webhook/plain", "no secret 'webhook/plain'")):
        with pytest.raises(InvalidSettings, match=why) as caught:
            secrets.signing_keys(name)
        assert "hunter2" not in str(caught.value)


def test_what_is_no_file_holds_no_secrets(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe", 0o600)
    for path in (tmp_path, tmp_path / "pipe"):
        with pytest.raises(InvalidSettings, match="no regular file"):
            read_private(path, "the file")

"""Ports stay the same from start to start, until somebody else has one."""

import socket
from pathlib import Path

import pytest

from loopwright.edges.platform.ports import HIGHEST, LOWEST, Ports, is_free, read_ports


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "run" / "ports.json"


def test_a_port_is_remembered_by_the_next_command(file: Path) -> None:
    chosen = Ports(file).settle("kafka", in_use_by_us=False)
    assert LOWEST <= chosen <= HIGHEST
    assert Ports(file).settle("kafka", in_use_by_us=False) == chosen
    assert read_ports(file) == {"kafka": chosen}


def test_a_port_that_somebody_else_took_is_replaced(file: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = other.getsockname()[1]
        file.parent.mkdir()
        file.write_text(f'{{"kafka": {taken}}}')
        assert not is_free(taken)
        assert Ports(file).settle("kafka", in_use_by_us=False) != taken
        assert read_ports(file)["kafka"] != taken


def test_a_port_that_our_own_process_holds_is_kept(file: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as ours:
        held = ours.getsockname()[1]
        file.parent.mkdir()
        file.write_text(f'{{"kafka": {held}}}')
        assert Ports(file).settle("kafka", in_use_by_us=True) == held


def test_a_preferred_port_is_taken_only_while_it_is_free(file: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = other.getsockname()[1]
        assert Ports(file, {"agents": taken}).settle("agents", in_use_by_us=False) != taken
    free = Ports(file).settle("probe", in_use_by_us=False)
    assert Ports(file.with_name("fresh.json"), {"agents": free}).settle("agents", in_use_by_us=False) == free


def test_no_two_names_share_a_port(file: Path) -> None:
    ports = Ports(file)
    chosen = [ports.settle(f"service-{number}", in_use_by_us=False) for number in range(50)]
    assert len(set(chosen)) == len(chosen)


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"kafka": "none"}', "null"])
def test_a_damaged_file_counts_as_none(file: Path, damage: str) -> None:
    file.parent.mkdir()
    file.write_text(damage)
    assert read_ports(file) == {}

"""A bare Debian 12 in a folder, as the image begins with one: made by debootstrap from the Debian mirror that this machine uses."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

RELEASE = "bookworm"
CERTIFICATES = "/host-certificates.pem"
_NETWORK = ("http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "PIP_INDEX_URL", "UV_DEFAULT_INDEX")
_TRUST = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "PIP_CERT", "CURL_CA_BUNDLE")
_DEADLINE_S = 600


def mirror(etc: Path = Path("/etc/apt")) -> str:
    """The URL of the mirror that apt takes this release from, by its list of sources (sources.list(5)); empty where it takes none."""
    files = [etc / "sources.list", *sorted(etc.glob("sources.list.d/*.list")), *sorted(etc.glob("sources.list.d/*.sources"))]
    text = "\n\n".join(file.read_text() for file in files if file.is_file())
    found = [(m[1], m[2], m[3]) for m in re.finditer(r"^deb (?:\[[^]]*\] )?(\S+) (\S+) (.*)$", text, re.MULTILINE)]
    for stanza in re.split(r"\n\s*\n", text):
        fields = dict(re.findall(r"^(URIs|Suites|Components): *(.*)$", stanza, re.MULTILINE))
        if len(fields) == 3:
            found += [(uri, suite, fields["Components"]) for uri in fields["URIs"].split() for suite in fields["Suites"].split()]
    return next((uri for uri, suite, components in found if suite == RELEASE and "main" in components.split()), "")


def unavailable() -> str:
    """Why there can be no such root on this machine; empty where there can."""
    if not sys.platform.startswith("linux") or os.geteuid() != 0:
        return "a Debian root is made by root on Linux"
    missing = [tool for tool in ("apt-get", "dpkg", "wget", "unshare", "chroot") if shutil.which(tool) is None]
    if missing:
        return f"{', '.join(missing)} is not on this machine"
    return "" if mirror() else f"apt has no source of Debian {RELEASE} on this machine"


def network_environment() -> dict[str, str]:
    """The variables by which programs in the root reach what this machine reaches."""
    found = {name: os.environ[name] for name in _NETWORK if name in os.environ}
    return found | (dict.fromkeys(_TRUST, CERTIFICATES) if "SSL_CERT_FILE" in os.environ else {})


def make_root(root: Path, work: Path) -> None:
    """Make it in the folder `root`. `work` holds what is needed on the way."""
    program, environment = _debootstrap(work)
    command = [program, "--variant=minbase", RELEASE, str(root), mirror()]
    with (work / "debootstrap.log").open("wb") as log:
        done = subprocess.run(command, env=environment, stdout=log, stderr=log, check=False, timeout=_DEADLINE_S)
    assert done.returncode == 0, (work / "debootstrap.log").read_text()[-3000:]
    shutil.copy("/etc/resolv.conf", root / "etc" / "resolv.conf")
    if "SSL_CERT_FILE" in os.environ:
        shutil.copy(os.environ["SSL_CERT_FILE"], root / CERTIFICATES.lstrip("/"))


def _debootstrap(work: Path) -> tuple[str, dict[str, str]]:
    """The program and its environment: this machine's, or one that is unpacked from its package and installed nowhere."""
    if (found := shutil.which("debootstrap")) is not None:
        return found, dict(os.environ)
    download = ["apt-get", "download", "-q", "debootstrap"]
    if subprocess.run(download, cwd=work, capture_output=True, check=False).returncode != 0:  # apt has no lists yet
        subprocess.run(["apt-get", "update", "-q"], check=True, capture_output=True, timeout=_DEADLINE_S)
        subprocess.run(download, cwd=work, check=True, capture_output=True)
    (package,) = work.glob("debootstrap_*.deb")
    subprocess.run(["dpkg", "-x", str(package), str(work / "tools")], check=True)
    own = work / "tools" / "usr"
    return str(own / "sbin" / "debootstrap"), {**os.environ, "DEBOOTSTRAP_DIR": str(own / "share" / "debootstrap")}


def inside(
    root: Path,
    command: Sequence[str],
    environment: Mapping[str, str],
    *,
    mounts: Sequence[tuple[Path | str, str, bool]] = (),
    tmpfs: Sequence[str] = (),
    user: str = "0:0",
    folder: str = "/",
    read_only: bool = False,
) -> list[str]:
    """The command line that runs `command` in the root, in mounts of its own. `mounts` are (from, to, read only)."""
    at = shlex.quote(str(root))
    lines = ["set -e", f"mount --bind {at} {at}", f"mount -t proc proc {at}/proc", f"mount --rbind /dev {at}/dev"]
    for source, target, closed in mounts:
        there = shlex.quote(f"{root}{target}")
        lines.append(f"mount --bind {shlex.quote(str(source))} {there}")
        lines += [f"mount -o remount,bind,ro {there}"] if closed else []
    lines += [f"mount -t tmpfs -o mode=1777 tmpfs {shlex.quote(f'{root}{target}')}" for target in tmpfs]
    lines += [f"mount -o remount,bind,ro {at}"] if read_only else []
    given = [f"{name}={value}" for name, value in environment.items()]
    run = ["chroot", "--groups=", f"--userspec={user}", str(root), "/usr/bin/env", "-i", *given]
    run += ["/bin/sh", "-c", f'cd {shlex.quote(folder)} && exec "$@"', "sh", *command]
    return ["unshare", "--mount", "sh", "-c", "\n".join([*lines, f"exec {shlex.join(run)}"])]

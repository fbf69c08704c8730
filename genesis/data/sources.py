"""Name, fetch and unpack the packages that the Datanets and the corpus are extracted from."""

import hashlib
import json
import subprocess
import tarfile
import tempfile
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

_SNAPSHOT = "https://snapshot.debian.org"
_NPM = "https://registry.npmjs.org/{name}/-/{name}-{version}.tgz"


class SourceError(Exception):
    """Say that a package could not be had in exactly the version that was named."""


@dataclass(frozen=True, slots=True)
class Package:
    """Name one package file.

    `kind` is "deb" (Debian 12, fetched with apt-get) or "npm"; `licence` is the SPDX expression
    of the text that we take from it, which can differ from that of the programs it describes.
    """

    kind: str
    name: str
    version: str
    sha256: str
    licence: str
    homepage: str


def _deb(name: str, version: str, licence: str, homepage: str, sha256: str) -> Package:
    return Package("deb", name, version, sha256, licence, homepage)


# The programs' own licences are in each package's copyright file; see NOTICE beside each data set.
PACKAGES = {
    package.name: package
    for package in (
        Package(
            "npm", "spdx-license-list", "6.12.0",
            "54cc8d13086187333ca1457c8edaa06d9a412144f076aa7f7c1b59c4f3b0a1ef",
            "CC0-1.0", "https://spdx.org/licenses/",
        ),
        _deb("python3.11-doc", "3.11.2-6+deb12u9", "PSF-2.0", "https://docs.python.org/3.11/",
             "5b3594189d6ef9a6963ce0347fd307a1cc67620ad697e144db366070e2e146be"),
        _deb("openssh-client", "1:9.2p1-2+deb12u10", "BSD-2-Clause", "https://www.openssh.com/",
             "42c250b8b9110382488c53c066a960bc564ddac2cb9e449f47b6cdbb5fc1cb60"),
        _deb("openssh-server", "1:9.2p1-2+deb12u10", "BSD-2-Clause", "https://www.openssh.com/",
             "933cd92a2329f9bf26d22660a834ae18ebdbe8df9c6127e4d9fcb098dac9cf72"),
        _deb("tmux", "3.3a-3", "ISC", "https://github.com/tmux/tmux",
             "6bd1558face5e145d66d72c9557cbc7ff5ad66701e94dcd568e6daf081269018"),
        _deb("mandoc", "1.14.6-1+b1", "ISC", "https://mandoc.bsd.lv/",
             "af62386fcb99fbfe8813992d5623f5500339d8decee2c72994522366e078c01b"),
        _deb("libarchive-dev", "3.6.2-1+deb12u5", "BSD-2-Clause", "https://www.libarchive.org/",
             "e8dbaf0d7d2f385063531832e4e97bbcd439c5ea2178806772be48645276135a"),
        _deb("libarchive-tools", "3.6.2-1+deb12u5", "BSD-2-Clause", "https://www.libarchive.org/",
             "c2b48182c0544e8234557c5c202c3dce898dacee535342e4875e68d72cad948a"),
        _deb("ncurses-doc", "6.4-4", "X11-distribute-modifications-variant",
             "https://invisible-island.net/ncurses/",
             "c3dab5d65bfd62a7468daacf59c63f15fb627fe4e4d105b54777a370d0c6df77"),
        _deb("tcl8.6-doc", "8.6.13+dfsg-2", "TCL", "https://www.tcl-lang.org/",
             "e6468aa726a0d77f3e61ae4714bcf7c4c4ddd02828388977f765ffdda4935876"),
        _deb("libssl-doc", "3.0.22-1~deb12u2", "Apache-2.0", "https://www.openssl.org/",
             "b79995160eeb7673b3933bf270105e075814a13b3d499db8c65bb41735748b41"),
        _deb("libcurl4-doc", "7.88.1-10+deb12u15", "curl", "https://curl.se/libcurl/",
             "34fe1d613c249a9f02696777cbc06f95c50ea030413d596262f3a03aaf12eb62"),
        _deb("postgresql-doc-15", "15.20-0+deb12u1", "PostgreSQL", "https://www.postgresql.org/",
             "4c44bf2c599f208b3f46454a6cf7a72e25ec46ff74d37b59dd31ad76b00eebb7"),
        _deb("sqlite3-doc", "3.40.1-2+deb12u2", "blessing", "https://www.sqlite.org/docs.html",
             "466e30d7066e2641fa13e56bc662a2ad521b8cc9c17dde9c9dac3d4f105e32f2"),
        _deb("rust-doc", "1.63.0+dfsg1-2", "MIT OR Apache-2.0", "https://doc.rust-lang.org/",
             "96ef96fe6df87d939ca713bd7df3d15c2b778ccb892eca025c4ee504146f697b"),
        _deb("freebsd-manpages", "12.2-1", "BSD-2-Clause AND BSD-4-Clause-UC",
             "https://man.freebsd.org/",
             "2d4a9606bd59d4c71e6d8355dee3d2624b0ebdab79d3ab5e9169ed7fbb0c197a"),
        _deb("nodejs-doc", "18.20.4+dfsg-1~deb12u3", "MIT", "https://nodejs.org/api/",
             "d2fbd4f3aecccea9d901a03842ef8380379e0d33010a48af5e797ed68ae874ce"),
        _deb("python-django-doc", "3:3.2.25-0+deb12u7", "BSD-3-Clause",
             "https://docs.djangoproject.com/",
             "87307f067916df72e17180d35b7cde5c7ea6080336cda518efd7f6e66988a7ca"),
        _deb("python-flask-doc", "2.2.2-3", "BSD-3-Clause", "https://flask.palletsprojects.com/",
             "0659f6a04b15fe3f907150cadc0399fe987c790e722e001b73f7e49fa5ecca15"),
        _deb("python-sqlalchemy-doc", "1.4.46+ds1-1", "MIT", "https://www.sqlalchemy.org/",
             "8805c3167ef75278ac6fd58ed9856321c2b2e3a7e441edba84b2eb955216d0fd"),
        _deb("python-attr-doc", "22.2.0-1", "MIT", "https://www.attrs.org/",
             "38132c995d9a23b44daf874d7a053251df4098ac476b95ac9966d46a8e0f3cd3"),
        _deb("erlang-doc", "1:25.2.3+dfsg-1+deb12u4", "Apache-2.0", "https://www.erlang.org/docs",
             "7d172cecfdd9c2930b27c776ad226ffcc84670375cf830c79ee41c6944e8a1c8"),
        _deb("llvm-14-doc", "1:14.0.6-12", "Apache-2.0 WITH LLVM-exception",
             "https://releases.llvm.org/14.0.0/docs/",
             "d83d576ccf39dd9c698f983677f5569284cb4d55f084dd135859a73d31910b1a"),
        _deb("libbsd-dev", "0.11.7-2", "BSD-3-Clause AND BSD-2-Clause AND ISC",
             "https://libbsd.freedesktop.org/",
             "788ec28ca78eab1ba14d2e1a50727efb7276c6b034163dca40931d8ab3d94aab"),
        _deb("sudo", "1.9.13p3-1+deb12u4", "ISC", "https://www.sudo.ws/",
             "ea9987f92630be504998516e1ed9c821c483131d0576ff35a09d6e7f8deff10f"),
    )
}  # fmt: skip


def unpack(package: Package, cache: Path) -> Path:
    """Return the folder of the unpacked package; fetch it first if the cache lacks it.

    Raises:
        SourceError: the package is gone from its archive or its hash differs.
    """
    folder = cache / "unpacked" / f"{package.name}-{package.sha256[:12]}"
    if folder.is_dir():
        return folder
    archive = _fetched(package, cache / "archives")
    partial = folder.with_suffix(".partial")
    partial.mkdir(parents=True, exist_ok=True)
    if package.kind == "deb":
        subprocess.run(["dpkg-deb", "-x", str(archive), str(partial)], check=True)
    else:
        with tarfile.open(archive) as tar:
            tar.extractall(partial, filter="data")
    return partial.rename(folder)


def _fetched(package: Package, folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    archive = folder / f"{package.name}-{package.sha256[:12]}.{package.kind}"
    if not archive.exists():
        if package.kind == "npm":
            address = _NPM.format(name=package.name, version=package.version)
            with urllib.request.urlopen(address) as answer:
                archive.write_bytes(answer.read())
        else:
            _fetch_deb(package, archive)
    found = hashlib.sha256(archive.read_bytes()).hexdigest()
    if found != package.sha256:
        archive.unlink()
        raise SourceError(
            f"{package.name} {package.version}: SHA-256 is {found}, expected {package.sha256}; "
            "fetch the named version by hand or take a newer one and change sources.py"
        )
    return archive


def _fetch_deb(package: Package, archive: Path) -> None:
    """Ask the configured Debian mirror first, then the archive of all past versions."""
    with tempfile.TemporaryDirectory(dir=archive.parent) as scratch:
        command = ["apt-get", "download", f"{package.name}={package.version}"]
        if subprocess.run(command, cwd=scratch, check=False, capture_output=True).returncode == 0:
            next(Path(scratch).glob("*.deb")).rename(archive)
            return
    asked = f"{_SNAPSHOT}/mr/binary/{package.name}/{quote(package.version)}/binfiles"
    try:
        with urllib.request.urlopen(asked) as answer:
            files = json.loads(answer.read())["result"]
        wanted = next(f["hash"] for f in files if f["architecture"] in {"all", "amd64"})
        with urllib.request.urlopen(f"{_SNAPSHOT}/file/{wanted}") as answer:
            archive.write_bytes(answer.read())
    except (urllib.error.URLError, StopIteration) as error:
        raise SourceError(
            f"{package.name} {package.version} is neither on the Debian mirror nor on "
            f"{_SNAPSHOT} ({error!r}); name a version that exists in sources.py"
        ) from error

"""`cli.yaml`: the environments that the CLI and this package share."""

from __future__ import annotations

import contextlib
import os
import re
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Optional, TypeVar

import yaml

from cortex.exceptions import CortexException, NotFound

try:
    import fcntl
except ImportError:  # Windows: without a lock; the write is still atomic.
    fcntl = None  # type: ignore[assignment]

T = TypeVar("T")

_NAME = re.compile(r"[A-Za-z0-9_.][A-Za-z0-9_.-]{0,62}\Z")
_LARGEST = 1 << 20


@dataclass
class Environment:
    """A platform: its name, URL and token."""

    name: str
    operator_endpoint: str
    token: Optional[str] = field(default=None, repr=False)
    #: Keys of other programs, kept unchanged.
    extra: Dict[str, Any] = field(default_factory=dict, repr=False)


@dataclass
class EnvironmentFile:
    """The content of `cli.yaml`."""

    default_environment: Optional[str] = None
    environments: List[Environment] = field(default_factory=list)
    telemetry: Optional[bool] = None

    def get(self, name: str) -> Optional[Environment]:
        return next((each for each in self.environments if each.name == name), None)

    def resolve(self, name: Optional[str]) -> Environment:
        """The named environment, else the default, else the only one.

        Raises:
            NotFound: there is none; the message says what to do.
        """
        if name is None:
            name = self.default_environment
            if name is None and len(self.environments) == 1:
                return self.environments[0]
        if name is not None:
            found = self.get(name)
            if found is not None:
                return found
            known = f"; there are: {self._names()}" if self.environments else ""
            raise NotFound(f"there is no environment {name!r}{known}; create it with cortex.new_client({name!r}, URL)")
        if not self.environments:
            raise NotFound(
                "no environment is configured; start a platform on this machine with: cortex up"
                " (or connect to one with cortex.new_client(NAME, URL))"
            )
        raise NotFound(f"no environment is the default; choose one of {self._names()}: cortex.client(NAME)")

    def put(self, environment: Environment) -> None:
        """Adds an environment, or replaces the one with its name. An only environment becomes the default."""
        for index, each in enumerate(self.environments):
            if each.name == environment.name:
                self.environments[index] = environment
                break
        else:
            self.environments.append(environment)
        self._adopt_only_one()

    def remove(self, name: str) -> None:
        """Removes an environment. If it was the default and one is left, that one becomes the default."""
        found = self.get(name)
        if found is None:
            raise NotFound(f"there is no environment {name!r}; there are: {self._names() or 'none'}")
        self.environments.remove(found)
        if self.default_environment == name:
            self.default_environment = None
        self._adopt_only_one()

    def _adopt_only_one(self) -> None:
        if self.default_environment is None and len(self.environments) == 1:
            self.default_environment = self.environments[0].name

    def _names(self) -> str:
        return ", ".join(each.name for each in self.environments)


def check_name(name: str) -> None:
    """Raises ConfigurationFileError for a name that needs quoting in a shell, or is too long."""
    if not _NAME.match(name):
        raise ConfigurationFileError(
            f"{name!r} cannot be an environment's name: use at most 63 letters, digits, '-', '_' and '.'"
        )


class ConfigurationFileError(CortexException):
    """`cli.yaml` cannot be read, understood or written."""


def directory() -> Path:
    """The folder in CORTEX_CLI_CONFIG_DIR, else `~/.cortex`."""
    folder = os.environ.get("CORTEX_CLI_CONFIG_DIR")
    return Path(folder).expanduser() if folder else Path.home() / ".cortex"


def load(folder: Optional[Path] = None) -> EnvironmentFile:
    """Reads the file; an empty value if there is none.

    Raises:
        ConfigurationFileError: it cannot be read or understood, or another user could have written it.
    """
    path = (folder or directory()) / "cli.yaml"
    try:
        data = _read(path)
        if data is None:
            return EnvironmentFile()
    except OSError as error:
        raise ConfigurationFileError(f"{path} cannot be read: {error.strerror}; check its owner and mode") from error
    if len(data) > _LARGEST:
        raise ConfigurationFileError(f"{path} is larger than 1 MiB; move it away and configure again")
    try:
        return _parse(yaml.safe_load(data.decode()))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigurationFileError(f"{path}: it is not YAML") from error
    except ValueError as error:
        raise ConfigurationFileError(f"{path}: {error}") from error


#: The folder of `cli.yaml` in a container. The platform owns it, independent of the container's user.
_IN_A_CONTAINER = Path("/cortex/client")


def _read(path: Path) -> Optional[bytes]:
    """The file's bytes; None if there is none.

    A link of this user is followed; its target must belong to this user and not be writable by others.
    """
    if not hasattr(os, "geteuid") or path.parent == _IN_A_CONTAINER:
        return path.read_bytes() if path.exists() else None
    mine = (os.geteuid(), 0)
    try:
        link = os.lstat(path)
    except FileNotFoundError:
        return None
    if stat.S_ISLNK(link.st_mode) and link.st_uid not in mine:
        raise ConfigurationFileError(f"{path} is a link that another user made, so it is not followed; remove it")
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    with os.fdopen(descriptor, "rb") as file:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise ConfigurationFileError(f"{path} is not a file; move it away")
        if found.st_uid not in mine:
            raise ConfigurationFileError(
                f"{path} belongs to another user; remove it, or set CORTEX_CLI_CONFIG_DIR to a folder of your own"
            )
        if found.st_mode & 0o022:
            raise ConfigurationFileError(
                f"{path} can be written by other users, so it may have been changed; check its content, then: chmod 600 {path}"
            )
        data = file.read(_LARGEST + 1)
        if found.st_mode & 0o077 and found.st_uid == os.geteuid() and b"token" in data:
            # If this fails, as on a read-only disk, `cortex doctor` reports the mode.
            with contextlib.suppress(OSError):
                os.fchmod(descriptor, 0o600)
        return data


def _parse(content: Any) -> EnvironmentFile:
    if content is None:
        return EnvironmentFile()
    if not isinstance(content, dict):
        raise ValueError("it must be a map with default_environment and environments")
    unknown = [str(key) for key in content if key not in ("telemetry", "default_environment", "environments")]
    if unknown:
        raise ValueError(f"it has an unknown key {unknown[0]!r}")
    file = EnvironmentFile(telemetry=content.get("telemetry"))
    environments = content.get("environments") or []
    if not isinstance(environments, list):
        raise ValueError("environments must be a list")
    for index, item in enumerate(environments):
        environment = _environment(item, f"environments[{index}]")
        if file.get(environment.name):
            raise ValueError(f"there are two environments {environment.name!r}")
        file.environments.append(environment)
    file.default_environment = content.get("default_environment") or None
    if file.default_environment is not None and file.get(file.default_environment) is None:
        raise ValueError(f"default_environment is {file.default_environment!r}, which is not one of its environments")
    return file


def _environment(item: Any, path: str) -> Environment:
    if not isinstance(item, dict):
        raise ValueError(f"{path} must be a map")
    extra = {str(key): value for key, value in item.items()}
    name, endpoint, token = (extra.pop(key, None) for key in ("name", "operator_endpoint", "token"))
    if not name:
        raise ValueError(f"{path}.name is missing")
    if not endpoint:
        raise ValueError(f"{path}.operator_endpoint is missing (environment {name!r})")
    return Environment(str(name), str(endpoint), str(token) if token else None, extra)


def _render(file: EnvironmentFile) -> str:
    content: Dict[str, Any] = {
        "default_environment": file.default_environment,
        "environments": [
            {
                **each.extra,
                "name": each.name,
                "operator_endpoint": each.operator_endpoint,
                **({"token": each.token} if each.token else {}),
            }
            for each in file.environments
        ],
    }
    if file.telemetry is not None:
        content["telemetry"] = file.telemetry
    text: str = yaml.safe_dump(content, sort_keys=True, allow_unicode=True, width=10_000)
    return text


def update(change: Callable[[EnvironmentFile], T], folder: Optional[Path] = None) -> T:
    """Reads, changes and writes the file under a lock that the CLI uses too.

    The file is replaced atomically and readable by its owner only. If `change` raises, it is not changed.
    """
    folder = folder or directory()
    path = folder / "cli.yaml"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with _locked(folder):
            file = load(folder)
            before = _render(file)
            result = change(file)
            text = _render(file)
            if text != before:
                _replace(path, text)
            return result
    except OSError as error:
        raise ConfigurationFileError(
            f"{path} cannot be written: {error.strerror}; set CORTEX_CLI_CONFIG_DIR to a folder you can write to"
        ) from error


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    if fcntl is None:
        yield
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _replace(path: Path, text: str) -> None:
    if path.is_symlink():
        # The target is replaced, so that a manager of configuration files keeps its link.
        path = Path(os.path.realpath(path))
        folder = os.stat(path.parent)
        if hasattr(os, "geteuid") and (
            folder.st_uid not in (os.geteuid(), 0) or (folder.st_mode & 0o022 and not folder.st_mode & stat.S_ISVTX)
        ):
            raise ConfigurationFileError(
                f"cli.yaml is a link into {path.parent}, where other users can write;"
                f" correct it with: chmod go-w {path.parent}, or remove the link"
            )
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise

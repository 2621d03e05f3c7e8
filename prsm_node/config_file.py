"""Reading and writing configurations: a flag goes before the environment, that before the file and defaults.

Text becomes a checked Config in `load`, or one ConfigError that names setting, place and remedy; an unknown
setting is an error that names the nearest known one. `render` writes the file with its comments.
"""

import os
import tomllib
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Final, Literal, NamedTuple, get_args, get_origin, get_type_hints

import msgspec

from prsm_node import bounded_file
from prsm_node.config import Config, ConfigError

ENVIRONMENT_PREFIX: Final = "PRSM_"
SEPARATOR: Final = "__"
"""PRSM_NETWORK__PORT is network.port; what lacks it (PRSM_HOME) is no setting."""
FILE_BYTES_MAX: Final = 262_144  # fifty times the default file; what is larger is some other file


class Origin(NamedTuple):
    """Where a value was set, as a sentence continues it."""

    text: str


DEFAULT: Final = Origin("default")
FLAG: Final = Origin("flag")


class Loaded(NamedTuple):
    config: Config
    origins: dict[str, Origin]
    """For every setting, `section.name`, where its value comes from."""


class Setting(NamedTuple):
    """A declared setting: its type without annotations, its bounds and its comment."""

    type: Any
    meta: msgspec.Meta
    default: Any


def _setting(annotation: Any, default: Any) -> Setting:
    if get_origin(annotation) is not Annotated:
        return Setting(annotation, msgspec.Meta(), default)
    kind, *metas = get_args(annotation)
    facts: dict[str, Any] = {}
    for meta in metas:
        for name in ("description", "ge", "le", "max_length", "pattern"):
            if getattr(meta, name) is not None:
                facts[name] = getattr(meta, name)
    return Setting(kind, msgspec.Meta(**facts), default)


def _sections() -> dict[str, dict[str, Setting]]:
    return {
        section: {
            field.name: _setting(hints[field.name], field.default)
            for field in msgspec.structs.fields(kind)
            if (hints := get_type_hints(kind, include_extras=True))
        }
        for section, kind in get_type_hints(Config).items()
    }


SECTIONS: Final = _sections()
SETTINGS: Final = {f"{s}.{name}": setting for s, names in SECTIONS.items() for name, setting in names.items()}


def load(
    path: Path | None, flags: Mapping[str, Any] | None = None, environment: Mapping[str, str] = os.environ
) -> Config:
    """Return the checked configuration; `flags` maps `section.name` to a value. Raise ConfigError."""
    return load_with_origins(path, flags, environment).config


def load_with_origins(
    path: Path | None, flags: Mapping[str, Any] | None = None, environment: Mapping[str, str] = os.environ
) -> Loaded:
    """As `load`, and say of every setting where its value comes from."""
    assert all(name in SETTINGS for name in flags or {}), f"flags name settings: {flags}"
    given: dict[str, tuple[Any, Origin]] = {}
    if path is not None:
        origin = Origin(str(path))
        given |= {name: (value, origin) for name, value in _from_file(path).items()}
    for name, variable, text in _from_environment(environment):
        given[name] = (_from_text(name, text), Origin(variable))
    given |= {name: (value, FLAG) for name, value in (flags or {}).items() if value is not None}
    values: dict[str, dict[str, Any]] = {section: {} for section in SECTIONS}
    for name, (value, origin) in given.items():
        section, _, field = name.partition(".")
        values[section][field] = _checked(name, value, origin)
    config = Config(**{section: kind(**values[section]) for section, kind in get_type_hints(Config).items()})
    return Loaded(config, {name: given[name][1] if name in given else DEFAULT for name in SETTINGS})


def _from_file(path: Path) -> dict[str, Any]:
    data = bounded_file.read(path, FILE_BYTES_MAX, "configuration", ConfigError)
    try:
        document = tomllib.loads(data.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigError(f"{path} is not TOML: {error}") from None
    found = {}
    for section, content in document.items():
        if section not in SECTIONS:
            raise ConfigError(f"{path}: there is no section [{section}]{_nearest(section, SECTIONS, '[{}]')}")
        if not isinstance(content, dict):
            raise ConfigError(f"{path}: {section} is a section; write [{section}] and its settings below it")
        for field, value in content.items():
            _known(f"{section}.{field}", str(path))
            found[f"{section}.{field}"] = value
    return found


def _from_environment(environment: Mapping[str, str]) -> list[tuple[str, str, str]]:
    found = []
    for variable, text in sorted(environment.items()):
        if not variable.startswith(ENVIRONMENT_PREFIX) or SEPARATOR not in variable:
            continue
        name = variable.removeprefix(ENVIRONMENT_PREFIX).replace(SEPARATOR, ".", 1).lower()
        _known(name, variable)
        found.append((name, variable, text))
    return found


def _known(name: str, where: str) -> None:
    if name not in SETTINGS:
        raise ConfigError(f"{where}: there is no setting {name}{_nearest(name, SETTINGS, '{}')}")


def _nearest(name: str, known: Mapping[str, Any], form: str) -> str:
    """A misspelt name is nearest by its letters, a misplaced one by its part after the dot."""
    field = name.rpartition(".")[2]
    elsewhere = [candidate for candidate in known if candidate.endswith(f".{field}")]
    nearest = elsewhere or get_close_matches(name, known, n=1, cutoff=0.5)
    return f"; did you mean {form.format(nearest[0])}?" if nearest else "; config.toml lists them all"


def _from_text(name: str, text: str) -> Any:
    """Read an environment variable as the setting's type; `_checked` refuses what can't be read."""
    kind = SETTINGS[name].type
    if kind is bool:
        return {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}.get(
            text.strip().lower(), text
        )
    if kind in (int, float):
        try:
            return int(text) if kind is int else float(text)
        except ValueError:
            return text
    if get_origin(kind) is tuple:
        return [item.strip() for item in text.split(",") if item.strip()]
    return text


def _checked(name: str, value: Any, origin: Origin) -> Any:
    setting = SETTINGS[name]
    where = "" if origin is DEFAULT else f" ({origin.text})"
    if setting.type is float and type(value) is int:
        value = float(value)
    if get_origin(setting.type) is tuple and isinstance(value, list):
        value = tuple(value)
    try:
        return msgspec.convert(value, Annotated[setting.type, setting.meta], strict=True)
    except msgspec.ValidationError:
        raise ConfigError(f"{name} is {_shown(value)}{where}; {_remedy(setting)}") from None


def _shown(value: Any) -> str:
    text = value if isinstance(value, str) else toml(value)
    return text if len(text) <= 80 else f"{len(text)} characters long"


def _remedy(setting: Setting) -> str:
    meta, kind = setting.meta, setting.type
    if kind is bool:
        return "choose true or false"
    if get_origin(kind) is Literal:
        return f"choose one of {', '.join(get_args(kind))}"
    if kind in (int, float):
        noun = "a whole number" if kind is int and meta.ge == 0 else "a number"
        return f"choose {noun} from {meta.ge} to {meta.le}"
    if get_origin(kind) is tuple:
        return 'write whole multiaddrs, as ["/ip4/203.0.113.7/tcp/7100/p2p/12D3KooW..."]'
    if meta.pattern is not None:
        return f"write at most {meta.max_length} letters, digits, '.', '_' or '-'"
    return f"write a text of at most {meta.max_length} characters, in quotes"


def toml(value: Any) -> str:
    """Return a value of a setting as TOML."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        # JSON's escapes are TOML's, but for DEL, which JSON leaves as it is.
        return msgspec.json.encode(value).decode().replace("\x7f", "\\u007f")
    if isinstance(value, list | tuple):
        return f"[{', '.join(toml(item) for item in value)}]"
    return str(value)


def render(config: Config) -> str:
    """Return config.toml: every setting with its comment and range, commented out where it is the default."""
    lines = [
        "# The configuration of one PRSM node. A flag goes before the environment (PRSM_NETWORK__PORT=7101),",
        "# that before this file. A setting that is commented out has the default shown.",
    ]
    for section, kind in get_type_hints(Config).items():
        lines += ["", f"# {kind.__doc__}", f"[{section}]"]
        for field, setting in SECTIONS[section].items():
            value = getattr(getattr(config, section), field)
            lines.append(f"# {setting.meta.description}{_range(setting)}")
            lines.append(f"{'# ' if value == setting.default else ''}{field} = {toml(value)}")
    return "\n".join(lines) + "\n"


def _range(setting: Setting) -> str:
    if get_origin(setting.type) is Literal:
        return f" One of {', '.join(get_args(setting.type))}."
    if setting.meta.ge is None:
        return ""
    return f" From {setting.meta.ge} to {setting.meta.le}."

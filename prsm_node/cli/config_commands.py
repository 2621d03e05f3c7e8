"""`prsm-node config show` and `prsm-node config validate`."""

from prsm_node import config_file
from prsm_node.cli.home_options import chosen_home, existing_home
from prsm_node.cli.output import print_json, print_table


def show(json: bool = False) -> None:
    """Every setting and where it comes from.

    Where there is no home yet, these are the settings that a new one would have.
    """
    home = chosen_home()
    loaded = config_file.load_with_origins(home.config if home.config.exists() else None)
    values = {name: _value(loaded, name) for name in loaded.origins}
    if json:
        sections: dict[str, dict[str, object]] = {}
        for name, origin in loaded.origins.items():
            section, _, field = name.partition(".")
            sections.setdefault(section, {})[field] = {"value": values[name], "origin": origin.text}
        print_json(sections)
    else:
        rows = [
            (name, config_file.toml(values[name]), origin.text) for name, origin in loaded.origins.items()
        ]
        print_table(("setting", "value", "from"), rows)


def validate(json: bool = False) -> None:
    """Check the configuration.

    The file of the home is read as `start` reads it, the environment included; the first mistake is named.
    """
    home = existing_home()
    config_file.load(home.config)
    if json:
        print_json({"config": str(home.config), "valid": True})
    else:
        print(f"{home.config} is valid")


def _value(loaded: config_file.Loaded, name: str) -> object:
    section, _, field = name.partition(".")
    return getattr(getattr(loaded.config, section), field)

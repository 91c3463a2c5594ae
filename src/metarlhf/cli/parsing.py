"""Read a command line, or a file that says the same, into the options of a command.

First tyro reads what is said, and nothing else: no option has a default yet. What is said (a
family, a simulator, a prior) chooses the presets. Then what is said is laid over them. `--help`
shows the presets in the same way: its defaults are those of the family that it is asked about.
"""

import ast
import difflib
import inspect
import json
import shutil
import sys
import textwrap
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, is_dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import (
    Annotated,
    Any,
    Literal,
    NamedTuple,
    NoReturn,
    Required,
    TypedDict,
    TypeVar,
    get_args,
    get_origin,
    get_type_hints,
)

import tyro

from metarlhf.errors import UserError

# The options of a field of this name are the command's own: `--lr`, not `--config.lr`.
OWN = "config"
# What every command takes besides its options.
HELP = {
    "config": "TOML file that says what options say; they override it. Every run directory has "
    "one, config.toml.",
    "help_all": "List every option and exit.",
}
EXTRA = {
    "config": Annotated[Path, tyro.conf.arg(metavar="FILE")],
    "help_all": Annotated[bool, tyro.conf.FlagCreatePairsOff],
}
# Fewer columns than these hold no two side by side.
NARROW = 60
# How options were called before, and are still accepted.
RENAMED = {"--config.": "--", "--number": "--task"}

Command = TypeVar("Command")


class Said(dict[str, Any]):
    """What is said, by the names of options without their dashes: {"ppo.lr": 0.1}."""

    asks_for_help = False


class Option(NamedTuple):
    """An option of a command."""

    path: tuple[str, ...]
    """Of its field, from the command's dataclass on."""
    annotation: Any
    owner: type
    """The dataclass that the field belongs to."""

    @property
    def name(self) -> str:
        """On the command line, without its dashes; in a file with underscores."""
        return ".".join(self.path[self.path[0] == OWN :])

    @property
    def help(self) -> str:
        """The docstring of its field."""
        return _docstrings(self.owner).get(self.path[-1], "")

    def value_in(self, command: Any) -> Any:
        """What it is in a command's dataclass."""
        for part in self.path:
            command = getattr(command, part)
        return command

    @property
    def choices(self) -> str:
        """What it may be, in words, where that is one of a few."""
        kinds = (self.annotation, *get_args(self.annotation))
        words = [word for kind in kinds if get_origin(kind) is Literal for word in get_args(kind)]
        return f" {' | '.join(map(str, words))}" if words else ""

    @property
    def positional(self) -> bool:
        """Whether it may be said without its name."""
        return tyro.conf.Positional in getattr(self.annotation, "__metadata__", ())

    @property
    def repeats(self) -> bool:
        """Whether it may be said again and again."""
        return tyro.conf.UseAppendAction in getattr(self.annotation, "__metadata__", ())


def options_of(*commands: type) -> dict[str, Option]:
    """Every option of some commands, by name; of two that share a name, the first."""
    found: dict[str, Option] = {}
    for command in commands:
        for option in _walk(command, ()):
            found.setdefault(option.name, option)
    return found


def _walk(owner: type, path: tuple[str, ...]) -> list[Option]:
    hints, found = get_type_hints(owner, include_extras=True), []
    for field in fields(owner):
        hint, here = hints[field.name], (*path, field.name)
        nested = isinstance(hint, type) and is_dataclass(hint)
        found += _walk(hint, here) if nested else [Option(here, hint, owner)]
    return found


def parse(
    commands: type[Command] | Sequence[type[Command]],
    argv: Sequence[str],
    name: str,
    presets: Callable[[Said], Command],
    renamed: Mapping[str, str] = RENAMED,
) -> Command:
    """Read the words of a command line.

    Args:
        commands: the dataclass of the command's options; several, where what is said chooses one.
        argv: the words after the command's name.
        name: the command's.
        presets: from what is said to all options, before what is said is laid over them.
        renamed: beginnings of options as they were called before, and what they are called now.

    Raises:
        UserError: what a configuration, a file or `presets` refuses. What tyro refuses, it says
            itself, and exits with status 2; `--help` exits with 0.
    """
    known = options_of(*(commands if isinstance(commands, Sequence) else [commands]))
    words = _as_called_now(argv, renamed)
    said = _said(known, words, name)
    everything, few = said.pop("help_all", False), said.pop("help", False)
    if "config" in said:
        said = Said(_said(known, _words(Path(said.pop("config")), known), name) | said)
    said.asks_for_help = few or everything
    try:
        usual = presets(said)
        if said.asks_for_help:
            _show(usual, name, everything)
        options = _laid_over(usual, said)
    except ValueError as error:
        raise UserError(str(error)) from error
    compute_in_the_foreground()
    return options


def compute_in_the_foreground() -> None:
    """Say to JAX how a CPU computes, before it does: when options are read, or for presets."""
    from metarlhf.devices import in_the_foreground

    in_the_foreground()


def _as_called_now(argv: Sequence[str], renamed: Mapping[str, str]) -> list[str]:
    """The words with options by their present names, and a note on those that were not."""
    words, notes = [], {}
    for word in argv:
        option = word.partition("=")[0]
        for old, new in renamed.items():
            if option == old or (old.endswith(".") and option.startswith(old)):
                word = new + word.removeprefix(old)
                notes[option] = word.partition("=")[0]
                break
        words.append(word)
    for old, new in list(notes.items())[:1]:
        more = f", and so are {len(notes) - 1} more renamed" if len(notes) > 1 else ""
        print(f"metarlhf: {old} is called {new} now{more}; old names will go", file=sys.stderr)
    return words


def _said(known: Mapping[str, Option], words: Sequence[str], name: str) -> Said:
    """What words say, and nothing that they do not."""
    bare, entries = tyro.conf.arg(help="", help_behavior_hint=""), {}
    for option in known.values():
        entry = Annotated[option.annotation, tyro.conf.arg(name=option.name), bare]
        if option.positional:
            # Also by name, as a file says it.
            flag = tyro.conf.arg(name=option.name, metavar=option.name.upper())
            entries[f"{option.name}_"] = Annotated[_unmarked(option.annotation), flag, bare]
        # tyro always gives what may be said again and again: nothing, if it is not said.
        entries[option.name] = Required[entry] if option.repeats else entry
    entries["help"] = Annotated[bool, tyro.conf.arg(aliases=["-h"]), bare]
    entries["help_all"] = Annotated[bool, bare]
    entries["config"] = Annotated[Path, tyro.conf.arg(metavar="FILE"), bare]
    said = TypedDict("Said", entries, total=False)  # type: ignore[misc,operator]
    found = Said(tyro.cli(said, args=words, prog=f"metarlhf {name}", add_help=False))
    for option in known.values():
        if option.positional and f"{option.name}_" in found:
            flag = found.pop(f"{option.name}_")
            if found.setdefault(option.name, flag) != flag:
                raise UserError(
                    f"{option.name} is said twice: {found[option.name]}, and --{option.name} {flag}"
                )
        elif option.repeats and not found[option.name]:
            del found[option.name]
    return found


def _unmarked(annotation: Any) -> Any:
    """An annotation without what makes it positional."""
    return getattr(annotation, "__origin__", annotation)


def _laid_over(usual: Any, said: Said) -> Any:
    """`usual` with what is said in the place of what it has there."""
    known, changes = options_of(type(usual)), {}
    for name, value in said.items():
        if name not in known:
            raise UserError(f"--{_dashed(name)} {_not_for(usual)}. Leave it out")
        changes[known[name].path] = value
    return _replaced(usual, changes, "")


def _not_for(usual: Any) -> str:
    return getattr(usual, "NOT_FOR", "is no option here")


def _replaced(usual: Any, changes: Mapping[tuple[str, ...], Any], prefix: str) -> Any:
    """A dataclass with other values at some paths; each is made, and so checked, once."""
    new: dict[str, Any] = {path[0]: value for path, value in changes.items() if len(path) == 1}
    for name in {path[0] for path in changes if len(path) > 1}:
        inner = {path[1:]: value for path, value in changes.items() if path[0] == name}
        below = prefix if name == OWN else f"{prefix}{name}."
        new[name] = _replaced(getattr(usual, name), inner, below)
    try:
        return replace(usual, **new)
    except ValueError as error:
        raise UserError(f"{prefix}{error}") from error


def _show(usual: Any, name: str, everything: bool) -> None:
    """Print the help and exit: defaults are the values that `usual` has."""
    known, columns = options_of(type(usual)), shutil.get_terminal_size().columns
    paragraphs = (inspect.getdoc(type(usual)) or "").split("\n\n")
    about = "\n\n".join(textwrap.fill(" ".join(part.split()), columns) for part in paragraphs)
    few = known if everything or not hasattr(usual, "FEW") else usual.FEW
    shown = {option: known[option] for option in few}
    print(f"{about}\n")  # tyro wraps no description
    extra = dict(HELP)
    if not everything:
        extra["help_all"] = f"List all {len(known)} options and exit."
    if columns < NARROW:
        _show_narrow(usual, name, shown, extra, columns)
    entries: dict[str, Any] = {}
    values: dict[str, Any] = {}
    groups: dict[str, dict[str, Any]] = {}
    for option, what in shown.items():
        group, _, last = option.rpartition(".") if everything else ("", "", option)
        value = what.value_in(usual)
        hint = "" if value is None or value is False else None
        told = tyro.conf.arg(name=_dashed(last), help=what.help, help_behavior_hint=hint)
        entry = Required[Annotated[what.annotation, told]]
        if group:
            groups.setdefault(group, {})[last] = entry
            values.setdefault(group, {})[last] = value
        else:
            entries[last], values[last] = entry, value
    for option, text in extra.items():
        told = tyro.conf.arg(name=_dashed(option), help=text, help_behavior_hint="")
        entries[option] = Annotated[EXTRA[option], told]
    values["help_all"] = False
    for group, inner in groups.items():
        of = TypedDict(group, inner)  # type: ignore[misc,operator]
        entries[group] = Required[Annotated[of, tyro.conf.arg(name=_dashed(group))]]
    tyro.cli(
        TypedDict("Help", entries, total=False),  # type: ignore[misc,operator]
        args=["--help"],
        prog=f"metarlhf {name}",
        description="",
        default=values,
    )


def _show_narrow(
    usual: Any,
    name: str,
    shown: Mapping[str, Option],
    extra: Mapping[str, str],
    columns: int,
) -> NoReturn:
    """The same where two columns have no place: each option, and below it what it is."""

    def told(option: str, text: str, choices: str = "") -> None:
        print(textwrap.fill(f"--{_dashed(option)}{choices}", columns, subsequent_indent="    "))
        print(textwrap.fill(text, columns, initial_indent="    ", subsequent_indent="    "))

    print(f"usage: metarlhf {name} [OPTIONS]\n")
    for option, what in shown.items():
        value = what.value_in(usual)
        words = " ".join(map(str, value)) if isinstance(value, tuple) else value
        default = f" (default: {words})" if value not in (None, False, ()) else ""
        told(option, what.help + default, what.choices)
    for option, text in extra.items():
        told(option, text)
    sys.exit(0)


def _docstrings(owner: type) -> dict[str, str]:
    """What stands below the fields of a dataclass, in its source."""
    found: dict[str, str] = {}
    for one in reversed(owner.__mro__[:-1]):
        if not is_dataclass(one):
            continue
        source = ast.parse(textwrap.dedent(inspect.getsource(one))).body[0]
        for entry, after in pairwise(source.body):  # type: ignore[attr-defined]
            match entry, after:
                case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(ast.Constant(str(text))):
                    found[name] = " ".join(text.split())
    return found


def _dashed(name: str) -> str:
    return name.replace("_", "-")


# A file.


def _words(path: Path, known: Mapping[str, Option]) -> list[str]:
    """The words that say what a TOML file says."""
    try:
        with path.open("rb") as file:
            content = tomllib.load(file)
    except OSError as error:
        raise UserError(f"--config {path}: {error.strerror}") from error
    except ValueError as error:
        raise UserError(f"--config {path} is no TOML: {error}") from error
    words = []
    for name, value in _flat(content).items():
        name = name.replace("-", "_")
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f" Did you mean {near[0]}?" if near else ""
            raise UserError(f"--config {path}: there is no option {name}.{hint}")
        words += _words_of(_dashed(name), value, again=known[name].repeats)
    return words


def _flat(table: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    found = {}
    for name, value in table.items():
        nested = isinstance(value, dict)
        found |= _flat(value, f"{prefix}{name}.") if nested else {f"{prefix}{name}": value}
    return found


def _words_of(name: str, value: Any, again: bool) -> list[str]:
    if isinstance(value, bool):
        first, last = name.rpartition(".")[::2]
        return [f"--{first}{'.' if first else ''}{'' if value else 'no-'}{last}"]
    if not isinstance(value, list):
        return [f"--{name}={value}"]
    each = [str(one) for entry in value for one in (entry if isinstance(entry, list) else [entry])]
    return [f"--{name}={one}" for one in each] if again else [f"--{name}", *each]


def as_toml(command: Any, without: Sequence[str] = ()) -> str:
    """A file for `--config` that says all options of a command as they are."""
    tables: dict[str, list[str]] = {"": []}
    for name, option in options_of(type(command)).items():
        value = option.value_in(command)
        # TOML has no word for nothing; where presets may have another it is said as options do.
        if name in without or (value is None and len(option.path) == 1):
            continue
        table, _, key = name.rpartition(".")
        tables.setdefault(table, []).append(f"{key} = {_toml(value)}")
    text = "\n".join(tables.pop(""))
    each = (f"\n\n[{table}]\n" + "\n".join(lines) for table, lines in sorted(tables.items()))
    return text + "".join(each) + "\n"


def _toml(value: Any) -> str:
    match value:
        case bool():
            return str(value).lower()
        case int() | float():
            return str(value)
        case tuple() | list():
            return f"[{', '.join(map(_toml, value))}]"
    return json.dumps(str(value), ensure_ascii=False)


def words_for(wanted: Any, usual: Any, without: Sequence[str] = ()) -> list[str]:
    """The words that make `wanted` of `usual`, but for the options in `without`."""
    words = []
    for name, option in options_of(type(wanted)).items():
        value = option.value_in(wanted)
        if name not in without and value != option.value_in(usual):
            value = list(value) if isinstance(value, tuple) else value
            words += _words_of(_dashed(name), value, option.repeats)
    return words

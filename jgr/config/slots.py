"""How a config value is checked, completed with defaults, and built, decided by the annotation of the field it is for.

Every class and function that a config may name is described by its own signature: there is no second schema. Completing
fills in the defaults of the class named by `cls`, so that each can be overridden; building constructs the object.
"""

import abc
import collections.abc
import dataclasses
import functools
import inspect
import types
import typing
from typing import Any

from ml_collections.config_dict import placeholder

from jgr.config.duration import DurationMark, parse_duration
from jgr.config.imports import Context, import_path, suggest
from jgr.errors import ConfigError

_MISSING = dataclasses.MISSING
_PLAIN = (int, float, bool, str)


class Slot(abc.ABC):
    """One kind of config value."""

    @abc.abstractmethod
    def complete(self, value: Any, key: str, context: Context) -> Any:
        """The value checked and with all defaults, as plain JSON types and tuples. Completing twice changes nothing."""

    @abc.abstractmethod
    def build(self, value: Any, key: str, context: Context) -> Any:
        """The object a completed value stands for."""

    def encode(self, default: Any) -> Any:
        """The config value of a Python default."""
        return default

    def child(self, value: Any, name: str, key: str, context: Context) -> "Slot":
        """The slot of one part of a completed value, by name.

        Raises:
            ConfigError: If there is no such part.
        """
        raise ConfigError(f"{key}.{name} is unknown: {key} is a single value, {value!r}")

    @property
    def is_section(self) -> bool:
        """Whether {} stands for an object with the defaults of all its fields."""
        return False

    @property
    def knows_none(self) -> bool:
        """Whether the text "none" on the command line is a string as others are, and does not stand for None."""
        return False

    def typed(self, value: Any) -> Any:
        """A value of the type that a text on the command line is to be parsed as, given the one it replaces."""
        return value if self.empty_type is None else placeholder(self.empty_type)

    empty_type: type | None = None  # the type of a value that is None for now, for the command line


@dataclasses.dataclass(frozen=True)
class _Plain(Slot):
    kind: type

    def complete(self, value: Any, key: str, context: Context) -> Any:
        if value is None and context.lenient:
            return None
        if self.kind is float and isinstance(value, int) and not isinstance(value, bool):
            return float(value)
        if value is None:
            raise ConfigError(f"{key} is missing: it must be {_article(self.kind.__name__)}")
        if not isinstance(value, self.kind) or (isinstance(value, bool) and self.kind is not bool):
            raise ConfigError(f"{key} = {value!r} must be {_article(self.kind.__name__)}")
        return value

    def build(self, value: Any, key: str, context: Context) -> Any:
        return value

    @property
    def empty_type(self) -> type:  # type: ignore[override]
        return self.kind

    @property
    def knows_none(self) -> bool:
        return self.kind is str


def _article(noun: str) -> str:
    return {"int": "an int", "str": "a string", "bool": "true or false"}.get(noun, f"a {noun}")


class _DurationSlot(Slot):
    empty_type = str

    def complete(self, value: Any, key: str, context: Context) -> Any:
        if value is None and context.lenient:
            return None
        amount, unit = parse_duration(value, key)
        return int(amount) if unit == "step" else value

    def build(self, value: Any, key: str, context: Context) -> int:
        if context.clock is None:
            raise ConfigError(f"{key} = {value!r}: durations can only be built inside an experiment")
        return context.clock.steps(value, key)


@dataclasses.dataclass(frozen=True)
class _Choice(Slot):
    allowed: tuple[Any, ...]
    empty_type = str

    def complete(self, value: Any, key: str, context: Context) -> Any:
        if value not in self.allowed and not (value is None and context.lenient):
            raise ConfigError(f"{key} = {value!r} must be one of {', '.join(map(repr, self.allowed))}")
        return value

    def build(self, value: Any, key: str, context: Context) -> Any:
        return value

    @property
    def knows_none(self) -> bool:
        return "none" in self.allowed


@dataclasses.dataclass(frozen=True)
class _Optional(Slot):
    inner: Slot

    def complete(self, value: Any, key: str, context: Context) -> Any:
        return None if value is None else self.inner.complete(value, key, context)

    def build(self, value: Any, key: str, context: Context) -> Any:
        return None if value is None else self.inner.build(value, key, context)

    def encode(self, default: Any) -> Any:
        return None if default is None else self.inner.encode(default)

    def child(self, value: Any, name: str, key: str, context: Context) -> Slot:
        if value is None:
            hint = f", name its class by {key}.cls" if isinstance(self.inner, _Object) else ""
            raise ConfigError(f"{key}.{name} cannot be set: {key} is None{hint}")
        return self.inner.child(value, name, key, context)

    @property
    def is_section(self) -> bool:
        return isinstance(self.inner, _Object) and _is_section(self.inner.kind)

    @property
    def empty_type(self) -> type | None:  # type: ignore[override]
        return self.inner.empty_type


@dataclasses.dataclass(frozen=True)
class _Tuple(Slot):
    items: tuple[Slot, ...]
    variadic: bool
    empty_type = tuple

    def complete(self, value: Any, key: str, context: Context) -> Any:
        if value is None and context.lenient:
            return None
        if not isinstance(value, list | tuple):
            raise ConfigError(f"{key} = {value!r} must be a tuple")
        if not self.variadic and len(value) != len(self.items):
            raise ConfigError(f"{key} = {tuple(value)!r} must have {len(self.items)} values")
        return tuple(slot.complete(item, f"{key}[{i}]", context) for i, (slot, item) in enumerate(self._pairs(value)))

    def build(self, value: Any, key: str, context: Context) -> Any:
        return tuple(slot.build(item, f"{key}[{i}]", context) for i, (slot, item) in enumerate(self._pairs(value)))

    def child(self, value: Any, name: str, key: str, context: Context) -> Slot:
        if not value or not name.isdigit() or int(name) >= len(value):
            count = len(value or ())
            raise ConfigError(f"{key}.{name} is unknown: {key} is a tuple, whose {count} parts are counted from 0")
        return self._pairs(value)[int(name)][0]

    def _pairs(self, value: Any) -> list[tuple[Slot, Any]]:
        slots = self.items * len(value) if self.variadic else self.items
        return list(zip(slots, value, strict=True))


@dataclasses.dataclass(frozen=True)
class _Mapping(Slot):
    inner: Slot

    def complete(self, value: Any, key: str, context: Context) -> Any:
        if not isinstance(value, collections.abc.Mapping):
            raise ConfigError(f"{key} = {value!r} must be a dict of named values")
        return {name: self.inner.complete(item, f"{key}.{name}", context) for name, item in value.items()}

    def build(self, value: Any, key: str, context: Context) -> Any:
        return {name: self.inner.build(item, f"{key}.{name}", context) for name, item in value.items()}

    def encode(self, default: Any) -> Any:
        return {name: self.inner.encode(item) for name, item in default.items()}

    def child(self, value: Any, name: str, key: str, context: Context) -> Slot:
        if name not in value:
            raise ConfigError(f"{key}.{name} is unknown{suggest(name, value)}")
        return self.inner


@dataclasses.dataclass(frozen=True)
class _Any(Slot):
    """A field whose annotation says nothing a config could check: a dict with `cls` is built, the rest passes."""

    plain: type | None = None  # what a value that is not there yet is parsed as on the command line

    def typed(self, value: Any) -> Any:
        return placeholder(self.plain) if value is None and self.plain is not None else value

    def complete(self, value: Any, key: str, context: Context) -> Any:
        if isinstance(value, collections.abc.Mapping) and "cls" in value:
            return _Object(object).complete(value, key, context)
        return value

    def build(self, value: Any, key: str, context: Context) -> Any:
        if isinstance(value, collections.abc.Mapping) and "cls" in value:
            return _Object(object).build(value, key, context)
        return value

    def child(self, value: Any, name: str, key: str, context: Context) -> Slot:
        if isinstance(value, collections.abc.Mapping) and "cls" in value:
            return _Object(object).child(value, name, key, context)
        return super().child(value, name, key, context)


@dataclasses.dataclass(frozen=True)
class _Object(Slot):
    """An object: a section of the config, a class named by `cls`, or a constant named by its import path."""

    kind: type

    def complete(self, value: Any, key: str, context: Context) -> Any:
        if value is None:
            if context.lenient:
                return None
            raise ConfigError(f"{key} is missing: it must be a {self.kind.__name__}, dict(cls=…)")
        if isinstance(value, str):
            self._constant(value, key, context)
            return value
        target, given = self._target(value, key, context)
        completed = _complete_arguments(target, given, key, context)
        return {"cls": value["cls"], **completed} if "cls" in value else completed

    def build(self, value: Any, key: str, context: Context) -> Any:
        if isinstance(value, str):
            return self._constant(value, key, context)
        target, given = self._target(value, key, context)
        built = _call(target, _build_arguments(target, given, key, context), key)
        self._check(built, key, value.get("cls"))
        return built

    def encode(self, default: Any) -> Any:
        if not dataclasses.is_dataclass(default):
            return import_path(default)
        if not _is_section(self.kind):  # a constant of its module is named; anything else is spelled out
            try:
                return import_path(default)
            except ConfigError:
                pass
        fields = {
            name: parameter.slot.encode(getattr(default, name))
            for name, parameter in parameters(default.__class__).items()
            if hasattr(default, name)
        }
        return fields if type(default) is self.kind else {"cls": import_path(type(default)), **fields}

    def child(self, value: Any, name: str, key: str, context: Context) -> Slot:
        if name == "cls":
            return _Plain(str)
        target, _ = self._target(value, key, context)
        return _parameter_slot(target, name, key)

    def _constant(self, path: str, key: str, context: Context) -> Any:
        found = context.load(path, key)
        if isinstance(found, type):
            raise ConfigError(f"{key} = {path!r} names a class: write dict(cls={path!r}, …)")
        self._check(found, key, path)
        return found

    def _target(self, value: Any, key: str, context: Context) -> tuple[Any, dict[str, Any]]:
        if not isinstance(value, collections.abc.Mapping):
            raise ConfigError(f"{key} = {value!r} must be a dict{'' if _is_section(self.kind) else ' with cls=…'}")
        given = {name: item for name, item in value.items() if name != "cls"}
        if "cls" not in value:
            if _is_section(self.kind):
                return self.kind, given
            raise ConfigError(f'{key} needs cls="…", the import path of a {self.kind.__name__}')
        target = context.load(value["cls"], f"{key}.cls")
        if not callable(target):
            raise ConfigError(f"{key}.cls = {value['cls']!r} is no class or function")
        if not context.trust and not isinstance(target, type) and target.__module__.startswith("jgr."):
            raise ConfigError(f"{key}.cls = {value['cls']!r} is a function of jgr, not a class: allow it with --trust")
        if isinstance(target, type) and not getattr(self.kind, "_is_protocol", False):
            if not issubclass(target, self.kind):
                raise ConfigError(f"{key}.cls = {value['cls']!r} is no {self.kind.__module__}.{self.kind.__qualname__}")
            if inspect.isabstract(target):
                raise ConfigError(f"{key}.cls = {value['cls']!r} is abstract: name a class derived from it")
        return target, given

    def _check(self, built: Any, key: str, path: str | None) -> None:
        if not _is_a(built, self.kind):
            raise ConfigError(f"{key} = {path!r} gives no {self.kind.__module__}.{self.kind.__qualname__}")


def _is_a(built: Any, kind: type) -> bool:
    """`isinstance`, but of a protocol without asking for the value of any attribute, which may need the data."""
    if not getattr(kind, "_is_protocol", False):
        return isinstance(built, kind)
    names = [name for base in kind.__mro__ if getattr(base, "_is_protocol", False) for name in vars(base)]
    members = {name for name in names if not name.startswith("_") or name in ("__len__", "__getitem__", "__call__")}
    return all(inspect.getattr_static(built, name, None) is not None for name in members)


def _is_section(kind: type) -> bool:
    return dataclasses.is_dataclass(kind) and not inspect.isabstract(kind)


class _Function(Slot):
    """A function by its import path, or dict(cls=path, …) for one with some arguments already given."""

    def complete(self, value: Any, key: str, context: Context) -> Any:
        if isinstance(value, collections.abc.Mapping) and "cls" in value:
            target = self._load(value["cls"], f"{key}.cls", context)
            given = {name: item for name, item in value.items() if name != "cls"}
            return {"cls": value["cls"], **_complete_arguments(target, given, key, context, partial=True)}
        self._load(value, key, context)
        return value

    def build(self, value: Any, key: str, context: Context) -> Any:
        if isinstance(value, str):
            return self._load(value, key, context)
        target = self._load(value["cls"], f"{key}.cls", context)
        given = {name: item for name, item in value.items() if name != "cls"}
        return functools.partial(target, **_build_arguments(target, given, key, context))

    def encode(self, default: Any) -> Any:
        if isinstance(default, functools.partial):
            return {"cls": import_path(default.func), **default.keywords}
        return import_path(default)

    def child(self, value: Any, name: str, key: str, context: Context) -> Slot:
        if not isinstance(value, collections.abc.Mapping):
            return super().child(value, name, key, context)
        return _Plain(str) if name == "cls" else _parameter_slot(context.load(value["cls"], f"{key}.cls"), name, key)

    def _load(self, path: Any, key: str, context: Context) -> Any:
        found = context.load(path, key)
        if not callable(found):
            raise ConfigError(f"{key} = {path!r} is no function")
        return found


@dataclasses.dataclass(frozen=True)
class Parameter:
    """One argument of a class or function that a config may set."""

    slot: Slot
    default: Any  # dataclasses.MISSING when there is none

    @property
    def required(self) -> bool:
        """Whether the config must give it."""
        return self.default is _MISSING


def slot_for(annotation: Any) -> Slot:
    """The slot of an annotation."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        marked = any(isinstance(mark, DurationMark) for mark in arguments[1:])
        return _DurationSlot() if marked else slot_for(arguments[0])
    if origin in (typing.Union, types.UnionType):
        rest = [argument for argument in arguments if argument is not type(None)]
        if len(rest) < len(arguments) and len(rest) == 1:
            return _Optional(slot_for(rest[0]))
        return _Any(next((kind for kind in (float, int, bool, str) if kind in rest), None))
    if origin is typing.Literal:
        return _Choice(arguments)
    if origin is tuple:
        variadic = len(arguments) == 2 and arguments[1] is Ellipsis
        return _Tuple(tuple(slot_for(a) for a in (arguments[:1] if variadic else arguments)), variadic)
    if origin in (dict, collections.abc.Mapping) and len(arguments) == 2 and arguments[0] is str:
        return _Mapping(slot_for(arguments[1]))
    if origin is collections.abc.Callable or annotation is collections.abc.Callable:
        return _Function()
    if annotation is Any:  # a class since Python 3.11
        return _Any()
    if annotation in _PLAIN:
        return _Plain(annotation)
    if isinstance(annotation, type) and origin is None and annotation.__module__ != "builtins":
        return _Object(annotation)
    return _Any()


@functools.cache
def parameters(target: Any) -> dict[str, Parameter]:
    """The arguments of a class or function that a config may set, by name."""
    try:
        hints = typing.get_type_hints(target.__init__ if _has_own_init(target) else target, include_extras=True)
    except Exception:  # annotations that do not resolve say nothing: such fields are not checked
        hints = {}
    found: dict[str, Parameter] = {}
    for name, argument in inspect.signature(target).parameters.items():
        if argument.kind in (argument.VAR_POSITIONAL, argument.VAR_KEYWORD, argument.POSITIONAL_ONLY):
            continue
        if name in ("parent", "name") and _is_linen(target):
            continue
        slot, default = slot_for(hints.get(name, Any)), _default(target, name, argument)
        if isinstance(slot, _Any) and type(default) in _PLAIN and name not in hints:
            slot = _Plain(type(default))
        found[name] = Parameter(slot, default)
    return found


def _has_own_init(target: Any) -> bool:
    return isinstance(target, type) and not dataclasses.is_dataclass(target)


def _is_linen(target: Any) -> bool:
    return isinstance(target, type) and any(base.__module__.startswith("flax.linen") for base in target.__mro__)


def _default(target: Any, name: str, argument: inspect.Parameter) -> Any:
    if dataclasses.is_dataclass(target):
        for field in dataclasses.fields(target):
            if field.name == name:
                return field.default_factory() if field.default_factory is not _MISSING else field.default
    return _MISSING if argument.default is argument.empty else argument.default


def _accepts_any(target: Any) -> bool:
    return any(argument.kind is argument.VAR_KEYWORD for argument in inspect.signature(target).parameters.values())


def _complete_arguments(
    target: Any, given: dict[str, Any], key: str, context: Context, partial: bool = False
) -> dict[str, Any]:
    """Arguments checked against the target's signature, with its defaults filled in where a config can hold them."""
    known = parameters(target)
    for name in given:
        _parameter_slot(target, name, key)
    completed = {}
    for name, parameter in known.items():
        place = f"{key}.{name}"
        if name in given:
            completed[name] = parameter.slot.complete(given[name], place, context)
        elif not parameter.required:
            if _can_hold(parameter):
                completed[name] = parameter.slot.complete(parameter.slot.encode(parameter.default), place, context)
        elif context.lenient and not partial:
            completed[name] = None
        elif not partial:
            raise ConfigError(f"{place} is missing: {target.__qualname__} needs it")
    return completed | {name: item for name, item in given.items() if name not in known}


def _parameter_slot(target: Any, name: str, key: str) -> Slot:
    known = parameters(target)
    if name in known:
        return known[name].slot
    if _accepts_any(target):
        return _Any()
    raise ConfigError(f"{key}.{name} is unknown: {target.__qualname__} has no {name!r}{suggest(name, known)}")


def _can_hold(parameter: Parameter) -> bool:
    """Whether the default is something a config file can hold; an initialiser, say, is not."""
    if isinstance(parameter.slot, _Any):
        return isinstance(parameter.default, _PLAIN)
    try:
        parameter.slot.encode(parameter.default)
    except ConfigError:
        return False
    return True


def _build_arguments(target: Any, given: dict[str, Any], key: str, context: Context) -> dict[str, Any]:
    known = parameters(target)
    return {
        name: known[name].slot.build(item, f"{key}.{name}", context) if name in known else item
        for name, item in given.items()
    }


def _call(target: Any, arguments: dict[str, Any], key: str) -> Any:
    try:
        return target(**arguments)
    except ConfigError as error:  # a class names its own field; here it gets the rest of the key
        raise ConfigError(f"{key}.{error}") from error
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{key}: {target.__qualname__} cannot be built: {error}") from error

import abc
import dataclasses
import json
from typing import Literal

import optax
import pytest
from ml_collections import ConfigDict

from jgr.config import Clock, Context, Duration, build, canonical_json, config_hash, differences, resolve, to_plain
from jgr.config.duration import parse_duration
from jgr.errors import ConfigError
from jgr.optim import Optimizer


@dataclasses.dataclass(frozen=True)
class Base:
    width: int = 4


@dataclasses.dataclass(frozen=True)
class Wide(Base):
    width: int = 64
    names: tuple[str, ...] = ("a",)


@dataclasses.dataclass(frozen=True)
class Deep(Base):
    depth: int = 3

    def __post_init__(self):
        if self.depth > 10:
            raise ConfigError(f"depth = {self.depth} must be at most 10")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Section:
    amount: float = 1.0
    length: Duration = 10
    maybe: int | None = None
    kind: Literal["x", "y"] = "x"
    flag: bool = False


@dataclasses.dataclass(frozen=True, kw_only=True)
class Root:
    seed: int = 0
    part: Base
    section: Section = dataclasses.field(default_factory=Section)
    many: dict[str, Base] = dataclasses.field(default_factory=dict)
    optimizer: Optimizer = dataclasses.field(default_factory=Optimizer)
    nothing: Section | None = None
    other: abc.ABC | None = None
    row: tuple[Base, ...] = ()


@dataclasses.dataclass(frozen=True)
class Drawn(Base):
    amount: int | float | Section = dataclasses.field(kw_only=True)


@dataclasses.dataclass(frozen=True)
class Told(Base):
    labels: str = "folder"
    mode: Literal["all", "none"] = "all"
    maybe: str | None = "some"


HERE = __name__
WIDE, DEEP = f"{HERE}.Wide", f"{HERE}.Deep"
PART = {"part": {"cls": WIDE}}
CONTEXT = Context(clock=Clock(10, lambda: 105, num_steps=200))


def resolved(config=PART, *overrides, trust=True):
    return resolve(ConfigDict(config), Root, overrides, trust=trust)


def test_defaults_of_named_classes_are_filled_in():
    config = resolved()
    assert config.part.width == 64
    assert config.section.length == 10
    assert config.optimizer.rule.cls == "optax.adam"
    assert config.optimizer.rule.b1 == 0.9


def test_a_part_that_a_file_names_twice_is_two_parts():
    part = dict(cls=WIDE, width=7)
    config = resolved({"part": part, "many": {"a": part}, "row": (part, part)}, ("part.cls", DEEP), ("row.1.cls", DEEP))
    assert [config.part.cls, config.many.a.cls, *(own["cls"] for own in config.row)] == [DEEP, WIDE, WIDE, DEEP]
    assert config.many.a.names == ("a",)


def test_a_number_or_an_object_of_a_class_named_on_the_command_line():
    drawn = ("part.cls", f"{HERE}.Drawn")
    assert resolved(PART, drawn, ("part.amount", "0.5")).part.amount == 0.5
    assert resolved(PART, drawn, ("part.amount", "25/255")).part.amount == 25 / 255
    with pytest.raises(ConfigError, match=r"config\.part\.amount = 'much' must be of type float"):
        resolved(PART, drawn, ("part.amount", "much"))


def test_resolving_twice_changes_nothing():
    once = resolved()
    assert canonical_json(resolve(once, Root)) == canonical_json(once)
    assert canonical_json(resolve(json.loads(canonical_json(once)), Root)) == canonical_json(once)


def test_overrides_take_the_type_of_the_field():
    config = resolved(
        PART,
        ("part.width", "8"),
        ("section.amount", "2"),
        ("section.maybe", "3"),
        ("section.flag", "true"),
        ("part.names", "('b','c')"),
        ("optimizer.rule.b1", "0.5"),
        ("optimizer.clip_norm", "1.5"),
    )
    assert (config.part.width, config.section.amount, config.section.maybe, config.section.flag) == (8, 2.0, 3, True)
    assert config.part.names == ("b", "c")
    assert (config.optimizer.rule.b1, config.optimizer.clip_norm) == (0.5, 1.5)
    assert resolve(config, Root, [("section.maybe", "none")]).section.maybe is None


def test_floats_may_be_fractions():
    assert resolved(PART, ("section.amount", "25/255")).section.amount == 25 / 255
    for text in ("1/0", "1/2/3", "a/2"):
        with pytest.raises(ConfigError, match="must be of type float"):
            resolved(PART, ("section.amount", text))


def test_parts_of_a_tuple_are_overridden_by_their_place():
    row = {**PART, "row": ({"cls": WIDE}, {"cls": DEEP, "depth": 4})}
    config = resolved(row, ("row.1.depth", "5"), ("row.0.names", "('b',)"))
    assert [to_plain(part) for part in config.row] == [
        {"cls": WIDE, "width": 64, "names": ("b",)},
        {"cls": DEEP, "width": 4, "depth": 5},
    ]
    assert resolved(row, ("row.0.cls", DEEP)).row[0]["depth"] == 3
    for place in ("2", "first", "-1"):
        message = rf"config\.row\.{place} is unknown: config\.row is a tuple, whose 2 parts"
        with pytest.raises(ConfigError, match=message):
            resolved(row, (f"row.{place}.depth", "5"))
    for place in ("row.2.cls", "row.cls"):
        with pytest.raises(ConfigError, match=f"config.{place} cannot be set"):
            resolved(row, (place, DEEP))


def test_overriding_a_class_keeps_what_the_new_one_knows():
    config = resolved({"part": {"cls": WIDE, "width": 7, "names": ["q"]}}, ("part.cls", DEEP), ("part.depth", "5"))
    assert to_plain(config)["part"] == {"cls": DEEP, "width": 7, "depth": 5}


def test_a_section_that_is_none_may_be_given_and_taken():
    given = resolved(PART, ("nothing.amount", "3"), ("nothing.kind", "y"))
    assert to_plain(given)["nothing"] == to_plain(resolved(PART))["section"] | {"amount": 3.0, "kind": "y"}
    assert to_plain(resolved(PART | {"nothing": {}}, ("nothing", "none")))["nothing"] is None


def test_the_word_none_is_a_string_where_one_is_wanted():
    told = ("part.cls", f"{HERE}.Told")
    part = resolved(PART, told, ("part.labels", "none"), ("part.mode", "none"), ("part.maybe", "none")).part
    assert (part.labels, part.mode, part.maybe) == ("none", "none", None)


@pytest.mark.parametrize(
    ("config", "overrides", "message"),
    [
        (PART, [("sed", "1")], "config.sed is unknown.*did you mean 'seed'"),
        (PART, [("part.widht", "1")], "config.part.widht is unknown.*did you mean 'width'"),
        (PART, [("seed", "x")], "config.seed = 'x' must be of type int"),
        (PART, [("seed", "1.5")], "config.seed = '1.5' must be of type int"),
        (PART, [("section", "1")], "config.section is a group.*config.section.amount"),
        (PART, [("section.kind", "z")], "config.section.kind = 'z' must be one of 'x', 'y'"),
        (PART, [("section.length", "3 days")], "config.section.length = '3 days' is not a duration"),
        (PART, [("nothing.amuont", "3")], "config.nothing.amuont is unknown.*did you mean 'amount'"),
        (
            PART,
            [("other.width", "3")],
            r"config\.other\.width cannot be set: .* is None, name its class by config\.other\.cls",
        ),
        (PART, [("part", "none")], "config.part is missing: it must be a Base"),
        (PART, [("seed", "none")], "config.seed is missing: it must be an int"),
        (PART | {"sead": 1}, [], "config.sead is unknown"),
        (PART | {"seed": True}, [], "config.seed = True must be an int"),
        (PART | {"section": {"amount": "1"}}, [], "config.section.amount = '1' must be a float"),
        ({}, [], "config.part is missing"),
        ({"part": {"cls": "no.such.Thing"}}, [], "no.such.Thing.*there is no module 'no'"),
        ({"part": {"cls": f"{HERE}.Wid"}}, [], "has no 'Wid'; did you mean 'Wide'"),
        ({"part": {"cls": f"{HERE}.Section"}}, [], "config.part.cls = .* is no .*Base"),
        ({"part": {"cls": "optax.adam"}}, [], "config.part"),
    ],
)
def test_errors_name_the_key(config, overrides, message):
    with pytest.raises(ConfigError, match=message):
        build(resolved(config, *overrides), Root, "config", CONTEXT)


def test_values_a_class_refuses_are_named_with_their_whole_key():
    config = resolved({"part": {"cls": DEEP, "depth": 11}})
    with pytest.raises(ConfigError, match=r"config\.part\.depth = 11 must be at most 10"):
        build(config, Root, "config", CONTEXT)


def test_code_from_outside_needs_consent():
    with pytest.raises(ConfigError, match="--trust"):
        resolved(trust=False)
    with pytest.raises(ConfigError, match="--trust"):  # a way through a trusted module to another one's code
        resolve({"rule": {"cls": "jgr.run.manifest.subprocess.check_output"}}, Optimizer, trust=False)
    resolve({"rule": {"cls": "optax.sgd"}}, Optimizer, trust=False)


def test_build_makes_the_objects():
    root = build(resolved(PART, ("section.length", "2 epochs")), Root, "config", CONTEXT)
    assert root.part == Wide()
    assert root.section.length == 21  # 2 * 105 records in batches of 10
    assert isinstance(root.optimizer.transformation(), optax.GradientTransformation)


@pytest.mark.parametrize(
    ("text", "steps"),
    [(7, 7), ("7", 7), ("30 examples", 3), ("31 examples", 4), ("1 epoch", 11), ("5%", 10), ("1e3", 1000)],
)
def test_durations(text, steps):
    assert CONTEXT.clock.steps(text, "key") == steps


@pytest.mark.parametrize("text", ["", "-1", "1.5", "1 day", None, True, 2.5])
def test_durations_that_are_none(text):
    with pytest.raises(ConfigError, match="is not a duration"):
        parse_duration(text, "key")


def test_hash_ignores_the_seed_and_nothing_else():
    assert config_hash(resolved()) == config_hash(resolved(PART, ("seed", "1")))
    assert config_hash(resolved()) != config_hash(resolved(PART, ("part.width", "1")))
    assert differences(resolved(), resolved(PART, ("part.width", "1"))) == {"part.width": (64, 1)}

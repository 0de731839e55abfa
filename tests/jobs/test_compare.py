import csv
import io
import json
import math
import re

import numpy as np
import pytest
from scipy import stats

from jgr.errors import RunError
from jgr.jobs.compare import compare
from jgr.jobs.table import format_value
from jgr.run.folder import RunFolder
from jgr.run.rows import result_row

DIGITS = "digits-train@1234"


def row(value, **fields):
    defaults = {
        "run": "id",
        "config": "configs/a.py",
        "config_hash": "abc",
        "seed": 0,
        "eval_seed": 0,
        "step": 100,
        "images_seen": 6400,
        "weights": "ema",
        "select": "last",
        "dataset": DIGITS,
        "metric": "fd_pixels",
        "protocol": "u8",
        "std": None,
        "n": 50,
        "better": "lower",
        "commit": None,
        "device": "cpu",
        "time_s": 1.0,
    }
    return result_row(**defaults | fields, value=value)


@pytest.fixture
def make_run(tmp_path):
    def make(name, *results, status="completed", seed=0, **config):
        config = {"seed": seed, "optimizer": {"lr": 1e-3, "betas": [0.5, 0.999]}, **config}
        folder = RunFolder.create(tmp_path / name, config, {"run": f"id-{name}", "status": status})
        for result in results:
            folder.append_result(result)
        return folder.path

    return make


def test_runs_that_differ_in_seed_only_are_folded(make_run):
    values = [3.0, 5.0, 10.0]
    paths = [make_run(f"gan-s{seed}", row(value), seed=seed) for seed, value in enumerate(values)]
    [folded] = compare(paths).rows
    [cell] = folded.cells.values()
    assert folded.name == "gan-s{0,1,2}"
    assert folded.seeds == (0, 1, 2)
    assert (cell.mean, cell.seeds, cell.best) == (6.0, 3, False)
    assert cell.std == pytest.approx(math.sqrt((9 + 1 + 16) / 2))  # ddof 1
    [text] = [line for line in compare(paths).format("md").splitlines() if "gan" in line]
    assert [entry.strip() for entry in text.strip("|").split("|")] == ["gan-s{0,1,2}", "3", "6.000 ± 3.606"]


def test_a_repeated_seed_is_not_a_second_sample(make_run):
    paths = [make_run("a", row(1.0), seed=0), make_run("b", row(3.0), seed=1), make_run("again", row(1.0), seed=0)]
    folded, again = compare(paths).rows
    assert (folded.name, folded.seeds) == ("{a,b}", (0, 1))
    assert (again.name, [cell.std for cell in again.cells.values()]) == ("again", [None])


def test_the_same_folder_named_twice_counts_once(make_run):
    path = make_run("a", row(1.0))
    assert [found.name for found in compare([path, f"{path}/"]).rows] == ["a"]


def test_only_differing_config_keys_are_columns(make_run):
    wide = {"task": {"cls": "jgr.GAN", "width": 64}, "optimizer": {"lr": 2e-4, "betas": [0.5, 0.999]}}
    narrow = {"task": {"cls": "jgr.GAN", "width": 32, "depth": None}}
    comparison = compare([make_run("wide", row(2.0), **wide), make_run("narrow", row(1.0), seed=7, **narrow)])
    assert comparison.config_keys == ("optimizer.lr", "task.depth", "task.width")
    lines = comparison.format("md").splitlines()
    cells = [[entry.strip() for entry in line.strip("|").split("|")] for line in (lines[0], lines[2], lines[3])]
    assert cells == [
        ["run", "optimizer.lr", "task.depth", "task.width", "seed", f"fd_pixels<br>{DIGITS}<br>u8<br>n=50"],
        ["wide", "0.0002", "–", "64", "0", "2.000"],
        ["narrow", "0.001", "None", "32", "7", "1.000"],
    ]


def test_runs_called_alike_are_told_apart_by_path(make_run):
    paths = [make_run("one/run", row(1.0), x=1), make_run("two/run", row(1.0), x=2)]
    assert [found.name for found in compare(paths).rows] == [str(path) for path in paths]


def test_newest_step_and_averaged_weights_count(make_run):
    path = make_run(
        "a",
        row(9.0, step=100),
        row(1.0, step=300, select="best"),
        row(5.0, step=200, weights="raw"),
        row(4.0, step=200),
        row(3.0, step=200),  # measured again: replaces the row above
    )
    [cell] = compare([path]).rows[0].cells.values()
    assert (cell.mean, cell.steps, cell.weights) == (3.0, (200,), ("ema",))
    [cell] = compare([path], select="best").rows[0].cells.values()
    assert (cell.mean, cell.steps) == (1.0, (300,))


def test_steps_and_weights_are_shown_where_they_differ(make_run):
    same = compare([make_run("a", row(1.0), x=1), make_run("b", row(2.0), x=2)])
    assert "step" not in same.format()
    other = compare([make_run("c", row(1.0), x=1), make_run("d", row(2.0, step=500, weights="raw"), x=2)])
    assert re.search(r"c +1 +100 +ema +1\.000\n", other.format())
    assert re.search(r"d +2 +500 +raw +2\.000\n", other.format())


def test_evaluation_seeds_of_a_run_are_averaged_and_noted(make_run):
    comparison = compare([make_run("a", row(1.0, eval_seed=0), row(2.0, eval_seed=1))])
    [cell] = comparison.rows[0].cells.values()
    assert (cell.mean, cell.std, cell.seeds) == (1.5, pytest.approx(math.sqrt(0.5)), 1)
    assert comparison.notes == ("a: over 2 evaluation seeds",)


def best_rows(comparison):
    return [found.name for found in comparison.rows for cell in found.cells.values() if cell.best]


@pytest.mark.parametrize(("better", "best", "other"), [("lower", "low", "high"), ("higher", "high", "low")])
def test_best_is_marked_as_the_rows_say(make_run, better, best, other):
    values = {"low": (1.0, 1.1, 0.9), "high": (2.0, 2.2, 1.8)}
    paths = [
        make_run(f"{name}{seed}", row(value, better=better), seed=seed, x=name)
        for name, of_seeds in values.items()
        for seed, value in enumerate(of_seeds)
    ]
    comparison = compare(paths)
    assert best_rows(comparison) == [f"{best}{{0,1,2}}"]
    low, high = stats.ttest_ind(values["high"], values["low"], equal_var=False).confidence_interval()
    assert list(comparison.leads.values()) == [
        f"{best}{{0,1,2}} is ahead of {other}{{0,1,2}} by 1 [{low:.3g}, {high:.3g}] (3 and 3 seeds)"
    ]
    assert compare(paths, rank="fd_pixels").rows[0].name == f"{best}{{0,1,2}}"


def test_what_luck_may_have_done_is_not_marked(make_run):
    seeds = {"a": (1.0, 2.0), "b": (1.2, 2.4)}
    paths = [make_run(f"{n}{s}", row(v), seed=s, x=n) for n, values in seeds.items() for s, v in enumerate(values)]
    comparison = compare(paths)
    assert best_rows(comparison) == []
    assert "a{0,1} and b{0,1} are not told apart: -0.3 [" in comparison.format()
    single = compare([make_run("c", row(1.0), x=1), make_run("d", row(2.0), x=2)])
    assert best_rows(single) == []
    assert list(single.leads.values()) == ["c is best, but nothing says how far luck reaches beside d: one seed"]


def test_single_records_tell_runs_of_one_seed_apart(make_run):
    rng = np.random.default_rng(0)
    images = rng.normal(30.0, 3.0, 20)  # images differ far more than models do
    models = {"a": images + 0.2 + rng.normal(0.0, 0.1, 20), "b": images, "c": images + rng.normal(0.0, 0.1, 20)}
    paths = []
    for name, values in models.items():
        scored = row(values.mean(), metric="psnr", protocol="psnr_u8/awgn", better="higher", n=20)
        paths.append(make_run(name, scored, x=name))
        table = {"record": [f"/data/{n}.png" for n in range(20)], "psnr_u8/awgn": values, "ms": [1.0] * 20}
        RunFolder.open(paths[-1]).write_csv("per_record/step_00000100-ema-seed0-set20_1-awgn.csv", table)
    comparison = compare(paths)
    assert best_rows(comparison) == ["a"]
    [lead] = comparison.leads.values()
    assert re.fullmatch(r"a is ahead of [bc] by 0\.\d+ \[0\.1\d*, 0\.2\d*\] \(20 records in pairs\)", lead)
    [cell] = comparison.rows[0].cells.values()
    assert cell.low < models["a"].mean() - 1.0  # over images, of which some are harder
    assert "a is ahead" not in compare(paths[1:]).format()
    assert "are not told apart" in compare(paths[1:]).format()


def test_records_of_another_scoring_are_not_taken_for_this_one(make_run):
    paths = []
    for name, shift in (("a", 0.0), ("b", 1.0)):
        paths.append(make_run(name, row(30.0 + shift, protocol="psnr", better="higher", n=3), x=name))
        table = {"record": ["0", "1", "2"], "psnr": [10.0, 11.0, 12.0 + shift]}
        RunFolder.open(paths[-1]).write_csv("per_record/step_00000100-ema-seed0.csv", table)
    assert list(compare(paths).leads.values()) == [
        "b is best, but nothing says how far luck reaches beside a: one seed"
    ]


def test_rows_that_do_not_say_what_is_better_are_not_ranked(make_run):
    old = {name: value for name, value in row(1.0).items() if name != "better"}
    paths = [make_run("a", old, x=1), make_run("b", old, x=2)]
    assert not any(cell.best for found in compare(paths).rows for cell in found.cells.values())
    with pytest.raises(RunError, match="its rows do not say which values are better; evaluate again"):
        compare(paths, rank="fd_pixels")


def test_values_of_two_protocols_are_not_ranked(make_run):
    paths = [make_run("a", row(1.0, protocol="u8"), x=1), make_run("b", row(2.0, protocol="float"), x=2)]
    comparison = compare(paths)
    assert not any(cell.best for found in comparison.rows for cell in found.cells.values())
    assert comparison.notes == ("not ranked: fd_pixels has 2 protocols: float, u8",)
    with pytest.raises(RunError, match="fd_pixels has 2 protocols: float, u8"):
        compare(paths, rank="fd_pixels")


@pytest.mark.parametrize(
    ("field", "values", "said"),
    [("n", (9, 50), "2 sizes n: 9, 50"), ("dataset", ("a@1", "b@1"), "2 datasets: a@1, b@1")],
)
def test_other_sizes_and_data_sets_are_not_ranked(make_run, field, values, said):
    paths = [make_run(f"r{i}", row(float(i), **{field: value}), x=i) for i, value in enumerate(values)]
    with pytest.raises(RunError, match=f"fd_pixels has {said}"):
        compare(paths, rank="fd_pixels")


def test_rank_sorts_best_first_and_the_unmeasured_last(make_run):
    nan, none = make_run("nan", row(math.nan), x=1), make_run("none", x=2)
    finite = [make_run(f"v{value:g}", row(value), x=value) for value in (3.0, 1.0)]
    paths = [nan, none, make_run("inf", row(math.inf), x=9), *finite]
    assert [found.name for found in compare(paths, rank="fd_pixels").rows] == ["v1", "v3", "inf", "nan", "none"]


def test_rank_within_one_of_several_columns(make_run):
    psnr = {"metric": "psnr", "better": "higher"}
    runs = [
        make_run(f"r{i}", row(a, dataset="set5", **psnr), row(b, dataset="bsd68", **psnr), x=i)
        for i, (a, b) in enumerate([(30.0, 29.0), (31.0, 28.0)])
    ]
    assert [found.name for found in compare(runs, rank="psnr set5").rows] == ["r1", "r0"]
    assert [found.name for found in compare(runs, rank="psnr bsd68").rows] == ["r0", "r1"]
    with pytest.raises(RunError, match="no run has it; there is psnr bsd68 u8 n=50, psnr set5 u8 n=50"):
        compare(runs, rank="psnr urban100")
    with pytest.raises(RunError, match=r"no run has it; there is psnr$"):
        compare(runs, rank="ssim")


def test_notes_say_what_is_missing(make_run):
    unfinished = make_run("a", row(1.0), row(1.0, metric="kid"), status="preempted", seed=0)
    other_seed = make_run("b", row(2.0), seed=1)
    unscored = make_run("c", x=1)
    comparison = compare([unfinished, other_seed, unscored])
    assert comparison.notes == (
        "a: status is preempted",
        f"c: no results; evaluate it: jgr evaluate {unscored}",
        f"{{a,b}}: kid {DIGITS} u8 n=50 is of 1 of 2 seeds",
    )
    assert comparison.format().count("–") == 3  # x of the first row, both metrics of the last
    assert compare([unfinished], select="best").notes[-1] == (
        f"a: no results with select=best; evaluate it: jgr evaluate {unfinished} --step=best"
    )


def test_latex_is_escaped_and_framed_by_booktabs(make_run):
    paths = [
        make_run(f"{name}-{s}", row(value + s, protocol="u8_5%"), seed=s, x=x, status=status)
        for name, value, x, status in (("my_run", 1.0, "50%_a&b", "completed"), ("later", 91.0, "{c}", "failed"))
        for s in (0, 1)
    ]
    text = compare(paths).format("tex")
    begin, top, header, middle, first, second, bottom, end, lead, note, _ = text.splitlines()
    assert [begin, top, middle, bottom, end] == [
        r"\begin{tabular}{lllr}", r"\toprule", r"\midrule", r"\bottomrule", r"\end{tabular}",
    ]  # fmt: skip
    cells = [[cell.strip() for cell in line.removesuffix(r"\\").split(" & ")] for line in (header, first, second)]
    assert cells == [
        ["run", "x", "seeds", rf"\shortstack{{fd\_pixels \\ {DIGITS} \\ u8\_5\% \\ n=50}}"],
        [r"my\_run-\{0,1\}", r"50\%\_a\&b", "2", r"\textbf{1.500 $\pm$ 0.707}"],
        [r"later-\{0,1\}", r"\{c\}", "2", r"91.50 $\pm$ 0.71"],
    ]
    assert lead.startswith(r"\par{\footnotesize fd\_pixels: my\_run-\{0,1\} is ahead of later-\{0,1\} by 90 [87, 93]")
    assert note == r"\par{\footnotesize later-0: status is failed\par}"


def test_markdown_cells_cannot_break_the_table(make_run):
    text = compare([make_run("a", row(1.0), x="p|q*"), make_run("b", row(1.0), x="r")]).format("md")
    assert r"p\|q\*" in text
    assert "**" not in text
    assert "- fd_pixels: a and b score the same" in text


def test_csv_and_json_are_tidy_and_exact(make_run):
    third = 1 / 3
    paths = [
        make_run("a-0", row(third), seed=0),
        make_run("a-1", row(1.0), seed=1),
        make_run("b", row(math.inf), x=[1, 2]),
    ]
    comparison = compare([*paths, make_run("c", x=None)])
    a, b, c = json.loads(comparison.format("json"), parse_constant=pytest.fail)["records"]
    assert a["runs"] == ["id-a-0", "id-a-1"]
    assert (a["mean"], a["std"], a["seeds"], a["best"]) == (2 / 3, pytest.approx(third * 2**0.5, rel=1e-15), 2, False)
    assert a["high"] - a["low"] == pytest.approx(2 * 12.7062 / 3, rel=1e-5)  # t of 1 degree of freedom, error 1/3
    assert (a["metric"], a["dataset"], a["protocol"], a["n"]) == ("fd_pixels", DIGITS, "u8", 50)
    assert (b["mean"], b["status"], b["config.x"]) == (None, "inf", [1, 2])
    assert (c["metric"], c["mean"], c["status"]) == (None, None, "missing")
    records = list(csv.DictReader(io.StringIO(comparison.format("csv"))))
    assert [float(record["mean"] or "nan") for record in records[:2]] == [2 / 3, math.inf]
    assert [record["row"] for record in records] == ["a-{0,1}", "b", "c"]
    assert records[0]["runs"] == "id-a-0 id-a-1"
    assert list(records[0]) == list(a)


@pytest.mark.parametrize(
    ("mean", "std", "text"),
    [
        (29.2149, None, "29.21"),
        (29.2149, 0.126, "29.21 ± 0.13"),
        (12345.6, 1.4, "12346 ± 1"),
        (9.99996, None, "10.00"),
        (0.0, 0.01, "0.000 ± 0.010"),
        (-0.012346, None, "-0.01235"),
        (1.23456e-7, 2e-9, "(1.235 ± 0.020)e-07"),
        (2.5e8, None, "2.500e+08"),
        (math.inf, None, "inf"),
        (math.nan, math.nan, "nan"),
    ],
)
def test_values_have_four_digits_and_std_as_many_decimals(mean, std, text):
    assert format_value(mean, std) == text


def test_bad_arguments(make_run, tmp_path):
    with pytest.raises(ValueError, match="at least one run"):
        compare([])
    with pytest.raises(RunError, match="not a run's folder"):
        compare([tmp_path / "absent"])


@pytest.mark.parametrize("form", ["md", "csv", "tex", "json", "text"])
def test_no_format_ends_in_a_line_end(make_run, form):
    assert not compare([make_run("a", row(1.0))]).format(form).endswith("\n")

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


def grids(comparison):
    """The tables of the Markdown, each a list of lines of cells, without the rule below the header."""
    found = [[]]
    for line in comparison.format("md").splitlines():
        if line.startswith("| "):
            found[-1].append([cell.strip() for cell in line.strip("|").split(" | ")])
        elif found[-1]:
            found.append([])
    return [[lines[0], *lines[2:]] for lines in found if lines]


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
    _, line = grids(compare(paths))[0]
    assert line == ["gan-s{0,1,2}", "3", "6.000 ± 3.606"]


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
    assert grids(comparison)[0] == [
        ["run", "optimizer.lr", "task.depth", "task.width", "seed", "fd_pixels ↓"],
        ["wide", "0.0002", "–", "64", "0", "2.000"],
        ["narrow", "0.001", "None", "32", "7", "1.000"],
    ]


def test_many_differing_config_keys_stand_below_one_a_line(make_run):
    keys = {f"k{number}": number for number in range(5)}
    comparison = compare([make_run("a", row(1.0), **keys), make_run("b", row(2.0), only_here=True)])
    scores, differing, _ = grids(comparison)
    assert scores[0] == ["run", "fd_pixels ↓"]
    assert differing[0] == ["key", "a", "b"]
    assert differing[1:] == [*([f"k{n}", str(n), "–"] for n in range(5)), ["only_here", "–", "True"]]


def test_what_all_columns_share_is_said_once(make_run):
    metrics = ("fd_cnn@12ab", "recall_cnn@12ab")
    alike = [row(1.0, metric=metric, protocol=f"{metric}_u8_n50") for metric in metrics]
    text = compare([make_run("a", *alike)]).format("md")
    assert grids(compare([make_run("a2", *alike)]))[0][0] == ["run", "fd_cnn ↓", "recall_cnn ↓"]
    assert text.startswith(f"On {DIGITS}, n = 50.\n\n| run |")
    assert "- Protocols: fd_cnn@12ab_u8_n50; recall_cnn@12ab_u8_n50." in text
    other = compare([make_run("b", alike[0], row(1.0, metric="bits", protocol="discrete", n=9))])
    assert "- Protocols: bits: discrete n = 9; fd_cnn@12ab_u8_n50 n = 50." in other.format("md")
    assert grids(compare([make_run("c", row(1.0, metric="fd@1"), row(1.0, metric="fd@2"))]))[0][0] == [
        "run", "fd@1 ↓", "fd@2 ↓",
    ]  # fmt: skip


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
    same, took = grids(compare([make_run("a", row(1.0), x=1), make_run("b", row(2.0), x=2)]))
    assert same[0] == ["run", "x", "fd_pixels ↓"]
    assert took[1] == ["a", "100", "6,400"]
    other = compare([make_run("c", row(1.0), x=1), make_run("d", row(2.0, step=500, weights="raw"), x=2)])
    scores, took = grids(other)
    assert scores[1:] == [["c", "1", "ema", "1.000"], ["d", "2", "raw", "2.000"]]
    assert [line[:2] for line in took] == [["run", "steps"], ["c", "100"], ["d", "500"]]
    one = compare([make_run("e", row(1.0), row(2.0, metric="kid", step=500))])
    assert one.notes == (f"e: fd_pixels {DIGITS} u8 n=50 is of step 100, not of 500",)


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
    seeds = {"a": (1.0, 2.0, 1.5), "b": (1.2, 2.4, 1.8)}
    paths = [make_run(f"{n}{s}", row(v), seed=s, x=n) for n, values in seeds.items() for s, v in enumerate(values)]
    comparison = compare(paths)
    assert best_rows(comparison) == []
    assert "a{0,1,2} and b{0,1,2} are not told apart: -0.3 [" in comparison.format()
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
    assert json.loads(comparison.format("json"))["not_ranked"] == ["not ranked: fd_pixels has 2 protocols: float, u8"]
    first, second = grids(comparison)[:2]
    assert (first[1:], second[1:]) == ([["b", "2", "2.000"]], [["a", "1", "1.000"]])
    assert "\n\nNot comparable with the above: another protocol.\n\n" in comparison.format("md")
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
    assert grids(comparison)[0][1:] == [["{a,b}", "–", "2", "1.500 ± 0.707", "1.000"], ["c", "1", "1", "–", "–"]]
    assert compare([unfinished], select="best").notes[-1] == (
        f"a: no results with select=best; evaluate it: jgr evaluate {unfinished} --step=best"
    )


def test_latex_is_escaped_and_framed_by_booktabs(make_run):
    paths = [
        make_run(f"{name}-{s}", row(value + s, protocol="u8_5%"), seed=s, x=x, status=status)
        for name, value, x, status in (("my_run", 1.0, "50%_a&b", "completed"), ("later", 91.0, "{c}", "failed"))
        for s in (0, 1, 2)
    ]
    where, begin, top, header, middle, first, second, bottom, end, *below = compare(paths).format("tex").splitlines()
    assert where == rf"\par\noindent{{\footnotesize On {DIGITS}, n = 50.\par}}"
    assert [begin, top, middle, bottom, end] == [
        r"\begin{tabular}{lllr}", r"\toprule", r"\midrule", r"\bottomrule", r"\end{tabular}",
    ]  # fmt: skip
    cells = [[cell.strip() for cell in line.removesuffix(r"\\").split(" & ")] for line in (header, first, second)]
    assert cells == [
        ["run", "x", "seeds", r"fd\_pixels $\downarrow$"],
        [r"my\_run-\{0,1,2\}", r"50\%\_a\&b", "3", r"\textbf{2.000 $\pm$ 1.000}"],
        [r"later-\{0,1,2\}", r"\{c\}", "3", r"92.00 $\pm$ 1.00"],
    ]
    lead, protocols, *_ = below
    small = r"\par\noindent{\footnotesize "
    assert lead.startswith(small + r"fd\_pixels: my\_run-\{0,1,2\} is ahead of later-\{0,1,2\} by 90 [87.7, 92.3]")
    assert protocols == small + r"Protocols: fd\_pixels: u8\_5\%.\par}"
    assert small + r"later-0: status is failed\par}" in below
    assert below.count(r"\begin{tabular}{lrr}") == below.count(r"\end{tabular}") == 1  # the costs


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
    document = json.loads(comparison.format("json"), parse_constant=pytest.fail)
    a, b, c = [record for record in document["records"] if record["kind"] == "score"]
    assert a["runs"] == ["id-a-0", "id-a-1"]
    assert (a["mean"], a["std"], a["seeds"], a["best"]) == (2 / 3, pytest.approx(third * 2**0.5, rel=1e-15), 2, False)
    assert a["high"] - a["low"] == pytest.approx(2 * 12.7062 / 3, rel=1e-5)  # t of 1 degree of freedom, error 1/3
    assert (a["metric"], a["dataset"], a["protocol"], a["n"]) == ("fd_pixels", DIGITS, "u8", 50)
    assert (b["mean"], b["status"], b["config.x"]) == (None, "inf", [1, 2])
    assert (c["metric"], c["mean"], c["status"]) == (None, None, "missing")
    records = list(csv.DictReader(io.StringIO(comparison.format("csv"))))
    assert [float(record["mean"] or "nan") for record in records[:2]] == [2 / 3, math.inf]
    assert [record["row"] for record in records if record["kind"] == "score"] == ["a-{0,1}", "b", "c"]
    took = {record["metric"]: record["mean"] for record in records if record["row"] == "b" and record["kind"] == "cost"}
    assert took == {"steps": "100.0", "images_seen": "6400.0"}
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


def test_what_runs_took(make_run):
    restored = row(30.0, metric="psnr", protocol="psnr_u8/awgn", better="higher", n=3, step=200, images_seen=3200)
    made = [make_run(f"net-s{seed}", restored, seed=seed) for seed in (0, 1)]
    for path, minutes in zip(made, (1.0, 3.0), strict=True):
        folder = RunFolder.open(path)
        networks = {
            "network": {"parameters": 1500, "evaluated": True},
            "critic": {"parameters": 500, "evaluated": False},
        }
        devices = {"kind": "H", "platform": "gpu", "count": 8, "processes": 1}
        folder.update_manifest(networks=networks, environment={"devices": devices})
        speed = {"images_per_s": 32.0, "tflops_per_s": 0.004}
        folder.append_metrics({"step": 100, "images_seen": 1600, "elapsed_s": 30.0, **speed})
        folder.append_metrics({"step": 200, "images_seen": 3200, "elapsed_s": 60 * minutes, **speed})
        values = {"record": ["0", "1", "2"], "psnr_u8/awgn": [29.0, 30.0, 31.0]}
        took = {"ms": ["4.0", "2.0", "9.0"], "gflop": [0.25, 0.5, 0.5]}
        folder.write_csv("per_record/step_00000200-ema-seed0-set-awgn.csv", values | took)
    classical = make_run("classical", restored | {"step": 0, "images_seen": 0}, method="median")
    comparison = compare([*made, classical])
    header, net, old = grids(comparison)[-1]
    assert dict(zip(header, net, strict=True)) == {
        "run": "net-s{0,1}",
        "device": "8 H",
        "parameters": "1,500",
        "trained parameters": "2,000",
        "GFLOP an image": "0.5000",
        "GFLOP a training step": "2",  # 4 GFLOP/s at 32 images/s are 0.125 an image, and 16 images are a step
        "steps": "200",
        "images seen": "3,200",
        "training, min": "2.000 ± 1.414",
        "ms an image": "4",
    }
    assert old == ["classical", *["–"] * 5, "0", "0", "–", "–"]
    [time] = [one for one in comparison.records() if one["metric"] == "train_s"]
    assert (time["kind"], time["device"], time["mean"], time["seeds"]) == ("time", "8 H", 120.0, 2)


def test_a_terminal_never_breaks_a_number(make_run):
    columns = [row(100 + n / 7, metric=f"metric_{n}") for n in range(12)]
    paths = [make_run(f"run-of-some-length-{x}", *columns, x=x) for x in (1, 2)]
    comparison = compare(paths)
    narrow = comparison.format(width=60)
    assert max(map(len, narrow.splitlines())) <= 60
    for n in range(12):
        assert narrow.count(f"{100 + n / 7:.1f}") >= 2
    wide = comparison.format()
    assert "\x1b" not in wide
    assert len([line for line in wide.splitlines() if line.startswith("run-of-some-length-1 ")]) == 2  # scores, costs
    assert "\x1b[1m" in comparison.format(styled=True)

"""A report all of whose texts are one, such as a text that wants to be code."""

from jgr.jobs.report.document import Arm, Measurement, ReportedRun
from jgr.jobs.report.restored import Named, Restored, Test
from jgr.jobs.study import Published
from jgr.jobs.table import Column, Comparison, Cost, Reference, Row
from tests.jobs.report import made

HOSTILE = (
    "<script>window.hacked = 1</script>",
    "</script><script>window.hacked = 1</script>",
    '"><img src=x onerror="window.hacked = 1">',
    "<!--<script>",
    "--> ]]> {{script}} {{document}} ${window.hacked = 1} `",
    "javascript:window.hacked=1 ' onfocus='window.hacked=1' autofocus='",
    "\u2028\u2029\udc80 \x00 & &lt;b&gt;",
)


def hostile(text):
    """The report."""
    test = Test(text, text)
    run = ReportedRun(
        name=text,
        facts={text: text},
        measurements=[Measurement(text, text, text)],
        logged=[{"step": 1, text: 1.0}, {"step": 2, text: 2.0}],
        grid=made.flat(9),
        restored={test: [Restored(made.flat(1), made.flat(2), made.flat(3))]},
        records={test: [Named(text, {text: 1.0})]},
    )
    arms = [Arm(text, {text: text}, False, [run]), Arm("other", {}, True, [made.run("other-s0")])]
    column = Column(text, text, text, 1)
    rows = tuple(
        Row(arm.name, (arm.runs[0].name,), (0,), {}, {column: made.cell(1.0)}, {"steps": Cost(9.0, None, 1)}, (text,))
        for arm in arms
    )
    references = (Reference(text, text, column, 1.0, text, text),)
    table = Comparison(rows, (column,), (), (text,), {column: text}, {text: "higher"}, references)
    return made.Report(
        title=text,
        comparison=table,
        arms=arms,
        published=[Published(name=text, metric=text, value=1.0, source=text, note=text)],
    )

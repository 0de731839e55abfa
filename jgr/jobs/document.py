"""Texts with tables in them, and how they are written in Markdown, in LaTeX and for a terminal."""

import dataclasses
import io
from collections.abc import Iterable, Mapping, Sequence

from tabulate import LATEX_ESCAPE_RULES

_MARKDOWN = {"\\": "\\\\", "|": "\\|", "*": "\\*", "<": "&lt;", "\n": " "}
_LATEX = LATEX_ESCAPE_RULES | {
    "±": r"$\pm$",
    "–": "--",
    "↑": r"$\uparrow$",
    "↓": r"$\downarrow$",
    "†": r"$\dagger$",
    "×": r"$\times$",
    "…": r"\ldots{}",
    "\n": " ",
}
_ENDLESS = 10_000  # characters of a line that no terminal bounds
_WORDS = 30  # characters that a column of words is given before a table is cut in two


@dataclasses.dataclass(frozen=True)
class Heading:
    """A title; level 1 is the document's."""

    text: str
    level: int = 2


@dataclasses.dataclass(frozen=True)
class Paragraph:
    """Sentences."""

    text: str


@dataclasses.dataclass(frozen=True)
class Notes:
    """A list of sentences."""

    lines: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Grid:
    """A table of texts.

    Args:
        headers: One a column.
        lines: Of texts, one a column.
        numbers: How many columns, the last ones, hold numbers: they are aligned to the right and never broken.
        strong: Line and column of the texts that stand out.
    """

    headers: tuple[str, ...]
    lines: tuple[tuple[str, ...], ...]
    numbers: int = 0
    strong: frozenset[tuple[int, int]] = frozenset()

    def is_number(self, column: int) -> bool:
        """Whether a column holds numbers."""
        return column >= len(self.headers) - self.numbers


Block = Heading | Paragraph | Notes | Grid


def markdown(blocks: Iterable[Block]) -> str:
    """As GitHub's Markdown, without a line end after its last line."""
    parts = []
    for block in blocks:
        if isinstance(block, Heading):
            parts.append(f"{'#' * block.level} {_replaced(block.text, _MARKDOWN)}")
        elif isinstance(block, Paragraph):
            parts.append(_replaced(block.text, _MARKDOWN))
        elif isinstance(block, Notes):
            parts.append("\n".join(f"- {_replaced(line, _MARKDOWN)}" for line in block.lines))
        else:
            parts.append(_markdown_grid(block))
    return "\n\n".join(parts)


def _markdown_grid(grid: Grid) -> str:
    texts = [
        [
            f"**{_replaced(text, _MARKDOWN)}**" if (number, place) in grid.strong else _replaced(text, _MARKDOWN)
            for place, text in enumerate(line)
        ]
        for number, line in enumerate((grid.headers, *grid.lines), start=-1)
    ]
    widths = [max(3, *map(len, column)) for column in zip(*texts, strict=True)]
    right = [grid.is_number(place) for place in range(len(widths))]
    rule = ["-" * (width - 1) + ":" if number else "-" * width for width, number in zip(widths, right, strict=True)]
    texts.insert(1, rule)
    return "\n".join(
        "| "
        + " | ".join(
            text.rjust(width) if number else text.ljust(width)
            for text, width, number in zip(line, widths, right, strict=True)
        )
        + " |"
        for line in texts
    )


def latex(blocks: Iterable[Block]) -> str:
    r"""As LaTeX that needs the package booktabs: tabulars, for a table environment each, with small print below."""
    parts = []
    for block in blocks:
        if isinstance(block, Heading):
            parts.append(rf"\par\noindent\textbf{{{_replaced(block.text, _LATEX)}}}\par")
        elif isinstance(block, Paragraph):
            parts.append(_small(block.text))
        elif isinstance(block, Notes):
            parts += [_small(line) for line in block.lines]
        else:
            parts.append(_latex_grid(block))
    return "\n".join(parts)


def _small(text: str) -> str:
    return rf"\par\noindent{{\footnotesize {_replaced(text, _LATEX)}\par}}"


def _latex_grid(grid: Grid) -> str:
    def line(texts: Sequence[str], number: int = -1) -> str:
        escaped = [_replaced(text, _LATEX) for text in texts]
        marked = [
            rf"\textbf{{{text}}}" if (number, place) in grid.strong else text for place, text in enumerate(escaped)
        ]
        return " & ".join(marked) + r" \\"

    alignment = "".join("r" if grid.is_number(place) else "l" for place in range(len(grid.headers)))
    return "\n".join(
        [
            rf"\begin{{tabular}}{{{alignment}}}",
            r"\toprule",
            line(grid.headers),
            r"\midrule",
            *(line(texts, number) for number, texts in enumerate(grid.lines)),
            r"\bottomrule",
            r"\end{tabular}",
        ]
    )


def plain(blocks: Iterable[Block], width: int | None = None, styled: bool = False) -> str:
    """For a terminal, without a line end after its last line.

    Args:
        blocks: The document.
        width: Characters of a line: words wrap, and a table that is wider is cut in several. As many as it takes when
            None.
        styled: Whether to use a terminal's codes.
    """
    from rich.console import Console
    from rich.text import Text

    file = io.StringIO()
    console = Console(
        file=file,
        width=width or _ENDLESS,
        force_terminal=styled,
        color_system="standard" if styled else None,
        highlight=False,
        legacy_windows=False,
    )
    for number, block in enumerate(blocks):
        if number:
            console.line()
        if isinstance(block, Heading):
            console.print(Text(block.text, style="bold"))
        elif isinstance(block, Paragraph):
            console.print(Text(block.text))
        elif isinstance(block, Notes):
            for line in block.lines:
                console.print(Text(line))
        else:
            for place, part in enumerate(_fitting(block, width or _ENDLESS)):
                if place:
                    console.line()
                console.print(_rich_table(part))
    return "\n".join(line.rstrip() for line in file.getvalue().rstrip("\n").split("\n"))


def _rich_table(grid: Grid) -> object:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, header_style="bold")
    for place, header in enumerate(grid.headers):
        if grid.is_number(place):
            table.add_column(Text(header), justify="right", no_wrap=True)
        else:
            table.add_column(Text(header), overflow="fold")
    for line, texts in enumerate(grid.lines):
        cells = [Text(text) for text in texts]
        for place, text in enumerate(texts):
            if (line, place) in grid.strong:
                cells[place] = Text(f"* {text}", style="bold")
        table.add_row(*cells)
    return table


def _fitting(grid: Grid, width: int) -> list[Grid]:
    """The table in parts that fit a width, each with the first column; numbers are never broken, words may be."""
    sizes = []
    for place, header in enumerate(grid.headers):
        size = max(len(text) + 2 * ((line, place) in grid.strong) for line, text in enumerate(_column(grid, place)))
        size = max(size, len(header))
        sizes.append(2 + (size if grid.is_number(place) else min(size, _WORDS)))
    parts: list[list[int]] = [[]]
    for place in range(1, len(sizes)):
        if parts[-1] and sizes[0] + sum(sizes[other] for other in parts[-1]) + sizes[place] > width:
            parts.append([])
        parts[-1].append(place)
    return [_selected(grid, [0, *places]) for places in parts] if len(parts) > 1 else [grid]


def _column(grid: Grid, place: int) -> list[str]:
    return [line[place] for line in grid.lines]


def _selected(grid: Grid, places: Sequence[int]) -> Grid:
    now = {old: new for new, old in enumerate(places)}
    return Grid(
        headers=tuple(grid.headers[place] for place in places),
        lines=tuple(tuple(line[place] for place in places) for line in grid.lines),
        numbers=sum(grid.is_number(place) for place in places),
        strong=frozenset((line, now[place]) for line, place in grid.strong if place in now),
    )


def _replaced(text: str, replacements: Mapping[str, str]) -> str:
    return "".join(replacements.get(character, character) for character in text)

"""Progress bars in which nothing is cut: what does not fit is left out, the bar first."""

from collections.abc import Iterable

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.progress import Progress, Task
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

BAR = 24
PARTS = " · "
"""Between the parts of a description."""


class Bars(Progress):
    """One line for each task: description, bar, `done/total unit` and note (both fields of the task)."""

    def __init__(self, console: Console, *, disable: bool) -> None:
        super().__init__(console=console, transient=True, disable=disable)

    def get_renderables(self) -> Iterable[RenderableType]:
        """The lines of the tasks that are to be seen."""
        yield from (_Line(task) for task in self.tasks if task.visible)


class _Line:
    def __init__(self, task: Task) -> None:
        self.task = task

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        task, width = self.task, options.max_width
        count = f"{task.completed:.0f}/{task.total or 0:.0f} {task.fields['unit']}".rstrip()
        note = task.fields["note"]
        if cell_len(count) + 2 + cell_len(note) > width:
            note = ""
        room = width - cell_len(count) - (cell_len(note) + 2 if note else 0)
        title = shortened(task.description, room - 1)
        line = Table.grid(padding=(0, 1, 0, 0))
        cells: list[RenderableType] = [Text(title)] if title else []
        if room - cell_len(title) - 1 > BAR:
            bar = ProgressBar(total=task.total, completed=task.completed, width=BAR, pulse=task.total is None)
            cells.append(bar)
        cells += [Text(count), Text(note, "dim")] if note else [Text(count)]
        for cell in cells:
            wide = BAR if isinstance(cell, ProgressBar) else cell_len(str(cell))
            line.add_column(width=wide, no_wrap=True)
        line.add_row(*cells)
        yield line


def shortened(title: str, room: int) -> str:
    """As many of the title's parts as fit: the last one, what is being done, stays the longest."""
    parts = title.split(PARTS)
    while parts and cell_len(PARTS.join(parts)) > room:
        del parts[-2 if len(parts) > 1 else -1]
    return PARTS.join(parts)

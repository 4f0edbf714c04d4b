"""When a run draws with a compiled network: where it is asked to, or where that pays."""

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from erasure_bench.bench.identity.ids import content_id
from erasure_bench.bench.planning.config import Compiling
from erasure_bench.bench.storage.memory import recall, remember

if TYPE_CHECKING:
    from erasure_bench.models.compiling import CompileCost, CompiledUNet
    from erasure_bench.models.image_model import ImageModel

FOLDER = "compiling"
NETWORK = "unet"
"""The part of a model that is compiled, where it has one."""


class _Drawn(NamedTuple):
    """Pictures that were drawn, in so many seconds."""

    pictures: int = 0
    seconds: float = 0.0

    @property
    def pace(self) -> float | None:
        """Seconds for a picture."""
        return self.seconds / self.pictures if self.pictures else None


class Compiled:
    """Decides for each task, from how long the first ones took, how many pictures are left, and what
    compiling cost and saved here before, which `folder` remembers."""

    def __init__(self, asked: Compiling, folder: Path, pictures_left: int) -> None:
        self.asked, self.folder, self.left = asked, folder, pictures_left
        self._unet: CompiledUNet | None = None
        self._plain, self._quick = _Drawn(), _Drawn()
        self._counted = 0.0
        self._given_up = asked == "off"

    def unet(
        self, model: "ImageModel", kind: tuple[object, ...], say: Callable[[str], None]
    ) -> "CompiledUNet | None":
        """What the next task is drawn with; None is the model's own network."""
        from erasure_bench.models.compiling import CompiledUNet, pays

        network = model.parts.get(NETWORK)
        if self._given_up or network is None or model.classes:  # those are asked as they are
            return None
        if self._unet is not None and self._unet.unet is network:
            return self._unet
        self.forget()  # it was another model's
        if self.asked != "on":
            pace, cost = self._plain.pace, self._known(kind)
            if pace is None or cost.saves <= 0 or not pays(self.left * pace, cost):
                return None
            say(f"compiling the network: {self.left} pictures are left, which that makes quicker")
        self._counted = 0.0
        self._unet = CompiledUNet(network, None if self.asked == "on" else say)
        return self._unet

    def forget(self) -> None:
        """Lets go of the model: another is loaded."""
        if self._unet is not None:
            from erasure_bench.models.compiling import release

            self._unet = None
            release()

    def drew(
        self, pictures: int, seconds: float, kind: tuple[object, ...], say: Callable[[str], None]
    ) -> float:
        """So many were drawn; gives those of the seconds that went into compiling."""
        self.left -= pictures
        if (unet := self._unet) is None:
            self._plain = _more(self._plain, pictures, seconds)
            return 0.0
        compiling = unet.compile_seconds - self._counted
        self._counted += compiling
        if unet.failed:
            self._given_up, self._unet = True, None
        else:
            self._quick = _more(self._quick, pictures, seconds - compiling)
            self._judge(unet, kind, say)
        return compiling

    def _judge(self, unet: "CompiledUNet", kind: tuple[object, ...], say: Callable[[str], None]) -> None:
        """Remembers what compiling cost and saved; gives it up where it saved nothing."""
        from erasure_bench.models.compiling import CompileCost

        if self._plain.pace is None or self._quick.pace is None:
            return
        saves = 1 - self._quick.pace / self._plain.pace
        before = self._remembered(kind)
        # A compiler's own cache may have answered: the dearest that was seen here is what it may cost again.
        seconds = max(unet.compile_seconds, before.seconds if before else 0.0)
        with suppress(OSError):  # a store that cannot be written is reported where it matters
            remember(self._note(kind), CompileCost(seconds, saves)._asdict())
        if saves <= 0 and self.asked != "on":
            say("the compiled network is no quicker here: on without it")
            self._given_up, self._unet = True, None

    def _known(self, kind: tuple[object, ...]) -> "CompileCost":
        from erasure_bench.models.compiling import USUAL

        return self._remembered(kind) or USUAL

    def _remembered(self, kind: tuple[object, ...]) -> "CompileCost | None":
        from erasure_bench.models.compiling import CompileCost

        found = recall(self._note(kind)) or {}
        try:
            return CompileCost(float(found["seconds"]), float(found["saves"]))
        except (KeyError, TypeError, ValueError):
            return None

    def _note(self, kind: tuple[object, ...]) -> Path:
        return self.folder / f"{content_id(list(kind))[:16]}.json"


def _more(drawn: _Drawn, pictures: int, seconds: float) -> _Drawn:
    return _Drawn(drawn.pictures + pictures, drawn.seconds + seconds)

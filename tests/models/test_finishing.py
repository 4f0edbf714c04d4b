"""Pictures are fetched and kept in another thread, in their order, one batch behind the drawing."""

import threading

import numpy as np
import pytest

from erasure_bench.models.finishing import Finished, Finishing, Pixels


def picture(number: int) -> Pixels:
    return np.full((2, 2, 3), number, np.uint8)


def test_each_batch_is_kept_elsewhere_and_told_here_in_order() -> None:
    kept: list[tuple[int, int, bool]] = []
    told: list[Finished] = []
    main = threading.current_thread()

    def keep(index: int, pixels: Pixels) -> None:
        kept.append((index, int(pixels[0, 0, 0]), threading.current_thread() is main))

    def tell(finished: Finished) -> None:
        assert threading.current_thread() is main
        told.append(finished)

    with Finishing[int](lambda number: [picture(number), picture(number + 1)], keep, tell) as finishing:
        finishing.add([5, 6], 10)
        finishing.add([3, 9], 20)
        assert [list(one.indices) for one in told] == [[5, 6]], "the second waits for the first alone"
    assert kept == [(5, 10, False), (6, 11, False), (3, 20, False), (9, 21, False)]
    assert [list(one.indices) for one in told] == [[5, 6], [3, 9]]
    assert all(one.seconds >= 0 for one in told)


def test_the_next_batch_is_drawn_meanwhile() -> None:
    """What is kept waits for something that happens only after the next batch was begun."""
    drawn = threading.Event()

    def keep(index: int, pixels: Pixels) -> None:
        assert drawn.wait(20)

    with Finishing[int](lambda number: [picture(number)], keep, lambda finished: None) as finishing:
        finishing.add([0], 0)
        drawn.set()


@pytest.mark.parametrize("at", ["fetch", "keep"])
def test_what_goes_wrong_there_comes_out_here(at: str) -> None:
    def fails(*of: object) -> list[Pixels]:
        raise OSError("No space left on device")

    told: list[Finished] = []
    fetch = fails if at == "fetch" else lambda number: [picture(number)]
    keep = fails if at == "keep" else None
    with (
        pytest.raises(OSError, match="No space"),
        Finishing[int](fetch, keep, told.append) as finishing,  # type: ignore[arg-type]
    ):
        finishing.add([0], 0)
    assert told == []


def test_an_error_while_drawing_is_not_hidden_by_what_was_under_way() -> None:
    def keep(index: int, pixels: Pixels) -> None:
        raise OSError("later")

    with (
        pytest.raises(ValueError, match="first"),
        Finishing[int](lambda number: [picture(number)], keep, lambda finished: None) as finishing,
    ):
        finishing.add([0], 0)
        raise ValueError("first")
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("finishing")]

"""Windows over time: which stretches of a face track are scored, as the frames arrive."""

from collections import deque
from dataclasses import dataclass
from typing import Deque, Dict, Generic, Iterator, List, Tuple, TypeVar

Item = TypeVar('Item')


@dataclass(frozen=True)
class WindowRule:
    """Length and distance of the windows.

    A track of n frames has windows that start at its frames 0, hop, 2 hop, ..., as long as they
    fit, and one more that ends with its last frame if half a hop or more would be left out. A
    track that is shorter than a window is one window, of the frames that it has.

    Args:
        length (int): Frames of a window, at the rate of the stream.
        hop (int): Frames from the start of one to the start of the next.

    Raises:
        ValueError: If one of them is not positive.
    """
    length: int
    hop: int

    def __post_init__(self) -> None:
        if self.length < 1 or self.hop < 1:
            raise ValueError(f'a window needs a positive length and hop, found {self.length} and '
                             f'{self.hop} frames')


class WindowCutter(Generic[Item]):
    """Cuts the windows of all tracks of one stream; holds no more than one window of each.

    Args:
        rule (WindowRule): Length and distance.
    """

    def __init__(self, rule: WindowRule) -> None:
        self.rule = rule
        self.recent: Dict[int, Deque[Item]] = {}
        self.seen: Dict[int, int] = {}

    def push(self, items: Dict[int, Item]) -> Iterator[Tuple[int, List[Item]]]:
        """Take what one frame shows of each track.

        Args:
            items (dict[int, Item]): Track -> whatever is kept of it. A track that was there
                before and is not there now has ended.

        Yields:
            tuple: Track and the window (``length`` items or fewer) that became complete.
        """
        for track in [track for track in self.recent if track not in items]:
            yield from self._end(track)
        for track, item in items.items():
            recent = self.recent.setdefault(track, deque(maxlen=self.rule.length))
            recent.append(item)
            self.seen[track] = self.seen.get(track, 0) + 1
            if self._left_out(self.seen[track]) == 0:
                yield track, list(recent)

    def finish(self) -> Iterator[Tuple[int, List[Item]]]:
        """The stream has ended: the last window of each track, where there is one."""
        for track in list(self.recent):
            yield from self._end(track)

    def _left_out(self, frames: int) -> int:
        """Frames behind the last window, or -1 while the first one is not complete."""
        beyond = frames - self.rule.length
        return beyond % self.rule.hop if beyond >= 0 else -1

    def _end(self, track: int) -> Iterator[Tuple[int, List[Item]]]:
        recent, frames = self.recent.pop(track), self.seen.pop(track)
        left_out = self._left_out(frames)
        if left_out < 0 or 2 * left_out >= self.rule.hop > 1:
            yield track, list(recent)

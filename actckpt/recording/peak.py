"""The peak of a backward pass under any plan, event by event, from a recording without a checkpoint: nothing is run.

What lives when follows from who holds it. A storage is told from its second life: what a region computes again has
memory of its own, also where the first is still there.
"""

from __future__ import annotations

from actckpt.recording.events import Free, Op, Pack, Release, Unpack
from actckpt.recording.recording import Recording
from actckpt.recording.regions import Plan, Region, regions

# a storage, and the region that computed it again; 0 in the first life
Copy = tuple[int, int]
Holder = tuple[str, int] | tuple[str, int, int]


def peak_bytes(recording: Recording, plan: Plan, early_stop: bool = True) -> int:
    """The most that is alive at once from the start of the backward pass on, without parameters and buffers.

    A parameter's gradient goes when it is complete. What a kernel allocates while it runs is not counted.

    Args:
        recording: Of the model without a checkpoint.
        plan: By the path of each checkpointed module, the ops that it keeps; empty for no checkpoint.
        early_stop: Whether a region stops once all that is asked for is there, as is PyTorch's default.

    Raises:
        InputError: As `regions`.
    """
    return _Backward(recording, regions(recording, plan, early_stop)).run()


class _Memory:
    """Which copies are alive: those that someone holds."""

    def __init__(self, recording: Recording) -> None:
        self.live = self.peak = 0
        self._sizes = [storage.bytes if storage.counts else 0 for storage in recording.storages]
        self._holders: dict[Copy, set[Holder]] = {}
        self._held: dict[Holder, set[Copy]] = {}

    def hold(self, copy: Copy, holder: Holder) -> None:
        if copy not in self._holders:
            self._holders[copy] = set()
            self.live += self._sizes[copy[0]]
            self.peak = max(self.peak, self.live)
        self._holders[copy].add(holder)
        self._held.setdefault(holder, set()).add(copy)

    def let_go(self, holder: Holder) -> None:
        """Whatever this holder has."""
        for copy in self._held.pop(holder, ()):
            holders = self._holders[copy]
            holders.discard(holder)
            if not holders:
                del self._holders[copy]
                self.live -= self._sizes[copy[0]]


class _Backward:
    def __init__(self, recording: Recording, found: list[Region]) -> None:
        self.recording, self.memory = recording, _Memory(recording)
        self.regions = dict(enumerate(found, 1))
        self.region_of = {pack: number for number, region in self.regions.items() for pack in region.packs}
        self.computed: set[int] = set()
        # of each region, the packs that its graph still holds
        self.left = {number: set(region.packs) - recording.released for number, region in self.regions.items()}
        # where what was packed is
        self.copies: dict[int, Copy] = {}

    def run(self) -> int:
        self._begin()
        self.memory.peak = self.memory.live
        for event in self.recording.events[self.recording.backward :]:
            if isinstance(event, Op):
                for storage in event.new:
                    self.memory.hold((storage, 0), ("born", storage))
            elif isinstance(event, Unpack):
                self._unpack(event)
            elif isinstance(event, Release):
                self._release(event.pack)
            elif isinstance(event, Free):
                for holder in ("scratch", "born"):
                    self.memory.let_go((holder, event.storage))
        return self.memory.peak

    def _begin(self) -> None:
        """What is held when the backward pass begins."""
        packs, released = self.recording.packs, self.recording.released
        alive = {storage for pack, (_, storage) in packs.items() if pack not in released}
        for storage in (*(self.recording.survivors - alive), self.recording.loss):
            self.memory.hold((storage, 0), ("born", storage))
        for pack, (_, storage) in packs.items():
            if pack not in released and pack not in self.region_of:
                self.copies[pack] = (storage, 0)
                self.memory.hold((storage, 0), ("pack", pack))
        for number, region in self.regions.items():
            if region.is_alive:
                for storage in region.inputs:
                    self.memory.hold((storage, 0), ("inputs", number))
                for event in region.kept:
                    for storage in self._op(event).writes:
                        self.memory.hold((storage, 0), ("cache", number, event))

    def _op(self, event: int) -> Op:
        op = self.recording.events[event]
        assert isinstance(op, Op)
        return op

    def _unpack(self, event: Unpack) -> None:
        number = self.region_of.get(event.pack)
        if number is not None and number not in self.computed:
            self.computed.add(number)
            self._compute_again(number, self.regions[number])
        # the formula of the node holds it until it returns; a region hands out what it has computed once
        self.memory.hold(self.copies[event.pack], ("scratch", event.scratch))
        if number is not None:
            self.memory.let_go(("pack", event.pack))

    def _compute_again(self, number: int, region: Region) -> None:
        current: dict[int, Copy] = {}
        kept = set(region.kept)
        for index in range(region.first, region.last + 1):
            event = self.recording.events[index]
            if isinstance(event, Op):
                for storage in event.writes if index in kept else event.new:
                    copy = current[storage] = (storage, 0 if index in kept else number)
                    self.memory.hold(copy, ("running", number, storage))
                if index in kept:
                    # handed out once
                    self.memory.let_go(("cache", number, index))
            elif isinstance(event, Free):
                # what the graph saves is freed later: it holds it until the region stops
                self.memory.let_go(("running", number, event.storage))
            elif isinstance(event, Pack):
                copy = self.copies[event.pack] = current.get(event.storage, (event.storage, 0))
                if event.pack in self.left[number]:
                    self.memory.hold(copy, ("pack", event.pack))
        for storage in current:
            self.memory.let_go(("running", number, storage))

    def _release(self, pack: int) -> None:
        self.memory.let_go(("pack", pack))
        number = self.region_of.get(pack)
        if number is None:
            return
        self.left[number].discard(pack)
        if not self.left[number]:
            # the region's frame goes with its last pack
            self.memory.let_go(("inputs", number))
            for event in self.regions[number].kept:
                self.memory.let_go(("cache", number, event))

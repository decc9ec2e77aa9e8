"""The kinds of faults of links, processes, disks and clocks: what each does, and its parameters.

Decides: nothing.
Keeps: a sentence for each, which the reference repeats.
Must not know: how a fault is carried out.
"""

from typing import Final

Kinds = dict[str, tuple[str, frozenset[str]]]
POINTS: Final = ("commit_begun", "commit_written", "local_begun", "local_written")
"""Of a write: of the index with its contents, or of the local state; when it begins, or when it is
durable and nobody knows."""

LINK_KINDS: Final[Kinds] = {
    "corrupt": ("frames of the targets come damaged, which ends their link", frozenset({"p"})),
    "mtu_hole": ("frames of the targets beyond a size never pass", frozenset({"passes"})),
    "refuse": ("the targets refuse every dial", frozenset()),
    "accept_stall": ("the targets accept every dial and say nothing", frozenset()),
}
PROCESS_KINDS: Final[Kinds] = {
    "suspend": ("machines sleep: nothing runs and nothing passes, but time does", frozenset()),
    "rolling_restart": ("a batch after the other ends and starts", frozenset({"batch", "gap"})),
    "churn": ("processes end and start again at any time", frozenset({"up", "down"})),
    "crash_at": ("who comes to a point of a write ends", frozenset({"point", "p", "down"})),
}
DISK_KINDS: Final[Kinds] = {
    "bit_rot": ("in a share of the contents in files a bit flips; never undone", frozenset({"p"})),
    "io_error": ("an operation of the disks fails by chance", frozenset({"op", "p"})),
    "disk_slow": ("disks take so many times as long", frozenset({"factor"})),
    "disk_stall": ("disks finish nothing until the end", frozenset()),
    "torn_write": ("syncs of files lie, and the power fails at the end", frozenset()),
    "sync_lies": ("all syncs lie, and the power fails at the end", frozenset()),
    "disk_rollback": ("machines start again with disks of a while ago", frozenset({"age"})),
    "quota_cut": ("processes start again with less to use", frozenset({"quota"})),
}
CLOCK_KINDS: Final[Kinds] = {
    "skew": ("wall clocks slide away by so much, without a step", frozenset({"by"})),
    "drift": ("both clocks run fast or slow", frozenset({"ppm"})),
    "freeze": ("wall clocks stand still", frozenset()),
    "unsynchronized": ("kernels say that nothing keeps their clocks in step", frozenset()),
    "expiry_edge": ("wall clocks show when something held expires", frozenset({"offset"})),
}

"""A daemon that notes what it was told: the command line with two more arguments in front.

    python recording_daemon.py FOLDER run --config FILE

Below FOLDER: `<pid>.<n>.frames`, every decrypted byte of the n-th link in the order it came, and
`<pid>.modules`, what was loaded when the command ended by itself. The daemon is the one users run.
"""

import os
import sys
from pathlib import Path

from fabgossip.wire import framing


class RecordingReader(framing.FrameReader):
    """Writes down what it is fed before it reads it; a file for each link, so that no other link's
    bytes fall between two pieces."""

    __slots__ = ("_record",)

    folder = Path()
    count = 0

    def __init__(self) -> None:
        super().__init__()
        RecordingReader.count += 1
        path = self.folder / f"{os.getpid()}.{self.count}.frames"
        self._record = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)

    def feed(self, data: bytes | bytearray | memoryview) -> None:
        view = memoryview(data)
        while view:
            view = view[os.write(self._record, view) :]
        super().feed(data)

    def __del__(self) -> None:
        os.close(self._record)


def main() -> int:
    """Run the command that follows the folder."""
    RecordingReader.folder = Path(sys.argv[1])
    # Before any module takes the name: all of them get this reader.
    framing.FrameReader = RecordingReader  # type: ignore[misc]
    from fabgossip.cli.main import run

    code = run(sys.argv[2:])
    (RecordingReader.folder / f"{os.getpid()}.modules").write_text("\n".join(sys.modules))
    return code


if __name__ == "__main__":
    sys.exit(main())

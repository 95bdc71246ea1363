"""TensorBoard as a program, without TensorFlow, which the summaries of poets do not need.

TensorBoard imports TensorFlow where it is installed, which takes 4 to 11 s and 400 MB, unless a
module ``tensorboard.compat.notf`` exists.
"""

import sys
import types


def serve(arguments: list[str]) -> int:
    """Run TensorBoard with its command line arguments until SIGTERM; return the exit code."""
    sys.modules["tensorboard.compat.notf"] = types.ModuleType("tensorboard.compat.notf")
    from tensorboard.program import TensorBoard

    server = TensorBoard()
    server.configure(["tensorboard", *arguments])
    return int(server.main() or 0)


if __name__ == "__main__":
    sys.exit(serve(sys.argv[1:]))

"""TensorBoard as a program, without TensorFlow: what poets writes needs none.

TensorBoard imports TensorFlow when it is there, which takes 4 to 11 s and some 400 MB; a
module of this name is its own way to tell it not to.
"""

import sys
import types


def serve(arguments: list[str]) -> int:
    """Serve until SIGTERM; `arguments` are TensorBoard's own."""
    sys.modules["tensorboard.compat.notf"] = types.ModuleType("tensorboard.compat.notf")
    from tensorboard.program import TensorBoard

    server = TensorBoard()
    server.configure(["tensorboard", *arguments])
    return int(server.main() or 0)


if __name__ == "__main__":
    sys.exit(serve(sys.argv[1:]))

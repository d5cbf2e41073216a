"""A folder with a valid bracket at every moment: bracket.json beside the state in orbax's form."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

import jax
import numpy as np

from jaxbarron.certificates.files import digest, write_atomically
from jaxbarron.errors import CheckpointError

__all__ = ["BRACKET_FILE", "Checkpoints", "read_bracket"]

BRACKET_FILE = "bracket.json"
_SCHEMA, _VERSION = "jaxbarron-tighten", 1
_KEPT = 2
_KEYS = ("problem", "steps", "lower", "upper", "evidence", "digest")


def read_bracket(folder: Path) -> dict[str, Any]:
    """The document of a checkpoint folder: bounds, steps, problem and evidence.

    Raises:
        CheckpointError: the folder holds no such document, a broken one, or one of a later version.
    """
    path = folder / BRACKET_FILE
    try:
        data = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise CheckpointError(
            f"given: {folder}, which is no checkpoint ({error}); expected: a folder with a "
            f"readable {BRACKET_FILE}; do: give a folder that tighten wrote"
        ) from None
    if not isinstance(data, dict) or cast(dict[str, Any], data).get("schema") != _SCHEMA:
        raise CheckpointError(
            f"given: {folder}, whose {BRACKET_FILE} is of another kind; expected: the schema "
            f"{_SCHEMA}; do: give a folder that tighten wrote"
        )
    found = cast(dict[str, Any], data)
    version = found.get("version")
    if not isinstance(version, int) or isinstance(version, bool) or version > _VERSION:
        raise CheckpointError(
            f"given: a checkpoint of version {version}; expected: at most {_VERSION}; do: install "
            "a later jaxbarron"
        )
    if any(key not in found for key in _KEYS) or found["digest"] != digest(found):
        raise CheckpointError(
            f"given: {folder}, whose {BRACKET_FILE} was changed or cut short; expected: the file "
            "as it was written; do: start anew in another folder"
        )
    return found


class Checkpoints:
    """One folder, of one problem.

    Args:
        folder: made if it is missing; a folder of another problem is refused.
        problem: what the bracket is about, as JSON; compared with the folder's on resuming.
        resume: go on from the folder, which must be a checkpoint of this problem.

    Raises:
        CheckpointError: ``resume`` and the folder is no checkpoint, of another problem or of a
            later version; not ``resume`` and the folder holds something already.
    """

    def __init__(self, folder: Path, problem: dict[str, Any], *, resume: bool) -> None:
        self.folder, self.problem = folder, problem
        if resume:
            if read_bracket(folder)["problem"] != json.loads(json.dumps(problem)):
                raise CheckpointError(
                    f"given: {folder}, a checkpoint of another problem; expected: one of the same "
                    "source, target, weight, particle and method; do: choose another folder"
                )
        elif folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise CheckpointError(
                f"given: {folder}, which is not empty; expected: a new or empty folder; do: resume "
                "it, or choose another"
            )
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise CheckpointError(
                f"given: {folder}, which cannot be made ({error.strerror}); expected: a folder; "
                "do: check the path"
            ) from None

    def write(self, document: dict[str, Any], state: Any) -> None:
        """The bracket first, then the state: killed in between, the bracket is the better one."""
        data = {"schema": _SCHEMA, "version": _VERSION, "problem": self.problem, **document}
        data["digest"] = digest(json.loads(json.dumps(data)))
        write_atomically(self.folder / BRACKET_FILE, (json.dumps(data) + "\n").encode())
        with self._manager() as manager:
            manager.save(int(document["steps"]), args=_orbax().args.StandardSave(_leaves(state)))

    def restore(self, like: Any) -> Any | None:
        """The newest whole state, of the structure of ``like``; None where there is none yet."""
        flat = _leaves(like)
        with self._manager() as manager:
            newest = manager.latest_step()
            if newest is None:
                return None
            try:
                found: Any = manager.restore(newest, args=_orbax().args.StandardRestore(flat))
            except (OSError, ValueError, KeyError) as error:
                raise CheckpointError(
                    f"given: {self.folder}, whose state cannot be read ({error}); expected: the "
                    "files as they were written; do: start anew in another folder"
                ) from None
        leaves, structure = jax.tree.flatten(like)
        restored = [found.get(_name(k), leaf) for k, leaf in enumerate(leaves)]
        return jax.tree.unflatten(structure, restored)

    def _manager(self) -> Any:
        orbax = _orbax()
        options = orbax.CheckpointManagerOptions(
            max_to_keep=_KEPT, create=True, enable_async_checkpointing=False
        )
        return orbax.CheckpointManager((self.folder / "state").absolute(), options=options)


def _orbax() -> Any:
    import orbax.checkpoint as orbax  # half a second, for those who keep checkpoints only

    return orbax


def _leaves(state: Any) -> dict[str, np.ndarray]:
    """NumPy arrays, which keep double precision whatever JAX's setting is in orbax's threads."""
    leaves = [np.asarray(leaf) for leaf in jax.tree.leaves(state)]
    return {_name(k): leaf for k, leaf in enumerate(leaves) if leaf.size}


def _name(index: int) -> str:
    return f"leaf_{index:03d}"

"""The settings of a run: what `train` is given, checked and as one object."""

import dataclasses
import json
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dentalzoo import registry
from dentalzoo.config import PaperConfig, rule_of
from dentalzoo.errors import DentalzooError
from dentalzoo.training.cluster import Cluster
from dentalzoo.training.computing import Computing


@dataclass(frozen=True)
class Settings:
    """The settings of a run, see `train`.

    Attributes:
        name: of the model.
        config: that of the variant, with what was overridden.
        data, out: folders.
        variant: None for the first one of the model.
        computing: how steps are computed, and on which devices.
        cluster: the processes of strategy multi_worker; else None.
        tpu: name of the TPU of strategy tpu.
        seed: of the weights, the order and the augmentation.
        init: a bundle to start from.
        weights_dtype: of the bundle.
        cache: folder for the decoded images; memory where None.

    Raises:
        DentalzooError: a value that cannot be, or not with the others.
    """

    name: str
    config: PaperConfig
    data: Path
    out: Path
    variant: str | None = None
    computing: Computing = Computing()
    cluster: Cluster | None = None
    tpu: str | None = None
    seed: int = 0
    init: str | None = None
    weights_dtype: str = "float32"
    cache: Path | None = None

    def __post_init__(self) -> None:
        if self.tpu is not None and self.computing.strategy != "tpu":
            raise DentalzooError(
                "tpu (--tpu) must come with strategy tpu. "
                f"Received: strategy={self.computing.strategy!r}"
            )
        if not 0 <= self.seed < 2**32:
            raise DentalzooError(
                f"seed must be an integer from 0 to 2**32 - 1. Received: {self.seed!r}"
            )
        if self.out.resolve() == self.data.resolve():
            raise DentalzooError(
                "out must be another folder than data, of which the plots of the run would become "
                f"a part. Received: {self.out}"
            )

    def record(self) -> dict[str, Any]:
        """Return what run.json holds: what a resumed run, and every worker of a run, has too."""
        return {
            "name": self.name,
            "config": json.loads(json.dumps(dataclasses.asdict(self.config))),
            "seed": self.seed,
            **dataclasses.asdict(self.computing),
            "workers": len(self.cluster.workers) if self.cluster else None,
            "init": self.init,
        }

    def command(self) -> str:
        """Return the command that repeats the run, with file names in place of paths."""
        base = registry.configure(self.name, self.variant)
        parts = ["dentalzoo train", self.name]
        parts += ["--variant", self.variant] if self.variant else []
        parts += ["--data", self.data.resolve().name, "--out RUN", "--seed", str(self.seed)]
        parts += self.computing.arguments()
        if self.init:
            parts += ["--init", self.init if "://" in self.init else Path(self.init).name]
        files = self.files()
        for field in dataclasses.fields(self.config):
            value = getattr(self.config, field.name)
            if value != getattr(base, field.name):
                value = files.get(field.name, value)
                parts += ["--set", shlex.quote(f"{field.name}={value}")]
        return " ".join(parts)

    def files(self) -> dict[str, str | None]:
        """Return the names of the files, given in the config, that the training starts from."""
        names = [field.name for field in dataclasses.fields(self.config) if rule_of(field).init]
        return {name: file_name(getattr(self.config, name)) for name in names}


def file_name(path: str | None) -> str | None:
    """Return a file's name alone: parent folders may identify patients."""
    return Path(path).name if path else path

"""Who does a run's tasks: this process, several of this machine, or a cluster's."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from erasure_bench.bench.planning.config import AUTO, RunConfig
from erasure_bench.bench.planning.devices import CPU, DEVICE, available_devices, check_devices
from erasure_bench.bench.running.launching import Launcher, Processes
from erasure_bench.errors import BenchError

ExecutorName = Literal["local", "ray", "slurm"]
ALL = "all"


@dataclass(frozen=True, kw_only=True)
class Hands:
    """What the command line says of workers. Changes no result, and is no part of a run's config."""

    workers: int | None = None
    devices: tuple[str, ...] = ()
    executor: ExecutorName = "local"
    ray_address: str | None = None
    slurm: Mapping[str, str] = field(default_factory=dict)

    def check(self, config: RunConfig) -> None:
        """Raises BenchError where the flags do not fit together, or a device is not here or not able to."""
        if self.executor != "local":
            if self.devices:
                raise BenchError(
                    f"--devices {','.join(self.devices)} is of this machine; with --executor {self.executor} "
                    "each worker has what its own machine gives it: say how many (--workers N)"
                )
            if self.workers is None:
                raise BenchError(f"--executor {self.executor}: say how many workers (--workers N)")
        if self.ray_address is not None and self.executor != "ray":
            raise BenchError(f"--ray-address {self.ray_address} goes with --executor ray")
        if self.slurm and self.executor != "slurm":
            raise BenchError(f"--slurm {next(iter(self.slurm))}=… goes with --executor slurm")
        if self.devices and config.device != AUTO:
            raise BenchError(f"--device {config.device} and --devices {','.join(self.devices)}: give one")
        if self.executor == "local":
            flag = "--devices" if self.devices else DEVICE
            for device in self._own_devices(config):
                check_devices(config.model_copy(update={"device": device}), flag)

    def places(self, config: RunConfig) -> list[str | None]:
        """A device for each worker, None for what it finds. One place of this machine is this process."""
        if self.executor != "local":
            return [None if config.device == AUTO else config.device] * (self.workers or 1)
        spread = (self.workers or 1) > 1 and config.device == AUTO and not self.devices
        devices = _all_devices() if spread else self._own_devices(config)
        count = len(devices) if self.workers is None else self.workers
        return [devices[index % len(devices)] for index in range(count)]

    def launcher(self) -> Launcher:
        """What starts the workers; raises BenchError where a package for it is not installed."""
        if self.executor == "ray":
            from erasure_bench.bench.running.on_ray import RayTasks

            return RayTasks(self.ray_address)
        if self.executor == "slurm":
            from erasure_bench.bench.running.on_slurm import SlurmJobs

            return SlurmJobs(self.slurm)
        return Processes()

    def _own_devices(self, config: RunConfig) -> list[str]:
        if ALL in self.devices:
            return _all_devices()
        return list(dict.fromkeys(self.devices)) or [config.device]


def _all_devices() -> list[str]:
    return [name for name in available_devices() if ":" in name] or [CPU]

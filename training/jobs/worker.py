"""The worker: takes the job whose turn it is, trains it, leaves a draft; any number of them, one job a device.

Three things go on: jobs are trained, one after the other (`Worker.run`); the lease of the one in hand is renewed, and
what it tells is written down (`Lease`); files of new jobs are looked at, so that a bad one fails while another trains.
A worker that is asked to stop gives its job back between two steps. One that is lost keeps its job until another has
seen its lease lapse; the run goes on from its last checkpoint, in the home of both or from the store (`keeping.py`).
"""

from __future__ import annotations

import errno
import shutil
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import structlog

from lifecycle.errors import DabtError, InvalidInput, LeaseLost, NotFound, Unavailable
from lifecycle.home import Home
from lifecycle.jobs.nouns import Hyperparameters, Job, JobEvaluation, JobEvent, JobFault, new_id
from lifecycle.jobs.states import JobState
from lifecycle.models.base import fingerprint
from lifecycle.publishing import Shelf
from training.by_ray import WorkersLost
from training.config import TrainJob
from training.jobs import files as job_files
from training.jobs import leaving
from training.jobs.evaluating import Evaluations, evaluate
from training.jobs.files import Looked, rows_in
from training.jobs.housekeeping import sweep, tidy
from training.jobs.keeping import RunKeeper, lay_out
from training.jobs.plan import JobFiles, plan, settled, told_elsewhere
from training.jobs.watching import Interrupted, JobWatcher

log = structlog.get_logger(__name__)

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT)
_FULL = 32 * 2**20
"""Bytes on a disk, below which a failure is put down to that."""
_AWAY = "The store, the registry or the service is away: the job waits, and goes on by itself"


@dataclass(frozen=True)
class Pauses:
    """Seconds, by a clock that only counts."""

    poll: float = 1.0
    """Between two looks at an empty queue, where no hint of the registry's comes before."""
    beat: float = 2.0
    """Between two signs of life."""
    lapse: float = 30.0
    """Without one, after which a job is another worker's to take."""
    sweep: float = 60.0
    """Between two looks at what is to be cleared away."""
    longest: float = 60.0
    """Between two tries while the store or the registry is away; they begin with `poll`, and double."""


@dataclass
class Worker:
    home: Home
    shelf: Shelf
    base: Path
    pauses: Pauses = Pauses()
    checkpoint_days: int | None = None
    """How long a job's checkpoints are kept; None for ever."""
    evaluations: Evaluations = field(default_factory=Evaluations)
    beside: tuple[Path, ...] = ()
    """Further bases whose jobs it takes."""
    elsewhere: Callable[[Worker, Job, JobFiles, Lease], None] | None = None
    """Trains a job by others (`by_devices.py`); without it this process does."""
    name: str = field(default_factory=lambda: f"{socket.gethostname()[:40]}-{new_id('', 8)}")
    clock: Callable[[], float] = time.monotonic
    stop: threading.Event = field(default_factory=threading.Event)
    """Set it, and the worker gives back what it has and returns."""

    def __post_init__(self) -> None:
        self._bases = {fingerprint(base).digest: base for base in (self.base, *self.beside)}
        self._seen: dict[str, tuple[tuple[str, int], float]] = {}
        """Job's id → its holder and beat, and when they were first seen so."""
        self._jobs_changed, self._files_changed = threading.Event(), threading.Event()

    def run(self, *, once: bool = False) -> None:
        """Until it is stopped; with `once`, until nothing waits."""
        if once:
            self.validate()
            self._work(once=True)
            return
        validating = threading.Thread(target=self._validate, name="validation", daemon=True)
        validating.start()
        hints = self.shelf.registry.changes.hints(self.look_soon)
        hints.start()
        try:
            self._work(once=False)
        finally:
            hints.stop()
            validating.join(timeout=self.pauses.lapse)

    def look_soon(self) -> None:
        """Something may have changed: do not wait for the next look."""
        self._jobs_changed.set()
        self._files_changed.set()

    def _pause(self, changed: threading.Event) -> None:
        changed.wait(self.pauses.poll)
        changed.clear()

    def _work(self, *, once: bool) -> None:
        while not self.stop.is_set():
            job = self._asking(self._take)
            if job is not None:
                self._do(job)
            elif once:
                self._sweep()
                return
            else:
                self._pause(self._jobs_changed)

    # -- which job ------------------------------------------------------------------------------------------------

    def _take(self) -> Job | None:
        return self.shelf.registry.leases.take(self.name, [*self._bases], self.lapsed())

    def lapsed(self) -> dict[str, tuple[str, int]]:
        """Jobs whose holders have given no sign for a whole term of this worker's own clock."""
        held = self.shelf.registry.leases.held([*self._bases])
        now = self.clock()
        self._seen = {
            id_: self._seen[id_] if id_ in self._seen and self._seen[id_][0] == seen else (seen, now)
            for id_, seen in held.items()
        }
        return {id_: seen for id_, (seen, since) in self._seen.items() if now - since >= self.pauses.lapse}

    def _asking(self, ask: Callable[[], Job | None]) -> Job | None:
        """A registry or a store that is away is asked again at the next look."""
        try:
            return ask()
        except Unavailable as error:
            log.warning("the worker waits", problem=str(error))
            self.stop.wait(self.pauses.poll)
            return None

    def _sweep(self) -> None:
        with suppress(Unavailable):
            sweep(self.home, self.shelf, self.name, self.checkpoint_days)

    # -- files of new jobs, and what is cleared away: beside the training ------------------------------------------

    def _validate(self) -> None:
        swept = self.clock() - self.pauses.sweep
        while not self.stop.is_set():
            self._pause(self._files_changed)
            try:
                self.validate()
                if self.clock() - swept >= self.pauses.sweep:
                    swept = self.clock()
                    self._sweep()
            except Unavailable as error:
                log.warning("the worker waits", problem=str(error))
            except Exception as error:  # one job's fault must not end the looking at all others
                log.error("files could not be looked at", exc_info=error)

    def validate(self) -> None:
        """Look at the files of all jobs that wait for that. Several workers may look at one; one of them is heard."""
        for job in self.shelf.registry.leases.waiting([*self._bases], JobState.VALIDATING):
            if self.stop.is_set():
                return
            looked = self._looked_at(job)
            fault, hyper = looked.fault, settled(job, looked.rows)
            if self.shelf.registry.leases.validated(job.id, fault, self.name, looked.events, hyper):
                log.info("files looked at", job=job.id, fault=fault.code if fault else None)

    def _looked_at(self, job: Job) -> Looked:
        try:
            fetched = job_files.fetch(job, self._folder(job), self.shelf)
            return job_files.look(job, fetched)
        except Unavailable:
            raise
        except Exception as error:
            return Looked(self._fault(job, error))

    # -- one job --------------------------------------------------------------------------------------------------

    def _do(self, job: Job) -> None:
        log.info("job taken", job=job.id, tries=job.tries)
        lease = Lease(self, job)
        try:
            with lease:
                self._until_there(job, lease)
        except (Interrupted, LeaseLost) as error:
            log.info("job left", job=job.id, why=str(error))
            self._give_back(job)
        except WorkersLost as error:
            log.warning("job left", job=job.id, why=str(error))
            self._give_back(job, tried=True)
        except Exception as error:
            fault = self._fault(job, error)
            log.error(
                "job failed", job=job.id, code=fault.code, exc_info=None if isinstance(error, DabtError) else error
            )
            with suppress(LeaseLost, Unavailable):
                self.shelf.registry.leases.failed(job.id, self.name, fault)
        finally:
            with suppress(DabtError):
                tidy(self.home, self.shelf, job.id)

    def _until_there(self, job: Job, lease: Lease) -> None:
        """Train it. While the store or the registry is away it waits where it is, and goes on from its last step.

        That is no fault of the job's, so it counts as no try, and nobody else could do more with it.
        """
        pause = self.pauses.poll
        while True:
            try:
                if job.state is not JobState.EVALUATING:
                    fetched = job_files.fetch(job, self._folder(job), self.shelf)
                    self._train(job, fetched, lease)
                    job = job.model_copy(update={"state": JobState.EVALUATING})
                if job.evaluation:
                    self._evaluate(job, lease)
                return
            except WorkersLost:
                raise
            except Unavailable as error:
                log.warning("the job waits", job=job.id, problem=str(error))
                lease.warn(_AWAY)
                if lease.watch is not None and lease.watch.progress().step > job.progress.step:
                    job = job.model_copy(update={"progress": lease.watch.progress()})
                if lease.stop.wait(pause):
                    raise Interrupted(f"{job.id} is to stop") from error
                pause = min(2 * pause, self.pauses.longest)

    def planned(self, job: Job, fetched: JobFiles) -> tuple[TrainJob, Hyperparameters]:
        """The job's run, and what was settled for it."""
        hyper = job.progress.hyperparameters or settled(job, rows_in(fetched.train))
        return plan(job, fetched, self._bases[job.base], hyper), hyper

    def train_here(self, job: Job, fetched: JobFiles) -> None:
        """A job that was taken under this worker's name by another process, which waits for this one."""
        with Lease(self, job) as lease:
            self._train(job, fetched, lease)

    def _train(self, job: Job, fetched: JobFiles, lease: Lease) -> None:
        if self.elsewhere is not None:
            self.elsewhere(self, job, fetched, lease)
            return
        from training.run import train  # this takes a moment

        run, hyper = self.planned(job, fetched)
        watch = JobWatcher(job, self._folder(job), hyper, lease.seal, lease.tell, lease.stop, lease.events)
        lease.tell()  # of a try before this one
        watch.told = self.shelf.registry.leases.told(job.id)
        lease.watch = watch
        if note := told_elsewhere(job)[1]:
            watch.say(note)
        lay_out(self.shelf.registry.jobs.get(job.id, None), self.home, self._folder(job), self.shelf, watch.say)
        with RunKeeper(job, self._folder(job), self.shelf, self.name) as keeper:
            watch.keep = keeper.saved
            result = train(run, self.home, self.shelf, watch=watch)
        leaving.leave(job, result, watch, self.shelf, self._bases[job.base], self.name)
        log.info("job done", job=job.id, version=result.version.ref)

    def _evaluate(self, job: Job, lease: Lease) -> None:
        registry = self.shelf.registry
        made = registry.jobs.get(job.id, None)
        try:
            evaluation = evaluate(made, self.evaluations, self.home, registry, lease.stop)
        except (Interrupted, Unavailable):
            raise
        except Exception as error:  # the model is there, whatever becomes of its evaluation
            log.error("evaluation failed", job=job.id, exc_info=error)
            evaluation = JobEvaluation(name=job.evaluation, ruling="error", opens=f"there is no verdict: {error}")
        registry.leases.evaluated(job.id, self.name, evaluation)
        log.info("job evaluated", job=job.id, evaluation=evaluation.name, ruling=evaluation.ruling)

    def _give_back(self, job: Job, *, tried: bool = False) -> None:
        """Where it still is this worker's. It is not, as a rule, where somebody cancelled or paused it."""
        with suppress(LeaseLost, Unavailable):
            self.shelf.registry.leases.give_back(job.id, self.name, tried=tried)

    def _fault(self, job: Job, error: Exception) -> JobFault:
        if _says_full(error) or shutil.disk_usage(self.home.root).free < _FULL:
            said = "the disk of the worker is full; free some space on it, and ask for the job again"
            return JobFault(code="disk_full", message=said)
        if not (base := self._bases[job.base]).is_dir():
            return JobFault(code="base_missing", message=f"the base {base.name} is not there for the worker any more")
        if isinstance(error, InvalidInput | NotFound):
            return job_files.fault_of(error, JobFiles(self._folder(job) / "rows"), None)
        if isinstance(error, DabtError):
            return JobFault(code=error.code, message=str(error))
        said = f"the worker failed on this job ({type(error).__name__}); its log has the details"
        return JobFault(code="server_error", message=said)

    def _folder(self, job: Job) -> Path:
        return self.home.root / "jobs" / job.id


class Lease:
    """A thread that shows that the worker is alive, and writes down what the job's run tells."""

    def __init__(self, worker: Worker, job: Job) -> None:
        self._worker, self._job = worker, job
        self._leases = worker.shelf.registry.leases
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="lease", daemon=True)
        self.stop = threading.Event()
        """The run is to stop: the worker is asked to, or has the job no more."""
        self.watch: JobWatcher | None = None
        self.events: deque[JobEvent] = deque()
        """Not told yet."""
        self._telling = threading.Lock()
        self._said = ""

    def __enter__(self) -> Lease:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        with suppress(DabtError):  # what its run said last, why it failed perhaps
            self.tell()

    def warn(self, message: str) -> None:
        """Once, however often it is said."""
        if message != self._said:
            self.events.append(JobEvent(level="warn", message=message))
        self._said = message

    def seal(self) -> None:
        self.tell()
        self._leases.seal(self._job.id, self._worker.name)

    def tell(self) -> None:
        """Raises `LeaseLost`."""
        with self._telling:
            events = [self.events.popleft() for _ in range(len(self.events))]
            try:
                if events:
                    self._leases.tell(self._job.id, self._worker.name, events)
            except Unavailable:
                self.events.extendleft(reversed(events))
                raise

    def _run(self) -> None:
        while not self._over.wait(self._worker.pauses.beat):
            if self._worker.stop.is_set():
                self.stop.set()
            try:
                self.tell()
                progress = None if self.watch is None else self.watch.progress()
                self._leases.beat(self._job.id, self._worker.name, progress)
            except LeaseLost:
                self.stop.set()
                return
            except DabtError as error:
                log.warning("no sign of life could be given", job=self._job.id, problem=str(error))


def _says_full(error: BaseException | None) -> bool:
    """It, or what it comes from: libraries that write weights tell of a full disk in words of their own."""
    while error is not None:
        if getattr(error, "errno", None) in _NO_ROOM or "No space left on device" in str(error):
            return True
        error = error.__cause__ or error.__context__
    return False


@contextmanager
def device_of(home: Home) -> Iterator[None]:
    """This machine's device, for one worker of the home at a time: the others wait."""
    import fcntl
    import os

    device = os.environ.get("CUDA_VISIBLE_DEVICES", "all").replace("/", "-")
    place = home.root / "workers"
    place.mkdir(parents=True, exist_ok=True)
    with (place / f"{socket.gethostname()}-{device}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield

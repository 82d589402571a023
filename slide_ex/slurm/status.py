"""How far a project is: what its outputs, the queue and the logs of its tasks tell, with accounting or without."""
import functools
import re
import shlex
import shutil
import signal
from dataclasses import dataclass
from pathlib import Path

from slide_ex.ids import some
from slide_ex.slurm import jobs, task_lists
from slide_ex.slurm.steps import CONTINUE, Tried, in_pipeline
from slide_ex.stages import model_states, plan

LOG_TAIL_BYTES = 20000
COLUMNS = ("done", "running", "waiting", "failed", "missing", "stale")
ROW = "{:<15}{:>8}{:>9}{:>9}{:>8}{:>9}{:>8}"
EXIT = re.compile(r"^exit (\d+) after ", re.M)
COMPLAINT = re.compile(r"error|failed|killed|cancelled|no such file", re.I)
KILLED_FOR_MEMORY = re.compile(r"oom[-_ ]?kill|exceeded .*memory limit|OUT_OF_MEMORY", re.I)


@dataclass(frozen=True)
class Attempt:
    """How the latest try of a task went."""
    log: Path
    exit_code: int     # None: it did not start, or was killed before it could say how it ended
    message: str       # last line of complaint
    lacked_memory: bool
    was_retry: bool    # with more memory


def attempts(project, since=""):
    """Where (stage name, unit) was tried last, as (task list, index), in the submissions from folder `since` on."""
    latest = {}
    for folder in task_lists.folders(project, since):
        for task_list in sorted(folder.glob("*.tsv"), key=lambda path: path.stat().st_mtime_ns):
            if task_list.name != "jobs.tsv":
                for index, (_, units) in task_lists.read_task_list(task_list).items():
                    latest.update({(task_lists.stage_name(task_list), unit): (task_list, index) for unit in units})
    return latest


@functools.lru_cache(maxsize=None)
def read_attempt(task_list, index):
    """The Attempt that the last try in a task's log tells, and accounting where the log has no end."""
    log = task_lists.log_of(task_list, index)
    text = f"\n{tail(log)}".rpartition("\n# ")[2]
    ended = EXIT.findall(text)
    exit_code = int(ended[-1]) if ended else None
    state = accounted_states(task_list).get(index, "") if exit_code in (None, 128 + signal.SIGKILL) else ""
    lines = [line for line in text.splitlines()[1:] if line.strip() and line[:2] != "$ " and not EXIT.match(line)]
    complaints = [line for line in lines if COMPLAINT.search(line)] or lines or ["no message"]
    message = complaints[-1] if log.is_file() else "did not start"
    return Attempt(log, exit_code, f"{state}: {message}" if state else message,
                   bool(KILLED_FOR_MEMORY.search(f"{state}\n{text}")), task_lists.RETRY in task_list.stem)


def tried_so_far(project, asked, queued, since):
    """steps.Tried of the jobs in the queue and, with `since`, of what ended from that submission on.

    asked : dict of stage name to requests.Request
    """
    ended = {key: read_attempt(*where) for key, where in attempts(project, since).items()} if since else {}
    lacked = {key for key, attempt in ended.items() if attempt.lacked_memory and not attempt.was_retry
              and key[0] in asked and asked[key[0]].can_have_more()}
    under_way = {(job.stage_name, unit) for job in queued for unit in job.units}
    return Tried(frozenset(under_way), frozenset(ended), frozenset(lacked))


def tail(path):
    """The end of a text file; '' when it is not there."""
    if not path.is_file():
        return ""
    with open(path, "rb") as file:
        file.seek(max(0, path.stat().st_size - LOG_TAIL_BYTES))
        return file.read().decode(errors="replace")


@functools.lru_cache(maxsize=None)
def accounted_states(task_list):
    """Task index to the job's state in Slurm's accounting; empty where there is none."""
    job_id = jobs.recorded_job(task_list)
    if job_id is None or not shutil.which("sacct"):
        return {}
    try:
        rows = jobs.ask(["sacct", "-X", "-n", "-P", "-j", job_id, "-o", "JobID,State"]).splitlines()
    except OSError:
        return {}
    states = (row.split("|", 1) for row in rows)
    return {int(job.rpartition("_")[2]): state.split()[0] for job, state in states if job.rpartition("_")[2].isdigit()}


def table(project, states, queued):
    """Counts of each stage, in the words of check_project.py, and a line for each failed task.

    states : of project_states.of_project
    queued : list of jobs.Job
    """
    tried = attempts(project)
    in_queue = {(job.stage_name, unit): job.state for job in queued for unit in job.units}
    lines, failures = [ROW.format("stage", *COLUMNS)], {}
    for state in in_pipeline(states):
        count = dict.fromkeys(COLUMNS, 0)
        for unit in state.units:
            key = (state.name, unit)
            if unit not in state.stale and unit not in state.missing and unit not in state.allowed:
                count["done"] += 1
            elif key in in_queue:
                count["waiting" if in_queue[key].startswith("PENDING") else "running"] += 1
            elif key in tried and read_attempt(*tried[key]).exit_code != 0:
                count["failed"] += 1
                failures.setdefault((state.name, read_attempt(*tried[key])), []).append(unit)
            else:
                count["stale" if unit in state.stale else "missing"] += 1
        if model_states.are_unknown(state):
            lines.append(f"{state.name}: not known before " + (
                "it is fixed, see below" if state.problems else "targets.h5, features.h5 and splits.json are there"))
        else:
            lines.append(ROW.format(state.name, *count.values()))
    end_of_chain = tried.get((CONTINUE.name, CONTINUE.name))
    if end_of_chain and not queued and not all(state.is_over() for state in states):
        last = read_attempt(*end_of_chain)
        if last.message.startswith("error"):
            failures[CONTINUE.name, last] = ["the end of the chain"]
    return lines + failed_lines(failures)


def unused_options(project, states, options_of):
    """Lines for stages that nothing is left to do of, and whose last commands had other options than are given now.

    options_of : dict of stage name to words
    """
    tried, lines = attempts(project), []
    for state in states:
        options = shlex.join(options_of.get(state.name, ()))
        given = [options in command for unit in state.units if (where := tried.get((state.name, unit)))
                 for command in task_lists.read_task_list(where[0])[where[1]][0]]
        if options and state.is_over() and not (given and all(given)):
            lines.append(f"{state.name}: {state.status}, no job made it with {options}, which changes nothing now: see "
                         f"what {plan.BY_NAME[state.name].script} says with these options, and with --overwrite does")
    return lines


def failed_lines(failures):
    """Lines for dict of (stage name, attempt) to units."""
    lines = []
    for (stage_name, attempt), units in failures.items():
        end = "" if attempt.exit_code is None else f"exit {attempt.exit_code}, "
        lines.append(f"failed: {stage_name} {some(units, 3)}: {end}{attempt.message} ({attempt.log})")
    return lines

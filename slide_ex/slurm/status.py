"""How far a project is: what its outputs, the queue and the logs of its tasks tell, with accounting or without."""
import functools
import re
import shutil
import signal
from dataclasses import dataclass
from pathlib import Path

from slide_ex.slurm import jobs, plan, task_lists

LOG_TAIL_BYTES = 20000
ROW = "{:<15}{:>8}{:>9}{:>9}{:>8}{:>9}"
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
    log = task_list.with_name(f"{task_list.stem}_{index}.log")
    text = f"\n{tail(log)}".rpartition("\n# ")[2]
    ended = EXIT.findall(text)
    exit_code = int(ended[-1]) if ended else None
    state = accounted_states(task_list).get(index, "") if exit_code in (None, 128 + signal.SIGKILL) else ""
    lines = [line for line in text.splitlines()[1:] if line.strip() and line[:2] != "$ " and not EXIT.match(line)]
    complaints = [line for line in lines if COMPLAINT.search(line)] or lines or ["no message"]
    message = complaints[-1] if log.is_file() else "did not start"
    return Attempt(log, exit_code, f"{state}: {message}" if state else message,
                   bool(KILLED_FOR_MEMORY.search(f"{state}\n{text}")), "-retry" in task_list.stem)


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


def table(project, stages, jobs, allow_missing):
    """Counts of each stage and a line for each failed task; whether all units are there, but `allow_missing` slides.

    Returns
    -------
    lines : list of str
    is_finished : bool
    """
    tried = attempts(project)
    states = {(job.stage_name, unit): job.state for job in jobs for unit in job.units}
    lines, failures, is_finished = [ROW.format("stage", "done", "running", "waiting", "failed", "missing")], {}, True
    for stage in stages:
        if stage.name == "folds" and not plan.folds_are_known(project):
            lines.append("folds, results and figures are not known before targets.h5, features.h5 and splits.json")
            is_finished = False
            break
        lacking = plan.missing(project, stage.name)
        count = dict.fromkeys(("running", "waiting", "failed", "missing"), 0)
        for unit in lacking:
            key = (stage.name, unit)
            if key in states:
                count["waiting" if states[key].startswith("PENDING") else "running"] += 1
            elif key in tried:
                count["failed"] += 1
                failures.setdefault((stage.name, read_attempt(*tried[key])), []).append(unit)
            else:
                count["missing"] += 1
        n_units = len(plan.units(project, stage.name))
        lines.append(ROW.format(stage.name, n_units - len(lacking), *count.values()))
        is_finished &= len(lacking) <= (allow_missing if stage.name == "slides" else 0)
    end_of_chain = tried.get(("continue", "continue"))
    if end_of_chain and not jobs and not is_finished and read_attempt(*end_of_chain).message.startswith("error"):
        failures["continue", read_attempt(*end_of_chain)] = ["the end of the chain"]
    return lines + failed_lines(failures), is_finished


def doubts(project):
    """A line when models are older than what they learn from: only its content tells whether they are outdated."""
    if not plan.folds_are_known(project):
        return []
    inputs = [plan.SINGLE[name][1] for name in plan.FOLDS_NEED]
    learned_from = {name: (project / name).stat().st_mtime for name in inputs}
    made = [output.stat().st_mtime for outputs in plan.units(project, "folds").values() for output in outputs
            if output.exists()]
    newer = [name for name, moment in learned_from.items() if any(of_model < moment for of_model in made)]
    n_older = sum(moment < max(learned_from.values()) for moment in made)
    return [f"{n_older} models are older than {' and '.join(newer)}: data/check_project.py tells whether they must be "
            "trained again"] if n_older else []


def failed_lines(failures):
    """Lines for dict of (stage name, attempt) to units."""
    lines = []
    for (stage_name, attempt), units in failures.items():
        others = f" and {len(units) - 3} more" if len(units) > 3 else ""
        end = "" if attempt.exit_code is None else f"exit {attempt.exit_code}, "
        lines.append(f"failed: {stage_name} {', '.join(units[:3])}{others}: {end}{attempt.message} ({attempt.log})")
    return lines

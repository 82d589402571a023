"""Jobs of Slurm: what is in the queue, and how a job array gets there and is recorded.

Slurm knows a job by the path of its script, so jobs of a project are recognised in the queue even when sbatch was cut
off before it could say which id it got.
"""
import getpass
import os
import re
import shlex
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from slide_ex.slurm import task_lists

JOB_ID = re.compile(r"\s*(\d+)(?:;[\w.-]+)?\s*")    # of sbatch --parsable: id, and cluster
OURS, COMMAND = "slide-ex|", "|COMMAND"             # begin each line of squeue's reply, and end the first of them
IN_QUEUE = re.compile(r"(\d+)\|([^|]*)\|([A-Z_]+)\|([^|]*)\|(.*)")    # the others, as `queue` asks for them


@dataclass(frozen=True)
class Job:
    """One task in the queue."""
    job_id: str
    index: int
    state: str    # as Slurm names it, with the reason where it waits
    script: Path

    @property
    def stage_name(self):
        return task_lists.stage_name(self.script)

    @property
    def units(self):
        return task_lists.read_task_list(self.script.with_suffix(".tsv"))[self.index][1]


def ask(command):
    """What a Slurm command prints; OSError with its complaint when it fails."""
    if not shutil.which(command[0]):
        raise OSError(f"there is no {command[0]} on this machine: use a login node of the cluster, or --local N")
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, universal_newlines=True)
    if done.returncode:
        raise OSError(f"{command[0]} failed: {' '.join(done.stderr.split()) or done.returncode}")
    return done.stdout


def queue(project):
    """What the user has in the queue: jobs of this project, without the one that asks, and the number of all.

    OSError for a reply that is not what was asked for: it must not pass for an empty queue.
    """
    if not shutil.which("squeue"):
        return [], 0
    reply = ask(["squeue", "-r", "-u", getpass.getuser(), "-o", f"{OURS}%F|%K|%T|%r|%o"])
    lines = [line.removeprefix(OURS) for line in reply.splitlines() if line.startswith(OURS)]    # without banners
    jobs = [IN_QUEUE.fullmatch(line) for line in lines[1:]]
    if not lines or not lines[0].endswith(COMMAND) or None in jobs:
        raise OSError(f"squeue answered otherwise than it was asked: {' '.join(reply.split())[:300] or 'nothing'}")
    folder, own, found = project / "logs" / "slurm", os.environ.get("SLURM_ARRAY_JOB_ID"), []
    for job_id, index, state, reason, script in (job.groups() for job in jobs):
        if folder in Path(script).parents and job_id != own:
            found.append(Job(job_id, int(index), f"{state} ({reason})" if state == "PENDING" else state, Path(script)))
    return found, len(jobs)


def max_array_size():
    """The cluster's MaxArraySize; Slurm's default where no cluster answers."""
    try:
        answer = re.search(r"^\s*MaxArraySize\s*=\s*(\d+)", ask(["scontrol", "show", "config"]), re.M)
    except OSError:
        answer = None
    return int(answer[1]) if answer else 1001


def hand_over(script, command):
    """Submit a job array, whose files are there, and record it; its job id."""
    job_id = job_id_in(ask(command))
    with open(script.with_name("jobs.tsv"), "a") as file:
        file.write(f"{script.stem}\t{job_id}\t{shlex.join(command)}\n")
    print(f"submitted: {script.stem}, job {job_id}", flush=True)
    return job_id


def job_id_in(reply):
    """The job id in a reply of `sbatch --parsable`, beside whatever a centre prints; OSError where there is none."""
    found = [line[1] for line in map(JOB_ID.fullmatch, reply.splitlines()) if line]
    if len(found) != 1:
        raise OSError(f"sbatch answered without a job id: {' '.join(reply.split())[:300] or 'nothing'}")
    return found[0]


def recorded_job(task_list):
    """The job id that jobs.tsv has for a task list, or None."""
    path = task_list.with_name("jobs.tsv")
    rows = [line.split("\t") for line in path.read_text().splitlines()] if path.is_file() else []
    return next((row[1] for row in rows if row[0] == task_list.stem), None)

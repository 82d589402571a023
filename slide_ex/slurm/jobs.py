"""Tasks as job arrays: the queue, what Slurm is asked for, and the submission.

Slurm knows a job by the path of its script, so jobs of a project are recognised in the queue even when sbatch was cut
off before it could say which id it got.
"""
import getpass
import os
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from slide_ex.slurm import requests, task_lists
from slide_ex.stages import plan

JOB_ID = re.compile(r"\s*(\d+)(?:;[\w.-]+)?\s*")    # of sbatch --parsable: id, and cluster
OURS, COMMAND = "slide-ex|", "|COMMAND"             # begin each line of squeue's reply, and end the first of them
IN_QUEUE = re.compile(r"(\d+)\|([^|]*)\|([A-Z_]+)\|([^|]*)\|(.*)")    # the others, as `queue` asks for them
SCRIPT = """#!/bin/bash
cd {cwd} || exit 1
{setup}
exec {command} "$SLURM_ARRAY_TASK_ID"
"""


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


def submit(folder, steps, queued, args):
    """Submit the job arrays of the steps, each after all that come before its stage; the last one after everything.

    All or nothing: Slurm is asked first whether it would take every one of them.

    queued : list of Job
    With args.dry_run everything is printed instead.
    """
    order, limit, submitted, own = [stage.name for stage in plan.PIPELINE], max_array_size(), {}, []
    for job in queued:
        submitted.setdefault(job.stage_name, {})[job.job_id] = None  # a dict for its order
    if not args.dry_run:
        steps = [step for step in steps if is_accepted(folder, step, limit, args)]
    for step in steps:
        name = step.stage.name
        before = plan.ancestors(name) | {name} if name in order else set(order)
        after = [job_id for other in order if other in before for job_id in submitted.get(other, ())]
        for script, tasks in arrays(folder, step, limit):
            command = sbatch(script, step, tasks, after, args)
            try:
                job_id = (show(script, command, files(script, tasks, args)) if args.dry_run
                          else hand_over(script, command))
            except OSError as error:
                raise OSError(f"{script.stem}: {error}; {take_back(own)}; {requests.advice(str(error))}") from None
            own.append(job_id)
            submitted.setdefault(name, {})[job_id] = None
            if args.max_running:
                after = [*after, job_id]  # Slurm's limit is for one array: the next one of the step waits


def arrays(folder, step, max_array_size):
    """(script, tasks) of the job arrays of a step: Slurm accepts no index above MaxArraySize - 1."""
    pieces = [step.tasks[i:i + max_array_size] for i in range(0, len(step.tasks), max_array_size)]
    return [(folder / (f"{step.name}.sh" if len(pieces) == 1 else f"{step.name}-{n}.sh"), piece)
            for n, piece in enumerate(pieces, 1)]


def is_accepted(folder, step, max_array_size, args):
    """Write the files of a step, and whether Slurm would take it.

    OSError, and nothing is left of the submission, when it would not. A retry that asks for more memory than a node has
    is left out, and said, in the logs of its tasks, too: what it is for has failed, and its task list tells the next
    submission that it was tried.
    """
    for script, tasks in arrays(folder, step, max_array_size):
        for path, text in files(script, tasks, args).items():
            path.write_text(text)
        command = sbatch(script, step, tasks, [], args)
        try:
            ask([command[0], "--test-only", *command[1:]])
        except OSError as error:
            if step.is_retry and not requests.PASSING.search(str(error)):
                print(f"not tried again: {script.stem}: {error}")
                for index in range(len(tasks)):
                    with open(task_lists.log_of(script, index), "w") as log:
                        task_lists.begin_log(log, "not submitted")
                        print("error: killed for memory, and twice as much is refused:", *str(error).split(), file=log)
                return False
            shutil.rmtree(folder)
            raise OSError(f"{script.stem}: {error}; nothing was submitted; {requests.advice(str(error))}") from None
    return True


def take_back(job_ids):
    """Cancel what was submitted of a submission that breaks off; says how it went."""
    if not job_ids:
        return "nothing was submitted"
    try:
        ask(["scancel", *job_ids])
    except OSError:
        return f"in the queue: {', '.join(job_ids)}"
    return f"cancelled again: {', '.join(job_ids)}"


def files(script, tasks, args):
    """Text of the task list and of the script of a job array, by path."""
    list_path = script.with_suffix(".tsv")
    return {list_path: task_lists.task_list(tasks), script: job_script(list_path, args)}


def job_script(list_path, args):
    """Text of the script that all tasks of a list run."""
    command = [sys.executable, str(plan.ROOT / "submit_slurm.py"), str(args.project_path), "--run-task", str(list_path)]
    return SCRIPT.format(cwd=shlex.quote(os.getcwd()), setup=args.setup, command=shlex.join(command))


def sbatch(script, step, tasks, after, args):
    """The command that submits an array; it starts when the jobs `after` have ended, well or not."""
    limit = f"%{args.max_running}" if args.max_running else ""
    return ["sbatch", "--parsable", f"--job-name={script.stem} {script.parents[3].name}",
            f"--array=0-{len(tasks) - 1}{limit}", f"--chdir={script.parent}",
            f"--output={task_lists.log_of(script, '%a').name}", "--open-mode=append", "--requeue",
            *([f"--dependency=afterany:{':'.join(after)}", "--kill-on-invalid-dep=yes"] if after else []),
            *requests.resources(step.stage, max(len(task.units) for task in tasks), args, step.is_retry), str(script)]


def show(script, command, texts):
    """Print a submission; a name in place of the job id."""
    print(f"{shlex.join(command)}\n")
    for path, text in texts.items():
        print(f"--- {path}\n{text}")
    return f"<{script.stem}>"


def hand_over(script, command):
    """Submit a job array, whose files `is_accepted` has written, and record it; its job id."""
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

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

from slide_ex.slurm import task_lists
from slide_ex.stages import plan

JOB_ID = re.compile(r"\s*(\d+)(?:;[\w.-]+)?\s*")                      # of sbatch --parsable: id, and cluster
IN_QUEUE = re.compile(r"(\d+)\|(\d+)\|([A-Z_]+)\|([^|]*)\|(.*)")     # of squeue, as `queue` asks it
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
    """Jobs of this project and user in the queue, without the one that asks; none where there is no Slurm."""
    if not shutil.which("squeue"):
        return []
    folder, own = project / "logs" / "slurm", os.environ.get("SLURM_ARRAY_JOB_ID")
    found = []
    for line in ask(["squeue", "-h", "-r", "-u", getpass.getuser(), "-o", "%F|%K|%T|%r|%o"]).splitlines():
        answer = IN_QUEUE.fullmatch(line)
        if not answer:      # a banner, as some centres print one, or a job that is no array
            continue
        job_id, index, state, reason, script = answer.groups()
        if folder in Path(script).parents and job_id != own:
            found.append(Job(job_id, int(index), f"{state} ({reason})" if state == "PENDING" else state, Path(script)))
    return found


def max_array_size():
    """The cluster's MaxArraySize; Slurm's default where no cluster answers."""
    try:
        answer = re.search(r"^\s*MaxArraySize\s*=\s*(\d+)", ask(["scontrol", "show", "config"]), re.M)
    except OSError:
        answer = None
    return int(answer[1]) if answer else 1001


def arrays(step, max_array_size):
    """(name, tasks) of the job arrays of a step: Slurm accepts no index above MaxArraySize - 1."""
    pieces = [step.tasks[i:i + max_array_size] for i in range(0, len(step.tasks), max_array_size)]
    return [(step.name if len(pieces) == 1 else f"{step.name}-{n}", piece) for n, piece in enumerate(pieces, 1)]


def submit(folder, steps, queued, args):
    """Submit the job arrays of the steps, each after all that come before its stage; the last one after everything.

    queued : list of Job
    With args.dry_run everything is printed instead.
    """
    order, limit, submitted = [stage.name for stage in plan.PIPELINE], max_array_size(), {}
    for job in queued:
        submitted.setdefault(job.stage_name, {})[job.job_id] = None  # a dict for its order
    for step in steps:
        name = step.stage.name
        before = plan.ancestors(name) | {name} if name in order else set(order)
        after = [job_id for other in order if other in before for job_id in submitted.get(other, ())]
        for array, tasks in arrays(step, limit):
            script, list_path = folder / f"{array}.sh", folder / f"{array}.tsv"
            files = {list_path: task_lists.task_list(tasks), script: job_script(list_path, args)}
            options = resources(step, max(len(task.units) for task in tasks), args)
            command = sbatch(script, len(tasks), options, args.max_running, after)
            job_id = (show if args.dry_run else hand_over)(script, command, files)
            submitted.setdefault(name, {})[job_id] = None
            if args.max_running:
                after = [*after, job_id]  # Slurm's limit is for one array: the next one of the step waits


def job_script(list_path, args):
    """Text of the script that all tasks of a list run."""
    command = [sys.executable, str(plan.ROOT / "submit_slurm.py"), str(args.project_path), "--run-task", str(list_path)]
    return SCRIPT.format(cwd=shlex.quote(os.getcwd()), setup=args.setup, command=shlex.join(command))


def sbatch(script, n_tasks, options, max_running, after):
    """The command that submits an array; it starts when the jobs `after` have ended, well or not."""
    return ["sbatch", "--parsable", f"--job-name={script.stem} {script.parents[3].name}",
            f"--array=0-{n_tasks - 1}{f'%{max_running}' if max_running else ''}", f"--chdir={script.parent}",
            f"--output={script.stem}_%a.log", "--open-mode=append", "--requeue",
            *([f"--dependency=afterany:{':'.join(after)}", "--kill-on-invalid-dep=yes"] if after else []),
            *options, str(script)]


def show(script, command, files):
    """Print a submission; a name in place of the job id."""
    print(f"{shlex.join(command)}\n")
    for path, text in files.items():
        print(f"--- {path}\n{text}")
    return f"<{script.stem}>"


def hand_over(script, command, files):
    """Write the files of a job array, submit it and record it; its job id."""
    for path, text in files.items():
        path.write_text(text)
    try:
        job_id = job_id_in(ask(command))
    except OSError as error:
        raise OSError(f"{error}; run the same command again: it recognises what is in the queue") from None
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


def setting(values, stage, default):
    """A value given for a stage, or for all, or the default; `values` as submit_slurm.by_stage makes them."""
    return values.get(stage.name, values.get("", default))


def resources(step, n_units, args):
    """Options of sbatch for a step of which the largest task has `n_units` units."""
    stage, needs = step.stage, step.stage.needs
    minutes, memory = needs.minutes * n_units, setting(args.mem, stage, f"{needs.memory_gb}G")
    if step.is_retry:
        number = re.match(r"\d*", memory)[0]
        memory = f"{2 * int(number)}{memory[len(number):]}"
    gres = setting(args.gres, stage, needs.gres) if needs.gres else args.gres.get(stage.name, "")
    options = {"time": setting(args.time, stage, f"{minutes // 60}:{minutes % 60:02}:00"), "mem": memory,
               "cpus-per-task": setting(args.cpus_per_task, stage, needs.cpus), "gres": "" if gres == "none" else gres,
               "partition": setting(args.partition, stage, ""), "account": setting(args.account, stage, ""),
               "constraint": setting(args.constraint, stage, "")}
    return [*(f"--{name}={value}" for name, value in options.items() if value),
            *shlex.split(args.sbatch_args.get("", "")), *shlex.split(args.sbatch_args.get(stage.name, ""))]

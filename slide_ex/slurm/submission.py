"""Steps as job arrays: their files, what sbatch is asked for, and the submission, all or nothing."""
import os
import shlex
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from slide_ex.slurm import jobs, requests, steps, task_lists
from slide_ex.stages import plan

SCRIPT = """#!/bin/bash
cd {cwd} || exit 1
{setup}
exec {command} "$SLURM_ARRAY_TASK_ID"
"""


@dataclass(frozen=True)
class Terms:
    """What all jobs of a project have in common, and what Slurm is asked for, for each stage."""
    project: Path
    setup: str                  # shell commands before each task
    max_running: int | None     # tasks of a stage at a time
    requests: dict              # stage name to requests.Request


@dataclass(frozen=True)
class Array:
    """A step, or a part of one, that is submitted as one job array; its task list lies beside its script."""
    step: steps.Step
    tasks: tuple
    script: Path


def submit(folder, todo, queued, terms, is_dry_run):
    """Submit the job arrays of the steps, each after all that come before its stage; the last one after everything.

    All or nothing: Slurm is asked first whether it would take every one of them.

    todo : list of steps.Step
    queued : list of Job
    is_dry_run : print everything instead
    """
    order, submitted, own = [stage.name for stage in plan.PIPELINE], {}, []
    for job in queued:
        submitted.setdefault(job.stage_name, {})[job.job_id] = None  # a dict for its order
    limit = jobs.max_array_size()
    of_steps = [arrays(folder, step, limit) for step in todo]
    if not is_dry_run:
        of_steps = accepted(folder, of_steps, terms)
    for of_step in of_steps:
        name = of_step[0].step.stage.name
        before = plan.ancestors(name) | {name} if name in order else set(order)
        after = [job_id for other in order if other in before for job_id in submitted.get(other, ())]
        for array in of_step:
            command = sbatch(array, after, terms)
            try:
                job_id = show(array, command, terms) if is_dry_run else jobs.hand_over(array.script, command)
            except OSError as error:
                raise refused(array, str(error), take_back(own)) from None
            own.append(job_id)
            submitted.setdefault(name, {})[job_id] = None
            if terms.max_running:
                after = [*after, job_id]  # Slurm's limit is for one array: the next one of the step waits


def arrays(folder, step, max_array_size):
    """The Arrays of a step: Slurm accepts no index above MaxArraySize - 1."""
    pieces = [step.tasks[i:i + max_array_size] for i in range(0, len(step.tasks), max_array_size)]
    names = [step.name] if len(pieces) == 1 else [f"{step.name}-{n}" for n in range(1, len(pieces) + 1)]
    return [Array(step, piece, folder / f"{name}.sh") for name, piece in zip(names, pieces)]


def accepted(folder, of_steps, terms):
    """Of the arrays of each step those of the steps that Slurm would take; their files are written.

    OSError, and nothing is left of the submission, when it would not take a step. A retry that asks for more memory
    than a node has is left out, and said, in the logs of its tasks, too: what it is for has failed, and its task list
    tells the next submission that it was tried.
    """
    found = []
    for of_step in of_steps:
        for array in of_step:
            write_files(array, terms)
        refusal = first_refusal(of_step, terms)
        if not refusal:
            found.append(of_step)
        elif refusal[0].step.is_retry and not requests.PASSING.search(refusal[1]):
            leave_out(of_step, *refusal)
        else:
            shutil.rmtree(folder)
            raise refused(*refusal, "nothing was submitted")
    return found


def write_files(array, terms):
    for path, text in files(array, terms).items():
        path.write_text(text)


def first_refusal(of_step, terms):
    """The first array that Slurm would not take, and its complaint; None where it would take all."""
    for array in of_step:
        command, *words = sbatch(array, [], terms)
        try:
            jobs.ask([command, "--test-only", *words])
        except OSError as error:
            return array, str(error)
    return None


def leave_out(of_step, refused_array, complaint):
    """Say of the arrays of a retry that they are not submitted, as one of them is refused."""
    print(f"not tried again: {refused_array.script.stem}: {complaint}")
    for array in of_step:
        task_lists.log_as_not_submitted(array.script, len(array.tasks),
                                        f"killed for memory, and twice as much is refused: {complaint}")


def refused(array, complaint, what_is_left):
    """The error of a submission that breaks off at an array."""
    return OSError(f"{array.script.stem}: {complaint}; {what_is_left}; {requests.advice(complaint)}")


def take_back(job_ids):
    """Cancel what was submitted of a submission that breaks off; says how it went."""
    if not job_ids:
        return "nothing was submitted"
    try:
        jobs.ask(["scancel", *job_ids])
    except OSError:
        return f"in the queue: {', '.join(job_ids)}"
    return f"cancelled again: {', '.join(job_ids)}"


def files(array, terms):
    """Text of the task list and of the script of a job array, by path."""
    list_path = array.script.with_suffix(".tsv")
    return {list_path: task_lists.task_list(array.tasks), array.script: job_script(list_path, terms)}


def job_script(list_path, terms):
    """Text of the script that all tasks of a list run."""
    command = [sys.executable, str(plan.ROOT / "submit_slurm.py"), str(terms.project), "--run-task", str(list_path)]
    return SCRIPT.format(cwd=shlex.quote(os.getcwd()), setup=terms.setup, command=shlex.join(command))


def sbatch(array, after, terms):
    """The command that submits an array; it starts when the jobs `after` have ended, well or not."""
    script, n_units = array.script, max(len(task.units) for task in array.tasks)
    limit = f"%{terms.max_running}" if terms.max_running else ""
    return ["sbatch", "--parsable", f"--job-name={script.stem} {script.parents[3].name}",
            f"--array=0-{len(array.tasks) - 1}{limit}", f"--chdir={script.parent}",
            f"--output={task_lists.log_of(script, '%a').name}", "--open-mode=append", "--requeue",
            *([f"--dependency=afterany:{':'.join(after)}", "--kill-on-invalid-dep=yes"] if after else []),
            *terms.requests[array.step.stage.name].words(n_units, array.step.is_retry), str(script)]


def show(array, command, terms):
    """Print a submission; a name in place of the job id."""
    print(f"{shlex.join(command)}\n")
    for path, text in files(array, terms).items():
        print(f"--- {path}\n{text}")
    return f"<{array.script.stem}>"

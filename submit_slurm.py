"""The whole pipeline as Slurm job arrays, or on this machine: submits what a project lacks, and nothing twice.

What is submitted is what data/check_project.py calls missing or stale. Jobs are chained, each starting when those
before it have ended, well or not: a stage checks its own inputs, says in one line what is missing and fails, so that
one bad slide never leaves jobs waiting for ever. At the end of a chain a small job runs this command again: it submits
the models as soon as targets, features and folds are there, and once more, with twice the memory, what was killed for
memory. Other failures stay for you: see --status, fix them, and run the same command again.

Reads   <project_path>: all that data/check_project.py reads
Writes  <project_path>/logs/slurm/<time>/ (task lists, job scripts, logs); the stages write everything else

    python submit_slurm.py my_project --partition norm --partition slides:gpu

Options with [STAGE:] are given as VALUE for all stages, as STAGE:VALUE for one, and as often as needed.
"""
import argparse
import collections
import os
import shlex
import signal
import sys
from pathlib import Path

from slide_ex import script, sharing
from slide_ex.project import model_folder
from slide_ex.slurm import jobs, requests, status, steps, submission, task_lists
from slide_ex.stages import model_states, plan, project_states

SLIDES_PER_TASK = 16  # 7 s of start-up are 5 % of a task on a GPU (300 tiles/s, 2,400 tiles a slide), less on CPUs
FOLDS_PER_TASK = 5    # the inner models of one outer fold: 7 s of start-up against minutes
STAGES = [stage.name for stage in plan.PIPELINE]


def arguments():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("project_path", type=lambda text: Path(text).resolve(),
                   help="the project folder, see data/README.md")
    what = p.add_mutually_exclusive_group()
    what.add_argument("--dry-run", action="store_true", help="print scripts, task lists and commands, submit nothing")
    what.add_argument("--commands", metavar="STAGE", choices=STAGES,
                      help="print the commands that a stage lacks, one a line, for another scheduler")
    what.add_argument("--status", action="store_true", help="what is done, runs, waits, failed (and why), is missing")
    what.add_argument("--local", type=positive, metavar="N", help="run on this machine, N tasks at a time")
    what.add_argument("--run-task", nargs=2, metavar=("LIST", "INDEX"), help=argparse.SUPPRESS)  # what a job does
    p.add_argument("--model", choices=[*model_folder.MODELS, model_folder.BOTH],
                   help="models to train of all targets, as the training scripts take it; default: of the kinds that "
                        "are there, networks where there are none")
    p.add_argument("--slides-per-task", type=positive, default=SLIDES_PER_TASK, metavar="N", help="default %(default)s")
    p.add_argument("--folds-per-task", type=positive, default=FOLDS_PER_TASK, metavar="N",
                   help="models of one target, default %(default)s")
    p.add_argument("--max-running", type=positive, metavar="N", help="tasks of a stage at a time")
    p.add_argument("--allow-missing", type=int, default=0, metavar="N", help="go on without up to N slides that fail")
    p.add_argument("--max-submitted", type=positive, metavar="N",
                   help="jobs that you may have in the queue; the chain submits later what does not fit")
    for option in ("partition", "account", "constraint", "time", "mem", "mem-per-cpu", "cpus-per-task"):
        p.add_argument(f"--{option}", action="append", default=[], metavar="[STAGE:]VALUE",
                       help="as sbatch takes it" + ("; none: do not ask for it" if option.startswith("mem") else ""))
    p.add_argument("--gres", action="append", default=[], metavar="[STAGE:]VALUE",
                   help="without STAGE for the stages that use a GPU (slides); none for no GPU")
    p.add_argument("--sbatch-args", action="append", default=[], metavar="[STAGE:]ARGS", help="more options of sbatch")
    p.add_argument("--stage-args", action="append", default=[], metavar="STAGE:ARGS",
                   help="more options of a stage's script, such as 'slides:--weights random'")
    p.add_argument("--setup", default="", metavar="COMMANDS", help="shell commands before each task, such as "
                   "'module load cuda; source .venv/bin/activate'")
    p.add_argument("--python", help="for the stages; default: .venv/bin/python of the repository, else python")
    p.add_argument("--continue", dest="since", metavar="FOLDER", help=argparse.SUPPRESS)  # by the last job of a chain
    return p.parse_args()


def main(args):
    if args.run_task:
        return run_task(Path(args.run_task[0]), int(args.run_task[1]))
    if not args.project_path.is_dir():
        raise ValueError(f"{args.project_path} is not a folder: give the project folder (data/README.md)")
    asked = requests_of(args)
    work = work_of(args, asked)
    if args.status:
        report(args, queue(args)[0])
        return 0
    if args.commands:
        return print_commands(args, work)
    if args.dry_run:
        return submit(args, work, asked)
    with task_lists.only_one(args.project_path, is_waiting=args.since):
        return run_here(args, work, asked) if args.local else submit(args, work, asked)


def requests_of(args):
    """What Slurm is asked for: dict of stage name to requests.Request."""
    given = {option: by_stage(vars(args)[option.replace("-", "_")]) for option in requests.OPTIONS}
    return requests.of_stages((*plan.PIPELINE, steps.CONTINUE), given)


def work_of(args, asked):
    """How the work is cut into tasks: steps.Work."""
    stage_args = by_stage(args.stage_args)
    if "" in stage_args:
        raise ValueError(f"--stage-args {' '.join(stage_args[''])}: say of which stage, such as "
                         "'slides:--weights random'")
    own = plan.ROOT / ".venv" / "bin" / "python"
    cpus_here = max(1, sharing.n_cpus() // args.local) if args.local else None
    return steps.Work(args.project_path, args.python or (str(own) if own.exists() else sys.executable),
                      args.slides_per_task, args.folds_per_task, args.allow_missing,
                      cpus_of={name: cpus_here or request.cpus for name, request in asked.items()},
                      options_of={name: shlex.split(" ".join(values)) for name, values in stage_args.items()})


def print_commands(args, work):
    """Print the commands that a stage lacks."""
    state = next(state for state in sound_states(args) if state.name == args.commands)
    if model_states.are_unknown(state):
        raise ValueError(f"{state.name}: " + (state.problems[0] if state.problems else (
            "models are not known before targets.h5, features.h5 and splits.json are there")))
    for task in steps.tasks(state, [*state.stale, *state.missing], work):
        print(*task.commands, sep="\n")
    return 0


def positive(text):
    """An int from 1 up, for argparse."""
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text}: give a number from 1 up")
    return int(text)


def by_stage(values):
    """['norm', 'slides:gpu'] as {'': ['norm'], 'slides': ['gpu']}."""
    found = {}
    for value in values:
        name, colon, rest = value.partition(":")
        if not colon or name not in (*STAGES, steps.CONTINUE.name):
            name, rest = "", value
        found.setdefault(name, []).append(rest)
    return found


def states_of(args):
    """The states of all stages."""
    return project_states.of_project(args.project_path, model_folder.kinds(args.model) if args.model else ())


def sound_states(args):
    """The states of all stages; ValueError where the inputs themselves are wrong."""
    states = states_of(args)
    inputs = states[0]
    if inputs.problems:
        raise ValueError(f"{inputs.name}: {inputs.problems[0]}")
    return states


def steps_now(args, work, asked, queued, since):
    """The steps to submit now; at the start of a chain with lines about options that change nothing."""
    states = sound_states(args)
    if not since:
        for line in status.unused_options(args.project_path, states, work.options_of):
            print(line)
    return steps.make(states, work, status.tried_so_far(args.project_path, asked, queued, since))


def queue(args):
    """jobs.queue; where Slurm does not answer and nothing would be submitted, nothing, and a line that says so."""
    try:
        return jobs.queue(args.project_path)
    except OSError as error:
        if not (args.status or args.dry_run):
            raise
        print(f"what runs and waits is not known: {error}")
        return [], 0


def submit(args, work, asked):
    """Submit what is missing or stale and not in the queue, and after it the job that goes on."""
    if set(str(args.project_path)) & set("%\\\n\t"):
        raise ValueError(f"Slurm cannot write logs to {args.project_path}: rename it without % and \\")
    queued, n_submitted = queue(args)  # before the outputs: a task that ends now is seen here or there
    in_queue = collections.Counter((job.stage_name, job.job_id, job.state) for job in queued)
    for (name, job_id, state), n_tasks in in_queue.items():
        print(f"in the queue: {name}, job {job_id}: {n_tasks} {state}")
    if any(job.stage_name == steps.CONTINUE.name for job in queued):
        print("nothing to submit: the job `continue` goes on with what is left")
        return 0
    todo = steps_now(args, work, asked, queued, args.since)
    if not todo and not queued:
        return conclude(args)
    todo = within_limit(todo, n_submitted, args.max_submitted)
    folder = task_lists.new_folder(args.project_path, args.dry_run)
    given = sys.argv[1:-2] if args.since else sys.argv[1:]
    again = [sys.executable, str(Path(__file__).resolve()), *(word for word in given if word != "--dry-run"),
             "--continue", args.since or folder.name]
    todo.append(steps.Step(steps.CONTINUE, (steps.Task((shlex.join(again),), (steps.CONTINUE.name,)),)))
    terms = submission.Terms(args.project_path, args.setup, args.max_running, asked)
    submission.submit(folder, todo, queued, terms, args.dry_run)
    return 0


def within_limit(todo, n_submitted, limit):
    """The steps, or the part of them that fits beside what is in the queue and the job that goes on."""
    if not limit or not todo:
        return todo
    fitting = steps.fitting(todo, max(0, limit - n_submitted - 1))
    if not fitting:
        raise ValueError(f"--max-submitted {limit}: {n_submitted} jobs of yours are in the queue; run the same command "
                         "again when there are fewer")
    return fitting


def run_here(args, work, asked):
    """The plan on this machine, until nothing is left that was not tried."""
    since = ""
    signal.signal(signal.SIGINT, task_lists.stop)
    signal.signal(signal.SIGTERM, task_lists.stop)
    while todo := steps_now(args, work, asked, [], since):
        folder = task_lists.new_folder(args.project_path)
        since = since or folder.name
        for step in todo:
            task_lists.run_here(folder, step, args.local, work.cpus_of[step.stage.name])
        if task_lists.stopping.is_set():
            raise ValueError("stopped: run the same command again to go on")
    return conclude(args)


def run_task(task_list, index):
    """What a job does."""
    signal.signal(signal.SIGTERM, task_lists.stop)
    job = f"{os.uname().nodename}, job {os.environ['SLURM_ARRAY_JOB_ID']}_{index}"
    return task_lists.run_task(task_list, index, sys.stdout, os.environ["SLURM_CPUS_PER_TASK"], job)


def report(args, queued):
    """Print the status; whether everything is there."""
    states = states_of(args)
    problems = [f"to be fixed: {state.name}: {problem}" for state in states for problem in state.problems]
    print(*status.table(args.project_path, states, queued), *problems, sep="\n")
    return all(state.is_over() for state in states)


def conclude(args):
    """What to say where nothing is left to do: exit code 1 when something lacks all the same."""
    if report(args, []):
        print("finished")
        return 0
    print("stopped: fix what failed and run the same command again; it does only what is left")
    return 1


if __name__ == "__main__":
    try:
        sys.exit(main(arguments()))
    except KeyboardInterrupt:
        sys.exit(script.STOPPED)
    except (ValueError, OSError) as problem:
        sys.exit(f"error: {' '.join(str(problem).split())}")

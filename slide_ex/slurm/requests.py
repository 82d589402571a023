"""What Slurm is asked for: the options of a step, memory in all its spellings, and what helps when it refuses."""
import re
import shlex

NONE = "none"                                                  # a value: do not ask for it
MEMORY = re.compile(r"(\d+)([KMGT]?B?)", re.IGNORECASE)        # as sbatch reads it; 0 is all of a node
COUNT = re.compile(r"0*[1-9][0-9]*")
MEMORY_OPTIONS = ("--mem", "--mem-per-cpu", "--mem-per-gpu")   # of which it takes one
PASSING = re.compile(r"unable to contact|timed out|connection (refused|reset|failure|timed)|temporarily|zero bytes|"
                     r"load_jobs", re.IGNORECASE)    # not "contact us" or "try again with", as sites end a refusal
GO_ON = "run the same command again: it recognises what is in the queue"
REMEDIES = (    # what a refusal of sbatch says (the first pattern that it has), and the options to change
    ("submit ?job|job submit|submit limit", "--max-submitted N, the number of jobs that you may have in the queue; "
                                            "or less --time, --mem, --cpus-per-task"),
    ("account", "--account NAME"),
    ("partition", "--partition [STAGE:]NAME: `sinfo -s` has the names"),
    ("qos", "--sbatch-args --qos=NAME"),
    ("generic resource|gres|gpu", "--gres none where there are no GPUs, else as `sinfo -o %G` names them, such as "
                                  "--gres gpu:a100:1"),
    ("feature|constraint", "--constraint: `sinfo -o %f` has the names"),
    ("time limit", "--time [STAGE:]TIME: `sinfo -o '%P %l'` has the limits"),
    ("node configuration|mem|processor|cpu",
     "--mem, --cpus-per-task, --gres [STAGE:]VALUE: `sinfo -o '%P %c %m %G'` shows what nodes have (memory in MB); "
     "--gres none without GPUs; --mem none or --mem-per-cpu where --mem is not allowed"),
    ("array", "--slides-per-task and --folds-per-task, for fewer tasks"))


def setting(values, stage, default):
    """A value given for a stage, or for all, or the default; `values` as submit_slurm.by_stage makes them."""
    return values.get(stage.name, values.get("", default))


def check(args):
    """ValueError for memory or CPUs that cannot be asked for, and for memory that is given in two ways."""
    for option in ("mem", "mem_per_cpu"):
        for stage_name, value in getattr(args, option).items():
            if value != NONE and not MEMORY.fullmatch(value):
                raise ValueError(f"--{option.replace('_', '-')} {as_given(stage_name, value)}: give a whole number "
                                 "with K, M, G or T, such as 1536M, or none")
    for stage_name, value in args.cpus_per_task.items():    # the commands of a task are told, too, how many it has
        if not COUNT.fullmatch(value):
            raise ValueError(f"--cpus-per-task {as_given(stage_name, value)}: give a whole number from 1 up")
    for stage_name in set(args.mem) & set(args.mem_per_cpu):
        raise ValueError(f"--mem and --mem-per-cpu are both given{f' for {stage_name}' if stage_name else ''}: give one")


def as_given(stage_name, value):
    """[STAGE:]VALUE, as it was given."""
    return f"{stage_name}:{value}" if stage_name else value


def resources(stage, n_units, args, is_retry=False):
    """Options of sbatch for a stage; the largest task has `n_units` units. A retry gets twice the memory."""
    needs = stage.needs
    minutes = needs.minutes * n_units
    more = [*shlex.split(args.sbatch_args.get("", "")), *shlex.split(args.sbatch_args.get(stage.name, ""))]
    options = {"time": setting(args.time, stage, f"{minutes // 60}:{minutes % 60:02}:00"),
               **({} if any(is_memory(word) for word in more) else memory(stage, args)),
               "cpus-per-task": setting(args.cpus_per_task, stage, needs.cpus),
               "gres": setting(args.gres, stage, needs.gres) if needs.gres else args.gres.get(stage.name, ""),
               "partition": setting(args.partition, stage, ""), "account": setting(args.account, stage, ""),
               "constraint": setting(args.constraint, stage, "")}
    asked = [*(f"--{name}={value}" for name, value in options.items() if value not in ("", NONE)), *more]
    return doubled(asked) if is_retry else asked


def can_have_more(stage, args):
    """Whether a retry would get more memory: not where none, or all of a node, is asked for."""
    return resources(stage, 1, args, is_retry=True) != resources(stage, 1, args)


def memory(stage, args):
    """The option of memory for a stage: what is given for it, else for all, else what it needs."""
    for name in (stage.name, ""):
        for option, values in (("mem", args.mem), ("mem-per-cpu", args.mem_per_cpu)):
            if name in values:
                return {option: values[name]}
    return {"mem": f"{stage.needs.memory_gb}G"}


def is_memory(word):
    return word.partition("=")[0] in MEMORY_OPTIONS


def doubled(options):
    """Options of sbatch with twice the memory, however it is spelled; the same where no amount is asked for."""
    found = []
    for i, word in enumerate(options):
        name, equals, value = word.partition("=")
        if is_memory(word) and equals:
            word = f"{name}={twice(value)}"
        elif i and options[i - 1] in MEMORY_OPTIONS:
            word = twice(word)
        found.append(word)
    return found


def twice(size):
    amount = MEMORY.fullmatch(size)
    return f"{2 * int(amount[1])}{amount[2]}" if amount else size


def advice(complaint):
    """What helps after a complaint of sbatch, as the end of a sentence."""
    if PASSING.search(complaint):
        return GO_ON
    remedy = next((remedy for pattern, remedy in REMEDIES if re.search(pattern, complaint, re.IGNORECASE)),
                  "the options of submit_slurm.py (--help)")
    return f"it will be refused again until you change {remedy}"

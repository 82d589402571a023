"""What Slurm is asked for: the options of a step, memory in all its spellings, and what helps when it refuses."""
import re
import shlex
from dataclasses import dataclass

OPTIONS = ("time", "mem", "mem-per-cpu", "cpus-per-task", "gres", "partition", "account", "constraint", "sbatch-args")
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


@dataclass(frozen=True)
class Request:
    """What Slurm is asked for, for the tasks of a stage."""
    minutes: int         # for each unit of a task, where no time limit is given
    time: str | None     # the limit that is given, for any number of units
    cpus: int
    others: tuple        # options of sbatch for all but the time

    def words(self, n_units, is_retry=False):
        """Options of sbatch; the largest task has `n_units` units. A retry gets twice the memory."""
        minutes = self.minutes * n_units
        time = f"{minutes // 60}:{minutes % 60:02}:00" if self.time is None else self.time
        asked = [*options({"time": time}), *self.others]
        return doubled(asked) if is_retry else asked

    def can_have_more(self):
        """Whether a retry would get more memory: not where none, or all of a node, is asked for."""
        return self.words(1, is_retry=True) != self.words(1)


def of_stages(stages, given):
    """The Request of each stage, by name.

    given : for each of OPTIONS, dict of stage name, or "" for all stages, to the values in the order they were given
    """
    check(given)
    return {stage.name: of_stage(stage, given) for stage in stages}


def of_stage(stage, given):
    needs = stage.needs
    more = [word for name in ("", stage.name) for value in given["sbatch-args"].get(name, ())
            for word in shlex.split(value)]
    asked = {} if any(is_memory(word) for word in more) else memory(stage, given)
    asked["cpus-per-task"] = cpus = int(setting(given["cpus-per-task"], stage, needs.cpus))
    if needs.gres or stage.name in given["gres"]:    # what is given for all stages is for those that use a GPU
        asked["gres"] = setting(given["gres"], stage, needs.gres)
    for option in ("partition", "account", "constraint"):
        asked[option] = setting(given[option], stage, "")
    return Request(needs.minutes, setting(given["time"], stage, None), cpus, (*options(asked), *more))


def options(values):
    """Options of sbatch for what is asked for, of a dict of name to value."""
    return [f"--{name}={value}" for name, value in values.items() if value not in ("", NONE)]


def setting(values, stage, default):
    """The last value given for a stage, or for all, or the default."""
    return values.get(stage.name, values.get("", [default]))[-1]


def check(given):
    """ValueError for memory or CPUs that cannot be asked for, and for memory that is given in two ways."""
    for option in ("mem", "mem-per-cpu"):
        for stage_name, (*_, value) in given[option].items():
            if value != NONE and not MEMORY.fullmatch(value):
                raise ValueError(f"--{option} {as_given(stage_name, value)}: give a whole number with K, M, G or T, "
                                 "such as 1536M, or none")
    for stage_name, (*_, value) in given["cpus-per-task"].items():    # commands are told, too, how many they have
        if not COUNT.fullmatch(value):
            raise ValueError(f"--cpus-per-task {as_given(stage_name, value)}: give a whole number from 1 up")
    for stage_name in given["mem"].keys() & given["mem-per-cpu"].keys():
        where = f" for {stage_name}" if stage_name else ""
        raise ValueError(f"--mem and --mem-per-cpu are both given{where}: give one")


def as_given(stage_name, value):
    """[STAGE:]VALUE, as it was given."""
    return f"{stage_name}:{value}" if stage_name else value


def memory(stage, given):
    """The option of memory for a stage: what is given for it, else for all, else what it needs."""
    for name in (stage.name, ""):
        for option in ("mem", "mem-per-cpu"):
            if name in given[option]:
                return {option: given[option][name][-1]}
    return {"mem": f"{stage.needs.memory_gb}G"}


def is_memory(word):
    return word.partition("=")[0] in MEMORY_OPTIONS


def doubled(words):
    """Options of sbatch with twice the memory, however it is spelled; the same where no amount is asked for."""
    found = []
    for i, word in enumerate(words):
        name, equals, value = word.partition("=")
        if is_memory(word) and equals:
            word = f"{name}={twice(value)}"
        elif i and words[i - 1] in MEMORY_OPTIONS:
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

"""What an output was made from, and whether it is finished.

Finished means: every documented output is there, and the record says that it was made from the present inputs with the
present options. The record is in one of the outputs (the attributes of an HDF5 file, or a JSON file), which is written
last and taken away before others are replaced, so that it never stands over a mixture of old and new.

A record also has checksums, which `read` compares or leaves out and nobody else sees: FILES, of the tables and weights
beside it, by name; and in JSON its own, OWN. Records of earlier versions have none.
"""
import json

from slide_ex import checksums
from slide_ex.checksums import shown
from slide_ex.script import whole

OWN, FILES = "record_sha256", "files_sha256"


def read(path, made_by, of_user=False):
    """A JSON file as a dict; ValueError, naming the file and what makes it again, for one that is damaged or changed.

    of_user : whether people write such files, too, so that one without a checksum is nothing to speak of
    """
    content = read_all(path, made_by)
    if OWN not in content and not of_user:
        checksums.say_unverified(path, made_by)
    return {name: value for name, value in content.items() if name not in (OWN, FILES)}


def files_sha256(path, made_by):
    """What a JSON record says of the files beside it, name to checksum; None where it has none."""
    return read_all(path, made_by).get(FILES)


def refuse_changed(path, sha256, made_by):
    """ValueError for a file that has another checksum than its record says."""
    if checksums.of_file(path) != sha256:
        raise ValueError(f"{path} is not as it was written (SHA-256): it was cut off, damaged or edited; make it again "
                         f"with {made_by} --overwrite, and keep what you edited on purpose in a file of another name")


def read_all(path, made_by):
    """The file as it stands there."""
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing: run {made_by} first")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is damaged ({error}): make it again with {made_by} --overwrite") from None
    if not isinstance(content, dict):
        raise ValueError(f"{path} is damaged (no JSON object): make it again with {made_by} --overwrite")
    if OWN in content and content[OWN] != own_sha256(content):
        raise ValueError(f"{path} is not as it was written (SHA-256): it was damaged or edited; make it again with "
                         f"{made_by} --overwrite, or take out its entry {OWN!r} if the change is meant")
    return content


def own_sha256(content):
    """Checksum of a record without its own."""
    return checksums.of_text(as_text({name: value for name, value in content.items() if name != OWN}))


def text(content, files=(), folder=None):
    """The JSON of a record in a folder, with its checksum and those of `files`, paths of tables and weights."""
    content = plain(content) | ({FILES: checksums.of_files(files, folder)} if files else {})
    return json.dumps(content | {OWN: own_sha256(content)}, indent=1) + "\n"


def write(path, content, files=()):
    """Write a JSON file, whole or not at all; see `text`."""
    with whole(path) as part:
        part.write_text(text(content, files, path.parent), encoding="utf-8")


def as_text(content):
    """JSON with sorted keys, for an attribute of an HDF5 file."""
    return json.dumps(content, sort_keys=True)


def plain(content):
    """A dict as JSON gives it back: tuples are lists, keys are text."""
    return json.loads(json.dumps(content))


def differences(made, now):
    """In words what differs between two dicts: 'hidden was 512, now 256'. Checksums are cut, absent entries None."""
    made, now = plain(made), plain(now)
    return [f"{name} was {shown(made.get(name))}, now {shown(now.get(name))}"
            for name in {**made, **now} if made.get(name) != now.get(name)]


def refuse_other(path, made, now, remedy="keep it and give the same options, or make it again with --overwrite"):
    """ValueError when `path` was made in another way than now (two dicts, see `differences`)."""
    different = differences(made, now)
    if different:
        raise ValueError(f"{path} was made in another way ({'; '.join(different)}): {remedy}")


def is_finished(outputs, read_made, now, overwrite=False, **options):
    """Whether all outputs are there, made as now; ValueError (see `refuse_other`) when they were made in another way.

    Parameters
    ----------
    outputs : list of Path, the one with the record last
    read_made : function without arguments that reads the record (dict); it is not called with `overwrite`
    now : dict of everything that decides the outputs
    """
    if overwrite or not outputs[-1].exists():
        return False
    refuse_other(outputs[-1], read_made(), now, **options)
    return all(path.exists() for path in outputs)


def is_finished_folder(marker, made_by, now, overwrite=False):
    """As `is_finished`, of a folder that is written as a whole: its record `marker` lists its `files`."""
    if overwrite or not marker.is_file():
        return False
    made = read(marker, made_by)
    files = made.pop("files", [])
    refuse_other(marker.parent, made, now)
    return bool(files) and all((marker.parent / name).is_file() for name in files)
